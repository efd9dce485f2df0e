"""What the same seeds say of one agent against another: intervals, an exact test, verdicts; pure functions of numbers.

Everything here is about one number per seed. Runs of one seed share data, order and initialisation, so their
differences hold less noise than the runs do, and only these are tested.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Interval = tuple[float, float]

LEVEL = 0.95
"""Share of intervals that hold the true value."""
MARGIN = 0.01
"""Half width of the region of practical equivalence: one point of accuracy, or 0.01 of R²."""
RESAMPLES = 10_000
"""Bootstrap samples drawn for an interval."""
# Accuracies are ratios of small whole numbers: differences that agree to so many digits are equal.
_DIGITS = 12


def mean_interval(values: ArrayLike, level: float = LEVEL) -> Interval | None:
    """Student's interval of a mean over seeds.

    Args:
        values: One number per seed, shape `(n,)`.
        level: Share of intervals that hold the true mean, where the numbers are normally distributed.

    Returns:
        Lower and upper limit; None for fewer than two numbers: one seed says nothing about the next.
    """
    x = np.asarray(values, dtype=np.float64)
    if len(x) < 2:
        return None
    half = float(stats.t.ppf((1 + level) / 2, len(x) - 1)) * _standard_error(x)
    return float(x.mean()) - half, float(x.mean()) + half


def bootstrap_interval(
    values: ArrayLike, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Interval | None:
    """Bias-corrected and accelerated bootstrap interval of a mean (Efron 1987, doi:10.2307/2289144).

    It assumes no distribution, but with fewer than about ten numbers it is too narrow: it never leaves their range.

    Args:
        values: One number per seed, shape `(n,)`.
        level: Share of intervals meant to hold the true mean.
        resamples: Samples that are drawn.
        seed: Decides what is drawn, so that the same numbers give the same interval.

    Returns:
        Lower and upper limit; None for fewer than two numbers.
    """
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    if n < 2:
        return None
    if np.ptp(x) == 0:
        return float(x[0]), float(x[0])
    drawn = x[np.random.default_rng(seed).integers(0, n, (resamples, n))].mean(axis=1)  # (resamples,)
    mean = float(x.mean())
    below = (np.count_nonzero(drawn < mean) + np.count_nonzero(drawn <= mean)) / (2 * resamples)
    bias = stats.norm.ppf(below)
    without = (x.sum() - x) / (n - 1)  # (n,), the mean without each one
    off = without.mean() - without
    acceleration = (off**3).sum() / (6 * (off**2).sum() ** 1.5)
    z = bias + stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    low, high = np.quantile(drawn, stats.norm.cdf(bias + z / (1 - acceleration * z)))
    return float(low), float(high)


def signed_rank(differences: ArrayLike) -> float | None:
    """Two-sided p-value of Wilcoxon's signed-rank test, exact, ties included.

    Differences of zero are left out, as Wilcoxon (1945) does; equal ones share their mean rank, and the distribution is
    that of all 2^n signs of these ranks.

    Args:
        differences: One per seed, shape `(n,)`.

    Returns:
        The p-value; 1 where all are zero, None where there is none.
    """
    d = np.round(np.asarray(differences, dtype=np.float64), _DIGITS)
    if len(d) == 0:
        return None
    d = d[d != 0]
    if len(d) == 0:
        return 1.0
    doubled = np.rint(2 * stats.rankdata(np.abs(d))).astype(np.int64)  # whole numbers, also for shared ranks
    total = int(doubled.sum())
    ways = np.zeros(total + 1)  # share of all signs whose positive ranks sum to so much
    ways[0] = 1.0
    for rank in doubled.tolist():
        ways[rank:] = (ways[rank:] + ways[: total + 1 - rank]) / 2
        ways[:rank] /= 2
    observed = abs(2 * int(doubled[d > 0].sum()) - total)
    extreme = np.abs(2 * np.arange(total + 1) - total) >= observed
    return min(1.0, float(ways[extreme].sum()))


def smallest_p(n: int) -> float:
    """Smallest p-value that `signed_rank` can give for so many seeds: 2 / 2^n."""
    return min(1.0, 2.0 ** (1 - n))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values of one family so that the chance of any false one is bounded (Holm 1979).

    Args:
        p_values: One per comparison; None where there is none, which is no part of the family.

    Returns:
        Adjusted p-values in the same order.
    """
    known = sorted((p, position) for position, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for step, (p, position) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - step) * p))
        adjusted[position] = largest
    return adjusted


def verdict(interval: Interval | None, margin: float = MARGIN) -> str | None:
    """Judge a difference by its interval and the region of practical equivalence (Kruschke 2018).

    Args:
        interval: Of agent minus baseline, where higher is better.
        margin: Half width of the region; differences inside do not matter.

    Returns:
        "better" or "worse" where the interval lies wholly outside, "equivalent" where it lies wholly inside,
        "undecided" otherwise; None without an interval.
    """
    if interval is None:
        return None
    low, high = interval
    if low > margin:
        return "better"
    if high < -margin:
        return "worse"
    return "equivalent" if -margin <= low and high <= margin else "undecided"


def largest_loss(differences: ArrayLike, level: float = LEVEL) -> float | None:
    """Upper limit of the one-sided interval of the loss, baseline minus agent.

    Args:
        differences: Agent minus baseline, one per seed.
        level: Share of limits that lie above the true loss.

    Returns:
        The limit; None for fewer than two seeds.
    """
    d = np.asarray(differences, dtype=np.float64)
    if len(d) < 2:
        return None
    return float(-d.mean() + stats.t.ppf(level, len(d) - 1) * _standard_error(d))


def not_worse(differences: ArrayLike, margin: float = MARGIN, level: float = LEVEL) -> str | None:
    """Judge whether an agent is not worse than the baseline by more than a margin.

    Args:
        differences: Agent minus baseline, one per seed, where higher is better.
        margin: The loss that is accepted.
        level: Of the one-sided interval.

    Returns:
        "yes" where the upper limit of the loss is at most the margin, "no" where its lower limit is above, else
        "undecided"; None for fewer than two seeds.
    """
    d = np.asarray(differences, dtype=np.float64)
    upper = largest_loss(d, level)
    if upper is None:
        return None
    lower = -2 * float(d.mean()) - upper
    return "yes" if upper <= margin else "no" if lower > margin else "undecided"


def _standard_error(x: NDArray[np.float64]) -> float:
    return float(x.std(ddof=1)) / float(np.sqrt(len(x)))
