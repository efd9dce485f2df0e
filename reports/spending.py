"""Cost and store as a run goes on: FLOPs added up, selection apart from learning, and the bytes that are kept."""

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
    """Lay out both figures.

    Args:
        summary: What `summary.summarise` gave.

    Returns:
        "layers": name, words, total and the SVG path of each that is not empty; "flops" and "bytes": ticks of the
        axis with their place; "kept": SVG path; "dots": places of the tasks with what to say of them; "tasks": ticks
        of the tasks' axis. Empty where no task was learned.
    """
    tasks = [task for task in summary["tasks"] if task["parts"]]
    if not tasks:
        return {}
    sums = {name: _running([math.fsum(task["parts"][p] for p in parts) for task in tasks]) for name, parts, _ in LAYERS}
    totals = [math.fsum(values) for values in zip(*sums.values(), strict=True)]
    most, heap = _round(totals[-1]), _round(max(float(task["store_bytes"] or 0) for task in tasks))
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
    return {
        "frame": FRAME,
        "layers": layers,
        "flops": [(FRAME.y(mark), flops(mark * most)) for mark in (0, 0.5, 1)],
        "bytes": [(FRAME.y(mark), size(mark * heap)) for mark in (0, 0.5, 1)],
        "kept": FRAME.path([(x, y / heap) for x, y in zip(xs, [0.0, *kept], strict=True)]),
        "dots": [
            (FRAME.x(x), FRAME.y(held / heap), FRAME.y(spent / most), f"after task {task['index'] + 1}", held, spent)
            for x, held, spent, task in zip(xs[1:], kept, totals, tasks, strict=True)
        ],
        "tasks": [(FRAME.x(x), str(task["index"] + 1)) for x, task in zip(xs[1:], tasks, strict=True)][
            len(tasks) // 15 :: len(tasks) // 15 + 1
        ],
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
