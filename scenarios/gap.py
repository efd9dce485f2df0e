"""Gap closed: how far a selector gets from the best fixed strategy to the oracle, with an interval over seeds.

    gap closed = Σ (selector - best fixed) / Σ (oracle - best fixed)

over scenarios, of means over seeds of means over tasks; 1 is the oracle, 0 the best fixed strategy. The best fixed
strategy of a scenario is picked on one half of its seeds and valued on the other, both ways: picking it on the seeds on
which it is valued would favour it. The interval is a percentile bootstrap over the seeds of each scenario; what belongs
to one seed is drawn together. Where the interval of the denominator does not lie above 0 there is no gap to close, and
the number is n/a.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Values:
    """Means over the tasks of one scenario, a number for every seed.

    Attributes:
        seeds: The seeds.
        selector: Of the selector.
        oracle: Of the step oracle along the selector's run.
        fixed: Of every fixed strategy.
    """

    seeds: tuple[int, ...]
    selector: tuple[float, ...]
    oracle: tuple[float, ...]
    fixed: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Gap:
    """Gap closed, with what it was made from; all of it in accuracy (regression: R²).

    Attributes:
        value: The ratio; None where it is undefined.
        low: Lower end of its interval.
        high: Upper end.
        reason: Why it is undefined; None where it is not.
        gained: Σ (selector - best fixed).
        room: Σ (oracle - best fixed).
        room_low: Lower end of the interval of that.
        room_high: Upper end.
    """

    value: float | None
    low: float | None
    high: float | None
    reason: str | None
    gained: float
    room: float
    room_low: float | None
    room_high: float | None


def picked_crosswise(fixed: Mapping[str, Sequence[float]]) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Pick the best fixed strategy on half of the seeds and value it on the other half, both ways.

    Args:
        fixed: Strategy to its values, one per seed; the halves are the seeds at even and at odd positions.

    Returns:
        Per seed the value of the strategy that was picked on the half which it is not in, and that strategy. Of one
        seed alone there is no other half: it is picked and valued there, which favours it. Of equals the first by name.
    """
    names = sorted(fixed)
    table = np.array([fixed[name] for name in names], dtype=np.float64)  # (strategies, seeds)
    n = table.shape[1]
    values, chosen = [], []
    for seed in range(n):
        others = [k for k in range(n) if k % 2 != seed % 2] or [seed]
        best = int(table[:, others].mean(axis=1).argmax())
        values.append(float(table[best, seed]))
        chosen.append(names[best])
    return tuple(values), tuple(chosen)


def gap_closed(scenarios: Sequence[Values], *, seed: int = 0, draws: int = DRAWS) -> Gap:
    """Compute gap closed over scenarios, pooled.

    Args:
        scenarios: At least one.
        seed: Decides the bootstrap's draws.
        draws: How many.

    Returns:
        The number with its interval.
    """
    # Per scenario, shape (2, seeds): what the selector gained on the best fixed strategy, and what there was to gain.
    parts = []
    for each in scenarios:
        best = np.array(picked_crosswise(each.fixed)[0])
        parts.append(np.stack([np.array(each.selector) - best, np.array(each.oracle) - best]))
    gained, room = np.sum([part.mean(axis=1) for part in parts], axis=0)
    fewest = min(part.shape[1] for part in parts)
    if fewest < 2:
        reason = "of one seed there is no interval, so nothing shows whether there is a gap to close"
        return Gap(None, None, None, reason, float(gained), float(room), None, None)
    rng = np.random.default_rng(seed)
    drawn = np.zeros((2, draws))
    for part in parts:
        n = part.shape[1]
        drawn += part[:, rng.integers(n, size=(draws, n))].mean(axis=2)  # (2, draws)
    tails = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    room_low, room_high = (float(q) for q in np.quantile(drawn[1], tails))
    if room_low <= 0:
        where = "includes 0" if room_high >= 0 else "lies below 0"
        reason = f"oracle less best fixed is {room:.3f}, and its interval {room_low:.3f} to {room_high:.3f} {where}"
        return Gap(
            None, None, None, f"{reason}: there is no gap to close", float(gained), float(room), room_low, room_high
        )
    low, high = (float(q) for q in np.quantile(drawn[0] / drawn[1], tails))
    return Gap(float(gained / room), low, high, None, float(gained), float(room), room_low, room_high)
