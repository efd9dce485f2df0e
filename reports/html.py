"""From a summary to one self-contained HTML page: no script, no request, the same bytes from the same record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import units
from .figures import Frame, spread
from .interim import FRAME as INTERIM
from .interim import interim
from .pages import COLOURS, environment
from .provenance import provenance
from .reliability import reliability
from .short import in_short
from .spending import spending
from .story import PARTS
from .waterfall import waterfall
from .words import FIXED

_SMALL = Frame(150, 56, left=24, top=4, right=6, bottom=4)
_CURVE = Frame(150, 56, left=24, top=4, right=6, bottom=14)
_WIDE = Frame(620, 150, left=34, top=8, right=10, bottom=22)
Json = Mapping[str, Any]


def render(summary: Json) -> str:
    """Draw the report.

    Args:
        summary: What `summary.summarise` gave.

    Returns:
        The page.
    """
    tasks = summary["tasks"]
    exponent, unit = _flop_unit(tasks)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            s=summary,
            colours=strategy_colours(summary),
            small=_SMALL,
            wide=_WIDE,
            curve=_CURVE,
            average=_average(summary),
            curves=[_concept(summary, column) for column in range(len(summary["concepts"]))],
            learning=_learning(summary),
            at_once=[task for task in tasks if task["strategy"] and not _drawn(task["curves"])],
            helped=provenance(summary),
            parts=[part for part in PARTS if summary["totals"]["parts"][part]],
            part_names=_PART_NAMES,
            flop_unit=unit,
            flop_scale=10.0**exponent,
            most=max((task["flops"] or 0 for task in tasks), default=0) or 1,
            swing=_swing(summary["concepts"], "forgetting", "backward"),
            swing_forward=_swing(summary["concepts"], "forward"),
            in_short=in_short(summary),
            fall=waterfall(summary),
            spent=spending(summary),
            reliable=reliability(summary),
            interim=interim(summary),
            interim_frame=INTERIM,
            measures=_grouped(summary.get("measures") or ()),
            references=summary.get("references") or (),
            fixed=FIXED,
            dense=len(summary["concepts"]) > 24,
            digits=1 if len(summary["concepts"]) <= 12 else 0,
        )
    )


_PART_NAMES = {
    "profile": "measuring what is known",
    "choice": "choosing",
    "together": "learning together with others",
    "learning": "learning",
    "later": "work for later tasks",
}


def _grouped(measures: Sequence[Json]) -> list[tuple[str, list[Json]]]:
    """Put further numbers with others of their group, in the order in which groups appear."""
    groups: dict[str, list[Json]] = {}
    for each in measures:
        groups.setdefault(each["group"], []).append(each)
    return list(groups.items())


def _flop_unit(tasks: Sequence[Json]) -> tuple[int, str]:
    """Find one unit for a column of FLOPs, so that its numbers can be compared."""
    most = max((task["flops"] or 0.0 for task in tasks), default=0.0)
    for exponent, unit in ((15, "PFLOP"), (12, "TFLOP"), (9, "GFLOP"), (6, "MFLOP"), (3, "kFLOP")):
        if most >= 10**exponent:
            return exponent, unit
    return 0, "FLOP"


def strategy_colours(summary: Json) -> dict[str, int]:
    """Give every strategy a colour, in the order in which they appear.

    Args:
        summary: What `summary.summarise` gave.

    Returns:
        Name to the number of its colour.
    """
    names: list[str | None] = []
    for task in summary["tasks"]:
        chosen = task["chosen"] or {}
        names += [task["strategy"], chosen.get("strategy"), *(curve["strategy"] for curve in task["curves"])]
    names += [curve["strategy"] for event in summary["together"] for curve in event["curves"]]
    return {name: position % COLOURS for position, name in enumerate(dict.fromkeys(filter(None, names)))}


def _average(summary: Json) -> dict[str, Any]:
    """Draw the average accuracy over what was learned so far, row by row."""
    rows, learned_at = summary["matrix"]["rows"], summary["matrix"]["learned_at"]
    values: list[float | None] = []
    for position, row in enumerate(rows):
        seen = [
            v for v, first in zip(row["values"], learned_at, strict=True) if first is not None and first <= position
        ]
        values.append(sum(seen) / len(seen) if seen and None not in seen else None)
    points = list(zip(spread(len(rows)), values, strict=True))
    return {
        "path": _WIDE.path(points),
        "dots": [
            (_WIDE.x(x), _WIDE.y(y), y, label)
            for (x, y), label in zip(points, _row_labels(rows), strict=True)
            if y is not None
        ],
        "ticks": [(_WIDE.x(x), label) for x, label in zip(spread(len(rows)), _row_labels(rows), strict=True)][
            :: len(rows) // 20 + 1
        ],
    }


def _row_labels(rows: Sequence[Json]) -> list[str]:
    """Name the rows of the matrix: 0 before any learning, then the task's number."""
    return ["0" if row["task"] is None else str(row["task"] + 1) for row in rows]


