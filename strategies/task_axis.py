"""An explicit task axis: what a chain of linear layers computes for several tasks at once, each with its own weights.

Where a network is a plain chain (flatten, linear layers, activations, norms), every parameter gets a first axis of
tasks, and a linear layer is one batched product. Tasks do not see each other, so the gradient of the summed loss is
every task's own, and `meta_gradient` walks back all tasks together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from .meta_gradient import Loss, MetaGradient, Order, Parameters, Split, meta_gradient
from .step_sizes import StepSizes

# (parameters of shape (tasks, ...), inputs of shape (tasks, n, *input_shape)) -> outputs of shape (tasks, n, ...)
Forward = Callable[[Parameters, Tensor], Tensor]

ELEMENTWISE = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.LeakyReLU, nn.Softplus, nn.Identity)


def with_task_axis(network: nn.Module) -> Forward | None:
    """Give a network a task axis.

    Args:
        network: A module; its parameters are not used, only their names.

    Returns:
        The network as a function of parameters with a task axis; None if it is not a chain of layers that are known
        here: flatten, linear, activations, and batch (of its own batch's statistics), instance, layer and group norm.
    """
    try:
        graph = fx.Tracer().trace(network)
    except Exception:  # whatever a plug-in's forward raises when it is handed a symbol: it is not a plain chain
        return None
    layers: list[Forward] = []
    before: fx.Node | None = None
    for node in graph.nodes:
        if node.op == "get_attr":
            continue
        if node.op == "output":
            return _chain(layers) if node.args == (before,) else None
        if node.op != "placeholder":
            layer = _layer(network, node) if node.args[:1] == (before,) else None
            if layer is None:
                return None
            layers.append(layer)
        elif before is not None:
            return None  # a second input
        before = node
    return None


def meta_gradients_on_axis(
    loss: Loss,
    start: Parameters,
    splits: Sequence[Split],
    *,
    steps: int,
    lr: StepSizes,
    adapted: Sequence[str] | None = None,
    order: Order = "second",
) -> MetaGradient:
    """Do what `meta_gradient` does for several splits of the same shapes at once, and average.

    Args:
        loss: The loss summed over tasks, as a function of parameters, inputs and targets with a task axis.
        start: The parameters before adaptation, by name, without a task axis.
        splits: At least one; all of the same shapes.
        steps: Steps of the inner loop.
        lr: Their size, or one for every parameter that moves.
        adapted: Names of the parameters that the inner loop moves; None for all.
        order: "second" or "first".

    Returns:
        The mean query loss after adaptation and its gradients.
    """
    x, y, x_query, y_query = (torch.stack(part) for part in zip(*splits, strict=True))
    tasks = len(splits)
    begin = {n: p.detach().expand(tasks, *p.shape) for n, p in start.items()}
    total = meta_gradient(loss, begin, (x, y, x_query, y_query), steps=steps, lr=lr, adapted=adapted, order=order)
    return MetaGradient(
        total.loss / tasks,
        {n: g.mean(dim=0) for n, g in total.start.items()},
        {n: g / tasks for n, g in total.sizes.items()},
    )


def _chain(layers: Sequence[Forward]) -> Forward:
    def forward(parameters: Parameters, x: Tensor) -> Tensor:
        for layer in layers:
            x = layer(parameters, x)
        return x

    return forward


def _layer(network: nn.Module, node: fx.Node) -> Forward | None:
    """One layer with a task axis; None if it is not known."""
    if node.op == "call_function" and node.target is F.linear and not node.kwargs:
        names = [str(a.target) for a in node.args[1:] if isinstance(a, fx.Node) and a.op == "get_attr"]
        return _linear(names[0], names[1]) if len(names) == len(node.args) - 1 == 2 else None
    if node.op != "call_module" or len(node.args) != 1 or node.kwargs:
        return None
    name, module = str(node.target), network.get_submodule(str(node.target))
    if isinstance(module, ELEMENTWISE):
        return lambda _, x: module(x)
    if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
        return lambda _, x: x.flatten(2)
    own = {n for n, _ in module.named_parameters()}
    if isinstance(module, nn.Linear):
        return _linear(f"{name}.weight", f"{name}.bias" if "bias" in own else None)
    normalise = _normalise(module)
    return None if normalise is None else _norm(name, own, normalise, per_channel=not isinstance(module, nn.LayerNorm))


def _linear(weight: str, bias: str | None) -> Forward:
    def forward(parameters: Parameters, x: Tensor) -> Tensor:
        W = parameters[weight].transpose(1, 2)  # (T, in, out)
        return torch.bmm(x, W) if bias is None else torch.baddbmm(parameters[bias].unsqueeze(1), x, W)

    return forward


def _norm(name: str, own: set[str], normalise: Callable[[Tensor], Tensor], per_channel: bool) -> Forward:
    """A norm without weights, then every task's own weights."""

    def forward(parameters: Parameters, x: Tensor) -> Tensor:
        x = normalise(x)
        own_of = {
            n: parameters[f"{name}.{n}"].unsqueeze(1) for n in own
        }  # (T, 1, C) or, of a layer norm, (T, 1, *shape)
        if per_channel:
            own_of = {n: p.view(*p.shape, *(1 for _ in range(x.dim() - 3))) for n, p in own_of.items()}
        x = x * own_of["weight"] if "weight" in own else x
        return x + own_of["bias"] if "bias" in own else x

    return forward


def _normalise(module: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """What a norm does to `(T, n, C, ...)` before its weights; None for other layers."""
    if isinstance(module, nn.LayerNorm):
        shape, eps = module.normalized_shape, module.eps
        return lambda x: F.layer_norm(x, shape, eps=eps)
    if isinstance(module, nn.GroupNorm):
        groups, eps = module.num_groups, module.eps
        return lambda x: F.group_norm(x.flatten(0, 1), groups, eps=eps).view_as(x)
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and not module.track_running_stats:
        return lambda x: _batch_norm(x, module.eps)
    if isinstance(module, nn.InstanceNorm1d | nn.InstanceNorm2d) and not module.track_running_stats:
        return lambda x: F.instance_norm(x.flatten(0, 1), eps=module.eps).view_as(x)
    return None


def _batch_norm(x: Tensor, eps: float) -> Tensor:
    """Normalise over the samples of each task, shape `(T, n, C, ...)`."""
    channels = x.transpose(0, 1).flatten(1, 2)  # (n, T·C, ...)
    normal = F.batch_norm(channels, None, None, training=True, eps=eps)
    return normal.unflatten(1, (x.shape[0], x.shape[2])).transpose(0, 1)
