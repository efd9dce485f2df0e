"""The accuracy matrix: rows are evaluations, columns are test sets; and its form as text."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class AccuracyMatrix:
    """Accuracy (regression: R²) of every test set at every evaluation.

    Attributes:
        values: Float64, shape `(rows, columns)`; row 0 was taken before any learning. NaN where nothing was measured.
        columns: Name of every column: a concept and its test set.
        row_tasks: Index of the task after which each row was taken; None for row 0.
        learned_at: Per column the row after which it was first learned, None for never: it takes the diagonal's place
            in every formula.
        class_sets: Global class ids of every column; empty for regression.
        own_labels: Per column whether its class ids (regression: outputs) mean something in its own tasks only, so that
            nobody can know them before.
    """

    values: NDArray[np.float64]
    columns: tuple[str, ...]
    row_tasks: tuple[int | None, ...]
    learned_at: tuple[int | None, ...]
    class_sets: tuple[tuple[int, ...], ...]
    own_labels: tuple[bool, ...]

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64)
        shape = (len(self.row_tasks), len(self.columns))
        if values.size == 0:
            values = values.reshape(shape) if shape[0] * shape[1] == 0 else values
        if values.shape != shape:
            raise ValueError(f"values have shape {values.shape}; {shape[0]} rows and {shape[1]} columns are named")
        for field in ("learned_at", "class_sets", "own_labels"):
            if len(getattr(self, field)) != shape[1]:
                raise ValueError(f"{field} has {len(getattr(self, field))} entries for {shape[1]} columns")
        if any(row is not None and not 1 <= row < shape[0] for row in self.learned_at):
            raise ValueError(f"learned_at is {self.learned_at}; rows 1 to {shape[0] - 1} follow some learning")
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AccuracyMatrix):
            return NotImplemented
        mine = (self.columns, self.row_tasks, self.learned_at, self.class_sets, self.own_labels)
        theirs = (other.columns, other.row_tasks, other.learned_at, other.class_sets, other.own_labels)
        return mine == theirs and np.array_equal(self.values, other.values, equal_nan=True)

    __hash__ = None  # type: ignore[assignment]  # an array inside: equal by value, not to be a key

    @property
    def last(self) -> int:
        """The last row; −1 where there is none."""
        return len(self.row_tasks) - 1


def to_csv(R: AccuracyMatrix) -> str:
    """Write a matrix as text; `from_csv` gives back an equal one.

    Lines that begin with "#" hold what is not a row, so that tools which skip such lines read a plain table:
    `row,task,<columns>`, floats in full precision.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["# classes", "", *(" ".join(map(str, classes)) for classes in R.class_sets)])
    writer.writerow(["# own_labels", "", *("true" if own else "false" for own in R.own_labels)])
    writer.writerow(["# learned_at", "", *("" if row is None else row for row in R.learned_at)])
    # A lone "\r" ends a line for readers, but the writer would not quote it.
    names = writer
    if any("\r" in name for name in R.columns):
        names = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    names.writerow(["row", "task", *R.columns])
    for row, (task, values) in enumerate(zip(R.row_tasks, R.values.tolist(), strict=True)):
        writer.writerow([row, "" if task is None else task, *map(repr, values)])
    return out.getvalue()


def from_csv(text: str) -> AccuracyMatrix:
    """Read what `to_csv` wrote.

    Raises:
        ValueError: If the text is not of that form; says which line.
    """
    lines = [line for line in csv.reader(io.StringIO(text, newline="")) if line]
    notes = {line[0]: line[1:] for line in lines if line[0].startswith("# ")}
    table = [line for line in lines if not line[0].startswith("# ")]
    for note in ("# classes", "# own_labels", "# learned_at"):
        if note not in notes:
            raise ValueError(f"there is no line {note!r}")
    if not table or table[0][:2] != ["row", "task"]:
        raise ValueError("the table's head must be 'row,task,' and the names of the columns")
    columns = tuple(table[0][2:])
    for cell in notes["# own_labels"][1:]:
        if cell not in ("true", "false"):
            raise ValueError(f"own_labels has {cell!r}; valid: true, false")
    values: list[list[float]] = []
    for row, line in enumerate(table[1:]):
        if len(line) != len(columns) + 2 or line[0] != str(row):
            raise ValueError(f"row {row} must be its number, its task and {len(columns)} values; found {line}")
        values.append([float(cell) for cell in line[2:]])
    return AccuracyMatrix(
        values=np.array(values, dtype=np.float64).reshape(len(values), len(columns)),
        columns=columns,
        row_tasks=tuple(int(line[1]) if line[1] else None for line in table[1:]),
        learned_at=tuple(int(cell) if cell else None for cell in notes["# learned_at"][1:]),
        class_sets=tuple(tuple(map(int, cell.split())) for cell in notes["# classes"][1:]),
        own_labels=tuple(cell == "true" for cell in notes["# own_labels"][1:]),
    )
