"""The figures of one run's tasks for a paper: choices, who helped whom, learning, calibration, cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .html import strategy_colours
from .interim import interim, timeline
from .palette import palette
from .paper import COLUMN, PAGE, canvas, colour, full, label, scaled, tidy, what
from .provenance import provenance as laid_out
from .spending import LAYERS
from .units import flops, known, size

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Json = Mapping[str, Any]
_LAYER = {"learning": "s0", "later": "s4", "choosing": "s3"}


def choices(summary: Json) -> Figure | None:
    """Draw what learned each task and what it cost, selection hatched.

    Args:
        summary: What `summary.summarise` gave.
    """
    from matplotlib.patches import Patch

    tasks = [task for task in summary["tasks"] if task["strategy"]]
    if not tasks:
        return None
    places = strategy_colours(summary)
    figure, (axes,) = canvas(PAGE, min(0.8 + 0.24 * len(tasks), 9.5))
    most = max((task["flops"] or 0.0) for task in tasks) or 1.0
    for row, task in enumerate(tasks):
        axes.barh(row, (task["flops"] or 0.0) / most, height=0.6, color=colour(places[task["strategy"]]))
        choosing = sum(task["parts"][part] for part in ("profile", "choice")) if task["parts"] else 0.0
        axes.barh(row, choosing / most, height=0.6, color="none", edgecolor="white", hatch="//////", linewidth=0)
        said = f"{task['strategy']}, {flops(task['flops'])}"
        if task["helped_by"]:
            said += f", from task {', '.join(str(each + 1) for each in task['helped_by']['tasks'])}"
        if task["caught"]:
            said += f" ({task['caught']})"
        axes.text((task["flops"] or 0.0) / most + 0.012, row, label(said, 70), va="center", fontsize=6)
    axes.set_yticks(range(len(tasks)), [f"{task['index'] + 1} {label(task['name'])}" for task in tasks])
    axes.set_ylim(len(tasks) - 0.4, -0.6)
    axes.set_xlim(0, 1.75)
    axes.set_xticks([0, 0.5, 1], [flops(0), flops(0.5 * most), flops(most)])
    axes.set_xlabel("cost of the task; hatched: selection")
    tidy(axes, "x")
    used = dict.fromkeys(task["strategy"] for task in tasks)
    handles = [Patch(color=colour(places[name]), label=label(name)) for name in used]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=min(len(handles), 6), handlelength=1, handleheight=0.8
    )
    return figure


def provenance(summary: Json) -> Figure | None:
    """Draw which task helped which, as arcs.

    Args:
        summary: What `summary.summarise` gave.
    """
    from matplotlib.patches import Arc

    found = laid_out(summary)
    if not found["arcs"]:
        return None
    rows, places = found["rows"], strategy_colours(summary)
    figure, (axes,) = canvas(COLUMN, min(0.3 + 0.19 * len(rows), 9.5))
    farthest = max(abs(arc["end"] - arc["start"]) for arc in found["arcs"])
    for arc in found["arcs"]:
        start, end = arc["start"], arc["end"]
        reach = 0.9 * (0.25 + 0.75 * abs(end - start) / farthest)
        tint = colour(places[arc["task"]["strategy"]])
        axes.add_patch(
            Arc((0, (start + end) / 2), 2 * reach, abs(end - start), theta1=90, theta2=270, color=tint, lw=1)
        )
    for row, each in enumerate(rows):
        task = each["task"]
        tint = colour(places[task["strategy"]]) if task and task["strategy"] in places else palette()["soft"]
        axes.plot([0], [row], "o", ms=3.5, color=tint, mfc=tint if each["uses"] else "white")
        axes.text(0.08, row, f"{each['label']} {label(each['name'], 34)}", va="center", fontsize=6.5)
    axes.set_xlim(-1, 2.2)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_axis_off()
    return figure


def learning(summary: Json) -> Figure | None:
    """Draw held-out scores against the budget spent.

    Args:
        summary: What `summary.summarise` gave.
    """
    phases = [
        {"name": f"tasks {e['numbers']}", "regression": summary["regression"], "curves": e["curves"]}
        for e in summary["together"]
    ]
    tasks = [{**task, "name": f"{task['index'] + 1} {task['name']}"} for task in summary["tasks"]]
    shown = [each for each in [*phases, *tasks] if any(len(_points(curve)) > 1 for curve in each["curves"])]
    if not shown:
        return None
    places = strategy_colours(summary)
    columns = min(4, len(shown))
    deep = math.ceil(len(shown) / columns)
    figure, grid = canvas(PAGE, min(1.3 * deep + 0.35, 9.5), deep, columns)
    used: dict[str, Any] = {}
    for k, axes in enumerate(grid):
        if k >= len(shown):
            axes.set_visible(False)
            continue
        for curve in shown[k]["curves"]:
            points = _points(curve)
            values = scaled([value for _, value in points], shown[k]["regression"])
            style = "-" if len(points) > 1 else "o"
            (line,) = axes.plot(
                [100 * x for x, _ in points], values, style, ms=3, color=colour(places[curve["strategy"]])
            )
            used.setdefault(curve["strategy"], line)
        axes.set_title(label(shown[k]["name"]), loc="left")
        axes.set_xlim(-2, 102)
        full(axes, shown[k]["regression"])
        tidy(axes)
    figure.supxlabel("share of the budget spent, in %", fontsize=7)
    figure.supylabel(f"held-out {what(summary)}", fontsize=7)
    figure.legend(
        list(used.values()), [label(name) for name in used], loc="outside upper center", ncols=min(len(used), 6)
    )
    return figure


def _points(curve: Json) -> list[tuple[float, float]]:
    return [(min(each["fraction"], 1.0), each["accuracy"]) for each in curve["points"] if known(each["accuracy"])]


def during(summary: Json) -> Figure | None:
    """Draw what every test set loses and regains while later tasks are learned.

    Args:
        summary: What `summary.summarise` gave.
    """
    shown = interim(summary)
    if not shown:
        return None
    columns = min(4, len(shown))
    deep = math.ceil(len(shown) / columns)
    figure, grid = canvas(PAGE, min(1.15 * deep + 0.2, 9.5), deep, columns, sharex=True)
    points = timeline(summary)
    for k, axes in enumerate(grid):
        if k >= len(shown):
            axes.set_visible(False)
            continue
        column = shown[k]["number"] - 1
        row = summary["concepts"][column]["learned_at"]
        begun = next(i for i, point in enumerate(points) if point[2] == row)
        since = [(x, values[column], at) for x, values, at in points[begun:]]
        ys = scaled([value for _, value, _ in since], shown[k]["regression"])
        for x, _, at in since:
            if at is not None:
                axes.axvline(x, color=palette()["faint"], lw=0.6)
        axes.plot([x for x, _, _ in since], ys, color=colour(0), lw=1)
        low = min(range(len(ys)), key=lambda i: math.inf if math.isnan(ys[i]) else ys[i])
        axes.plot([since[low][0]], [ys[low]], "o", ms=3.5, mfc="white", mec=palette()["loss"])
        axes.set_title(f"{column + 1} {label(shown[k]['name'])}", loc="left")
        axes.set_xlim(0, points[-1][0])
        full(axes, shown[k]["regression"])
        tidy(axes)
    figure.supylabel(what(summary), fontsize=7)
    figure.supxlabel("tasks learned", fontsize=7)
    return figure


def calibration(summary: Json) -> Figure | None:
    """Draw the reliability diagram of the last row.

    Args:
        summary: What `summary.summarise` gave.
    """
    bins = (summary.get("calibration") or {}).get("bins") or []
    if not bins:
        return None
    figure, (axes,) = canvas(COLUMN, 3.2)
    sure, right = ([100 * each[key] for each in bins] for key in ("confidence", "accuracy"))
    axes.plot([0, 100], [0, 100], ":", color=palette()["soft"], lw=1)
    axes.vlines(sure, sure, right, color=palette()["loss"], alpha=0.55, lw=1.5)
    axes.plot(sure, right, "o-", ms=3, color=colour(0))
    axes.set_xlim(-2, 102)
    axes.set_ylim(-2, 102)
    axes.set_aspect("equal")
    axes.set_xlabel("probability of the answers, in %")
    axes.set_ylabel("right answers, in %")
    tidy(axes)
    return figure


def cost(summary: Json) -> Figure | None:
    """Draw FLOPs spent so far, selection apart, and the bytes kept.

    Args:
        summary: What `summary.summarise` gave.
    """
    tasks = [task for task in summary["tasks"] if task["parts"]]
    if not tasks:
        return None
    figure, (left, right) = canvas(PAGE, 2.1, 1, 2)
    xs = range(len(tasks) + 1)
    layers = {name: [0.0] for name, _, _ in LAYERS}
    for task in tasks:
        for name, parts, _ in LAYERS:
            layers[name].append(layers[name][-1] + math.fsum(task["parts"][part] for part in parts))
    left.stackplot(
        xs, list(layers.values()), colors=[palette()[_LAYER[name]] for name in layers], labels=[w for _, _, w in LAYERS]
    )
    right.plot(xs, [0.0, *[float(task["store_bytes"] or 0) for task in tasks]], "o-", ms=2.5, color=colour(0))
    figure.legend(loc="outside upper left", ncols=3, handlelength=1, handleheight=0.8)
    for axes, write, words in ((left, flops, "FLOPs spent so far"), (right, size, "kept in the store")):
        every = len(tasks) // 12 + 1
        axes.set_xticks(list(xs)[1::every], [str(task["index"] + 1) for task in tasks][::every])
        axes.set_xlabel("after task")
        axes.set_ylabel(words)
        axes.set_ylim(0)
        axes.set_xlim(0, len(tasks) + 0.3)
        marks = [mark for mark in axes.get_yticks() if mark <= axes.get_ylim()[1]]
        axes.set_yticks(marks, [write(mark) for mark in marks])
        tidy(axes)
    return figure
