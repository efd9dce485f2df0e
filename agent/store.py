"""The knowledge store: encoders, heads, prototype banks, meta-initialisations and the record of every task.

It knows tensors and plain JSON, no networks. The catalog is the truth; what it names lies in content-addressed blobs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import StoreError
from .blobs import DiskBlobs, MemoryBlobs, sync_folder
from .catalog import FILE, IS_LIVE, connect, explained
from .entries import Json
from .store_reader import StoreReader
from .transaction import Transaction

# How long a write waits for another process's, in seconds.
WAIT = 10.0


class KnowledgeStore(StoreReader):
    """What an agent knows; made by `open` or `in_memory`.

    Inside one's own `transaction`, reading also sees what it has added so far.
    """

    @classmethod
    def open(
        cls, path: Path, *, create: bool = True, read_only: bool = False, any_schema: bool = False, wait: float = WAIT
    ) -> Self:
        """Open the store in a folder.

        Args:
            path: The folder of the store.
            create: Whether to make a store where there is nothing or an empty folder.
            read_only: Whether to refuse writing; nothing is made then.
            any_schema: Whether to read an older schema as it is, which is enough to copy the catalog.
            wait: How long a write waits for another process's, in seconds.

        Raises:
            StoreError: If there is no store, something else, or a damaged one.
        """
        with explained(str(path), wait):
            if path.exists() and not path.is_dir():
                raise StoreError(f"{path} is a file, not the folder of a knowledge store.")
            catalog, blobs = path / FILE, path / "blobs"
            if not catalog.exists():
                if path.is_dir() and any(path.iterdir()):
                    raise StoreError(f"{path} is no knowledge store: it holds other files, and no {FILE}.")
                if read_only or not create:
                    raise StoreError(f"There is no knowledge store at {path}.")
                path.mkdir(parents=True, exist_ok=True)
            elif catalog.stat().st_size == 0 and blobs.is_dir() and any(blobs.iterdir()):
                raise StoreError(f"The knowledge store {path} is damaged: its {FILE} is empty, and there are blobs.")
        db = connect(path, wait, read_only, any_schema)
        try:
            with explained(str(path), wait):
                if not read_only and not blobs.is_dir():
                    blobs.mkdir(exist_ok=True)
                    sync_folder(path)
        except BaseException:
            db.close()
            raise
        return cls(db, DiskBlobs(blobs), str(path), wait, read_only)

    @classmethod
    def in_memory(cls) -> Self:
        """Make a store that ends with the process, for tests and agents that are thrown away."""
        return cls(connect(None, WAIT, read_only=False), MemoryBlobs(), "in memory", WAIT)

    def copy_catalog(self, file: Path) -> None:
        """Copy the catalog as it is at one moment, while others may go on writing.

        Args:
            file: The new catalog's file.
        """
        with self._explained():
            copy = sqlite3.connect(file)
            try:
                self._db.backup(copy)
            finally:
                copy.close()

    def close(self) -> None:
        """Close the catalog. What was committed stays."""
        with self._explained():
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Writing

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Write: all of the block or, if it raises or the process dies, nothing of it.

        Raises:
            StoreError: If another process writes for too long, the disk is full or failing, or what is added
                contradicts what is there.
        """
        if self._db.in_transaction:
            raise StoreError(f"The knowledge store {self._where} has a transaction open already.")
        if self._read_only:
            raise StoreError(f"The knowledge store {self._where}: it cannot be written (read-only).")
        transaction = Transaction(self._db, self._blobs, self._explained)
        committing = False
        try:
            with self._explained():
                self._db.execute("BEGIN IMMEDIATE")
            yield transaction
            with self._explained():
                if transaction.written:
                    self._blobs.sync()
                committing = True
                self._db.execute("COMMIT")
        except BaseException:
            self._undo(transaction, committing)
            raise
        finally:
            transaction.end()
        if transaction.superseded:
            self._drop_unused(transaction.superseded)

    def add_row(self, row: int, task: int | None, body: Json, events: Iterable[Json] = ()) -> None:
        """Add a row of the accuracy matrix, and events of the same task, in a transaction of its own.

        Args:
            row: 0 before any learning, then one per evaluation.
            task: Index of the task after which it was evaluated; None for row 0.
            body: The row, as plain JSON.
            events: What happened, as plain JSON.
        """
        with self.transaction() as transaction:
            transaction.add_row(row, task, body)
            for event in events:
                transaction.add_event(task, event)

    def collect_garbage(self) -> int:
        """Remove blobs that nothing names and what killed writers left, under the write lock.

        Returns:
            Bytes freed.
        """
        with self.transaction(), self._explained():
            live = {row["blob"] for row in self._db.execute("SELECT blob FROM blobs")}
            freed = self._blobs.sweep()
            for name in list(self._blobs.names()):
                if name not in live:
                    freed += self._blobs.drop(name)
        return freed

    def _undo(self, transaction: Transaction, committing: bool) -> None:
        # What fails here is left for the garbage collection; the caller hears of what came first.
        # A commit that failed may yet be found in the write-ahead log by the next opener: its blobs must stay.
        if not committing:
            with suppress(OSError):
                for name in transaction.written:
                    self._blobs.drop(name)
        with suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _drop_unused(self, names: list[str]) -> None:
        """Remove blobs that a commit has made garbage; another writer's presence leaves them to the collection."""
        try:
            self._db.execute("PRAGMA busy_timeout = 0")
            self._db.execute("BEGIN IMMEDIATE")
            for name in names:
                if not self._db.execute(IS_LIVE, {"blob": name}).fetchone():
                    self._blobs.drop(name)
        except (sqlite3.Error, OSError):
            pass
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._db.execute(f"PRAGMA busy_timeout = {int(self._wait * 1000)}")
