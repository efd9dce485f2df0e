"""The worst that happened on the way: accuracies while later tasks were learned (De Lange et al. 2023)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .matrix import AccuracyMatrix
from .measure import Measure, PerColumn, Undefined, each_learned, value_at


@dataclass(frozen=True)
class During:
    """An evaluation in the middle of learning a task.

    Attributes:
        task: Position of the task that was being learned.
        unit: Units of work that were done on it.
        values: Accuracy (regression: R²) per column of the matrix; None where nothing was measured.
    """

    task: int
    unit: int
    values: tuple[float | None, ...]


def min_accuracy_per_column(R: AccuracyMatrix, during: Sequence[During]) -> PerColumn:
    """Min over n > d_j of A(E_j, f_n): the lowest accuracy after a task was learned (De Lange 2023, arXiv 2205.13452).

    Args:
        R: The matrix; its rows count as evaluations.
        during: Evaluations while later tasks were learned.
    """
    convention = (
        "lowest accuracy at any evaluation after it was learned, while later tasks were learned and in the rows; "
        "De Lange et al. 2023"
    )

    def formula(j: int, row: int) -> float:
        if row >= R.last:
            raise Undefined("it was learned last")
        if not during:
            raise Undefined("nothing was evaluated during learning (evaluate_units)")
        return lowest(R, during, j, row)

    return each_learned("lowest accuracy", convention, R, formula)


def min_accuracy(R: AccuracyMatrix, during: Sequence[During]) -> Measure:
    """min-ACC: mean of `min_accuracy_per_column` over what was learned before the last row (De Lange et al. 2023)."""
    return min_accuracy_per_column(R, during).mean()


def worst_case_accuracy(R: AccuracyMatrix, during: Sequence[During]) -> Measure:
    """WC-ACC = A(E_k, f) / k + (1 − 1/k) min-ACC, k tasks learned (De Lange et al. 2023, arXiv 2205.13452).

    What was learned in the last row has its accuracy there, everything else its lowest one; the mean of all.
    """
    convention = (
        "mean of the accuracy on what was learned last and of the lowest accuracies on everything before; "
        "De Lange et al. 2023"
    )

    def formula(j: int, row: int) -> float:
        if not during:
            raise Undefined("nothing was evaluated during learning (evaluate_units)")
        return value_at(R, row, j) if row >= R.last else lowest(R, during, j, row)

    return each_learned("worst-case accuracy", convention, R, formula).mean()


def stability_gap_per_column(R: AccuracyMatrix, during: Sequence[During]) -> PerColumn:
    """min(R[d_j, j], R[T, j]) minus the lowest accuracy in between: what was lost on the way and came back.

    Named in De Lange et al. 2023 (arXiv 2205.13452); as a number it is evermap's own: 0 where accuracy only falls.
    """
    convention = (
        "the lower of the accuracies after it was learned and in the last row, minus the lowest one in between: a "
        "drop that was made good; after De Lange et al. 2023"
    )

    def formula(j: int, row: int) -> float:
        if row >= R.last:
            raise Undefined("it was learned last")
        if not during:
            raise Undefined("nothing was evaluated during learning (evaluate_units)")
        return min(value_at(R, row, j), value_at(R, R.last, j)) - min(lowest(R, during, j, row), value_at(R, row, j))

    return each_learned("stability gap", convention, R, formula)


def lowest(R: AccuracyMatrix, during: Sequence[During], column: int, row: int) -> float:
    """Find the lowest accuracy on a column after the row in which it was learned, between rows and in them."""
    learned = R.row_tasks[row]
    found = [value_at(R, later, column) for later in range(row + 1, R.last + 1)]
    for each in during:
        value = each.values[column] if column < len(each.values) else None
        if value is not None and math.isfinite(value) and learned is not None and each.task > learned:
            found.append(value)
    return min(found)
