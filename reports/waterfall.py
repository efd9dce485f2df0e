"""From nothing to the end: what each test set gained before, by and after learning its task, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .units import change, known, score

Json = Mapping[str, Any]
# Kind of step, the concept's number that it begins with, the one that it ends with, in words.
STEPS = (
    ("ahead", "base", "before", "before its task was learned"),
    ("learning", "before", "learned", "by learning it"),
    ("after", "learned", "final", "by all that was learned after it"),
)


def waterfall(summary: Json) -> dict[str, Any]:
    """Lay out the figure: one row per test set, in it one bar per step, each beginning where the one before ends.

    Args:
        summary: What `summary.summarise` gave.

    Returns:
        "rows": name, "from" and "to" as text, "end" (percent of the width) and "steps" (kind, whether it is a loss,
        "left" and "width" in percent, what it says); "ticks": marks of the axis with their place in percent.
    """
    numbers = [concept[key] for concept in summary["concepts"] for key in ("base", "before", "learned", "final")]
    low = max(min([0.0, *filter(known, numbers)]), -1.0)  # R² may be negative; below −1 nothing is worth the room
    return {
        "rows": [_row(concept, low) for concept in summary["concepts"]],
        "ticks": [(_place(mark / 4, low), mark / 4) for mark in range(-4, 5) if mark / 4 >= low],
    }


def _row(concept: Json, low: float) -> dict[str, Any]:
    regression = concept["regression"]
    steps = []
    for lane, (kind, start, end, words) in enumerate(STEPS):
        first, last = concept[start], concept[end]
        if not (known(first) and known(last)):
            continue
        left, right = sorted((_place(first, low), _place(last, low)))
        unit = "" if regression else " points"
        steps.append(
            {
                "kind": kind,
                "lane": lane,
                "loss": last < first,
                "none": last == first,
                "left": left,
                "width": round(right - left, 2),
                "said": f"{change(last - first, regression)}{unit} {words}: "
                f"{score(first, regression)} → {score(last, regression)}",
            }
        )
    return {
        "name": concept["name"],
        "from": score(concept["base"], regression),
        "to": score(concept["final"], regression),
        "end": _place(concept["final"], low) if known(concept["final"]) else None,
        "steps": steps,
    }


def _place(value: float, low: float) -> float:
    """Place a value on the axis, in percent of its width."""
    return round(100 * (min(max(value, low), 1.0) - low) / (1 - low), 2)
