"""What could leave a store: encoders with their deltas, the tasks that answer with them, and what they are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .entries import BankEntry, EncoderEntry, TaskRecord
from .stand_in import StandIn
from .store import KnowledgeStore

# What a task's own model is taken to be worth at least (accuracy), and where nothing measured it.
LEAST, UNKNOWN = 0.002, 0.02
# Encoders that a task has for nothing, or that every task stands on: they are never in the way.
_FIXED = ("raw",)


@dataclass(frozen=True)
class Holding:
    """An encoder that could leave, with the deltas that are differences to it.

    Attributes:
        encoders: The encoder, then its deltas, every one after what it is a difference to.
        tasks: Records of the tasks that answer with one of them.
        bytes: Of all these encoders.
        value: Use × worth: what every task that it answers for gains by it over its stand-in, and what it gave to tasks
            that it helped, added up; in accuracy.
    """

    encoders: tuple[EncoderEntry, ...]
    tasks: tuple[TaskRecord, ...]
    bytes: int
    value: float

    @property
    def id(self) -> str:
        """The encoder's id."""
        return self.encoders[0].id

    @property
    def density(self) -> tuple[float, int]:
        """Orders holdings: by value per byte, then the oldest first."""
        return self.value / max(1, self.bytes), self.encoders[0].number


def holdings(store: KnowledgeStore, known: Mapping[int, BankEntry]) -> list[Holding]:
    """List what could leave, the least valuable first.

    Args:
        store: The store.
        known: What `stand_ins` gave.

    Returns:
        One for every encoder but stems and those without weights, whether anything can stand in for it or not.
    """
    entries = [e for e in store.encoders() if e.strategy != "stem" and e.spec.get("name") not in _FIXED]
    deltas: dict[str, list[EncoderEntry]] = {}
    for entry in entries:
        if entry.delta != "whole" and entry.parent is not None:
            deltas.setdefault(entry.parent, []).append(entry)
    found = []
    for entry in entries:
        encoders = [entry]
        for each in encoders:  # grows while it is gone through: deltas of deltas
            encoders += deltas.get(each.id, [])
        tasks = tuple(store.tasks_on([each.id for each in encoders]))
        helps = [h.gain for each in encoders for h in store.helps(each.id)]
        value = sum(_worth(known.get(r.index)) for r in tasks) + sum(max(0.0, gain or 0.0) for gain in helps)
        found.append(Holding(tuple(encoders), tasks, sum(each.bytes for each in encoders), value))
    return sorted(found, key=lambda holding: holding.density)


def _worth(bank: BankEntry | None) -> float:
    gained = gain(bank) if bank is not None else None
    return UNKNOWN if gained is None else max(LEAST, gained)


def stand_ins(store: KnowledgeStore) -> dict[int, BankEntry]:
    """Find what stands in for the models of tasks, by their positions."""
    return {bank.task: bank for bank in store.banks_with("stand_in")}


def gain(bank: BankEntry) -> float | None:
    """By how much a task's model is more accurate than what the bank holds; None where that was not measured."""
    facts = bank.spec["stand_in"]
    both = facts["accuracy"], facts["own"]
    return None if None in both else both[0] - both[1]


def restored(store: KnowledgeStore, bank: BankEntry) -> StandIn:
    """Read what stands in for a task's model."""
    return StandIn.restored(bank.spec, store.weights(bank.id))


def mean(values: Sequence[float | None]) -> float | None:
    """Average what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
