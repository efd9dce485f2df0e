"""Figures of several runs as places on the page: means with intervals, curves with bands, cost, choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .figures import Frame, spread
from .scale import Scale, linear, logarithmic
from .units import change, flops, known, score, seconds, size

Json = Mapping[str, Any]
BANDS = Frame(620, 230, left=40, top=8, right=26, bottom=24)
COST = Frame(250, 190, left=36, top=8, right=14, bottom=24)
STRIP = Frame(600, 26)
COSTS = (("flops", "FLOPs", flops), ("bytes_kept", "Bytes kept", size), ("cpu_seconds", "CPU time", seconds))


def means(scenario: Json, compared: Json, key: str = "accuracy") -> dict[str, Any]:
    """Lay out every agent's mean with its interval, and its seeds as dots.

    Args:
        scenario: One of `several.several`'s scenarios.
        compared: The same of its comparison.
        key: The number that is drawn.

    Returns:
        "ticks" (place in percent, text) and "rows": agent, number, place of the mean, of the interval and of the seeds.
    """
    entries = [(entry, entry["means"][key]) for entry in compared["agents"]]
    values = [run["values"].get(key) for entry, _ in entries for run in entry["runs"]]
    values += [mean[end] for _, mean in entries for end in ("low", "high")]
    scale = linear(filter(known, values))
    regression = scenario["regression"]
    rows = []
    for agent, (entry, mean) in zip(scenario["agents"], entries, strict=True):
        runs = [(run["seed"], run["values"].get(key)) for run in entry["runs"]]
        rows.append(
            {
                **_interval(scale, mean["mean"], mean["low"], mean["high"]),
                "agent": agent["agent"],
                "number": agent["number"],
                "dots": [(scale.percent(v), f"seed {seed}: {score(v, regression)}") for seed, v in runs if known(v)],
                "text": score(mean["mean"], regression),
                "range": _range(mean, regression),
                "note": mean["note"] or "",
            }
        )
    return {"ticks": _ticks(scale, regression), "rows": rows}


def paired(scenario: Json, compared: Json, margin: float) -> dict[str, Any]:
    """Lay out the differences to the baseline.

    Args:
        scenario: One of `several.several`'s scenarios.
        compared: The same of its comparison.
        margin: Half the width of the region of practical equivalence.

    Returns:
        "ticks", "zero", "zone" (left and width of the region) and "rows" as of `means`, with what was tested.
    """
    rows = compared["paired"]
    ends = [value for row in rows for value in (*(row["bootstrap"] or ()), *row["differences"]) if known(value)]
    scale = linear([*ends, -1.5 * margin, 1.5 * margin])
    regression = scenario["regression"]
    numbers = {agent["agent"]: agent["number"] for agent in scenario["agents"]}
    drawn = []
    for row in rows:
        low, high = row["bootstrap"] or (None, None)
        drawn.append(
            {
                **_interval(scale, row["mean"], low, high),
                "agent": row["agent"],
                "number": numbers[row["agent"]],
                "seeds": len(row["seeds"]),
                "dots": [
                    (scale.percent(d), f"seed {seed}: {change(d, regression)}")
                    for seed, d in zip(row["seeds"], row["differences"], strict=True)
                ],
                "text": change(row["mean"], regression),
                "range": f"{change(low, regression)} to {change(high, regression)}" if known(low) else "",
                "wilcoxon": row["wilcoxon"],
                "holm": row["holm"],
                "verdict": row["verdict"],
                "not_worse": row["not_worse"],
                "note": row["note"] or "",
            }
        )
    return {
        "ticks": [(scale.percent(mark), change(mark, regression, _digits(scale))) for mark in scale.marks],
        "zero": scale.percent(0.0),
        "zone": (scale.percent(-margin), round(scale.percent(margin) - scale.percent(-margin), 2)),
        "rows": drawn,
    }


def bands(scenario: Json) -> dict[str, Any]:
    """Lay out the mean accuracy on what was learned so far, task by task, with its interval over seeds.

    Args:
        scenario: One of `several.several`'s scenarios.

    Returns:
        The frame, "rows" and "columns" (ticks with their place) and per agent "line", "band" (SVG paths) and "dots".
    """
    ends = [point[k] for agent in scenario["agents"] for point in agent["curve"] for k in ("mean", "low", "high")]
    scale = linear([min(max(value, -1.0), 1.0) for value in ends if known(value)])
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
        "rows": [(BANDS.y(scale.share(mark)), score(mark, regression, _digits(scale))) for mark in scale.marks],
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
    ends = [entry["means"]["accuracy"][k] for entry in entries for k in ("mean", "low", "high")]
    y_axis = linear(filter(known, ends))
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
                    (COST.y(y_axis.share(mark)), score(mark, scenario["regression"], _digits(y_axis)))
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


def choices(scenario: Json) -> list[dict[str, Any]]:
    """Lay out what learned each task, as shares of the seeds.

    Args:
        scenario: One of `several.several`'s scenarios.

    Returns:
        Per agent that chose: its name and number, and per task "x", "width" and parts ("y", "height", strategy) of a
        bar with "said", what it says in words.
    """
    drawn = []
    for agent in scenario["agents"]:
        if not any(agent["choices"]):
            continue
        width = STRIP.width / max(len(agent["choices"]), 1)
        bars = []
        for task, found in enumerate(agent["choices"]):
            whole, parts, top = sum(found.values()), [], 0.0
            for name, times in found.items():
                height = STRIP.height * times / whole
                parts.append((round(top, 2), round(height, 2), name))
                top += height
            said = ", ".join(f"{name} {times}×" for name, times in found.items()) or "nothing"
            bars.append(
                {
                    "x": round(task * width, 2),
                    "width": round(width - 1.5, 2),
                    "parts": parts,
                    "said": f"task {task + 1}: {said}",
                }
            )
        drawn.append({**agent, "bars": bars})
    return drawn


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


def _interval(scale: Scale, mean: float | None, low: float | None, high: float | None) -> dict[str, Any]:
    """Place a mean and its interval."""
    placed: dict[str, Any] = {"at": scale.percent(mean) if known(mean) else None, "from": None, "width": None}
    if known(low) and known(high):
        placed["from"] = scale.percent(low)
        placed["width"] = round(scale.percent(high) - scale.percent(low), 2)
    return placed


def _range(mean: Json, regression: bool) -> str:
    return f"{score(mean['low'], regression)} to {score(mean['high'], regression)}" if known(mean["low"]) else ""


def _said(mean: Json, scenario: Json) -> str:
    text = score(mean["mean"], scenario["regression"])
    return f"{text} ({_range(mean, scenario['regression'])})" if known(mean["low"]) else text


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


def _ticks(axis: Scale, regression: bool) -> list[tuple[float, str]]:
    return [(axis.percent(mark), score(mark, regression, _digits(axis))) for mark in axis.marks]


def _digits(axis: Scale) -> int:
    """Digits after the point that tell the marks of an axis of shares apart, in percent."""
    return 1 if len(axis.marks) > 1 and axis.marks[1] - axis.marks[0] < 0.0099 else 0
