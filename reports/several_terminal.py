"""Several runs on a terminal: per scenario every agent's accuracy with its interval, and what it kept and cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from . import units


def overview(summary: Mapping[str, Any]) -> RenderableType:
    """Draw the headline of several runs for a terminal of 80 columns or more.

    Args:
        summary: What `several.several` gave.

    Returns:
        A table per scenario and what was left out.
    """
    parts: list[RenderableType] = []
    for scenario in summary["comparison"]["scenarios"]:
        regression = scenario["regression"]
        name = units.plain(scenario["scenario"])
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim", expand=True)
        table.add_column(Text(name), ratio=1, no_wrap=True, overflow="ellipsis")
        for heading in ("seeds", "R²" if regression else "accuracy", "95 % interval", "forgot", "kept", "cost"):
            table.add_column(heading, justify="right", no_wrap=True)
        for agent in scenario["agents"]:
            means = agent["means"]
            mean = means["accuracy"]
            interval = f"{units.score(mean['low'], regression)} to {units.score(mean['high'], regression)}"
            table.add_row(
                Text(units.plain(agent["agent"])),
                str(len(agent["seeds"])),
                units.score(mean["mean"], regression),
                interval if units.known(mean["low"]) else "n/a",
                units.score(means["forgetting"]["mean"], regression),
                units.size(means["bytes_kept"]["mean"]),
                units.flops(means["flops"]["mean"]),
            )
        parts.append(table)
    parts += [Text(note, style="yellow") for note in summary["notes"]]
    return Group(*parts)
