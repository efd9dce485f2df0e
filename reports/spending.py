"""Cost as a run goes on: FLOPs added up, selection apart from learning; the bytes that are kept; resident memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .figures import Frame, spread
from .units import flops, size

Json = Mapping[str, Any]
FRAME = Frame(290, 130, left=56, top=8, right=8, bottom=20)
# Layers of the figure, from below: name, parts of a task's cost (`story.PARTS`), words.
LAYERS = (
    ("learning", ("together", "learning"), "learning"),
    ("later", ("later",), "work for later tasks"),
    ("choosing", ("profile", "choice"), "selection: measuring and choosing"),
)


def spending(summary: Json) -> dict[str, Any]:
    """Lay out the figures.

    Args:
        summary: What `summary.summarise` gave.

    Returns:
        "layers": name, words, total and the SVG path of each that is not empty; "flops": ticks of the axis with their
        place; "dots": places of the tasks with what to say of them; "curves": of bytes kept and, where it is known, of
        resident memory, each with ticks, SVG path and dots; "tasks": ticks of the tasks' axis. Empty where no task was
        learned.
    """
    tasks = [task for task in summary["tasks"] if task["parts"]]
    if not tasks:
        return {}
    sums = {name: _running([math.fsum(task["parts"][p] for p in parts) for task in tasks]) for name, parts, _ in LAYERS}
    totals = [math.fsum(values) for values in zip(*sums.values(), strict=True)]
    most = _round(totals[-1])
    xs = spread(len(tasks) + 1)
    floor = [0.0] * (len(tasks) + 1)
    layers = []
    for name, _, words in LAYERS:
        roof = [a + b for a, b in zip(floor, [0.0, *sums[name]], strict=True)]
        if sums[name][-1]:
            outline = [*zip(xs, roof, strict=True), *reversed(list(zip(xs, floor, strict=True)))]
            path = FRAME.path([(x, y / most) for x, y in outline]) + "Z"
            layers.append({"name": name, "words": words, "total": sums[name][-1], "path": path})
        floor = roof
    kept = [float(task["store_bytes"] or 0) for task in tasks]
    names = [f"after task {task['index'] + 1}" for task in tasks]
    held = [("", 0.0, 0.0), *zip(names, xs[1:], kept, strict=True)]
    peaks = [
        (f"task {task['index'] + 1}", x, float(task["peak_bytes"]))
        for x, task in zip(xs[1:], tasks, strict=True)
        if task.get("peak_bytes") is not None
    ]
    curves = [_curve("kept", held)]
    if peaks:
        curves.append(_curve("peak", peaks))
    return {
        "frame": FRAME,
        "layers": layers,
        "flops": [(FRAME.y(mark), flops(mark * most)) for mark in (0, 0.5, 1)],
        "dots": [
            (FRAME.x(x), FRAME.y(spent / most), name, spent)
            for x, name, spent in zip(xs[1:], names, totals, strict=True)
        ],
        "curves": curves,
        "tasks": [(FRAME.x(x), str(task["index"] + 1)) for x, task in zip(xs[1:], tasks, strict=True)][
            len(tasks) // 15 :: len(tasks) // 15 + 1
        ],
    }


def _curve(name: str, points: Sequence[tuple[str, float, float]]) -> dict[str, Any]:
    """Lay out bytes over tasks: what each point is called ("" for none to be marked), its place and its bytes."""
    top = _round(max(value for *_, value in points))
    return {
        "name": name,
        "ticks": [(FRAME.y(mark), size(mark * top)) for mark in (0, 0.5, 1)],
        "path": FRAME.path([(x, value / top) for _, x, value in points]),
        "dots": [(FRAME.x(x), FRAME.y(value / top), said, value) for said, x, value in points if said],
        "most": max(value for *_, value in points),
    }


def _running(values: Sequence[float]) -> list[float]:
    """Add up, place by place."""
    return [math.fsum(values[: end + 1]) for end in range(len(values))]


def _round(top: float) -> float:
    """Find a round number at or above a total, for the top of an axis: 1, 2, 4 or 6 times a power of ten."""
    if top <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(top))
    return next(factor * power for factor in (1, 2, 4, 6, 10) if factor * power >= top * (1 - 1e-12))
