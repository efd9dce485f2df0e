"""Which runs can be compared: names for what differs, and a check that runs of one seed saw the same data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import RecordError
from .outcomes import Outcome, outcome
from .record import read_record


def outcomes_of(runs: Iterable[Path]) -> list[Outcome]:
    """Read the outcomes of finished and unfinished runs.

    Args:
        runs: Their folders.

    Returns:
        One outcome each, in the same order.

    Raises:
        RecordError: If one of them is no record, or a damaged one; names it.
    """
    return [outcome(read_record(run)) for run in runs]


def labelled(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Give what differs different names: scenarios that share a name only, agents that differ in their settings.

    Args:
        outcomes: Any runs.

    Returns:
        The same, with the beginning of a hash behind the name of a scenario whose name stands for several, and the
        fields that differ behind that of an agent ("probe [budget.scratch=2.0]").

    Raises:
        RecordError: If two of them are runs of the same agent and seed on the same scenario.
    """
    streams: dict[str, set[str]] = {}
    recipes: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for each in outcomes:
        streams.setdefault(each.scenario, set()).add(each.stream)
        known = recipes.setdefault((each.stream, each.agent), [])
        if each.recipe not in known:
            known.append(each.recipe)
    found: list[Outcome] = []
    taken: dict[tuple[str, str, int], str] = {}
    for each in outcomes:
        scenario = each.scenario if len(streams[each.scenario]) == 1 else f"{each.scenario} [{each.stream[:6]}]"
        said = _what_differs(each.recipe, recipes[each.stream, each.agent])
        named = replace(each, scenario=scenario, agent=f"{each.agent} [{said}]" if said else each.agent)
        key = (each.stream, named.agent, each.seed)
        if key in taken:
            raise RecordError(
                f"{each.path} and {taken[key]} are both runs of {named.agent} with seed {each.seed} on {scenario}; "
                "give one of them."
            )
        taken[key] = each.path
        found.append(named)
    return found


def check_data(name: str, outcomes: Sequence[Outcome]) -> None:
    """Check that the runs of a seed can be compared: that they were given the same samples.

    Args:
        name: The scenario that they are runs of.
        outcomes: Runs of it.

    Raises:
        RecordError: If two of them were not.
    """
    seen: dict[int, Outcome] = {}
    for each in outcomes:
        first = seen.setdefault(each.seed, each)
        if each.data is not None and first.data is not None and each.data != first.data:
            raise RecordError(
                f"{each.path} and {first.path} are runs of {name} with seed {each.seed} on different data "
                f"({each.data[:12]} and {first.data[:12]}); they cannot be compared."
            )


def _what_differs(recipe: Mapping[str, Any], among: Sequence[Mapping[str, Any]]) -> str:
    keys = sorted({key for each in among for key in each if any(other.get(key) != each[key] for other in among)})
    return ", ".join(f"{key}={recipe.get(key, 'none')}" for key in keys)
