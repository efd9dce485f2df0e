"""What the papers compute from an accuracy matrix: pure functions; what is undefined is n/a, with the reason."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from .matrix import AccuracyMatrix as AccuracyMatrix  # part of this module's face, with its form as text
from .matrix import from_csv as from_csv
from .matrix import to_csv as to_csv
from .measure import Measure as Measure
from .measure import Missing, Undefined, each_learned, value_at
from .measure import PerColumn as PerColumn

ONCE = "evaluated once, after all tasks"
# What is undefined then: these follow what was learned from row to row.
_COURSE = ("average incremental accuracy", "learning accuracy")


def accuracy_per_column(R: AccuracyMatrix) -> PerColumn:
    """R[T, j] of every column that was learned (Lopez-Paz & Ranzato 2017, arXiv 1706.08840)."""
    convention = "accuracy in the last row, over the test sets learned so far; Lopez-Paz & Ranzato 2017"
    return each_learned("average accuracy", convention, R, lambda j, _: value_at(R, R.last, j))


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
                means.append(math.fsum(value_at(R, row, j) for j in learned) / len(learned))
    except Missing as why:
        return Measure(name, None, str(why), convention)
    if not means:
        return Measure(name, None, "nothing was learned yet" if R.columns else "there is no test set", convention)
    return Measure(name, math.fsum(means) / len(means), None, convention)


def _before_last(R: AccuracyMatrix, row: int) -> None:
    if row >= R.last:
        one = sum(at is not None for at in R.learned_at) == 1
        raise Undefined("only one task was learned" if one else "it was learned last")


def forgetting_per_column(R: AccuracyMatrix) -> PerColumn:
    """max_{d_j ≤ l < T} R[l, j] − R[T, j], d_j = learned_at (Chaudhry et al. 2018, arXiv 1801.10112)."""
    convention = (
        "best accuracy since it was learned, the last row left out, minus that of the last row "
        "(negative: it improved); Chaudhry et al. 2018"
    )

    def formula(j: int, row: int) -> float:
        _before_last(R, row)
        return max(value_at(R, earlier, j) for earlier in range(row, R.last)) - value_at(R, R.last, j)

    return each_learned("forgetting", convention, R, formula)


def forgetting(R: AccuracyMatrix) -> Measure:
    """Mean of `forgetting_per_column` over what was learned before the last row (Chaudhry et al. 2018)."""
    return forgetting_per_column(R).mean()


def backward_transfer_per_column(R: AccuracyMatrix) -> PerColumn:
    """R[T, j] − R[d_j, j], d_j = learned_at (Lopez-Paz & Ranzato 2017, arXiv 1706.08840)."""
    convention = "accuracy in the last row minus that of the row after it was first learned; Lopez-Paz & Ranzato 2017"

    def formula(j: int, row: int) -> float:
        _before_last(R, row)
        return value_at(R, R.last, j) - value_at(R, row, j)

    return each_learned("backward transfer", convention, R, formula)


def backward_transfer(R: AccuracyMatrix) -> Measure:
    """Mean of `backward_transfer_per_column` over what was learned before the last row (Lopez-Paz & Ranzato 2017)."""
    return backward_transfer_per_column(R).mean()


def check_knowable(R: AccuracyMatrix, column: int, row: int) -> None:
    """Make sure that what is asked of a test set could be known before a row.

    Args:
        R: The matrix.
        column: The test set.
        row: What was learned in the rows before it counts.

    Raises:
        Undefined: If its labels mean something in its own tasks only, or its classes were not seen by then.
    """
    if R.own_labels[column]:
        raise Undefined("its labels mean something in this task only, so nobody can know them before")
    shared = [k for k, at in enumerate(R.learned_at) if at is not None and at < row and not R.own_labels[k]]
    seen = {c for k in shared for c in R.class_sets[k]}
    if not seen.issuperset(R.class_sets[column]):
        raise Undefined("classes of it were not seen before it")


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
            raise Undefined("only one task was learned" if one else "no task of this stream was learned before it")
        check_knowable(R, j, row)
        return value_at(R, row - 1, j) - value_at(R, 0, j)

    return each_learned("forward transfer (zero-shot)", convention, R, formula)


def forward_transfer(R: AccuracyMatrix) -> Measure:
    """Mean of `forward_transfer_per_column` where it is defined (Lopez-Paz & Ranzato 2017)."""
    return forward_transfer_per_column(R).mean()


def learning_accuracy_per_column(R: AccuracyMatrix) -> PerColumn:
    """R[d_j, j], d_j = learned_at (Riemer et al. 2019, arXiv 1810.11910)."""
    convention = "accuracy in the row after it was first learned; Riemer et al. 2019"
    return each_learned("learning accuracy", convention, R, lambda j, row: value_at(R, row, j))


def learning_accuracy(R: AccuracyMatrix) -> Measure:
    """Mean_j R[d_j, j] (Riemer et al. 2019, arXiv 1810.11910)."""
    return learning_accuracy_per_column(R).mean()


def evaluated_once(R: AccuracyMatrix, arrivals: Iterable[Sequence[int]]) -> bool:
    """Tell whether several tasks have one row: the numbers that follow learning from task to task mean nothing then.

    Args:
        R: The matrix.
        arrivals: The tasks of every joint phase; after one that has all of them there is one row by right.
    """
    if R.last != 1 or not R.row_tasks[1]:
        return False
    return not any(set(range(R.row_tasks[1] + 1)) <= set(tasks) for tasks in arrivals)


def all_measures(R: AccuracyMatrix, once: bool = False) -> tuple[Measure, ...]:
    """Every headline number of a matrix, in the order of a report.

    Args:
        R: The matrix.
        once: Whether it was evaluated once only, as `evaluated_once` tells.
    """
    found = tuple(
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
    return tuple(replace(each, value=None, reason=ONCE) if once and each.name in _COURSE else each for each in found)


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