def _concept(summary: Json, column: int) -> dict[str, Any]:
    """Draw one concept's accuracy: pale before it was learned, full from then on."""
    rows, first = summary["matrix"]["rows"], summary["matrix"]["learned_at"][column]
    points = [(x, row["values"][column]) for x, row in zip(spread(len(rows)), rows, strict=True)]
    split = len(points) if first is None else first
    return {
        "name": summary["concepts"][column]["name"],
        "before": _SMALL.path(points[: split + 1]),
        "after": _SMALL.path(points[split:]),
        "mark": None if first is None or first >= len(points) else _at(points[first]),
        "end": _at(points[-1]) if first is not None and points else None,
        "learned": summary["concepts"][column]["learned"],
        "regression": summary["concepts"][column]["regression"],
        "final": summary["concepts"][column]["final"],
    }


def _at(point: tuple[float, float | None], frame: Frame = _SMALL) -> tuple[float, float] | None:
    """Place a point in a small figure."""
    return None if point[1] is None or not units.known(point[1]) else (frame.x(point[0]), frame.y(point[1]))


def _learning(summary: Json) -> list[dict[str, Any]]:
    """Draw learning that took more than one step, the joint phases first: held-out scores against the budget spent."""
    figures: list[dict[str, Any]] = []
    for event in summary["together"]:
        figures.append(
            {"label": event["numbers"], "name": "together", "regression": summary["regression"], "of": event}
        )
    for task in summary["tasks"]:
        label = str(task["index"] + 1)
        figures.append({"label": label, "name": task["name"], "regression": task["regression"], "of": task})
    found = []
    for figure in figures:
        of = figure.pop("of")
        if not _drawn(of["curves"]):
            continue
        arms = []
        for curve in of["curves"]:
            points = [(min(each["fraction"], 1.0), each["accuracy"]) for each in curve["points"]]
            drawn = [point for point in points if point[1] is not None]
            if drawn:
                answers = (curve["strategy"], curve["source"]) == (of["strategy"], of.get("source"))
                best = max(point[1] for point in drawn)
                path = _CURVE.path(points) if len(drawn) > 1 else ""
                arms.append({**curve, "path": path, "dot": _at(drawn[-1], _CURVE), "best": best, "answers": answers})
        found.append({**figure, "arms": arms})
    return found


def _drawn(curves: Sequence[Json]) -> bool:
    """Whether there is a line to draw: something that was scored more than once."""
    return any(sum(point["accuracy"] is not None for point in curve["points"]) > 1 for curve in curves)


def _swing(concepts: Sequence[Json], *keys: str) -> float:
    """Find the largest difference that the bars of some columns have to show, at least ten points."""
    values = [concept[key] for concept in concepts for key in keys]
    return max([abs(value) for value in values if value is not None] + [0.1])
