"""Prototypes: a closed-form head on a representation that is given — no gradient step.

Nearest class mean is the prototypical network's classifier (Snell 2017, arXiv 1703.05175) on a stored encoder; ridge
regression on one-hot targets is its shrunk linear relative (Bertinetto 2019, arXiv 1805.08136). Wrong labels and
outliers are the mean's weak point: `prototypes` names what withstands them. `distance` names how inputs are compared;
of the squared Euclidean distance the scale is always learned, as the head's temperature.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..agent.closed_form import class_means, ncm_leave_one_out, one_hot, ridge, temperature
from ..agent.known import Known, Source
from ..agent.model import CosineHead, Head, LinearHead, Model, PrototypeHead
from ..agent.probe import features_of
from ..agent.prototypes import edited_means, folds_of, prototypes_of, within_class_metric
from ..agent.settings import positive, setting
from ..agent.strategy import Strategy
from ..streams.task import Task


@dataclass(frozen=True)
class Nearest:
    """How inputs are compared with prototypes, and what these are; what `prototype` and `protonet` have in common."""

    distance: Literal["euclidean", "cosine", "diagonal", "low-rank"] = setting(
        "euclidean",
        "Squared `euclidean`, `cosine`, or a metric learned from the scatter within classes: `diagonal` or `low-rank`.",
    )
    prototypes: Literal["mean", "shrunk", "median", "edited"] = setting(
        "mean", "Class `mean`; `shrunk`, `median` (geometric) or `edited` withstand outliers and wrong labels."
    )
    rank: int = setting(32, "Directions of the `low-rank` metric, at most.", "directions")

    @property
    def plain(self) -> bool:
        """Whether it is the paper's classifier: class means in the squared Euclidean distance."""
        return self.distance == "euclidean" and self.prototypes == "mean"


class Prototype(Strategy):
    """Nearest class mean or ridge head on the best representation, whichever is better by leave-one-out."""

    name: ClassVar[str] = "prototype"
    closed_form: ClassVar[bool] = True

    @dataclass(frozen=True)
    class Settings(Nearest):
        """Which head, which prototypes and which distance."""

        head: Literal["auto", "nearest-mean", "ridge"] = setting(
            "auto", "The head; `auto` takes the better one by leave-one-out accuracy, ridge on a tie."
        )

        def __post_init__(self) -> None:
            positive("strategies.prototype", rank=self.rank)

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

    def _fit(self, features: Tensor, task: Task) -> Head:
        y, classes, how = task.support.y, task.outputs, self.settings
        if task.kind == "regression":
            return _linear(features, y)
        if len(features) < 2 or how.head == "nearest-mean":
            return nearest_head(features, y, classes, how)
        fit = ridge(features, one_hot(y, classes))
        if how.head == "auto":
            to_beat = float((fit.loo.argmax(dim=1) == y).float().mean())
            if how.plain:
                means = ncm_leave_one_out(features, y, classes)
                if means is None or means > to_beat:
                    return _prototypes(features, y, classes)
            else:
                nearest, accuracy = _crossed(features, y, classes, how)
                if accuracy is None or accuracy > to_beat:
                    return nearest
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


@torch.no_grad()
def nearest_head(features: Tensor, y: Tensor, classes: int, how: Nearest) -> Head:
    """Fit a head of nearest prototypes, calibrated on samples that were left out.

    Args:
        features: Shape `(n, d)`, n >= 1.
        y: Labels, shape `(n,)`.
        classes: Number of classes.
        how: Which prototypes and which distance.

    Returns:
        The head.
    """
    return _prototypes(features, y, classes) if how.plain else _crossed(features, y, classes, how)[0]


def _crossed(features: Tensor, y: Tensor, classes: int, how: Nearest) -> tuple[Head, float | None]:
    """Fit a head, and judge it on samples left out: they set its temperature; None where no class has two.

    The samples are dealt into up to five folds, and prototypes and metric are fitted again without each: nobody is
    judged by what it took part in.
    """
    head = _nearest(features, y, classes, how)
    judged, labels = _left_out(features, y, classes, how)
    if judged is None:  # one sample per class: how far the next prototype is is all there is to go by
        best = head(features).topk(min(2, classes), dim=1).values
        gap = float((best[:, 0] - best[:, -1]).mean())
        head.temperature.fill_(gap if gap > 1e-6 else 1.0)
        return head, None
    head.temperature.fill_(temperature(judged, labels))
    return head, float((judged.argmax(dim=1) == labels).float().mean())


def _nearest(features: Tensor, y: Tensor, classes: int, how: Nearest) -> Head:
    """Fit prototypes and metric; temperature one."""
    kept = torch.ones_like(y, dtype=torch.bool)
    if how.prototypes == "edited":
        found, kept = edited_means(features, y, classes)
    else:
        found = prototypes_of(features, y, classes, how.prototypes)
    absent = y.bincount(minlength=classes) == 0
    if how.distance == "cosine":
        return CosineHead(torch.where(absent[:, None], 0.0, found))
    found = set_apart(found, absent, features)
    if how.distance == "euclidean":
        return PrototypeHead(found)
    # Distances in a fixed metric, without the part all classes share, are linear in the features.
    metric = within_class_metric(features[kept], y[kept], found, how.distance, how.rank)
    head = LinearHead(features.shape[1], classes)
    weight, bias = metric.linear(found)
    head.weight.copy_(weight)
    head.bias.copy_(bias)
    return head


def set_apart(prototypes: Tensor, absent: Tensor, features: Tensor) -> Tensor:
    """Put the prototypes of classes without a sample (label noise makes such) where they are never nearest.

    Four times as far from the mean as the farthest sample: another prototype is nearer to everything that lies no
    farther out than the samples, and losses stay finite.

    Args:
        prototypes: Shape `(classes, d)`.
        absent: Which classes have no sample, bool, shape `(classes,)`.
        features: The samples' features, shape `(n, d)`.

    Returns:
        Shape `(classes, d)`.
    """
    centre = features.mean(dim=0)
    radius = (features - centre).norm(dim=1).max().clamp_min(1e-3)
    far = centre + 4 * radius / features.shape[1] ** 0.5
    return torch.where(absent[:, None], far, prototypes)


def _left_out(features: Tensor, y: Tensor, classes: int, how: Nearest) -> tuple[Tensor | None, Tensor]:
    """Outputs for samples by heads that were fitted without them, where their class has others; and their labels."""
    folds, outputs, labels = folds_of(y), list[Tensor](), list[Tensor]()
    for fold in range(int(folds.max()) + 1):
        out = folds == fold
        rest = y[~out].bincount(minlength=classes) > 0
        out &= rest[y]
        if not bool(out.any()):
            continue
        seen = folds != fold
        said = _nearest(features[seen], y[seen], classes, how)(features[out])
        outputs.append(said.masked_fill(~rest, -1e9))  # a class that was left out altogether cannot be answered
        labels.append(y[out])
    if not outputs:
        return None, y
    return torch.cat(outputs), torch.cat(labels)


def _prototypes(features: Tensor, y: Tensor, classes: int) -> PrototypeHead:
    """Class means, with the temperature under which leave-one-out distances are calibrated."""
    means, counts = class_means(features, y, classes)
    present, means = means[counts > 0], set_apart(means, counts == 0, features)
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
        spread = float(((present - present.mean(dim=0)) ** 2).sum(dim=1).mean())
        head.temperature.fill_(max(spread, 1e-6))
    return head
