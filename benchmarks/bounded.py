"""Measures what a bound on the store's bytes costs: a stream with any number of bytes, and with those of 8 encoders.

After every task of a bounded run the bytes of the store and of the files on the disk are compared with the bound. Each
cell (scenario, bound, seed) is written to a file when it is done, and a second call goes on where the first stopped.

    python -P benchmarks/bounded.py --help
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from evermap.agent.events import Bounded, Evaluated, Learned, Remembered
from evermap.scenarios.run import run
from evermap.scenarios.scenario import load_scenario

SCENARIOS = ("long-bounded", "long-glyphs")


@dataclass(frozen=True)
class Cell:
    """What one run gave.

    Attributes:
        tasks: Tasks of the stream.
        accuracy: Mean over all test sets after the last task.
        learned: Mean of the accuracy on every test set in the first row after its task.
        limit: Bytes that the store may hold; None for any number.
        most: Most bytes that it held after a task.
        files: Most bytes of its files at any event.
        last: Bytes that it held in the end.
        done: What was done to stay within the bytes, by kind.
        estimated: What it was thought to cost, in accuracy, mean over all tasks.
        later_share: FLOPs of staying within the bytes, as a share of all.
        seconds: CPU seconds of the run.
    """

    tasks: int
    accuracy: float
    learned: float
    limit: int | None
    most: int
    files: int
    last: int
    done: dict[str, int]
    estimated: float
    later_share: float
    seconds: float


def measure(name: str, encoders: int | None, seed: int, size: str, tasks: int | None) -> Cell:
    """Run a scenario once.

    Args:
        name: The scenario.
        encoders: The bound, in encoders; None for none.
        seed: Its seed.
        size: "default" or "short".
        tasks: How many tasks; None for as many as it has.

    Returns:
        The cell.

    Raises:
        RuntimeError: If the store held more than it may.
    """
    changes = [f"seed={seed}", "budget.consolidate=0.2"] + ([f"stream.tasks={tasks}"] if tasks else [])
    scenario = load_scenario(name, changes, size=size)
    budget = scenario.budget.model_copy(update={"encoders": encoders})
    scenario = scenario.model_copy(update={"budget": budget})
    began, held, files, limit = time.process_time(), [0], [0], None
    done: Counter[str] = Counter()
    rows: list[Evaluated] = []
    costs, later, whole = [0.0], 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for event in run(scenario, Path(folder) / "run", command=("benchmark",)):
            blobs = Path(folder) / "run" / "store" / "blobs"
            if encoders is not None and isinstance(event, (Remembered, Bounded)):
                files.append(sum(file.stat().st_size for file in blobs.iterdir()))
            if isinstance(event, Remembered):
                held.append(event.store_bytes)
            elif isinstance(event, Learned):
                whole += event.total_flops
            elif isinstance(event, Bounded):
                limit, later, whole = event.limit, later + event.flops, whole + event.flops
                done.update(step.how for step in event.steps)
                costs += [step.cost * len(step.tasks) for step in event.steps if step.tasks and step.cost is not None]
                if max(files[-1], held[-1]) > limit:
                    raise RuntimeError(f"{name}, seed {seed}, task {event.task}: {files[-1]} bytes of {limit}")
            elif isinstance(event, Evaluated):
                rows.append(event)
    first = [
        next((r.values[j] for r in rows if r.task is not None and r.task >= j), 0.0)
        for j in range(len(rows[-1].values))
    ]
    return Cell(
        tasks=len(rows[-1].values),
        accuracy=statistics.fmean(rows[-1].values),
        learned=statistics.fmean(first),
        limit=limit,
        most=max(held),
        files=max(files),
        last=held[-1],
        done=dict(sorted(done.items())),
        estimated=sum(costs) / len(rows[-1].values),
        later_share=later / whole,
        seconds=time.process_time() - began,
    )


def table(cells: dict[str, dict[str, object]], encoders: int) -> list[str]:
    """Lay the cells out as a Markdown table, one row per scenario and seed."""
    lines = [
        "| scenario | seed | accuracy, any bytes | bounded | difference, points | bytes, any | bound | held at most "
        "| left out | deltas | merged | evicted | estimated cost, points |",
        "| --- " * 13 + "|",
    ]
    for key in sorted(cells):
        name, bound, seed = key.split("/")
        if bound != str(encoders) or f"{name}/any/{seed}" not in cells:
            continue
        free, held = (Cell(**each) for each in (cells[f"{name}/any/{seed}"], cells[key]))  # type: ignore[arg-type]  # from JSON
        done = " | ".join(str(held.done.get(how, 0)) for how in ("left out", "delta", "merged", "evicted"))
        change, most = 100 * (held.accuracy - free.accuracy), max(held.most, held.files)
        lines.append(
            f"| {name} | {seed} | {free.accuracy:.4f} | {held.accuracy:.4f} | {change:+.1f} | {free.last:,} "
            f"| {held.limit or 0:,} | {most:,} | {done} | {100 * held.estimated:.1f} |"
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is not measured yet, and print."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--scenarios", nargs="+", default=list(SCENARIOS), help="scenarios (long-bounded long-glyphs)")
    made.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds (0 1 2)")
    made.add_argument("--encoders", type=int, default=8, help="the bound, in encoders (8)")
    made.add_argument("--size", choices=["default", "short"], default="default", help="size of the scenarios (default)")
    made.add_argument("--tasks", type=int, help="tasks; left out: as many as the scenario has")
    made.add_argument(
        "--cells", type=Path, default=Path("runs/bounded.json"), help="finished cells (runs/bounded.json)"
    )
    options = made.parse_args(arguments)
    cells = json.loads(options.cells.read_text()) if options.cells.is_file() else {}
    options.cells.parent.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for name in options.scenarios:
            for bound in (None, options.encoders):
                key = f"{name}/{bound or 'any'}/{seed}"
                if key in cells:
                    continue
                cells[key] = asdict(measure(name, bound, seed, options.size, options.tasks))
                new = options.cells.with_suffix(".new")
                new.write_text(json.dumps(cells, indent=0))
                new.replace(options.cells)
                print(f"{key}: {cells[key]['accuracy']:.4f} in {cells[key]['seconds']:.0f} CPU seconds", flush=True)
    print("\n".join(table(cells, options.encoders)), flush=True)


if __name__ == "__main__":
    main()
