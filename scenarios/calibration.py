"""Calibration: whether an answer that is given with probability p is right in p of the cases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .measure import Measure, Undefined, one

BINS = 15


@dataclass(frozen=True)
class Bin:
    """One bar of a reliability diagram.

    Attributes:
        samples: Answers in it.
        confidence: Mean probability that they were given with.
        accuracy: Share of them that is right.
    """

    samples: int
    confidence: float
    accuracy: float


def reliability(confidence: ArrayLike, right: ArrayLike, bins: int = BINS) -> tuple[Bin, ...]:
    """Sort answers by their probability into bins of equal mass (Nguyen & O'Connor 2015, arXiv 1508.05154).

    Answers with the same probability count as right in equal shares, so the order of samples does not matter.

    Args:
        confidence: Probability of every answer, shape `(n,)`.
        right: Whether it is right, shape `(n,)`.
        bins: How many bins; fewer where there are fewer answers.

    Returns:
        The bins, least probable answers first; each has n // bins answers or one more.
    """
    p, y = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if p.shape != y.shape or p.ndim != 1:
        raise ValueError(f"confidence has shape {p.shape}, right {y.shape}; both must be (n,)")
    if not len(p):
        return ()
    n, k = len(p), min(bins, len(p))
    order = np.argsort(p, kind="stable")
    p, y = p[order], y[order]
    groups = np.flatnonzero(np.r_[True, p[1:] != p[:-1]])  # where another probability begins
    sizes = np.diff(np.r_[groups, n])
    y = np.repeat(np.add.reduceat(y, groups) / sizes, sizes)
    samples = np.full(k, n // k)
    samples[: n % k] += 1
    starts = np.r_[0, np.cumsum(samples)[:-1]]
    sure, hits = (np.add.reduceat(each, starts) / samples for each in (p, y))
    return tuple(map(Bin, samples.tolist(), sure.tolist(), hits.tolist()))


def calibration_error(bins: Sequence[Bin]) -> Measure:
    """ECE = Σ_b n_b / n |accuracy_b − confidence_b| (Naeini 2015; Guo et al. 2017, arXiv 1706.04599).

    Args:
        bins: Of a reliability diagram, as `reliability` makes them.
    """
    convention = (
        f"mean over {BINS} bins of equal mass of |share of right answers − mean probability of the answers|; "
        "Guo et al. 2017, bins of Nguyen & O'Connor 2015"
    )

    def formula() -> float:
        n = sum(each.samples for each in bins)
        if not n:
            raise Undefined("there is no answer about classes")
        return math.fsum(each.samples * abs(each.accuracy - each.confidence) for each in bins) / n

    return one("calibration error", convention, formula)


def log_loss(log_probs: ArrayLike) -> Measure:
    """Negative log-likelihood per sample, in nats.

    Args:
        log_probs: Log-probability that was given to what is right, shape `(n,)`.
    """
    convention = "mean negative logarithm of the probability given to what is right, in nats (natural logarithm)"
    values = np.asarray(log_probs, dtype=np.float64)

    def formula() -> float:
        if not values.size:
            raise Undefined("there is no answer about classes")
        return -float(values.mean())

    return one("log-loss", convention, formula)
