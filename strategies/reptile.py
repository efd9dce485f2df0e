"""Reptile: the start moves toward what the inner loop makes of it (Nichol 2018, arXiv 1803.02999).

No query set and no second derivative; every inner step sees another part of the task's samples, for it is what these
parts' gradients have in common that the start learns (§5.1). With one step it is joint training.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .meta_gradient import Loss, MetaGradient, Parameters

# Inputs and targets of every inner step.
Batches = Sequence[tuple[Tensor, Tensor]]


def reptile_gradient(loss: Loss, start: Parameters, batches: Batches, lr: float) -> MetaGradient:
    """Walk the inner loop: `(start − where it ends) / lr`, the sum of the gradients on the way.

    An outer optimiser takes it for a gradient (§3 of the paper); plain SGD of rate ε gives the paper's
    `start + ε/lr · (end − start)`.

    Args:
        loss: The loss as a function of the parameters.
        start: The parameters before adaptation, by name.
        batches: The samples of every inner step.
        lr: Size of a step.

    Returns:
        The loss before the last step, and the pseudo-gradient, shaped as `start`.
    """
    theta = {n: p.detach() for n, p in start.items()}
    total = {n: torch.zeros_like(p) for n, p in theta.items()}
    value = torch.zeros(())
    for x, y in batches:
        leaves = {n: p.requires_grad_() for n, p in theta.items()}
        value = loss(leaves, x, y)
        gradient = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)
        theta = {n: p.detach() - lr * g for (n, p), g in zip(leaves.items(), gradient, strict=True)}
        total = {n: t + g for (n, t), g in zip(total.items(), gradient, strict=True)}
    return MetaGradient(value.detach(), total, {})


def reptile_gradients(loss: Loss, start: Parameters, episodes: Sequence[Batches], lr: float) -> MetaGradient:
    """Do the same for several episodes of the same shapes at once, and average.

    Args:
        loss: The loss summed over tasks, as a function of parameters, inputs and targets with a task axis.
        start: The parameters before adaptation, by name, without a task axis.
        episodes: At least one.
        lr: Size of a step.
    """
    tasks = len(episodes)
    begin = {n: p.detach().expand(tasks, *p.shape) for n, p in start.items()}
    steps = zip(*episodes, strict=True)
    batches = [tuple(torch.stack(part) for part in zip(*step, strict=True)) for step in steps]
    total = reptile_gradient(loss, begin, [(x, y) for x, y in batches], lr)
    return MetaGradient(total.loss / tasks, {n: g.mean(dim=0) for n, g in total.start.items()}, {})
