"""Counting the FLOPs of a training loop that is not ours, and ending it before its budget is passed.

Avalanche's strategies call plug-ins at every step of their loops. Two of them, one before all others and one behind,
count what happens between: the steps of a task numbered 1, 2, 4, 8, … and the one after each, as evermap counts its
own strategies' (`agent.work`); in between the greater of the last two counts stands for every step. All that happens
outside steps (importances, exemplars, a generator) is counted whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..agent.flops import Counter


class Meter:
    """Watches one strategy.

    Attributes:
        first: The plug-in that stands before all others.
        last: The plug-in that stands behind all others.
        flops: FLOPs of the work at hand.
        seconds: CPU seconds of it.
        steps: Steps of it.
        stopped: Whether the budget ended it.
        pause: Called after every step, at nobody's cost; None for nothing.
    """

    def __init__(self, passes_after: float = 0.0) -> None:
        """Watch nothing yet.

        Args:
            passes_after: Work of the strategy after a task, in passes over the task's samples with a step's cost each:
                kept back from the budget until it was seen what it costs.
        """
        self.first, self.last = _First(self), _Last(self)
        self.flops, self.seconds, self.steps, self.stopped = 0.0, 0.0, 0, False
        self.pause: Callable[[], None] | None = None
        self._passes_after, self._after_per_sample = passes_after, None if passes_after else 0.0
        self._open: Counter | None = None
        self._unit = self._outside = 0.0

    def watch(self, work: Callable[[], Any], limit: float, samples: int, batch: int) -> None:
        """Do some work within a budget.

        A first step is done whatever it costs, and what comes after the last one is done in any case.

        Args:
            work: Trains the strategy, with both plug-ins in it.
            limit: FLOPs that may be spent.
            samples: Samples of the task.
            batch: Samples of a step, those of a memory left out.
        """
        self.flops, self.seconds, self.steps, self.stopped = 0.0, 0.0, 0, False
        self._limit, self._samples, self._batch, self._unit = limit, max(samples, 1), max(min(batch, samples), 1), 0.0
        start, self._paused = time.process_time(), 0.0
        self._count()
        try:
            work()
        finally:
            self._close()
            self.seconds = time.process_time() - start - self._paused
        if self._passes_after:
            self._after_per_sample = self._outside / self._samples

    def pay(self, flops: float) -> None:
        """Enter work of the task that was counted elsewhere."""
        self.flops += flops

    def step_begins(self) -> None:
        """Count the step that begins, if it is one of those that are."""
        self._close()
        number = self.steps + 1
        if number & (number - 1) == 0 or (number - 1) & (number - 2) == 0:
            self._count()

    def step_ends(self, stop: Callable[[], None]) -> None:
        """Enter the step that ends; stop where the next one would pass the limit."""
        if self._open is not None:
            spent, number = self._close(), self.steps + 1
            self._unit = spent if number & (number - 1) == 0 else max(spent, self._unit)
        else:
            self.flops += self._unit
        self.steps += 1
        if self.flops + self._unit + self._reserve() > self._limit:
            self.stopped = True
            stop()

    def rest(self) -> None:
        """Let somebody look on after a step: nothing is being counted then, and the time is not that of the work."""
        if self.pause is not None:
            began = time.process_time()
            self.pause()
            self._paused += time.process_time() - began

    def epoch_ends(self, stop: Callable[[], None]) -> None:
        """Count what comes now until the next step; stop where an epoch takes nothing, and would so for ever."""
        if self._open is None:
            self._count()
        if not self._unit:
            stop()

    def _reserve(self) -> float:
        if self._after_per_sample is None:
            return self._passes_after * self._samples / self._batch * self._unit
        return self._after_per_sample * self._samples

    def _count(self) -> None:
        self._open = Counter()
        self._open.__enter__()  # type: ignore[no-untyped-call]

    def _close(self) -> float:
        """End what is being counted, if anything, and enter it."""
        if self._open is None:
            return 0.0
        counter, self._open = self._open, None
        counter.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        spent = float(counter.flops)
        self._outside = spent  # the last time, it is what came after all steps
        self.flops += spent
        return spent


class _First:
    """Stands before all other plug-ins."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        """A step begins."""
        self.meter.step_begins()


class _Last:
    """Stands behind all other plug-ins."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        """A step ends."""
        self.meter.step_ends(strategy.stop_training)
        self.meter.rest()

    def after_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        """An epoch ends."""
        self.meter.epoch_ends(strategy.stop_training)
