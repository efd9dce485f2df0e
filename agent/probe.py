"""What can be measured about a task before learning it: what every candidate representation is worth."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..streams.task import Samples, Task
from .arm import BATCH
from .budget import charge, counted
from .closed_form import (
    knn_leave_one_out,
    match_labels,
    matched_agreement,
    ncm_leave_one_out,
    one_hot,
    ridge,
)
from .encoder import Encoder
from .entries import TaskRecord
from .events import ProbeScore
from .known import Source
from .model import Model
from .transferability import logme

# Support samples that are looked at; more make scores no better and the decompositions dear (n³).
MOST_SAMPLES = 1000
FEWEST_SAMPLES = 20
# Fewest samples on which a stored head may be recognised: with fewer, matched labels agree by luck.
FEWEST_TO_RECOGNISE = 10


@torch.no_grad()
def features_of(encoder: Encoder, x: Tensor) -> Tensor:
    """Encode inputs, shape `(n, *input_shape)`, in evaluation mode, as features of shape `(n, feature_size)`."""
    encoder.eval()
    return torch.cat([encoder(some) for some in x.split(BATCH)])


@dataclass(frozen=True)
class Price:
    """What it takes to probe a representation, or to put a closed-form head on it.

    Attributes:
        once: FLOPs of encoding one sample.
        features: Number of features, d.
        outputs: Number of outputs of the task, c.
        said: Outputs of all stored heads that would be asked, together.
    """

    once: float
    features: int
    outputs: int
    said: int = 0

    def of(self, n: int) -> float:
        """Tell what n samples take.

        Args:
            n: Number of samples.

        Returns:
            FLOPs. With m = min(n, d): n passes; for ridge 9 m³ + 2 n d m (twice that where d < n) and, for its six
            penalties, 14 n m c + 12 n m; for neighbours 2 n² d; for means and weights 6 n d c; for s outputs of stored
            heads 2 n d s, and for matching them 10 s c².
        """
        d, c = self.features, self.outputs
        return self._ridge(n) + 2 * n * n * d + 6 * n * d * c + 2 * n * d * self.said + 10 * self.said * c**2

    def head(self, n: int, held_out: int) -> float:
        """Tell what fitting a closed-form head on n samples and asking it about others takes, at the most.

        Args:
            n: Number of samples.
            held_out: Number of samples that it is scored on.

        Returns:
            FLOPs: ridge and nearest means, both left out one by one, and the passes of the others.
        """
        d, c = self.features, self.outputs
        return self._ridge(n) + 10 * n * d * c + held_out * (self.once + 2 * d * c)

    def _ridge(self, n: int) -> float:
        """Encoding n samples and one decomposition of them, with six penalties."""
        d, c, m = self.features, self.outputs, min(n, self.features)
        return n * self.once + 9 * m**3 + (2 if d > n else 4) * n * d * m + n * m * (14 * c + 12)


def price(source: Source, task: Task, passes: dict[str, float]) -> Price:
    """Price a representation by the shapes of what makes it.

    Args:
        source: The representation.
        task: The task.
        passes: FLOPs of encoding one sample, by what builds an encoder; what is missing is counted once and entered.
    """
    encoder = source.encoder()
    built = json.dumps(encoder.spec, sort_keys=True)
    if built not in passes:
        passes[built] = counted(lambda: features_of(encoder, task.support.x[:1]))[1]
    once = passes[built]
    said = sum(len(record.classes) for record in _asked(source, task))
    return Price(once, encoder.feature_size, task.outputs, said if task.kind == "classification" else 0)


def sample(task: Task, prices: Sequence[Price], flops: float, rng: torch.Generator) -> Samples:
    """Draw the support samples that are probed: class by class in turn, so that none is left out.

    Args:
        task: The task.
        prices: Prices of all representations that are to be probed on them.
        flops: What that may cost.
        rng: Draws them.

    Returns:
        As many as can be paid, at least `FEWEST_SAMPLES` and at most `MOST_SAMPLES`, if there are so many.
    """
    n = len(task.support)
    most, fewest = min(n, MOST_SAMPLES), min(n, FEWEST_SAMPLES)
    while most > fewest and sum(each.of(most) for each in prices) > flops:
        most -= 1
    if n <= most:
        return task.support
    order = torch.randperm(n, generator=rng)
    if task.kind == "classification":
        y = task.support.y.cpu()[order]
        turn = torch.empty(n, dtype=torch.int64)  # how many samples of its class stand before a sample
        for c in range(task.outputs):
            mine = y == c
            turn[mine] = torch.arange(int(mine.sum()))
        order = order[torch.sort(turn, stable=True).indices]
    return task.support.pick(order[:most].sort().values.to(task.support.x.device))


def says_something(task: Task, samples: Samples) -> bool:
    """Tell whether a score would mean anything: left out, a class of one sample has none any more.

    Args:
        task: The task, for its kind.
        samples: What would be looked at.
    """
    if len(samples) < 2:
        return False
    several = task.kind == "regression" or int(samples.y.bincount().max()) > 1
    return several or len(samples) >= FEWEST_TO_RECOGNISE


@torch.no_grad()
def probe(source: Source, task: Task, samples: Samples, with_logme: bool = False) -> ProbeScore:
    """Score one representation by leave-one-out on all samples, without a split.

    Args:
        source: The representation.
        task: The task, for its kind and number of classes.
        samples: What to look at, at least two.
        with_logme: Whether to take the logarithm of maximum evidence as well, which costs another decomposition.

    Returns:
        Its scores; see `ProbeScore`.
    """
    features = features_of(source.encoder(), samples.x)
    if task.kind == "regression":
        return ProbeScore(source.id, ridge(features, samples.y).loo_mse, None, None, samples=len(samples))
    y, classes = samples.y, task.outputs
    fit = ridge(features, one_hot(y, classes))
    agreements = [
        (agreement(said, y, classes), record.index) for record, _, said in answers(source, task, samples.x, features)
    ]
    best = max(agreements, default=(None, None))  # of equals the newest
    return ProbeScore(
        candidate=source.id,
        ridge_mse=fit.loo_mse,
        ncm=ncm_leave_one_out(features, y, classes),
        knn=knn_leave_one_out(features, y, classes),
        reuse=best[0],
        ridge=float((fit.loo.argmax(dim=1) == y).float().mean()),
        samples=len(samples),
        heads=len(agreements),
        reuse_task=best[1],
        logme=logme(features, y, classes) if with_logme else None,
    )


@torch.no_grad()
def answers(
    source: Source, task: Task, x: Tensor, features: Tensor | None = None
) -> Iterator[tuple[TaskRecord, Model, Tensor]]:
    """Ask every model that stands on a representation; an encoder that several have in common runs once.

    Args:
        source: The representation.
        task: The task: models of its kind with at least as many outputs are asked.
        x: Inputs, shape `(n, *input_shape)`.
        features: What the representation makes of them, where that is known already.

    Yields:
        A model's record, the model (a fresh copy), and its outputs, shape `(n, outputs)`.
    """
    encoded: dict[str | None, Tensor] = {} if features is None else {source.id: features}
    for record in _asked(source, task):
        model = source.model(record)
        # In place the models of a lineage all read its newest version, which is the source.
        encoder = source.id if source.stored else record.encoder
        if encoder not in encoded:
            # What stands on a fixed representation was stored with a copy of it; one from elsewhere may differ.
            same = features is not None and not source.stored and _equal(source.encoder(), model.encoder)
            encoded[encoder] = encoded[source.id] if same else features_of(model.encoder, x)
        yield record, model, model.head(encoded[encoder])


def _asked(source: Source, task: Task) -> list[TaskRecord]:
    """Records of the models on a representation that could say something of a task."""
    return [r for r in source.tasks if r.kind == task.kind and len(r.classes) >= task.outputs]


def _equal(one: Encoder, other: Encoder) -> bool:
    """Whether two encoders are built alike and hold the same weights."""
    a, b = one.state_dict(), other.state_dict()
    return (
        type(one) is type(other)
        and one.feature_size == other.feature_size
        and a.keys() == b.keys()
        and all(torch.equal(a[key], b[key]) for key in a)
    )


def matched(said: Tensor, y: Tensor, classes: int) -> tuple[list[int], float]:
    """Match a stored model's outputs to a task's classes.

    Args:
        said: What it says of some samples, shape `(n, outputs)`, with at least as many outputs as classes.
        y: The samples' labels, shape `(n,)`.
        classes: Number of classes.

    Returns:
        For every class the output that stands for it, and the accuracy then.
    """
    outputs = said.shape[1]
    charge(outputs * classes**2)
    return match_labels(said.argmax(dim=1), y, outputs, classes)


def agreement(said: Tensor, y: Tensor, classes: int) -> float:
    """Tell how well a stored model agrees with a task, its outputs matched on samples that it is not judged by.

    Args:
        said: What it says of some samples, shape `(n, outputs)`, with at least as many outputs as classes.
        y: The samples' labels, shape `(n,)`.
        classes: Number of classes.

    Returns:
        Share of the samples that agree.
    """
    outputs = said.shape[1]
    charge(10 * outputs * classes**2)
    return matched_agreement(said.argmax(dim=1), y, outputs, classes)
