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
from .units import plain


def listed(entry: Registered) -> dict[str, str]:
    """Describe a registered object in one line.

    Args:
        entry: Its registration.

    Returns:
        "kind", "name", "description" (the first line of its docstring, or why it cannot be imported) and "origin".
    """
    try:
        description = _docstring(entry.load()).partition("\n")[0] or "No description."
    except PluginError as error:
        description = str(error)
    return {"kind": entry.kind, "name": entry.name, "description": description, "origin": entry.origin}


def shown(entry: Registered) -> dict[str, Any]:
    """Describe a registered object in full.

    Args:
        entry: Its registration.

    Returns:
        What `listed` says, with the whole docstring as "description", and "settings": name, default, unit and a
        sentence for each of its hyperparameters.

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
    return {
        "kind": entry.kind,
        "name": entry.name,
        "origin": entry.origin,
        "description": _docstring(thing) or "No description.",
        "settings": settings,
    }


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
    table.add_column("origin", style="dim")
    for row in rows:
        table.add_row(*(Text(plain(row.get(key, ""))) for key in ("name", "description", "origin")))
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
    if not page["settings"]:
        return Group(head, Text(), body, Text(), Text("It has no settings.", style="dim"))
    table = Table(title="Settings", title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for name, options in (("name", {"style": "cyan", "no_wrap": True}), ("default", {"no_wrap": True}), ("unit", {})):
        table.add_column(name, header_style="dim", **options)
    table.add_column("what it does", header_style="dim", ratio=1)
    for each in page["settings"]:
        table.add_row(*(Text(str(each[key])) for key in ("name", "default", "unit", "help")))
    return Group(head, Text(), body, Text(), table)


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
