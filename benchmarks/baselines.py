"""Finds the defaults of Avalanche's strategies on pilot seeds, and measures what they then reach beside the agent.

For every (method, setting) each point of a grid is run on the pilot scenarios of that setting, at their short size, on
seeds from 100 on, which no other measurement uses. The point with the best average incremental accuracy, averaged over
scenarios and seeds, becomes the default of the pair in scenarios/baselines.toml. Each cell (scenario, agent, seed) is
kept in a file when it is done, and a second call goes on where the first one stopped.

    python -P benchmarks/baselines.py --help
    python -P benchmarks/baselines.py                        # what is missing of the grid
    python -P benchmarks/baselines.py --write                # the defaults that the cells speak for, into the table
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from evermap.scenarios.competitor import TABLE, table
from evermap.scenarios.metrics import average_accuracy, average_incremental_accuracy
from evermap.scenarios.record import read_record
from evermap.scenarios.run import run
from evermap.scenarios.scenario import load_scenario

PILOTS = {
    "task-incremental": ("digits-split",),
    "domain-incremental": ("digits-permutations",),
    "class-incremental": ("digits-class",),
}
FIRST_SEED = 100
# How the network is trained: Adam's moments carry over from task to task, which some methods bear badly.
TRAINED: tuple[dict[str, Any], ...] = (
    *({"optimiser": "adam", "lr": rate} for rate in (0.001, 0.003, 0.01)),
    *({"optimiser": "sgd", "lr": rate} for rate in (0.03, 0.1)),
)
# Beside these: what decides most in each method; the others stay as their papers or Avalanche have them.
GRID: dict[str, dict[str, tuple[Any, ...]]] = {
    "EWC": {"ewc_lambda": (1.0, 100.0, 10_000.0)},
    "SynapticIntelligence": {"si_lambda": (0.01, 1.0, 100.0)},
    "MAS": {"lambda_reg": (0.01, 1.0, 100.0)},
    "RWalk": {"ewc_lambda": (0.1, 10.0, 1000.0)},
    "LwF": {"alpha": (0.3, 1.0, 10.0)},
    "LFL": {"lambda_e": (0.1, 1.0, 10.0)},
    "GEM": {"memory_strength": (0.0, 0.5)},
    "DER": {"alpha": (0.1, 0.5), "beta": (0.0, 0.5)},
    "MIR": {"subsample": (50, 100), "batch_size_mem": (10, 32)},
    "LaMAML": {"alpha_init": (0.03, 0.1, 0.3)},
    "PackNet": {"prune_proportion": (0.5, 0.8)},
    "SCR": {"temperature": (0.07, 0.1, 0.3)},
    "GenerativeReplay": {"latent": (8, 32)},
    "StreamingLDA": {"features": (0, 128, 256), "shrinkage_param": (0.0001, 0.01)},
}
# Their own step sizes, or no gradient steps at all, make the learning rate meaningless.
UNTRAINED = ("LaMAML", "StreamingLDA")
# Sample-by-sample steps: minutes per run.
SLOW = ("MER",)


def points(method: str) -> Iterator[dict[str, Any]]:
    """Go through the grid of a method.

    Args:
        method: Its name.

    Yields:
        Arguments.
    """
    axes = GRID.get(method, {})
    for values in itertools.product(*axes.values()):
        for trained in ({},) if method in UNTRAINED else TRAINED:
            yield {**dict(zip(axes, values, strict=True)), **trained}


def agent(method: str, arguments: dict[str, Any]) -> str:
    """Write a method with its arguments as `--agent` takes it."""
    return f"avalanche:{method}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def measure(scenario: str, text: str, seed: int) -> dict[str, float]:
    """Run one cell.

    Args:
        scenario: Name of a scenario of the library that has a short size.
        text: The agent.
        seed: The seed.

    Returns:
        "accuracy", "incremental" (average incremental accuracy), "flops" per task, "bytes" kept, CPU "seconds".
    """
    began = time.process_time()
    recipe = load_scenario(scenario, [f"agent.selector={json.dumps(text)}", f"seed={seed}"], size="short")
    with tempfile.TemporaryDirectory() as folder:
        events = [event.to_json() for event in run(recipe, Path(folder) / "run")]
        matrix = read_record(Path(folder) / "run").matrix
    assert matrix is not None
    learned = [event["total_flops"] for event in events if event["event"] == "Learned"]
    kept = [event["store_bytes"] for event in events if event["event"] == "Remembered"]
    return {
        "accuracy": float(average_accuracy(matrix).value or 0.0),
        "incremental": float(average_incremental_accuracy(matrix).value or 0.0),
        "flops": sum(learned) / len(learned),
        "bytes": float(kept[-1]),
        "seconds": time.process_time() - began,
    }


def cells(options: argparse.Namespace) -> Iterator[tuple[str, str, dict[str, Any], str, int]]:
    """Go through the whole grid: (setting, method, arguments, scenario, seed)."""
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    for setting, method, seed in itertools.product(options.settings, options.methods, seeds):
        if setting in table()[method].settings:
            for arguments, scenario in itertools.product(points(method), PILOTS[setting]):
                yield setting, method, arguments, scenario, seed


def best(found: dict[str, dict[str, float]], options: argparse.Namespace) -> dict[str, dict[str, dict[str, Any]]]:
    """Find the best point of every pair whose whole grid was measured on the same seeds.

    Args:
        found: Cells by key.
        options: What is asked for.

    Returns:
        Method to setting to arguments.
    """
    scores: dict[tuple[str, str], dict[str, list[float]]] = {}
    missing = set()
    for setting, method, arguments, scenario, seed in cells(options):
        key = f"{scenario}/{agent(method, arguments)}/{seed}"
        if key in found:
            point = scores.setdefault((method, setting), {}).setdefault(json.dumps(arguments), [])
            point.append(found[key]["incremental"])
        else:
            missing.add((method, setting))
    chosen: dict[str, dict[str, dict[str, Any]]] = {}
    for (method, setting), each in scores.items():
        if (method, setting) not in missing:
            top = max(each, key=lambda point, each=each: statistics.fmean(each[point]))
            chosen.setdefault(method, {})[setting] = json.loads(top)
    return chosen


def write(chosen: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Put defaults into the table: tables [defaults.METHOD] at its end, in place of those of the same pairs."""
    text = TABLE.read_text("utf-8")
    merged = {name: {k: dict(v) for k, v in method.defaults.items()} for name, method in table().items()}
    for method, settings in chosen.items():
        merged[method].update(settings)
    head = re.split(r"\n# Found by benchmarks/baselines.py", text)[0].rstrip("\n")
    lines = [head, "", "# Found by benchmarks/baselines.py on pilot seeds, per setting; see docs/baselines.md."]
    for method, settings in merged.items():
        if settings:
            lines += ["", f"[defaults.{method}]"]
            for setting, arguments in settings.items():
                said = ", ".join(f"{key} = {json.dumps(value)}" for key, value in arguments.items())
                lines.append(f"{setting} = {{ {said} }}")
    TABLE.write_text("\n".join(lines) + "\n", "utf-8")


