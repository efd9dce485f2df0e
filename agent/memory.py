"""What an agent has at hand of its store while it runs, so that a task costs little for all that came before it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache
from typing import TypeVar

import numpy as np

from .. import registry
from ..streams.task import Task
from .entries import EncoderBrief, MetaEntry, TaskRecord
from .signed import Signed
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
        self._last, self._last_meta = 0, 0
        self._called: dict[tuple[str, Shape], list[EncoderBrief]] = {}
        self._trained: dict[Shape, list[EncoderBrief]] = {}
        self._stems: dict[Shape, EncoderBrief] = {}
        self._lineages: dict[str, list[EncoderBrief]] = {}
        self._metas: dict[tuple[str, Shape], MetaEntry] = {}
        self._records: dict[str, list[TaskRecord]] = {}
        self._signed = Signed()
        self._rows: dict[Hashable, list[int]] = {}

    def _look(self) -> None:
        """Take in the encoders that are new."""
        trainable = cache(lambda name: bool(registry.load("encoder", name).trainable))
        for entry in self._store.encoders_after(self._last):
            self._last = entry.number
            if entry.strategy == "stem":
                self._stems[entry.input_shape] = entry
                continue
            self._called.setdefault((str(entry.name), entry.input_shape), []).append(entry)
            self._lineages.setdefault(entry.lineage, []).append(entry)
            if trainable(str(entry.name)):
                self._trained.setdefault(entry.input_shape, []).append(entry)

    def stem(self, shape: Shape) -> EncoderBrief | None:
        """Return the stem of a shape of input, as it comes; None where none is stored."""
        self._look()
        return self._stems.get(shape)

    def called(self, name: str, shape: Shape) -> Sequence[EncoderBrief]:
        """List the encoders of a registered name for a shape of input, oldest first."""
        self._look()
        return self._called.get((name, shape), ())

    def trained(self, shape: Shape, newest: bool) -> tuple[Sequence[EncoderBrief], int]:
        """List the encoders for a shape of input that were trained, oldest first.

        Args:
            shape: Shape of one input as strategies see it.
            newest: Whether only the newest version of every lineage counts.

        Returns:
            The encoders, and how many there are for other shapes.
        """
        self._look()
        if newest:
            kinds = {k: [e for e in v if self.lineage(e)[-1] is e] for k, v in self._trained.items()}
        else:
            kinds = self._trained
        others = sum(len(entries) for each, entries in kinds.items() if each != shape)
        return kinds.get(shape, ()), others

    def lineage(self, entry: EncoderBrief) -> Sequence[EncoderBrief]:
        """List every version of an encoder's lineage, oldest first."""
        return self._lineages[entry.lineage]

    def metas(self) -> Mapping[tuple[str, Shape], MetaEntry]:
        """Return the newest version of every meta-initialisation, by strategy and shape of one input."""
        for entry in self._store.metas(self._last_meta):
            self._last_meta = entry.number
            self._metas[entry.spec["strategy"], tuple(entry.spec["input_shape"])] = entry
        return self._metas

    def tasks_on(self, encoders: Sequence[str]) -> Sequence[TaskRecord]:
        """List the records of the tasks that answer with one of some encoders, in order.

        Args:
            encoders: Their ids.
        """
        unread = [entry for entry in encoders if entry not in self._records]
        if unread:
            self._records.update((entry, []) for entry in unread)
            for record in self._store.tasks_on(unread):
                self._records[str(record.encoder)].append(record)
        if len(encoders) == 1:
            return self._records[encoders[0]]
        found = [record for entry in encoders for record in self._records[entry]]
        return sorted(found, key=lambda record: record.index)

    def learned(self, record: TaskRecord) -> None:
        """Take in the record of a task that has just been added.

        Args:
            record: The record.
        """
        if record.encoder in self._records:
            self._records[record.encoder].append(record)

    def recall(
        self, found: Sequence[T], of: Callable[[T], int], task: Task, most: int, key: Hashable | None = None
    ) -> list[T]:
        """Keep what comes from the tasks that are nearest to one.

        Args:
            found: What there is, in an order of its own, which is kept.
            of: Gives the index of the task that one of them comes from.
            task: The task, as strategies see it.
            most: How many to keep.
            key: Names what there is, where it only ever grows at its end: then only what is new is looked up.

        Returns:
            All, where they are not more than that.
        """
        if len(found) <= most:
            return list(found)
        self._signed.take(self._store)
        rows = self._rows.setdefault(key, []) if key is not None else []
        rows += [self._signed.row_of(of(each)) for each in itertools.islice(found, len(rows), None)]
        return [found[position] for position in self._signed.nearest(task, np.array(rows), most)]
