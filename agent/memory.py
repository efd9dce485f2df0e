"""What an agent has at hand of its store while it runs, so that a task costs little for all that came before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

import numpy as np

from .. import registry
from ..streams.task import Task
from .entries import EncoderBrief, MetaEntry, TaskRecord
from .signature import nearest, numbers, sign
from .store import KnowledgeStore

T = TypeVar("T")
Shape = tuple[int, ...]


class Memory:
    """Entries in brief, records by encoder and signatures: read once, and again only what is new."""

    def __init__(self, store: KnowledgeStore) -> None:
        """Read nothing yet.

        Args:
            store: The store.
        """
        self._store = store
        self._forget_encoders()
        self._metas: list[MetaEntry] = []
        self._records: dict[str, list[TaskRecord]] = {}
        self._row_of: dict[int, int] = {}
        self._features = np.zeros((0, 0), dtype=np.float32)  # one row per signature; those at the end are not used yet

    def _forget_encoders(self) -> None:
        self._read, self._last = 0, 0
        self._of_shape: dict[tuple[str, Shape], list[EncoderBrief]] = {}
        self._stems: dict[Shape, EncoderBrief] = {}
        self._lineages: dict[str, list[EncoderBrief]] = {}

    def _look(self) -> None:
        """Take in the encoders that are new."""
        count = self._store.encoder_count()
        if count < self._read:
            self._forget_encoders()  # some have left
        if count == self._read:
            return
        for entry in self._store.encoders_after(self._last):
            self._read, self._last = self._read + 1, entry.number
            if entry.strategy == "stem":
                self._stems[entry.input_shape] = entry
                continue
            self._of_shape.setdefault((str(entry.name), entry.input_shape), []).append(entry)
            self._lineages.setdefault(entry.lineage, []).append(entry)

    def stem(self, shape: Shape) -> EncoderBrief | None:
        """Return the stem of a shape of input, as it comes; None where none is stored."""
        self._look()
        return self._stems.get(shape)

    def called(self, name: str, shape: Shape) -> Sequence[EncoderBrief]:
        """List the encoders of a registered name for a shape of input, oldest first."""
        self._look()
        return self._of_shape.get((name, shape), ())

    def trained(self, shape: Shape, newest: bool) -> tuple[list[EncoderBrief], int]:
        """List the encoders for a shape of input that were trained, oldest first.

        Args:
            shape: Shape of one input as strategies see it.
            newest: Whether only the newest version of every lineage counts.

        Returns:
            The encoders, and how many there are for other shapes.
        """
        self._look()
        trainable = cache(lambda name: bool(registry.load("encoder", name).trainable))
        kinds = {key: entries for key, entries in self._of_shape.items() if trainable(key[0])}
        if newest:
            kinds = {key: [e for e in entries if self.lineage(e)[-1] is e] for key, entries in kinds.items()}
        fitting = [entry for (_, each), entries in kinds.items() if each == shape for entry in entries]
        others = sum(len(entries) for (_, each), entries in kinds.items() if each != shape)
        return sorted(fitting, key=lambda entry: entry.number), others

    def lineage(self, entry: EncoderBrief) -> Sequence[EncoderBrief]:
        """List every version of an encoder's lineage, oldest first."""
        return self._lineages[entry.lineage]

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
        self._sign()
        own = sign(task, task, None).features
        rows = [self._row_of.get(of(each), -1) for each in found]
        return [found[position] for position in nearest(own, self._features[: len(self._row_of)], rows, most)]

    def _sign(self) -> None:
        """Take in the signatures that are new."""
        new = self._store.features_after(max(self._row_of, default=None))
        if not new:
            return
        used, size = len(self._row_of), len(numbers(new[0][1]))
        if used + len(new) > len(self._features):  # twice as much room, so that it is seldom copied
            grown = np.zeros((2 * (used + len(new)), size), dtype=np.float32)
            if used:
                grown[:used] = self._features[:used]
            self._features = grown
        for row, (task, features) in enumerate(new, start=used):
            self._row_of[task], self._features[row] = row, numbers(features)
