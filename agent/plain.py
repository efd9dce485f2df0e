"""A model written out as a list of plain torch calls, so that whoever has torch can use it, without evermap.

Every step names a function of `torch.nn.functional` or `torch`, and its arguments: numbers, lists, and `{"of": name}`
for a weight, the input `x` or the result of an earlier step. The last step's result is the model's.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from ..errors import StoreError
from .encoder import Encoder
from .model import Model

Step = dict[str, Any]
INPUT = "x"
# What the names of the weights begin with.
WEIGHTS = "plain."

_OPERATORS = {
    operator.add: "add",
    operator.sub: "sub",
    operator.mul: "mul",
    operator.truediv: "true_divide",
    operator.matmul: "matmul",
    operator.neg: "neg",
}
_COMMUTATIVE = ("add", "mul")
_METHODS = {"view": "reshape", "__neg__": "neg"}


class _Whole(nn.Module):
    """Everything from an input as it comes to calibrated outputs."""

    def __init__(self, stem: Encoder | None, model: Model) -> None:
        super().__init__()
        self.stem, self.encoder, self.head = stem, model.encoder, model.head

    def forward(self, x: Tensor) -> Tensor:
        if self.stem is not None:
            x = self.stem(x)
        outputs: Tensor = self.head(self.encoder(x)) / self.head.temperature
        return outputs


class _Tracer(fx.Tracer):
    """Follows modules down to torch's own."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.ReLU, nn.MaxPool2d, nn.Flatten)


def written_out(stem: Encoder | None, model: Model, shape: tuple[int, ...]) -> tuple[list[Step], dict[str, Tensor]]:
    """Write a model out as plain torch calls.

    Args:
        stem: The fixed front under it; None for none.
        model: Its encoder and head, on the CPU.
        shape: Shape of one input as it comes.

    Returns:
        The steps, which give logits (regression: values) divided by the head's temperature; and the weights by name.

    Raises:
        StoreError: If it does something that no list of calls can say.
    """
    whole = _Whole(stem, model).eval().requires_grad_(False)
    name = model.encoder.name
    try:
        graph = _Tracer().trace(whole)
        weights: dict[str, Tensor] = {}
        steps = [step for node in graph.nodes for step in _step(node, whole, weights)]
    except Exception as error:
        raise StoreError(f"The encoder {name!r} cannot be written as plain torch calls: {error}.") from error
    x = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    if not torch.allclose(carried_out(steps, weights, x), whole(x), atol=1e-5, rtol=1e-4):
        raise StoreError(f"The encoder {name!r} gives other results as plain torch calls, so nothing was written.")
    return steps, weights


def carried_out(steps: list[Step], weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Do what `written_out` wrote.

    Args:
        steps: The steps.
        weights: The weights.
        x: Inputs, shape `(n, *input_shape)`.

    Returns:
        Outputs, shape `(n, outputs)`.
    """
    values: dict[str, Any] = {**weights, INPUT: x}

    def get(said: Any) -> Any:
        if isinstance(said, dict):
            return values[said["of"]]
        return [get(each) for each in said] if isinstance(said, list) else said

    for step in steps:
        call = getattr(functional, step["call"], None) or getattr(torch, step["call"])
        values[step["name"]] = call(*map(get, step["with"]), **{key: get(v) for key, v in step["and"].items()})
    result: Tensor = values[steps[-1]["name"]]
    return result


def _step(node: fx.Node, whole: nn.Module, weights: dict[str, Tensor]) -> list[Step]:
    """One node of the graph as steps; what it takes from the model is added to the weights."""
    if node.op in ("placeholder", "output"):
        return []
    if node.op == "get_attr":
        weights[WEIGHTS + node.name] = _attribute(whole, str(node.target)).contiguous()
        return []
    if node.op == "call_module":
        return [_of_module(node, whole.get_submodule(str(node.target)), weights)]
    call, args = _called(node)
    return [{"name": node.name, "call": call, "with": _said(args), "and": _said(dict(node.kwargs))}]


def _called(node: fx.Node) -> tuple[str, list[Any]]:
    args = list(node.args)
    if node.op == "call_method":
        method = str(node.target)
        if method in ("view", "reshape") and not isinstance(args[1], (list, tuple)):
            args = [args[0], args[1:]]
        return _METHODS.get(method, method), args
    if node.target is getattr and args[1] == "T":
        return "t", args[:1]
    target: Any = node.target
    name = str(_OPERATORS.get(target) or getattr(target, "__name__", ""))
    if not (hasattr(functional, name) or hasattr(torch, name)):
        raise ValueError(f"torch has no function {name!r}")
    if name in _COMMUTATIVE and not isinstance(args[0], fx.Node):
        args.reverse()
    return name, args


def _of_module(node: fx.Node, module: nn.Module, weights: dict[str, Tensor]) -> Step:
    """One of torch's own modules as the function that it calls."""
    x = _said(node.args[0])
    mine = {key: {"of": f"{WEIGHTS}{node.name}_{key}"} for key, tensor in module.named_parameters()}
    weights.update({f"{WEIGHTS}{node.name}_{key}": tensor.contiguous() for key, tensor in module.named_parameters()})
    bias = mine.get("bias")
    call: str
    args: list[Any]
    if isinstance(module, nn.Linear):
        call, args = "linear", [x, mine["weight"], bias]
    elif isinstance(module, nn.Conv2d):
        options = (module.stride, module.padding, module.dilation, module.groups)
        call, args = "conv2d", [x, mine["weight"], bias, *(list(o) if isinstance(o, tuple) else o for o in options)]
    elif isinstance(module, nn.GroupNorm):
        call, args = "group_norm", [x, module.num_groups, mine.get("weight"), bias, module.eps]
    elif isinstance(module, nn.MaxPool2d):
        call, args = "max_pool2d", [x, module.kernel_size, module.stride]
    elif isinstance(module, nn.Flatten):
        call, args = "flatten", [x, module.start_dim]
    else:
        call, args = "relu", [x]
    return {"name": node.name, "call": call, "with": args, "and": {}}


def _said(thing: Any) -> Any:
    """Write an argument as plain data."""
    if isinstance(thing, fx.Node):
        return {"of": WEIGHTS + thing.name if thing.op == "get_attr" else thing.name}
    if isinstance(thing, (list, tuple)):
        return [_said(each) for each in thing]
    if isinstance(thing, dict):
        return {key: _said(value) for key, value in thing.items()}
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    raise ValueError(f"{thing!r} is no plain argument")


def _attribute(module: nn.Module, path: str) -> Tensor:
    found: Any = module
    for piece in path.split("."):
        found = getattr(found, piece)
    if not isinstance(found, Tensor):
        raise ValueError(f"{path} is no tensor")
    return found.detach()
