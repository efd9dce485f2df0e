"""ANIL: only the head adapts, so that an episode's features are needed once (Raghu 2020, arXiv 1909.09157).

The features of support and query set are parameters of a small problem that the head solves; their meta-gradient then
goes through the encoder in one pass. However many steps the inner loop takes, the encoder runs once forward and back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor

from .meta_gradient import MetaGradient, Order, Parameters, Split, meta_gradient
from .step_sizes import StepSizes

# (parameters, inputs of shape (n, *input_shape)) -> features of shape (n, feature_size)
Encode = Callable[[Parameters, Tensor], Tensor]
# (parameters, features, targets) -> mean loss, a scalar
HeadLoss = Callable[[Parameters, Tensor, Tensor], Tensor]


def head_meta_gradient(
    encode: Encode,
    head_loss: HeadLoss,
    start: Parameters,
    split: Split,
    *,
    steps: int,
    lr: StepSizes,
    adapted: Collection[str],
    order: Order = "second",
) -> MetaGradient:
    """Do what `meta_gradient` does where only the head adapts, with one pass through the encoder.

    Args:
        encode: The encoder as a function of the parameters; uses none of `adapted`.
        head_loss: The loss of the head on features; uses none but `adapted`.
        start: All parameters before adaptation, by name.
        split: Support set to adapt on and query set to be judged by.
        steps: Steps of the inner loop.
        lr: Their size, or one for every parameter that moves.
        adapted: Names of the head's parameters.
        order: "second" or "first"; first order leaves out how the support set's features shape the adaptation.

    Returns:
        The query loss after adaptation and its gradients.
    """
    x, y, x_query, y_query = split
    body = {n: p.detach().requires_grad_() for n, p in start.items() if n not in adapted}
    # Two passes, for batch statistics are those of each part.
    with torch.set_grad_enabled(order == "second"):
        support = encode(body, x)
    features = torch.cat([support, encode(body, x_query)])
    inner = {n: p for n, p in start.items() if n in adapted} | {"features": features}

    def loss(parameters: Parameters, index: Tensor, targets: Tensor) -> Tensor:
        return head_loss(parameters, parameters["features"][index], targets)

    index = torch.arange(len(features), device=features.device)
    parts = index[: len(x)], y, index[len(x) :], y_query
    found = meta_gradient(loss, inner, parts, steps=steps, lr=lr, adapted=adapted, order=order)
    through = torch.autograd.grad(features, list(body.values()), found.start["features"], materialize_grads=True)
    gradient = dict(zip(body, through, strict=True)) | found.start
    return MetaGradient(found.loss, {n: gradient[n] for n in start}, found.sizes)
