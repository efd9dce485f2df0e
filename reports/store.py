"""A knowledge store on a terminal: what is in it, one entry with its lineage, what is near, and how two differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from ..errors import task_number
from . import units

Json = Mapping[str, Any]
_HEADINGS = {
    "number": "number",
    "name": "task",
    "strategy": "learned by",
    "model": "model",
    "encoder": "encoder",
    "head": "head",
}


_DIFFERENCES = ("only_here", "only_there", "changed", "made_otherwise")


def store_page(listing: Json) -> RenderableType:
    """Draw all that a store holds.

    Args:
        listing: What `overview.listed` gave.

    Returns:
        A table of tasks, one of entries, and a line about samples that are kept.
    """
    counts, replay = listing["counts"], listing["replay"]
    head = ", ".join(
        [
            units.count(counts["tasks"], "task"),
            units.count(counts["encoders"], "encoder"),
            units.count(counts["heads"], "head"),
            units.count(counts["banks"], "bank"),
            units.count(counts["metas"], "meta-initialisation"),
        ]
    )
    kept = (
        f"Samples of {units.count(replay['tasks'], 'task')} are kept, {units.size(replay['bytes'])} (episode memory)."
        if replay["tasks"]
        else "No samples are kept."
    )
    parts: list[RenderableType] = [
        Text(f"{head}; {units.size(listing['bytes'])}"),
        Text(kept, style="yellow" if replay["tasks"] else "dim"),
        Text(),
        _tasks(listing["tasks"]),
        _entries(listing),
    ]
    return Group(*parts, *([_bounded(listing["bounded"])] if listing["bounded"] else []))


def _bounded(steps: Sequence[Json]) -> Table:
    table = _table("Done to stay within the recipe's bytes")
    for heading in ("after task", "entry", "what"):
        table.add_column(heading, no_wrap=True)
    table.add_column("in its place", no_wrap=True)
    table.add_column("tasks", overflow="fold")
    table.add_column("freed", justify="right", no_wrap=True)
    table.add_column("cost", justify="right", no_wrap=True)
    for step in steps:
        cost = units.change(-step["cost"]) if step["cost"] is not None and step["tasks"] else ""
        cells = [
            task_number(step["task"]),
            step["entry"],
            step["how"],
            step["into"],
            _numbers(step["tasks"]),
            units.size(step["freed"]),
            cost,
        ]
        table.add_row(*map(_cell, cells))
    return table


def _tasks(tasks: Sequence[Json]) -> Table:
    table = _table("Tasks")
    table.add_column("no.", justify="right", style="dim", no_wrap=True)
    table.add_column("task", ratio=2, overflow="fold")
    table.add_column("learned by", ratio=2, style="cyan", overflow="fold")
    for heading in ("model", "encoder", "head"):
        table.add_column(heading, no_wrap=True)
    for task in tasks:
        source = f" from {task['source']}" if task["source"] else ""
        cells = [task["number"], task["name"], f"{task['strategy']}{source}"]
        table.add_row(*map(_cell, [*cells, task["model"], task["encoder"], task["head"]]))
    return table


def _entries(listing: Json) -> Table:
    table = _table("Entries")
    table.add_column("id", style="cyan", no_wrap=True)
    table.add_column("after task", justify="right", no_wrap=True)
    table.add_column("what", ratio=2, overflow="fold")
    table.add_column("made from", no_wrap=True)
    table.add_column("answers for", overflow="fold")
    table.add_column("bytes", justify="right", no_wrap=True)
    for entry in listing["encoders"]:
        what = f"{entry['name'] or 'encoder'}, by {entry['strategy']}"
        what += f", as {entry['delta']} delta" if entry["delta"] != "whole" else ""
        cells = [entry["id"], task_number(entry["task"]), what, entry["parent"], _numbers(entry["answers_for"])]
        table.add_row(*map(_cell, [*cells, units.size(entry["bytes"])]))
    for kind in ("heads", "banks", "metas"):
        for entry in listing[kind]:
            what = _what(kind, entry)
            base = entry.get("encoder") or entry.get("parent")
            cells = [entry["id"], task_number(entry["task"]), what, base, ""]
            table.add_row(*map(_cell, [*cells, units.size(entry["bytes"])]))
    return table


def _what(kind: str, entry: Json) -> str:
    if kind == "heads":
        return f"{entry['kind']} head"
    if kind == "metas":
        return f"start of {entry['strategy']}"
    return f"samples, {entry['slot']}" if entry["samples"] else str(entry["slot"] or "statistics")


def entry_page(page: Json) -> RenderableType:
    """Draw one entry or one task.

    Args:
        page: What `overview.shown` gave.

    Returns:
        Its facts; of an encoder its lineage as a tree, what it was made from, and whom it helped.
    """
    parts: list[RenderableType] = [
        Text.assemble((units.plain(page.get("id") or page["name"]), "bold cyan"), f"  {page['kind']}")
    ]
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(ratio=1)
    for key, value in _facts(page):
        facts.add_row(key, Text(units.plain(value)))
    parts.append(facts)
    if "lineage" in page:
        parts += [Text(), Text("Lineage", style="bold"), _tree(page["lineage"], page["id"])]
    if "helped" in page:
        parts += [Text(), Text("Helped", style="bold"), _helped(page["helped"])]
    return Group(*parts)


def _facts(page: Json) -> list[tuple[str, str]]:
    if page["kind"] == "task":
        helpers = ", ".join(f"{each['entry']} ({_gain(each['gain'])}{each['how']})" for each in page["helped_by"])
        known = [(name, page[key]) for key, name in _HEADINGS.items() if key != "name"]
        known += [("classes", " ".join(map(str, page["classes"])) or page["kind_of_task"])]
        known += [("why", (page["choice"] or {}).get("reason")), ("helped by", helpers)]
        known += [("bounded", "; ".join(map(_step, page["bounded"])))]
    elif "bounded" in page:
        known = [("gone", "; ".join(map(_step, page["bounded"])))]
    else:
        spec = ", ".join(f"{key} {value}" for key, value in page.get("spec", {}).items() if value is not None)
        tensors = ", ".join(
            f"{name} {'×'.join(map(str, shape)) or 'scalar'}" for name, shape in page["tensors"].items()
        )
        sources = [
            f"{each['entry'] or 'nothing'} by {each['strategy']} on task {task_number(each['task'])}, "
            f"{units.flops(each['flops'])}"
            for each in page["made_from"]
        ]
        known = [
            ("after task", task_number(page["task"])),
            ("what", page.get("slot") or page.get("delta") or ""),
            ("spec", spec),
        ]
        known += [("made from", "; ".join(sources)), ("encoder", page.get("encoder"))]
        known += [("answers for", ", ".join(each["name"] for each in page.get("answers_for", [])))]
        known += [("tensors", tensors), ("bytes", units.size(page["bytes"])), ("blob", page["blob"])]
    return [(name, str(value)) for name, value in known if value not in (None, "")]


def _step(step: Json) -> str:
    """What was done to stay within the recipe's bytes, in words."""
    into = f", {step['into']} in its place" if step["into"] else ""
    cost = f", {units.points(-step['cost'])} points" if step["cost"] is not None and step["tasks"] else ""
    return f"{step['entry']} {step['how']} after task {task_number(step['task'])}{into}{cost}"


