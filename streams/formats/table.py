"""A table of cells as numbers: which columns hold numbers, categories or texts, and what each becomes."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError

MISSING = frozenset({"", "?", "na", "n/a", "nan", "none", "null"})
# A column that is no number is a category up to so many different cells, and text above.
MOST_CATEGORIES = 50


@dataclass(frozen=True)
class Column:
    """One column that becomes inputs.

    Attributes:
        name: Its name in the header.
        kind: "number", "category" or "text".
        categories: The different cells of a category, sorted.
    """

    name: str
    kind: str
    categories: tuple[str, ...] = ()

    def width(self, text_features: int) -> int:
        """Return the number of inputs that it becomes."""
        return {"number": 1, "category": len(self.categories), "text": text_features}[self.kind]


@dataclass(frozen=True)
class Cells:
    """What a file holds.

    Attributes:
        path: The file.
        header: Names of the columns.
        rows: The cells of every row, without blanks around them; row 2 of the file is the first.
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def column(self, name: str) -> list[str]:
        """Return the cells of a column.

        Args:
            name: Its name.

        Raises:
            DataError: If there is none of this name.
        """
        if name not in self.header:
            raise DataError(f"{self.path}: there is no column {name!r}; it has {', '.join(self.header)}.")
        at = self.header.index(name)
        return [row[at] for row in self.rows]

    def error(self, row: int, column: str, found: str, valid: str) -> DataError:
        """Build an error about one cell; `row` counts from 0, in the message as a spreadsheet does."""
        return DataError(f"{self.path}: row {row + 2}, column {column!r}: found {found!r}; {valid}.")


def read_cells(path: Path, delimiter: str) -> Cells:
    """Read a file of cells: UTF-8, a header in its first row.

    Args:
        path: The file.
        delimiter: What stands between two cells.

    Returns:
        The cells; rows without any content are left out at the end of the file.

    Raises:
        DataError: If it cannot be read, has no header or no rows, or a row has another number of cells.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [tuple(cell.strip() for cell in row) for row in csv.reader(file, delimiter=delimiter, strict=True)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is no table in UTF-8, or damaged: {error}.") from error
    while rows and not any(rows[-1]):
        rows.pop()
    if len(rows) < 2:
        raise DataError(
            f"{path}: {'holds a header and no rows' if rows else 'is empty'}; a header and at least one row are needed."
        )
    header = rows[0]
    for name in header:
        if not name or header.count(name) > 1:
            what = f"the column {name!r} twice" if name else "a column without a name"
            raise DataError(f"{path}: row 1: found {what}; every column has a name of its own.")
    for i, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise DataError(f"{path}: row {i}: found {len(row)} cells; the header has {len(header)}.")
    return Cells(path, header, tuple(rows[1:]))


def find_columns(
    cells: Cells, others: Iterable[str], numbers: Sequence[str], categories: Sequence[str], texts: Sequence[str]
) -> tuple[Column, ...]:
    """Decide what every column is.

    Args:
        cells: The table.
        others: Columns that are no inputs: the label, the split, what is to be ignored.
        numbers: Columns that are said to be numbers.
        categories: Columns that are said to be categories.
        texts: Columns that are said to be texts.

    Returns:
        The columns that become inputs, in the order of the header. One of which nothing is said is a number if all its
        cells are (but for missing ones), a category if it has at most `MOST_CATEGORIES` different cells, else text.

    Raises:
        DataError: If a column does not exist, or none is left.
    """
    said = {
        name: kind for kind, names in (("number", numbers), ("category", categories), ("text", texts)) for name in names
    }
    left_out = set(others)
    for name in (*said, *left_out):
        cells.column(name)
    found = []
    for name in cells.header:
        if name in left_out:
            continue
        column = cells.column(name)
        kind = said.get(name) or _guess(column)
        found.append(Column(name, kind, tuple(sorted(set(column))) if kind == "category" else ()))
    if not found:
        raise DataError(f"{cells.path}: no column is left as input; it has {', '.join(cells.header)}.")
    return tuple(found)


def to_number(cell: str) -> float | None:
    """Read a cell as a number.

    Args:
        cell: The cell.

    Returns:
        The number; NaN for what is missing, None for anything else, infinity too.
    """
    if cell.lower() in MISSING:
        return math.nan
    try:
        number = float(cell) if "_" not in cell else math.inf
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _guess(column: Sequence[str]) -> str:
    numbers = [to_number(cell) for cell in column]
    if None not in numbers and not all(number is not None and math.isnan(number) for number in numbers):
        return "number"
    return "category" if len(set(column)) <= MOST_CATEGORIES else "text"
