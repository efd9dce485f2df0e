"""What has a closed form: ridge, nearest class mean, neighbours, their leave-one-out scores, calibration.

Pure functions on tensors; `moments` has what needs sums over samples only. The FLOPs of decompositions are counted by
`flops.COUNTED`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Ridge penalties that are tried, as multiples of the mean squared singular value.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


def one_hot(y: Tensor, classes: int) -> Tensor:
    """Encode labels, int64 of shape `(n,)`, as float32 rows of shape `(n, classes)`."""
    return torch.nn.functional.one_hot(y, classes).to(torch.float32)


@dataclass(frozen=True)
class Ridge:
    """A ridge regression with an unpenalised intercept.

    Attributes:
        weight: Shape `(targets, d)`.
        bias: Shape `(targets,)`.
        penalty: λ, in absolute terms.
        loo: Leave-one-out predictions, shape `(n, targets)`.
        loo_mse: Their squared error, averaged over samples and targets.
    """

    weight: Tensor
    bias: Tensor
    penalty: float
    loo: Tensor
    loo_mse: float


def ridge(features: Tensor, targets: Tensor, penalties: tuple[float, ...] = PENALTIES) -> Ridge:
    """Fit ridge regression, choosing λ by exact leave-one-out squared error (Allen 1974, PRESS).

    One decomposition serves all λ: with centred features X = U S Vᵀ the smoother is H = 1/n + U diag(s²/(s²+λ)) Uᵀ and
    the residual of a sample left out is (y_i − ŷ_i) / (1 − h_ii).

    Args:
        features: Shape `(n, d)`, n >= 2.
        targets: Shape `(n, targets)`.
        penalties: Candidates for λ, as multiples of the mean of s².

    Returns:
        The fit with the smallest leave-one-out error; ties go to the larger λ.
    """
    n = len(features)
    x, y = features.double(), targets.double()
    mean_x, mean_y = x.mean(dim=0), y.mean(dim=0)
    x, y = x - mean_x, y - mean_y
    # Eigenvectors of the smaller of the two Gram matrices: n or d columns, whichever is less.
    wide = x.shape[1] > n
    values, vectors = torch.linalg.eigh(x @ x.T if wide else x.T @ x)
    square = values.clamp_min(0)  # s², (r,)
    scale = float(square.sum()) / max(1, min(n - 1, x.shape[1]))
    if scale <= 0:  # constant inputs: the mean is all there is to know
        loo = (targets.sum(dim=0) - targets) / (n - 1)
        mse = float(((targets - loo) ** 2).mean())
        return Ridge(torch.zeros(targets.shape[1], x.shape[1], device=x.device), mean_y.float(), 0.0, loo, mse)
    if wide:
        u = vectors  # (n, r)
    else:
        u = (x @ vectors) / square.sqrt().clamp_min(1e-12)
    uty = u.T @ y
    best: tuple[float, float, Tensor] | None = None
    for factor in sorted(penalties, reverse=True):
        penalty = factor * scale
        shrink = square / (square + penalty)
        fitted = (u * shrink) @ uty
        leverage = (1 / n + (u * u) @ shrink).clamp_max(1 - 1e-9)
        residual = (y - fitted) / (1 - leverage)[:, None]
        mse = float((residual**2).mean())
        if best is None or mse < best[0] - 1e-12:
            best = (mse, penalty, residual)
    assert best is not None  # noqa: S101 - PENALTIES is not empty
    mse, penalty, residual = best
    if wide:
        weight = ((u / (square + penalty)) @ uty).T @ x
    else:
        weight = ((vectors * (square.sqrt() / (square + penalty))) @ uty).T
    bias = mean_y - weight @ mean_x
    return Ridge(weight.float(), bias.float(), penalty, (targets - residual).float(), mse)


def class_means(features: Tensor, y: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Average the features of every class.

    Args:
        features: Shape `(n, d)`.
        y: Labels, shape `(n,)`.
        classes: Number of classes.

    Returns:
        Means, shape `(classes, d)` (zero where a class has no sample), and counts, shape `(classes,)`.
    """
    indicator = one_hot(y, classes).to(features.dtype)  # (n, C)
    counts = indicator.sum(dim=0)
    return (indicator.T @ features) / counts.clamp_min(1)[:, None], counts


def ncm_leave_one_out(features: Tensor, y: Tensor, classes: int) -> float | None:
    """Accuracy of the nearest class mean when each sample is left out of its own mean.

    The mean of class c without sample i lies at x_i + (μ_c − x_i)·n_c/(n_c − 1), so its squared distance to x_i is
    ‖x_i − μ_c‖²·(n_c/(n_c − 1))².

    Args:
        features: Shape `(n, d)`.
        y: Labels, shape `(n,)`.
        classes: Number of classes.

    Returns:
        Accuracy over the samples whose class has another one; None where there is none.
    """
    features = features.double()  # the expanded square below cancels digits where all features lie far from the origin
    means, counts = class_means(features, y, classes)
    usable = counts[y] > 1
    if not bool(usable.any()):
        return None
    f, labels = features[usable], y[usable]
    distance = (f * f).sum(1, keepdim=True) - 2 * f @ means.T + (means * means).sum(1)  # (m, C)
    distance = distance.masked_fill(counts[None] == 0, float("inf"))
    own = counts[labels]
    rows = torch.arange(len(labels), device=labels.device)
    distance[rows, labels] *= (own / (own - 1)) ** 2
    return float((distance.argmin(dim=1) == labels).float().mean())


