"""From a comparison to one self-contained HTML page: no script, no request, the same bytes from the same numbers."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from . import units
from .comparison_cells import SHOWN, interval, kind_of, mean, notes, p_value
from .comparison_figures import differences_figure, pareto_figure, ranks_figure
from .comparison_glance import ABOUT, standings
from .pages import environment
from .plots import colour_of

Json = Mapping[str, Any]
_VERDICTS = {"better": "gain", "worse": "loss"}


def render_comparison(comparison: Json) -> str:
    """Draw the page.

    Args:
        comparison: What `comparison.json` holds.

    Returns:
        HTML.
    """
    made = environment()
    made.filters.update(interval=interval, mean=mean, p_value=p_value, ranges=units.ranges)
    made.globals.update(colour_of=colour_of)
    equal = comparison.get("equal_bytes")
    return made.get_template("comparison.html.j2").render(
        c=comparison,
        shown=[(key, title, unit, kind_of(comparison, key)) for key, title, unit in SHOWN],
        parts=_parts(comparison, "f"),
        equal=None if not equal else {**equal, "parts": _parts(equal, "e")},
        standings=standings(comparison) if len(comparison["scenarios"]) > 1 else [],
        about_standings=ABOUT,
        ranked=Markup(ranks_figure(comparison["ranks"], "ranks")),
        title=_title([units.plain(scenario["scenario"]) for scenario in comparison["scenarios"]]),
        conventions=_conventions(comparison),
        command=shlex.join(map(str, comparison.get("command") or ())),
        verdicts=_VERDICTS,
        tells=_in_short(comparison),
    )


def _title(names: list[str]) -> str:
    return ", ".join(names) if 0 < len(names) <= 3 else units.count(len(names), "scenario")


def _parts(comparison: Json, prefix: str) -> list[dict[str, Any]]:
    """Gather what is shown of every scenario."""
    agents, margin = comparison["agents"], comparison["margin"]
    return [
        {
            "scenario": scenario,
            "baseline": comparison["baseline"],
            "numbers": {agent: number for number, agent in enumerate(agents)},
            # Matplotlib's own markup: text in it is drawn as outlines, and the words for who cannot see are escaped.
            "differences": Markup(differences_figure(scenario, agents, margin, f"{prefix}{number}d")),
            "pareto": Markup(pareto_figure(scenario, agents, f"{prefix}{number}p")),
            "notes": notes(scenario, comparison),
        }
        for number, scenario in enumerate(comparison["scenarios"])
    ]


def _conventions(comparison: Json) -> list[tuple[str, str]]:
    """Define the numbers that are shown."""
    shown = {key for key, *_ in SHOWN}
    return [(each["title"], each["convention"]) for each in comparison["measures"] if each["key"] in shown]


def _in_short(comparison: Json) -> list[tuple[str, str]]:
    """Say per scenario who is best, and what can be said of the others against the baseline."""
    found = []
    for scenario in comparison["scenarios"]:
        if not any(each["means"]["accuracy"]["mean"] is not None for each in scenario["agents"]):
            found.append((scenario["scenario"], "No run is finished."))
            continue
        common = scenario["common"]
        means = {agent: of["accuracy"] for agent, of in common["means"].items()}
        if means:
            best = max(means, key=lambda agent: means[agent]["mean"])
            regression = scenario["regression"]
            value = mean(means[best], "share", regression)
            over = f" over seeds {units.ranges(common['seeds'])}, which all have" if common["note"] else ""
            said = f"{best} has the highest mean{over}, {f'R² {value}' if regression else f'{value} %'}."
        else:
            said = units.sentence(common["note"])
        for verdict in ("better", "worse", "equivalent", "undecided"):
            mine = [pair["agent"] for pair in scenario["paired"] if pair["verdict"] == verdict]
            if mine:
                word = "equivalent to" if verdict == "equivalent" else f"{verdict} against"
                word = f"{verdict} than" if verdict in ("better", "worse") else word
                said += f" {word[0].upper()}{word[1:]} {comparison['baseline']}: {', '.join(mine)}."
        found.append((scenario["scenario"], said))
    return found
