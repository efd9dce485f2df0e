"""A checksum of every row of the catalog, kept by triggers in the transaction that writes the row.

SQLite finds pages that contradict one another; a byte that flips inside a cell contradicts nothing. What the file holds
beside rows (free space, counters of its own) says nothing, and is not covered.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator

# Tables whose rows have one. `blobs` and `kept`, which triggers keep too, are counted again instead.
COVERED = (
    *("counters", "encoders", "heads", "banks", "metas", "tasks", "signatures", "provenance", "helped"),
    *("events", "rows", "state", "manifest", "bounded"),
)
TABLE = """CREATE TABLE checksums (
    "of" TEXT NOT NULL, "row" INTEGER NOT NULL, sum BLOB NOT NULL, PRIMARY KEY ("of", "row")) WITHOUT ROWID"""
_SCHEMA = "sqlite_master"
_BYTES = 8

Fetch = Callable[..., list[sqlite3.Row]]


def register(db: sqlite3.Connection) -> None:
    """Give a connection the function that the triggers call; without it nothing can be written.

    Args:
        db: The catalog.
    """
    db.create_function("evermap_digest", 1, _digest, deterministic=True)


def cover(db: sqlite3.Connection, table: str) -> None:
    """Keep checksums of a table's rows from now on, and take those of the rows that are there.

    Args:
        db: The catalog, in a transaction.
        table: One whose rows have a rowid.
    """
    new, own = (_sum(columns(db.execute, table), of) for of in ("NEW", table))
    clear = f'DELETE FROM checksums WHERE "of" = \'{table}\' AND "row" ='
    put = f"INSERT INTO checksums VALUES ('{table}', NEW.rowid, {new});"
    for name, event, does in (
        ("sum_come", "INSERT", f"{clear} NEW.rowid; {put}"),
        ("sum_change", "UPDATE", f"{clear} OLD.rowid; {clear} NEW.rowid; {put}"),
        ("sum_go", "DELETE", f"{clear} OLD.rowid;"),
    ):
        db.execute(f"CREATE TRIGGER {table}_{name} AFTER {event} ON {table} BEGIN {does} END")
    db.execute(f"INSERT INTO checksums SELECT '{table}', rowid, {own} FROM {table}")


def seal(db: sqlite3.Connection) -> None:
    """Take the checksum of the schema itself; a trigger that changed would do something else.

    Args:
        db: The catalog, in a transaction, with the schema that it is to have.
    """
    db.execute('DELETE FROM checksums WHERE "of" = ?', (_SCHEMA,))
    db.execute("INSERT INTO checksums VALUES (?, 0, ?)", (_SCHEMA, _schema(db.execute)))


def schema_is_sound(execute: Callable[[str], sqlite3.Cursor]) -> bool:
    """Tell whether the schema is the one that was sealed.

    Args:
        execute: Runs a statement on the catalog.
    """
    kept = execute(f"SELECT sum FROM checksums WHERE \"of\" = '{_SCHEMA}'").fetchall()
    return [row[0] for row in kept] == [_schema(execute)]


def damaged_rows(fetch: Fetch, execute: Callable[[str], sqlite3.Cursor], table: str) -> Iterator[tuple[int, bool]]:
    """Find the rows of a table that do not give their checksum.

    Args:
        fetch: Runs a statement and gives its rows.
        execute: Likewise, and gives a cursor.
        table: One of `COVERED`.

    Yields:
        Row, and whether it is there at all (a checksum may have lost its row).
    """
    own = _sum(columns(execute, table), "t")
    kept = f'SELECT "row", sum FROM checksums WHERE "of" = \'{table}\''
    for row in fetch(
        f'SELECT t.rowid FROM {table} t LEFT JOIN ({kept}) c ON c."row" = t.rowid WHERE c.sum IS NOT {own} '
        "ORDER BY t.rowid"
    ):
        yield int(row[0]), True
    for row in fetch(f'SELECT c."row" FROM ({kept}) c WHERE c."row" NOT IN (SELECT rowid FROM {table}) ORDER BY 1'):
        yield int(row[0]), False


def columns(execute: Callable[[str], sqlite3.Cursor], table: str) -> list[str]:
    """Name the columns of a table, in their order."""
    return [str(row[1]) for row in execute(f"PRAGMA table_info({table})")]


def _sum(names: list[str], of: str) -> str:
    """SQL for a row's checksum. `quote` tells types apart and gives all digits; as bytes, damaged text is text too."""
    cells = "||','||".join(f'quote({of}."{name}")' for name in names)
    return f"evermap_digest(CAST({cells} AS BLOB))"


def _schema(execute: Callable[[str], sqlite3.Cursor]) -> bytes:
    said = "quote(type)||quote(name)||quote(tbl_name)||quote(sql)"
    parts = execute(f"SELECT CAST({said} AS BLOB) FROM sqlite_master ORDER BY type, name").fetchall()
    version = execute("SELECT CAST(quote(version) AS BLOB) FROM schema_version").fetchall()
    return _digest(b"\n".join(bytes(row[0]) for row in (*parts, *version)))


def _digest(data: bytes | None) -> bytes:
    return hashlib.blake2b(data or b"", digest_size=_BYTES).digest()
