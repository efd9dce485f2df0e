"""What an agent has at hand of its store while it runs, so that no task costs more for all that came before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from ..streams.task import Task
from .entries import EncoderBrief, MetaEntry, TaskRecord
from .signature import nearest, numbers, sign
from .store import KnowledgeStore

T = TypeVar("T")


class Memory:
    """Entries in brief, records by encoder and signatures: read once, and again only what is new."""

    def __init__(self, store: KnowledgeStore) -> None:
        """Read nothing yet.

        Args:
            store: The store.
        """
        self._store = store
        self._encoders: list[EncoderBrief] = []
        self._metas: list[MetaEntry] = []
        self._records: dict[str, list[TaskRecord]] = {}
        self._signed: dict[int, np.ndarray] = {}

    def encoders(self) -> Sequence[EncoderBrief]:
        """List every version of every encoder, oldest first."""
        count = self._store.encoder_count()
        if count < len(self._encoders):
            self._encoders = []  # some have left
        if count > len(self._encoders):
            self._encoders += self._store.encoders_after(self._encoders[-1].number if self._encoders else 0)
        return self._encoders

    def metas(self) -> Sequence[MetaEntry]:
        """List every version of every meta-initialisation, oldest first."""
        self._metas += self._store.metas(self._metas[-1].number if self._metas else 0)
        return self._metas

    def tasks_on(self, encoders: Sequence[str]) -> tuple[TaskRecord, ...]:
        """List the records of the tasks that answer with one of some encoders, in order.

        Args:
            encoders: Their ids.
        """
        unread = [entry for entry in encoders if entry not in self._records]
        if unread:
            self._records.update((entry, []) for entry in unread)
            for record in self._store.tasks_on(unread):
                self._records[str(record.encoder)].append(record)
        found = [record for entry in encoders for record in self._records[entry]]
        return tuple(found if len(encoders) == 1 else sorted(found, key=lambda record: record.index))

    def learned(self, record: TaskRecord) -> None:
        """Take in the record of a task that has just been added.

        Args:
            record: The record.
        """
        if record.encoder in self._records:
            self._records[record.encoder].append(record)

    def recall(self, found: Sequence[T], of: Callable[[T], int], task: Task, most: int) -> list[T]:
        """Keep what comes from the tasks that are nearest to one.

        Args:
            found: What there is, in an order of its own, which is kept.
            of: Gives the index of the task that one of them comes from.
            task: The task, as strategies see it.
            most: How many to keep.

        Returns:
            All, where they are not more than that.
        """
        if len(found) <= most:
            return list(found)
        for signature in self._store.signatures(max(self._signed, default=None)):
            self._signed[signature.task] = numbers(signature.features)
        own = sign(task, task, None).features
        size = len(numbers(own))
        # What left no signature behind is as far as can be.
        away = np.full(size, np.inf, dtype=np.float32)
        rows = np.stack([self._signed.get(of(each), away) for each in found])
        return [found[position] for position in nearest(own, rows, most)]
