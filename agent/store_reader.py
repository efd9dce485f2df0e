"""Reading the knowledge store: entries, records, and weights that nobody can write into."""

from __future__ import annotations

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor

from ..errors import StoreError, task_number
from .blobs import Blobs, unpack
from .catalog import explained
from .entries import (
    BankEntry,
    BoundedRecord,
    EncoderBrief,
    EncoderEntry,
    Entry,
    EventRecord,
    HeadEntry,
    HelpRecord,
    Json,
    Kind,
    MetaEntry,
    ProvenanceRecord,
    RowRecord,
    SignatureRecord,
    TaskRecord,
    from_columns,
)
from .transaction import TABLES
from .verify import Damage as Damage
from .verify import Verifier

CACHE_BYTES = 64 * 2**20
_KINDS: dict[str, type[Entry]] = {"encoder": EncoderEntry, "head": HeadEntry, "bank": BankEntry, "meta": MetaEntry}


class StoreReader:
    """The reading half of the store. It never blocks, and sees whole transactions only.

    Args:
        db: The catalog.
        blobs: Where weights lie.
        where: The store, as messages name it.
        wait: How long a write waits for another process's, in seconds.
        read_only: Whether it must not be written.
    """

    def __init__(self, db: sqlite3.Connection, blobs: Blobs, where: str, wait: float, read_only: bool = False) -> None:
        self._db = db
        self._blobs = blobs
        self._where = where
        self._wait = wait
        self._read_only = read_only
        self._cache: OrderedDict[tuple[str, str], dict[str, Tensor]] = OrderedDict()
        self._cached = 0

    def encoders(self) -> list[EncoderEntry]:
        """List every version of every encoder, oldest first."""
        return self._select(EncoderEntry, "ORDER BY number")

    def encoder(self, entry: str) -> EncoderEntry:
        """Return one version of an encoder by its id."""
        return self._one(EncoderEntry, entry)

    def encoders_after(self, number: int) -> list[EncoderBrief]:
        """List the encoders with a number above one, oldest first, in brief: what there is to choose from."""
        brief = "id, number, lineage, task, strategy, json_extract(spec, '$.name') AS name"
        rest = "json_extract(spec, '$.input_shape') AS input_shape, json_extract(spec, '$.stem') AS stem"
        found = self._fetch(f"SELECT {brief}, {rest} FROM encoders WHERE number > ? ORDER BY number", number)
        return [
            EncoderBrief(
                row["id"],
                row["number"],
                row["lineage"],
                row["task"],
                row["strategy"],
                row["name"],
                tuple(json.loads(row["input_shape"] or "[]")),
                row["stem"],
            )
            for row in found
        ]

    def encoder_count(self) -> int:
        """Return how many versions of encoders there are."""
        return int(self._fetch("SELECT COUNT(*) FROM encoders")[0][0])

    def has_encoder(self, entry: str) -> bool:
        """Tell whether something is the id of an encoder."""
        return bool(self._fetch("SELECT 1 FROM encoders WHERE id = ?", entry))

    def newest(self, lineage: str) -> EncoderEntry:
        """Return the newest version of a lineage.

        Args:
            lineage: Id of the lineage, or of any version in it.
        """
        root = self.encoder(lineage).lineage
        return self._select(EncoderEntry, "WHERE lineage = ? ORDER BY number DESC LIMIT 1", root)[0]

    def lineage(self, lineage: str) -> list[EncoderEntry]:
        """List every version of a lineage, oldest first.

        Args:
            lineage: Id of the lineage.
        """
        return self._select(EncoderEntry, "WHERE lineage = ? ORDER BY number", lineage)

    def ancestry(self, entry: str) -> list[EncoderEntry]:
        """Return an encoder's versions from the first to itself: what a delta is a difference to, in order."""
        found = [self.encoder(entry)]
        while (parent := found[-1].parent) is not None:
            found.append(self.encoder(parent))
        return found[::-1]

    def heads(self, encoder: str | None = None) -> list[HeadEntry]:
        """List the heads, oldest first; those on one encoder if it is given."""
        if encoder is None:
            return self._select(HeadEntry, "ORDER BY number")
        return self._select(HeadEntry, "WHERE encoder = ? ORDER BY number", encoder)

    def head(self, entry: str) -> HeadEntry:
        """Return one head by its id."""
        return self._one(HeadEntry, entry)

    def banks(self) -> list[BankEntry]:
        """List the banks, oldest first."""
        return self._select(BankEntry, "ORDER BY number")

    def banks_in(self, prefix: str) -> list[BankEntry]:
        """List the banks in slots whose names begin with a prefix (plain text), oldest first."""
        return self._select(BankEntry, "WHERE slot >= ? AND slot < ? ORDER BY number", prefix, prefix + "\U0010ffff")

    def bank_in(self, slot: str) -> BankEntry | None:
        """Return the bank that holds a slot; None if none does."""
        found = self._select(BankEntry, "WHERE slot = ?", slot)
        return found[0] if found else None

    def banks_with(self, key: str) -> list[BankEntry]:
        """List the banks outside slots whose spec has a key, oldest first."""
        return self._select(
            BankEntry, f"WHERE slot IS NULL AND json_extract(spec, '$.{key}') IS NOT NULL ORDER BY number"
        )

    def metas(self, after: int = 0) -> list[MetaEntry]:
        """List the meta-initialisations with a number above `after`, oldest first."""
        return self._select(MetaEntry, "WHERE number > ? ORDER BY number", after)

    def entry(self, entry: str) -> Entry:
        """Return whatever has an id ("encoder-1", "head-1", "bank-1", "meta-1")."""
        kind = _KINDS.get(entry.rpartition("-")[0])
        if kind is None:
            raise StoreError(f"{entry!r} is no id of an entry; ids look like encoder-1, head-1, bank-1 or meta-1.")
        return self._one(kind, entry)

    def has_entry(self, entry: str) -> bool:
        """Tell whether something is the id of an entry."""
        table = TABLES.get(_KINDS.get(entry.rpartition("-")[0], type(None)))
        return table is not None and bool(self._fetch(f"SELECT 1 FROM {table} WHERE id = ?", entry))

    def tasks(self) -> list[TaskRecord]:
        """List the records of all tasks, in order."""
        return self._select(TaskRecord, 'ORDER BY "index"')

    def task(self, index: int) -> TaskRecord:
        """Return the record of one task by its position in the stream."""
        found = self._select(TaskRecord, 'WHERE "index" = ?', index)
        if not found:
            raise StoreError(f"There is no record of task {task_number(index)} in the knowledge store {self._where}.")
        return found[0]

    def tasks_on(self, encoders: Sequence[str]) -> list[TaskRecord]:
        """List the records of tasks that answer with one of some encoders, in order."""
        marks = ", ".join("?" * len(encoders))
        return self._select(TaskRecord, f'WHERE encoder IN ({marks}) ORDER BY "index"', *encoders)

    def is_used(self, head: str) -> bool:
        """Tell whether a task answers with a head."""
        return bool(self._fetch("SELECT 1 FROM tasks WHERE head = ? LIMIT 1", head))

    def task_labelled(self, label: int) -> TaskRecord | None:
        """Return the newest record of a task label; None if there is none."""
        found = self._select(TaskRecord, 'WHERE label = ? ORDER BY "index" DESC LIMIT 1', label)
        return found[0] if found else None

    def signatures(self, after: int | None = None) -> list[SignatureRecord]:
        """List the signatures of tasks whose position is above `after` (None: of all), in order."""
        if after is None:
            return self._select(SignatureRecord, "ORDER BY task")
        return self._select(SignatureRecord, "WHERE task > ? ORDER BY task", after)

    def features_after(self, task: int | None) -> list[tuple[int, bytes]]:
        """List index and `SignatureRecord.features` of the tasks above an index (None: of all), in order."""
        least = -(2**63) if task is None else task
        found = self._fetch("SELECT task, features FROM signatures WHERE task > ? ORDER BY task", least)
        return [(row[0], row[1]) for row in found]

    def has_task(self, index: int) -> bool:
        """Tell whether there is a record of a task."""
        return bool(self._fetch('SELECT 1 FROM tasks WHERE "index" = ?', index))

    def learned(self) -> int:
        """Return how many tasks of the stream are remembered, without those of streams before it."""
        return int(self._fetch('SELECT COUNT(*) FROM tasks WHERE "index" >= 0')[0][0])

    def provenance(self, entry: str | None = None) -> list[ProvenanceRecord]:
        """List what was made from what, oldest first; only what one entry was made from if it is given."""
        if entry is None:
            return self._select(ProvenanceRecord, "ORDER BY rowid")
        return self._select(ProvenanceRecord, "WHERE entry = ? ORDER BY rowid", entry)

    def helps(self, entry: str | None = None) -> list[HelpRecord]:
        """List which entries helped which tasks, oldest first; only one entry's if it is given."""
        if entry is None:
            return self._select(HelpRecord, "ORDER BY rowid")
        return self._select(HelpRecord, "WHERE entry = ? ORDER BY rowid", entry)

    def events(self, after: int = 0) -> list[EventRecord]:
        """List the events with a sequence number above `after`, in order."""
        return self._select(EventRecord, "WHERE seq > ? ORDER BY seq", after)

    def last_event(self) -> int:
        """Return the sequence number of the newest event; 0 where there is none."""
        return int(self._fetch("SELECT COALESCE(MAX(seq), 0) FROM events")[0][0])

    def rows(self) -> list[RowRecord]:
        """List the rows of the accuracy matrix, in order."""
        return self._select(RowRecord, 'ORDER BY "row"')

    def state(self, key: str) -> Any:
        """Return what `set_state` kept under a key; None if nothing."""
        found = self._fetch("SELECT body FROM state WHERE key = ?", key)
        return json.loads(found[0]["body"]) if found else None

    def manifest(self) -> Json:
        """Return everything that `set_manifest` kept."""
        return {row["key"]: json.loads(row["body"]) for row in self._fetch("SELECT * FROM manifest ORDER BY key")}

    def weights(self, entry: str) -> dict[str, Tensor]:
        """Return an entry's tensors as they were stored, bit for bit; of a delta, those of the difference.

        Args:
            entry: Id of an encoder, head, bank or meta-initialisation.

        Returns:
            Name to tensor, sorted by name, copied: writing into them changes nothing in the store.

        Raises:
            StoreError: If there is no such entry, or its blob is missing or damaged.
        """
        found = self.entry(entry)
        key = (found.blob, json.dumps(found.memory_format))
        kept = self._cache.pop(key, None)
        if kept is None:
            try:
                data = self._blobs.read(found.blob)
            except StoreError as error:
                raise StoreError(f"{entry} of task {task_number(found.task)} cannot be read: {error}") from error
            kept = unpack(data, found.memory_format)
            self._cached += _size(kept)
        self._cache[key] = kept
        while self._cached > CACHE_BYTES and len(self._cache) > 1:
            self._cached -= _size(self._cache.popitem(last=False)[1])
        return {name: tensor.clone() for name, tensor in kept.items()}

    def bytes_kept(self) -> int:
        """Return the bytes of all weights and statistics, each blob once."""
        return int(self._fetch("SELECT bytes FROM kept")[0][0])

    def has_blob(self, name: str) -> bool:
        """Tell whether an entry uses the blob of this name: weights that it holds need no further bytes."""
        return bool(self._fetch("SELECT 1 FROM blobs WHERE blob = ?", name))

    def counts(self) -> dict[str, int]:
        """Return how many rows each table holds ("encoders", "heads", "banks", "metas", "tasks", "events", ...)."""
        return {table: int(self._fetch(f"SELECT COUNT(*) FROM {table}")[0][0]) for table in TABLES.values()}

    def task_names(self) -> dict[int, str]:
        """Return the name of every task by its position."""
        return {int(row[0]): str(row[1]) for row in self._fetch('SELECT "index", name FROM tasks ORDER BY "index"')}

    def bounded(self) -> list[BoundedRecord]:
        """List what was done to stay within the recipe's bytes, oldest first."""
        return self._select(BoundedRecord, "ORDER BY rowid")

    def verify(self) -> list[Damage]:
        """Read every blob and every row of the catalog.

        Returns:
            What is wrong; empty for a sound store. The rest stays usable.
        """
        return Verifier(self._db, self._blobs, self._explained).damages()

    def _one(self, kind: type[Kind], entry: str) -> Kind:
        found = self._select(kind, "WHERE id = ?", entry)
        if not found:
            raise StoreError(f"There is no {entry!r} among the {TABLES[kind]} of the knowledge store {self._where}.")
        return found[0]

    def _select(self, kind: type[Kind], rest: str, *values: Any) -> list[Kind]:
        return [from_columns(kind, row) for row in self._fetch(f"SELECT * FROM {TABLES[kind]} {rest}", *values)]

    def _fetch(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        with self._explained():
            return self._db.execute(statement, values).fetchall()

    def _explained(self) -> AbstractContextManager[None]:
        return explained(self._where, self._wait)


def _size(tensors: dict[str, Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())
