"""Who helped whom: rows for tasks and for what was learned together, and an arc from every helper to the helped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .figures import arc

Json = Mapping[str, Any]
ROW = 30.0  # height of a row; the page's CSS is told


def provenance(summary: Json) -> dict[str, Any]:
    """Lay out the figure.

    Args:
        summary: What `summary.summarise` gave.

    Returns:
        Rows ("label", "name", "task" or None for a joint phase, "uses": how many it helped), arcs between them (SVG
        paths with the helped task and both rows) and measures of the drawing.
    """
    phases = {event["tasks"][0]: event for event in summary["together"] if event["strategy"] and event["numbers"]}
    rows: list[dict[str, Any]] = []
    row_of: dict[tuple[int, ...], int] = {}
    for task in summary["tasks"]:
        phase = phases.get(task["index"])
        if phase is not None:
            row_of[tuple(phase["tasks"])] = len(rows)
            rows.append(
                {"label": phase["numbers"], "name": f"together, by {phase['strategy']}", "task": None, "uses": 0}
            )
        row_of[(task["index"],)] = len(rows)
        rows.append({"label": str(task["index"] + 1), "name": task["name"], "task": task, "uses": 0})
    links = []
    for task in summary["tasks"]:
        start = row_of.get(tuple(task["helped_by"]["tasks"])) if task["helped_by"] else None
        if start is not None:
            rows[start]["uses"] += 1
            links.append((start, row_of[(task["index"],)], task))
    reach = max((abs(end - start) for start, end, _ in links), default=0)
    right = min(18.0 + 5.0 * reach, 110.0)
    return {
        "rows": rows,
        "arcs": [
            {"d": arc(start, end, ROW, right), "task": task, "start": start, "end": end} for start, end, task in links
        ],
        "right": right,
        "width": right + 8.0,
        "row": ROW,
        "height": ROW * len(rows),
    }
