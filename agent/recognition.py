"""Recognising a task that returns, also under other labels: a stored model that is right on it as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

from ..streams.task import Task
from .events import ProbeScore
from .probe import FEWEST_TO_RECOGNISE
from .selector import Option
from .workbench import Workbench

# Samples from which shares of right answers are compared without a margin.
FEW_TO_COMPARE = 30
# Agreement that needs no margin, as long as a new head is not better.
RECOGNISED = 0.97


def recognised(
    task: Task, options: Sequence[Option], bench: Workbench, scores: Mapping[str, ProbeScore], bound: float
) -> Option | None:
    """Find the stored model that agrees best, if a new head would not be better.

    A model of the very task (its label came before) was learned from samples that are gone: where they were as many as
    have come now or more, a new head must be better by two standard errors to replace it, else it is not taken. Any
    other one must agree at least as well as a new head left out, on few samples by a standard error better, and by what
    the best of several exceeds their mean by luck.

    Args:
        task: The task.
        options: Those that apply.
        bench: What is known for it.
        scores: Scores of what was probed, by candidate.
        bound: Leave-one-out accuracy of the best new head.

    Returns:
        The option of `reuse`; None where nothing is recognised.
    """
    reuse = {o: scores[o.source].reuse for o in options if o.strategy == "reuse" and o.source and o.source in scores}
    agreeing = {option: value for option, value in reuse.items() if value is not None}
    n = max((scores[str(option.source)].samples for option in agreeing), default=0)
    if n < FEWEST_TO_RECOGNISE:
        return None
    asked = sum(scores[str(option.source)].heads for option in agreeing)
    records = {source.id: {r.index: r for r in source.tasks} for source in bench.known.representations()}
    own: set[Option] = set()  # those whose best head is that of a model of the very task
    for option in list(agreeing):
        best = scores[str(option.source)].reuse_task
        record = None if best is None else records.get(str(option.source), {}).get(best)
        if record is None or task.label is None or record.label != task.label:
            continue
        own.add(option)
        if record.outcome.get("samples", math.inf) < len(bench.whole.support):  # a new head is no worse
            del agreeing[option]
    luck = (1.0 if n < FEW_TO_COMPARE else 0.0) + luck_of(max(asked, len(agreeing)))

    def bar(option: Option) -> float:
        error = share_error(agreeing[option], n)
        return bound - 2 * error if option in own else max(bound, min(bound + luck * error, RECOGNISED))

    passing = [option for option in agreeing if agreeing[option] >= bar(option)]
    return max(passing, key=lambda option: agreeing[option], default=None)


def luck_of(m: int) -> float:
    """Return by how many standard errors the best of `m` equals is expected to exceed their mean (Blom 1958)."""
    return NormalDist().inv_cdf((m - 0.375) / (m + 0.25))


def share_error(share: float, n: int) -> float:
    """Return the standard error of a share of `n` samples."""
    n = max(n, 1)
    return math.sqrt(max(share * (1 - share), 1 / n) / n)
