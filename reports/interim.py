"""Accuracy while later tasks are learned: what a test set loses for a while, and what it has regained at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .figures import Frame
from .units import known, scored

Json = Mapping[str, Any]
FRAME = Frame(150, 56, left=24, top=4, right=6, bottom=14)


def interim(summary: Json) -> list[dict[str, Any]]:
    """Lay out one small figure per test set that was evaluated while something was learned.

    Args:
        summary: What `summary.summarise` gave.

    Returns:
        Number and name, the SVG path from when it was learned on, its lowest point since then with what it says, and
        marks of the rows of the matrix. Empty where nothing was evaluated during learning.
    """
    points = timeline(summary)
    if not summary.get("during"):
        return []
    end = max(x for x, _, _ in points) or 1.0
    figures = []
    for column, concept in enumerate(summary["concepts"]):
        at = concept["learned_at"]
        if at is None:
            continue
        own = [(x / end, values[column], row) for x, values, row in points if column < len(values)]
        first = next(place for place, (_, _, row) in enumerate(own) if row == at)
        since = [(x, value) for x, value, _ in own[first:]]
        defined = [(value, x) for x, value in since if known(value)]
        if len(defined) < 2:
            continue
        lowest, where = min(defined)
        figures.append(
            {
                "number": column + 1,
                "name": concept["name"],
                "regression": concept["regression"],
                "path": FRAME.path(since),
                "low": (FRAME.x(where), FRAME.y(lowest)),
                "lowest": lowest,
                "final": defined[-1][0],
                "said": f"{scored(lowest, concept['regression'])} at the lowest since it was learned",
                "rows": [FRAME.x(x) for x, _, row in own[first:] if row is not None],
            }
        )
    return figures


def timeline(summary: Json) -> list[tuple[float, list[float | None], int | None]]:
    """Put the rows of the matrix and the evaluations during learning in order.

    Args:
        summary: What `summary.summarise` gave.

    Returns:
        Place (tasks learned by then; in between, evenly spread), values per column, and the row (None in between).
    """
    found: list[tuple[float, list[float | None], int | None]] = []
    for number, row in enumerate(summary["matrix"]["rows"]):
        found.append((0.0 if row["task"] is None else row["task"] + 1.0, list(row["values"]), number))
    by_task: dict[int, list[Json]] = {}
    for each in summary.get("during") or ():
        by_task.setdefault(each["task"], []).append(each)
    for task, events in by_task.items():
        for k, each in enumerate(events):
            found.append((task + (k + 1) / (len(events) + 1), list(each["values"]), None))
    return sorted(found, key=lambda point: point[0])