def knn_leave_one_out(features: Tensor, y: Tensor, classes: int, k: int = 5) -> float | None:
    """Accuracy of cosine k-nearest neighbours, each sample left out; ties in votes go to the greater similarity.

    Args:
        features: Shape `(n, d)`.
        y: Labels, shape `(n,)`.
        classes: Number of classes.
        k: Neighbours; at most n − 1 are taken.

    Returns:
        The accuracy; None for fewer than two samples.
    """
    n = len(features)
    if n < 2:
        return None
    unit = features / features.norm(dim=1, keepdim=True).clamp_min(1e-12)
    similarity = unit @ unit.T
    similarity.fill_diagonal_(-float("inf"))
    near, index = similarity.topk(min(k, n - 1), dim=1)  # (n, k)
    votes = torch.zeros(n, classes, dtype=features.dtype, device=features.device)
    votes.scatter_add_(1, y[index], 1 + 1e-3 * (1 + near))  # similarity decides ties only
    return float((votes.argmax(dim=1) == y).float().mean())


def oas_shrinkage(covariance: Tensor, samples: float) -> float:
    """Shrinkage towards a multiple of the identity by oracle approximation (Chen 2010, arXiv 0907.4698).

    Needs the covariance and the number of samples only, so it can be had from additive statistics (Ledoit–Wolf's
    estimate needs fourth moments around the final means, which cannot).

    Args:
        covariance: Maximum-likelihood covariance, shape `(d, d)`.
        samples: Number of samples behind it.

    Returns:
        Shrinkage in [0, 1].
    """
    square_mean = float((covariance * covariance).mean())
    return oas_shrinkage_of(square_mean, float(covariance.diagonal().mean()), covariance.shape[0], samples)


def oas_shrinkage_of(square_mean: float, mu: float, d: int, samples: float) -> float:
    """Do what `oas_shrinkage` does where the covariance is too big to be written out.

    Args:
        square_mean: Mean of the squares of its entries.
        mu: Mean of its diagonal.
        d: Number of its rows.
        samples: Number of samples behind it.

    Returns:
        Shrinkage in [0, 1].
    """
    numerator = square_mean + mu * mu
    denominator = (samples + 1) * (square_mean - mu * mu / d)
    return 1.0 if denominator <= 0 else min(1.0, numerator / denominator)


def temperature(logits: Tensor, y: Tensor, steps: int = 40) -> float:
    """Find the temperature that minimises the log-loss (Guo 2017), by golden-section search on its logarithm.

    Args:
        logits: Held-out logits, shape `(n, C)`.
        y: Their labels, shape `(n,)`.
        steps: Halvings of the interval [1/100, 10,000].

    Returns:
        The temperature.
    """
    ratio = (5**0.5 - 1) / 2
    low, high = -4.605, 9.21  # the loss is unimodal in 1/T

    def loss(log_t: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits / float(torch.tensor(log_t).exp()), y))

    a, b = high - ratio * (high - low), low + ratio * (high - low)
    loss_a, loss_b = loss(a), loss(b)
    for _ in range(steps):
        if loss_a <= loss_b:
            high, b, loss_b = b, a, loss_a
            a = high - ratio * (high - low)
            loss_a = loss(a)
        else:
            low, a, loss_a = a, b, loss_b
            b = low + ratio * (high - low)
            loss_b = loss(b)
    return float(torch.tensor((low + high) / 2).exp())


def match_labels(predicted: Tensor, y: Tensor, outputs: int, classes: int) -> tuple[list[int], float]:
    """Match a stored head's outputs to a task's classes so that most samples agree (Kuhn 1955, Munkres).

    Args:
        predicted: Output that the head gives every sample, shape `(n,)`.
        y: Labels, shape `(n,)`.
        outputs: Number of outputs of the head, at least `classes`.
        classes: Number of classes of the task.

    Returns:
        For every class the output that stands for it, and the share of samples that then agree. The identity wins
        ties.
    """
    from scipy.optimize import linear_sum_assignment

    counts = torch.zeros(classes, outputs, device=y.device)
    counts.index_put_((y, predicted), torch.ones((), device=y.device).expand(len(y)), accumulate=True)
    same = torch.arange(min(classes, outputs), device=y.device)
    counts[same, same] += 0.5 / max(1, classes)  # less than one sample in all
    rows, columns = linear_sum_assignment(counts.cpu().numpy(), maximize=True)
    order = [int(column) for _, column in sorted(zip(rows, columns, strict=True))]
    chosen = torch.tensor(order, device=y.device)
    return order, float((predicted == chosen[y]).float().mean())


def matched_agreement(predicted: Tensor, y: Tensor, outputs: int, classes: int, folds: int = 10) -> float:
    """Tell on which share of the samples a stored head is right when its outputs are matched on the other ones.

    On few samples of many classes the best matching agrees by luck: it has `outputs!` ways to. So each fold is judged
    by what was matched without it; the samples of a class are dealt out in turn.

    Args:
        predicted: Output that the head gives every sample, shape `(n,)`.
        y: Labels, shape `(n,)`.
        outputs: Number of outputs of the head, at least `classes`.
        classes: Number of classes of the task.
        folds: Into how many parts the samples are dealt, at most one each.

    Returns:
        From 0 to 1; 0 for a single sample.
    """
    n = len(y)
    if n < 2:
        return 0.0
    folds = min(folds, n)
    # Sorted by class: neighbours of a class go to different folds, and every fold has about as many samples.
    fold = torch.empty_like(y)
    fold[torch.sort(y, stable=True).indices] = torch.arange(n, device=y.device) % folds
    right = 0.0
    for k in range(folds):
        out = fold == k
        order, _ = match_labels(predicted[~out], y[~out], outputs, classes)
        right += float((predicted[out] == torch.tensor(order, device=y.device)[y[out]]).sum())
    return right / n
