"""A recipe for reading: as dotted paths with their values, and as a page with the stream as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .units import count, plain, seconds, size

WORDS = ("description", "shows", "expected")  # fields of a recipe that are told, not listed


def flattened(recipe: Mapping[str, Any], prefix: str = "") -> list[list[str]]:
    """Write a recipe as the paths that `--set` takes.

    Args:
        recipe: Nested tables.
        prefix: Path of the table at hand.

    Returns:
        [path, value] in the recipe's order; a list of tables has the position in its paths.
    """
    lines: list[list[str]] = []
    for key, value in recipe.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            lines += flattened(value, f"{path}.")
        elif _is_tables(value):
            for position, each in enumerate(value):
                lines += flattened(each, f"{path}.{position}.")
        else:
            lines.append([plain(path), _value(value)])
    return lines


def compact(recipe: Mapping[str, Any]) -> list[list[str]]:
    """Write a recipe for a page: a list of tables, such as the tasks of a stream, takes one line for each of them.

    Args:
        recipe: Nested tables.

    Returns:
        [path, value] in the recipe's order. Of a list of tables, what is the same in all stands in one line (`path.*`),
        and what is off, zero or empty is left out.
    """
    lines: list[list[str]] = []
    for path, value in _leaves(recipe, ""):
        if not _is_tables(value):
            lines.append([plain(path), _value(value)])
            continue
        tables = [dict(_leaves(each, "")) for each in value]
        same = {key for key in tables[0] if len(tables) > 1 and all(each.get(key) == tables[0][key] for each in tables)}
        shared = _written(tables[0], same)
        lines += [[plain(f"{path}.*"), shared]] if shared else []
        for position, each in enumerate(tables):
            lines.append([plain(f"{path}.{position}"), _written(each, set(each) - same) or "as the others"])
    return lines


def _leaves(table: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in table.items():
        found += _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return found


def _is_tables(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _written(table: Mapping[str, Any], keys: set[str]) -> str:
    return ", ".join(f"{plain(key)} {_value(value)}" for key, value in table.items() if key in keys and value)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return plain("none" if value is None else value)


def scenario_page(page: Mapping[str, Any]) -> RenderableType:
    """Draw a scenario: what it is, what it shows, its stream as a table, its other fields.

    Args:
        page: "name", "origin", "description", "shows", "expected", "recipe" (nested tables) and "tasks": name, concept,
            classes, "drawn" (the source's classes behind each of them), samples, query, test and what else is special,
            per task, None where that is not known: "missing" then says which data are not here; "shape" of one input,
            and "label": whether a task label is given when asked. Optionally "estimate" (seconds and bytes) and
            "figure".

    Returns:
        What `evermap show` prints.
    """
    head = Text.assemble((plain(page["name"]), "bold cyan"), "  scenario  ", (plain(page["origin"]), "dim"))
    parts: list[RenderableType] = [head]
    for field in WORDS:
        if page[field]:
            lead = "" if field == "description" else f"{field.capitalize()}: "
            parts += [Text(), Text.assemble((lead, "bold"), " ".join(page[field].split()))]
    if page["tasks"] is not None:
        parts += [Text(), _stream_table(page["tasks"])]
        told = "a task label is given" if page["label"] else "no task label is given"
        shape = "×".join(map(str, page["shape"]))
        parts += [Text(f"Inputs of shape {shape}; when asked, {told}.", style="dim")]
    elif page.get("missing"):
        parts += [Text(), Text.assemble(("Stream: ", "bold"), plain(page["missing"]))]
    if page.get("estimate"):
        parts += [Text(_expected(page["estimate"]), style="dim")]
    if page.get("figure"):
        parts += [Text(f"{page['figure']['path']} shows samples of {count(page['figure']['tasks'], 'task')}.")]
    fields = Table(
        title="Recipe", title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0), show_header=False
    )
    fields.add_column(style="cyan", no_wrap=True)
    fields.add_column(ratio=1)
    for path, value in flattened({k: v for k, v in page["recipe"].items() if k not in WORDS}):
        if not path.startswith("stream.tasks."):
            fields.add_row(Text(path), Text(value))
    return Group(*parts, Text(), fields)


def _expected(estimate: Mapping[str, float]) -> str:
    """Say what a run will take."""
    learning, evaluating = seconds(estimate["learning"]), seconds(estimate["evaluating"])
    store, test, task = (size(estimate[key]) for key in ("store_bytes", "test_bytes", "task_bytes"))
    return (
        f"A run takes about {learning} CPU for learning and {evaluating} for evaluation here; in memory {test} of test "
        f"sets and up to {task} a task, on disk up to {store}."
    )


def _stream_table(tasks: Sequence[Mapping[str, Any]]) -> Table:
    title = f"Stream: {count(len(tasks), 'task')}"
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0), header_style="dim"
    )
    table.add_column("", justify="right", style="dim")
    table.add_column("task")
    table.add_column("classes", overflow="ellipsis", no_wrap=True, max_width=20)
    table.add_column("samples", justify="right")
    table.add_column("query", justify="right")
    table.add_column("test", justify="right")
    table.add_column("special")
    for position, task in enumerate(tasks):
        classes = " ".join("+".join(map(str, behind)) for behind in task["drawn"])
        texts = (task["name"], classes, task["samples"], task["query"] or "", task["test"], ", ".join(task["special"]))
        table.add_row(str(position + 1), *(Text(plain(text)) for text in texts))
    return table
