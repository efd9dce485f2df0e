"""Rows of a table as inputs: what every column becomes, as plain data that can be kept and used on other rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import DataError
from .table import Cells, Column, to_number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def encode(cells: Cells, columns: Sequence[Column], text_features: int) -> NDArray[np.float32]:
    """Turn rows into inputs; numbers stay as they are, and NaN stands for one that is missing.

    Args:
        cells: The table; it may have other columns as well, in any order.
        columns: What becomes inputs, in this order.
        text_features: Inputs that a column of texts becomes.

    Returns:
        Shape `(n, inputs)`: one input for a number, one per category (1 for its own), hashed n-grams of a text.

    Raises:
        DataError: If a column is not there, a cell is no number, or a category is none of the column's.
    """
    import numpy as np

    return np.concatenate([_inputs(cells, column, text_features) for column in columns], axis=1)


def described(columns: Sequence[Column], text_features: int, delimiter: str) -> dict[str, Any]:
    """Write how rows become inputs, as plain data.

    Args:
        columns: What becomes inputs.
        text_features: Inputs that a column of texts becomes.
        delimiter: What stands between two cells.

    Returns:
        What `columns_of` reads.
    """
    told = [{"name": each.name, "kind": each.kind, "categories": list(each.categories)} for each in columns]
    return {"delimiter": delimiter, "text_features": text_features, "columns": told}


def columns_of(table: Mapping[str, Any]) -> tuple[Column, ...]:
    """Read the columns that `described` wrote."""
    return tuple(Column(each["name"], each["kind"], tuple(each["categories"])) for each in table["columns"])


def numbers_of(cells: Cells, name: str, valid: str = "a number is needed") -> list[float]:
    """Read a column of numbers.

    Args:
        cells: The table.
        name: The column.
        valid: What an error says is valid.

    Returns:
        The numbers; NaN for what is missing.

    Raises:
        DataError: If a cell is no number; names the row as a spreadsheet does.
    """
    found = []
    for row, cell in enumerate(cells.column(name)):
        number = to_number(cell)
        if number is None:
            raise cells.error(row, name, cell, valid)
        found.append(number)
    return found


def _inputs(cells: Cells, column: Column, text_features: int) -> NDArray[np.float32]:
    import numpy as np

    if column.kind == "number":
        return np.array(numbers_of(cells, column.name), np.float32)[:, None]
    found = cells.column(column.name)
    if column.kind == "text":
        from .ngrams import hashed_ngrams

        return hashed_ngrams(found, text_features)
    unknown = next((row for row, cell in enumerate(found) if cell not in column.categories), None)
    if unknown is not None:
        raise _unknown(cells, unknown, column)
    return (np.array(found)[:, None] == np.array(column.categories)).astype(np.float32)


def _unknown(cells: Cells, row: int, column: Column) -> DataError:
    valid = f"its categories are {', '.join(map(repr, column.categories))}"
    return cells.error(row, column.name, cells.column(column.name)[row], valid)
