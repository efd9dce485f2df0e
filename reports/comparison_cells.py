"""A comparison's numbers as text: what every format of its tables shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import units

Json = Mapping[str, Any]

# The columns of a scenario's table, by key; whatever else was measured is in the CSV and the JSON.
SHOWN = (
    ("accuracy", "accuracy", "%"),
    ("forgetting", "forgetting", "points"),
    ("backward_transfer", "BWT", "points"),
    ("forward_transfer", "FWT", "points"),
    ("learning_accuracy", "learning acc.", "%"),
    ("bytes_kept", "bytes kept", ""),
    ("flops", "FLOPs", ""),
    ("cpu_seconds", "CPU time", ""),
)


def kind_of(comparison: Json, key: str) -> str:
    """Find the unit of a measure: "share", "difference", "loss" (shown without a plus), "bytes", "flops", "seconds"."""
    found = next(each for each in comparison["measures"] if each["key"] == key)
    return "loss" if found["unit"] == "difference" and found["better"] == "lower" else str(found["unit"])


def number(value: float | None, kind: str, regression: bool = False) -> str:
    """Write a number by its unit, without the unit where the column's head has it.

    Args:
        value: The number; None where it is undefined.
        kind: As `kind_of` gives it.
        regression: Whether shares are R².

    Returns:
        "87.1", "+2.3", "412 kB", or "n/a".
    """
    if kind in ("share", "loss"):
        return units.score(value, regression)
    if kind == "difference":
        return units.change(value, regression)
    return {"bytes": units.size, "flops": units.flops, "seconds": units.seconds}[kind](value)


def mean(each: Json, kind: str, regression: bool = False) -> str:
    """Write a mean with half the width of its interval; that of a cost stands alone.

    Args:
        each: What `comparison.mean_of` gave.
        kind: The unit.
        regression: Whether shares are R².

    Returns:
        "87.1 ± 0.4"; "87.1" where there is no interval.
    """
    text = number(each["mean"], kind, regression)
    if each["mean"] is None or each["low"] is None or kind in ("bytes", "flops", "seconds"):
        return text
    half = (each["high"] - each["low"]) / 2
    return f"{text} ± {number(half, kind, regression).lstrip('+')}"


def interval(limits: Sequence[float] | None, regression: bool = False) -> str:
    """Write an interval of a difference: "−0.4 to +2.3"."""
    return "–" if limits is None else " to ".join(units.change(limit, regression) for limit in limits)


def p_value(p: float | None) -> str:
    """Write a p-value: "0.031", "< 0.001", "–" for none."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def notes(scenario: Json, comparison: Json) -> list[str]:
    """Say what a reader must know about a scenario's numbers.

    Args:
        scenario: One of the comparison's.
        comparison: The comparison.

    Returns:
        Sentences: what failed and why, which seeds a number that is shown lacks, what one seed cannot say.
    """
    found: list[str] = []
    titles = {each["key"]: each["title"] for each in comparison["measures"]}
    for agent in scenario["agents"]:
        for failure in agent["failures"]:
            found.append(_stopped(f"{agent['agent']} failed with seed {failure['seed']}: {failure['why']}"))
        if agent["unfinished"]:
            found.append(_stopped(f"{agent['agent']}: not finished with seeds {units.ranges(agent['unfinished'])}"))
    by_note: dict[str, list[str]] = {}
    for agent in scenario["agents"]:
        for key, *_ in SHOWN:
            each = agent["means"][key]
            if each["note"] and agent["seeds"] and (each["note"] != _one_seed(agent) or key == "accuracy"):
                by_note.setdefault(f"{titles[key]}: {each['note']}", []).append(agent["agent"])
    for note, agents in by_note.items():
        everyone = len(agents) == sum(bool(each["seeds"]) for each in scenario["agents"])
        found.append(units.sentence(note) if everyone else _stopped(f"{', '.join(agents)}, {note}"))
    if scenario["common"]["note"]:
        found.append(units.sentence(f"highest mean, ranks and Pareto sets: {scenario['common']['note']}"))
    pairs = [pair for pair in scenario["paired"] if pair["note"]]
    for note in dict.fromkeys(pair["note"] for pair in pairs):
        mine = [pair["agent"] for pair in pairs if pair["note"] == note]
        found.append(_stopped(f"Paired, {', '.join(mine)}: {note}"))
    return found


def _stopped(text: str) -> str:
    """End a remark with a full stop; the name of an agent at its beginning stays as it is."""
    words = units.plain(text)
    return words if words.endswith((".", "!", "?")) else f"{words}."


def _one_seed(agent: Json) -> str | None:
    """The note of an agent that has one seed only, which is said once."""
    return agent["means"]["accuracy"]["note"] if len(agent["seeds"]) == 1 else None
