"""The summary of a run on a terminal: what each task was given and became, and the headline numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from . import units
from .short import answered, replayed


def overview(summary: Mapping[str, Any], whole: bool = False) -> RenderableType:
    """Draw a summary for a terminal of 80 columns or more.

    Args:
        summary: What `summary.summarise` gave.
        whole: Whether to show every number there is, not the most important ones alone.

    Returns:
        Two tables, a third with every other number where wanted, and what a reader must know.
    """
    run, totals = summary["run"], summary["totals"]
    parts: list[RenderableType] = [_tasks(summary), _numbers(summary)]
    if whole:
        parts.append(_measures(summary))
        hidden = len(summary["measures"]) - len(_shown(summary))
        if hidden:
            said = f"{units.count(hidden, 'number')} more: --against a run of independent and one of joint."
            parts.append(Text(said, style="dim"))
        parts += [Text(f"Held against {each['id']} ({each['agent']}).", style="dim") for each in summary["references"]]
    kept = f"{units.size(totals['store_bytes'])} kept"
    parts.append(Text(f"{units.flops(totals['flops'])}, {units.seconds(totals['seconds'])} CPU, {kept}", style="dim"))
    if summary["bounded"] is not None:
        parts.append(Text(summary["bounded"]["said"], style="yellow"))
    if totals["sample_bytes"]:
        parts.append(Text(replayed(totals["sampled"], totals["sample_bytes"]), style="yellow"))
    if totals["anchor_share"] is not None:
        parts.append(Text(answered(totals["anchor_share"]), style="yellow"))
    joint = [task for task in summary["tasks"] if (task["parts"] or {}).get("together")]
    if joint:
        those = units.ranges([task["index"] + 1 for task in joint])
        parts.append(Text(f"The cost of tasks {those} holds their part of learning together.", style="dim"))
    notes = [f"{run['status'].capitalize()}: {run['status_note']}"] if run["status"] != "finished" else []
    for task in summary["tasks"]:
        notes += [f"Task {task['index'] + 1}: {warning}" for warning in task["warnings"]]
    parts += [Text(units.plain(note), style="yellow") for note in [*notes, *summary["problems"]]]
    return Group(*parts)


def _tasks(summary: Mapping[str, Any]) -> Table:
    table = _table()
    table.add_column("", justify="right", style="dim", no_wrap=True)
    table.add_column("task", ratio=3, no_wrap=True, overflow="ellipsis")
    table.add_column("learned by", ratio=3, no_wrap=True, overflow="ellipsis", style="cyan")
    for heading in ("learned", "final", "forgot"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("cost", justify="right", no_wrap=True, style="dim")
    for task in summary["tasks"]:
        strategy = units.plain(task["strategy"] or "not learned")
        helped = task["helped_by"]
        source = f" from {units.ranges([each + 1 for each in helped['tasks']])}" if helped else ""
        table.add_row(
            str(task["index"] + 1),
            Text(units.plain(task["name"])),
            Text(strategy + source),
            *(units.score(task[key], task["regression"]) for key in ("accuracy", "final", "forgetting")),
            units.flops(task["flops"]),
        )
    return table


def _numbers(summary: Mapping[str, Any]) -> Table:
    table = _lines("in all")
    for each in summary["headline"]:
        _add(table, each)
    return table


def _measures(summary: Mapping[str, Any]) -> Table:
    """Every other number; those that need a reference run are left out where there is none at all."""
    table = _lines("further")
    group = ""
    for each in _shown(summary):
        if each["group"] != group:
            group = each["group"]
            table.add_row(Text(group, style="dim italic"))
        _add(table, each)
    return table


def _shown(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    measures: list[Mapping[str, Any]] = summary["measures"]
    if summary["references"]:
        return measures
    return [each for each in measures if each["value"] is not None or "(--against)" not in str(each["reason"])]


def _lines(heading: str) -> Table:
    table = _table()
    table.add_column(heading, no_wrap=True)
    table.add_column("", justify="right", no_wrap=True, style="bold")
    table.add_column("", no_wrap=True, style="dim")
    table.add_column("", ratio=1, style="dim")
    return table


def _add(table: Table, each: Mapping[str, Any]) -> None:
    missing = each["value"] is None
    sources = [part for part in each["convention"].split("; ") if part[-4:].isdigit()]
    said = each["reason"] if missing else "; ".join(sources)
    table.add_row(each["title"], each["text"], "" if missing else each["unit"], Text(units.plain(said)))


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim", expand=True)
