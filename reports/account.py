"""The account of one task as plain data: what was wanted, what answered, whom it owes, what it scored and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .story import Story, TaskStory
from .units import sentence
from .ways import ranked
from .words import caught, in_brief, left_by, probed, standing_on, told

_RETURNS = "it is counted with the task that brought its test set first"


def account(story: Story, task: TaskStory, concepts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Gather what a report says of a task.

    Args:
        story: The run.
        task: The task.
        concepts: What `summary.summarise` gathered per test set, by column.

    Returns:
        Plain data; what did not happen is None.
    """
    start, chosen, learned, kept = (part or {} for part in (task.started, task.chosen, task.learned, task.remembered))
    column = start.get("concept")
    row = task.evaluated["values"] if task.evaluated else []
    concept = concepts[column] if column is not None and column < len(concepts) else {}
    done = learned or chosen
    first = concept.get("learned_at") is not None and _row_of(story, task) == concept["learned_at"]
    return {
        "index": task.index,
        "name": task.name,
        "concept": column,
        "regression": task.regression,
        "samples": start.get("samples"),
        "query": start.get("query"),
        "classes": list(start.get("classes") or ()),
        "budget": start.get("budget"),
        "strategy": done.get("strategy"),
        "source": done.get("source"),
        "standing_on": standing_on(story, done.get("source"), task.index),
        "chosen": {
            "strategy": chosen["strategy"],
            "source": chosen["source"],
            "standing_on": standing_on(story, chosen["source"], task.index),
        }
        if chosen
        else None,
        "overruled": task.overruled,
        "wanted": chosen.get("wanted"),
        "reason": sentence(chosen["reason"]) if chosen else None,
        "verdict": sentence(learned["verdict"]) if learned.get("verdict") else None,
        "in_brief": in_brief(task),
        "caught": caught(task),
        "helped_by": _helped_by(story, task),
        "told": told(story, task),
        "considered": [way.to_json() for way in ranked(chosen, learned)] if chosen else [],
        "probes": probed(task),
        "units": learned.get("units"),
        "best_unit": learned.get("best_unit"),
        "stopped": learned.get("stopped"),
        "held_out": learned.get("held_out"),
        "held_out_accuracy": learned.get("accuracy"),
        "accuracy": row[column] if column is not None and column < len(row) else None,
        "first_visit": first,
        "final": concept.get("final"),
        "forgetting": concept.get("forgetting") if first else None,
        "forgetting_reason": (concept.get("reasons") or {}).get("forgetting") if first or not concept else _RETURNS,
        "flops": task.spent if learned else None,
        "parts": story.parts(task) if learned else None,
        "seconds": task.seconds if learned else None,
        "peak_bytes": learned.get("peak_bytes"),
        "model": kept.get("model"),
        "encoder": kept.get("encoder"),
        "parent": kept.get("parent"),
        "kept": list(kept.get("kept") or ()),
        "new_bytes": kept.get("new_bytes"),
        "store_bytes": kept.get("store_bytes"),
        "warnings": task.warnings,
        "curves": curves(task.progress),
    }


def curves(progress: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Gather progress by what was at work.

    Args:
        progress: `Progress` events as JSON, in order.

    Returns:
        Strategy, source and points of each, in the order in which they first appeared.
    """
    found: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for event in progress:
        point = {key: event[key] for key in ("unit", "flops", "fraction", "loss", "accuracy")}
        found.setdefault((event["strategy"], event["source"]), []).append(point)
    return [{"strategy": strategy, "source": source, "points": points} for (strategy, source), points in found.items()]


def _helped_by(story: Story, task: TaskStory) -> dict[str, Any] | None:
    origin = story.helper(task)
    if origin is None:
        return None
    return {"entry": origin.entry, "tasks": list(origin.tasks), "kind": origin.kind, "said": left_by(story, origin)}


def _row_of(story: Story, task: TaskStory) -> int | None:
    return task.evaluated["row"] if task.evaluated else None
