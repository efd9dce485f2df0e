"""Which samples of a task are held back to score what is being learned; never test data."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..streams.task import Samples, Task

# A class gives up samples only if it has at least this many.
SMALLEST_CLASS = 5


def hold_out(task: Task, share: float, rng: torch.Generator) -> tuple[Task, Samples | None]:
    """Split a task into what a strategy sees and what its driver scores it on.

    A task with a query part is scored on that. Otherwise a share of the support set is drawn class by class; a task
    with a class of fewer than five samples holds nothing back.

    Args:
        task: The task.
        share: Share of the support set to hold back, 0 to less than 1.
        rng: Draws the samples.

    Returns:
        The task without query part and held-out samples, and the held-out samples (None for none).
    """
    bare = replace(task, query=None)
    if task.query is not None and len(task.query):
        return bare, task.query
    if share <= 0:
        return bare, None
    y = task.support.y
    groups = [torch.arange(len(y))]
    if task.kind == "classification":
        groups = [torch.nonzero(y.cpu() == c).flatten() for c in range(task.outputs)]
    if min(len(group) for group in groups) < SMALLEST_CLASS:
        return bare, None
    held = []
    for group in groups:
        shuffled = group[torch.randperm(len(group), generator=rng)]
        held.append(shuffled[: min(max(1, round(share * len(group))), len(group) - 1)])  # one is left to learn from
    mask = torch.zeros(len(y), dtype=torch.bool)
    mask[torch.cat(held)] = True
    index = torch.arange(len(y))
    support = task.support.pick(index[~mask].to(y.device))
    return replace(bare, support=support), task.support.pick(index[mask].to(y.device))
