"""Everything about one task of a run, gathered as plain data: from what was known before it to whom it helped later."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import RecordError, UserError
from ..scenarios.arm_table import has_table, read_table
from ..scenarios.oracle import task_regret
from ..scenarios.record import Record
from . import units
from .story import Story, TaskStory
from .summary import summarise
from .words import standing_on

SCHEMA = 1


def explained(record: Record, wanted: str) -> dict[str, Any]:
    """Gather what a person would tell of one task.

    Args:
        record: The record of a run, whole or up to where it was cut off.
        wanted: The task's name, or its number in the stream, from 1, as reports count.

    Returns:
        The task's account of the report, and beside it: its number, what was known, what was compared with the default
        and what experience expected, what every arm would have given (where `evermap regret` ran them), and the later
        tasks that it helped. What did not happen is None or empty.

    Raises:
        UserError: If there is no such task, or several have that name.
        RecordError: If the record names no task, or its table of arms is damaged.
    """
    summary, story = summarise(record), Story.of(record.events)
    task = _find(summary["tasks"], wanted, record.path)
    index = task["index"]
    profiled = story.tasks[index].profiled or {}
    before = [each for each in summary["tasks"] if each["index"] < index and each["strategy"]]
    return {
        "schema": SCHEMA,
        "run": {key: summary["run"][key] for key in ("id", "scenario", "selector", "seed", "tasks", "status")},
        "number": index + 1,
        **task,
        "known": {
            "tasks": len(before),
            "encoders": (story.tasks[index - 1].remembered or {}).get("encoders", 0)
            if index in story.tasks and before
            else 0,
            "unprobed": profiled.get("unprobed") or 0,
            "flops": profiled.get("flops"),
        },
        "probes": [{**probe, "standing_on": standing_on(story, probe["candidate"], index)} for probe in task["probes"]],
        "considered": [
            {**each, "standing_on": standing_on(story, each["source"], index)} for each in task["considered"]
        ],
        "compared": _compared(story.tasks[index]),
        "expected": {key: (story.tasks[index].chosen or {}).get(key) for key in ("expected", "unsure")},
        "arms": _arms(record.path, index),
        "helped": _helped(summary["tasks"], index),
    }


def _find(tasks: Sequence[Mapping[str, Any]], wanted: str, path: Path) -> dict[str, Any]:
    if not tasks:
        raise RecordError(f"{path}: the run ended before its first task; there is nothing to explain.")
    named = [task for task in tasks if task["name"] == wanted]
    if len(named) > 1:
        numbers = ", ".join(str(task["index"] + 1) for task in named)
        raise UserError(f"{path}: several tasks are called {wanted!r}; give the number: {numbers}.")
    if named:
        return dict(named[0])
    if wanted.isdecimal():
        for task in tasks:
            if task["index"] + 1 == int(wanted):
                return dict(task)
    first, last = tasks[0]["index"] + 1, tasks[-1]["index"] + 1
    near = difflib.get_close_matches(wanted, [task["name"] for task in tasks], n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UserError(f"{path}: there is no task {wanted!r}.{hint} Give a name, or a number from {first} to {last}.")


def _compared(task: TaskStory) -> list[dict[str, Any]]:
    """What was tried out or guarded, sample by sample against the closed-form default; the guard's verdict last."""
    tried = [{**each, "guard": False} for each in (task.chosen or {}).get("tried") or ()]
    judged = (task.learned or {}).get("judged")
    return [*tried, {**judged, "guard": True}] if judged else tried


def _arms(path: Path, index: int) -> dict[str, Any] | None:
    """What every arm would have given, where that was computed; the best first."""
    if not has_table(path):
        return None
    table = read_table(path)
    arms = table.arms.get(index, ())
    if not arms:
        return None
    answer = table.answers.get(index)
    lost = task_regret(arms, answer) if answer is not None else None
    lines = []
    for arm in sorted(arms, key=lambda arm: -(arm.accuracy if arm.accuracy is not None else -1e9)):
        line = asdict(arm)
        line.pop("facts")
        lines.append({**line, "answered": answer is not None and arm.way == answer.way})
    return {"lines": lines, "regret": asdict(lost) if lost is not None else None}


def _helped(tasks: Sequence[Mapping[str, Any]], index: int) -> list[dict[str, Any]]:
    """The later tasks that answered with, or learned from, what this one had left."""
    return [
        {
            "number": task["index"] + 1,
            "name": task["name"],
            "strategy": task["strategy"],
            "entry": task["helped_by"]["entry"],
            "accuracy": task["accuracy"],
            "regression": task["regression"],
        }
        for task in tasks
        if task["helped_by"] and index in task["helped_by"]["tasks"] and task["index"] > index
    ]


def counted(task: Mapping[str, Any]) -> str:
    """Say in words what came with a task.

    Args:
        task: What `explained` gave.

    Returns:
        "15 samples of 3 classes", "10 samples with values to predict".
    """
    samples = units.count(task["samples"] or 0, "sample")
    query = f" and {units.count(task['query'], 'sample')} to check with" if task["query"] else ""
    if task["regression"]:
        return f"{samples} with values to predict{query}"
    return f"{samples} of {units.count(len(task['classes']), 'class', 'classes')}{query}"
