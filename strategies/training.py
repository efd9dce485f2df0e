"""Gradient training as the strategies share it: batches, and one generator that takes a step at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..agent.model import Model
from ..agent.settings import positive, setting
from ..streams.task import Samples, Task


@dataclass(frozen=True)
class Sgd:
    """How a network is trained; the settings that `scratch` and `finetune` have in common."""

    steps: int = setting(300, "Gradient steps of a full run.", "steps")
    batch_size: int = setting(32, "Samples of a batch; a smaller support set is one batch.", "samples")
    optimiser: Literal["adam", "sgd"] = setting("adam", "Adam (Kingma 2015) or gradient descent with momentum.")
    lr: float = setting(0.003, "Learning rate.", "per step")
    momentum: float = setting(0.9, "Momentum of `sgd`; Adam has its own.")
    weight_decay: float = setting(1e-4, "L2 penalty on all weights (AdamW's decoupled form for `adam`).")
    shuffle: bool = setting(True, "Whether every epoch has an order of its own; False keeps the order of the data.")

    def __post_init__(self) -> None:
        positive("strategy settings", steps=self.steps, batch_size=self.batch_size, lr=self.lr)


def batches(samples: Samples, size: int, rng: torch.Generator, shuffle: bool = True) -> Iterator[tuple[Tensor, Tensor]]:
    """Go through the samples in batches, epoch after epoch, without end.

    Args:
        samples: At least one sample.
        size: Samples of a batch; the last of an epoch may be smaller.
        rng: Draws the order of every epoch.
        shuffle: False keeps the order of the data.

    Yields:
        Inputs, shape `(m, *input_shape)`, and targets of `m <= size` samples.
    """
    n, device = len(samples), samples.y.device
    if n == 0:
        raise ValueError("there are no samples to learn from")
    while True:
        if not shuffle:
            for start in range(0, n, size):
                yield samples.x[start : start + size], samples.y[start : start + size]
            continue
        order = torch.randperm(n, generator=rng).to(device)
        for start in range(0, n, size):
            index = order[start : start + size]
            yield samples.x[index], samples.y[index]


def task_loss(outputs: Tensor, y: Tensor, task: Task) -> Tensor:
    """Return cross-entropy (regression: mean squared error) of outputs of shape `(n, outputs)`, a scalar."""
    if task.kind == "regression":
        return nn.functional.mse_loss(outputs, y)
    return nn.functional.cross_entropy(outputs, y)


def optimiser(parameters: Iterable[nn.Parameter], settings: Sgd) -> torch.optim.Optimizer:
    """Make the optimiser that the settings name, for the given parameters.

    It is torch's fused form, which goes over all weights once and takes a quarter off a small network's step; its
    weights agree with those of the plain form to rounding.
    """
    common: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay, "fused": True}
    if settings.optimiser == "adam":
        return torch.optim.AdamW(parameters, **common)
    return torch.optim.SGD(parameters, momentum=settings.momentum, **common)


def descend(loss: Tensor, step: torch.optim.Optimizer) -> None:
    """Take one gradient step.

    Args:
        loss: What to lower, a scalar.
        step: The optimiser of what it depends on.

    Raises:
        FloatingPointError: If the loss is NaN or infinite; nothing is changed then.
    """
    if not math.isfinite(value := loss.item()):
        raise FloatingPointError(f"the loss is {value}")
    step.zero_grad()
    loss.backward()
    step.step()


def train(model: Model, task: Task, settings: Sgd, rng: torch.Generator, steps: int | None = None) -> Iterator[Model]:
    """Train a model on a task's support set, yielding it after each gradient step.

    Args:
        model: The model; changed in place. Parameters without `requires_grad` stay as they are.
        task: The task.
        settings: How.
        rng: Draws the batches.
        steps: Gradient steps; None takes them from the settings.

    Yields:
        The model.

    Raises:
        FloatingPointError: If the loss is NaN or infinite; the driver names strategy, task and unit.
    """
    step = optimiser([p for p in model.parameters() if p.requires_grad], settings)
    model.train()
    feed = batches(task.support, settings.batch_size, rng, settings.shuffle)
    for x, y in itertools.islice(feed, settings.steps if steps is None else steps):
        descend(task_loss(model(x), y, task), step)
        yield model
