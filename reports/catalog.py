"""What can be named on the command line: strategies, selectors, encoders and sources, described by their own code."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..errors import PluginError
from ..registry import Registered
from .units import flops, plain, size


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
        What `listed` says, with the whole docstring as "description", and "settings": name, default, unit and a
        sentence for each of its hyperparameters. For an encoder also "costs": shape of input, features, parameters,
        bytes and FLOPs per sample with the default settings; and "trouble": why there are none, mostly empty.

    Raises:
        PluginError: If it cannot be imported.
    """
    thing = entry.load()
    settings = []
    kind = getattr(thing, "Settings", thing)  # a source is itself the frozen dataclass of its settings
    if dataclasses.is_dataclass(kind):
        for each in dataclasses.fields(kind):
            settings.append(
                {
                    "name": each.name,
                    "default": _default(each),
                    "unit": str(each.metadata.get("unit", "")),
                    "help": str(each.metadata.get("help", "")),
                }
            )
    page = {
        "kind": entry.kind,
        "name": entry.name,
        "origin": entry.origin,
        "description": _docstring(thing) or "No description.",
        "settings": settings,
    }
    if entry.kind == "encoder":
        page["costs"], page["trouble"] = _costs(thing)
    return page


def list_table(title: str, rows: list[dict[str, str]]) -> Table:
    """Draw a list.

    Args:
        title: What is listed.
        rows: What `listed` gave; a row without an origin leaves it empty.

    Returns:
        A table.
    """
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0), show_header=False
    )
    table.add_column("name", style="cyan", no_wrap=True)
    table.add_column("description", ratio=1)
    shown_keys = ["name", "description", "origin"]
    if any(row.get("takes") for row in rows):
        table.add_column("takes")
        shown_keys.insert(2, "takes")
    table.add_column("origin", style="dim")
    for row in rows:
        table.add_row(*(Text(plain(row.get(key, ""))) for key in shown_keys))
    return table


def show_page(page: dict[str, Any]) -> RenderableType:
    """Draw one registered object.

    Args:
        page: What `shown` gave.

    Returns:
        Its docstring and a table of its settings.
    """
    head = Text.assemble((plain(page["name"]), "bold cyan"), f"  {page['kind']}  ", (plain(page["origin"]), "dim"))
    body = Text(page["description"])
    costs = _cost_table(page)
    if not page["settings"]:
        return Group(head, Text(), body, Text(), Text("It has no settings.", style="dim"), *costs)
    table = Table(title="Settings", title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for name, options in (("name", {"style": "cyan", "no_wrap": True}), ("default", {"no_wrap": True}), ("unit", {})):
        table.add_column(name, header_style="dim", **options)
    table.add_column("what it does", header_style="dim", ratio=1)
    for each in page["settings"]:
        table.add_row(*(Text(str(each[key])) for key in ("name", "default", "unit", "help")))
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


def _docstring(thing: Any) -> str:
    """Return a class's own docstring, cleaned; never one it inherited, nor a dataclass's signature."""
    own = vars(thing).get("__doc__") if inspect.isclass(thing) else getattr(thing, "__doc__", None)
    return inspect.cleandoc(own) if isinstance(own, str) else ""


def _default(each: dataclasses.Field[Any]) -> Any:
    """Return a field's default as plain data."""
    if each.default is not dataclasses.MISSING:
        value = each.default
    elif each.default_factory is not dataclasses.MISSING:
        value = each.default_factory()
    else:
        return "required"
    return value if isinstance(value, (bool, int, float, str)) or value is None else repr(value)
