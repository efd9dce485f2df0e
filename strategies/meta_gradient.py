"""Meta-gradients: how the loss after a few steps of gradient descent depends on where the descent started.

Model-agnostic meta-learning (Finn 2017, arXiv 1703.03400); with only the head adapted: ANIL (Raghu 2020, arXiv
1909.09157). A network enters as a function of its parameters; nothing here knows what it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

Parameters = Mapping[str, Tensor]
# (parameters, inputs of shape (n, *input_shape), targets of shape (n, ...)) -> mean loss, a scalar
Loss = Callable[[Parameters, Tensor, Tensor], Tensor]
# Support inputs and targets, query inputs and targets.
Split = tuple[Tensor, Tensor, Tensor, Tensor]
Order = Literal["second", "first"]


def inner_step(
    loss: Loss, parameters: Parameters, x: Tensor, y: Tensor, lr: float, adapted: Collection[str] | None = None
) -> dict[str, Tensor]:
    """Take one step of the inner loop: `θ − lr · ∇ loss(θ; x, y)`.

    Args:
        loss: The loss as a function of the parameters.
        parameters: θ, by name.
        x: Inputs, shape `(n, *input_shape)`.
        y: Targets of `n` samples.
        lr: Step size.
        adapted: Names of the parameters that move; None for all.

    Returns:
        The parameters after the step, detached.
    """
    theta = _leaves(parameters)
    names = _moving(theta, adapted)
    gradient = torch.autograd.grad(loss(theta, x, y), [theta[n] for n in names], materialize_grads=True)
    return _stepped(theta, names, gradient, lr)


def meta_gradient(
    loss: Loss,
    start: Parameters,
    split: Split,
    *,
    steps: int,
    lr: float,
    adapted: Collection[str] | None = None,
    order: Order = "second",
) -> tuple[Tensor, dict[str, Tensor]]:
    """Differentiate the query loss after adaptation with respect to the parameters before it.

    The adaptation's steps are walked back one by one, `v ← v − lr · H(θ_k) v` with the Hessian H of the support loss:
    no graph runs through more than one step, and the query pass builds none of second order.

    Args:
        loss: The loss as a function of the parameters.
        start: The parameters before adaptation, by name.
        split: Support set to adapt on and query set to be judged by.
        steps: Steps of the inner loop; 0 gives the plain gradient on the query set.
        lr: Their size.
        adapted: Names of the parameters that the inner loop moves; None for all, the head's for ANIL.
        order: "second" is exact; "first" leaves H out (Finn 2017, §5.2).

    Returns:
        The query loss after adaptation, a scalar, and its gradient, by name, shaped as `start`.
    """
    x, y, x_query, y_query = split
    theta = _leaves(start)
    names, second = _moving(theta, adapted), order == "second"
    walked: list[tuple[dict[str, Tensor], Sequence[Tensor]]] = []
    for _ in range(steps):
        moving = [theta[n] for n in names]
        gradient = torch.autograd.grad(loss(theta, x, y), moving, create_graph=second, materialize_grads=True)
        if second:
            walked.append((theta, gradient))
        theta = _leaves(_stepped(theta, names, gradient, lr))
    judged = loss(theta, x_query, y_query)
    v = dict(zip(theta, torch.autograd.grad(judged, list(theta.values()), materialize_grads=True), strict=True))
    for at, bent in reversed(walked):
        # A parameter whose gradient is constant has no second derivative: its entry has no graph.
        pairs = [(g, v[n]) for n, g in zip(names, bent, strict=True) if g.requires_grad]
        if pairs:
            outputs, along = zip(*pairs, strict=True)
            products = torch.autograd.grad(outputs, list(at.values()), along, materialize_grads=True)
            v = {n: v[n] - lr * product for n, product in zip(at, products, strict=True)}
    return judged.detach(), v


def meta_gradients(
    loss: Loss,
    start: Parameters,
    splits: Sequence[Split],
    *,
    steps: int,
    lr: float,
    adapted: Collection[str] | None = None,
    order: Order = "second",
) -> tuple[Tensor, dict[str, Tensor]]:
    """Do what `meta_gradient` does for several splits of the same shapes at once, and average.

    The mean is taken outside: differentiating *around* a `vmap` of an inner `grad` is silently wrong in second order
    with affine batch, instance and layer norm (torch 2.13).

    Args:
        loss: The loss as a function of the parameters; must be one that `torch.func.vmap` takes.
        start: The parameters before adaptation, by name.
        splits: At least one; all of the same shapes.
        steps: Steps of the inner loop.
        lr: Their size.
        adapted: Names of the parameters that the inner loop moves; None for all.
        order: "second" or "first".

    Returns:
        The mean query loss after adaptation, a scalar, and its gradient, by name.
    """
    names = _moving(start, adapted)

    def judged(begin: dict[str, Tensor], x: Tensor, y: Tensor, x_query: Tensor, y_query: Tensor) -> Tensor:
        theta = begin
        for _ in range(steps):
            fixed = {n: p for n, p in theta.items() if n not in names}
            gradient = torch.func.grad(lambda moving, fixed=fixed: loss({**fixed, **moving}, x, y))(
                {n: theta[n] for n in names}
            )
            if order == "first":
                gradient = {n: g.detach() for n, g in gradient.items()}
            theta = {n: p - lr * gradient[n] if n in names else p for n, p in theta.items()}
        return loss(theta, x_query, y_query)

    begin = {n: p.detach() for n, p in start.items()}
    each = torch.func.vmap(torch.func.grad_and_value(judged), in_dims=(None, 0, 0, 0, 0), randomness="different")
    gradients, losses = each(begin, *(torch.stack(part) for part in zip(*splits, strict=True)))
    return losses.mean().detach(), {n: g.mean(dim=0).detach() for n, g in gradients.items()}


def _leaves(parameters: Parameters) -> dict[str, Tensor]:
    return {n: p.detach().requires_grad_() for n, p in parameters.items()}


def _moving(parameters: Parameters, adapted: Collection[str] | None) -> list[str]:
    return [n for n in parameters if adapted is None or n in adapted]


def _stepped(theta: Parameters, names: Sequence[str], gradient: Sequence[Tensor], lr: float) -> dict[str, Tensor]:
    moved = {n: theta[n].detach() - lr * g.detach() for n, g in zip(names, gradient, strict=True)}
    return {n: moved.get(n, p.detach()) for n, p in theta.items()}
