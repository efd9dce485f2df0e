"""The figures of one run for a paper."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .palette import palette
from .paper import COLUMN, PAGE, Drawing, canvas, colour, full, label, scaled, tidy, what
from .paper_tasks import calibration, choices, cost, during, learning, provenance
from .units import known, score
from .waterfall import STEPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Json = Mapping[str, Any]
_STEP = {"ahead": "s5", "learning": "s0", "after": "gain"}


def drawings(summary: Json) -> dict[str, Drawing]:
    """List the figures of a run.

    Args:
        summary: What `summary.summarise` gave.

    Returns:
        Name of the file to what draws it, which gives None where the run has nothing to show there.
    """
    return {
        "matrix": lambda: _matrix(summary),
        "accuracy": lambda: _accuracy(summary),
        "test-sets": lambda: _test_sets(summary),
        "waterfall": lambda: _waterfall(summary),
        "choices": lambda: choices(summary),
        "provenance": lambda: provenance(summary),
        "learning": lambda: learning(summary),
        "during": lambda: during(summary),
        "calibration": lambda: calibration(summary),
        "cost": lambda: cost(summary),
    }


def _labels(summary: Json) -> list[str]:
    return ["0" if row["task"] is None else str(row["task"] + 1) for row in summary["matrix"]["rows"]]


def _matrix(summary: Json) -> Figure | None:
    from matplotlib.colors import LinearSegmentedColormap

    rows, concepts = summary["matrix"]["rows"], summary["concepts"]
    if not rows or not concepts:
        return None
    few = len(concepts) <= 14 and len(rows) <= 20
    width = COLUMN if len(concepts) <= 6 else PAGE
    height = min(0.5 + (0.19 if few else 0.11) * len(rows) + 0.05 * max(len(label(c["name"])) for c in concepts), 9.0)
    figure, (axes,) = canvas(width, height)
    colours = LinearSegmentedColormap.from_list("heat", [palette()["wash"], palette()["heat"]])
    learned_at = summary["matrix"]["learned_at"]
    shades = [[1.0 if at is not None and at <= i else 0.28 for at in learned_at] for i in range(len(rows))]
    values = [
        [shade * value if known(value) else math.nan for shade, value in zip(of, row["values"], strict=True)]
        for of, row in zip(shades, rows, strict=True)
    ]
    image = axes.imshow(values, cmap=colours, vmin=0, vmax=1, aspect="auto")
    for i, row in enumerate(rows):
        for j, value in enumerate(row["values"]):
            if few:
                text = score(value, concepts[j]["regression"])
                on = palette()["on-heat" if values[i][j] > 0.62 else "ink" if shades[i][j] == 1 else "soft"]
                axes.text(j, i, text, ha="center", va="center", fontsize=6, color=on)
            if learned_at[j] == i:
                axes.add_patch(_frame(j, i))
    axes.set_xticks(
        range(len(concepts)), [f"{j + 1} {label(c['name'])}" if few else f"{j + 1}" for j, c in enumerate(concepts)]
    )
    axes.tick_params(
        axis="x", rotation=90 if few else 0, top=True, labeltop=True, bottom=False, labelbottom=False, length=0
    )
    names = ["0 untrained" if r["task"] is None else f"{r['task'] + 1} {label(r['name'])}" for r in rows]
    axes.set_yticks(range(len(rows)), names if few else _labels(summary))
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("after task")
    bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.01, ticks=[0, 0.5, 1])
    bar.ax.set_yticklabels(["0", "0.5", "1"] if summary["regression"] else ["0 %", "50 %", "100 %"])
    bar.outline.set_visible(False)
    return figure


def _frame(column: int, row: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.47, row - 0.46), 0.94, 0.92, fill=False, edgecolor=palette()["ink"], linewidth=1)


def _accuracy(summary: Json) -> Figure | None:
    rows = summary["matrix"]["rows"]
    if not any(row["mean"] is not None for row in rows):
        return None
    figure, (axes,) = canvas(COLUMN, 2.0)
    axes.plot(
        range(len(rows)), scaled([row["mean"] for row in rows], summary["regression"]), "o-", ms=2.5, color=colour(0)
    )
    _over_tasks(axes, summary)
    axes.set_ylabel(f"mean {what(summary)}, learned so far")
    return figure


def _over_tasks(axes: Axes, summary: Json) -> None:
    names = _labels(summary)
    every = len(names) // 15 + 1
    axes.set_xticks(range(0, len(names), every), names[::every])
    axes.set_xlabel("after task")
    full(axes, summary["regression"])
    tidy(axes)


def _test_sets(summary: Json) -> Figure | None:
    rows, concepts = summary["matrix"]["rows"], summary["concepts"]
    if not rows or not concepts:
        return None
    columns = min(4, len(concepts))
    deep = math.ceil(len(concepts) / columns)
    figure, grid = canvas(PAGE, min(1.15 * deep + 0.2, 9.5), deep, columns, sharex=True)
    for j, axes in enumerate(grid):
        if j >= len(concepts):
            axes.set_visible(False)
            continue
        concept = concepts[j]
        values = scaled([row["values"][j] for row in rows], concept["regression"])
        first = len(values) if concept["learned_at"] is None else concept["learned_at"]
        axes.plot(range(min(first + 1, len(values))), values[: first + 1], ":", color=palette()["soft"], lw=1)
        axes.plot(range(first, len(values)), values[first:], color=colour(0))
        if first < len(values):
            axes.plot([first], [values[first]], "o", ms=3.5, mfc="white", mec=colour(0))
        axes.set_title(f"{j + 1} {label(concept['name'])}", loc="left")
        full(axes, concept["regression"])
        tidy(axes)
        names = _labels(summary)
        axes.set_xticks(range(0, len(names), len(names) // 6 + 1), names[:: len(names) // 6 + 1])
    figure.supylabel(what(summary), fontsize=7)
    figure.supxlabel("after task", fontsize=7)
    return figure


def _waterfall(summary: Json) -> Figure | None:
    from matplotlib.patches import Patch

    concepts = summary["concepts"]
    if not any(known(concept["final"]) for concept in concepts):
        return None
    figure, (axes,) = canvas(PAGE if len(concepts) > 12 else 1.5 * COLUMN, min(0.9 + 0.24 * len(concepts), 9.5))
    colours = palette()
    for j, concept in enumerate(concepts):
        for lane, (kind, start, end, _) in enumerate(STEPS):
            first, last = scaled([concept[start], concept[end]], concept["regression"])
            if math.isnan(first) or math.isnan(last):
                continue
            fill = colours["loss" if last < first else _STEP[kind]]
            axes.barh(j + 0.26 * (lane - 1), last - first, left=first, height=0.22, color=fill)
        (final,) = scaled([concept["final"]], concept["regression"])
        axes.plot([final], [j + 0.26], "o", ms=3.2, color=colours["ink"], mec="white", mew=0.5)
    axes.set_yticks(range(len(concepts)), [f"{j + 1} {label(c['name'])}" for j, c in enumerate(concepts)])
    axes.set_ylim(len(concepts) - 0.5, -0.5)
    axes.set_xlabel(what(summary))
    if not summary["regression"]:
        axes.set_xlim(0, 102)
    tidy(axes, "x")
    words = {"s5": "before its task", "s0": "learning it", "gain": "gained after it", "loss": "lost"}
    handles = [Patch(color=colours[name], label=text) for name, text in words.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=4, handlelength=1, handleheight=0.8)
    return figure
