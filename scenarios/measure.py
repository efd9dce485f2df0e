"""A number of a report, or one per test set: with its definition, and the reason where it is undefined."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .matrix import AccuracyMatrix


@dataclass(frozen=True)
class Measure:
    """One number of a report.

    Attributes:
        name: What it is ("forgetting").
        value: The number; None where it is undefined.
        reason: Why it is undefined; None where it is not.
        convention: The definition in words, with its source, to be printed beside the number.
    """

    name: str
    value: float | None
    reason: str | None
    convention: str


@dataclass(frozen=True)
class PerColumn:
    """One number for every column of the matrix.

    Attributes:
        name: What it is.
        columns: Names of the columns.
        values: One per column; None where it is undefined or missing.
        reasons: Why it is None; None where it is not.
        missing: Whether it is None because a value that the formula needs was not measured: then the mean is n/a too,
            while columns for which the formula is undefined are left out of it.
        convention: The definition in words, with its source.
    """

    name: str
    columns: tuple[str, ...]
    values: tuple[float | None, ...]
    reasons: tuple[str | None, ...]
    missing: tuple[bool, ...]
    convention: str

    def mean(self) -> Measure:
        """Average the columns for which the number is defined."""
        for reason, missing in zip(self.reasons, self.missing, strict=True):
            if missing:
                return Measure(self.name, None, reason, self.convention)
        defined = [value for value in self.values if value is not None]
        if defined:
            return Measure(self.name, math.fsum(defined) / len(defined), None, self.convention)
        return Measure(self.name, None, self._why_nowhere(), self.convention)

    def _why_nowhere(self) -> str:
        reasons = Counter(reason for reason in self.reasons if reason is not None)
        if not reasons:
            return "there is no test set"
        said = "; ".join(f"{reason} ({n} of {len(self.columns)})" for reason, n in reasons.most_common())
        return next(iter(reasons)) if len(reasons) == 1 else said


class Undefined(Exception):
    """The formula says nothing here; its text is the reason."""


class Missing(Exception):
    """A value that the formula needs was not measured; its text says which."""


def value_at(R: AccuracyMatrix, row: int, column: int) -> float:
    """Read a cell.

    Args:
        R: The matrix.
        row: The evaluation.
        column: The test set.

    Returns:
        What was measured.

    Raises:
        Missing: If nothing was.
    """
    value = float(R.values[row, column])
    if math.isnan(value):
        raise Missing(f"the accuracy on {R.columns[column]!r} was not measured in row {row}")
    return value


def one(name: str, convention: str, formula: Callable[[], float]) -> Measure:
    """Make one number.

    Args:
        name: What it is.
        convention: Its definition, with the source.
        formula: Computes it; raises `Undefined` or `Missing` where it is undefined.
    """
    try:
        return Measure(name, formula(), None, convention)
    except (Undefined, Missing) as why:
        return Measure(name, None, str(why), convention)


def each(name: str, convention: str, columns: Sequence[str], formula: Callable[[int], float]) -> PerColumn:
    """Make one number per column, or per whatever else there are several of.

    Args:
        name: What it is.
        convention: Its definition, with the source.
        columns: Their names.
        formula: Computes it from the position; raises `Undefined` or `Missing` where it is undefined.
    """
    cells: list[tuple[float | None, str | None, bool]] = []
    for position in range(len(columns)):
        try:
            cells.append((formula(position), None, False))
        except Undefined as why:
            cells.append((None, str(why), False))
        except Missing as why:
            cells.append((None, str(why), True))
    values, reasons, missing = zip(*cells, strict=True) if cells else ((), (), ())
    return PerColumn(name, tuple(columns), values, reasons, missing, convention)


def each_learned(name: str, convention: str, R: AccuracyMatrix, formula: Callable[[int, int], float]) -> PerColumn:
    """Apply `formula(column, row after which it was learned)` to every column of a matrix that was learned."""

    def where_learned(column: int) -> float:
        row = R.learned_at[column]
        if row is None:
            raise Undefined("it was never learned" if R.last > 0 else "nothing was learned yet")
        return formula(column, row)

    return each(name, convention, R.columns, where_learned)
