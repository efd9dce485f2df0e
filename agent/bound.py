"""Keeping a store within the bytes that a recipe grants, after every task, in the task's own transaction.

Only where a task would take the store past its bytes, and in this order: what gains too little is not added; what was
fine-tuned becomes a low-rank delta; what answers for no task leaves; encoders that are alike are merged; what is worth
least per byte leaves, and closed-form heads on the input itself stand in for the models of its tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ..errors import BudgetError, flop_count
from .agent_settings import AgentSettings
from .budget import Ledger
from .encoder import build_encoder
from .entries import TaskRecord
from .events import Bounded
from .library import Library
from .outcome import Outcome
from .room import Room
from .store import KnowledgeStore
from .transaction import Transaction
from .workbench import Workbench

Shape = tuple[int, ...]


def encoder_bytes(settings: AgentSettings, shape: Shape) -> int:
    """Size of an encoder as the agent trains them.

    Args:
        settings: What the agent is made of.
        shape: Shape of one input as strategies see it.
    """
    with torch.device("meta"):  # no weights are drawn
        encoder = build_encoder(settings.encoder, shape, settings.encoder_settings, 0)
    return sum(t.numel() * t.element_size() for t in encoder.state_dict().values())


class Bound:
    """Keeps one task's transaction within the bytes; made anew for every task."""

    def __init__(
        self,
        store: KnowledgeStore,
        library: Library,
        settings: AgentSettings,
        t: Transaction,
        bench: Workbench,
        stem: str | None,
    ) -> None:
        """Get ready.

        Args:
            store: The store, in the transaction of the task.
            library: Turns its entries into networks.
            settings: What the agent is made of.
            t: The transaction.
            bench: The task as it was laid out.
            stem: Id of the stem; None where there is none.
        """
        self._store, self._library, self._settings, self._t = store, library, settings, t
        self._bench, self._stem = bench, stem

    def limit(self) -> int | None:
        """Bytes that the store may hold; None where the recipe does not say."""
        of = self._settings
        given = [of.store_bytes] if of.store_bytes is not None else []
        if of.store_encoders is not None:
            given.append(of.store_encoders * encoder_bytes(of, self._bench.whole.input_shape))
        return min(given, default=None)

    def keep(self, record: TaskRecord, outcome: Outcome, beside: Sequence[str]) -> Bounded | None:
        """Make room, if the task took the store past its bytes.

        Args:
            record: The task's record.
            outcome: What learning it gave.
            beside: Ids of the encoders of `outcome.extras`, in their order.

        Returns:
            What was done and what it costs; None where the recipe grants any number of bytes.

        Raises:
            BudgetError: If nothing that may leave is left, and the store is still beyond its bytes.
        """
        limit = self.limit()
        if limit is None:
            return None
        ledger, before = self._bench.ledger, self._bench.ledger.spent
        seconds = ledger.seconds.get("consolidate", 0.0)
        room = Room(self._store, self._library, self._settings, self._t, self._bench, self._stem, limit)
        room.stand_in(record, outcome.model)
        warnings = _passed(before, ledger, "what stands in for a model is made at any cost")
        ways: dict[str, Callable[[], None]] = {
            "leaving out what gains too little": lambda: room.leave_out(record, outcome, beside),
            "making a low-rank delta": lambda: room.shrink(record.index, outcome.model.head),
            "letting go of what answers for no task": room.let_go,
            "merging": room.merge,
            "evicting": room.evict,
        }
        for step, way in ways.items():
            if room.lacking():
                spent = ledger.spent
                with ledger.counting("consolidate"):
                    way()
                warnings += _passed(spent, ledger, f"{step} took more than was left")
        if room.lacking():
            raise BudgetError(
                f"task {record.name!r}: the store may hold {limit:,} bytes, and {self._store.bytes_kept():,} are taken "
                "by what nothing can stand in for: stem, statistics, heads, samples. Raise budget.bytes (or "
                "budget.encoders); everything up to the task before is kept."
            )
        if room.steps:
            self._library.forget()
        return Bounded(
            task=record.index,
            limit=limit,
            bytes=self._store.bytes_kept(),
            steps=tuple(room.steps),
            flops=ledger.spent - before,
            seconds=ledger.seconds.get("consolidate", 0.0) - seconds,
            warnings=warnings,
        )


def _passed(before: float, ledger: Ledger, why: str) -> tuple[str, ...]:
    """Warn where a step of making room took a task past its budget."""
    if not ledger.limit or not before <= ledger.limit < ledger.spent:
        return ()
    spent = f"{flop_count(ledger.spent)} were spent of {flop_count(ledger.limit)}"
    return (f"making room in the store passed the budget: {spent}; {why}",)
