"""Scores of what a representation is worth on a task, from the literature on transferability: references for our own.

Pure functions on features and labels; none looks at a label that it then is judged by.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .closed_form import one_hot


def logme(features: Tensor, y: Tensor, classes: int, steps: int = 11) -> float:
    """Return the logarithm of maximum evidence (You 2021, arXiv 2102.11005, algorithm 1 with MacKay's fixed point).

    Each class is a Bayesian linear regression of its indicator on the features, with the precisions of weights and
    noise that maximise the evidence. Of use only with more samples than features: else the evidence is the prior's.

    Args:
        features: Shape `(n, d)`.
        y: Labels, shape `(n,)`.
        classes: Number of classes.
        steps: Iterations of the fixed point, at most.

    Returns:
        The evidence in nats, per sample, averaged over classes.
    """
    f, targets = features.double(), one_hot(y, classes).double()
    n, d = f.shape
    u, s, _ = torch.linalg.svd(f, full_matrices=False)
    if float(s.max()) == 0:  # no weights explain anything: what is left is the evidence of the noise alone
        noise = [float((t := targets[:, c]) @ t) / n + 1e-9 for c in range(classes)]
        return -0.5 * sum(math.log(2 * math.pi * each) + 1 for each in noise) / classes
    square = s**2
    total = 0.0
    for c in range(classes):
        t = targets[:, c]
        z = u.T @ t
        outside = float((t @ t) - (z @ z))  # what no weights can explain
        alpha, beta = 1.0, 1.0
        for _ in range(steps):
            shrink = beta * square / (alpha + beta * square)
            gamma = float(shrink.sum())
            weight = float(((beta * s * z / (alpha + beta * square)) ** 2).sum())
            residual = float((((1 - shrink) * z) ** 2).sum()) + max(outside, 0.0)
            ratio = alpha / beta
            alpha, beta = gamma / (weight + 1e-9), (n - gamma) / (residual + 1e-9)
            if abs(alpha / beta - ratio) <= 1e-3 * ratio:
                break
        shrink = beta * square / (alpha + beta * square)
        weight = float(((beta * s * z / (alpha + beta * square)) ** 2).sum())
        residual = float((((1 - shrink) * z) ** 2).sum()) + max(outside, 0.0)
        log_det = float(torch.log(alpha + beta * square).sum()) + (d - len(square)) * float(
            torch.log(torch.tensor(alpha))
        )
        evidence = (
            d / 2 * float(torch.log(torch.tensor(alpha)))
            + n / 2 * float(torch.log(torch.tensor(beta)))
            - n / 2 * float(torch.log(torch.tensor(2 * torch.pi)))
            - beta / 2 * residual
            - alpha / 2 * weight
            - log_det / 2
        )
        total += evidence / n
    return total / classes


def h_score(features: Tensor, y: Tensor, classes: int) -> float:
    """Return the H-score, tr(Cov(f)⁺ Cov(E[f | y])) (Bao 2019, "An information-theoretic approach to transferability").

    Args:
        features: Shape `(n, d)`.
        y: Labels, shape `(n,)`.
        classes: Number of classes.

    Returns:
        From 0 to the number of classes less one; the higher the better.
    """
    f = features.double()
    f = f - f.mean(dim=0)
    indicator = one_hot(y, classes).double()
    counts = indicator.sum(dim=0)
    means = (indicator.T @ f) / counts.clamp_min(1)[:, None]
    of_means = means[y]
    within = torch.linalg.pinv(f.T @ f / len(f), hermitian=True)
    return float((within * (of_means.T @ of_means / len(f))).sum())
