"""One transaction of the store: everything a task adds, written all at once or not at all."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from torch import Tensor

from ..errors import StoreError, task_number
from .blobs import Blobs, pack
from .entries import (
    BankEntry,
    BoundedRecord,
    EncoderEntry,
    Entry,
    EventRecord,
    HeadEntry,
    HelpRecord,
    Json,
    MetaEntry,
    ProvenanceRecord,
    Record,
    RowRecord,
    SignatureRecord,
    TaskRecord,
    to_columns,
    to_json,
)

_ENTRIES = ("encoders", "heads", "banks", "metas")
TABLES: Mapping[type[Any], str] = {
    EncoderEntry: "encoders",
    HeadEntry: "heads",
    BankEntry: "banks",
    MetaEntry: "metas",
    TaskRecord: "tasks",
    SignatureRecord: "signatures",
    ProvenanceRecord: "provenance",
    HelpRecord: "helped",
    BoundedRecord: "bounded",
    EventRecord: "events",
    RowRecord: "rows",
}


class Transaction:
    """What `KnowledgeStore.transaction` hands out; valid until its block ends.

    Adding what the store already holds (same spec, same weights) adds nothing and returns the id it has.

    Args:
        db: The catalog, with its write lock held.
        blobs: Where weights go.
        explained: Turns what SQLite and the system raise into a StoreError.
    """

    def __init__(
        self, db: sqlite3.Connection, blobs: Blobs, explained: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._explained = explained
        self._open = True
        # Blobs that this transaction wrote, and those that nothing of it may need any more.
        self.written: list[str] = []
        self.superseded: list[str] = []

    def end(self) -> None:
        """Refuse everything from now on."""
        self._open = False

    def add_encoder(
        self,
        spec: Json,
        weights: Mapping[str, Tensor],
        *,
        task: int,
        strategy: str,
        parent: str | None,
        flops: float,
        delta: str = "whole",
    ) -> str:
        """Add a version of an encoder, and where it comes from.

        Args:
            spec: What builds the network, as plain JSON.
            weights: Its tensors, or with another `delta` those of the difference to the parent.
            task: Index of the task it was learned on.
            strategy: Registered name of what made it.
            parent: Id of the version it was made from; None for a first version.
            flops: What making it cost.
            delta: "whole", "low-rank" or "bias".

        Returns:
            Its id ("encoder-3"): a new one, or that of the same encoder if the store has it.
        """
        what = f"The encoder that {strategy} made on task {task_number(task)}"
        if delta != "whole" and parent is None:
            raise StoreError(f"{what} is a {delta} delta and names no parent.")
        lineage = self._require("encoders", "lineage", parent, what)
        same = {"spec": to_json(spec, what), "delta": delta} | ({} if delta == "whole" else {"parent": parent})
        blob, layout, size, known = self._put("encoders", what, weights, same)
        if known is not None:
            return known
        number = self._next("encoder")
        entry = f"encoder-{number}"
        self._insert(
            EncoderEntry(
                entry, number, spec, blob, layout, parent, lineage or entry, delta, task, strategy, flops, size
            )
        )
        self.made(entry, parent, strategy=strategy, task=task, flops=flops)
        return entry

    def add_head(self, kind: str, spec: Json, weights: Mapping[str, Tensor], *, encoder: str, task: int) -> str:
        """Add a head on an encoder of the store.

        Args:
            kind: What the head is ("linear", "ridge", ...).
            spec: What builds it, as plain JSON.
            weights: Its tensors.
            encoder: Id of the encoder whose features it maps.
            task: Index of the task it was learned on.

        Returns:
            Its id ("head-3"): a new one, or that of the same head on the same encoder if the store has it.
        """
        what = f"The {kind} head of task {task_number(task)}"
        self._require("encoders", "id", encoder, what)
        same = {"kind": kind, "spec": to_json(spec, what), "encoder": encoder}
        blob, layout, size, known = self._put("heads", what, weights, same)
        if known is not None:
            return known
        number = self._next("head")
        self._insert(HeadEntry(f"head-{number}", number, kind, spec, blob, layout, encoder, task, size))
        return f"head-{number}"

    def add_bank(
        self, spec: Json, weights: Mapping[str, Tensor], *, encoder: str | None, task: int, slot: str | None = None
    ) -> str:
        """Add statistics (or other tensors that are no network).

        Args:
            spec: What is in it, as plain JSON.
            weights: Its tensors.
            encoder: Id of the encoder whose features they describe; None where there is none.
            task: Index of the task after which they are put.
            slot: A name that only the newest bank put there holds: the former one leaves the store.

        Returns:
            Its id ("bank-3"): a new one, or that of the same bank if the store has it.
        """
        what = f"The bank of task {task_number(task)}"
        self._require("encoders", "id", encoder, what)
        same = {"spec": to_json(spec, what), "encoder": encoder, "slot": slot}
        blob, layout, size, known = self._put("banks", what, weights, same)
        if known is not None:
            return known
        if slot is not None:
            self.empty(slot)
        number = self._next("bank")
        self._insert(BankEntry(f"bank-{number}", number, spec, blob, layout, encoder, task, slot, size))
        return f"bank-{number}"

    def empty(self, slot: str) -> None:
        """Let the bank that holds a slot leave the store, if there is one.

        Args:
            slot: The name of the slot.
        """
        former = self._find("banks", "blob", {"slot": slot})
        if former is not None:
            self._execute("DELETE FROM banks WHERE slot = ?", (slot,))
            self.superseded.append(former)

    def add_meta(
        self,
        spec: Json,
        weights: Mapping[str, Tensor],
        *,
        task: int,
        strategy: str,
        parent: str | None = None,
        flops: float = 0.0,
    ) -> str:
        """Add a version of a meta-initialisation, and where it comes from.

        Args:
            spec: What builds it, as plain JSON.
            weights: Its tensors, the optimiser's moments among them where they are to be kept.
            task: Index of the task after which it was made.
            strategy: Registered name of what made it.
            parent: Id of the version it was made from; None for a first version.
            flops: What making it cost.

        Returns:
            Its id ("meta-3"): a new one, or that of the same meta-initialisation if the store has it.
        """
        what = f"The meta-initialisation that {strategy} made on task {task_number(task)}"
        self._require("metas", "id", parent, what)
        blob, layout, size, known = self._put("metas", what, weights, {"spec": to_json(spec, what)})
        if known is not None:
            return known
        number = self._next("meta")
        entry = f"meta-{number}"
        self._insert(MetaEntry(entry, number, spec, blob, layout, parent, task, size))
        self.made(entry, parent, strategy=strategy, task=task, flops=flops)
        return entry

    def add_task(self, record: TaskRecord) -> TaskRecord:
        """Add the record of a task.

        Args:
            record: The record. If its model is empty it gets that of an earlier task with the same encoder and head,
                else a new one.

        Returns:
            The record as stored, with its model.
        """
        what = f"Task {task_number(record.index)} ({record.name})"
        if self._find("tasks", "name", {"index": record.index}) is not None:
            raise StoreError(f"{what} is in the store already; has another process continued it?")
        self._require("encoders", "id", record.encoder, what)
        self._require("heads", "id", record.head, what)
        if not record.model:
            known = self._find("tasks", "model", {"encoder": record.encoder, "head": record.head})
            record = replace(record, model=known or f"model-{self._next('model')}")
        self._insert(record)
        return record

    def answer_with(self, task: int, encoder: str, head: str) -> None:
        """Let a task answer with another encoder and head of the store.

        Args:
            task: Its index.
            encoder: Id of the encoder.
            head: Id of the head.
        """
        what = f"Task {task}"
        self._require("encoders", "id", encoder, what)
        self._require("heads", "id", head, what)
        known = self._find("tasks", "model", {"encoder": encoder, "head": head})
        model = known or f"model-{self._next('model')}"
        values = (encoder, head, model, task)
        self._execute('UPDATE tasks SET encoder = ?, head = ?, model = ? WHERE "index" = ?', values)

    def remove(self, entry: str) -> None:
        """Let an entry leave the store that no task and no delta needs; of what was made from it, history alone knows.

        Args:
            entry: Id of an encoder (with the heads that are left on it), head, bank or meta-initialisation.

        Raises:
            StoreError: If there is no such entry, or something needs it.
        """
        table = next((name for name in _ENTRIES if name.startswith(entry.rpartition("-")[0])), "encoders")
        blob = self._find(table, "blob", {"id": entry})
        if blob is None:
            raise StoreError(f"{entry!r} cannot leave: it is not among the {table} of the store.")
        if table == "encoders":
            for (head,) in self._execute("SELECT id FROM heads WHERE encoder = ? ORDER BY number", (entry,)).fetchall():
                self.remove(head)
        if table in ("encoders", "metas"):  # a delta keeps its parent: that it needs one is checked by the catalog
            self._execute(f"UPDATE {table} SET parent = NULL WHERE parent = ?", (entry,))
        self._execute(f"DELETE FROM {table} WHERE id = ?", (entry,))
        self.superseded.append(blob)

    def add_signature(self, signature: SignatureRecord) -> None:
        """Add what a task looked like."""
        self._insert(signature)

    def made(self, entry: str, made_from: str | None, *, strategy: str, task: int, flops: float) -> None:
        """Note that an entry was made from another; encoders and meta-initialisations note their parent themselves."""
        self._insert(ProvenanceRecord(entry, made_from, strategy, task, _finite(flops, "The FLOPs of " + entry)))

    def helped(self, entry: str, task: int, gain: float | None, how: str) -> None:
        """Note that an entry helped a later task.

        Args:
            entry: Id of the entry.
            task: Index of the task that it helped.
            gain: By how much, in accuracy against learning without it; None where that was not measured.
            how: In what way ("started from", "teacher", "reuse").
        """
        self._insert(HelpRecord(entry, task, None if gain is None else _finite(gain, "The gain by " + entry), how))

    def bounded(self, record: BoundedRecord) -> None:
        """Note what was done to stay within the recipe's bytes."""
        self._insert(record)

    def add_event(self, task: int | None, body: Json) -> int:
        """Add an event of a task (None: of none), and return its sequence number, which only grows."""
        cursor = self._execute(
            "INSERT INTO events (task, body) VALUES (?, ?)",
            (task, to_json(body, f"An event of task {task if task is None else task_number(task)}")),
        )
        return int(cursor.lastrowid or 0)

    def add_row(self, row: int, task: int | None, body: Json) -> None:
        """Add a row of the accuracy matrix: 0 before any learning (task None), then one per evaluation."""
        self._insert(RowRecord(row, task, body))

    def set_state(self, key: str, value: Any) -> None:
        """Keep plain JSON under a key (the selector's state, ...), in place of what was there."""
        self._keep("state", key, value)

    def set_manifest(self, key: str, value: Any) -> None:
        """Keep a fact about the run as plain JSON under a key, in place of what was there."""
        self._keep("manifest", key, value)

    def _keep(self, table: str, key: str, value: Any) -> None:
        self._execute(
            f"INSERT INTO {table} VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET body = excluded.body",
            (key, to_json(value, f"{table} {key!r}")),
        )

    def _put(
        self, table: str, what: str, weights: Mapping[str, Tensor], same: Json
    ) -> tuple[str, dict[str, list[int]], int, str | None]:
        """Write a blob; return its name, layout and size, and the entry that is the same already, if there is one."""
        self._check_open()
        try:
            data, layout = pack(weights)
        except StoreError as error:
            raise StoreError(f"{what}: {error}") from None
        with self._explained():
            blob, fresh = self._blobs.put(data)
        if fresh:
            self.written.append(blob)
        known = self._find(table, "id", same | {"blob": blob, "memory_format": to_json(layout, "A layout")})
        return blob, layout, len(data), known

    def _find(self, table: str, column: str, same: Json) -> str | None:
        # A blob or an id tells more than all else: the plus keeps SQLite from looking elsewhere first.
        key = next((name for name in ("blob", "id", "index", "slot") if name in same), None)
        where = " AND ".join(f'{"" if name == key or key is None else "+"}"{name}" IS ?' for name in same)
        row = self._execute(f"SELECT {column} FROM {table} WHERE {where} LIMIT 1", tuple(same.values())).fetchone()
        return None if row is None else str(row[0])

    def _require(self, table: str, column: str, entry: str | None, what: str) -> str | None:
        """Return a column of the entry that something names; None where it names none."""
        found = None if entry is None else self._find(table, column, {"id": entry})
        if entry is not None and found is None:
            raise StoreError(f"{what} names {entry!r}, which is not among the {table} of the store.")
        return found

    def _next(self, kind: str) -> int:
        self._execute(
            "INSERT INTO counters VALUES (?, 1) ON CONFLICT (kind) DO UPDATE SET last = last + 1",
            (kind,),
        )
        return int(self._execute("SELECT last FROM counters WHERE kind = ?", (kind,)).fetchone()[0])

    def _insert(self, row: Entry | Record) -> None:
        values = to_columns(row)
        names = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join("?" * len(values))
        self._execute(f"INSERT INTO {TABLES[type(row)]} ({names}) VALUES ({marks})", tuple(values.values()))

    def _execute(self, statement: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        self._check_open()
        with self._explained():
            return self._db.execute(statement, [_plain(value) for value in values])

    def _check_open(self) -> None:
        if not self._open:
            raise StoreError("This transaction of the store has ended; open another.")


def _plain(value: Any) -> Any:
    """Turn a scalar of numpy or torch into Python's: SQLite would take its memory for a blob."""
    return value if value is None or isinstance(value, str | bytes | int | float) else value.item()


def _finite(number: float, what: str) -> float:
    if not math.isfinite(number):
        raise StoreError(f"{what} is {number}, not a finite number.")
    return float(number)
