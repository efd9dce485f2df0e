"""A recorded stream as arrays: what every strategy would have given on every task, for replay without learning.

The store's states are those of the recorded run, whatever is chosen in the replay: a choice changes its own reward and
not what comes later. That is what lets a table be replayed thousands of times a second, and what a chooser trained on
it does not learn. Where the recorded agent chose the same, the replay is what really happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..agent.features import FEATURES
from ..errors import RecordError
from .arm_table import ArmLine, read_table

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Recorded:
    """Recorded streams, padded to the longest: s streams, t tasks, a strategies, f features.

    Attributes:
        actions: Names of the strategies, in the order of the actions.
        lengths: Tasks of every stream, shape `(s,)`.
        observations: Profiles, shape `(s, t, f)`.
        masks: Which strategies apply, bool, shape `(s, t, a)`.
        taken: The strategy that learns where one is chosen, as an action: its own, or the one that stands in for one
            that does not apply or failed; shape `(s, t, a)`.
        accuracy: Accuracy (regression: R²) that it gives, shape `(s, t, a)`.
        flops: FLOPs that it spends, likewise.
        size: Bytes that it adds, likewise.
        forgetting: What earlier test sets lose through it, likewise.
        budget: FLOPs that may be spent on the task, shape `(s, t)`.
        task_bytes: Bytes of its support set, shape `(s, t)`.
    """

    actions: tuple[str, ...]
    lengths: NDArray[np.int64]
    observations: NDArray[np.float32]
    masks: NDArray[np.bool_]
    taken: NDArray[np.int64]
    accuracy: Floats
    flops: Floats
    size: Floats
    forgetting: Floats
    budget: Floats
    task_bytes: Floats


def recorded(folders: Sequence[Path]) -> Recorded:
    """Read recorded tables.

    Args:
        folders: Folders of runs beside which `evermap regret` ran every arm; all with the same strategies.

    Returns:
        The tables as arrays. Of each strategy the arm from the source that the agent's retrieval gives it is taken.

    Raises:
        RecordError: If a table is missing or damaged, its features or strategies are others, or a task of it has no
            arm that was valued.
    """
    if not folders:
        raise RecordError("There is no recorded table; give folders of `evermap regret`.")
    tables = [read_table(folder).arms for folder in folders]
    actions: tuple[str, ...] = ()
    lengths = np.array([len(table) for table in tables], dtype=np.int64)
    for folder, table in zip(folders, tables, strict=True):
        if not table or sorted(table) != list(range(len(table))):
            raise RecordError(f"{folder}: its table does not hold every task of a stream from the first on.")
        names = tuple(sorted(table[0][0].facts.mask))
        if actions and names != actions:
            raise RecordError(f"{folder}: has the strategies {', '.join(names)}; the others have {', '.join(actions)}.")
        actions = names
    shape = (len(tables), int(lengths.max()))
    arrays = {name: np.zeros((*shape, len(actions))) for name in ("accuracy", "flops", "size", "forgetting")}
    observations = np.zeros((*shape, len(FEATURES)), dtype=np.float32)
    masks, taken = np.zeros((*shape, len(actions)), dtype=bool), np.zeros((*shape, len(actions)), dtype=np.int64)
    budget, task_bytes = np.ones(shape), np.ones(shape)
    for s, (folder, table) in enumerate(zip(folders, tables, strict=True)):
        for t, arms in table.items():
            facts, first = arms[0].facts, _first_of_each(arms)
            if set(facts.features) != set(FEATURES):
                raise RecordError(f"{folder}: its features are not those of this evermap; record it again.")
            if not first:
                raise RecordError(f"{folder}: no arm of task {t + 1} was valued.")
            stand_in = first.get("scratch") or next(iter(first.values()))
            instead = first.get("prototype") or stand_in  # of what failed, as in learning
            observations[s, t] = [facts.features[name] for name in FEATURES]
            budget[s, t], task_bytes[s, t] = facts.budget, facts.task_bytes
            for a, name in enumerate(actions):
                arm = first.get(name, instead if facts.mask[name] else stand_in)
                if arm.forgetting is None:
                    raise RecordError(
                        f'{folder}: was recorded with sharing = "in-place", where the table cannot say what is '
                        "forgotten; replay needs versions."
                    )
                masks[s, t, a], taken[s, t, a] = name in first, actions.index(arm.strategy)
                arrays["accuracy"][s, t, a], arrays["flops"][s, t, a] = arm.accuracy, arm.flops
                arrays["size"][s, t, a], arrays["forgetting"][s, t, a] = arm.bytes, arm.forgetting
    return Recorded(actions, lengths, observations, masks, taken, budget=budget, task_bytes=task_bytes, **arrays)


def _first_of_each(arms: Sequence[ArmLine]) -> dict[str, ArmLine]:
    """Of every strategy that was valued the arm that its retrieval ranks first."""
    found: dict[str, ArmLine] = {}
    for arm in sorted(arms, key=lambda arm: arm.rank):
        if arm.accuracy is not None and (arm.rank == 0 or arm.strategy not in found):
            found.setdefault(arm.strategy, arm)
    return found
