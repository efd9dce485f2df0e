"""Plots of several runs as places on the page: accuracy over time with bands, and against what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .figures import Frame, spread
from .scale import Scale, axis_of, digits, logarithmic
from .several_figures import between
from .units import flops, known, score, seconds, size

Json = Mapping[str, Any]
BANDS = Frame(620, 230, left=40, top=8, right=26, bottom=24)
COST = Frame(250, 190, left=36, top=8, right=14, bottom=24)
COSTS = (("flops", "FLOPs", flops), ("bytes_kept", "Bytes kept", size), ("cpu_seconds", "CPU time", seconds))


def bands(scenario: Json) -> dict[str, Any]:
    """Lay out the mean accuracy on what was learned so far, task by task, with its interval over seeds.

    Args:
        scenario: One of `several.several`'s scenarios.

    Returns:
        The frame, "rows" and "columns" (ticks with their place) and per agent "line", "band" (SVG paths) and "dots".
    """
    scale = curve_axis(scenario)
    places, regression = spread(max(scenario["tasks"], 1)), scenario["regression"]
    drawn = []
    for agent in scenario["agents"]:
        curve = [point for point in agent["curve"] if known(point["mean"]) and point["task"] < len(places)]
        at = [(places[p["task"]], p) for p in curve]
        line = BANDS.path([(x, scale.share(p["mean"])) for x, p in at])
        roof = [(x, scale.share(p["high"])) for x, p in at if known(p["high"])]
        floor = [(x, scale.share(p["low"])) for x, p in at if known(p["low"])]
        drawn.append(
            {
                "agent": agent["agent"],
                "number": agent["number"],
                "line": line,
                "band": BANDS.path([*roof, *reversed(floor)]) + "Z" if len(roof) > 1 else "",
                "dots": [
                    (BANDS.x(x), BANDS.y(scale.share(p["mean"])), f"after task {p['task'] + 1}: {_said(p, scenario)}")
                    for x, p in at
                ],
            }
        )
    ends_at = apart([each["dots"][-1][1] if each["dots"] else None for each in drawn], 13.0)
    for each, y in zip(drawn, ends_at, strict=True):
        each["end"] = y
    every = scenario["tasks"] // 20 + 1
    return {
        "frame": BANDS,
        "agents": drawn,
        "rows": [(BANDS.y(scale.share(mark)), score(mark, regression, digits(scale))) for mark in scale.marks],
        "columns": [(BANDS.x(x), str(task + 1)) for task, x in enumerate(places)][::every],
    }


def costs(scenario: Json, compared: Json) -> list[dict[str, Any]]:
    """Lay out accuracy against what it cost, one figure per kind of cost, on a logarithmic axis.

    Args:
        scenario: One of `several.several`'s scenarios.
        compared: The same of its comparison.

    Returns:
        Per figure: "title", ticks, "front" (SVG path through the agents that nothing beats in both) and a dot per
        agent with the interval of its accuracy. Figures without anything to draw are left out.
    """
    entries = [entry for entry in compared["agents"] if known(entry["means"]["accuracy"]["mean"])]
    y_axis = cost_axis(entries)
    numbers = {agent["agent"]: agent["number"] for agent in scenario["agents"]}
    figures = []
    for key, title, write in COSTS:
        of = [entry for entry in entries if known(entry["means"][key]["mean"]) and entry["means"][key]["mean"] > 0]
        x_axis = logarithmic([entry["means"][key]["mean"] for entry in of])
        if x_axis is None:
            continue
        best = [entry for entry in of if entry["agent"] in compared["pareto"].get(key, ())]
        figures.append(
            {
                "title": title,
                "frame": COST,
                "rows": [
                    (COST.y(y_axis.share(mark)), score(mark, scenario["regression"], digits(y_axis)))
                    for mark in y_axis.marks
                ],
                "columns": [(COST.x(x_axis.share(mark)), write(mark)) for mark in _few(x_axis)],
                "front": COST.path(
                    sorted(
                        (x_axis.share(e["means"][key]["mean"]), y_axis.share(e["means"]["accuracy"]["mean"]))
                        for e in best
                    )
                ),
                "dots": [_dot(entry, key, write, numbers[entry["agent"]], x_axis, y_axis, scenario) for entry in of],
            }
        )
    return figures


def curve_axis(scenario: Json) -> Scale:
    """Find the axis of the curves over time.

    Args:
        scenario: One of `several.several`'s scenarios.
    """
    points = [point for agent in scenario["agents"] for point in agent["curve"]]
    return axis_of([p["mean"] for p in points], [p[end] for p in points for end in ("low", "high")])


def cost_axis(entries: Sequence[Json]) -> Scale:
    """Find the axis of the accuracies that stand against cost.

    Args:
        entries: Agents of a comparison.
    """
    means = [entry["means"]["accuracy"] for entry in entries]
    return axis_of([m["mean"] for m in means], [m[end] for m in means for end in ("low", "high")])


def apart(places: Sequence[float | None], least: float) -> list[float | None]:
    """Move labels apart that would lie on each other, keeping their order.

    Args:
        places: Where each belongs; None for none.
        least: How far apart they have to be.

    Returns:
        Places at least that far apart, around where they belong.
    """
    order = sorted((place, position) for position, place in enumerate(places) if place is not None)
    found: list[float | None] = [None] * len(places)
    runs: list[tuple[list[int], float]] = []  # labels that touch, and the middle of where they belong
    for place, position in order:
        runs.append(([position], place))
        while len(runs) > 1 and runs[-1][1] - runs[-2][1] < least * (len(runs[-1][0]) + len(runs[-2][0])) / 2:
            (below, low), (above, high) = runs[-2:]
            middle = (low * len(below) + high * len(above)) / (len(below) + len(above))
            runs[-2:] = [([*below, *above], middle)]
    for group, middle in runs:
        for k, position in enumerate(group):
            found[position] = round(middle + least * (k - (len(group) - 1) / 2), 2)
    return found


def _said(mean: Json, scenario: Json) -> str:
    text = score(mean["mean"], scenario["regression"])
    return f"{text} ({between(mean, scenario['regression'])})" if known(mean["low"]) else text


def _dot(
    entry: Json, key: str, write: Any, number: int, x_axis: Scale, y_axis: Scale, scenario: Json
) -> dict[str, Any]:
    cost, accuracy = entry["means"][key]["mean"], entry["means"]["accuracy"]
    return {
        "number": number,
        "x": COST.x(x_axis.share(cost)),
        "y": COST.y(y_axis.share(accuracy["mean"])),
        "low": COST.y(y_axis.share(accuracy["low"])) if known(accuracy["low"]) else None,
        "high": COST.y(y_axis.share(accuracy["high"])) if known(accuracy["high"]) else None,
        "said": f"{entry['agent']}: {_said(accuracy, scenario)}, {write(cost)}",
    }


def _few(axis: Scale) -> Sequence[float]:
    """Leave out marks of an axis until four at most are left."""
    return axis.marks[:: (len(axis.marks) - 1) // 4 + 1]
