"""An agent's answer made comparable: spread over all classes there are, finite and calibrated; or as values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..agent.answer import Answer


class NotFinite(ValueError):
    """An answer holds NaN or infinity."""


# Probability that is spread evenly over all classes, so that a wrong answer costs a finite loss: 9.2 + ln(width) nats.
EPSILON = 1e-4


def full_width(answer: Answer, width: int, guess: Tensor, among: Sequence[int] = ()) -> Tensor:
    """Scatter an answer into log-probabilities over every class.

    Where a task label says which classes can be meant, the others are ruled out, also where the agent has not learned
    that task yet and answers with all it knows: so that a value before learning can be compared with row 0.

    Args:
        answer: What the agent said.
        width: Number of classes in all.
        guess: Where the agent knows nothing, every class is as likely as any other but for this one, int64, shape
            `(n,)`, which is a trifle likelier: else the first class would be the answer to everything.
        among: The classes that can be meant; empty for all.

    Returns:
        Log-probabilities in nats, float64, shape `(n, width)`, finite; the order of the answered classes is kept.

    Raises:
        ValueError: If the answer holds NaN, plus infinity, a row of minus infinity, or a class outside the width.
    """
    n = len(answer.by_anchor)
    if not answer.classes or (among and not set(answer.classes) & set(among)):
        known = torch.zeros(n, width, dtype=torch.float64)
        known[:, list(among) or slice(None)] = 1 / (len(among) or width)
        known = known * (1 - EPSILON)
        known.scatter_add_(1, guess[:, None], torch.full((n, 1), EPSILON, dtype=torch.float64))
        return torch.log((1 - EPSILON) * known + EPSILON / width)
    if min(answer.classes) < 0 or max(answer.classes) >= width:
        raise ValueError(f"the agent answered with the classes {answer.classes}; valid: 0 to {width - 1}")
    log_probs = answer.log_probs.detach().to("cpu", torch.float64)
    meant = torch.tensor([not among or c in among for c in answer.classes])
    if not meant.all():
        log_probs = log_probs.masked_fill(~meant, -math.inf)
    shares = torch.softmax(log_probs, dim=1)
    if shares.isnan().any():
        raise NotFinite("the agent's answer is not finite: its log-probabilities hold NaN, or no class is possible")
    known = torch.zeros(n, width, dtype=torch.float64)
    known[:, list(answer.classes)] = shares
    return torch.log((1 - EPSILON) * known + EPSILON / width)


def full_values(answer: Answer, mean: Tensor) -> Tensor:
    """Take an answer to a regression question as values.

    Args:
        answer: What the agent said.
        mean: Mean of the test targets, shape `(outputs,)`: what counts as said where the agent gave no values. Its R²
            is 0, as the guess among all classes has the accuracy of chance.

    Returns:
        Predictions, float64, shape `(n, outputs)`, finite.

    Raises:
        ValueError: If the values have another number of outputs, or hold NaN or infinity.
    """
    if answer.values is None:
        return mean.double().expand(len(answer.by_anchor), -1)
    if answer.values.shape[1] != len(mean):
        raise ValueError(f"the agent answered with {answer.values.shape[1]} values per input; the task has {len(mean)}")
    values = answer.values.detach().to("cpu", torch.float64)
    if not values.isfinite().all():
        raise NotFinite("the agent's answer is not finite: its values hold NaN or infinity")
    return values
