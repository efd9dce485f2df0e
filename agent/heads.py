"""The closed-form head to beat: on which representation, by leave-one-out, by held-out samples, by experience.

Candidates are a head on every representation that is known, and those of strategies that have trained an encoder for
their own closed form on earlier tasks (prototypical networks). Up to five samples per class leave-one-out says little,
and of one sample per class nothing: there held-out samples decide, together with what such encoders were worth before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from .events import ProbeScore
from .selector import Option
from .tryout import lost_by
from .verdict import SURE, Gain, gain
from .workbench import Workbench

# The strategy that puts a head on any representation, and those heads that are compared on held-out samples, at most.
PLAIN, MOST_HEADS = "prototype", 4


@dataclass(frozen=True)
class Head:
    """The closed-form head that was found best.

    Attributes:
        option: What fits it.
        gains: Of heads on encoders that were trained for them: what was measured against the best other head, by
            strategy.
        expected: What was expected of the one that was chosen by experience alone; None for any other.
    """

    option: Option
    gains: Mapping[str, Gain] = field(default_factory=dict)
    expected: Gain | None = None


def taught(options: Sequence[Option], bench: Workbench) -> list[Option]:
    """Those options that are a closed form on an encoder which its own strategy has trained on earlier tasks."""
    strategies = bench.strategies
    return [o for o in options if strategies[o.strategy].closed_form and strategies[o.strategy].consolidates]


def by_leave_one_out(
    options: Sequence[Option], error: Callable[[Option], float], scores: Mapping[str, ProbeScore]
) -> list[Option]:
    """Order heads by the leave-one-out error of their representations.

    An encoder that was trained for nearest means goes by these: where another head is right more often left out than
    nearest means are on it, it comes last.

    Args:
        options: Closed-form heads.
        error: Leave-one-out error of one; infinite where there is none.
        scores: What was measured, by candidate.
    """
    plain = (scores.get(option.source or "") for option in options if option.strategy == PLAIN)
    best = max((score.closed_form for score in plain if score is not None), default=0.0)

    def rank(option: Option) -> tuple[bool, float]:
        score = scores.get(option.source or "")
        beaten = option.strategy != PLAIN and (score is None or score.ncm is None or score.ncm < best)
        return beaten, error(option)

    return sorted(options, key=rank)


def by_held_out(
    plain: Sequence[Option],
    special: Sequence[Option],
    bench: Workbench,
    expected: Callable[[str], Gain | None],
    left: float,
) -> Head:
    """Take the first head unless another one is better on the held-out samples.

    Better is a gain of more than its standard error; where it is known what to expect of a strategy, one that is
    believed, joined with what was measured.

    Args:
        plain: Heads on representations, the most promising first.
        special: Heads on encoders that were trained for them.
        bench: The task; something is held out.
        expected: Says what is expected of a strategy's head; None where too little was seen.
        left: FLOPs that may be spent on it; what does not fit is not compared.
    """
    until = bench.ledger.spent + left
    lost: dict[Option, Tensor] = {}
    for option in [plain[0], *special, *plain[1:]][:MOST_HEADS]:
        if bench.ledger.spent + bench.head_price(option) <= until:
            seen = lost_by(bench, option, 0.0)
            if seen is not None:
                lost[option] = seen[1]
    best = plain[0]
    if best not in lost:
        return by_experience(best, special, expected)
    kind = bench.task.kind
    for option in plain[1:]:
        if option in lost and (g := gain(lost[option], lost[best], kind)).nats > g.error:
            best = option
    gains = {option.strategy: gain(lost[option], lost[best], kind) for option in special if option in lost}
    choice, most = best, 0.0
    for option in special:
        if option not in lost:
            continue
        measured, before = gains[option.strategy], expected(option.strategy)
        believed = measured if before is None else before.joined(measured)
        if believed.nats > max(most, (1.0 if before is None else SURE) * believed.error):
            choice, most = option, believed.nats
    return Head(choice, gains)


def by_experience(default: Option, special: Sequence[Option], expected: Callable[[str], Gain | None]) -> Head:
    """Take the default unless a head on an encoder that was trained for it is expected to be better.

    Args:
        default: The head that answers without experience.
        special: Heads on encoders that were trained for them.
        expected: Says what is expected of a strategy's head; None where too little was seen.
    """
    promised = {option: each for option in special if (each := expected(option.strategy)) is not None}
    sure = [option for option, each in promised.items() if each.nats > SURE * each.error]
    best = max(sure, key=lambda option: promised[option].nats, default=None)
    return Head(default) if best is None else Head(best, expected=promised[best])
