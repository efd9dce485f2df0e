"""Regret of one task: what the best arm of the same store state would have given beyond what the agent answered.

Definitions, for a task with arms a, each a strategy s with a source r, valued on the test set (v) and on two halves of
it (v_A, v_B):

- *naive oracle*: max_a v(a). It also profits from noise: the luckiest of many equals exceeds their mean.
- *split-half oracle*: the arm that is best on one half, valued on the other; both ways, averaged. Where several are
  best their mean is taken, which is what drawing one of them by lot gives on average. It is what regret means where
  nothing else is said, and the agent's value beside it is the mean over the halves.
- *regret* = oracle - agent. The split-half regret can be negative: an agent may be better than what one half points at.
- *retrieval regret* = oracle over the arms of the strategy that answered, from any source, - the arm that answered: our
  strategy with the oracle's source.
- *strategy regret* = oracle over one arm of each strategy, from the source that the agent's retrieval gives it (for the
  strategy that answered: the source that it used), - the arm that answered: the oracle's strategy with our source.
- *carrying out* = the arm that answered, at full budget, - the agent: what try-outs cost it and what they gained.

The arm that answered is the one of the table with the agent's strategy and source. Retrieval and strategy regret do
not add up to the regret: the best pair may need both to change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .arm_table import AnswerLine, ArmLine

# What a user gives for compute and for memory, in accuracy: per FLOPs of `scratch` and per bytes of the task.
COMPUTE, MEMORY = 0.02, 0.01


@dataclass(frozen=True)
class Worth:
    """What an answer is worth: as a whole, and on either half of the test set; None where that is undefined."""

    whole: float
    a: float | None
    b: float | None

    @property
    def halves(self) -> float | None:
        """Mean of the halves."""
        return None if self.a is None or self.b is None else (self.a + self.b) / 2

    def less(self, cost: float) -> Worth:
        """The same less a cost."""
        a, b = (None if half is None else half - cost for half in (self.a, self.b))
        return Worth(self.whole - cost, a, b)


@dataclass(frozen=True)
class Regret:
    """A regret by both oracles; None where it is undefined."""

    naive: float | None
    split: float | None


@dataclass(frozen=True)
class TaskRegret:
    """Everything about one task; see the top of this file.

    Attributes:
        task: Position in the stream.
        name: Its readable name.
        regression: Whether scores are R².
        strategy: What answered.
        source: From what.
        accuracy: Of the agent, on the whole test set.
        best: The naive oracle's arm: strategy and source.
        naive: The naive oracle.
        split: The split-half oracle; None where a half is undefined.
        regret: Oracle less agent.
        retrieval: Of the source alone.
        strategies: Of the strategy alone.
        carrying_out: The arm that answered less the agent; None where that arm is not in the table.
        try_all: Accuracy of the arm with the least held-out loss, which trying all would have picked; None where
            nothing is held out.
        try_all_way: That arm.
        utility: The agent's utility.
        utility_regret: Regret in utilities.
        arms: How many arms were valued.
        failed: How many were not.
    """

    task: int
    name: str
    regression: bool
    strategy: str
    source: str | None
    accuracy: float
    best: tuple[str, str | None]
    naive: float
    split: float | None
    regret: Regret
    retrieval: Regret
    strategies: Regret
    carrying_out: float | None
    try_all: float | None
    try_all_way: tuple[str, str | None] | None
    utility: float
    utility_regret: Regret
    arms: int
    failed: int


def naive(worths: Sequence[Worth]) -> float:
    """The best of some arms on the whole test set.

    Args:
        worths: At least one.
    """
    return max(worth.whole for worth in worths)


def split_half(worths: Sequence[Worth]) -> float | None:
    """The best of some arms, picked on one half of the test set and valued on the other, both ways averaged.

    Args:
        worths: At least one.

    Returns:
        The value; None where an arm's value on a half is undefined.
    """
    a, b = [worth.a for worth in worths], [worth.b for worth in worths]
    one, other = _picked(a, b), _picked(b, a)
    return None if one is None or other is None else (one + other) / 2


def _picked(by: Sequence[float | None], of: Sequence[float | None]) -> float | None:
    """Mean of `of` where `by` is largest."""
    pairs = [(x, y) for x, y in zip(by, of, strict=True) if x is not None and y is not None]
    if not pairs or len(pairs) < len(by):
        return None
    most = max(x for x, _ in pairs)
    best = [y for x, y in pairs if x == most]
    return sum(best) / len(best)


def cost(
    flops: float,
    size: float,
    scratch: float,
    task_bytes: float,
    compute: float = COMPUTE,
    memory: float = MEMORY,
) -> float:
    """What is taken off an accuracy to make it a utility.

    Args:
        flops: FLOPs spent.
        size: Bytes added to the store.
        scratch: FLOPs that `scratch` spends on the task.
        task_bytes: Bytes of the task's support set.
        compute: Accuracy that the FLOPs of `scratch` are worth, λ_c.
        memory: Accuracy that the bytes of the task are worth, λ_m.

    Returns:
        λ_c · flops / scratch + λ_m · size / task_bytes; a term whose measure is 0 counts as 0.
    """
    worked = compute * flops / scratch if scratch else 0.0
    return worked + (memory * size / task_bytes if task_bytes else 0.0)


def scratch_flops(arms: Sequence[ArmLine]) -> float:
    """FLOPs that `scratch` spends on a task: its arm's without what comes before a choice, which it needs none of.

    Where that arm failed: the task's budget.

    Args:
        arms: The task's arms.
    """
    mine = [arm.flops - arm.facts.before for arm in arms if arm.strategy == "scratch" and arm.failed is None]
    return mine[0] if mine else arms[0].facts.budget


def task_regret(
    arms: Sequence[ArmLine], answer: AnswerLine, compute: float = COMPUTE, memory: float = MEMORY
) -> TaskRegret | None:
    """Say what was lost on one task.

    Args:
        arms: Every arm of it.
        answer: What the agent answered with.
        compute: λ_c of the utility.
        memory: λ_m of the utility.

    Returns:
        The account; None where no arm was valued.
    """
    valued = [arm for arm in arms if arm.accuracy is not None]
    if not valued:
        return None
    facts, scratch = arms[0].facts, scratch_flops(arms)

    def utility(line: ArmLine | AnswerLine) -> Worth:
        return _worth(line).less(cost(line.flops, line.bytes, scratch, facts.task_bytes, compute, memory))

    mine = next((arm for arm in valued if arm.way == answer.way), None)
    ours = [arm for arm in valued if arm.strategy == answer.strategy]
    retrieved = [arm for arm in valued if (arm.rank == 0 and arm.strategy != answer.strategy) or arm is mine]
    best = max(valued, key=lambda arm: _worth(arm).whole)
    judged = [arm for arm in valued if arm.held_out_loss is not None]
    tried = min(judged, key=lambda arm: arm.held_out_loss or 0.0, default=None)
    agent = _worth(answer)
    return TaskRegret(
        task=answer.task,
        name=facts.name,
        regression=facts.regression,
        strategy=answer.strategy,
        source=answer.source,
        accuracy=answer.accuracy,
        best=best.way,
        naive=naive([_worth(arm) for arm in valued]),
        split=split_half([_worth(arm) for arm in valued]),
        regret=_regret(valued, agent),
        retrieval=_regret(ours, _worth(mine)) if mine else Regret(None, None),
        strategies=_regret(retrieved, _worth(mine)) if mine else Regret(None, None),
        carrying_out=_worth(mine).whole - agent.whole if mine else None,
        try_all=tried.accuracy if tried else None,
        try_all_way=tried.way if tried else None,
        utility=utility(answer).whole,
        utility_regret=_regret(valued, utility(answer), utility),
        arms=len(valued),
        failed=len(arms) - len(valued),
    )


def _worth(line: ArmLine | AnswerLine) -> Worth:
    if line.accuracy is None:
        raise ValueError(f"the arm {line.strategy} of {line.source} has no value")
    return Worth(line.accuracy, line.half_a, line.half_b)


def _regret(arms: Sequence[ArmLine], agent: Worth, worth: Callable[[ArmLine | AnswerLine], Worth] = _worth) -> Regret:
    worths = [worth(arm) for arm in arms]
    split, halves = split_half(worths), agent.halves
    return Regret(naive(worths) - agent.whole, None if split is None or halves is None else split - halves)
