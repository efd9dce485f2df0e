"""What can be measured about a task before learning it: what every candidate representation is worth."""

from __future__ import annotations

import torch

from ..streams.task import Samples, Task
from .arm import outputs_of
from .budget import charge
from .closed_form import knn_leave_one_out, match_labels, ncm_leave_one_out, one_hot, ridge
from .encoder import Encoder
from .events import ProbeScore
from .known import Source
from .model import Model

# Support samples that are looked at; more make scores no better and the decompositions dear (n³).
MOST_SAMPLES = 1000
FEWEST_SAMPLES = 20
# Fewest samples on which a stored head may be recognised: with fewer, matched labels agree by luck.
FEWEST_TO_RECOGNISE = 10


def sample(task: Task, flops: float, rng: torch.Generator) -> Samples:
    """Draw the support samples that are probed: class by class in turn, so that none is left out.

    Args:
        task: The task.
        flops: What one candidate may cost; for n samples of d features about 12 n³ for the decomposition and 4 n² d for
            the products (see `budget`), where d is taken to be the size of an input.
        rng: Draws them.

    Returns:
        All of them, where that is not too dear and they are not more than `MOST_SAMPLES`.
    """
    n = len(task.support)
    width, most = task.support.x[0].numel(), min(n, MOST_SAMPLES)
    while most > FEWEST_SAMPLES and 12 * most**3 + 4 * most**2 * width > flops:
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


@torch.no_grad()
def features_of(encoder: Encoder, x: torch.Tensor) -> torch.Tensor:
    """Encode inputs, shape `(n, *input_shape)`, in evaluation mode, as features of shape `(n, feature_size)`."""
    encoder.eval()
    features: torch.Tensor = encoder(x)
    return features


@torch.no_grad()
def probe(source: Source, task: Task, samples: Samples) -> ProbeScore:
    """Score one representation by leave-one-out on all samples, without a split.

    Args:
        source: The representation.
        task: The task, for its kind and number of classes.
        samples: What to look at, at least two.

    Returns:
        Its scores; see `ProbeScore`.
    """
    features = features_of(source.encoder(), samples.x)
    if task.kind == "regression":
        return ProbeScore(source.id, ridge(features, samples.y).loo_mse, None, None)
    y, classes = samples.y, task.outputs
    fit = ridge(features, one_hot(y, classes))
    return ProbeScore(
        candidate=source.id,
        ridge_mse=fit.loo_mse,
        ncm=ncm_leave_one_out(features, y, classes),
        knn=knn_leave_one_out(features, y, classes),
        reuse=_reuse(source, task, samples),
        ridge=float((fit.loo.argmax(dim=1) == y).float().mean()),
    )


def _reuse(source: Source, task: Task, samples: Samples) -> float | None:
    """Accuracy of the best stored head of an encoder, as it is, after matching labels."""
    found = [matched(source.model(record), task, samples) for record in source.tasks if record.kind == task.kind]
    scores = [accuracy for fit in found if fit is not None for _, accuracy in [fit]]
    return max(scores, default=None)


def matched(model: Model, task: Task, samples: Samples) -> tuple[list[int], float] | None:
    """Match a stored model's outputs to a task's classes.

    Args:
        model: A stored model.
        task: The task.
        samples: Samples to match on.

    Returns:
        For every class the output that stands for it, and the accuracy then; None if it has too few outputs.
    """
    outputs, classes = model.head.outputs, task.outputs
    if outputs < classes:
        return None
    predicted = outputs_of(model, samples.x).argmax(dim=1)
    charge(max(outputs, classes) * min(outputs, classes) ** 2)
    return match_labels(predicted, samples.y, outputs, classes)
