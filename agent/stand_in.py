"""What is left of a task when its encoder goes: a closed-form head on its inputs, and where these lie.

It is made while the task's samples are there, and holds none of them: class means and one spread per value, from which
inputs can be drawn that tell how much other weights would get wrong. A mean of few samples can leak what they were.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..streams.task import Samples, Task
from .arm import outputs_of, score
from .budget import counted
from .closed_form import class_means, one_hot, ridge, temperature
from .entries import Json
from .model import LinearHead, Model

# Multiples of the spread, the widest first, and samples of every class that are drawn for each that is tried.
SCALES, DRAWN = (8.0, 5.6, 4.0, 2.8, 2.0, 1.4, 1.0, 0.7, 0.5), 32
_HALF = 6e4  # beyond it half precision ends


@dataclass(frozen=True)
class StandIn:
    """What stands in for a task's model.

    Attributes:
        means: Mean input of every class (regression: of all samples), float16, shape `(C, d)`.
        spread: Standard deviation of every input value within classes, float16, shape `(d,)`.
        weight: Of the head on the flattened input, float16, shape `(outputs, d)`.
        bias: Of the head, shape `(outputs,)`.
        temperature: Of the head, shape `()`.
        scale: Multiple of the spread with which the task's model is right about inputs that are drawn as often as it
            was about held-out samples; 1 where it is not asked, None where there were no FLOPs left to find it.
        accuracy: Of the task's model (regression: R²) on held-out samples; None where there were none.
        own: Of the head on the same samples, or left out one by one where there were none; None where that cannot be.
    """

    means: Tensor
    spread: Tensor
    weight: Tensor
    bias: Tensor
    temperature: Tensor
    scale: float | None = 1.0
    accuracy: float | None = None
    own: float | None = None

    @property
    def gain(self) -> float | None:
        """By how much the task's model is more accurate; None where that was not measured."""
        return self.accuracy - self.own if self.accuracy is not None and self.own is not None else None

    @classmethod
    @torch.no_grad()
    def of(cls, seen: Task, whole: Task, held_out: Samples | None, model: Model) -> StandIn:
        """Make what stands in for a model; `scaled` says how wide its inputs are to be drawn.

        Args:
            seen: The task as strategies see it, without the held-out samples.
            whole: The same with those that belong to the support set.
            held_out: Samples that the model was not trained on; None where there are none.
            model: What answers for the task.
        """
        accuracy = own = None
        if held_out is not None:
            accuracy = score(outputs_of(model, held_out.x), held_out.y, seen.kind).accuracy
            head, _ = fitted(seen.support.x.flatten(1), seen)
            own = score(head(held_out.x.flatten(1)), held_out.y, seen.kind).accuracy
        head, left_out = fitted(whole.support.x.flatten(1), whole)
        x = whole.support.x.flatten(1)
        if whole.kind == "classification":
            y, classes = whole.support.y, whole.outputs
        else:
            y, classes = torch.zeros(len(x), dtype=torch.int64, device=x.device), 1
        means = class_means(x, y, classes)[0]
        freedom = max(1, len(x) - classes)
        spread = ((x - means[y]).square().sum(dim=0) / freedom).sqrt()
        return cls(
            _half(means),
            _half(spread),
            _half(head.weight),
            head.bias.cpu().clone(),
            head.temperature.cpu().clone(),
            1.0,
            accuracy,
            own if held_out is not None else left_out,
        )

    def scaled(self, task: Task, held_out: int, model: Model, rng: torch.Generator, flops: float) -> StandIn:
        """Find the widest spread with which a model is right about inputs drawn as often as it was held out.

        The wider inputs are drawn, the more of them are taken for another class: the widest is found by halving.

        Args:
            task: The task.
            held_out: Samples that its accuracy is from.
            model: What answers for it.
            rng: Draws inputs.
            flops: What it may cost; where it costs more, the spread stays unknown.
        """
        if task.kind != "classification" or self.accuracy is None:
            return self
        x = torch.zeros(1, *task.input_shape, device=model.head.temperature.device)
        _, each = counted(lambda: outputs_of(model, x))
        if math.ceil(math.log2(len(SCALES))) * DRAWN * len(self.means) * each > flops:
            return replace(self, scale=None)
        wanted = min(self.accuracy, 1 - 0.5 / held_out)  # none wrong among n is no proof that none ever is
        first, last = 0, len(SCALES) - 1
        while first < last:
            middle = (first + last) // 2
            if replace(self, scale=SCALES[middle]).right(model, task.input_shape, rng) >= wanted:
                last = middle
            else:
                first = middle + 1
        return replace(self, scale=SCALES[first])

    def draw(self, shape: tuple[int, ...], per_class: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw inputs as the task's may have been.

        Args:
            shape: Shape of one input.
            per_class: How many of every class.
            rng: Draws them.

        Returns:
            Inputs, shape `(C · per_class, *shape)`, and their labels.

        Raises:
            ValueError: If nobody knows how wide they lie.
        """
        if self.scale is None:
            raise ValueError("there were no FLOPs left to find how wide the inputs of this task lie")
        y = torch.arange(len(self.means)).repeat_interleave(per_class)
        noise = torch.randn(len(y), self.means.shape[1], generator=rng)
        x = self.means.float()[y] + self.scale * self.spread.float() * noise
        return x.view(len(y), *shape), y

    def right(self, model: Model, shape: tuple[int, ...], rng: torch.Generator, per_class: int = DRAWN) -> float:
        """Share of inputs drawn anew that a model gives their class."""
        x, y = self.draw(shape, per_class, rng)
        device = model.head.temperature.device
        return float((outputs_of(model, x.to(device)).argmax(dim=1).cpu() == y).float().mean())

    def head(self) -> LinearHead:
        """Build the head on the flattened input."""
        made = LinearHead(self.weight.shape[1], len(self.bias))
        with torch.no_grad():
            made.weight.copy_(self.weight)
            made.bias.copy_(self.bias)
            made.temperature.copy_(self.temperature)
        return made

    def stored(self) -> tuple[Json, dict[str, Tensor]]:
        """Return what the store keeps: plain facts, and tensors."""
        parts: dict[str, Any] = asdict(self)
        tensors = {name: value for name, value in parts.items() if isinstance(value, Tensor)}
        return {"stand_in": {name: value for name, value in parts.items() if name not in tensors}}, tensors

    @classmethod
    def restored(cls, spec: Json, tensors: Mapping[str, Tensor]) -> StandIn:
        """Take up what `stored` gave."""
        values: dict[str, Any] = {**spec["stand_in"], **tensors}
        return cls(**values)


@torch.no_grad()
def fitted(features: Tensor, task: Task) -> tuple[LinearHead, float | None]:
    """Fit ridge regression on features of a task's support set.

    Args:
        features: Shape `(n, d)`, n >= 1.
        task: The task.

    Returns:
        The head, calibrated; and its accuracy (R²) on samples left out one by one, None for a single sample.
    """
    y, classifies = task.support.y, task.kind == "classification"
    head = LinearHead(features.shape[1], task.outputs).to(features.device)
    if len(features) < 2:
        head.bias.copy_(one_hot(y, task.outputs)[0] if classifies else y[0])
        return head, None
    fit = ridge(features, one_hot(y, task.outputs) if classifies else y)
    head.weight.copy_(fit.weight)
    head.bias.copy_(fit.bias)
    if classifies:
        head.temperature.fill_(temperature(fit.loo, y))
    return head, score(fit.loo, y, task.kind).accuracy


def _half(values: Tensor) -> Tensor:
    return values.detach().clamp(-_HALF, _HALF).to("cpu", torch.float16)
