"""Rows of several runs as places on the page: means and differences with their intervals, and what was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .figures import Frame
from .scale import Scale, axis_of, digits, linear
from .units import change, known, score

Json = Mapping[str, Any]
STRIP = Frame(600, 26)


def means(scenario: Json, compared: Json, key: str = "accuracy") -> dict[str, Any]:
    """Lay out every agent's mean with its interval, and its seeds as dots.

    Args:
        scenario: One of `several.several`'s scenarios.
        compared: The same of its comparison.
        key: The number that is drawn.

    Returns:
        "ticks" (place in percent, text) and "rows": agent, number, place of the mean, of the interval and of the seeds.
    """
    entries = [(entry, entry["means"][key]) for entry in compared["agents"]]
    values = [run["values"].get(key) for entry, _ in entries for run in entry["runs"]]
    values += [mean["mean"] for _, mean in entries]
    scale = axis_of(values, [mean[end] for _, mean in entries for end in ("low", "high")])
    regression = scenario["regression"]
    rows = []
    for agent, (entry, mean) in zip(scenario["agents"], entries, strict=True):
        runs = [(run["seed"], run["values"].get(key)) for run in entry["runs"]]
        rows.append(
            {
                **_interval(scale, mean["mean"], mean["low"], mean["high"]),
                "agent": agent["agent"],
                "number": agent["number"],
                "dots": [(scale.percent(v), f"seed {seed}: {score(v, regression)}") for seed, v in runs if known(v)],
                "text": score(mean["mean"], regression),
                "range": between(mean, regression),
                "note": mean["note"] or "",
            }
        )
    return {"ticks": _ticks(scale, regression), "rows": rows}


def paired(scenario: Json, compared: Json, margin: float) -> dict[str, Any]:
    """Lay out the differences to the baseline.

    Args:
        scenario: One of `several.several`'s scenarios.
        compared: The same of its comparison.
        margin: Half the width of the region of practical equivalence.

    Returns:
        "ticks", "zero", "zone" (left and width of the region), "rows" as of `means`, with what was tested, and "note",
        where the same holds for all rows (else None).
    """
    rows = compared["paired"]
    ends = [value for row in rows for value in (*(row["bootstrap"] or ()), *row["differences"]) if known(value)]
    scale = linear([*ends, -1.5 * margin, 1.5 * margin])
    regression = scenario["regression"]
    numbers = {agent["agent"]: agent["number"] for agent in scenario["agents"]}
    drawn = []
    for row in rows:
        low, high = row["bootstrap"] or (None, None)
        drawn.append(
            {
                **_interval(scale, row["mean"], low, high),
                "agent": row["agent"],
                "number": numbers[row["agent"]],
                "seeds": len(row["seeds"]),
                "dots": [
                    (scale.percent(d), f"seed {seed}: {change(d, regression)}")
                    for seed, d in zip(row["seeds"], row["differences"], strict=True)
                ],
                "text": change(row["mean"], regression),
                "range": f"{change(low, regression)} to {change(high, regression)}" if known(low) else "",
                "wilcoxon": row["wilcoxon"],
                "holm": row["holm"],
                "verdict": row["verdict"],
                "not_worse": row["not_worse"],
                "note": row["note"] or "",
            }
        )
    return {
        "ticks": [(scale.percent(mark), change(mark, regression, digits(scale))) for mark in scale.marks],
        "zero": scale.percent(0.0),
        "zone": (scale.percent(-margin), round(scale.percent(margin) - scale.percent(-margin), 2)),
        "rows": drawn,
        "note": drawn[0]["note"] if len({row["note"] for row in drawn}) == 1 else None,
    }


def choices(scenario: Json) -> list[dict[str, Any]]:
    """Lay out what learned each task, as shares of the seeds.

    Args:
        scenario: One of `several.several`'s scenarios.

    Returns:
        Per agent that chose: its name and number, and per task "x", "width" and parts ("y", "height", strategy) of a
        bar with "said", what it says in words.
    """
    drawn = []
    for agent in scenario["agents"]:
        if not any(agent["choices"]):
            continue
        width = STRIP.width / max(len(agent["choices"]), 1)
        bars = []
        for task, found in enumerate(agent["choices"]):
            whole, parts, top = sum(found.values()), [], 0.0
            for name, times in found.items():
                height = STRIP.height * times / whole
                parts.append((round(top, 2), round(height, 2), name))
                top += height
            said = ", ".join(f"{name} {times}×" for name, times in found.items()) or "nothing"
            bars.append(
                {
                    "x": round(task * width, 2),
                    "width": round(width - 1.5, 2),
                    "parts": parts,
                    "said": f"task {task + 1}: {said}",
                }
            )
        drawn.append({**agent, "bars": bars})
    return drawn


def _interval(scale: Scale, mean: float | None, low: float | None, high: float | None) -> dict[str, Any]:
    """Place a mean and its interval."""
    placed: dict[str, Any] = {"at": scale.percent(mean) if known(mean) else None, "from": None, "width": None}
    if known(low) and known(high):
        placed["from"] = scale.percent(low)
        placed["width"] = round(scale.percent(high) - scale.percent(low), 2)
    return placed


def between(mean: Json, regression: bool) -> str:
    """Write the interval of a mean.

    Args:
        mean: Of `scenarios.comparison.mean_of`.
        regression: Whether it is of R².

    Returns:
        "94.2 to 95.8"; empty where there is none.
    """
    return f"{score(mean['low'], regression)} to {score(mean['high'], regression)}" if known(mean["low"]) else ""


def _ticks(axis: Scale, regression: bool) -> list[tuple[float, str]]:
    return [(axis.percent(mark), score(mark, regression, digits(axis))) for mark in axis.marks]
