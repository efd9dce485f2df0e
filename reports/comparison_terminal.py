"""A comparison on a terminal: tables by scenario, paired differences, ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from . import units
from .comparison_cells import SHOWN, interval, kind_of, mean, notes, p_value

Json = Mapping[str, Any]
_VERDICTS = {"better": "green", "worse": "red", "equivalent": "cyan", "undecided": "yellow"}


def comparison_page(comparison: Json) -> RenderableType:
    """Draw a comparison.

    Args:
        comparison: What `comparison.json` holds.

    Returns:
        Tables and what a reader must know.
    """
    parts: list[RenderableType] = []
    for scenario in comparison["scenarios"]:
        parts += _scenario(scenario, comparison)
    if not parts:
        parts.append(Text("There is nothing to compare: no run is finished."))
    if len(comparison["scenarios"]) > 1:
        parts += _ranks(comparison["ranks"])
    equal = comparison.get("equal_bytes")
    if equal and equal["scenarios"]:
        parts.append(Text(f"At equal bytes: every store bounded to what {units.plain(equal['to'])} keeps", "bold"))
        for scenario in equal["scenarios"]:
            parts += _scenario(scenario, equal)
    return Group(*parts)


def _scenario(scenario: Json, comparison: Json) -> list[RenderableType]:
    regression = scenario["regression"]
    seeds = units.ranges(scenario["seeds"]) or "none"
    title = f"{units.plain(scenario['scenario'])}  {units.count(scenario['tasks'], 'task')}, seeds {seeds}"
    parts: list[RenderableType] = []
    costs = [each for each in SHOWN if each[0] in scenario["pareto"]]
    for columns in ([each for each in SHOWN if each not in costs], costs):  # two tables: 80 columns hold no more
        table = _table("" if parts else title)
        for _, heading, unit in columns:
            table.add_column(f"{heading}\n{'R²' if regression and unit else unit}", justify="right", no_wrap=True)
        for agent in scenario["agents"]:
            cells = [mean(agent["means"][key], kind_of(comparison, key), regression) for key, *_ in columns]
            marks = ["•" if agent["agent"] in scenario["pareto"].get(key, ()) else "" for key, *_ in columns]
            said = [
                f"{cell} {mark or ' '}" if columns is costs else cell for cell, mark in zip(cells, marks, strict=True)
            ]
            table.add_row(Text(units.plain(agent["agent"])), *said)
        parts.append(table)
    parts.append(Text("• nobody is more accurate for less of it", style="dim"))
    if scenario["paired"]:
        parts.append(_paired(scenario, comparison))
    parts += [Text(units.plain(note), style="yellow") for note in notes(scenario, comparison)]
    return [*parts, Text()]


def _paired(scenario: Json, comparison: Json) -> Table:
    regression = scenario["regression"]
    margin = units.change(comparison["margin"], regression).lstrip("+")
    seeds = {len(pair["seeds"]) for pair in scenario["paired"]}
    alike = f" ({units.count(seeds.pop(), 'seed')})" if len(seeds) == 1 else ""
    table = _table(f"accuracy minus that of {units.plain(comparison['baseline'])}, paired by seed{alike}")
    for heading in (*(() if alike else ("\nseeds",)), "differ-\nence", "95 %\nt", "95 %\nbootstrap", "p\nHolm"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(f"verdict\n± {margin}", no_wrap=True)
    table.add_column(f"loss\n≤ {margin}", no_wrap=True)
    for pair in scenario["paired"]:
        table.add_row(
            Text(units.plain(pair["agent"])),
            *(() if alike else (str(len(pair["seeds"])),)),
            units.change(pair["mean"], regression),
            interval(pair["interval"], regression),
            interval(pair["bootstrap"], regression),
            p_value(pair["holm"]),
            Text(pair["verdict"] or "–", style=_VERDICTS.get(pair["verdict"], "")),
            pair["not_worse"] or "–",
        )
    return table


def _ranks(ranks: Json) -> list[RenderableType]:
    if not ranks["agents"]:
        return [Text(f"Ranks: {ranks['note']}.", style="yellow")]
    title = f"average ranks over {units.count(len(ranks['scenarios']), 'scenario')}"
    table = _table(title)
    table.add_column("rank", justify="right")
    letters = _letters(ranks["groups"])
    table.add_column("not told apart", no_wrap=True)
    for each in ranks["agents"]:
        table.add_row(Text(units.plain(each["agent"])), f"{each['rank']:.2f}", letters.get(each["agent"], ""))
    parts: list[RenderableType] = [table]
    if ranks["critical_difference"] is not None:
        test = ranks["friedman"]
        said = (
            f"Critical difference {ranks['critical_difference']:.2f} (Nemenyi, 0.05); Friedman p {p_value(test['p'])}"
        )
        parts.append(Text(f"{said}, Iman–Davenport p {p_value(test['f_p'])}.", style="dim"))
    elif ranks["note"]:
        parts.append(Text(units.sentence(ranks["note"]), style="yellow"))
    for what, key in (
        ("Left out of the ranks, for the agents have no seed in common there", "left_out"),
        ("Agents without a result for the ranks", "agents_left_out"),
    ):
        if ranks[key]:
            parts.append(Text(f"{what}: {', '.join(map(units.plain, ranks[key]))}.", style="yellow"))
    return [*parts, Text()]


def _letters(groups: Sequence[Sequence[str]]) -> dict[str, str]:
    """Give every group that is not told apart a letter, as tables in papers do."""
    found: dict[str, str] = {}
    for letter, group in zip("abcdefghijklmnopqrstuvwxyz", groups, strict=False):
        for agent in group:
            found[agent] = found.get(agent, "") + letter
    return found


def _table(title: str) -> Table:
    """Make a table whose first column names agents, and never gives way to the others."""
    table = Table(
        title=Text(title) if title else None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="dim",
    )
    table.add_column("agent", overflow="fold", min_width=14)
    return table
