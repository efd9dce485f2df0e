"""Try-outs: arms at work on small shares of the budget, the worse half dropped at every rung (Jamieson 2016)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from .arm import Arm
from .selector import Option
from .verdict import Gain, gain, losses
from .workbench import Workbench

# Gradient steps that an arm should have at least before it is dropped; with fewer, fewer arms are tried.
FEWEST_UNITS = 6


@dataclass(frozen=True)
class Tried:
    """An arm that was tried out, as it stood after its last rung.

    Attributes:
        option: What works, and from what.
        arm: The arm.
        losses: Its losses on the held-out samples, calibrated, shape `(n,)`.
        gain: Its gain over the default; None where there is no default.
    """

    option: Option
    arm: Arm
    losses: Tensor
    gain: Gain | None


def try_out(
    bench: Workbench,
    options: Sequence[Option],
    share: float,
    default: Tensor | None,
    worth: Callable[[Sequence[Tried]], Sequence[float]],
) -> list[Tried]:
    """Try arms out by successive halving on the held-out samples.

    With k arms the losers of a rung have had one part each, those of the next twice that, and so on; all losers
    together have had `share` of the budget. The last one goes on from where it stands when it is chosen.

    Args:
        bench: The task; something is held out.
        options: What to try, the most promising first.
        share: Share of the budget that the losers may spend, all together.
        default: Losses of the default on the held-out samples, shape `(n,)`; None where there is none.
        worth: Tells what the arms of a rung are worth, one number each, the higher the better.

    Returns:
        Every arm that was tried, the winner first, the first loser last; empty where all diverged.
    """
    options = list(options)[: _arms(bench, len(options), share)]
    parts = _parts(len(options))
    alive: list[Tried] = []
    dropped: list[Tried] = []
    for rung, keep in _rungs(len(options)):
        flops = share * bench.ledger.limit * rung / parts
        alive = [seen for option in options if (seen := _seen(bench, option, flops, default)) is not None]
        if not alive:
            break
        values = dict(zip((each.option for each in alive), worth(alive), strict=True))
        order = sorted(alive, key=lambda each: -values[each.option])
        alive, dropped = order[:keep], [*order[keep:], *dropped]
        options = [each.option for each in alive]
    return [*alive, *dropped]


def lost_by(bench: Workbench, option: Option, flops: float) -> tuple[Arm, Tensor] | None:
    """Let an option's arm work for a while, and see what it loses on the held-out samples.

    Args:
        bench: The task.
        option: One that applies.
        flops: FLOPs it may spend now; a first unit is done whatever it takes.

    Returns:
        The arm, and its losses, calibrated, shape `(n,)`; None if it diverged or nothing is held out.
    """
    arm, held = bench.try_out(option, flops), bench.held_out
    if arm is None or held is None or not arm.best_outputs:
        return None
    return arm, losses(arm.best_outputs[0], held.y, bench.task.kind)


def _rungs(arms: int) -> list[tuple[int, int]]:
    """Size of each rung, in parts, and how many arms stay after it."""
    rungs, size = [], 1
    while arms > 1:
        arms = (arms + 1) // 2
        rungs.append((size, arms))
        size *= 2
    return rungs or [(1, 1)]


def _parts(arms: int) -> int:
    """Parts that all losers spend: each has what its rungs gave in all."""
    spent, had, left = 0, 0, arms
    for size, stay in _rungs(arms):
        had += size
        spent += had * (left - stay)
        left = stay
    return max(1, spent)


def _arms(bench: Workbench, offered: int, share: float) -> int:
    """As many arms as can have `FEWEST_UNITS` of `scratch`'s units on the first rung, and one at least."""
    scratch = bench.strategies.get("scratch")
    units = scratch.units(bench.task) if scratch is not None else None
    if units is None:
        return offered
    return max((k for k in range(1, offered + 1) if share * units / _parts(k) >= FEWEST_UNITS), default=min(1, offered))


def _seen(bench: Workbench, option: Option, flops: float, default: Tensor | None) -> Tried | None:
    """Let an arm work on, and see how it stands; None if it diverged."""
    seen = lost_by(bench, option, flops)
    if seen is None:
        return None
    arm, lost = seen
    return Tried(option, arm, lost, None if default is None else gain(lost, default, bench.task.kind))
