"""The order in which tasks come: as written, drawn, from easy to hard, or the most similar next.

Difficulty and similarity are measured on the training samples alone, and without any learning, so that the order is
known before the run and the same for every agent:

- difficulty of a task: error of the nearest class mean on the inputs as they are, each sample left out of its own mean
  (regression: mean squared error of the nearest other sample's target over the targets' variance);
- distance of two tasks: for every class of either, how far its mean lies from the nearest class mean of the other, in
  root mean squared differences per input value, averaged. Tasks on the same classes are near each other, whatever their
  labels.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .seeds import derive

if TYPE_CHECKING:
    from torch import Tensor

    from .spec import Order, TaskSpec
    from .task import Samples, Task

MEASURED = ("easy-to-hard", "similar-first")
# Samples of a task that are looked at, at most: the first ones, which are a random draw.
MOST = 2000


def given_order(order: Order, tasks: Sequence[TaskSpec], seed: int) -> list[int]:
    """Order tasks without looking at data.

    Args:
        order: Of the recipe; one that is measured leaves the tasks as they are written.
        tasks: The tasks as written.
        seed: Draws a random order.

    Returns:
        Written positions in the order in which the tasks come.
    """
    if order != "random":
        return list(range(len(tasks)))
    rng = random.Random(derive(seed, "order"))
    keys = [rng.random() for _ in tasks]
    return arrange(tasks, lambda placed, i: keys[i])


def measured_order(order: Order, specs: Sequence[TaskSpec], tasks: Sequence[Task]) -> list[int]:
    """Order tasks by what their training samples say.

    Args:
        order: "easy-to-hard" or "similar-first": the first task as written, then always the one that is nearest to the
            one before.
        specs: The tasks as written.
        tasks: The same tasks, built.

    Returns:
        Written positions in the order in which the tasks come.
    """
    if order == "easy-to-hard":
        hard = [difficulty(task) for task in tasks]
        return arrange(specs, lambda placed, i: hard[i])
    means = [class_means(task) for task in tasks]
    return arrange(specs, lambda placed, i: distance(means[placed[-1]], means[i]) if placed else float(i))


def arrange(tasks: Sequence[TaskSpec], key: Callable[[list[int], int], float]) -> list[int]:
    """Put the task with the lowest key next, among those that may come next.

    A task may come once the task that it returns to, or takes its classes from, has come; the tasks of one phase come
    one after another, in their written order, and wait for what any of them needs.

    Args:
        tasks: The tasks as written.
        key: From the positions placed so far, and a position, to its key; on a tie the first as written comes first.

    Returns:
        Every position once.
    """
    place = {task.name: i for i, task in enumerate(tasks)}
    groups: list[list[int]] = []
    for i, task in enumerate(tasks):
        if task.phase is not None and groups and tasks[groups[-1][-1]].phase == task.phase:
            groups[-1].append(i)
        else:
            groups.append([i])
    needs = []
    for group in groups:
        names = (name for i in group for name in (tasks[i].returns, tasks[i].classes) if isinstance(name, str))
        needs.append({place[name] for name in names if name in place} - set(group))
    placed: list[int] = []
    waiting = list(range(len(groups)))
    while waiting:
        ready = [g for g in waiting if needs[g] <= set(placed)] or waiting[:1]  # what is wrong is said elsewhere
        chosen = min(ready, key=lambda g: (key(placed, groups[g][0]), g))
        placed += groups[chosen]
        waiting.remove(chosen)
    return placed


def difficulty(task: Task) -> float:
    """Say how hard a task is, without learning it.

    Args:
        task: The task; its support set is looked at.

    Returns:
        Share of wrong answers of the nearest class mean, leave-one-out; regression: relative squared error of the
        nearest neighbour.
    """
    import torch

    x, y = _flat(task.support)
    if task.kind == "regression":
        apart = torch.cdist(x, x) + torch.diag(torch.full((len(x),), float("inf")))
        return float(((y - y[apart.argmin(dim=1)]) ** 2).mean() / y.var(unbiased=False).clamp(min=1e-12))
    means, counts = _means(x, y, task.outputs)
    squared = torch.cdist(x, means) ** 2
    own = counts[y].clamp(min=2)
    rows = torch.arange(len(y))
    squared[rows, y] *= (own / (own - 1)) ** 2  # as if the sample were not part of its mean
    squared[:, counts == 0] = float("inf")
    return float((squared.argmin(dim=1) != y).float().mean())


def class_means(task: Task) -> Tensor:
    """Say what a task looks like.

    Args:
        task: The task; its support set is looked at.

    Returns:
        The mean input of every class that has samples, shape `(classes, d)`; regression: inputs and targets side by
        side, one mean for each fifth of the range of the first input.
    """
    import torch

    x, y = _flat(task.support)
    if task.kind == "regression":
        both = torch.cat([x, y.flatten(1)], dim=1)
        low, high = x[:, 0].min(), x[:, 0].max()
        bins = ((x[:, 0] - low) / (high - low).clamp(min=1e-12) * 5).long().clamp(max=4)
        means, counts = _means(both, bins, 5)
        return means[counts > 0]
    means, counts = _means(x, y, task.outputs)
    return means[counts > 0]


def distance(one: Tensor, other: Tensor) -> float:
    """Return the distance of two tasks by their class means, shapes `(m, d)` and `(n, d)`; 0 for equal ones."""
    import torch

    apart = torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist") / one.shape[1] ** 0.5
    return float(torch.cat([apart.min(dim=1).values, apart.min(dim=0).values]).mean())


def _flat(samples: Samples) -> tuple[Tensor, Tensor]:
    return samples.x[:MOST].flatten(1), samples.y[:MOST]


def _means(x: Tensor, y: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    import torch

    counts = torch.bincount(y, minlength=classes).to(x.dtype)
    sums = torch.zeros(classes, x.shape[1]).index_add_(0, y, x)
    return sums / counts.clamp(min=1)[:, None], counts
