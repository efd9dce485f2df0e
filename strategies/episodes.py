"""Episodes of meta-training: kept tasks whose samples are dealt out anew."""

from __future__ import annotations

import torch
from torch import Tensor

from ..agent.known import Episode, Known
from ..streams.task import Task
from .meta_gradient import Split
from .reptile import Batches


def teaches(episode: Episode) -> bool:
    """Whether an episode has something to tell apart, to adapt on and to be judged by."""
    several = episode.kind == "regression" or episode.outputs > 1
    return several and len(episode.support) > 0 and len(episode.query) > 0


def deal(episode: Episode, shots: int, queries: int, rng: torch.Generator, device: torch.device | None = None) -> Split:
    """Split an episode's samples anew, each class in the proportion in which they came.

    Args:
        episode: Support and query part are put together and dealt out again.
        shots: Support samples of a class, at most; a regression task keeps its number.
        queries: Query samples of a class, likewise.
        rng: Draws the split.
        device: Where it is wanted; None leaves it where it is.

    Returns:
        Support inputs and targets, query inputs and targets.
    """
    x = torch.cat([episode.support.x, episode.query.x]).to(device)
    y = torch.cat([episode.support.y, episode.query.y]).to(device)
    if episode.kind == "regression":
        mixed, n = torch.randperm(len(y), generator=rng).to(y.device), len(episode.support)
        return x[mixed[:n]], y[mixed[:n]], x[mixed[n:]], y[mixed[n:]]
    mixed = torch.randperm(len(y), generator=rng).to(y.device)
    mixed = mixed[y[mixed].argsort(stable=True)]  # class by class, within a class at random
    c, counts = y[mixed], y.bincount(minlength=episode.outputs)
    rank = torch.arange(len(y), device=y.device) - (counts.cumsum(0) - counts)[c]
    given = episode.support.y.bincount(minlength=episode.outputs)[c]
    s, q = mixed[rank < given.clamp(max=shots)], mixed[(rank >= given) & (rank < given + queries)]
    return x[s], y[s], x[q], y[q]


def counts_of(episode: Episode) -> tuple[Tensor, Tensor]:
    """Count the samples of every class in an episode's support and query part, each of shape `(outputs,)`."""
    support, query = (part.y.bincount(minlength=episode.outputs) for part in (episode.support, episode.query))
    return support, query


def encoding(known: Known, task: Task) -> tuple[float, int]:
    """Tell what the agent's network takes to encode one sample, in FLOPs, and how many features it has."""
    encoder = known.fresh(task, torch.Generator().manual_seed(0)).encoder
    return encoder.cost.flops, encoder.feature_size


def is_wide(episode: Episode, classes: int, each: int) -> bool:
    """Whether so many classes of an episode have so many samples: it can teach by all of them at once.

    Args:
        episode: The task's samples.
        classes: How many classes make it wide.
        each: Samples that a class must have.
    """
    if episode.kind == "regression":
        return False
    support, query = counts_of(episode)
    return int((support + query >= each).sum()) >= classes


def draw_wide(
    episode: Episode, ways: int, each: int, rng: torch.Generator, device: torch.device | None = None
) -> Tensor:
    """Draw the samples of a wide episode, in which everyone is support and query in turn.

    Args:
        episode: The task's samples, support and query part put together; at least one class has `each` samples.
        ways: Classes, at most.
        each: Samples of every class.
        rng: Draws classes and samples.
        device: Where they are wanted; None leaves them where they are.

    Returns:
        Inputs, class by class, shape `(C * each, *input_shape)`.
    """
    y = torch.cat([episode.support.y, episode.query.y]).cpu()
    counts = y.bincount(minlength=episode.outputs)
    usable = (counts >= each).nonzero().flatten()
    drawn = usable[torch.randperm(len(usable), generator=rng)[:ways]]
    mixed = torch.randperm(len(y), generator=rng)
    mixed = mixed[y[mixed].argsort(stable=True)]  # class by class, within a class at random
    first = counts.cumsum(0) - counts
    index = mixed[first[drawn][:, None] + torch.arange(each)].flatten()
    n = len(episode.support)
    x = episode.support.x.new_empty(len(index), *episode.support.x.shape[1:])
    asked = index >= n
    x[~asked] = episode.support.x[index[~asked].to(x.device)]
    x[asked] = episode.query.x[index[asked].to(x.device) - n]
    return x.to(device)


def deal_batches(split: Split, steps: int, rng: torch.Generator) -> Batches:
    """Deal all samples of a split out to the steps of Reptile's inner loop.

    Args:
        split: Support and query set; here both are learned from.
        steps: Steps of the inner loop.
        rng: Decides the order.

    Returns:
        For every step as many samples, none of them twice; with fewer samples than steps one a step, in turn.
    """
    x, y = torch.cat([split[0], split[2]]), torch.cat([split[1], split[3]])
    order = torch.randperm(len(y), generator=rng).to(y.device)
    size = max(1, len(y) // steps)
    parts = [order[(torch.arange(size, device=y.device) + k * size) % len(y)] for k in range(steps)]
    return [(x[part], y[part]) for part in parts]
