"""From several runs to one self-contained HTML page: no script, no request, the same bytes from the same records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import units
from .pages import COLOURS, environment
from .several_figures import STRIP, choices, means, paired
from .several_plots import bands, costs

Json = Mapping[str, Any]
_CELL = {"flops": units.flops, "bytes": units.size, "seconds": units.seconds}


def render(told: Json) -> str:
    """Draw the page.

    Args:
        told: What `several.several` gave.

    Returns:
        The page.
    """
    compared = told["comparison"]
    scenarios = [
        {
            **scenario,
            "compared": each,
            "means": means(scenario, each),
            "paired": paired(scenario, each, compared["margin"]) if each["paired"] else None,
            "bands": bands(scenario),
            "costs": costs(scenario, each),
            "from_zero": means(scenario, each)["ticks"][0][1] in ("0", "0.0", "0.00"),
            "beyond": any(_beyond(entry["means"]["accuracy"]) for entry in each["agents"]),
            "choices": choices(scenario),
            "strategies": list(dict.fromkeys(name for agent in scenario["agents"] for name in agent["strategies"])),
            "tables": _tables(compared["measures"], scenario["regression"]),
            "undefined": _undefined(each, compared["measures"]),
            "dense": len(scenario["names"]) > 24,
        }
        for scenario, each in zip(told["scenarios"], compared["scenarios"], strict=True)
    ]
    strategies = [name for scenario in scenarios for name in scenario["strategies"]]
    made = environment()
    made.globals.update(cell=_cell, range=_range, p_value=_p_value)
    return made.get_template("several.html.j2").render(
        t=told,
        c=compared,
        scenarios=scenarios,
        agents=[(number + 1, name) for number, name in enumerate(compared["agents"])],
        hues=COLOURS,
        colours={name: position % COLOURS for position, name in enumerate(dict.fromkeys(strategies))},
        strip=STRIP,
        title=_title(told),
    )


def _title(told: Json) -> str:
    names = [each["scenario"] for each in told["scenarios"]]
    shown = ", ".join(map(units.plain, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return shown or "no scenario"


def _beyond(mean: Json) -> bool:
    """Tell whether an interval ends where no accuracy can lie."""
    return units.known(mean["low"]) and units.known(mean["high"]) and (mean["low"] < 0 or mean["high"] > 1)


def _tables(measures: Sequence[Json], regression: bool) -> list[tuple[str, list[Json]]]:
    """Part the numbers: what was reached, and what it cost."""
    reached = [measure for measure in measures if measure["unit"] not in _CELL]
    cost = [measure for measure in measures if measure["unit"] in _CELL]
    heading = "R² and differences of it" if regression else "Every number, in % and points"
    return [(title, part) for title, part in ((heading, reached), ("What is kept, and what it cost", cost)) if part]


def _undefined(compared: Json, measures: Sequence[Json]) -> list[str]:
    """Say why numbers are undefined, each reason once."""
    said = []
    for measure in measures:
        notes = [entry["means"][measure["key"]] for entry in compared["agents"]]
        for note in dict.fromkeys(mean["note"] for mean in notes if mean["mean"] is None):
            said.append(f"n/a for {measure['title']}: {units.plain(note)}.")
    return said


def _cell(mean: Json, measure: Json, regression: bool) -> str:
    """Write a mean as it stands in a table."""
    return _written(mean["mean"], measure, regression)


def _range(mean: Json, measure: Json, regression: bool) -> str:
    """Write an interval as it stands below its mean; empty where there is none."""
    if not units.known(mean["low"]):
        return ""
    low, high = (_written(mean[end], measure, regression) for end in ("low", "high"))
    return f"{low} to {high}"


def _written(value: float | None, measure: Json, regression: bool) -> str:
    if measure["unit"] in _CELL:
        return _CELL[measure["unit"]](max(value, 0.0) if units.known(value) else value)
    if measure["unit"] == "difference" and measure["better"] == "higher":
        return units.change(value, regression)
    return units.score(value, regression)


def _p_value(value: float | None) -> str:
    """Write a p-value with two digits that count."""
    if not units.known(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
