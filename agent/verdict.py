"""Which of two models is better, judged sample by sample on the held-out part, and joined with what was expected."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .closed_form import temperature

# Standard errors by which something must be better where nothing was expected of it: one-sided, 5 %.
MARGIN = 1.64
# Of a gain that is joined with what was expected: posterior standard deviations by which it must be above 0, and what
# must have been measured at the least, in nats: where hardly anything can be told apart, as under wrong labels, small
# gains come with small errors and mean little.
SURE, LEAST = 0.5, 0.1


@dataclass(frozen=True)
class Gain:
    """By how much one model is better than another, as far as that is known.

    Attributes:
        nats: Mean gain in log-loss per sample, calibrated (regression: in log-likelihood under a normal error).
        error: Standard error of that mean, or standard deviation of what is believed.
    """

    nats: float
    error: float

    def joined(self, other: Gain) -> Gain:
        """Join two independent sources of knowledge about one gain, each weighted by its precision.

        Args:
            other: The other one; an error of 0 stands for certainty.

        Returns:
            The posterior of a normal prior and a normal measurement.
        """
        if self.error == 0 or other.error == 0:
            return self if self.error == 0 else other
        a, b = self.error**-2, other.error**-2
        return Gain((a * self.nats + b * other.nats) / (a + b), (a + b) ** -0.5)


def losses(outputs: Tensor, y: Tensor, kind: str) -> Tensor:
    """Lose something on every sample.

    Args:
        outputs: Shape `(n, outputs)`.
        y: Labels, shape `(n,)`, or regression targets, shape `(n, outputs)`.
        kind: "classification" or "regression".

    Returns:
        Log-loss in nats after fitting one temperature (regression: squared error), shape `(n,)`.
    """
    if kind == "regression":
        return ((outputs - y) ** 2).mean(dim=1)
    return torch.nn.functional.cross_entropy(outputs / temperature(outputs, y), y, reduction="none")


def gain(ours: Tensor, theirs: Tensor, kind: str) -> Gain:
    """Compare two models sample by sample.

    Regression: the gain is half the logarithm of the ratio of mean squared errors, which is the difference of the
    log-likelihoods under normal errors of fitted size; its standard error is that of the first-order expansion.

    Args:
        ours: Losses of the one, shape `(n,)`, n >= 2.
        theirs: Losses of the other on the same samples.
        kind: "classification" or "regression".

    Returns:
        The gain of ours over theirs.
    """
    n = len(ours)
    if kind == "regression":
        mean, other = float(ours.mean()), float(theirs.mean())
        if mean <= 0 or other <= 0:
            return Gain(0.0 if mean == other else math.copysign(1.0, other - mean), 0.0)
        spread = (theirs / other - ours / mean).std()
        return Gain(0.5 * math.log(other / mean), 0.5 * float(spread) / n**0.5)
    difference = theirs - ours
    return Gain(float(difference.mean()), float(difference.std()) / n**0.5)


def clear(measured: Gain, expected: Gain | None) -> bool:
    """Tell whether a default is left: for a clear margin, or, where something is expected, for a gain that is believed.

    Without an expectation the mean of the paired differences must exceed 1.64 of its standard errors (one-sided, 5 %),
    lest the luckier of equals be chosen. With one, the mean of the posterior must exceed half its standard deviation,
    and what was measured its standard error and a tenth of a nat: expectation alone does not leave a default that is
    seen to be as good.

    Args:
        measured: The paired gain over the default.
        expected: What was believed before; None where nothing was.
    """
    if expected is None:
        return measured.nats > MARGIN * measured.error
    joined = expected.joined(measured)
    return joined.nats > SURE * joined.error and measured.nats > max(measured.error, LEAST)
