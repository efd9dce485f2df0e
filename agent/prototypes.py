"""Prototypes of classes that withstand outliers, and metrics learned from what lies around them; all in closed form.

Pure functions on features. The plain prototype is the class mean (`closed_form.class_means`; Snell 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .closed_form import class_means, oas_shrinkage_of, one_hot

Kind = Literal["mean", "shrunk", "median", "edited"]
# Weiszfeld's iterations: from the mean, the median of a few samples has settled to three digits after some twenty.
MEDIAN_STEPS = 30
EDITS = 5
LEAST_BETWEEN = 0.1  # of the variance that the means have by chance


def prototypes_of(features: Tensor, y: Tensor, classes: int, kind: Kind = "mean") -> Tensor:
    """Find one prototype per class.

    Args:
        features: Shape `(n, d)`.
        y: Labels, shape `(n,)`.
        classes: Number of classes.
        kind: "mean"; "shrunk" towards the mean of all classes, "median" (geometric), or "edited".

    Returns:
        Shape `(classes, d)`; zero where a class has no sample.
    """
    if kind == "shrunk":
        return shrunk_means(features, y, classes)
    if kind == "median":
        return geometric_medians(features, y, classes)
    if kind == "edited":
        return edited_means(features, y, classes)[0]
    return class_means(features, y, classes)[0]


def shrunk_means(features: Tensor, y: Tensor, classes: int) -> Tensor:
    """Shrink class means towards their common mean by empirical Bayes (Efron & Morris 1973).

    A class of n samples keeps the share b / (b + w / n) of what sets it apart, with the variance w within classes and b
    between them, both estimated from all classes: the fewer samples and the noisier, the less. The estimate of b may
    fall below zero; it is held at a tenth of the means' own error, lest all prototypes fall together.

    Args:
        features: Shape `(n, d)`.
        y: Labels, shape `(n,)`.
        classes: Number of classes.

    Returns:
        Shape `(classes, d)`; zero where a class has no sample. With one class, or one sample of each, the plain means:
        nothing tells the two variances apart then.
    """
    means, counts = class_means(features, y, classes)
    there = counts > 0
    number = int(there.sum())
    if number < 2 or len(features) <= number:
        return means
    common = means[there].mean(dim=0)
    within = ((features - means[y]) ** 2).sum() / (len(features) - number)
    spread = ((means[there] - common) ** 2).sum() / (number - 1)
    error = within * (1 / counts[there]).mean()
    between = torch.maximum(spread - error, LEAST_BETWEEN * error)
    kept = between / (between + within / counts.clamp_min(1)).clamp_min(1e-12)
    return torch.where(there[:, None], common + kept[:, None] * (means - common), means)


def geometric_medians(features: Tensor, y: Tensor, classes: int, steps: int = MEDIAN_STEPS) -> Tensor:
    """Find the point of every class whose distances to its samples have the smallest sum (Weiszfeld 1937).

    Half of a class may be wrong before its median can be led away at will; a single sample does that to a mean.

    Args:
        features: Shape `(n, d)`.
        y: Labels, shape `(n,)`.
        classes: Number of classes.
        steps: Iterations, each a mean weighted by the inverse distances of the last one.

    Returns:
        Shape `(classes, d)`; zero where a class has no sample.
    """
    medians, _ = class_means(features, y, classes)
    near = float((features - medians[y]).norm(dim=1).mean()) * 1e-6
    if near == 0:  # every sample is its class's prototype
        return medians
    for _ in range(steps):
        weights = 1 / (features - medians[y]).norm(dim=1).clamp_min(near)  # (n,)
        share = one_hot(y, classes).to(features.dtype) * weights[:, None]  # (n, C)
        medians = (share.T @ features) / share.sum(dim=0).clamp_min(1e-12)[:, None]
    return medians


def edited_means(features: Tensor, y: Tensor, classes: int, rounds: int = EDITS) -> tuple[Tensor, Tensor]:
    """Average the samples of every class that lie nearer to its own prototype than to others' (after Wilson 1972).

    It begins with the medians and goes on with the means of what was kept. A wrong label is noticed by what its sample
    resembles instead, which a median does not look at. A class of which nothing is kept keeps everything.

    Args:
        features: Shape `(n, d)`.
        y: Labels, shape `(n,)`.
        classes: Number of classes.
        rounds: How often samples are judged anew.

    Returns:
        Prototypes, shape `(classes, d)`, zero where a class has no sample; and which samples were kept, bool,
        shape `(n,)`.
    """
    found = geometric_medians(features, y, classes)
    kept = torch.ones_like(y, dtype=torch.bool)
    empty = y.bincount(minlength=classes) == 0
    for _ in range(rounds):
        square = (found * found).sum(dim=1) - 2 * features @ found.T  # (n, C), without the part all classes share
        kept = square.masked_fill(empty, float("inf")).argmin(dim=1) == y
        kept |= (one_hot(y[kept], classes).sum(dim=0) == 0)[y]
        found, _ = class_means(features[kept], y[kept], classes)
    return found, kept


@dataclass(frozen=True)
class Metric:
    """A Mahalanobis metric M = diag(scale) − basisᵀ diag(damp) basis, never negative.

    Attributes:
        scale: Shape `(d,)`.
        basis: Orthonormal directions, shape `(r, d)`.
        damp: What is taken off along them, shape `(r,)`.
    """

    scale: Tensor
    basis: Tensor
    damp: Tensor

    def times(self, x: Tensor) -> Tensor:
        """Return M x for every row of `x`, shape `(n, d)`."""
        return x * self.scale - ((x @ self.basis.T) * self.damp) @ self.basis

    def linear(self, prototypes: Tensor) -> tuple[Tensor, Tensor]:
        """Write `−(f − p)ᵀ M (f − p)` without the part all classes share as a linear function of f.

        Args:
            prototypes: p, shape `(classes, d)`.

        Returns:
            Weight 2 M p, shape `(classes, d)`, and bias −pᵀ M p, shape `(classes,)`.
        """
        weight = self.times(prototypes)
        return 2 * weight, -(weight * prototypes).sum(dim=1)


def within_class_metric(
    features: Tensor, y: Tensor, prototypes: Tensor, kind: Literal["diagonal", "low-rank"], rank: int
) -> Metric:
    """Learn a metric in which the scatter around the prototypes is round: what varies within classes counts less.

    The inverse of the pooled within-class covariance, shrunk towards a multiple of the identity by oracle approximation
    (Chen 2010), and of that its diagonal, or its `rank` widest directions with all others alike. It is scaled so that M
    is one where the shrunk variance is the mean one ("diagonal") or that of the others ("low-rank").

    Args:
        features: Shape `(n, d)`.
        y: Labels, shape `(n,)`.
        prototypes: Shape `(classes, d)`.
        kind: Which part of the covariance is kept.
        rank: Directions of "low-rank", at most; n − classes are the most there are.

    Returns:
        The metric; the Euclidean one where nothing varies within classes.
    """
    n, d = features.shape
    apart = features.double() - prototypes[y].double()
    freedom = n - int(y.unique().numel())
    flat = Metric(features.new_ones(d), features.new_zeros(0, d), features.new_zeros(0))
    variance = (apart * apart).sum(dim=0) / n
    mean = float(variance.mean())
    if freedom < 1 or mean <= 1e-12:
        return flat
    values, vectors = torch.linalg.eigh((apart @ apart.T if n <= d else apart.T @ apart) / n)
    values = values.clamp_min(0)
    shrinkage = oas_shrinkage_of(float((values * values).sum()) / d**2, mean, d, n)
    if kind == "diagonal":
        scale = mean / ((1 - shrinkage) * variance + shrinkage * mean).clamp_min(1e-3 * mean)
        return Metric(scale.to(features.dtype), flat.basis, flat.damp)
    r = min(rank, freedom, d - 1)
    top = values.flip(0)[:r]
    rest = float((values.sum() - top.sum()).clamp_min(0)) / (d - r)
    alike = max((1 - shrinkage) * rest + shrinkage * mean, 1e-6 * mean)
    directions = vectors.flip(1)[:, :r].T  # (r, n) or (r, d)
    if n <= d:
        directions = (directions @ apart) / (top * n).sqrt().clamp_min(1e-12)[:, None]
    damp = 1 - alike / ((1 - shrinkage) * top + shrinkage * mean).clamp_min(alike)
    return Metric(flat.scale, directions.to(features.dtype), damp.to(features.dtype))


def folds_of(y: Tensor, most: int = 5) -> Tensor:
    """Deal samples out so that every class is spread evenly over the folds.

    Args:
        y: Labels, shape `(n,)`.
        most: Number of folds; fewer where no class has so many samples.

    Returns:
        Fold of every sample, int64, shape `(n,)`.
    """
    order = y.argsort(stable=True)
    counts = y.bincount()
    rank = torch.empty_like(y)
    rank[order] = torch.arange(len(y), device=y.device) - (counts.cumsum(0) - counts)[y[order]]
    return rank % max(1, min(most, int(counts.max())))
