"""What it took to keep a store within its bytes, and what it cost in accuracy: told apart from forgetting."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from . import units
from .story import Story

# What was done, in the order in which it is thought of, as one says it of a number of entries.
_SAID = {"left out": "left out", "delta": "kept as a small difference", "merged": "merged", "evicted": "evicted"}


def bounded(story: Story) -> dict[str, Any] | None:
    """Gather what was done to stay within the bytes that the recipe grants.

    Args:
        story: The run.

    Returns:
        "limit" and "most" (bytes granted, and held at most after a task), "steps" (all of them, with their "after"
        task), "counts" by what was done, "cost": accuracy (R²) that it costs, mean over all tasks, estimated when it
        was done (None where nothing of it was known), and "said", the whole in a sentence. None where the recipe grants
        any number of bytes.
    """
    told = [(task.index, task.bounded) for _, task in sorted(story.tasks.items()) if task.bounded]
    if not told:
        return None
    steps = [{"after": index, **step} for index, event in told for step in event["steps"]]
    counts = Counter(step["how"] for step in steps)
    known = [float(step["cost"]) * len(step["tasks"]) for step in steps if step["tasks"] and step["cost"] is not None]
    changed = any(step["tasks"] for step in steps)
    cost = math.fsum(known) / len(told) if known else None if changed else 0.0
    limit, most = int(told[-1][1]["limit"]), max(int(event["bytes"]) for _, event in told)
    return {
        "limit": limit,
        "most": most,
        "steps": steps,
        "counts": {how: counts[how] for how in _SAID if how in counts},
        "cost": cost,
        "said": _said(limit, most, counts, cost, story.regression),
    }


def _said(limit: int, most: int, counts: Counter[str], cost: float | None, regression: bool) -> str:
    within = f"The store held at most {units.size(most)} of the {units.size(limit)} that it may hold after a task"
    done = [f"{counts[how]} {words}" for how, words in _SAID.items() if counts[how]]
    if not done:
        return f"{within}; nothing had to be left out."
    unit = "" if regression else " points of accuracy"
    price = "an unknown amount" if cost is None else f"{units.change(-cost, regression)}{unit}"
    return (
        f"{within}: of encoders and other entries, {', '.join(done)}. Estimated effect on the mean over all tasks: "
        f"{price}; the matrix shows the true one as forgetting."
    )
