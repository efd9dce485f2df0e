"""What can be named on the command line: strategies, selectors, encoders and sources, described by their own code."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from typing import Any, Literal, get_args, get_origin, get_type_hints

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..errors import PluginError
from ..registry import Registered
from .units import flops, plain, size

OURS = "evermap"
"""The origin of what comes with evermap."""


def listed(entry: Registered) -> dict[str, str]:
    """Describe a registered object in one line.

    Args:
        entry: Its registration.

    Returns:
        "kind", "name", "description" (the first line of its docstring, or why it cannot be imported) and "origin";
        for an encoder also "takes": what it takes for one of its shapes of input.
    """
    row = {"kind": entry.kind, "name": entry.name, "description": "", "origin": entry.origin}
    try:
        thing = entry.load()
    except PluginError as error:
        return {**row, "description": str(error)}
    row["description"] = _docstring(thing).partition("\n")[0] or "No description."
    if entry.kind == "encoder":
        costs, _ = _costs(thing)
        row["takes"] = _in_short(costs[min(1, len(costs) - 1)]) if costs else ""
    return row


def shown(entry: Registered) -> dict[str, Any]:
    """Describe a registered object in full.

    Args:
        entry: Its registration.

    Returns:
        What `listed` says, with the whole docstring as "description", that of its module (the paper) as "background",
        and "settings": name, default, unit, a sentence and the words that are valid for each of its hyperparameters.
        For an encoder also "costs": shape of input, features, parameters, bytes and FLOPs per sample with the default
        settings; and "trouble": why there are none, mostly empty.

    Raises:
        PluginError: If it cannot be imported.
    """
    thing = entry.load()
    settings = []
    kind = getattr(thing, "Settings", thing)  # a source is itself the frozen dataclass of its settings
    hints = get_type_hints(kind) if dataclasses.is_dataclass(kind) else {}
    if dataclasses.is_dataclass(kind):
        for each in dataclasses.fields(kind):
            settings.append(
                {
                    "name": each.name,
                    "default": _default(each),
                    "unit": str(each.metadata.get("unit", "")),
                    "help": str(each.metadata.get("help", "")),
                    "values": _values(hints.get(each.name)),
                }
            )
    page = {
        "kind": entry.kind,
        "name": entry.name,
        "origin": entry.origin,
        "description": _docstring(thing) or "No description.",
        "background": _docstring(sys.modules.get(thing.__module__)),
        "settings": settings,
    }
    if entry.kind == "encoder":
        page["costs"], page["trouble"] = _costs(thing)
    return page


def list_table(title: str, rows: list[dict[str, str]]) -> Table:
    """Draw a list: a line for each, with the first sentence about it.

    Args:
        title: What is listed.
        rows: What `listed` gave; where all of them come with evermap, their origin is not told.

    Returns:
        A table.
    """
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 2, 0, 0),
        show_header=False,
        expand=True,
    )
    table.add_column("name", style="cyan", no_wrap=True)
    table.add_column("description", ratio=1, no_wrap=True, overflow="ellipsis")
    shown_keys = ["name", "description", "origin"]
    if any(row.get("takes") for row in rows):
        table.add_column("takes", no_wrap=True)
        shown_keys.insert(2, "takes")
    if any(row.get("origin", OURS) != OURS for row in rows):
        table.add_column("origin", style="dim", no_wrap=True)
    else:
        shown_keys.remove("origin")
    for row in rows:
        told = {**row, "description": _first_sentence(row.get("description", ""))}
        table.add_row(*(Text(plain(told.get(key, ""))) for key in shown_keys))
    return table


def baseline_table(title: str, rows: list[dict[str, Any]]) -> RenderableType:
    """Draw the list of competitors.

    Args:
        title: What is listed.
        rows: What `scenarios.baseline_catalog` gave.

    Returns:
        A table, with what its letters mean below.
    """
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    table.add_column("name", style="cyan", no_wrap=True, header_style="dim")
    table.add_column("runs in", no_wrap=True, header_style="dim")
    table.add_column("what it does", ratio=2, header_style="dim")
    table.add_column("set with", ratio=1, overflow="fold", header_style="dim")
    letters = [("T", "task-"), ("D", "domain-"), ("C", "class-incremental"), ("B", "blurry"), ("O", "online")]
    common = set.intersection(*({a["name"] for a in row["arguments"]} for row in rows if row["arguments"]))
    for row in rows:
        runs = " ".join(k if any(s.startswith(k.lower()) for s in row["settings"]) else "·" for k, _ in letters)
        own = [f"{a['name']}={a['default']}" for a in row["arguments"] if a["name"] not in common]
        needs = f" Needs {', '.join(row['missing'])}, not installed." if row["missing"] else ""
        table.add_row(row["name"], runs, Text(plain(row["description"] + needs)), Text(", ".join(own)))
    said = ", ".join(f"{key} {word}" for key, word in letters)
    everywhere = ", ".join(a["name"] for a in rows[-1]["arguments"] if a["name"] in common)
    return Group(table, Text(f"{said}. Every method of Avalanche also takes {everywhere}.", style="dim"))


def show_page(page: dict[str, Any]) -> RenderableType:
    """Draw one registered object.

    Args:
        page: What `shown` gave.

    Returns:
        Its docstring and a table of its settings.
    """
    head = Text.assemble((plain(page["name"]), "bold cyan"), f"  {page['kind']}  ", (plain(page["origin"]), "dim"))
    body = Text(_reflowed("\n\n".join(filter(None, (page["description"], page["background"])))))
    costs = _cost_table(page)
    if not page["settings"]:
        return Group(head, Text(), body, Text(), Text("It has no settings.", style="dim"), *costs)
    table = Table(title="Settings", title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for name, options in (("name", {"style": "cyan", "no_wrap": True}), ("default", {"no_wrap": True}), ("unit", {})):
        table.add_column(name, header_style="dim", **options)
    table.add_column("what it does", header_style="dim", ratio=1)
    for each in page["settings"]:
        table.add_row(*(Text(str(each[key])) for key in ("name", "default", "unit")), Text(_help(each)))
    return Group(head, Text(), body, Text(), table, *costs)


def _cost_table(page: dict[str, Any]) -> list[RenderableType]:
    """Draw what an encoder takes; nothing for anything else."""
    if page.get("trouble"):
        return [Text(), Text(plain(page["trouble"]))]
    if not page.get("costs"):
        return []
    table = Table(
        title="What it takes, with the default settings",
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 2, 0, 0),
    )
    table.add_column("input", header_style="dim", style="cyan")
    for name in ("features", "parameters", "bytes", "FLOPs per sample"):
        table.add_column(name, header_style="dim", justify="right")
    for each in page["costs"]:
        numbers = (f"{each['features']:,}", f"{each['parameters']:,}", size(each["bytes"]), flops(each["flops"]))
        table.add_row(_shape(each["input_shape"]), *numbers)
    return [Text(), table]


def _costs(thing: Any) -> tuple[list[dict[str, Any]], str]:
    """Ask an encoder what it takes; where that fails, why: a plug-in's fault must not end the list."""
    try:
        found = thing.costs()
    except Exception as error:  # whatever a plug-in's layers raise
        return [], f"It cannot be built with its default settings: {type(error).__name__}: {error}"
    return [
        {"input_shape": list(shape), "features": features, **dataclasses.asdict(cost)}
        for shape, (features, cost) in found.items()
    ], ""


