"""Ranks of agents over scenarios, and how far apart they must be to differ (Demšar 2006, JMLR 7:1–30)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


@dataclass(frozen=True)
class Friedman:
    """Whether the agents differ at all over the scenarios.

    Attributes:
        chi_squared: Friedman's statistic, with k − 1 degrees of freedom.
        p: Its p-value.
        f: Iman and Davenport's statistic, less conservative, with k − 1 and (k − 1)(N − 1) degrees of freedom; None
            where all scenarios agree on the order: it is infinite then, and its p-value 0 however few they are.
        f_p: Its p-value; None likewise.
    """

    chi_squared: float
    p: float
    f: float | None
    f_p: float | None


def ranks(scores: ArrayLike) -> NDArray[np.float64]:
    """Rank the agents of every scenario.

    Args:
        scores: Higher is better; shape `(N scenarios, k agents)`.

    Returns:
        1 for the best; equal scores share their mean rank. The same shape.
    """
    return np.asarray(stats.rankdata(-np.asarray(scores, dtype=np.float64), axis=1), dtype=np.float64)


def friedman(average_ranks: ArrayLike, scenarios: int) -> Friedman:
    """Friedman's test from average ranks, as Demšar gives it (without a correction for ties).

    Args:
        average_ranks: One per agent, shape `(k,)`, k ≥ 2.
        scenarios: How many scenarios they are averages over, N ≥ 2.

    Returns:
        Both statistics.
    """
    r = np.asarray(average_ranks, dtype=np.float64)
    k, n = len(r), scenarios
    chi = float(12 * n / (k * (k + 1)) * ((r**2).sum() - k * (k + 1) ** 2 / 4))
    rest = n * (k - 1) - chi
    f = float((n - 1) * chi / rest) if rest > 1e-9 else None
    return Friedman(
        chi_squared=chi,
        p=float(stats.chi2.sf(chi, k - 1)),
        f=f,
        f_p=None if f is None else float(stats.f.sf(f, k - 1, (k - 1) * (n - 1))),
    )


def critical_difference(agents: int, scenarios: int, alpha: float = 0.05) -> float:
    """Smallest difference of average ranks that Nemenyi's test finds significant.

    Args:
        agents: How many are ranked, k ≥ 2.
        scenarios: Over how many scenarios, N.
        alpha: Level of significance.

    Returns:
        q_α √(k (k + 1) / 6N), where q_α is the studentized range's quantile for infinite degrees of freedom over √2.
    """
    q = float(stats.studentized_range.ppf(1 - alpha, agents, np.inf)) / np.sqrt(2)
    return float(q * np.sqrt(agents * (agents + 1) / (6 * scenarios)))


def groups(average_ranks: Sequence[float], difference: float) -> list[tuple[int, ...]]:
    """Find the agents that do not differ: what a critical-difference diagram joins by a bar.

    Args:
        average_ranks: One per agent, in any order.
        difference: The critical difference.

    Returns:
        Positions of every largest group of two or more agents whose ranks all lie within the difference, best first.
    """
    order = sorted(range(len(average_ranks)), key=lambda i: average_ranks[i])
    found: list[tuple[int, ...]] = []
    reached = 0
    for first in range(len(order)):
        last = first
        while last + 1 < len(order) and average_ranks[order[last + 1]] - average_ranks[order[first]] < difference:
            last += 1
        if last > first and last + 1 > reached:
            found.append(tuple(order[first : last + 1]))
        reached = max(reached, last + 1)
    return found


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Find the points that no other one beats: those for which more gain costs more.

    Args:
        points: (gain, cost) of each, where more gain and less cost are better.

    Returns:
        Positions, cheapest first. Equal points stand or fall together.
    """
    best = [
        position
        for position, (gain, cost) in enumerate(points)
        if not any(g >= gain and c <= cost and (g > gain or c < cost) for g, c in points)
    ]
    return sorted(best, key=lambda i: (points[i][1], -points[i][0]))
