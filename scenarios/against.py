"""What a run is worth beside another one on the same stream: joint training, or a fresh expert for every task.

`R` is the run, `S` or `J` the reference, both with a row after every task. S_j is what an independent expert (same
data, architecture and budget) reaches on a task, J_k what joint training on all tasks so far reaches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

from .matrix import AccuracyMatrix
from .measure import Measure, Missing, PerColumn, Undefined, each, each_learned, one, value_at

# Two-sided 95 %, normal.
Z = 1.959964


@dataclass(frozen=True)
class Visit:
    """A task as the matrix sees it.

    Attributes:
        task: Position in the stream.
        name: Its name.
        column: Column of the concept that it brings, for the first time or again.
    """

    task: int
    name: str
    column: int


def first_visits(R: AccuracyMatrix) -> tuple[Visit, ...]:
    """List the tasks that brought a test set first, one per column that was learned, in the order of columns."""
    tasks = [None if row is None else R.row_tasks[row] for row in R.learned_at]
    return tuple(Visit(task, R.columns[j], j) for j, task in enumerate(tasks) if task is not None)


def row_after(R: AccuracyMatrix, task: int) -> int:
    """Find the first row that was taken when a task was learned.

    Raises:
        Missing: If there is none.
    """
    for row, last in enumerate(R.row_tasks):
        if last is not None and last >= task:
            return row
    raise Missing(f"there is no row after task {task + 1}")


def same_tests(R: AccuracyMatrix, S: AccuracyMatrix) -> bool:
    """Tell whether two matrices are about the same test sets, as far as names and classes tell."""
    return (R.columns, R.class_sets, R.own_labels) == (S.columns, S.class_sets, S.own_labels)


def intransigence_per_column(R: AccuracyMatrix, J: AccuracyMatrix) -> PerColumn:
    """J_k − R[k, k]: what joint training reaches and the run did not (Chaudhry et al. 2018, arXiv 1801.10112).

    Missing where joint training was not evaluated after the very same task: a later row is of more tasks.

    Args:
        R: The run.
        J: A run that trains on all tasks so far together.

    Raises:
        ValueError: If they are about other test sets.
    """
    convention = (
        "accuracy of joint training on all tasks so far minus that of the run, in the row after it was first learned "
        "(positive: less plastic than joint training); Chaudhry et al. 2018"
    )
    return each_learned("intransigence", convention, R, lambda j, row: -_difference(R, J, j, row, exact=True))


def intransigence(R: AccuracyMatrix, J: AccuracyMatrix) -> Measure:
    """Mean of `intransigence_per_column` (Chaudhry et al. 2018, arXiv 1801.10112)."""
    return intransigence_per_column(R, J).mean()


def expert_transfer_per_column(R: AccuracyMatrix, S: AccuracyMatrix) -> PerColumn:
    """R[j, j] − S_j: what a run gains over a fresh expert for the task (Veniat et al. 2021, arXiv 2012.12631).

    Args:
        R: The run.
        S: A run in which nothing is carried from task to task.

    Raises:
        ValueError: If they are about other test sets.
    """
    convention = (
        "accuracy in the row after it was first learned minus that of an independent expert with the same data, "
        "architecture and budget; Veniat et al. 2021"
    )
    return each_learned("transfer against an expert", convention, R, lambda j, row: _difference(R, S, j, row))


def expert_transfer(R: AccuracyMatrix, S: AccuracyMatrix) -> Measure:
    """Mean of `expert_transfer_per_column` (Veniat et al. 2021, arXiv 2012.12631)."""
    return expert_transfer_per_column(R, S).mean()


def expert_transfer_per_task(R: AccuracyMatrix, S: AccuracyMatrix, visits: Sequence[Visit]) -> PerColumn:
    """The same for every task, also for those that return: R and S in the row after the task.

    Args:
        R: The run.
        S: A run in which nothing is carried from task to task.
        visits: The tasks.

    Raises:
        ValueError: If they are about other test sets.
    """
    convention = (
        "accuracy in the row after the task minus that of an independent expert with the same data, architecture and "
        "budget; Veniat et al. 2021"
    )

    def formula(position: int) -> float:
        visit = visits[position]
        return _difference(R, S, visit.column, row_after(R, visit.task), visit.task)

    return each("transfer against an expert", convention, [visit.name for visit in visits], formula)


def transfer_on_last_task(R: AccuracyMatrix, S: AccuracyMatrix, last: Visit, tasks: int | None = None) -> Measure:
    """R[T, T] − S_T, the transfer that CTrL's streams are made for (Veniat et al. 2021, arXiv 2012.12631).

    Args:
        R: The run.
        S: A run in which nothing is carried from task to task.
        last: The last task that was evaluated; where it returns, its concept's column counts.
        tasks: How many tasks the stream has; left out: `last` is the stream's last one.

    Raises:
        ValueError: If they are about other test sets.
    """
    convention = (
        "accuracy on the stream's last task, after it, minus that of an independent expert; CTrL, Veniat et al. 2021"
    )

    def formula() -> float:
        if tasks is not None and last.task != tasks - 1:
            raise Undefined("the stream's last task was not learned")
        try:
            row = row_after(R, last.task)
        except Missing:
            raise Undefined("the stream's last task was not learned") from None
        return _difference(R, S, last.column, row, last.task)

    return one("transfer on the last task", convention, formula)


def negative_transfer_per_task(
    R: AccuracyMatrix, S: AccuracyMatrix, samples: Sequence[int], visits: Sequence[Visit]
) -> PerColumn:
    """1 where a task was learned worse than by an expert beyond the interval, else 0; the mean is the rate.

    Beyond the interval: the 95 % interval of the difference of the two accuracies lies below 0. It is that of two
    proportions with one right and one wrong answer added to each (Agresti & Caffo 2000, doi 10.1080/00031305.2000.
    10474560). It takes the answers of the two runs for independent; they are about the same test samples, so the true
    interval is rather narrower, and the rate errs on the low side.

    Args:
        R: The run.
        S: A run in which nothing is carried from task to task.
        samples: Test samples of every column.
        visits: The tasks.

    Raises:
        ValueError: If they are about other test sets.
    """
    convention = (
        "share of tasks whose accuracy in the row after them is below that of an independent expert, with a 95 % "
        "interval of the difference of two proportions over the test samples wholly below 0; Agresti & Caffo 2000"
    )

    def formula(position: int) -> float:
        visit = visits[position]
        if not R.class_sets[visit.column]:
            raise Undefined("R² of one run has no interval; several seeds have one")
        n = samples[visit.column]
        _same(R, S)
        run = value_at(R, row_after(R, visit.task), visit.column)
        expert = value_at(S, row_after(S, visit.task), visit.column)
        return float(difference_interval(run, expert, n)[1] < 0.0)

    return each("negative-transfer rate", convention, [visit.name for visit in visits], formula)


def negative_transfer_over_seeds(names: Sequence[str], differences: Sequence[Sequence[float]]) -> PerColumn:
    """The same with several seeds: the 95 % interval of the mean difference over seeds (Student's t) lies below 0.

    Args:
        names: Names of the tasks.
        differences: Per seed R − S_j of every task, as `expert_transfer_per_task` gives it.
    """
    convention = (
        "share of tasks whose accuracy is below that of an independent expert, with a 95 % interval of the paired "
        "difference over seeds wholly below 0 (Student's t)"
    )

    def formula(position: int) -> float:
        found, n = [seed[position] for seed in differences], len(differences)
        if n < 2:
            raise Undefined("one seed has no interval")
        mean = math.fsum(found) / n
        deviation = math.sqrt(math.fsum((d - mean) ** 2 for d in found) / (n - 1))
        return float(mean + float(stdtrit(n - 1, 0.975)) * deviation / math.sqrt(n) < 0.0)

    return each("negative-transfer rate", convention, names, formula)


def difference_interval(first: float, second: float, n: int) -> tuple[float, float]:
    """95 % interval of the difference of two accuracies on n samples each (Agresti & Caffo 2000).

    Args:
        first: An accuracy.
        second: Another one.
        n: Samples behind each.

    Returns:
        Lower and upper limit of first − second.
    """
    p, q = ((share * n + 1) / (n + 2) for share in (first, second))
    error = math.sqrt((p * (1 - p) + q * (1 - q)) / (n + 2))
    return p - q - Z * error, p - q + Z * error


def _same(R: AccuracyMatrix, S: AccuracyMatrix) -> None:
    if not same_tests(R, S):
        raise ValueError("the two matrices are about other test sets")


def _difference(
    R: AccuracyMatrix, S: AccuracyMatrix, column: int, row: int, task: int | None = None, exact: bool = False
) -> float:
    """R[row, column] minus the reference in its row after the same task; the row's own task where none is named.

    Where it need not be exact, the reference's first row after the task serves: what an expert answers stays.
    """
    _same(R, S)
    after = R.row_tasks[row] if task is None else task
    value = value_at(R, row, column)
    try:
        if after is None:
            raise Missing("row 0 follows no task")
        theirs = row_after(S, after)
        if exact and S.row_tasks[theirs] != after:
            raise Missing(f"there is no row right after task {after + 1}")
        return value - value_at(S, theirs, column)
    except Missing as why:
        raise Missing(f"of the reference, {why}") from None
