"""GradNorm: weights of losses that keep the gradients of tasks trained together in step (Chen 2018, arXiv 1711.02257).

A task whose loss has fallen less than the others' should have the larger gradient. The weights are moved by gradient
descent towards that; only their ratio counts, so they are scaled to a sum of one after every step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# A weight below this share of an equal one would not come back: its task has no gradient left to be judged by.
LEAST = 1e-3


class GradNorm:
    """Weighs the losses of tasks that are trained together, anew after every step."""

    def __init__(self, tasks: int, alpha: float, lr: float) -> None:
        """Weigh all alike at first.

        Args:
            tasks: Number of losses.
            alpha: How strongly a loss that falls slowly is favoured; at 0 all gradients are to be of one norm.
            lr: Learning rate of Adam for the weights, relative to an equal weight.
        """
        self._alpha, self._tasks = alpha, tasks
        self._factors = nn.Parameter(torch.ones(tasks))  # weights times the number of tasks: they add up to it
        self._adam = torch.optim.Adam([self._factors], lr=lr)
        self._first: Tensor | None = None

    @property
    def weights(self) -> Tensor:
        """The weights, shape `(tasks,)`; they add up to one."""
        return self._factors.detach() / self._tasks

    def step(self, losses: Tensor, norms: Tensor) -> None:
        """Move the weights by what one step has shown.

        Args:
            losses: Every task's own loss, without weight, shape `(tasks,)`; those of the first step are what later ones
                are compared with.
            norms: Norm of the gradient of each with respect to the last layer that the tasks share, shape `(tasks,)`.
        """
        if not bool(torch.isfinite(losses).all() and torch.isfinite(norms).all()):
            return  # a loss that is not finite stops the arm: that is said where it is lowered
        if self._first is None:
            self._first = losses.clone()
        _, self._factors.grad = gradnorm(self._factors.detach(), norms, losses, self._first, self._alpha)
        self._adam.step()
        with torch.no_grad():
            self._factors.clamp_(min=LEAST)
            self._factors.mul_(self._tasks / self._factors.sum())


def gradnorm(weights: Tensor, norms: Tensor, losses: Tensor, first: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Judge the weights of losses by the norms of the gradients that they give (Chen 2018, eqs. 1 and 2).

    With G_i = w_i ‖∇ L_i‖, their mean Ḡ and r_i, the ratio of a loss to its first value over the mean of these ratios,
    it is `Σ |G_i − Ḡ r_i^α|`, in which the targets `Ḡ r_i^α` are constants.

    Args:
        weights: w, shape `(tasks,)`.
        norms: ‖∇ L_i‖ with respect to what is shared, shape `(tasks,)`.
        losses: L, shape `(tasks,)`.
        first: L at the first step, shape `(tasks,)`; a loss that was 0 then counts as one that has not fallen.
        alpha: α, 0 or greater.

    Returns:
        The sum, a scalar, and its gradient with respect to the weights, shape `(tasks,)`.
    """
    rate = torch.where(first > 0, losses / first.clamp_min(torch.finfo(first.dtype).tiny), 1.0)
    mean = rate.mean()
    inverse = rate / mean if mean > 0 else torch.ones_like(rate)
    found = weights * norms
    apart = found - found.mean() * inverse**alpha
    return apart.abs().sum(), apart.sign() * norms


def norms_of(losses: Sequence[Tensor], shared: Sequence[nn.Parameter]) -> Tensor:
    """Return the norm of each loss's gradient with respect to shared parameters, shape `(tasks,)`, on the CPU.

    Args:
        losses: One scalar per task; their graphs are kept.
        shared: What they share; a loss that depends on none of it has norm 0.
    """
    norms = []
    for loss in losses:
        gradient = torch.autograd.grad(loss, list(shared), retain_graph=True, materialize_grads=True)
        norms.append(torch.cat([g.flatten() for g in gradient]).norm().cpu())
    return torch.stack(norms)
