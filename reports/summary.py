"""From a record to every number of a report, as plain data: `summary.json` holds it, the page and the table show it."""

from __future__ import annotations

import json
import math
import shlex
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import __version__
from ..scenarios.metrics import AccuracyMatrix, Measure, all_measures, all_per_column, evaluated_once
from ..scenarios.record import Record
from ..scenarios.run_folder import plain
from ..scenarios.sampling import CONVENTION, over_samples
from . import units
from .account import account, curves
from .bounded import bounded
from .lines import together
from .numbers import numbers
from .recipe import WORDS, compact, flattened
from .references import References
from .story import PARTS, Story

SCHEMA = 1
_NOTHING = AccuracyMatrix(np.empty((0, 0)), (), (), (), (), ())
_DIFFERENCES = ("forgetting", "backward transfer", "forward transfer (zero-shot)")
_IN_A_WORD = {"learning accuracy": "learned", "forgetting": "forgetting", "backward transfer": "backward"}


def summarise(record: Record, references: References | None = None) -> dict[str, Any]:
    """Gather what a report says.

    Args:
        record: The record of a run, whole or up to where it was cut off.
        references: Runs on the same stream that it is held against; what needs them is n/a without.

    Returns:
        Plain data that `to_text` writes. What is undefined is None, with the reason beside it.
    """
    story = Story.of(record.events)
    matrix, held = record.matrix or _NOTHING, references or References()
    concepts, undefined = _concepts(matrix)
    tasks = [account(story, task, concepts) for _, task in sorted(story.tasks.items())]
    values_asked = matrix.values.shape[1] > 0 and not any(matrix.class_sets)
    return {
        "schema": SCHEMA,
        "evermap": str(record.manifest.get("versions", {}).get("evermap") or __version__),
        "run": _run(record, story),
        "regression": values_asked,
        "headline": [
            _headline(measure, record.matrix is not None, values_asked) | _interval(measure, matrix, story)
            for measure in all_measures(matrix, evaluated_once(matrix, [each["tasks"] for each in story.together]))
        ],
        "intervals": CONVENTION,
        "matrix": _matrix(matrix, story),
        "concepts": concepts,
        "undefined": undefined,
        "tasks": tasks,
        "together": [_together(story, event) for event in story.together],
        "choices": dict(sorted(Counter(task["strategy"] for task in tasks if task["strategy"]).items())),
        "totals": _totals(story, tasks),
        "bounded": bounded(story),
        "recipe": record.scenario,
        "recipe_lines": compact({key: value for key, value in record.scenario.items() if key not in WORDS}),
        "made_with": [
            [key, value]
            for key, value in flattened(record.manifest)
            if key.partition(".")[0] in ("recipe_sha256", "data_sha256", "versions", "hardware") and value != "none"
        ],
        "problems": [units.plain(problem) for problem in (*record.problems, *held.differs)],
        **numbers(record, story, matrix, held, tasks),
    }


