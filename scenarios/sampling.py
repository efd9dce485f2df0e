"""How far the numbers of one run would move with other test samples: 95 % intervals from the matrix and its counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .matrix import AccuracyMatrix

Z95 = 1.959963984540054  # the 97.5th percentile of the normal distribution
CONVENTION = (
    "95 % over test samples: Wilson’s interval for every share of right answers (Wilson 1927), put together by MOVER "
    "(Zou & Donner 2008) as if no two test sets, and no two rows, had samples in common"
)
# A cell of the matrix with its weight: (weight, share of right answers, test samples).
_Term = tuple[float, float, int]


@dataclass(frozen=True)
class Interval:
    """Where a number lies.

    Attributes:
        low: Lower limit; None where there is none.
        high: Upper limit.
        reason: Why there is none; None where there is.
    """

    low: float | None
    high: float | None
    reason: str | None = None


def wilson(share: float, n: int, z: float = Z95) -> tuple[float, float]:
    """Bound a share of right answers (Wilson 1927).

    Args:
        share: Right answers / n.
        n: Test samples, at least 1.
        z: Quantile of the normal distribution.

    Returns:
        Lower and upper limit; never outside 0 to 1, and of some width for 0 and 1 as well.
    """
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def weighted(terms: Sequence[_Term]) -> tuple[float, float]:
    """Bound a weighted sum of shares that were measured on separate samples (MOVER: Zou & Donner 2008).

    Args:
        terms: Weight (negative for what is subtracted), share and test samples of each.

    Returns:
        Lower and upper limit.
    """
    value = math.fsum(weight * share for weight, share, _ in terms)
    below, above = [], []
    for weight, share, n in terms:
        low, high = wilson(share, n)
        down, up = (share - low, high - share) if weight > 0 else (high - share, share - low)
        below.append((weight * down) ** 2)
        above.append((weight * up) ** 2)
    return value - math.sqrt(math.fsum(below)), value + math.sqrt(math.fsum(above))


def over_samples(name: str, R: AccuracyMatrix, samples: Sequence[int]) -> Interval:
    """Bound a headline number of `metrics.all_measures`, which must be defined.

    Where the same samples were answered in both rows, as for differences, they tend to be answered alike: the interval
    is then wider than it need be. The best row of forgetting is taken as given.

    Args:
        name: The measure's name.
        R: The matrix.
        samples: Test samples of every column.

    Returns:
        The interval, or the reason why there is none.
    """
    if not any(R.class_sets):
        return Interval(None, None, "R² is not a share of right answers")
    if not all(R.class_sets):
        return Interval(None, None, "some of the test sets ask for values, whose R² is not a share of right answers")
    if len(samples) != len(R.columns) or min(samples, default=0) < 1:
        return Interval(None, None, "the record does not say how many test samples there were")
    rows = _ROWS.get(name)
    if name == "average incremental accuracy":
        terms = _incremental(R, samples)
    elif rows is None:
        return Interval(None, None, "there is no rule for it")
    else:
        terms = _terms(rows, R, samples)
    if not terms or not all(math.isfinite(share) for _, share, _ in terms):
        return Interval(None, None, "a value of the matrix was not measured")
    if name in _DIFFERENCES and all(a[1] == b[1] for a, b in zip(terms[::2], terms[1::2], strict=True)):
        return Interval(None, None, "both rows are equal on every test set")
    return Interval(*weighted(terms))


def _best(R: AccuracyMatrix, column: int, at: int) -> int:
    return max(range(at, R.last), key=lambda row: float(R.values[row, column]))


def _zero_shot(R: AccuracyMatrix, column: int, at: int) -> bool:
    """Whether forward transfer is defined for a column; the rule of `metrics.forward_transfer_per_column`."""
    before = [k for k, row in enumerate(R.learned_at) if row is not None and row < at]
    seen = {c for k in before if not R.own_labels[k] for c in R.class_sets[k]}
    return bool(before) and not R.own_labels[column] and seen.issuperset(R.class_sets[column])


class _Rows(NamedTuple):
    """What a column's number is made of: functions of the matrix, the column and the row after which it was learned."""

    plus: Callable[[AccuracyMatrix, int, int], int]  # the row whose value it adds
    minus: Callable[[AccuracyMatrix, int, int], int] | None  # the row whose value it subtracts
    defined: Callable[[AccuracyMatrix, int, int], bool]


_ROWS = {
    "average accuracy": _Rows(lambda R, j, at: R.last, None, lambda R, j, at: True),
    "learning accuracy": _Rows(lambda R, j, at: at, None, lambda R, j, at: True),
    "forgetting": _Rows(_best, lambda R, j, at: R.last, lambda R, j, at: at < R.last),
    "backward transfer": _Rows(lambda R, j, at: R.last, lambda R, j, at: at, lambda R, j, at: at < R.last),
    "forward transfer (zero-shot)": _Rows(lambda R, j, at: at - 1, lambda R, j, at: 0, _zero_shot),
}
_DIFFERENCES = ("forgetting", "backward transfer", "forward transfer (zero-shot)")


def _terms(rows: _Rows, R: AccuracyMatrix, samples: Sequence[int]) -> list[_Term]:
    columns = [(j, at) for j, at in enumerate(R.learned_at) if at is not None and rows.defined(R, j, at)]
    terms: list[_Term] = []
    for j, at in columns:
        terms.append((1 / len(columns), float(R.values[rows.plus(R, j, at), j]), samples[j]))
        if rows.minus is not None:
            terms.append((-1 / len(columns), float(R.values[rows.minus(R, j, at), j]), samples[j]))
    return terms


def _incremental(R: AccuracyMatrix, samples: Sequence[int]) -> list[_Term]:
    """Average over rows first: the same samples are asked in every row, so they count once, not once per row."""
    learned = [[j for j, at in enumerate(R.learned_at) if at is not None and at <= row] for row in range(R.last + 1)]
    counted = [row for row in range(1, R.last + 1) if learned[row]]
    terms: list[_Term] = []
    for j in range(len(R.columns)):
        shares = [
            (1 / (len(learned[row]) * len(counted)), float(R.values[row, j])) for row in counted if j in learned[row]
        ]
        whole = math.fsum(weight for weight, _ in shares)
        if whole:
            terms.append((whole, math.fsum(weight * share for weight, share in shares) / whole, samples[j]))
    return terms
