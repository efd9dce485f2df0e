"""Pages on a terminal or into a pipe: a terminal has its width, and into a pipe or a file nothing is cut."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table

_ENDLESS = 100_000  # columns; wider than any cell


def show(console: Console, page: RenderableType) -> None:
    """Print a page; where no terminal reads it, as wide as its tables need so that no cell is cut.

    Args:
        console: Where to print.
        page: What to print; text that is not in a table wraps at the console's width.
    """
    if console.is_terminal:
        console.print(page)
        return
    width = console.width
    for table, beside in _tables(page):
        _open(table)
        width = max(width, _needed(console, table) + beside)
    former, console.width = console.width, width
    try:
        console.print(page)
    finally:
        console.width = former


def _tables(page: RenderableType, beside: int = 0) -> list[tuple[Table, int]]:
    """List the tables of a page, also those in groups, each with the columns of blanks beside it."""
    if isinstance(page, Table):
        return [(page, beside)]
    if isinstance(page, Padding):
        return _tables(page.renderable, beside + page.left + page.right)
    return [found for each in page.renderables for found in _tables(each, beside)] if isinstance(page, Group) else []


def _open(table: Table) -> None:
    """Let columns be as wide as what is in them."""
    table.expand = False
    for column in table.columns:
        if column.overflow == "ellipsis" and column.no_wrap:
            column.max_width = None


def _needed(console: Console, table: Table) -> int:
    """Columns that a table needs: of what may wrap its longest word, of all else all."""
    options = console.options.update(width=_ENDLESS)
    width = 0
    for column in table.columns:
        cells = [Measurement.get(console, options, cell) for cell in (column.header, *column.cells)]
        width += max((each.maximum if column.no_wrap else each.minimum for each in cells), default=0)
    return width + sum(table.padding[1::2]) * len(table.columns) + len(table.columns) + 1
