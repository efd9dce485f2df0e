"""The loss that prototypical networks are trained with: the log-loss of queries by their distance to prototypes.

Prototypical networks (Snell 2017, arXiv 1703.05175, eqs. 1 and 2). A network enters by the features that it gave;
nothing here knows how they were made.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..agent.model import CosineHead

Distance = Literal["euclidean", "cosine"]


def similarity(queries: Tensor, prototypes: Tensor, distance: Distance = "euclidean") -> Tensor:
    """Compare queries with prototypes.

    Args:
        queries: Features, shape `(n, d)`.
        prototypes: Shape `(classes, d)`.
        distance: "euclidean" is the negative squared Euclidean distance, "cosine" ten times the cosine.

    Returns:
        Logits, shape `(n, classes)`.
    """
    if distance == "cosine":
        return CosineHead.SCALE * F.normalize(queries, dim=1) @ F.normalize(prototypes, dim=1).T
    square = (queries * queries).sum(dim=1, keepdim=True) + (prototypes * prototypes).sum(dim=1)
    return 2 * queries @ prototypes.T - square


def episode_loss(
    support: Tensor, y: Tensor, queries: Tensor, y_query: Tensor, classes: int, distance: Distance = "euclidean"
) -> Tensor:
    """Judge an encoder by one episode.

    Args:
        support: Features of the support samples, shape `(n, d)`; every class that is asked for has one at least.
        y: Their labels, shape `(n,)`.
        queries: Features of the queries, shape `(m, d)`.
        y_query: Their labels, shape `(m,)`.
        classes: Number of classes.
        distance: How queries are compared with prototypes.

    Returns:
        The mean log-loss of the queries, a scalar.
    """
    indicator = F.one_hot(y, classes).to(support.dtype)  # (n, C)
    counts = indicator.sum(dim=0)
    prototypes = (indicator.T @ support) / counts.clamp_min(1)[:, None]
    logits = similarity(queries, prototypes, distance).masked_fill(counts == 0, -float("inf"))
    return F.cross_entropy(logits, y_query)


def rotated_episodes_loss(features: Tensor, shots: int, distance: Distance = "euclidean") -> Tensor:
    """Judge an encoder by every rotation of one episode: K episodes for the price of encoding one.

    With K samples of every class, episode r has the samples r, …, r + shots − 1 (counted in a circle) of each class as
    its support and the others as queries. Encoding is what costs; distances between samples already encoded do not.

    Args:
        features: Shape `(C, K, d)`, K samples of each of C classes.
        shots: Support samples of a class, from 1 to K − 1.
        distance: How queries are compared with prototypes.

    Returns:
        The mean log-loss over all queries of all K episodes, a scalar.
    """
    classes, samples, size = features.shape
    if not 0 < shots < samples:
        raise ValueError(f"{shots} shots of {samples} samples leave no support or no query")
    rolled = torch.stack([features.roll(-i, dims=1) for i in range(shots)]).mean(dim=0)  # (C, K, d): support from r on
    prototypes = rolled.transpose(0, 1).reshape(samples * classes, size)
    logits = similarity(features.reshape(-1, size), prototypes, distance)
    logits = logits.view(classes, samples, samples, classes)  # class, sample, episode, class of the prototype
    place = torch.arange(samples, device=features.device)
    asked = (place[:, None] - place) % samples >= shots  # (sample, episode): whether the sample is a query there
    labels = torch.arange(classes, device=features.device)[:, None, None].expand(classes, samples, samples)
    asked = asked.expand(classes, samples, samples)
    return F.cross_entropy(logits[asked], labels[asked])
