"""Everything tried to its end: the upper cost of choosing, and what a cheap choice should come near."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch

from ...streams.task import Task
from ..arm import FEWEST_TO_CALIBRATE
from ..events import JudgedArm, Profiled
from ..selector import Choice, Option, Selector
from ..verdict import losses
from ..workbench import Workbench
from .probe import Probe

# Sources of a strategy that are tried, the best first.
MOST_SOURCES = 3


class AlwaysTryAll(Selector):
    """Trains every strategy from its three best sources at full budget each, and keeps the best on held-out samples.

    It spends many budgets on a task, which the record says: a reference for what trying can give, not a competitor.
    With fewer than 20 held-out samples, which choose by luck, it chooses as `probe` does.
    """

    name: ClassVar[str] = "always-try-all"
    keeps_budget: ClassVar[bool] = False

    def __init__(self, argument: str = "") -> None:
        """Keep what chooses where nothing is held out."""
        super().__init__(argument)
        self._without = Probe()

    def select(
        self, task: Task, profile: Profiled, options: Sequence[Option], bench: Workbench, rng: torch.Generator
    ) -> Choice:
        """Try everything."""
        held = bench.held_out
        if held is None or len(held) < FEWEST_TO_CALIBRATE:
            return self._without.select(task, profile, options, bench, rng)
        taken: dict[str, int] = {}
        values: dict[Option, float] = {}
        tried: list[JudgedArm] = []
        for option in options:
            taken[option.strategy] = taken.get(option.strategy, 0) + 1
            if option.why_not is not None or taken[option.strategy] > MOST_SOURCES:
                continue
            arm = bench.try_out(option, bench.ledger.limit)
            if arm is None or not arm.best_outputs:
                continue
            lost = float(losses(arm.best_outputs[0], held.y, bench.task.kind).mean())
            if math.isfinite(lost):
                values[option] = -lost
                tried.append(JudgedArm(option.strategy, option.source, None, None, arm.units, arm.flops))
        if not values:
            return self._without.select(task, profile, options, bench, rng)
        best = max(values, key=lambda option: values[option])
        reason = f"the least loss on {len(held)} held-out samples of {len(values)} ways that were tried to their end"
        return Choice(best.strategy, best.source, reason, values, tried=tuple(tried))
