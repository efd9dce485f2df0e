"""Regret on a terminal: what an agent lost against the best arm, and how much of the gap it closed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from . import units

Json = Mapping[str, Any]
_WHAT = (
    ("accuracy", "the agent", "what it answered right after it had learned a task"),
    ("split", "oracle", "the best arm of the same store, picked on one half of the test set and valued on the other"),
    ("naive", "naive oracle", "the best arm on the whole test set: it also profits from noise"),
    ("regret_split", "regret", "oracle less agent"),
    ("strategy_split", "… of the strategy", "the oracle's strategy, each from the source that our retrieval gives it"),
    ("retrieval_split", "… of the retrieval", "our strategy from the oracle's source"),
    ("carrying_out", "… of carrying out", "the arm that answered, alone at full budget, less the agent"),
    ("regret_naive", "naive regret", "naive oracle less agent"),
    ("utility", "utility", ""),
    ("utility_regret_split", "regret in utility", "the same with costs taken off both sides"),
)
_DIFFERENCES = ("regret", "strategy", "retrieval", "carrying", "utility_regret")


def regret_page(summary: Json) -> RenderableType:
    """Draw a regret.

    Args:
        summary: What `regret_summary.summarise` gave.

    Returns:
        Per scenario the tasks, the means and the fixed strategies; then gap closed.
    """
    parts: list[RenderableType] = []
    for each in summary["scenarios"]:
        head = Text.assemble((units.plain(each["scenario"]), "bold"), f"  {units.plain(summary['agent'])}")
        if each["left_out"] is not None:
            parts += [head, Text(f"Left out: {each['left_out']}.", style="yellow"), Text()]
            continue
        seeds = units.ranges(sorted(each["seeds"]))
        head.append(f"  seed{'s' if len(each['seeds']) > 1 else ''} {seeds}", style="dim")
        parts += [head, _tasks(each), _means(each, summary)]
        if each["fixed"]:
            parts.append(_fixed(each))
        failed = sum(task["failed"] for run in each["runs"] for task in run["tasks"])
        if failed:
            parts.append(Text(f"{units.count(failed, 'arm')} failed and could not be valued.", style="yellow"))
        parts.append(Text())
    parts.append(_gaps(summary))
    return Group(*parts)


def _tasks(each: Json) -> Table:
    table = _table()
    table.add_column("", justify="right", style="dim", no_wrap=True)
    table.add_column("task", ratio=3, no_wrap=True, overflow="ellipsis")
    table.add_column("answered by", ratio=2, no_wrap=True, overflow="ellipsis", style="cyan")
    table.add_column("best", ratio=2, no_wrap=True, overflow="ellipsis")
    for heading in ("agent", "oracle", "regret", "strategy", "retrieval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for task in each["by_task"]:
        values = task["regression"]
        differences = (task["regret_split"], task["strategy_split"], task["retrieval_split"])
        table.add_row(
            str(task["task"] + 1),
            Text(units.plain(task["name"] or "differs by seed")),
            Text(_ways(task["answered"])),
            Text(_ways(task["best"])),
            units.score(task["accuracy"], values),
            units.score(task["split"], values),
            *(units.change(value, values) for value in differences),
        )
    return table


def _ways(counted: Mapping[str, int]) -> str:
    several = sum(counted.values()) > 1
    return ", ".join(
        units.plain(name) + (f" ×{n}" if several and len(counted) > 1 else "") for name, n in counted.items()
    )


def _means(each: Json, summary: Json) -> Table:
    table = _table()
    table.add_column(f"mean of {units.count(each['tasks'], 'task')}", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True, style="bold")
    table.add_column("", ratio=1, style="dim")
    found, values = each["means"], each["regression"]
    for key, title, what in _WHAT:
        mean, tasks = found[key]["value"], found[key]["tasks"]
        differs = key.startswith(_DIFFERENCES)
        text = units.change(mean, values) if differs else units.score(mean, values)
        if key == "utility":
            what = f"less {summary['compute']:g} × FLOPs of scratch and {summary['memory']:g} × bytes of the task"
        if mean is None:
            what = "undefined on every task"
        elif tasks < each["tasks"]:
            what += f" ({units.count(tasks, 'task')})"
        table.add_row(title, text, Text(what))
    tried, here = found["try_all"], found["accuracy_where_tried"]
    said = "nothing is held out on any task, so nothing could be judged"
    if tried["value"] is not None:
        share = (
            "" if tried["tasks"] == each["tasks"] else f" ({units.count(tried['tasks'], 'task')} with held-out samples)"
        )
        said = f"the arm with the least held-out loss; there the agent has {units.score(here['value'], values)}{share}"
    table.add_row("always try all", units.score(tried["value"], values), Text(said))
    return table


def _fixed(each: Json) -> Table:
    table = _table()
    table.add_column("fixed strategy", no_wrap=True)
    table.add_column("mean", justify="right", no_wrap=True)
    table.add_column("", ratio=1, style="dim")
    chosen = list(each["best_fixed"]["strategies"].values())
    for name, value in sorted(each["fixed"].items(), key=lambda pair: -pair[1]):
        times = chosen.count(name)
        note = f"the best on the other half of the seeds for {units.count(times, 'seed')}" if times else ""
        if times and len(chosen) == 1:
            note = "the best on this very seed: there is no other half, which favours it"
        table.add_row(Text(units.plain(name)), units.score(value, each["regression"]), Text(note))
    return table


def _gaps(summary: Json) -> RenderableType:
    table = _table()
    table.add_column("gap closed", ratio=1, no_wrap=True, overflow="ellipsis")
    for heading in ("of the oracle", "95 %", "of the naive", "95 %"):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = [(each["scenario"], each["gap"]) for each in summary["scenarios"] if each.get("gap")]
    notes = []
    for name, gap in [*rows, ("all together", summary["pooled"])] if len(rows) != 1 else rows:
        cells = []
        for key, title in (("split", "the oracle"), ("naive", "the naive oracle")):
            low, high = gap[key].get("low"), gap[key].get("high")
            cells.append(units.decimal(gap[key]["value"], 2) if gap[key]["value"] is not None else units.NA)
            cells.append(f"{units.decimal(low, 2)} to {units.decimal(high, 2)}" if low is not None else "")
            if gap[key]["reason"]:
                notes.append(f"{name}, {title}: {gap[key]['reason']}.")
        table.add_row(Text(units.plain(name)), *cells)
    return Group(table, *(Text(units.plain(note), style="dim") for note in notes))


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim", expand=True)