def _tree(node: Json, own: str) -> Tree:
    tree = Tree(_node(node, own))
    waiting = [(tree, node)]
    while waiting:
        branch, here = waiting.pop()
        for child in here["children"]:
            waiting.append((branch.add(_node(child, own)), child))
    return tree


def _node(node: Json, own: str) -> Text:
    name = f", “{units.plain(node['task_name'])}”" if node["task_name"] else ""
    delta = f", {node['delta']} delta" if node["delta"] != "whole" else ""
    said = f"  {node['strategy']} on task {task_number(node['task'])}{name}{delta}, {units.size(node['bytes'])}"
    return Text.assemble((node["id"], "bold cyan" if node["id"] == own else "cyan"), said)


def _helped(helped: Sequence[Json]) -> RenderableType:
    if not helped:
        return Text("It helped no later task.", style="dim")
    lines = [
        f"task {task_number(each['task'])}, “{each['name']}”: {_gain(each['gain'])}{each['how']} ({each['entry']})"
        for each in helped
    ]
    return Group(*(Text(units.plain(line)) for line in lines))


def _gain(gain: float | None) -> str:
    return "" if gain is None else f"{units.points(gain)} points, "


def similar_page(found: Json) -> RenderableType:
    """Draw the tasks that are nearest to one.

    Args:
        found: What `overview.similar` gave.
    """
    table = _table(f"Nearest to “{units.plain(found['task']['name'])}”")
    table.add_column("no.", justify="right", style="dim", no_wrap=True)
    table.add_column("task", ratio=2, overflow="fold")
    for heading in ("input", "label", "feature"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("learned by", ratio=1, style="cyan", overflow="fold")
    for near in found["nearest"]:
        spaces = [units.decimal(near[space]) for space in ("input", "label", "feature")]
        table.add_row(*map(_cell, [near["number"], near["name"], *spaces, near["strategy"]]))
    return table


def damage_page(found: Sequence[Json], names: Mapping[int, str]) -> RenderableType:
    """Draw what `verify` found.

    Args:
        found: "entry", "tasks" and "what" of every damage.
        names: Names of tasks by position.
    """
    if not found:
        return Text("The store is sound: every blob has its hash, and the catalog agrees.", style="green")
    lines = []
    for each in found:
        tasks = ", ".join(f"{task_number(index)} “{names.get(index, '?')}”" for index in each["tasks"])
        concerns = f" (concerns task {tasks})" if tasks else ""
        lines.append(Text(units.plain(f"{each['entry'] or 'catalog'}{concerns}: {each['what']}"), style="red"))
    return Group(*lines)


def difference_page(found: Json) -> RenderableType:
    """Draw how two stores differ.

    Args:
        found: What `overview.compared` gave.
    """
    if found["equal"]:
        return Text("The two stores hold the same.", style="green")
    table = _table("")
    for heading in ("", "in both", "only in the first", "only in the second", "changed", "made otherwise"):
        table.add_column(heading, ratio=1 if heading else None)
    for kind in ("tasks", "encoders", "heads", "banks", "metas"):
        part = found[kind]
        named = [", ".join(_label(each) for each in part.get(key, ())) for key in _DIFFERENCES]
        table.add_row(*map(_cell, [kind, part["both"], *named]))
    return table


def _label(each: Json) -> str:
    return str(each["id"]) if "id" in each else f"{each['number']} “{each['name']}”"


def prediction_page(found: Sequence[Json]) -> RenderableType:
    """Draw answers.

    Args:
        found: What `predict` gave.
    """
    values = any("values" in each for each in found)
    table = _table("")
    table.add_column("input", ratio=2, overflow="fold")
    table.add_column("values" if values else "class", style="cyan", no_wrap=True)
    table.add_column("" if values else "probability", justify="right", no_wrap=True)
    table.add_column("answered by", style="dim", no_wrap=True)
    for each in found:
        said = " ".join(units.decimal(value) for value in each["values"]) if values else each["name"]
        share = "" if values else units.percent(each["probability"]) + " %"
        table.add_row(*map(_cell, [each["input"], said, share, each["by"]]))
    return table


def _numbers(positions: Sequence[int]) -> str:
    """Write which tasks are meant, as they are counted everywhere: "before-2, before-1, 1, 3–5"."""
    before = [task_number(each) for each in positions if each < 0]
    return ", ".join([*before, *filter(None, [units.ranges([each + 1 for each in positions if each >= 0])])])


def _cell(value: object) -> Text:
    return Text("" if value is None else units.plain(value))


def _table(title: str) -> Table:
    return Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="dim",
    )
