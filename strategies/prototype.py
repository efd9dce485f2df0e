"""Prototypes: a closed-form head on a representation that is given — no gradient step.

Nearest class mean is the prototypical network's classifier (Snell 2017, arXiv 1703.05175) on a stored encoder; ridge
regression on one-hot targets is its shrunk linear relative (Bertinetto 2019, arXiv 1805.08136).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..agent.closed_form import class_means, ncm_leave_one_out, one_hot, ridge, temperature
from ..agent.known import Known, Source
from ..agent.model import LinearHead, Model, PrototypeHead
from ..agent.probe import features_of
from ..agent.settings import setting
from ..agent.strategy import Strategy
from ..streams.task import Task


class Prototype(Strategy):
    """Nearest class mean or ridge head on the best representation, whichever is better by leave-one-out."""

    name: ClassVar[str] = "prototype"
    closed_form: ClassVar[bool] = True

    @dataclass(frozen=True)
    class Settings:
        """Which head."""

        head: Literal["auto", "nearest-mean", "ridge"] = setting(
            "auto", "The head; `auto` takes the better one by leave-one-out accuracy, ridge on a tie."
        )

    def sources(self, task: Task, known: Known) -> Sequence[Source]:
        """Any representation will do: stored encoders, the stem (or the raw input), random features."""
        return known.representations()

    def learn(self, task: Task, known: Known, rng: torch.Generator) -> Iterator[Model]:
        """Fit the head; one unit."""
        encoder = self.sources(task, known)[0].encoder()
        encoder.requires_grad_(False)
        with torch.no_grad():
            head = self._fit(features_of(encoder, task.support.x), task)
        yield Model(encoder, head).to(task.support.x.device)

    def _fit(self, features: Tensor, task: Task) -> LinearHead | PrototypeHead:
        y, classes = task.support.y, task.outputs
        if task.kind == "regression":
            return _linear(features, y)
        wanted = self.settings.head
        if len(features) < 2 or wanted == "nearest-mean":
            return _prototypes(features, y, classes)
        fit = ridge(features, one_hot(y, classes))
        if wanted == "auto":
            means = ncm_leave_one_out(features, y, classes)
            if means is None or means > float((fit.loo.argmax(dim=1) == y).float().mean()):
                return _prototypes(features, y, classes)
        head = LinearHead(features.shape[1], classes)
        head.weight.copy_(fit.weight)
        head.bias.copy_(fit.bias)
        head.temperature.fill_(temperature(fit.loo, y))
        return head


def _linear(features: Tensor, y: Tensor) -> LinearHead:
    head = LinearHead(features.shape[1], y.shape[1])
    if len(features) < 2:
        head.bias.copy_(y.mean(dim=0))
        return head
    fit = ridge(features, y)
    head.weight.copy_(fit.weight)
    head.bias.copy_(fit.bias)
    return head


def _prototypes(features: Tensor, y: Tensor, classes: int) -> PrototypeHead:
    """Class means, with the temperature under which leave-one-out distances are calibrated."""
    means, counts = class_means(features, y, classes)
    head = PrototypeHead(means)
    own = counts[y]
    usable = own > 1
    if bool(usable.any()):
        f = features[usable]
        distance = (f * f).sum(1, keepdim=True) - 2 * f @ means.T + (means * means).sum(1)
        rows = torch.arange(len(f), device=f.device)
        distance[rows, y[usable]] *= (own[usable] / (own[usable] - 1)) ** 2
        head.temperature.fill_(temperature(-distance, y[usable]))
    else:  # one sample per class: the mean distance between prototypes is all there is to go by
        spread = float(((means - means.mean(dim=0)) ** 2).sum(dim=1).mean())
        head.temperature.fill_(max(spread, 1e-6))
    return head
