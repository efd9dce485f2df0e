"""What a run cost: work with choosing apart, time, and what is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .measure import Measure, Undefined, one


def paid(learned: Mapping[str, Any], bounded: Mapping[str, Any] | None, what: str) -> float | None:
    """Add up what a task cost: its own account, and making room for it in the store.

    Args:
        learned: Its `Learned` as JSON.
        bounded: Its `Bounded` as JSON; None where the store's bytes are not bounded.
        what: "flops" or "seconds".

    Returns:
        The sum; None where it is not a number.

    Raises:
        KeyError: If an account does not hold what it must hold.
    """
    parts = [learned["total_flops" if what == "flops" else what], *([bounded[what]] if bounded else [])]
    known = [float(part) for part in parts if isinstance(part, int | float) and math.isfinite(part)]
    return math.fsum(known) if len(known) == len(parts) else None


def flops_per_task(spent: Sequence[float]) -> Measure:
    """Mean FLOPs per task: measuring, choosing, learning, and work for later tasks; evaluation is not among them.

    Args:
        spent: FLOPs of every task that was learned.
    """
    convention = "mean over tasks of the FLOPs of measuring, choosing, learning and work for later tasks"
    return one("FLOPs per task", convention, lambda: _mean(spent))


def selection_share(choosing: Sequence[float], spent: Sequence[float]) -> Measure:
    """Share of all FLOPs that went into measuring what is known and choosing, apart from learning.

    Args:
        choosing: FLOPs of profile and choice, per task.
        spent: FLOPs in all, per task.
    """
    convention = "FLOPs of measuring what is known and of choosing, as a share of all FLOPs"

    def formula() -> float:
        whole = math.fsum(spent)
        if not whole:
            raise Undefined("nothing was spent yet")
        return math.fsum(choosing) / whole

    return one("share of choosing", convention, formula)


def seconds_per_task(seconds: Sequence[float]) -> Measure:
    """Mean CPU seconds per task; evaluation is not among them.

    Args:
        seconds: CPU seconds of every task that was learned.
    """
    return one("CPU seconds per task", "mean CPU seconds per task, evaluation left out", lambda: _mean(seconds))


def peak_per_task(peaks: Sequence[float]) -> Measure:
    """Mean over tasks of the most resident memory while a task was measured, chosen for and learned.

    Args:
        peaks: Bytes, of every task that was learned, the program included.
    """
    convention = (
        "mean over tasks of the most memory that the process held while the task was measured, chosen for and learned, "
        "the program itself included (Linux; elsewhere the most since the process began)"
    )

    def formula() -> float:
        if not peaks:
            raise Undefined("the record does not have it")
        return _mean(peaks)

    return one("peak memory per task", convention, formula)


def bytes_per_task(store: Sequence[float]) -> Measure:
    """Bytes kept at the end, per task that was learned.

    Args:
        store: Bytes kept after every task.
    """

    def formula() -> float:
        if not store:
            raise Undefined("nothing was learned yet")
        return store[-1] / len(store)

    return one("bytes kept per task", "bytes of weights, statistics and samples kept at the end, over tasks", formula)


def model_size_efficiency(store: Sequence[float]) -> Measure:
    """min(1, mean over i of Mem(θ_1) / Mem(θ_i)) (Díaz-Rodríguez et al. 2018, arXiv 1810.13166).

    Args:
        store: Bytes kept after every task.
    """
    convention = (
        "mean over tasks of the bytes kept after the first task over those after the task, at most 1 (1: nothing was "
        "added); Díaz-Rodríguez et al. 2018"
    )

    def formula() -> float:
        if not store or not all(store):
            raise Undefined("nothing was learned yet" if not store else "nothing was kept after some task")
        return min(1.0, math.fsum(store[0] / each for each in store) / len(store))

    return one("model-size efficiency", convention, formula)


def _mean(values: Sequence[float]) -> float:
    if not values:
        raise Undefined("nothing was learned yet")
    return math.fsum(values) / len(values)
