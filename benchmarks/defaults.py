"""Where the strategies' defaults come from: one setting after another is changed, the others keep their defaults.

    python -P benchmarks/defaults.py --strategies scratch finetune --seeds 3
    python -P benchmarks/defaults.py --write                # docs/defaults.md from what is finished

Every cell is a run of `fixed:NAME` through a scenario with a pilot seed (100 and above; no other figure uses these).
What is compared is the accuracy on samples held out of the support sets, which the strategy itself does not learn from;
test sets are not looked at. Differences are paired: the same seed with the default. A finished cell is a line of
`--cells`; a second call goes on where the first one stopped, and makes a cell again whose recipe has changed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evermap.errors import EvermapError, UserError

ROOT = Path(__file__).resolve().parent.parent
PAGE, CELLS = ROOT / "docs" / "defaults.md", ROOT / "docs" / "defaults.jsonl"
START, END = "<!-- made by benchmarks/defaults.py --write -->", "<!-- end -->"
FIRST_SEED = 100

Row = dict[str, Any]
# A scenario, and for every setting the values beside its default.
Grid = tuple[str, Mapping[str, tuple[Any, ...]]]
JOINT: Mapping[str, tuple[Any, ...]] = {"weights": ("uncertainty", "dwa", "gradnorm"), "surgery": ("pcgrad",)}
GRIDS: Mapping[str, tuple[Grid, ...]] = {
    "scratch": (("demo", {"lr": (0.001, 0.01), "batch_size": (8, 128), "weight_decay": (0.0, 0.01)}),),
    "finetune": (
        (
            "demo",
            {"head_first": (0.0, 0.5), "last_first": (0.2,), "lr": (0.001, 0.01), "trains": ("low-rank", "bias")},
        ),
    ),
    "distill": (
        (
            "demo",
            {
                "steps": (100, 300),
                "taught": (0.5, 1.0),
                "weight": (0.5, 1.0),
                "feature_weight": (0.1, 0.7),
                "temperature": (1.0, 10.0),
                "agreement": (0.2, 0.8),
                "teachers": (3,),
            },
        ),
    ),
    "prototype": (
        (
            "demo",
            {
                "distance": ("cosine", "diagonal", "low-rank"),
                "prototypes": ("shrunk", "median", "edited"),
                "head": ("nearest-mean", "ridge"),
            },
        ),
    ),
    "multitask": (("demo", {**JOINT, "later": ("frozen",)}), ("joint-digits", JOINT)),
    "maml": (
        (
            "few-shot-glyphs",
            {
                "inner_lr": (0.1, 1.0),
                "inner_steps": (3,),
                "adapt_steps": (5, 20),
                "meta_lr": (0.003, 0.03),
                "order": ("first",),
                "anil": (True,),
                "step_sizes": ("layer",),
            },
        ),
    ),
    "protonet": (
        ("few-shot-glyphs", {"ways": (5, 20), "shots": (1,), "meta_lr": (0.001, 0.01), "meta_batch": (1, 16)}),
    ),
}


def cells(strategies: list[str], seeds: int, size: str) -> list[Row]:
    """List the cells of some strategies: the default first, then every value, seed after seed."""
    rows = []
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        for name, (scenario, grid) in ((n, each) for n in strategies for each in GRIDS[n]):
            for setting, value in [("", None), *((s, v) for s, values in grid.items() for v in values)]:
                told = {"strategy": name, "scenario": scenario, "size": size, "setting": setting, "value": value}
                rows.append({**told, "seed": seed})
    return rows


def recipe(row: Row) -> Any:
    """Make the scenario of a cell."""
    from evermap.scenarios.scenario import load_scenario

    changes = [f"agent.selector=fixed:{row['strategy']}", f"seed={row['seed']}"]
    if row["setting"]:
        changes.append(f"strategies.{row['strategy']}.{row['setting']}={json.dumps(row['value'])}")
    return load_scenario(row["scenario"], changes, size=row["size"])


def measured(row: Row) -> Row:
    """Run a cell.

    Returns:
        The cell with "recipe" (hash), "seconds" (CPU), "tasks" that the strategy learned with something held out,
        and "accuracy", the mean of their held-out accuracies (R² for regression); None where there is no such task.
    """
    from evermap.scenarios.run import run
    from evermap.scenarios.scenario import recipe_hash

    scenario, found, began = recipe(row), [], time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        for event in run(scenario, Path(folder)):
            body = event.to_json()
            if body["event"] == "Learned" and body["strategy"] == row["strategy"] and body["accuracy"] is not None:
                found.append(body["accuracy"])
    accuracy = statistics.fmean(found) if found else None
    spent = round(time.process_time() - began, 1)
    return {**row, "recipe": recipe_hash(scenario), "accuracy": accuracy, "tasks": len(found), "seconds": spent}


def finished(path: Path) -> list[Row]:
    """Read the finished cells; of two of the same recipe the last counts."""
    if not path.is_file():
        return []
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        return list({(row["recipe"], row["strategy"]): row for row in rows}.values())
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: this is no file of finished cells: {type(error).__name__}: {error}.") from None


def table(rows: list[Row]) -> str:
    """Write what is finished as Markdown; settings that have no cell are "not run"."""
    lines = []
    for name, grids in GRIDS.items():
        lines += [f"### {name}", ""]
        for scenario, grid in grids:
            mine = [row for row in rows if (row["strategy"], row["scenario"]) == (name, scenario)]
            lines += [*_table(name, scenario, grid, mine), ""]
    return "\n".join(lines).rstrip()


def _table(name: str, scenario: str, grid: Mapping[str, tuple[Any, ...]], mine: list[Row]) -> list[str]:
    base = {row["seed"]: row for row in mine if not row["setting"] and row["accuracy"] is not None}
    if not base:
        return [f"Not run yet (`{scenario}`)."]
    values = [row["accuracy"] for row in base.values()]
    sizes, tasks = sorted({row["size"] for row in base.values()}), max(row["tasks"] for row in base.values())
    lines = [
        f"`{scenario}` (size {', '.join(sizes)}), pilot seeds {', '.join(map(str, sorted(base)))}, {tasks} tasks a "
        f"run; default: {statistics.fmean(values):.3f}{_error(values)}.",
        "",
        "| setting | default | beside it | difference to the default, in points |",
        "| --- | --- | --- | ---: |",
    ]
    for setting, beside in grid.items():
        for value in beside:
            pairs = [
                100 * (row["accuracy"] - base[row["seed"]]["accuracy"])
                for row in mine
                if (row["setting"], row["value"]) == (setting, value)
                and row["seed"] in base
                and row["accuracy"] is not None
            ]
            told = f"{statistics.fmean(pairs):+.2f}{_error(pairs)}" if pairs else "not run"
            lines.append(f"| `{setting}` | `{_default(name, setting)}` | `{value}` | {told} |")
    return lines


def _default(name: str, setting: str) -> Any:
    from evermap import registry

    return getattr(registry.load("strategy", name)().settings, setting)


def _error(values: list[float]) -> str:
    """The standard error of a mean; nothing for a single value."""
    if len(values) < 2:
        return " (one seed)"
    return f" ± {statistics.stdev(values) / len(values) ** 0.5:.2g}"


def into_page(page: str, text: str) -> str:
    """Put the tables between the marks of a page."""
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise UserError(f"docs/defaults.md: the marks {START!r} and {END!r} are missing.")
    return f"{before}{START}\n\n{text}\n\n{END}{after}"


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategies", nargs="+", choices=list(GRIDS), default=[], help="whose grid is run")
    parser.add_argument("--seeds", type=int, default=3, help=f"pilot seeds, from {FIRST_SEED}")
    parser.add_argument("--size", choices=("default", "short"), default="default", help="size of the scenarios")
    parser.add_argument("--cells", type=Path, default=CELLS, help="file of finished cells")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/defaults.md")
    return parser.parse_args(given)


def play(given: argparse.Namespace) -> None:
    """Run what is missing, then print or write the tables."""
    import torch

    from evermap.scenarios.scenario import recipe_hash

    if given.seeds < 1:
        raise UserError(f"--seeds {given.seeds}: it must be at least 1.")
    torch.set_num_threads(1)
    done = finished(given.cells)
    known = {(row["recipe"], row["strategy"]) for row in done}
    for row in cells(given.strategies, given.seeds, given.size):
        if (recipe_hash(recipe(row)), row["strategy"]) in known:
            continue
        made = measured(row)
        done.append(made)
        with given.cells.open("a", encoding="utf-8") as file:
            file.write(json.dumps(made) + "\n")
        print(json.dumps(made), file=sys.stderr, flush=True)
    text = table(done)
    print(text)
    if given.write:
        PAGE.write_text(into_page(PAGE.read_text("utf-8"), text), "utf-8")


def main(given: list[str] | None = None) -> int:
    """Run the command line; a user's mistake is one sentence and exit code 2."""
    try:
        play(arguments(given))
    except EvermapError as error:
        print(f"defaults: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
