"""Finding what is damaged in a store: blobs, rows of the catalog, the catalog's pages; and the tasks it concerns."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ..errors import StoreError
from .blobs import Blobs
from .checksums import COVERED, columns, damaged_rows, schema_is_sound

_ENTRIES = ("encoders", "heads", "banks", "metas")


@dataclass(frozen=True)
class Damage:
    """Something that `verify` found: the entry (None: the catalog itself), the tasks it concerns, and what is wrong."""

    entry: str | None
    tasks: tuple[int, ...]
    what: str


class Verifier:
    """Checks one store, as far as damage lets it.

    Args:
        db: The catalog.
        blobs: Where weights lie.
        explained: Turns what SQLite and the system raise into a StoreError.
    """

    def __init__(
        self, db: sqlite3.Connection, blobs: Blobs, explained: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._db, self._blobs, self._explained = db, blobs, explained

    def damages(self) -> list[Damage]:
        """Read every row of the catalog, then every blob.

        Returns:
            What is wrong; empty for a sound store.
        """
        found: list[Damage] = []
        text = self._db.text_factory
        self._db.text_factory = _readable  # a damaged text must not keep the others from being read
        snapshot = not self._db.in_transaction
        try:
            if snapshot:
                self._fetch("BEGIN")  # whatever others write meanwhile, every check sees the same catalog
            for check in (self._pages, self._references, self._schema, self._rows, self._counts):
                found += self._checked(check)
            if snapshot:
                self._fetch("ROLLBACK")
            found += self._checked(self._files)
        finally:
            if snapshot and self._db.in_transaction:
                self._db.rollback()
            self._db.text_factory = text
        return found

    def _checked(self, check: Callable[[], Iterator[Damage]]) -> list[Damage]:
        found: list[Damage] = []
        try:
            found += check()
        except StoreError as error:
            found.append(Damage(None, (), str(error)))
        return found

    def _pages(self) -> Iterator[Damage]:
        for row in self._fetch("PRAGMA integrity_check"):
            if row[0] != "ok":
                yield Damage(None, (), f"the catalog is damaged: {row[0]}")

    def _references(self) -> Iterator[Damage]:
        for row in self._fetch("PRAGMA foreign_key_check"):
            what = f"row {row['rowid']} of {row['table']} names what is not in {row['parent']}"
            yield Damage(None, self._concerned(row["table"], row["rowid"]), what)

    def _schema(self) -> Iterator[Damage]:
        with self._explained():
            sound = schema_is_sound(self._db.execute)
        if not sound:
            yield Damage(None, (), "the catalog's schema is not the one that was made")

    def _rows(self) -> Iterator[Damage]:
        for table in COVERED:
            with self._explained():
                for row, there in damaged_rows(self._fetch, self._db.execute, table):
                    what = "does not give its checksum" if there else "is missing, its checksum is there"
                    entry = self._fetch(f"SELECT id FROM {table} WHERE rowid = ?", row) if table in _ENTRIES else []
                    name = str(entry[0][0]) if entry else None
                    yield Damage(name, self._concerned(table, row), f"row {row} of {table} {what}")

    def _counts(self) -> Iterator[Damage]:
        uses = " UNION ALL ".join(f"SELECT blob, bytes FROM {table}" for table in _ENTRIES)
        counted = self._fetch(f"SELECT blob, MAX(bytes), COUNT(*) FROM ({uses}) GROUP BY blob ORDER BY blob")
        kept = self._fetch("SELECT blob, bytes, uses FROM blobs ORDER BY blob")
        if [tuple(row) for row in counted] != [tuple(row) for row in kept]:
            yield Damage(None, (), "the table of blobs does not agree with the entries")
        elif [row[0] for row in self._fetch("SELECT bytes FROM kept")] != [sum(row[1] for row in counted)]:
            yield Damage(None, (), "the bytes that are kept do not agree with the entries")
        last = self._fetch("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
        newest = self._fetch("SELECT MAX(seq) FROM events")[0][0]
        if [row[0] for row in last] != ([] if newest is None and not last else [newest]):
            yield Damage(None, (), "the number of the next event does not follow the events")

    def _files(self) -> Iterator[Damage]:
        for table in _ENTRIES:
            for row in self._fetch(f"SELECT rowid, id, blob FROM {table} ORDER BY number"):
                try:
                    self._blobs.read(row["blob"])
                except StoreError as error:
                    # A bank that another process has superseded meanwhile is no damage.
                    if self._fetch("SELECT 1 FROM blobs WHERE blob = ?", row["blob"]):
                        yield Damage(row["id"], self._concerned(table, row["rowid"]), str(error))

    def _concerned(self, table: str, row: int | None) -> tuple[int, ...]:
        """Positions of the tasks that a row is about: its own, and those that answer with it."""
        with self._explained():
            names = columns(self._db.execute, table)
        own = next((name for name in ("task", "index") if name in names), None)
        tasks = self._fetch(f'SELECT "{own}" FROM {table} WHERE rowid = ?', row) if own else []
        if table in ("tasks", "signatures"):  # the row's number is the task's: it is known even where the row is gone
            return tuple(() if row is None else (row,))
        column = {"encoders": "encoder", "heads": "head"}.get(table)
        if column:
            of = f"(SELECT id FROM {table} WHERE rowid = ?)"
            tasks += self._fetch(f'SELECT "index" FROM tasks WHERE {column} = {of}', row)
        return tuple(sorted({each[0] for each in tasks if isinstance(each[0], int)}))

    def _fetch(self, statement: str, *values: object) -> list[sqlite3.Row]:
        with self._explained():
            return self._db.execute(statement, values).fetchall()


def _readable(text: bytes) -> str:
    return text.decode("utf-8", errors="replace")
