"""The losses of tasks that are trained together: how they are weighed, and how their gradients are kept in peace."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Fall:
    """Weighs losses by how fast each has fallen, anew after every period."""

    def __init__(self, tasks: int, period: int, temperature: float) -> None:
        """Weigh all alike until two periods are over.

        Args:
            tasks: Number of losses.
            period: Steps over which losses are averaged.
            temperature: As in `dynamic_weights`.
        """
        self._period, self._temperature = period, temperature
        self._now = torch.ones(tasks) / tasks
        self._sum, self._steps = torch.zeros(tasks), 0
        self._means: list[Tensor] = []

    def weights(self, losses: Tensor) -> Tensor:
        """Return the weights, shape `(tasks,)`, that go with the losses of a step; these count for later ones."""
        now = self._now
        self._sum, self._steps = self._sum + losses, self._steps + 1
        if self._steps == self._period:
            self._means = [*self._means[-1:], self._sum / self._period]
            self._sum, self._steps = torch.zeros_like(self._sum), 0
            if len(self._means) > 1:
                before, last = self._means
                self._now = dynamic_weights(before, last, self._temperature)
        return now


def dynamic_weights(before: Tensor, last: Tensor, temperature: float) -> Tensor:
    """Weigh losses by how slowly each falls: softmax of `(last / before) / temperature` (Liu 2019, eq. 7).

    Args:
        before: Mean losses of the period before the last, shape `(tasks,)`.
        last: Mean losses of the last period, shape `(tasks,)`.
        temperature: The greater, the more equal.

    Returns:
        Weights that add up to one, shape `(tasks,)`; a loss that was 0 counts as one that stays as it is.
    """
    rate = torch.where(before > 0, last / before.clamp_min(torch.finfo(before.dtype).tiny), 1.0)
    return torch.softmax(rate / temperature, dim=0)


def uncertainty_weighted(losses: Tensor, log_variances: Tensor, regression: Tensor) -> Tensor:
    """Return the sum of losses weighted by the tasks' uncertainty (Kendall 2018, eqs. 7 and 10).

    With s = log σ² a cross-entropy L counts as exp(−s) L + s/2, a squared error as exp(−s) L/2 + s/2: the loss whose
    noise σ² is greater counts less.

    Args:
        losses: One per task, shape `(tasks,)`, or that of a single one.
        log_variances: s, likewise.
        regression: Whether a loss is a squared error, bool, likewise.

    Returns:
        A scalar.
    """
    factor = 1 - 0.5 * regression.to(losses.dtype)
    return (factor * torch.exp(-log_variances) * losses + 0.5 * log_variances).sum()


def descend_apart(
    losses: Sequence[Tensor], shared: Sequence[nn.Parameter], step: torch.optim.Optimizer, rng: torch.Generator
) -> None:
    """Take one gradient step in which the losses' gradients of what they share do not oppose one another.

    Args:
        losses: What to lower, one scalar per task.
        shared: Parameters that several of them depend on; what only one of them depends on gets its plain gradient.
        step: The optimiser of all parameters.
        rng: Draws the order of projections.

    Raises:
        FloatingPointError: If a loss is NaN or infinite; nothing is changed then.
    """
    for loss in losses:
        if not math.isfinite(value := loss.item()):
            raise FloatingPointError(f"the loss is {value}")
    step.zero_grad()
    apart = []
    for loss in losses:
        loss.backward()
        apart.append(torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in shared]))
        for p in shared:
            p.grad = None
    together = without_conflict(torch.stack(apart), rng)
    for p, gradient in zip(shared, together.split([p.numel() for p in shared]), strict=True):
        p.grad = gradient.view_as(p).clone()
    step.step()


def without_conflict(gradients: Tensor, rng: torch.Generator) -> Tensor:
    """Add up gradients after taking from each what opposes another (PCGrad; Yu 2020, algorithm 1).

    Of every gradient g_i, the others taken in a random order: where g_i · g_j < 0, g_i ← g_i − (g_i · g_j) / ‖g_j‖² g_j
    with the g_j that was given.

    Args:
        gradients: One per task, shape `(tasks, parameters)`.
        rng: Draws the orders.

    Returns:
        Their sum, shape `(parameters,)`.
    """
    tasks = len(gradients)
    squares = (gradients * gradients).sum(dim=1)
    cleared = gradients.clone()
    for i in range(tasks):
        for j in torch.randperm(tasks, generator=rng).tolist():
            if j != i and squares[j] > 0:
                opposed = (cleared[i] @ gradients[j]).clamp_max(0)
                cleared[i] -= opposed / squares[j] * gradients[j]
    return cleared.sum(dim=0)
