"""Figures of a comparison as SVG: paired differences, accuracy against cost, critical-difference diagram."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from . import units
from .plots import FAINT, INK, SERIES, SOFT, STYLE, WASH, WIDTH, colour_of, new_figure, short, to_svg

Json = Mapping[str, Any]

# Words of a cost's axis, without needless zeros.
_WRITTEN: Mapping[str, Callable[[float], str]] = {
    "flops": lambda value: _brief(units.flops(value)),
    "cpu_seconds": lambda value: _brief(units.seconds(value)),
    "bytes_kept": lambda value: _brief(units.size(value)),
}
COSTS = (("flops", "FLOPs"), ("cpu_seconds", "CPU seconds"), ("bytes_kept", "bytes kept"))


def differences_figure(scenario: Json, agents: Sequence[str], margin: float, name: str) -> str:
    """Draw paired differences: a dot per seed, the mean, both intervals, and the region of practical equivalence.

    Args:
        scenario: One of a comparison's.
        agents: All agents, for their colours.
        margin: Half width of the region.
        name: Prefix of the figure's ids, its own on the page.

    Returns:
        An `svg` element; empty where no difference is known.
    """
    rows = [pair for pair in scenario["paired"] if pair["mean"] is not None]
    if not rows:
        return ""
    factor = 1.0 if scenario["regression"] else 100.0
    with rc_context(STYLE):
        figure, axes = new_figure(0.62 + 0.3 * len(rows))
        axes.axvspan(-margin * factor, margin * factor, color=WASH, zorder=0)
        axes.axvline(0, color=SOFT, linewidth=0.8, zorder=1)
        for row, pair in enumerate(rows):
            colour = SERIES[colour_of(agents.index(pair["agent"]))]
            seeds = [factor * value for value in pair["differences"]]
            axes.plot(seeds, [row + 0.22] * len(seeds), "|", color=SOFT, markersize=4, markeredgewidth=0.7, zorder=2)
            for key, width in (("interval", 1.0), ("bootstrap", 3.2)):
                if pair[key] is not None:
                    low, high = (factor * limit for limit in pair[key])
                    axes.plot([low, high], [row, row], color=colour, linewidth=width, solid_capstyle="butt", zorder=3)
            axes.plot([factor * pair["mean"]], [row], "o", color=colour, markersize=5, zorder=4)
        axes.set_yticks(range(len(rows)), [short(pair["agent"]) for pair in rows])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(len(rows) - 0.5, -0.6)
        axes.spines["left"].set_visible(False)
        what = "R²" if scenario["regression"] else "points of accuracy"
        axes.set_xlabel(f"{what} against {short(rows[0]['baseline'])}")
        said = "; ".join(f"{pair['agent']} {units.change(pair['mean'], scenario['regression'])}" for pair in rows)
        return to_svg(figure, name, f"Differences against {rows[0]['baseline']}: {said}")


def pareto_figure(scenario: Json, agents: Sequence[str], name: str) -> str:
    """Draw accuracy against each cost; agents are numbered as in the table, the line joins those nobody beats.

    Args:
        scenario: One of a comparison's.
        agents: All agents, for their colours and numbers.
        name: Prefix of the figure's ids, its own on the page.

    Returns:
        An `svg` element; empty where no agent has an accuracy.
    """
    known = [each for each in scenario["agents"] if each["means"]["accuracy"]["mean"] is not None]
    if not known:
        return ""
    factor = 1.0 if scenario["regression"] else 100.0
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.5), layout="constrained")
        figure.patch.set_visible(False)
        panels = figure.subplots(1, len(COSTS), sharey=True)
        for axes, (cost, title) in zip(panels, COSTS, strict=True):
            _panel(axes, known, scenario["pareto"][cost], cost, agents, factor)
            axes.set_xlabel(title)
        panels[0].set_ylabel("R²" if scenario["regression"] else "accuracy in %")
        fronts = "; ".join(f"{title}: {', '.join(scenario['pareto'][cost])}" for cost, title in COSTS)
        return to_svg(figure, name, f"Accuracy against cost. Nobody is more accurate for less, by {fronts}")


def ranks_figure(ranks: Json, name: str) -> str:
    """Draw the critical-difference diagram (Demšar 2006): the best rank left, bars join what is not told apart.

    Args:
        ranks: A comparison's ranks.
        name: Prefix of the figure's ids, its own on the page.

    Returns:
        An `svg` element; empty where nothing is ranked.
    """
    agents, difference = ranks["agents"], ranks["critical_difference"]
    if len(agents) < 2:
        return ""
    k = len(agents)
    left = (k + 1) // 2
    with rc_context(STYLE):
        bars = len(ranks["groups"])
        below = 0.9 + 0.28 * bars
        depth = below + 0.62 * max(left, k - left)
        figure, axes = new_figure(0.55 + 0.32 * (depth + 1.2))
        axes.axis("off")
        pad = 0.42 * (k - 1)
        axes.set_xlim(1 - pad, k + pad)
        axes.set_ylim(depth, -1.6)
        axes.plot([1, k], [0, 0], color=INK, linewidth=1)
        for tick in range(1, k + 1):
            axes.plot([tick, tick], [0, -0.18], color=INK, linewidth=1)
            axes.text(tick, -0.3, str(tick), ha="center", va="bottom", color=SOFT)
        for position, each in enumerate(agents):
            on_left = position < left
            y = below + 0.62 * (position if on_left else k - 1 - position) + 0.3
            edge = 1 - 0.04 * (k - 1) if on_left else k + 0.04 * (k - 1)
            axes.plot([each["rank"], each["rank"], edge], [0, y, y], color=SOFT, linewidth=0.8)
            text = (
                f"{short(each['agent'])}  {each['rank']:.2f}"
                if on_left
                else f"{each['rank']:.2f}  {short(each['agent'])}"
            )
            side = -0.012 * (k - 1) if on_left else 0.012 * (k - 1)
            axes.text(edge + side, y, text, ha="right" if on_left else "left", va="center")
        by_name = {each["agent"]: each["rank"] for each in agents}
        for number, group in enumerate(ranks["groups"]):
            ends = [by_name[agent] for agent in group]
            y = 0.45 + 0.28 * number
            axes.plot([min(ends) - 0.02 * k, max(ends) + 0.02 * k], [y, y], color=SERIES[0], linewidth=3)
        if difference is not None:
            axes.plot([1, 1 + difference], [-1.15, -1.15], color=INK, linewidth=1)
            for end in (1, 1 + difference):
                axes.plot([end, end], [-1.02, -1.28], color=INK, linewidth=1)
            axes.text(1 + difference / 2, -1.3, f"critical difference {difference:.2f}", ha="center", va="bottom")
        said = "; ".join(f"{each['agent']} {each['rank']:.2f}" for each in agents)
        return to_svg(figure, name, f"Average ranks, best first: {said}")


def _panel(
    axes: Axes, known: Sequence[Json], front: Sequence[str], cost: str, agents: Sequence[str], factor: float
) -> None:
    places: dict[str, tuple[float, float]] = {}
    for each in known:
        price, accuracy = each["means"][cost]["mean"], each["means"]["accuracy"]
        if price is None or price <= 0:
            continue
        number = agents.index(each["agent"])
        colour = SERIES[colour_of(number)]
        places[each["agent"]] = price, factor * accuracy["mean"]
        if accuracy["low"] is not None:
            limits = [factor * accuracy["low"], factor * accuracy["high"]]
            axes.plot([price, price], limits, color=colour, linewidth=1, zorder=2)
        axes.plot([price], [factor * accuracy["mean"]], "o", color=colour, markersize=4.5, zorder=3)
        axes.annotate(
            str(number + 1), places[each["agent"]], (4, 3), textcoords="offset points", color=INK, fontsize=7.5
        )
    line = sorted(places[agent] for agent in front if agent in places)  # a front over fewer seeds has another order
    axes.step([x for x, _ in line], [y for _, y in line], where="post", color=SOFT, linewidth=0.8, zorder=1)
    if places:
        axes.set_xscale("log")
        prices = [price for price, _ in places.values()]
        low, high = min(prices) / 1.8, max(prices) * 2.2
        axes.set_xlim(low, high)
        ticks = log_ticks(low, high)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(ticks, [_WRITTEN[cost](tick) for tick in ticks])
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def log_ticks(low: float, high: float, most: int = 3) -> list[float]:
    """Choose round numbers for a logarithmic axis.

    Args:
        low: Where it begins, above 0.
        high: Where it ends.
        most: How many there may be.

    Returns:
        Powers of ten, some left out where there are too many; 1, 2 and 5 times those where the axis is short.
    """
    exponents = range(math.ceil(math.log10(low) - 1), math.floor(math.log10(high)) + 1)
    tens = [10.0**exponent for exponent in exponents if low <= 10.0**exponent <= high]
    if len(tens) < 2:
        fine = [each for exponent in exponents for each in (10.0**exponent, 2 * 10.0**exponent, 5 * 10.0**exponent)]
        tens = [each for each in fine if low <= each <= high]
    return tens[:: math.ceil(len(tens) / most) or 1]


def _brief(text: str) -> str:
    return re.sub(r"\.0+ ", " ", text)