def _in_short(cost: dict[str, Any]) -> str:
    return f"{size(cost['bytes'])}, {flops(cost['flops'])} for {_shape(cost['input_shape'])}"


def _shape(extents: list[int]) -> str:
    return "×".join(map(str, extents))


def _first_sentence(text: str) -> str:
    """Return the first sentence of a description; a stop inside a number or an abbreviation ends none."""
    return re.split(r"(?<=[^.\s][.!?])\s+(?=[A-Z“\"])", text, maxsplit=1)[0]


def _docstring(thing: Any) -> str:
    """Return a class's own docstring, cleaned; never one it inherited, nor a dataclass's signature."""
    own = vars(thing).get("__doc__") if inspect.isclass(thing) else getattr(thing, "__doc__", None)
    return inspect.cleandoc(own) if isinstance(own, str) else ""


def _reflowed(text: str) -> str:
    """Undo the line breaks within paragraphs; lists and tables keep theirs."""
    parts = text.split("\n\n")
    return "\n\n".join(
        part if re.search(r"^\s*([-|*]|\d+\.) ", part, re.M) else " ".join(part.split()) for part in parts
    )


def _help(setting: dict[str, Any]) -> str:
    """Say what a setting does, and which words it may be."""
    values = setting["values"]
    return setting["help"] + (f" One of: {', '.join(values)}." if values else "")


def _values(hint: Any) -> list[str]:
    """List the words that a setting may be; empty where any text or number may stand there."""
    if get_origin(hint) is Literal:
        return [str(value) for value in get_args(hint)]
    return [value for part in get_args(hint) for value in _values(part)]


def _default(each: dataclasses.Field[Any]) -> Any:
    """Return a field's default as plain data."""
    if each.default is not dataclasses.MISSING:
        value = each.default
    elif each.default_factory is not dataclasses.MISSING:
        value = each.default_factory()
    else:
        return "required"
    return value if isinstance(value, (bool, int, float, str)) or value is None else repr(value)
