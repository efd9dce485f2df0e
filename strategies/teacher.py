"""What stored models make of a task that they did not learn: the teachers of `distill`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..agent.budget import charge
from ..agent.closed_form import match_labels
from ..agent.known import Source
from ..agent.probe import answers, features_of
from ..streams.task import Task

# Orders of the labels over which the agreement by chance is averaged.
SHUFFLES = 20


@dataclass(frozen=True)
class Teaching:
    """What one stored encoder, and the model on it that agrees best, make of a task's n inputs.

    The labelled ones, the support set, come first; unlabelled ones may follow.

    Attributes:
        says: The model's calibrated logits for the task's classes, shape `(n, classes)`; None where none agrees well
            enough.
        shows: The encoder's standardised features, shape `(n, feature_size)`.
        agreement: How far above chance the model agrees with the labels there are; 0 where none says anything.
        error: Leave-one-out error of a closed-form head on the features; None where it was not probed.
    """

    says: Tensor | None
    shows: Tensor
    agreement: float
    error: float | None


@torch.no_grad()
def ask(task: Task, source: Source, least: float, rng: torch.Generator, unlabelled: Tensor | None = None) -> Teaching:
    """Ask a source what it makes of a task's support set, and of inputs without labels.

    Args:
        task: The task.
        source: A stored encoder.
        least: Agreement (see there) from which a model's outputs stand for the task's classes.
        rng: Shuffles labels.
        unlabelled: Inputs that follow the support set's, shape `(m, *input_shape)`; None for none. Labels of outputs
            are matched on the support set alone.

    Returns:
        What it makes of them.
    """
    n = len(task.support)
    x = task.support.x if unlabelled is None else torch.cat([task.support.x, unlabelled])
    features = features_of(source.encoder(), x)
    best, says = least, None
    for _, model, said in answers(source, task, x, features) if task.kind == "classification" else ():
        head = model.head
        order, found = agreement(said[:n].argmax(dim=1), task.support.y, head.outputs, task.outputs, rng)
        if found > best or (found == best and says is None):
            best, says = found, said[:, order] / head.temperature
    error = source.score.ridge_mse if source.score is not None else None
    return Teaching(says, standardised(features), 0.0 if says is None else best, error)


def said_by_all(teachings: Sequence[Teaching], temperature: float) -> Tensor | None:
    """Mix what several teachers say: their softened probabilities, weighted by how well each agrees (Hinton 2015, §3).

    Args:
        teachings: At least one.
        temperature: T, by which all outputs are softened.

    Returns:
        Logits, shape `(n, classes)`, that softened by T are the mixture; None where nobody says anything.
    """
    saying = [(each.says, each.agreement) for each in teachings if each.says is not None]
    if len(saying) < 2:
        return saying[0][0] if saying else None
    total = sum(worth for _, worth in saying)
    shares = [worth / total if total > 0 else 1 / len(saying) for _, worth in saying]
    parts = [
        math.log(share) + torch.log_softmax(s / temperature, 1)
        for (s, _), share in zip(saying, shares, strict=True)
        if share
    ]
    return temperature * torch.logsumexp(torch.stack(parts), dim=0)


def shown_by_all(teachings: Sequence[Teaching]) -> Tensor:
    """Put what several teachers show side by side, so that a mean over columns weighs each by what it is worth.

    A teacher's weight is one over its leave-one-out error; all count alike where one was not probed.

    Args:
        teachings: At least one.

    Returns:
        Features, shape `(n, sum of feature sizes)`; of a single teacher its own.
    """
    errors = [each.error for each in teachings]
    known = [error for error in errors if error is not None]
    worth = [1 / max(error, 1e-9) for error in known] if len(known) == len(errors) else [1.0] * len(errors)
    columns = sum(each.shows.shape[1] for each in teachings)
    factors = (w / sum(worth) * columns / each.shows.shape[1] for w, each in zip(worth, teachings, strict=True))
    return torch.cat([each.shows * factor**0.5 for each, factor in zip(teachings, factors, strict=True)], dim=1)


def standardised(features: Tensor) -> Tensor:
    """Bring every column of features, shape `(n, d)`, to mean 0 and variance 1 over the samples; constant ones to 0."""
    spread, centre = torch.std_mean(features, dim=0, correction=0)
    varies = spread > 1e-6 * centre.abs().clamp_min(1e-6)
    return torch.where(varies, (features - centre) / torch.where(varies, spread, 1.0), 0.0)


def agreement(
    predicted: Tensor, y: Tensor, outputs: int, classes: int, rng: torch.Generator
) -> tuple[list[int], float]:
    """Match a model's outputs to classes (Hungarian method), and tell how far above chance they then agree.

    Matching finds some agreement in noise, the more the fewer samples there are: one sample of each class can always be
    made to agree. So chance is what matching finds after the labels were shuffled.

    Args:
        predicted: Output that the model gives every sample, shape `(n,)`.
        y: Labels, shape `(n,)`.
        outputs: Number of outputs of the model, at least `classes`.
        classes: Number of classes.
        rng: Shuffles the labels.

    Returns:
        For every class the output that stands for it, and (accuracy − chance) / (1 − chance): 1 for full agreement, 0
        for chance, and 0 where chance agrees fully.
    """
    order, found = match_labels(predicted, y, outputs, classes)
    shuffled = (y[torch.randperm(len(y), generator=rng).to(y.device)] for _ in range(SHUFFLES))
    chance = sum(match_labels(predicted, each, outputs, classes)[1] for each in shuffled) / SHUFFLES
    charge((SHUFFLES + 1) * outputs * classes**2)
    return order, (found - chance) / (1 - chance) if chance < 1 else 0.0
