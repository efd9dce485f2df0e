"""From several records to all that their report says: what belongs together is averaged, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import RecordError, UserError
from ..scenarios.comparison import compare, labelled, mean_of
from ..scenarios.outcomes import Outcome, outcome
from .report import summary_of
from .units import count, plain

SCHEMA = 1
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Told:
    """One run, as far as a report of several needs it.

    Attributes:
        outcome: Its numbers, and what it is a run of.
        summary: What `summary.summarise` gave.
    """

    outcome: Outcome
    summary: Json


def several(runs: Sequence[Path], baseline: str | None = None) -> dict[str, Any]:
    """Gather what a report of several runs says.

    Runs of the same stream belong together, and of these the ones of the same agent, which then differ by their seed
    only. Runs that are not finished count nowhere.

    Args:
        runs: Their folders.
        baseline: The agent that the others are compared with; left out: the first one.

    Returns:
        Plain data: "comparison", what `scenarios.comparison.compare` gave; "scenarios", the curves, tasks and choices
        of every agent; "notes", a sentence for everything that is left out.

    Raises:
        RecordError: If none of the records can be read.
        UserError: If the baseline is none of the agents.
    """
    notes: list[str] = []
    told = _told(runs, notes)
    found = compare([each.outcome for each in told], baseline)
    scenarios = []
    for scenario in found["scenarios"]:
        of = [each for each in told if each.outcome.scenario == scenario["scenario"]]
        scenarios.append(_scenario(scenario, of, found["agents"], notes))
    return {
        "schema": SCHEMA,
        "evermap": __version__,
        "runs": len(told),
        "comparison": found,
        "scenarios": scenarios,
        "notes": notes,
    }


def _told(runs: Sequence[Path], notes: list[str]) -> list[Told]:
    """Read the runs; what cannot be read, and what is there twice, is left out with a note."""
    told: list[Told] = []
    for folder in dict.fromkeys(runs):
        try:
            record, summary = summary_of(folder)
        except RecordError as error:
            notes.append(f"Left out: {plain(error)}")
            continue
        told.append(Told(outcome(record), summary))
    if not told:
        raise RecordError(f"None of {count(len(runs), 'run')} can be reported. {' '.join(notes)}")
    told = _apart(told)
    kept: list[Told] = []
    seen: dict[tuple[Any, ...], str] = {}
    for each in told:
        run = each.outcome
        key = (run.scenario, run.stream, run.agent, repr(sorted(run.recipe.items())), run.seed)
        if key in seen:
            who = f"{plain(run.agent)} with seed {run.seed} on {plain(run.scenario)}"
            notes.append(f"Left out: {plain(run.path)} is a run of {who}, as is {plain(seen[key])}.")
            continue
        seen[key] = run.path
        kept.append(each)
    named = labelled([each.outcome for each in kept])
    return [Told(run, each.summary) for run, each in zip(named, kept, strict=True)]


def _apart(told: Sequence[Told]) -> list[Told]:
    """Keep runs apart that share scenario and seed and yet saw other samples: those of the first stay as they are."""
    first: dict[tuple[str, int], str | None] = {}
    found = []
    for each in told:
        run = each.outcome
        known = first.setdefault((run.stream, run.seed), run.data)
        if run.data is not None and known is not None and run.data != known:
            other = run.data[:6]
            each = Told(
                replace(run, scenario=f"{run.scenario} (other data, {other})", stream=run.stream + other), each.summary
            )
        found.append(each)
    return found


def _scenario(compared: Json, told: Sequence[Told], order: Sequence[str], notes: list[str]) -> dict[str, Any]:
    finished = [each for each in told if each.outcome.status == "finished"]
    for each in told:
        if each.outcome.status != "finished":
            status = "unfinished" if each.outcome.status == "running" else each.outcome.status
            seed = f"{plain(each.outcome.agent)}, seed {each.outcome.seed}"
            at = f"{each.outcome.tasks} of {count(each.summary['run']['tasks'], 'task')} learned"
            notes.append(f"Not averaged: {plain(each.outcome.path)} ({seed}) is {status}, {at}.")
    names = _names([[c["name"] for c in each.summary["concepts"]] for each in finished])
    agents = []
    for entry in compared["agents"]:
        of = [each for each in finished if each.outcome.agent == entry["agent"]]
        agents.append(
            {
                "agent": entry["agent"],
                "number": order.index(entry["agent"]) + 1,
                "curve": _curve(of),
                "columns": [_column(of, j) for j in range(len(names))],
                "choices": _choices(of),
                "strategies": dict(Counter(name for each in of for name in _strategies(each)).most_common()),
                "overruled": sum(task["overruled"] for each in of for task in each.summary["tasks"]),
                "chosen": sum(1 for each in of for _ in _strategies(each)),
            }
        )
    regressions = {c["regression"] for each in finished for c in each.summary["concepts"]}
    first = (finished or told)[0].summary
    return {
        "scenario": compared["scenario"],
        "description": first["run"]["description"],
        "setting": dict(first["run"]["facts"]).get("setting", ""),
        "regression": compared["regression"],
        "mixed": len(regressions) > 1,
        "names": names,
        "tasks": max((each.summary["run"]["tasks"] for each in told), default=0),
        "agents": agents,
        "runs": [
            {
                "agent": each.outcome.agent,
                "seed": each.outcome.seed,
                "status": "unfinished" if each.outcome.status == "running" else each.outcome.status,
                "path": each.outcome.path,
                "accuracy": each.outcome.values.get("accuracy"),
                "command": each.summary["run"]["command"],
            }
            for each in told
        ],
    }


def _names(columns: Sequence[Sequence[str]]) -> list[str]:
    """Name the test sets; where they differ from run to run, by their place."""
    if not columns:
        return []
    length = min(map(len, columns))
    return [columns[0][j] if all(each[j] == columns[0][j] for each in columns) else f"{j + 1}" for j in range(length)]


def _curve(told: Sequence[Told]) -> list[dict[str, Any]]:
    """Average the mean accuracy on what was learned so far, task by task, over seeds."""
    rows: dict[int, list[float | None]] = {}
    for each in told:
        for row in each.summary["matrix"]["rows"]:
            if row["task"] is not None:
                rows.setdefault(row["task"], []).append(row["mean"])
    return [{"task": task, **mean_of(values, ["it is undefined"])} for task, values in sorted(rows.items())]


def _column(told: Sequence[Told], column: int) -> dict[str, Any]:
    """Average what became of one test set."""
    concepts = [each.summary["concepts"][column] for each in told]
    return {
        "final": mean_of([concept["final"] for concept in concepts]),
        "learned": mean_of([concept["learned"] for concept in concepts]),
        "forgetting": mean_of([concept["forgetting"] for concept in concepts]),
        "regression": bool(concepts) and concepts[0]["regression"],
    }


def _strategies(told: Told) -> list[str]:
    return [task["strategy"] for task in told.summary["tasks"] if task["strategy"]]


def _choices(told: Sequence[Told]) -> list[dict[str, int]]:
    """Count per task what learned it, over seeds; the most frequent first."""
    found: dict[int, Counter[str]] = {}
    for each in told:
        for task in each.summary["tasks"]:
            if task["strategy"]:
                found.setdefault(task["index"], Counter())[task["strategy"]] += 1
    return [dict(found[task].most_common()) if task in found else {} for task in range(max(found, default=-1) + 1)]


def runs_in(paths: Sequence[Path]) -> list[Path]:
    """Find the runs that are meant: a folder that is no record stands for the records in it.

    Args:
        paths: Folders of runs, or of folders of runs.

    Returns:
        Folders of runs, sorted within each path.

    Raises:
        UserError: If there is none.
    """
    found: list[Path] = []
    for path in paths:
        inside = [] if (path / "manifest.json").exists() or not path.is_dir() else sorted(path.glob("*/manifest.json"))
        found += [each.parent for each in inside] or [path]
    if not found:
        raise UserError("report: no run is given.")
    return found