def parser() -> argparse.ArgumentParser:
    """Describe the options."""
    made = argparse.ArgumentParser(description="Find defaults of Avalanche's strategies on pilot seeds.")
    quick = [name for name in table() if name not in SLOW]
    made.add_argument("--methods", nargs="+", choices=list(table()), default=quick, help="methods (all but slow ones)")
    made.add_argument("--settings", nargs="+", choices=list(PILOTS), default=list(PILOTS), help="settings (all)")
    made.add_argument("--seeds", type=int, default=2, help=f"pilot seeds, from {FIRST_SEED} on (2)")
    made.add_argument("--cells", type=Path, default=Path("runs/baselines.json"), help="file of finished cells")
    made.add_argument("--seconds", type=float, default=float("inf"), help="begin no cell after so many CPU seconds")
    made.add_argument("--write", action="store_true", help="write the best points of whole grids into the table")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is not measured yet, and say what is best."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)
    found: dict[str, dict[str, float]] = json.loads(options.cells.read_text()) if options.cells.is_file() else {}
    options.cells.parent.mkdir(parents=True, exist_ok=True)
    began, left = time.process_time(), 0
    for _, method, point, scenario, seed in cells(options):
        key = f"{scenario}/{agent(method, point)}/{seed}"
        if key in found:
            continue
        if time.process_time() - began > options.seconds:
            left += 1
            continue
        found[key] = measure(scenario, agent(method, point), seed)
        new = options.cells.with_suffix(".new")
        new.write_text(json.dumps(found, indent=0))
        new.replace(options.cells)
        print(f"{key}: {found[key]['incremental']:.3f} in {found[key]['seconds']:.1f} CPU seconds", flush=True)
    chosen = best(found, options)
    for method, settings in chosen.items():
        for setting, point in settings.items():
            print(f"{method}, {setting}: {point}")
    print(f"{left} cells are left")
    if options.write:
        write(chosen)


if __name__ == "__main__":
    main()
