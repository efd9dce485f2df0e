"""A strategy's generator at work: driven unit by unit in a random state of its own, its FLOPs counted."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ..errors import Diverged, StrategyError
from .budget import counted
from .randomness import OwnRandomness

# What `next` gives when there are no more units: a strategy may yield None by mistake.
_END = object()


class Work:
    """Runs units of a generator within a limit.

    The generator works with its own global random state, so that several can be interleaved in any way and end with the
    same bits. FLOPs are counted on units 1, 2, 4, 8, …, on the unit after each of these, and after `recount`; in
    between the greater of the last two counts stands for every unit (the last batch of an epoch may be small, and with
    two, four or eight batches to an epoch it would be the one that is counted). After `recount` two units are counted
    as well. Units of which a price is told differ in what they take (episodes of meta-training are drawn anew for every
    one): each of them is counted.

    Attributes:
        units: Units done.
        flops: FLOPs spent.
        seconds: CPU seconds spent.
    """

    def __init__(self, steps: Iterator[Any], strategy: str, task: str, seed: int, price: float | None = None) -> None:
        """Take over a generator; nothing is done yet.

        Args:
            steps: The generator; one `next` is one unit.
            strategy: Name of the strategy, for messages.
            task: Name of the task, for messages.
            seed: Seed of its global random state.
            price: FLOPs of a unit, at the most, where units differ: none is begun that could pass the limit by it, or
                by the dearest so far (0 where only that is known). None where they are alike.
        """
        self.units, self.flops, self.seconds = 0, 0.0, 0.0
        self._steps, self._strategy, self._task = steps, strategy, task
        self._random = OwnRandomness(seed)
        self._unit_flops, self._recount = price or 0.0, 0
        self._each = price is not None

    def advance(self, limit: float, stop: Callable[[], bool], accept: Callable[[Any], None]) -> str:
        """Do units until told to stop, the next one would pass the limit, or there are no more.

        A first unit that alone passes the limit is done all the same.

        Args:
            limit: FLOPs that may have been spent in all.
            stop: Asked after every unit.
            accept: Given what each unit yields; may raise a `StrategyError`.

        Returns:
            "" where it was told to stop, "budget" or "finished".

        Raises:
            StrategyError: If the generator raises, or leaves torch in another mode.
        """
        start = time.process_time()
        mode = _mode()
        try:
            with self._random.swapped_in():
                while True:
                    if self.units and self.flops + self._unit_flops > limit:
                        return "budget"
                    try:
                        yielded, spent = self._unit(mode)
                    except StrategyError:
                        self.flops += self._unit_flops  # what failed was work as well
                        raise
                    if yielded is _END:
                        self.flops += spent
                        return "finished"
                    self.flops += spent  # also where what it yields is refused
                    accept(yielded)
                    self.units += 1
                    if stop():
                        return ""
        finally:
            self.seconds += time.process_time() - start

    def recount(self) -> None:
        """Count the FLOPs of the next two units: what is trained has changed."""
        self._recount = 2

    def failed(self, kind: type[StrategyError], what: str) -> StrategyError:
        """Make an error that names strategy, task and unit.

        Args:
            kind: Its class.
            what: What happened.
        """
        return kind(self._strategy, self._task, self.units + 1, what)

    def _unit(self, mode: tuple[object, ...]) -> tuple[Any, float]:
        """Do one unit; return what it yields (`_END` if the generator has finished) and its FLOPs."""
        try:
            first = self._recount == 2 or self.units & (self.units + 1) == 0  # unit 1, 2, 4, 8, ...
            second = self._recount or self.units & (self.units - 1) == 0  # the one after it
            if not (first or second or self._each):
                yielded = self._next(mode)
                return yielded, 0.0 if yielded is _END else self._unit_flops
            yielded, spent = counted(lambda: self._next(mode))
            if yielded is not _END:
                self._unit_flops = spent if first and not self._each else max(spent, self._unit_flops)
                self._recount = max(0, self._recount - 1)
            return yielded, spent
        except FloatingPointError as error:
            raise self.failed(Diverged, str(error)) from error
        except StrategyError:
            raise
        except Exception as error:
            raise self.failed(StrategyError, f"{type(error).__name__}: {error}{place_of(error)}") from error

    def _next(self, mode: tuple[object, ...]) -> Any:
        try:
            return next(self._steps, _END)
        finally:  # inside the counting, whose own mode must end after those that the strategy began
            if _mode() != mode:
                self._restore(mode)
                raise self.failed(
                    StrategyError,
                    "it changed torch's grad mode, inference mode, default dtype or number of threads "
                    "(is there a `yield` inside `with torch.no_grad()`?)",
                )

    def _restore(self, mode: tuple[Any, ...]) -> None:
        """Put torch back into the mode in which it was; the generator is closed, so that its `with` blocks end."""
        with suppress(Exception):
            self._steps.close()  # type: ignore[attr-defined]  # a generator has it
        torch.set_grad_enabled(mode[0])
        torch.set_default_dtype(mode[2])
        torch.set_num_threads(mode[3])


def place_of(error: BaseException) -> str:
    """Name file and line at which an error was raised.

    Args:
        error: The error.

    Returns:
        " (my_strategy.py, line 18)"; empty where it was never raised.
    """
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _mode() -> tuple[object, ...]:
    """What a strategy must leave as it found it."""
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
    )
