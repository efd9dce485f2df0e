"""Several scenarios at a glance: every agent's accuracy on each of them, and where it stands among the others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..scenarios.ranks import ranks
from . import units

Json = Mapping[str, Any]

# What is shown beside the others, but competes with none: one is told the task, the other keeps everything.
BOUNDS = ("independent", "joint")
ABOUT = (
    "What stands out is the most accurate on a scenario, independent and joint left out. Mean place: place among the "
    "agents with results on a scenario, by their means over the seeds that all of them have (1: the most accurate; "
    "equal ones share), averaged over the scenarios on which the agent has results. Agents that were run on few "
    "scenarios met other competitors there than the rest."
)


@dataclass(frozen=True)
class Standing:
    """One agent over all scenarios.

    Attributes:
        agent: Its name.
        accuracies: Its mean accuracy (R²) on every scenario, as text; "–" where it was not run, "n/a" where undefined.
        best: Whether it is the most accurate on the scenario, the bounds left out.
        place: Its mean place; None where it has no results.
        places: On how many scenarios it has one.
    """

    agent: str
    accuracies: tuple[str, ...]
    best: tuple[bool, ...]
    place: float | None
    places: int


def standings(comparison: Json) -> list[Standing]:
    """Set all agents side by side, the best mean place first.

    Args:
        comparison: What `comparison.json` holds.

    Returns:
        One per agent; agents without results come last, in the comparison's order.
    """
    scenarios = comparison["scenarios"]
    placed = [_places(scenario) for scenario in scenarios]
    first = [min((at for agent, at in places.items() if agent not in BOUNDS), default=None) for places in placed]
    found = []
    for agent in comparison["agents"]:
        mine = [places[agent] for places in placed if agent in places]
        told = [_told(scenario, agent) for scenario in scenarios]
        best = tuple(
            agent not in BOUNDS and agent in places and places[agent] == top
            for places, top in zip(placed, first, strict=True)
        )
        place = math.fsum(mine) / len(mine) if mine else None
        found.append(Standing(agent, tuple(told), best, place, len(mine)))
    return sorted(found, key=lambda each: math.inf if each.place is None else each.place)


def _places(scenario: Json) -> dict[str, float]:
    """Rank the agents of one scenario."""
    means = {agent: of["accuracy"]["mean"] for agent, of in scenario["common"]["means"].items()}
    if not means:
        return {}
    return dict(zip(means, ranks([list(means.values())])[0].tolist(), strict=True))


def _told(scenario: Json, agent: str) -> str:
    for each in scenario["agents"]:
        if each["agent"] == agent:
            return units.score(each["means"]["accuracy"]["mean"], scenario["regression"])
    return "–"
