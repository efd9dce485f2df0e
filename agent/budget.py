"""Counting what work costs, and keeping account of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from .flops import Counter

T = TypeVar("T")

_outside: ContextVar[list[float] | None] = ContextVar("flops spent outside torch", default=None)


def charge(flops: float) -> None:
    """Charge work that leaves torch (SciPy, NumPy) to whatever is being counted.

    Args:
        flops: Floating-point operations; the table at the top of `flops.py` has formulas.
    """
    spent = _outside.get()
    if spent is not None:
        spent[0] += flops


def counted(work: Callable[[], T]) -> tuple[T, float]:
    """Do some work and count its FLOPs.

    Args:
        work: What to do.

    Returns:
        What it returned, and its FLOPs.
    """
    outside = [0.0]
    token = _outside.set(outside)
    try:
        with Counter() as counter:
            result = work()
    finally:
        _outside.reset(token)
    return result, float(counter.flops) + outside[0]


class Ledger:
    """What was spent on one task, by purpose, against what may be spent.

    Attributes:
        limit: FLOPs that may be spent.
        flops: FLOPs by purpose ("profile", "select", "learn", ...).
        seconds: CPU seconds by purpose.
    """

    def __init__(self, limit: float) -> None:
        """Open an empty ledger.

        Args:
            limit: FLOPs that may be spent.
        """
        self.limit = limit
        self.flops: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    @property
    def spent(self) -> float:
        """FLOPs spent so far, on everything."""
        return sum(self.flops.values())

    @property
    def left(self) -> float:
        """FLOPs that may still be spent; never below 0."""
        return max(0.0, self.limit - self.spent)

    def pay(self, purpose: str, flops: float, seconds: float = 0.0) -> None:
        """Enter an expense.

        Args:
            purpose: What for.
            flops: FLOPs.
            seconds: CPU seconds.
        """
        self.flops[purpose] = self.flops.get(purpose, 0.0) + flops
        self.seconds[purpose] = self.seconds.get(purpose, 0.0) + seconds

    @contextmanager
    def counting(self, purpose: str) -> Iterator[None]:
        """Count and pay all FLOPs of a block of one-off work.

        Args:
            purpose: What for.
        """
        outside = [0.0]
        token = _outside.set(outside)
        start = time.process_time()
        try:
            with Counter() as counter:
                yield
        finally:
            _outside.reset(token)
            self.pay(purpose, float(counter.flops) + outside[0], time.process_time() - start)
