"""From the cells of `evermap regret` to its numbers, as plain data; no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import RecordError
from .arm_table import read_table
from .gap import Values, gap_closed, picked_crosswise
from .oracle import COMPUTE, MEMORY, TaskRegret, task_regret
from .record import Record, read_record

SCHEMA = 1
NO_HALVES = "on half of a test set the score is undefined"
NO_LABEL = "no task label is given, so the anchor answers whatever is chosen"


@dataclass(frozen=True)
class Part:
    """What there is of one scenario.

    Attributes:
        scenario: Its name.
        seeds: The seeds.
        agents: Folder of the agent's run with every arm, per seed.
        fixed: Strategy to the folders of its runs, per seed.
        left_out: Why the scenario is left out; None where it is not.
    """

    scenario: str
    seeds: tuple[int, ...]
    agents: tuple[Path, ...] = ()
    fixed: Mapping[str, tuple[Path, ...]] | None = None
    left_out: str | None = None


def summarise(agent: str, parts: Sequence[Part], compute: float = COMPUTE, memory: float = MEMORY) -> dict[str, Any]:
    """Gather every number of a regret.

    Args:
        agent: The agent.
        parts: The scenarios.
        compute: λ_c of the utility.
        memory: λ_m of the utility.

    Returns:
        Plain data. What is undefined is None, with the reason beside it where it is not plain.

    Raises:
        RecordError: If a run or its table is damaged.
    """
    scenarios, values = [], []
    for part in parts:
        if part.left_out is not None:
            scenarios.append({"scenario": part.scenario, "left_out": part.left_out})
            continue
        account, found = _scenario(part, compute, memory)
        scenarios.append(account)
        if found:
            values.append(found)
    none = (
        "no fixed strategy was run" if any(s["left_out"] is None for s in scenarios) else "every scenario is left out"
    )
    pooled: dict[str, Any] = {}
    for key in ("split", "naive"):
        those = [each[key] for each in values if key in each]
        pooled[key] = asdict(gap_closed(those)) if those else {"value": None, "reason": NO_HALVES if values else none}
    return {
        "schema": SCHEMA,
        "agent": agent,
        "compute": compute,
        "memory": memory,
        "scenarios": scenarios,
        "pooled": pooled,
    }


def learned_values(record: Record) -> list[float]:
    """Say what every task scored right after it was learned: at the first evaluation after it, on its own test set.

    Args:
        record: A finished run.

    Returns:
        Accuracy (regression: R²) of every task, in order.

    Raises:
        RecordError: If a task was not evaluated.
    """
    concepts = {e["task"]: e["concept"] for e in record.events if e["event"] == "TaskStarted"}
    rows = [e for e in record.events if e["event"] == "Evaluated" and e["task"] is not None]
    found = []
    for task in sorted(concepts):
        row = next((e for e in rows if e["task"] >= task), None)
        value = row["values"][concepts[task]] if row is not None else None
        if value is None:
            raise RecordError(f"{record.path}: task {task + 1} was learned and not evaluated; run it again.")
        found.append(float(value))
    return found


def _scenario(part: Part, compute: float, memory: float) -> tuple[dict[str, Any], dict[str, Values] | None]:
    runs = [_run(seed, folder, compute, memory) for seed, folder in zip(part.seeds, part.agents, strict=True)]
    tasks = [task for run in runs for task in run["tasks"]]
    fixed = {
        name: tuple(_mean(learned_values(read_record(folder))) or 0.0 for folder in folders)
        for name, folders in (part.fixed or {}).items()
    }
    account: dict[str, Any] = {
        "scenario": part.scenario,
        "left_out": None,
        "seeds": list(part.seeds),
        "tasks": len(tasks),
        "regression": all(task.regression for task in tasks),
        "means": means(tasks),
        "by_task": _by_task(runs),
        "fixed": {name: _mean(each) for name, each in fixed.items()},
        "best_fixed": None,
        "gap": None,
        "runs": [{**run, "tasks": [asdict(task) for task in run["tasks"]]} for run in runs],
    }
    if not fixed:
        return account, None
    best, chosen = picked_crosswise(fixed)
    account["best_fixed"] = {"value": _mean(best), "strategies": dict(zip(map(str, part.seeds), chosen, strict=True))}
    selector = tuple(run["learned"] for run in runs)
    values = {"naive": Values(part.seeds, selector, tuple(_mean(_of(run, "naive")) or 0.0 for run in runs), fixed)}
    account["gap"] = {"naive": asdict(gap_closed([values["naive"]])), "split": {"value": None, "reason": NO_HALVES}}
    if all(task.split is not None for task in tasks):
        split = tuple(_mean(_of(run, "split")) or 0.0 for run in runs)
        values["split"] = Values(part.seeds, selector, split, fixed)
        account["gap"]["split"] = asdict(gap_closed([values["split"]]))
    return account, values


def _run(seed: int, folder: Path, compute: float, memory: float) -> dict[str, Any]:
    table, record = read_table(folder), read_record(folder)
    found = []
    for task, answer in sorted(table.answers.items()):
        account = task_regret(table.arms.get(task, ()), answer, compute, memory)
        if account is not None:
            found.append(account)
    if not found:
        raise RecordError(f"{folder}: no arm of any task was valued.")
    return {"seed": seed, "folder": str(folder), "learned": _mean(learned_values(record)), "tasks": found}


# What is averaged over tasks, and how it is read off one.
_MEASURES = {
    "accuracy": lambda t: t.accuracy,
    "naive": lambda t: t.naive,
    "split": lambda t: t.split,
    "regret_naive": lambda t: t.regret.naive,
    "regret_split": lambda t: t.regret.split,
    "retrieval_naive": lambda t: t.retrieval.naive,
    "retrieval_split": lambda t: t.retrieval.split,
    "strategy_naive": lambda t: t.strategies.naive,
    "strategy_split": lambda t: t.strategies.split,
    "carrying_out": lambda t: t.carrying_out,
    "try_all": lambda t: t.try_all,
    "utility": lambda t: t.utility,
    "utility_regret_naive": lambda t: t.utility_regret.naive,
    "utility_regret_split": lambda t: t.utility_regret.split,
}


def means(tasks: Sequence[TaskRegret]) -> dict[str, dict[str, float | int | None]]:
    """Average every measure over the tasks on which it is defined.

    Args:
        tasks: The tasks.

    Returns:
        Measure to its mean ("value", None where no task has it) and the number of tasks ("tasks").
    """
    found: dict[str, dict[str, float | int | None]] = {}
    for name, read in _MEASURES.items():
        values = [value for value in map(read, tasks) if value is not None]
        found[name] = {"value": _mean(values), "tasks": len(values)}
    judged = [task for task in tasks if task.try_all is not None]
    # On the very tasks on which trying all could judge: over others the two means could not be compared.
    found["accuracy_where_tried"] = {"value": _mean([t.accuracy for t in judged]), "tasks": len(judged)}
    return found


def _by_task(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Average over seeds, task by task in the stream's order."""
    positions = sorted({task.task for run in runs for task in run["tasks"]})
    found = []
    for position in positions:
        here: list[TaskRegret] = [task for run in runs for task in run["tasks"] if task.task == position]
        names = {task.name for task in here}
        found.append(
            {
                "task": position,
                "name": names.pop() if len(names) == 1 else None,
                "regression": here[0].regression,
                "seeds": len(here),
                "answered": _counted(t.strategy for t in here),
                "best": _counted(t.best[0] for t in here),
                **{name: each["value"] for name, each in means(here).items()},
            }
        )
    return found


def _counted(names: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def _of(run: Mapping[str, Any], name: str) -> list[float]:
    return [value for value in (getattr(task, name) for task in run["tasks"]) if value is not None]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
