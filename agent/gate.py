"""The gate's arithmetic: how well an input fits each task, as calibrated p-values, and whether to go by that.

A task's signature says where its samples lie among some features, and how far from there samples of its own lie that it
was not made from. A distance becomes a p-value by that: p-values of different tasks can be compared, distances cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .moments import Moments, shrunk_covariance

# Leading features that a signature is made of, samples that it is made from, and the fewest that it can be made from.
FEATURES, MOST, FEWEST = 256, 2000, 20
# Parts that are left out in turn, so that distances are those of samples that were not seen.
FOLDS = 5
# p-value below which an input belongs to no task that is known (docs/answering.md has the measurements).
PLAUSIBLE = 1e-6
# Where classes differ: accuracy, and standard errors (one-sided, 5 %), by which models must have beaten the anchor.
ALLOWANCE, MARGIN = 0.02, 1.64


@dataclass(frozen=True)
class Signature:
    """Where a task's samples lie.

    Attributes:
        means: Mean of every class, float32, shape `(C, d)`.
        factor: Lower Cholesky factor of the pooled covariance, shrunk, row after row, float32, shape `(d(d + 1)/2,)`.
        scale: Mean and standard deviation of the cube root of squared distances, float64, shape `(2,)`.
    """

    means: Tensor
    factor: Tensor
    scale: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """Return what is to be stored."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def of(cls, features: Tensor, y: Tensor, classes: int) -> Signature | None:
        """Describe a task.

        Args:
            features: float32, shape `(n, D)`; the leading ones are taken, of at most `MOST` samples.
            y: Labels, shape `(n,)`.
            classes: Number of classes.

        Returns:
            The signature; None where there are too few samples, or a class of only one.
        """
        features, y = features[:MOST, :FEATURES].cpu(), y[:MOST].cpu()
        if len(y) < FEWEST or int(y.bincount(minlength=classes).min()) < 2:
            return None
        fold = torch.zeros(len(y), dtype=torch.int64)
        for c in range(classes):  # class by class, so that a part that is left out takes no class with it
            own = torch.nonzero(y == c).flatten()
            fold[own] = torch.arange(len(own)) % FOLDS
        distances = torch.zeros(len(y), dtype=torch.float64)
        for k in fold.unique().tolist():
            rest, left = fold != k, fold == k
            distances[left] = _distances(features[left], *_place(Moments.of(features[rest], y[rest], classes)))
        roots = distances.pow(1 / 3)
        means, factor = _place(Moments.of(features, y, classes))
        rows = torch.tril_indices(len(factor), len(factor))
        scale = torch.stack([roots.mean(), roots.std().clamp_min(1e-6)])
        return cls(means.float(), factor[tuple(rows)].float(), scale)

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor]) -> Signature:
        """Take up what `tensors` gave."""
        return cls(**{each.name: tensors[each.name] for each in fields(cls)})

    def log_p(self, features: Tensor) -> Tensor:
        """Tell how well inputs fit the task: ln of the share of its own samples that lie at least so far out.

        Distances to the nearest class mean are about χ² distributed, and the cube root of such is about normal (Wilson
        & Hilferty 1931), which gives p-values far beyond one in the number of samples.

        Args:
            features: float32, shape `(n, D)`.

        Returns:
            float64, shape `(n,)`.
        """
        size = self.means.shape[1]
        factor = torch.zeros(size, size, dtype=torch.float64)
        factor[tuple(torch.tril_indices(size, size))] = self.factor.double()
        roots = _distances(features[:, :FEATURES].cpu(), self.means.double(), factor).pow(1 / 3)
        return torch.special.log_ndtr((self.scale[0] - roots) / self.scale[1])


def pick(features: Tensor, signatures: Sequence[Signature]) -> Tensor:
    """Pick the task that fits best.

    Args:
        features: float32, shape `(n, D)`.
        signatures: Of the tasks, at least one.

    Returns:
        Position of the task, int64, shape `(n,)`; −1 where none is plausible.
    """
    best, position = torch.stack([each.log_p(features) for each in signatures], dim=1).max(dim=1)
    return torch.where(best.exp() > PLAUSIBLE, position, -1)


@dataclass(frozen=True)
class Tally:
    """How often one and the other were right about samples that neither had learned from.

    Attributes:
        models: Right answers of the models that the gate picks; a model's own share may be an expectation.
        anchor: Right answers of the anchor.
        asked: Samples.
    """

    models: float = 0.0
    anchor: float = 0.0
    asked: int = 0

    def plus(self, other: Tally) -> Tally:
        """Add another tally."""
        return Tally(self.models + other.models, self.anchor + other.anchor, self.asked + other.asked)

    def opens(self, same_classes: bool) -> bool:
        """Whether the models may answer.

        Where all tasks have the same classes, they must have been right at least as often: a wrong pick still answers
        among the right classes, and the anchor, which pools the domains, gets worse with each. Where classes differ, a
        wrong pick is a wrong answer, and what later models will take from earlier tasks is not in the tally: there the
        models must have been better by `ALLOWANCE` and clearly so (as if the two were independent, which errs to "no").

        Args:
            same_classes: Whether all tasks have the same classes.
        """
        if not self.asked:
            return False
        shares = (self.models / self.asked, self.anchor / self.asked)
        if same_classes:
            return shares[0] >= shares[1]
        variance = sum(max(share * (1 - share), 1 / self.asked) for share in shares) / self.asked
        return bool(shares[0] - shares[1] > ALLOWANCE + MARGIN * variance**0.5)


def _place(moments: Moments) -> tuple[Tensor, Tensor]:
    """Means, shape `(C, d)`, and the lower Cholesky factor of the shrunk covariance, shape `(d, d)`."""
    return moments.means, torch.linalg.cholesky(shrunk_covariance(moments))


def _distances(features: Tensor, means: Tensor, factor: Tensor) -> Tensor:
    """Squared Mahalanobis distance to the nearest mean, float64, shape `(n,)`."""

    def whitened(rows: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(factor, rows.double().T, upper=False).T

    x, mu = whitened(features), whitened(means)
    square = (x * x).sum(dim=1, keepdim=True) - 2 * x @ mu.T + (mu * mu).sum(dim=1)
    return square.min(dim=1).values.clamp_min(0)
