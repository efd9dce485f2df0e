"""The figures of several runs for a paper, one set for every scenario."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from .palette import palette
from .paper import COLUMN, DASHES, PAGE, Drawing, canvas, colour, label, scaled, slug, tidy, what
from .scale import Scale, axis_of
from .several_plots import COSTS, cost_axis, curve_axis
from .units import known, score

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Json = Mapping[str, Any]


def drawings(summary: Json) -> dict[str, Drawing]:
    """List the figures of several runs.

    Args:
        summary: What `several.several` gave.

    Returns:
        Name of the file, which begins with that of the scenario where there are several, to what draws it.
    """
    kinds: dict[str, Callable[[Json, Json], Figure | None]] = {
        "accuracy": _means,
        "differences": partial(_differences, margin=summary["comparison"]["margin"]),
        "over-time": _over_time,
        "cost": _cost,
        "test-sets": _test_sets,
        "choices": _choices,
    }
    found: dict[str, Drawing] = {}
    pairs = list(zip(summary["scenarios"], summary["comparison"]["scenarios"], strict=True))
    for number, (scenario, compared) in enumerate(pairs):
        name = slug(scenario["scenario"])
        before = "" if len(pairs) == 1 else f"{name}-" if f"{name}-accuracy" not in found else f"{name}-{number + 1}-"
        found |= {f"{before}{kind}": partial(make, scenario, compared) for kind, make in kinds.items()}
    return found


def _scaled(value: float | None, scenario: Json) -> float:
    return scaled([value], scenario["regression"])[0]


def _ends(scale: Scale, scenario: Json) -> tuple[float, float]:
    """Give an axis the ends that it has on the page, with some room for dots."""
    room = 0.02 * (scale.high - scale.low)
    return _scaled(scale.low - room, scenario), _scaled(scale.high + room, scenario)


def _means(scenario: Json, compared: Json) -> Figure | None:
    agents = [entry for entry in compared["agents"] if known(entry["means"]["accuracy"]["mean"])]
    if not agents:
        return None
    numbers = {agent["agent"]: agent["number"] for agent in scenario["agents"]}
    figure, (axes,) = canvas(COLUMN, 0.5 + 0.2 * len(agents))
    for row, entry in enumerate(agents):
        mean, tint = entry["means"]["accuracy"], colour(numbers[entry["agent"]] - 1)
        seeds = [_scaled(run["values"]["accuracy"], scenario) for run in entry["runs"]]
        axes.plot(seeds, [row] * len(seeds), "o", ms=2.5, color=tint, alpha=0.35, mew=0)
        axes.plot([_scaled(mean[end], scenario) for end in ("low", "high")], [row] * 2, color=tint, lw=1.6)
        axes.plot([_scaled(mean["mean"], scenario)], [row], "o", ms=4.5, color=tint, mec="white", mew=0.6)
    axes.set_yticks(range(len(agents)), [label(entry["agent"]) for entry in agents])
    axes.set_ylim(len(agents) - 0.5, -0.5)
    means = [entry["means"]["accuracy"] for entry in agents]
    seeds_at = [run["values"]["accuracy"] for entry in agents for run in entry["runs"]]
    axis = axis_of([*seeds_at, *(m["mean"] for m in means)], [m[end] for m in means for end in ("low", "high")])
    axes.set_xlim(_ends(axis, scenario))
    axes.set_xlabel(f"average {what(scenario)}, 95 % interval over seeds")
    tidy(axes, "x")
    return figure


def _differences(scenario: Json, compared: Json, margin: float) -> Figure | None:
    rows = [row for row in compared["paired"] if row["mean"] is not None]
    if not rows:
        return None
    numbers = {agent["agent"]: agent["number"] for agent in scenario["agents"]}
    figure, (axes,) = canvas(COLUMN, 0.6 + 0.2 * len(rows))
    half = _scaled(margin, scenario)
    axes.axvspan(-half, half, color=palette()["faint"], lw=0)
    axes.axvline(0, color=palette()["soft"], lw=0.8)
    for place, row in enumerate(rows):
        tint = colour(numbers[row["agent"]] - 1)
        values = [_scaled(value, scenario) for value in row["differences"]]
        axes.plot(values, [place] * len(values), "o", ms=2.5, color=tint, alpha=0.35, mew=0)
        if row["bootstrap"]:
            axes.plot([_scaled(end, scenario) for end in row["bootstrap"]], [place] * 2, color=tint, lw=1.6)
        axes.plot([_scaled(row["mean"], scenario)], [place], "o", ms=4.5, color=tint, mec="white", mew=0.6)
    axes.set_yticks(range(len(rows)), [label(row["agent"]) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    unit = "R²" if scenario["regression"] else "points"
    axes.set_xlabel(f"difference to {label(rows[0]['baseline'])}, {unit}")
    tidy(axes, "x")
    return figure


def _over_time(scenario: Json, compared: Json) -> Figure | None:
    from matplotlib.ticker import MaxNLocator

    agents = [agent for agent in scenario["agents"] if any(known(point["mean"]) for point in agent["curve"])]
    if not agents:
        return None
    figure, (axes,) = canvas(COLUMN, 2.4 + 0.1 * len(agents))
    for agent in agents:
        xs = [point["task"] + 1 for point in agent["curve"]]
        mean, low, high = ([_scaled(p[key], scenario) for p in agent["curve"]] for key in ("mean", "low", "high"))
        tint, dashes = colour(agent["number"] - 1), DASHES[(agent["number"] - 1) % len(DASHES)]
        axes.fill_between(xs, low, high, color=tint, alpha=0.15, lw=0)
        axes.plot(xs, mean, color=tint, dashes=dashes or (None, None), label=label(agent["agent"]))
        if len(xs) == 1:
            axes.plot(xs, mean, "o", ms=3, color=tint)
    axes.set_xlabel("after task")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(_ends(curve_axis(scenario), scenario))
    axes.set_ylabel(f"mean {what(scenario)}, learned so far")
    tidy(axes)
    figure.legend(loc="outside lower center", ncols=2, handlelength=3)
    return figure


def _cost(scenario: Json, compared: Json) -> Figure | None:
    from matplotlib.ticker import FixedLocator, NullFormatter

    numbers = {agent["agent"]: agent["number"] for agent in scenario["agents"]}
    entries = [entry for entry in compared["agents"] if known(entry["means"]["accuracy"]["mean"])]
    kinds = [each for each in COSTS if any((entry["means"][each[0]]["mean"] or 0) > 0 for entry in entries)]
    if not kinds:
        return None
    from .scale import logarithmic

    figure, grid = canvas(PAGE, 2.2 + 0.09 * len(entries), 1, len(kinds), sharey=True)
    handles: dict[str, Any] = {}
    for axes, (key, title, write) in zip(grid, kinds, strict=True):
        shown = [entry for entry in entries if (entry["means"][key]["mean"] or 0) > 0]
        best = sorted(
            (e["means"][key]["mean"], e["means"]["accuracy"]["mean"])
            for e in shown
            if e["agent"] in compared["pareto"][key]
        )
        axes.plot([x for x, _ in best], [_scaled(y, scenario) for _, y in best], ":", color=palette()["soft"], lw=1)
        for entry in shown:
            mean, number = entry["means"]["accuracy"], numbers[entry["agent"]]
            x, tint = entry["means"][key]["mean"], colour(number - 1)
            axes.plot([x, x], [_scaled(mean[end], scenario) for end in ("low", "high")], color=tint)
            (dot,) = axes.plot([x], [_scaled(mean["mean"], scenario)], "o", ms=8, color=tint, mew=0, ls="")
            axes.annotate(
                str(number), (x, _scaled(mean["mean"], scenario)), ha="center", va="center", fontsize=6, color="white"
            )
            handles.setdefault(f"{number} {label(entry['agent'])}", dot)
        scale = logarithmic([entry["means"][key]["mean"] for entry in shown])
        if scale is not None:
            axes.set_xscale("log")
            axes.set_xlim(scale.low, scale.high)
            marks = scale.marks[:: (len(scale.marks) - 1) // 3 + 1]
            axes.xaxis.set_major_locator(FixedLocator(marks))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xticks(marks, [write(mark) for mark in marks])
        axes.set_xlabel(title)
        tidy(axes)
    grid[0].set_ylim(_ends(cost_axis(entries), scenario))
    grid[0].set_ylabel(f"average {what(scenario)}")
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=3, markerscale=0.6)
    return figure


def _test_sets(scenario: Json, compared: Json) -> Figure | None:
    from matplotlib.colors import LinearSegmentedColormap

    agents = [agent for agent in scenario["agents"] if any(known(c["final"]["mean"]) for c in agent["columns"])]
    if not agents:
        return None
    names, few = scenario["names"], len(scenario["names"]) <= 14
    figure, (axes,) = canvas(
        PAGE, 0.4 + 0.2 * len(agents) + (0.05 * max(len(label(name)) for name in names) if few else 0.1)
    )
    values = [
        [c["final"]["mean"] if known(c["final"]["mean"]) else math.nan for c in agent["columns"]] for agent in agents
    ]
    colours = LinearSegmentedColormap.from_list("heat", [palette()["wash"], palette()["heat"]])
    axes.imshow(values, cmap=colours, vmin=0, vmax=1, aspect="auto")
    for i, agent in enumerate(agents):
        for j, column in enumerate(agent["columns"]):
            value = column["final"]["mean"]
            on = palette()["on-heat" if known(value) and value > 0.62 else "ink"]
            text = score(value, column["regression"], 1 if few else 0)
            if len(names) <= 30:
                axes.text(j, i, text, ha="center", va="center", fontsize=6, color=on)
    axes.set_xticks(
        range(len(names)),
        [f"{j + 1} {label(name)}" if few and name != str(j + 1) else f"{j + 1}" for j, name in enumerate(names)],
    )
    axes.tick_params(
        axis="x", rotation=90 if few else 0, top=True, labeltop=True, bottom=False, labelbottom=False, length=0
    )
    axes.set_yticks(range(len(agents)), [label(agent["agent"]) for agent in agents])
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    return figure


def _choices(scenario: Json, compared: Json) -> Figure | None:
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator

    agents = [agent for agent in scenario["agents"] if any(agent["choices"])]
    if not agents:
        return None
    names = list(dict.fromkeys(name for agent in scenario["agents"] for name in agent["strategies"]))
    figure, (axes,) = canvas(PAGE, 0.75 + 0.27 * len(agents))
    for row, agent in enumerate(agents):
        for task, found in enumerate(agent["choices"]):
            whole, top = sum(found.values()), 0.0
            for name, times in found.items():
                share = 0.8 * times / whole
                axes.bar(task + 1, share, width=0.92, bottom=row - 0.4 + top, color=colour(names.index(name)))
                top += share
    axes.set_yticks(range(len(agents)), [label(agent["agent"]) for agent in agents])
    axes.set_ylim(len(agents) - 0.5, -0.5)
    axes.set_xlim(0.4, max(len(agent["choices"]) for agent in agents) + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("task; share of the seeds")
    tidy(axes, "")
    handles = [Patch(color=colour(place), label=label(name)) for place, name in enumerate(names)]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=min(len(handles), 6), handlelength=1, handleheight=0.8
    )
    return figure
