"""The measures of the L2M programme (New et al. 2022, arXiv 2201.08278), on an accuracy matrix and on learning curves.

Evaluation blocks are the rows of the matrix, learning blocks what lies between them. Performance is an accuracy in 0 to
1 here; the programme's tool scales it to 0 to 100 first: maintenance then has that factor, ratios do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Literal

from .against import Visit
from .curves import Curve, area
from .matrix import AccuracyMatrix
from .measure import Measure, Missing, PerColumn, Undefined, each_learned, one, value_at
from .metrics import check_knowable

Form = Literal["contrast", "ratio"]


def performance_maintenance_per_column(R: AccuracyMatrix, visits: Sequence[Visit]) -> PerColumn:
    """Mean over later rows of R[i, j] minus the row after j was trained last (New et al. 2022, "mrlep").

    Rows that follow a training of j are references, not measurements.

    Args:
        R: The matrix.
        visits: Every task: a task that returns is trained again.
    """
    convention = (
        "mean over the rows in between and after of the accuracy minus that of the row after the task was last "
        "trained (most recent learning evaluation); New et al. 2022"
    )
    trained = trained_in(R, visits)

    def formula(j: int, row: int) -> float:
        reference, found = value_at(R, row, j), list[float]()
        for later in range(row + 1, R.last + 1):
            value = value_at(R, later, j)
            if j in trained[later]:
                reference = value
            else:
                found.append(value - reference)
        if not found:
            raise Undefined("it was learned last" if row == R.last else "no row follows but those of its own visits")
        return math.fsum(found) / len(found)

    return each_learned("performance maintenance", convention, R, formula)


def performance_maintenance(R: AccuracyMatrix, visits: Sequence[Visit]) -> Measure:
    """Mean of `performance_maintenance_per_column` (New et al. 2022, arXiv 2201.08278)."""
    return performance_maintenance_per_column(R, visits).mean()


def block_transfer(
    R: AccuracyMatrix, visits: Sequence[Visit], direction: Literal["forward", "backward"], form: Form
) -> Measure:
    """Transfer from the tasks of one learning block to a task that is not among them (New et al. 2022).

    Forward, where j was not trained before but its classes had been seen under the same ids by the end of the block (as
    for zero-shot forward transfer: masking unseen classes would decide the number); backward, where it was trained
    before. The rows before and after the block are compared by the contrast (a − b) / (a + b) or the ratio a / b, a
    after, b before, averaged over all pairs of block and task.

    Args:
        R: The matrix.
        visits: Every task.
        direction: "forward" or "backward".
        form: "contrast" or "ratio".
    """
    shape = "(after − before) / (after + before)" if form == "contrast" else "after / before"
    known = "not trained before whose classes are known" if direction == "forward" else "trained before"
    convention = f"mean over rows and tasks {known} of {shape}, of the row and the one before; New et al. 2022"

    def formula() -> float:
        found = [compared(after, before, form) for after, before in _pairs(R, visits, direction)]
        defined = [value for value in found if value is not None]
        if not defined:
            raise Undefined(
                "no such task is there beside the one that was learned" if not found else "no value before is above 0"
            )
        return math.fsum(defined) / len(defined)

    return one(f"{direction} transfer ({form})", convention, formula)


def relative_performance(curve: Curve, expert: Curve, form: Form = "ratio") -> Measure:
    """Area under the learning curve relative to a single-task expert's, over their common length (New et al. 2022).

    Args:
        curve: The lifelong learner's.
        expert: The expert's on the same task.
        form: "ratio" as published, or "contrast".
    """
    shape = "over" if form == "ratio" else "against"
    convention = (
        f"area under the learning curve {shape} that of a single-task expert, up to the cost that both reached "
        f"({form}); New et al. 2022"
    )

    def formula() -> float:
        until = min(curve.cost[-1], expert.cost[-1])
        if not until > 0:
            raise Undefined("the curves have no common length")
        value = compared(area(curve, until), area(expert, until), form)
        if value is None:
            raise Undefined("the expert's performance is 0, or one is negative")
        return value

    return one("relative performance", convention, formula)


def sample_efficiency(curve: Curve, expert: Curve, form: Form = "ratio") -> Measure:
    """How high a curve saturates times how soon, relative to a single-task expert (New et al. 2022).

    (saturation / the expert's) · (the expert's cost to saturation / the cost to saturation), saturation being the
    largest value of a curve. Scores here are averages over many samples, so curves are not smoothed first.

    Args:
        curve: The lifelong learner's.
        expert: The expert's on the same task.
        form: "ratio" as published, or "contrast": (x − 1) / (x + 1) of that ratio.
    """
    convention = (
        "saturation value over that of a single-task expert, times the expert's cost to saturation over its own "
        f"({form}); New et al. 2022"
    )

    def formula() -> float:
        (high, soon), (expert_high, expert_soon) = saturation(curve), saturation(expert)
        value = compared(high * expert_soon, expert_high * soon, form)
        if value is None or not (soon and expert_soon):
            raise Undefined("a performance is 0 or negative, or nothing had been spent when it was reached")
        return value

    return one("sample efficiency", convention, formula)


def saturation(curve: Curve) -> tuple[float, float]:
    """Find the largest value of a curve and the cost at which it was first reached."""
    high = max(curve.values)
    return high, curve.cost[curve.values.index(high)]


def compared(a: float, b: float, form: Form) -> float | None:
    """Compare two performances: (a − b) / (a + b), or a / b; None where one is negative (R²) or it divides by 0."""
    whole = a + b if form == "contrast" else b
    if not whole or min(a, b) < 0:
        return None
    return (a - b) / whole if form == "contrast" else a / b


def trained_in(R: AccuracyMatrix, visits: Sequence[Visit]) -> list[set[int]]:
    """List for every row the columns that were trained since the row before."""
    found: list[set[int]] = [set() for _ in R.row_tasks]
    for visit in visits:
        rows = [row for row, last in enumerate(R.row_tasks) if last is not None and last >= visit.task]
        if rows:
            found[rows[0]].add(visit.column)
    return found


def _pairs(R: AccuracyMatrix, visits: Sequence[Visit], direction: str) -> Iterator[tuple[float, float]]:
    for row, columns in enumerate(trained_in(R, visits)):
        for j, learned in enumerate(R.learned_at):
            before = learned is not None and learned < row
            if columns and j not in columns and before == (direction == "backward"):
                with suppress(Missing, Undefined):
                    if not before:
                        check_knowable(R, j, row + 1)
                    yield value_at(R, row, j), value_at(R, row - 1, j)
