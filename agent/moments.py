"""Linear classifiers from sums over samples: nearest mean, shrunk LDA, ridge; what they know depends on no order.

Every sum is additive, so that joint training and any order of arrival give the same classifier. All three give classes
equal priors: one that came with fewer samples is not answered less often.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

# Ridge penalties that are tried, as multiples of the mean squared singular value.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)

Linear = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Moments:
    """Sums over samples x of C classes, float64; x are features, and nothing is centred.

    Attributes:
        counts: Samples of every class, shape `(C,)`.
        sums: Σ x of every class, shape `(C, d)`.
        second: Σ x xᵀ over all classes, shape `(d, d)`.
        squares: Σ ‖x‖² of every class, shape `(C,)`.
        cubes: Σ ‖x‖² x of every class, shape `(C, d)`.
        fourths: Σ ‖x‖⁴ of every class, shape `(C,)`.
    """

    counts: Tensor
    sums: Tensor
    second: Tensor
    squares: Tensor
    cubes: Tensor
    fourths: Tensor

    @classmethod
    def none(cls, classes: int, size: int) -> Moments:
        """Start with no samples of so many classes and features."""

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float64)

        rows, table = zeros(classes), zeros(classes, size)
        return cls(rows, table, zeros(size, size), rows.clone(), table.clone(), rows.clone())

    @classmethod
    def of(cls, features: Tensor, y: Tensor, classes: int) -> Moments:
        """Sum over samples.

        Args:
            features: float32, shape `(n, d)`, n >= 1.
            y: Labels, shape `(n,)`.
            classes: Number of classes.
        """
        x, y = features.double().cpu(), y.cpu()
        square = (x * x).sum(dim=1)

        def per_class(values: Tensor) -> Tensor:
            return torch.zeros(classes, *values.shape[1:], dtype=torch.float64).index_add_(0, y, values)

        return cls(
            per_class(torch.ones_like(square)),
            per_class(x),
            second_moment(features, y, classes).cpu(),
            per_class(square),
            per_class(square[:, None] * x),
            per_class(square * square),
        )

    def plus(self, other: Moments) -> Moments:
        """Add the sums over other samples of the same classes."""
        return Moments(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def placed(self, position: Tensor, classes: int) -> Moments:
        """Give every class a new place among more classes.

        Args:
            position: New position of every class, shape `(C,)`.
            classes: Number of classes there.
        """
        wider = Moments.none(classes, self.sums.shape[1])
        for name in ("counts", "sums", "squares", "cubes", "fourths"):
            getattr(wider, name)[position] = getattr(self, name)
        return Moments(wider.counts, wider.sums, self.second, wider.squares, wider.cubes, wider.fourths)

    @property
    def total(self) -> float:
        """Number of samples."""
        return float(self.counts.sum())

    @property
    def means(self) -> Tensor:
        """Mean of every class, shape `(C, d)`."""
        return self.sums / self.counts[:, None]

    @property
    def within(self) -> Tensor:
        """Pooled scatter about the class means, Σ (x − μ)(x − μ)ᵀ, shape `(d, d)`."""
        return self.second - self.sums.T @ self.means

    @property
    def within_fourth(self) -> float:
        """Σ ‖x − μ‖⁴ about the class means.

        The one part that needs each class's own second moment, Σ (xᵀμ)², takes the pooled scatter in its place: exact
        for a single class, and under the assumption of LDA that the classes have one covariance.
        """
        means, n = self.means, self.counts
        square = (means * means).sum(dim=1)
        along = (n / self.total) * ((means @ self.within) * means).sum(dim=1)
        sums = self.fourths - 4 * (means * self.cubes).sum(dim=1) + 2 * square * self.squares + n * square**2
        return float((sums + 4 * along).sum().clamp_min(0))


def second_moment(features: Tensor, y: Tensor, classes: int) -> Tensor:
    """Return the sum of `f fᵀ` over samples, float64.

    The large product is taken in float32, about the class means: that is exact to rounding also where the features lie
    far from the origin, and takes half as long as in float64.

    Args:
        features: float32, shape `(n, d)`, `n >= 1`.
        y: Labels, shape `(n,)`.
        classes: Number of classes.

    Returns:
        Shape `(d, d)`, symmetric to the last bit.
    """
    indicator = torch.nn.functional.one_hot(y.to(features.device), classes).to(features.dtype)  # (n, C)
    counts = indicator.sum(dim=0)
    means = (indicator.T @ features) / counts.clamp_min(1)[:, None]
    rest = features - indicator @ means
    product = (rest.T @ rest).double()
    left = (indicator.T @ rest).double()  # zero but for rounding
    cross, means = left.T @ means.double(), means.double()
    return (product + product.T) / 2 + cross + cross.T + (means * counts[:, None].double()).T @ means


def nearest_mean(moments: Moments) -> Linear:
    """Nearest class mean under one isotropic variance, so that the answers are probabilities and not just an order.

    Args:
        moments: Sums over samples, at least one of every class.

    Returns:
        Weight, float64, shape `(C, d)`, and bias, shape `(C,)`.
    """
    means, within = moments.means, moments.within
    dimensions = len(within)
    freedom = moments.total - len(means)
    variance = float(within.diagonal().sum()) / (freedom * dimensions) if freedom > 0 else 0.0
    if variance <= 1e-12:
        variance = float(((means - means.mean(dim=0)) ** 2).mean()) or 1.0
    weight = means / (variance * dimensions**0.5)
    return weight, -(means * means).sum(dim=1) / (2 * variance * dimensions**0.5)


def ledoit_wolf(covariance: Tensor, samples: float, fourth: float) -> float:
    """Shrinkage of a covariance towards a multiple of the identity (Ledoit & Wolf 2004, J. Multivariate Analysis 88).

    Args:
        covariance: Maximum-likelihood covariance, shape `(d, d)`.
        samples: Number of samples behind it.
        fourth: Σ ‖x‖⁴ over them, about their mean.

    Returns:
        Shrinkage in [0, 1].
    """
    square = float((covariance * covariance).sum())
    away = square - float(covariance.diagonal().sum()) ** 2 / len(covariance)  # d² of the paper, times the dimension
    spread = (fourth / samples - square) / samples  # b² likewise
    return 1.0 if away <= 0 else min(1.0, max(0.0, spread) / away)


def shrunk_covariance(moments: Moments) -> Tensor:
    """Pooled covariance within classes, shrunk after Ledoit and Wolf; positive definite whatever was seen.

    Args:
        moments: Sums over samples, at least one of every class.

    Returns:
        Shape `(d, d)`.
    """
    covariance = moments.within / moments.total
    shrinkage = ledoit_wolf(covariance, moments.total, moments.within_fourth)
    mu = covariance.diagonal().mean().clamp_min(1e-12)
    shrunk, ridge = (1 - shrinkage) * covariance, 1e-6 * mu
    shrunk.diagonal().add_(shrinkage * mu + ridge)
    # Sums of squares lose digits where all samples lie far from the origin: rounding may outweigh what was added.
    while int(torch.linalg.cholesky_ex(shrunk).info):
        ridge = 10 * ridge
        shrunk.diagonal().add_(ridge)
    return shrunk


def lda(moments: Moments) -> Linear:
    """Linear discriminant analysis with a pooled covariance, shrunk after Ledoit and Wolf.

    Args:
        moments: Sums over samples, at least one of every class.

    Returns:
        Weight, float64, shape `(C, d)`, and bias, shape `(C,)`.
    """
    means = moments.means
    weight = torch.linalg.solve(shrunk_covariance(moments), means.T).T
    return weight, -0.5 * (weight * means).sum(dim=1)


def ridge_from(moments: Moments, penalties: tuple[float, ...] = PENALTIES) -> Linear:
    """Ridge regression on the classes, its λ by generalised cross-validation (Golub, Heath & Wahba 1979).

    Leave-one-out needs every sample's leverage, which sums do not have; generalised cross-validation puts their mean in
    its place, and that is a trace: GCV(λ) = (‖y − ŷ‖²/n) / (1 − df/n)². Every class counts as if it had come with the
    mean number of samples, which changes nothing where they are equal. Outputs are divided by the residual variance
    that GCV estimates, so that their softmax is a probability: that of a Gaussian error around the one-hot targets.

    Args:
        moments: Sums over samples, at least one of every class.
        penalties: Candidates for λ, as multiples of the mean squared singular value.

    Returns:
        Weight, float64, shape `(C, d)`, and bias, shape `(C,)`; ties between penalties go to the larger.
    """
    means, n, classes = moments.means, moments.total, len(moments.counts)
    centre = means.mean(dim=0)
    cross = (n / classes) * (means - centre)  # (C, d), Σ (y − 1/C)(x − centre)ᵀ
    values, vectors = torch.linalg.eigh(moments.within + cross.T @ (means - centre))
    values = values.clamp_min(0)
    scale = float(values.sum()) / max(1.0, min(n - 1, len(values)))
    if classes == 1 or scale <= 0:
        return nearest_mean(moments)
    rotated = cross @ vectors  # (C, d)
    energy, whole = (rotated**2).sum(dim=0), n * (1 - 1 / classes)
    best: tuple[float, float] | None = None
    for factor in sorted(penalties, reverse=True):
        inverse = 1 / (values + factor * scale)
        residual = whole - float((energy * inverse * (2 - values * inverse)).sum())
        freedom = 1 + float((values * inverse).sum())
        gcv = max(residual, 0.0) / n / max(1 - freedom / n, 1e-6) ** 2
        if best is None or gcv < best[0] - 1e-12:
            best = (gcv, factor * scale)
    assert best is not None  # noqa: S101 - there are penalties
    variance = max(best[0] / classes, 1e-6)
    weight = (rotated / (values + best[1])) @ vectors.T / variance
    return weight, -(weight @ centre)
