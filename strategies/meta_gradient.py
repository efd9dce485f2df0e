"""Meta-gradients: how the loss after a few steps of gradient descent depends on where it started and on its step sizes.

Model-agnostic meta-learning (Finn 2017, arXiv 1703.03400); with only the head adapted: ANIL (Raghu 2020, arXiv
1909.09157). A network enters as a function of its parameters; nothing here knows what it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .step_sizes import StepSizes, size_at

Parameters = Mapping[str, Tensor]
# (parameters, inputs of shape (n, *input_shape), targets of shape (n, ...)) -> mean loss, a scalar
Loss = Callable[[Parameters, Tensor, Tensor], Tensor]
# Support inputs and targets, query inputs and targets.
Split = tuple[Tensor, Tensor, Tensor, Tensor]
Order = Literal["second", "first"]


class MetaGradient(NamedTuple):
    """The query loss after adaptation, and how it depends on what adaptation begins with.

    Attributes:
        loss: A scalar.
        start: Its gradient with respect to the parameters before adaptation, by name.
        sizes: The same with respect to learned step sizes; empty where there is one number for all.
    """

    loss: Tensor
    start: dict[str, Tensor]
    sizes: dict[str, Tensor]


def inner_step(
    loss: Loss,
    parameters: Parameters,
    x: Tensor,
    y: Tensor,
    lr: StepSizes,
    adapted: Collection[str] | None = None,
    step: int = 0,
) -> dict[str, Tensor]:
    """Take one step of the inner loop: `θ − lr · ∇ loss(θ; x, y)`.

    Args:
        loss: The loss as a function of the parameters.
        parameters: θ, by name.
        x: Inputs, shape `(n, *input_shape)`.
        y: Targets of `n` samples.
        lr: Step size, or one for everything that moves.
        adapted: Names of the parameters that move; None for all.
        step: Which step it is, from 0, where step sizes differ from step to step.

    Returns:
        The parameters after the step, detached.
    """
    theta = _leaves(parameters)
    names = _moving(theta, adapted)
    gradient = torch.autograd.grad(loss(theta, x, y), [theta[n] for n in names], materialize_grads=True)
    return _stepped(theta, names, gradient, lr, step)


def meta_gradient(
    loss: Loss,
    start: Parameters,
    split: Split,
    *,
    steps: int,
    lr: StepSizes,
    adapted: Collection[str] | None = None,
    order: Order = "second",
) -> MetaGradient:
    """Differentiate the query loss after adaptation with respect to the parameters before it and to the step sizes.

    The adaptation's steps are walked back one by one. With the adjoint v of the parameters after step k, its gradient
    g and the Hessian H of the support loss before it, the step size a receives `−v ∘ g`, and `v ← v − H (a ∘ v)`: no
    graph runs through more than one step, and the query pass builds none of second order.

    Args:
        loss: The loss as a function of the parameters.
        start: The parameters before adaptation, by name.
        split: Support set to adapt on and query set to be judged by.
        steps: Steps of the inner loop; 0 gives the plain gradient on the query set.
        lr: Their size, or one for every parameter that moves (see `StepSizes`), to be learned.
        adapted: Names of the parameters that the inner loop moves; None for all, the head's for ANIL.
        order: "second" is exact; "first" leaves H out (Finn 2017, §5.2).

    Returns:
        The query loss after adaptation and its gradients, shaped as `start` and as `lr`.
    """
    x, y, x_query, y_query = split
    theta = _leaves(start)
    names, second, learned = _moving(theta, adapted), order == "second", isinstance(lr, Mapping)
    walked: list[tuple[dict[str, Tensor], Sequence[Tensor]]] = []
    for step in range(steps):
        moving = [theta[n] for n in names]
        gradient = torch.autograd.grad(loss(theta, x, y), moving, create_graph=second, materialize_grads=True)
        if second or learned:
            walked.append((theta, gradient))
        theta = _leaves(_stepped(theta, names, gradient, lr, step))
    judged = loss(theta, x_query, y_query)
    v = dict(zip(theta, torch.autograd.grad(judged, list(theta.values()), materialize_grads=True), strict=True))
    sizes = {n: torch.zeros_like(rows) for n, rows in lr.items()} if isinstance(lr, Mapping) else {}
    for step, (at, bent) in reversed(list(enumerate(walked))):
        for n, g in zip(names if learned else (), bent, strict=learned):
            row = sizes[n][min(step, len(sizes[n]) - 1)]
            row -= (v[n] * g.detach()).sum_to_size(row.shape)
        # A parameter whose gradient is constant has no second derivative: its entry has no graph.
        curved = [(g, n) for n, g in zip(names, bent, strict=True) if g.requires_grad]
        if curved:
            # One number for all may as well be multiplied afterwards.
            along = [v[n] * size_at(lr, n, step) if learned else v[n] for _, n in curved]
            outputs, factor = [g for g, _ in curved], 1.0 if isinstance(lr, Mapping) else lr
            products = torch.autograd.grad(outputs, list(at.values()), along, materialize_grads=True)
            v = {n: torch.sub(v[n], product, alpha=factor) for n, product in zip(at, products, strict=True)}
    return MetaGradient(judged.detach(), v, sizes)


def meta_gradients(
    loss: Loss,
    start: Parameters,
    splits: Sequence[Split],
    *,
    steps: int,
    lr: StepSizes,
    adapted: Collection[str] | None = None,
    order: Order = "second",
) -> MetaGradient:
    """Do what `meta_gradient` does for several splits of the same shapes at once, and average.

    The mean is taken outside: differentiating *around* a `vmap` of an inner `grad` is silently wrong in second order
    with affine batch, instance and layer norm (torch 2.13).

    Args:
        loss: The loss as a function of the parameters; must be one that `torch.func.vmap` takes.
        start: The parameters before adaptation, by name.
        splits: At least one; all of the same shapes.
        steps: Steps of the inner loop.
        lr: Their size, or one for every parameter that moves.
        adapted: Names of the parameters that the inner loop moves; None for all.
        order: "second" or "first".

    Returns:
        The mean query loss after adaptation and its gradients.
    """
    names = _moving(start, adapted)

    def judged(
        begin: dict[str, Tensor], sizes: dict[str, Tensor], x: Tensor, y: Tensor, x_query: Tensor, y_query: Tensor
    ) -> Tensor:
        theta = begin
        for step in range(steps):
            fixed = {n: p for n, p in theta.items() if n not in names}
            gradient = torch.func.grad(lambda moving, fixed=fixed: loss({**fixed, **moving}, x, y))(
                {n: theta[n] for n in names}
            )
            if order == "first":
                gradient = {n: g.detach() for n, g in gradient.items()}
            size = {n: size_at(sizes or lr, n, step) for n in names}
            theta = {n: p - size[n] * gradient[n] if n in names else p for n, p in theta.items()}
        return loss(theta, x_query, y_query)

    begin = {n: p.detach() for n, p in start.items()}
    rows = {n: t.detach() for n, t in lr.items()} if isinstance(lr, Mapping) else {}
    each = torch.func.vmap(
        torch.func.grad_and_value(judged, argnums=(0, 1)), in_dims=(None, None, 0, 0, 0, 0), randomness="different"
    )
    (gradients, sizes), losses = each(begin, rows, *(torch.stack(part) for part in zip(*splits, strict=True)))
    return MetaGradient(losses.mean().detach(), _mean(gradients), _mean(sizes))


def _leaves(parameters: Parameters) -> dict[str, Tensor]:
    return {n: p.detach().requires_grad_() for n, p in parameters.items()}


def _moving(parameters: Parameters, adapted: Collection[str] | None) -> list[str]:
    return [n for n in parameters if adapted is None or n in adapted]


def _stepped(
    theta: Parameters, names: Sequence[str], gradient: Sequence[Tensor], lr: StepSizes, step: int
) -> dict[str, Tensor]:
    moved = {}
    for n, g in zip(names, gradient, strict=True):
        size, at, down = size_at(lr, n, step), theta[n].detach(), g.detach()
        # One pass over the weights: on small networks these steps are a tenth of all time.
        moved[n] = at - size * down if isinstance(size, Tensor) else torch.sub(at, down, alpha=size)
    return {n: moved.get(n, p.detach()) for n, p in theta.items()}


def _mean(gradients: Parameters) -> dict[str, Tensor]:
    """Average over tasks, the first axis."""
    return {n: g.mean(dim=0).detach() for n, g in gradients.items()}
