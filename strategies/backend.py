"""Backends of meta-training: how the meta-gradients of several episodes are computed. All give the same numbers.

| backend | how | good for |
| --- | --- | --- |
| `loop` | one episode after the other, one step's graph at a time | convolutions, large networks; least memory |
| `vmap` | several at once by `torch.func.vmap` | small networks that are no chain |
| `axis` | several at once by an explicit task axis (`baddbmm`) | small chains of linear layers |

`auto` is decided by shapes alone, never by a clock, so that a recipe takes the same path everywhere. The border was
measured by `benchmarks/meta_speed.py` (docs/maml.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from ..agent.model import LinearHead
from ..errors import RecipeError
from .meta_gradient import Loss, MetaGradient, Parameters, Split, meta_gradient, meta_gradients
from .reptile import Batches, reptile_gradient, reptile_gradients
from .task_axis import ELEMENTWISE, meta_gradients_on_axis, with_task_axis

Backend = Literal["loop", "vmap", "axis"]
T = TypeVar("T")

# Parameters up to which several episodes at once are faster than one after the other.
SMALL = 2**16
# What a network may consist of for `auto` to trust `vmap` with it.
PLAIN = (nn.Linear, LinearHead, nn.Flatten, nn.LayerNorm, nn.GroupNorm, *ELEMENTWISE)


@dataclass(frozen=True)
class Losses:
    """The loss of a network as functions of its parameters.

    Attributes:
        one: For one task.
        summed: Over tasks, where parameters, inputs and targets have a task axis; None where there is no such form.
        measure: Mean loss of outputs and targets.
    """

    one: Loss
    summed: Loss | None
    measure: Callable[[Tensor, Tensor], Tensor]


def choose(network: nn.Module) -> Backend:
    """Decide what `auto` stands for.

    Args:
        network: Encoder and head; the head's number of rows is of no consequence.

    Returns:
        "loop" beyond 65,536 parameters; up to there "axis" for a chain of linear layers, activations and norms, else
        "vmap" for whatever else consists of these, else "loop" (convolutions, and modules that are not known).
    """
    if sum(p.numel() for p in network.parameters()) > SMALL:
        return "loop"
    if with_task_axis(network) is not None:
        return "axis"
    parts = [m for m in network.modules() if not any(m.children()) or any(True for _ in m.parameters(recurse=False))]
    return "vmap" if all(isinstance(m, PLAIN) for m in parts) else "loop"


def settled(backend: Backend | Literal["auto"], network: nn.Module, where: str) -> Backend:
    """Settle on a backend for a network.

    Args:
        backend: What the recipe says.
        network: Encoder and head.
        where: What an error names as the place.

    Raises:
        RecipeError: If it is "axis" and the network has no such form.
    """
    if backend == "axis" and with_task_axis(network) is None:
        valid = "this network is no chain of linear layers, activations and norms: loop, vmap or auto"
        raise RecipeError(where, "backend", backend, valid)
    return choose(network) if backend == "auto" else backend


def settled_layout(channels_last: bool | Literal["auto"], network: nn.Module) -> bool:
    """Settle on a layout of filters and images in meta-training.

    Args:
        channels_last: What the recipe says.
        network: Encoder and head.

    Returns:
        Whether they are laid out channels last; "auto" stands for yes where there is a convolution of images.
    """
    return any(isinstance(m, nn.Conv2d) for m in network.modules()) if channels_last == "auto" else channels_last


def losses_of(network: nn.Module, kind: str) -> Losses:
    """Make the loss of a network a function of its parameters.

    Args:
        network: Inputs to outputs; the parameters that are given may have any number of rows in the last layer.
        kind: "classification" (mean cross-entropy) or "regression" (mean squared error).
    """
    measure = F.mse_loss if kind == "regression" else F.cross_entropy
    forward = with_task_axis(network)

    def one(parameters: Parameters, x: Tensor, y: Tensor) -> Tensor:
        outputs: Tensor = functional_call(network, dict(parameters), (x,))
        return measure(outputs, y)

    if forward is None:
        return Losses(one, None, measure)

    def summed(parameters: Parameters, x: Tensor, y: Tensor) -> Tensor:
        return len(x) * measure(forward(parameters, x).flatten(0, 1), y.flatten(0, 1))

    return Losses(one, summed, measure)


def in_channels_last(start: Parameters, splits: Sequence[Split]) -> tuple[dict[str, Tensor], list[Split]]:
    """Lay filters and images, whatever has four axes, out channels last: the same numbers, but for their last bits.

    Args:
        start: Parameters, by name.
        splits: Samples.

    Returns:
        Both, laid out; what has not four axes is given back as it is.
    """

    def laid(t: Tensor) -> Tensor:
        return t.to(memory_format=torch.channels_last) if t.dim() == 4 else t

    return {n: laid(p) for n, p in start.items()}, [(laid(x), y, laid(xq), yq) for x, y, xq, yq in splits]


def mean_gradients(
    backend: Backend, losses: Losses, start: Parameters, splits: Sequence[Split], chunk: int, **options: Any
) -> Iterator[tuple[int, MetaGradient]]:
    """Compute meta-gradients of splits that have the same shapes.

    Args:
        backend: How.
        losses: The loss.
        start: The parameters before adaptation, by name.
        splits: At least one.
        chunk: Splits at once, at most, which bounds memory; the loop takes one.
        **options: What `meta_gradient` takes: steps, lr, adapted, order.

    Yields:
        How many splits, and the mean over them.
    """
    for part in _chunks(backend, splits, chunk):
        if backend == "loop":
            yield 1, meta_gradient(losses.one, start, part[0], **options)
        elif backend == "vmap":
            yield len(part), meta_gradients(losses.one, start, part, **options)
        else:
            yield len(part), meta_gradients_on_axis(_summed(backend, losses), start, part, **options)


def mean_reptile_gradients(
    backend: Backend, losses: Losses, start: Parameters, episodes: Sequence[Batches], chunk: int, lr: float
) -> Iterator[tuple[int, MetaGradient]]:
    """Compute Reptile's pseudo-gradients of episodes that have the same shapes.

    Args:
        backend: How.
        losses: The loss.
        start: The parameters before adaptation, by name.
        episodes: At least one.
        chunk: Episodes at once, at most; the loop takes one.
        lr: Size of an inner step.

    Yields:
        How many episodes, and the mean over them.
    """
    for part in _chunks(backend, episodes, chunk):
        if backend == "loop":
            yield 1, reptile_gradient(losses.one, start, part[0], lr)
        else:
            yield len(part), reptile_gradients(_summed(backend, losses), start, part, lr)


def _chunks(backend: Backend, items: Sequence[T], chunk: int) -> Iterator[Sequence[T]]:
    size = 1 if backend == "loop" else chunk
    return (items[i : i + size] for i in range(0, len(items), size))


def _summed(backend: Backend, losses: Losses) -> Loss:
    """The loss summed over tasks; by `vmap` it may be differentiated once."""
    if backend == "vmap":
        return lambda parameters, x, y: torch.func.vmap(losses.one, randomness="different")(parameters, x, y).sum()
    if losses.summed is None:
        raise ValueError("the network has no form with a task axis")
    return losses.summed
