"""What the papers compute from an accuracy matrix: pure functions; what is undefined is n/a, with the reason."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .matrix import AccuracyMatrix as AccuracyMatrix  # part of this module's face, with its form as text
from .matrix import from_csv as from_csv
from .matrix import to_csv as to_csv


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


class _Undefined(Exception):
    """The formula says nothing about this column."""


class _Missing(Exception):
    """A value that the formula needs was not measured."""


def _at(R: AccuracyMatrix, row: int, column: int) -> float:
    value = float(R.values[row, column])
    if math.isnan(value):
        raise _Missing(f"the accuracy on {R.columns[column]!r} was not measured in row {row}")
    return value


def _per_column(name: str, convention: str, R: AccuracyMatrix, formula: Callable[[int, int], float]) -> PerColumn:
    """Apply `formula(column, row after which it was learned)` to every column that was learned."""
    cells: list[tuple[float | None, str | None, bool]] = []
    for column, row in enumerate(R.learned_at):
        try:
            if row is None:
                raise _Undefined("it was never learned" if R.last > 0 else "nothing was learned yet")
            cells.append((formula(column, row), None, False))
        except _Undefined as why:
            cells.append((None, str(why), False))
        except _Missing as why:
            cells.append((None, str(why), True))
    values, reasons, missing = zip(*cells, strict=True) if cells else ((), (), ())
    return PerColumn(name, R.columns, values, reasons, missing, convention)


def accuracy_per_column(R: AccuracyMatrix) -> PerColumn:
    """R[T, j] of every column that was learned (Lopez-Paz & Ranzato 2017, arXiv 1706.08840)."""
    convention = "accuracy in the last row, over the test sets learned so far; Lopez-Paz & Ranzato 2017"
    return _per_column("average accuracy", convention, R, lambda j, _: _at(R, R.last, j))


def average_accuracy(R: AccuracyMatrix) -> Measure:
    """(1/T) Σ_j R[T, j] (Lopez-Paz & Ranzato 2017, arXiv 1706.08840)."""
    return accuracy_per_column(R).mean()


def average_incremental_accuracy(R: AccuracyMatrix) -> Measure:
    """Mean over rows i ≥ 1 of the mean accuracy on what was learned by then (Rebuffi et al. 2017, arXiv 1611.07725)."""
    name = "average incremental accuracy"
    convention = "mean over the rows after row 0 of the mean accuracy on what was learned by then; Rebuffi et al. 2017"
    means = []
    try:
        for row in range(1, R.last + 1):
            learned = [j for j, at in enumerate(R.learned_at) if at is not None and at <= row]
            if learned:
                means.append(math.fsum(_at(R, row, j) for j in learned) / len(learned))
    except _Missing as why:
        return Measure(name, None, str(why), convention)
    if not means:
        return Measure(name, None, "nothing was learned yet" if R.columns else "there is no test set", convention)
    return Measure(name, math.fsum(means) / len(means), None, convention)


def _before_last(R: AccuracyMatrix, row: int) -> None:
    if row >= R.last:
        one = sum(at is not None for at in R.learned_at) == 1
        raise _Undefined("only one task was learned" if one else "it was learned last")


def forgetting_per_column(R: AccuracyMatrix) -> PerColumn:
    """max_{d_j ≤ l < T} R[l, j] − R[T, j], d_j = learned_at (Chaudhry et al. 2018, arXiv 1801.10112)."""
    convention = (
        "best accuracy since it was learned, the last row left out, minus that of the last row "
        "(negative: it improved); Chaudhry et al. 2018"
    )

    def formula(j: int, row: int) -> float:
        _before_last(R, row)
        return max(_at(R, earlier, j) for earlier in range(row, R.last)) - _at(R, R.last, j)

    return _per_column("forgetting", convention, R, formula)


def forgetting(R: AccuracyMatrix) -> Measure:
    """Mean of `forgetting_per_column` over what was learned before the last row (Chaudhry et al. 2018)."""
    return forgetting_per_column(R).mean()


def backward_transfer_per_column(R: AccuracyMatrix) -> PerColumn:
    """R[T, j] − R[d_j, j], d_j = learned_at (Lopez-Paz & Ranzato 2017, arXiv 1706.08840)."""
    convention = "accuracy in the last row minus that of the row after it was first learned; Lopez-Paz & Ranzato 2017"

    def formula(j: int, row: int) -> float:
        _before_last(R, row)
        return _at(R, R.last, j) - _at(R, row, j)

    return _per_column("backward transfer", convention, R, formula)


def backward_transfer(R: AccuracyMatrix) -> Measure:
    """Mean of `backward_transfer_per_column` over what was learned before the last row (Lopez-Paz & Ranzato 2017)."""
    return backward_transfer_per_column(R).mean()


def forward_transfer_per_column(R: AccuracyMatrix) -> PerColumn:
    """R[d_j − 1, j] − b_j, d_j = learned_at, b = row 0 (Lopez-Paz & Ranzato 2017, arXiv 1706.08840).

    Undefined for what was learned first; where class ids mean something in the column's own tasks only, as in few-shot
    tasks labelled 0, 1, …: nobody can know the meaning before; and where classes of the test set were not seen before
    under the same ids: masking them decides the number then, not what was learned. A task label changes nothing here.
    """
    convention = (
        "accuracy in the row before it was first learned minus that of row 0, over test sets whose classes were known "
        "by then under the same ids; Lopez-Paz & Ranzato 2017"
    )

    def formula(j: int, row: int) -> float:
        earlier = [at for at in R.learned_at if at is not None and at < row]
        if not earlier:
            one = sum(at is not None for at in R.learned_at) == 1
            raise _Undefined("only one task was learned" if one else "nothing was learned before it")
        if R.own_labels[j]:
            raise _Undefined("its labels mean something in this task only, so nobody can know them before")
        shared = [k for k, at in enumerate(R.learned_at) if at is not None and at < row and not R.own_labels[k]]
        seen = {c for k in shared for c in R.class_sets[k]}
        if not seen.issuperset(R.class_sets[j]):
            raise _Undefined("classes of it were not seen before it")
        return _at(R, row - 1, j) - _at(R, 0, j)

    return _per_column("forward transfer (zero-shot)", convention, R, formula)


def forward_transfer(R: AccuracyMatrix) -> Measure:
    """Mean of `forward_transfer_per_column` where it is defined (Lopez-Paz & Ranzato 2017)."""
    return forward_transfer_per_column(R).mean()


def learning_accuracy_per_column(R: AccuracyMatrix) -> PerColumn:
    """R[d_j, j], d_j = learned_at (Riemer et al. 2019, arXiv 1810.11910)."""
    convention = "accuracy in the row after it was first learned; Riemer et al. 2019"
    return _per_column("learning accuracy", convention, R, lambda j, row: _at(R, row, j))


def learning_accuracy(R: AccuracyMatrix) -> Measure:
    """Mean_j R[d_j, j] (Riemer et al. 2019, arXiv 1810.11910)."""
    return learning_accuracy_per_column(R).mean()


def all_measures(R: AccuracyMatrix) -> tuple[Measure, ...]:
    """Every headline number of a matrix, in the order of a report."""
    return tuple(
        measure(R)
        for measure in (
            average_accuracy,
            average_incremental_accuracy,
            learning_accuracy,
            forgetting,
            backward_transfer,
            forward_transfer,
        )
    )


def all_per_column(R: AccuracyMatrix) -> tuple[PerColumn, ...]:
    """Every number that each column has, in the order of `all_measures`."""
    return tuple(
        per_column(R)
        for per_column in (
            accuracy_per_column,
            learning_accuracy_per_column,
            forgetting_per_column,
            backward_transfer_per_column,
            forward_transfer_per_column,
        )
    )


def r_squared(predictions: ArrayLike, targets: ArrayLike) -> Measure:
    """1 − MSE / Var(test targets), what stands in the matrix for regression.

    Args:
        predictions: Shape `(n, outputs)` or `(n,)`.
        targets: The same shape; the variance is taken over samples and averaged over outputs.

    Returns:
        1 for perfect, 0 for the targets' mean, negative for worse; n/a for constant or no targets.
    """
    name, convention = "R²", "1 − mean squared error / variance of the test targets"
    p, y = np.asarray(predictions, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if p.shape != y.shape:
        raise ValueError(f"predictions have shape {p.shape}, targets {y.shape}")
    if y.size == 0:
        return Measure(name, None, "there is no test sample", convention)
    if not (np.isfinite(p).all() and np.isfinite(y).all()):
        return Measure(name, None, "a prediction or a target is not finite", convention)
    variance = float(y.var(axis=0).mean())
    if variance == 0.0:
        return Measure(name, None, "the test targets do not vary", convention)
    return Measure(name, 1.0 - float(((p - y) ** 2).mean()) / variance, None, convention)