def to_text(summary: Mapping[str, Any]) -> str:
    """Write a summary as `summary.json` holds it: equal summaries give equal text, and NaN never stands in it.

    Args:
        summary: What `summarise` gave.

    Returns:
        JSON with a final newline.
    """
    return json.dumps(plain(summary), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _run(record: Record, story: Story) -> dict[str, Any]:
    manifest, recipe = record.manifest, record.scenario
    status = str(manifest["status"])
    if status == "running":
        status = "unfinished"  # it still runs, or it was killed: the record cannot tell
    stream, agent = recipe.get("stream", {}), recipe.get("agent", {})
    done = sum(task.evaluated is not None for task in story.tasks.values())
    tasks = story.expected or len(story.tasks)
    note = (
        ""
        if status == "finished"
        else f"The record holds {done} of {units.count(tasks, 'task')}; the numbers are about these."
    )
    facts = {
        "selector": manifest["agent"],
        "seed": manifest["seed"],
        "setting": stream.get("setting"),
        "sharing": agent.get("sharing"),
        "encoder": agent.get("encoder"),
        "stem": agent.get("stem"),
        "tasks": tasks,
        "status": status,
        "interruptions": len(manifest.get("interruptions") or ()) or None,
        "started": str(manifest.get("started") or "").replace("T", " ").replace("+00:00", " UTC"),
    }
    return {
        "id": str(manifest["id"]),
        "scenario": str(manifest["scenario"]),
        "description": str(recipe.get("description") or ""),
        "shows": str(recipe.get("shows") or ""),
        "selector": str(manifest["agent"]),
        "seed": manifest["seed"],
        "tasks": tasks,
        "status": status,
        "status_note": note,
        "facts": [[name, str(value)] for name, value in facts.items() if value not in (None, "", "none")],
        "command": shlex.join(map(str, manifest.get("command") or ("evermap", "run", "scenario.toml"))),
    }


def _headline(measure: Measure, evaluated: bool, regression: bool) -> dict[str, Any]:
    difference = measure.name in _DIFFERENCES
    if measure.name == "forgetting" or not difference:
        text = units.score(measure.value, regression)
    else:
        text = units.change(measure.value, regression)
    of_r2 = (lambda words: words.replace("accuracy", "R²")) if regression else str
    title = of_r2(measure.name)
    return {
        "name": measure.name,
        "title": title[0].upper() + title[1:],
        "value": measure.value,
        "text": text,
        "unit": "" if regression else "points" if difference else "%",
        "reason": measure.reason if evaluated else "the run ended before anything was evaluated",
        "convention": of_r2(measure.convention),
    }


def _interval(measure: Measure, matrix: AccuracyMatrix, story: Story) -> dict[str, Any]:
    """Bound a headline number over test samples: what one run can say of its own accuracy."""
    none = {"interval": None, "interval_text": "", "interval_reason": None}
    if measure.value is None:
        return none
    found = over_samples(measure.name, matrix, story.rows[-1]["samples"] if story.rows else ())
    if found.low is None or found.high is None:
        return none | {"interval_reason": found.reason}
    signed = measure.name in _DIFFERENCES and measure.name != "forgetting"
    write = units.change if signed else units.score
    return none | {"interval": [found.low, found.high], "interval_text": f"{write(found.low)} to {write(found.high)}"}


def _matrix(matrix: AccuracyMatrix, story: Story) -> dict[str, Any]:
    rows = []
    for position, (task, values) in enumerate(zip(matrix.row_tasks, matrix.values.tolist(), strict=True)):
        learned = [v for v, at in zip(values, matrix.learned_at, strict=True) if at is not None and at <= position]
        known = bool(learned) and all(map(math.isfinite, learned))
        name = None if task is None else story.tasks[task].name if task in story.tasks else f"task {task + 1}"
        mean = math.fsum(learned) / len(learned) if known else None
        rows.append({"task": task, "name": name, "values": [_number(value) for value in values], "mean": mean})
    return {
        "columns": list(matrix.columns),
        "learned_at": list(matrix.learned_at),
        "classes": [list(classes) for classes in matrix.class_sets],
        "rows": rows,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _concepts(matrix: AccuracyMatrix) -> tuple[list[dict[str, Any]], list[list[str]]]:
    """Gather the numbers per test set; and, for reading, why some of them are undefined."""
    per = {column.name: column for column in all_per_column(matrix)}
    wanted = {
        "learned": per["learning accuracy"],
        "forgetting": per["forgetting"],
        "backward": per["backward transfer"],
        "forward": per["forward transfer (zero-shot)"],
    }
    values = matrix.values
    concepts = []
    for j, name in enumerate(matrix.columns):
        at = matrix.learned_at[j]
        since = [] if at is None else [v for v in values[at:, j].tolist() if math.isfinite(v)]
        concepts.append(
            {
                "name": name,
                "regression": not matrix.class_sets[j],
                "learned_at": at,
                "base": _number(float(values[0, j])) if len(values) else None,
                "before": None if at is None else _number(float(values[at - 1, j])),
                "best": max(since, default=None),
                "final": _number(float(values[-1, j])) if len(values) else None,
                **{key: column.values[j] for key, column in wanted.items()},
                "reasons": {key: column.reasons[j] for key, column in wanted.items()},
            }
        )
    undefined = []
    for key in ("forgetting", "backward", "forward"):
        column = wanted[key]
        for reason in dict.fromkeys(reason for reason in column.reasons if reason is not None):
            which = [j + 1 for j, each in enumerate(column.reasons) if each == reason]
            some = f"test set{'s' if len(which) > 1 else ''} {units.ranges(which)}"
            about = "all test sets" if len(which) == len(matrix.columns) else some
            undefined.append([f"{column.name}, {about}", reason])
    return concepts, undefined


def _together(story: Story, event: Mapping[str, Any]) -> dict[str, Any]:
    first = story.tasks.get(event["tasks"][0])
    return {
        "said": units.sentence(together(event, story.regression)),
        "numbers": units.ranges([task + 1 for task in event["tasks"]]),
        "curves": curves(first.joint if first else []),
        **{key: value for key, value in event.items() if key != "event"},
    }


def _totals(story: Story, tasks: list[dict[str, Any]]) -> dict[str, Any]:
    evaluation = math.fsum(float(row.get("seconds") or 0.0) for row in (*story.rows, *story.during))
    task_seconds = math.fsum(task["seconds"] or 0.0 for task in tasks)
    kept = story.store or {}
    shares = [row["anchor_share"] for row in story.rows if row.get("anchor_share")]
    samples = story.rows[-1]["samples"] if shares else []
    answered = math.fsum(share * n for share, n in zip(shares[-1], samples, strict=True)) if shares else 0.0
    return {
        "flops": story.flops,
        "task_flops": math.fsum(task["flops"] or 0.0 for task in tasks),
        "parts": {part: math.fsum(task["parts"][part] for task in tasks if task["parts"]) for part in PARTS},
        "task_seconds": task_seconds,
        "evaluation_seconds": evaluation,
        "seconds": task_seconds + evaluation,
        "store_bytes": kept.get("store_bytes", 0),
        "encoders": kept.get("encoders", 0),
        "sampled": kept.get("sampled"),
        "sample_bytes": kept.get("sample_bytes") or 0,
        "anchor_share": answered / sum(samples) if shares and sum(samples) else None,
    }
