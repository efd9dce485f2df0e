"""The store's catalog: an SQLite file with its schema, the migrations that lead to it, and what its failures mean."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import StoreError
from .checksums import COVERED, TABLE, cover, register, seal

FILE = "catalog.sqlite"
# Says "a catalog of evermap" in the header of the file: "evmp".
APPLICATION_ID = 0x65766D70

_FIRST = (
    "CREATE TABLE schema_version (version INTEGER NOT NULL)",
    "INSERT INTO schema_version VALUES (0)",
    # The last number given to each kind of id: an id is never given twice, even after what had it is gone.
    "CREATE TABLE counters (kind TEXT PRIMARY KEY, last INTEGER NOT NULL)",
    """CREATE TABLE encoders (
        id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, spec TEXT NOT NULL, blob TEXT NOT NULL,
        memory_format TEXT NOT NULL, parent TEXT REFERENCES encoders (id), lineage TEXT NOT NULL,
        delta TEXT NOT NULL CHECK (delta IN ('whole', 'low-rank', 'bias')), task INTEGER NOT NULL,
        strategy TEXT NOT NULL, flops REAL NOT NULL, bytes INTEGER NOT NULL,
        CHECK (delta = 'whole' OR parent IS NOT NULL))""",
    "CREATE INDEX encoders_lineage ON encoders (lineage, number)",
    "CREATE INDEX encoders_blob ON encoders (blob, bytes)",
    """CREATE TABLE heads (
        id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, kind TEXT NOT NULL, spec TEXT NOT NULL,
        blob TEXT NOT NULL, memory_format TEXT NOT NULL, encoder TEXT NOT NULL REFERENCES encoders (id),
        task INTEGER NOT NULL, bytes INTEGER NOT NULL)""",
    "CREATE INDEX heads_encoder ON heads (encoder, number)",
    "CREATE INDEX heads_blob ON heads (blob, bytes)",
    """CREATE TABLE banks (
        id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, spec TEXT NOT NULL, blob TEXT NOT NULL,
        memory_format TEXT NOT NULL, encoder TEXT REFERENCES encoders (id), task INTEGER NOT NULL,
        slot TEXT UNIQUE, bytes INTEGER NOT NULL)""",
    "CREATE INDEX banks_encoder ON banks (encoder)",
    "CREATE INDEX banks_blob ON banks (blob, bytes)",
    """CREATE TABLE metas (
        id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, spec TEXT NOT NULL, blob TEXT NOT NULL,
        memory_format TEXT NOT NULL, parent TEXT REFERENCES metas (id), task INTEGER NOT NULL,
        bytes INTEGER NOT NULL)""",
    "CREATE INDEX metas_blob ON metas (blob, bytes)",
    """CREATE TABLE tasks (
        "index" INTEGER PRIMARY KEY, name TEXT NOT NULL, label INTEGER,
        classes TEXT NOT NULL, kind TEXT NOT NULL, encoder TEXT REFERENCES encoders (id),
        head TEXT REFERENCES heads (id), strategy TEXT NOT NULL, source TEXT, choice TEXT NOT NULL,
        outcome TEXT NOT NULL, model TEXT NOT NULL)""",
    "CREATE INDEX tasks_model ON tasks (encoder, head)",
    # History, which outlives the entries it speaks of: no foreign keys.
    """CREATE TABLE provenance (
        entry TEXT NOT NULL, made_from TEXT, strategy TEXT NOT NULL, task INTEGER NOT NULL, flops REAL NOT NULL)""",
    "CREATE INDEX provenance_entry ON provenance (entry)",
    "CREATE TABLE helped (entry TEXT NOT NULL, task INTEGER NOT NULL, gain REAL, how TEXT NOT NULL)",
    "CREATE INDEX helped_entry ON helped (entry)",
    "CREATE TABLE events (seq INTEGER PRIMARY KEY AUTOINCREMENT, task INTEGER, body TEXT NOT NULL)",
    "CREATE INDEX events_task ON events (task)",
    'CREATE TABLE rows ("row" INTEGER PRIMARY KEY, task INTEGER, body TEXT NOT NULL)',
    "CREATE TABLE state (key TEXT PRIMARY KEY, body TEXT NOT NULL)",
    "CREATE TABLE manifest (key TEXT PRIMARY KEY, body TEXT NOT NULL)",
    # Every blob that something needs, once.
    """CREATE VIEW live_blobs AS
        SELECT blob, bytes FROM encoders UNION SELECT blob, bytes FROM heads
        UNION SELECT blob, bytes FROM banks UNION SELECT blob, bytes FROM metas""",
)

# Whether anything needs a blob.
IS_LIVE = "SELECT 1 FROM blobs WHERE blob = :blob"


def _counted(table: str) -> tuple[str, str]:
    """Triggers that keep `blobs` and `kept` when an entry comes or goes."""
    return (
        f"""CREATE TRIGGER {table}_come AFTER INSERT ON {table} BEGIN
            UPDATE kept SET bytes = bytes + NEW.bytes WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE blob = NEW.blob);
            INSERT INTO blobs VALUES (NEW.blob, NEW.bytes, 1) ON CONFLICT (blob) DO UPDATE SET uses = uses + 1;
        END""",
        f"""CREATE TRIGGER {table}_go AFTER DELETE ON {table} BEGIN
            UPDATE blobs SET uses = uses - 1 WHERE blob = OLD.blob;
            UPDATE kept SET bytes = bytes - OLD.bytes WHERE EXISTS
                (SELECT 1 FROM blobs WHERE blob = OLD.blob AND uses = 0);
            DELETE FROM blobs WHERE blob = OLD.blob AND uses = 0;
        END""",
    )


_SECOND = (
    # What a task looked like, small enough to compare a new task with all of them: see signature.py.
    """CREATE TABLE signatures (
        task INTEGER PRIMARY KEY, space TEXT NOT NULL, classes TEXT NOT NULL, inputs BLOB NOT NULL,
        features BLOB NOT NULL)""",
    "CREATE INDEX tasks_label ON tasks (label)",
    "CREATE INDEX tasks_head ON tasks (head)",
    "CREATE INDEX helped_task ON helped (task)",
    # Every blob that something needs with the number of entries that do, and the bytes of all: kept by triggers, so
    # that neither has to be counted again after every task.
    "CREATE TABLE blobs (blob TEXT PRIMARY KEY, bytes INTEGER NOT NULL, uses INTEGER NOT NULL) WITHOUT ROWID",
    """INSERT INTO blobs SELECT blob, MAX(bytes), COUNT(*) FROM (
        SELECT blob, bytes FROM encoders UNION ALL SELECT blob, bytes FROM heads
        UNION ALL SELECT blob, bytes FROM banks UNION ALL SELECT blob, bytes FROM metas) GROUP BY blob""",
    "CREATE TABLE kept (bytes INTEGER NOT NULL)",
    "INSERT INTO kept SELECT COALESCE(SUM(bytes), 0) FROM blobs",
    *(trigger for table in ("encoders", "heads", "banks", "metas") for trigger in _counted(table)),
    "DROP VIEW live_blobs",
)


def _first(db: sqlite3.Connection) -> None:
    for statement in _FIRST:
        db.execute(statement)


def _second(db: sqlite3.Connection) -> None:
    for statement in _SECOND:
        db.execute(statement)


def _third(db: sqlite3.Connection) -> None:
    # What was left out, shrunk, merged or evicted to stay within the recipe's bytes: history, so no foreign keys.
    db.execute(
        """CREATE TABLE bounded (
            entry TEXT NOT NULL, task INTEGER NOT NULL, how TEXT NOT NULL, "into" TEXT, tasks TEXT NOT NULL,
            freed INTEGER NOT NULL, cost REAL)"""
    )
    db.execute(TABLE)
    for table in COVERED:
        cover(db, table)


# Migration n leads from schema n to n + 1. They are only ever added to: a store of any age opens.
MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_first, _second, _third)


@contextmanager
def explained(where: str, wait: float = 0.0) -> Iterator[None]:
    """Turn what SQLite and the system raise into a StoreError with one sentence.

    Args:
        where: The store, as the message names it.
        wait: How long a writer waits for another, in seconds.

    Raises:
        StoreError: For every sqlite3.Error, OSError and text that is none raised inside.
    """
    try:
        yield
    except sqlite3.Error as error:
        said = str(error)
        if "locked" in said or "busy" in said:
            what = f"another process has been writing to it for {wait:g} s; one writer at a time"
        elif "full" in said:
            what = "no space is left on its disk; nothing that was stored before is lost"
        elif "readonly" in said or "read-only" in said:
            what = "it cannot be written (read-only)"
        elif "disk I/O" in said:
            what = "its disk fails (disk I/O error); nothing that was stored before is lost"
        elif "malformed" in said or "not a database" in said:
            what = f"its {FILE} is damaged ({said})"
        elif "constraint failed" in said:
            what = f"what should be added contradicts what is there ({said})"
        else:
            what = f"{FILE} cannot be used ({said})"
        raise StoreError(f"The knowledge store {where}: {what}.") from error
    except UnicodeDecodeError as error:  # SQLite's own message quotes what is damaged
        raise StoreError(f"The knowledge store {where}: its {FILE} is damaged (its schema is no text).") from error
    except OSError as error:
        named = f" ({Path(str(error.filename)).name})" if error.filename else ""
        raise StoreError(
            f"The knowledge store {where} cannot be read or written: {error.strerror or error}{named}; "
            "nothing that was stored before is lost."
        ) from error


def connect(folder: Path | None, wait: float, read_only: bool, any_schema: bool = False) -> sqlite3.Connection:
    """Open a catalog and bring its schema up to date.

    Args:
        folder: The store's folder, which exists; None for a catalog in memory.
        wait: How long to wait for another writer, in seconds.
        read_only: Whether nothing may be written, a newer schema included.
        any_schema: Whether to leave an older schema as it is.

    Returns:
        A connection in autocommit mode, whose rows know their columns' names.

    Raises:
        StoreError: If it is no catalog, damaged, or written by a newer evermap.
    """
    where = str(folder) if folder else "in memory"
    with explained(where, wait):
        if folder is None:
            db = sqlite3.connect(":memory:", isolation_level=None)
        else:
            uri = f"{(folder / FILE).absolute().as_uri()}?mode={_mode(folder, read_only)}"
            db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=wait)
        try:
            db.row_factory = sqlite3.Row
            register(db)
            db.execute("PRAGMA foreign_keys = ON")
            if read_only:
                db.execute("PRAGMA query_only = ON")
            if folder and not read_only:
                db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            if not any_schema:
                _migrate(db, where, read_only)
        except BaseException:
            db.close()
            raise
    return db


def _mode(folder: Path, read_only: bool) -> str:
    """How SQLite opens the file: a reader who may write in the folder tidies up what SQLite makes for readers."""
    if not read_only:
        return "rwc"
    if os.access(folder, os.W_OK):
        return "rw"
    # Where nobody can write, SQLite could not make its files for readers, and needs none.
    return "ro" if (folder / f"{FILE}-wal").exists() else "ro&immutable=1"


def _migrate(db: sqlite3.Connection, where: str, read_only: bool) -> None:
    version = _version(db, where)
    if version == len(MIGRATIONS):
        return
    if read_only:
        raise StoreError(
            f"The knowledge store {where} has the older schema {version}; `evermap store gc` brings it up to date."
        )
    db.execute("BEGIN IMMEDIATE")
    try:
        # Again, under the lock: another process may have done it meanwhile.
        for migration in MIGRATIONS[_version(db, where) :]:
            migration(db)
        db.execute("UPDATE schema_version SET version = ?", (len(MIGRATIONS),))
        seal(db)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _version(db: sqlite3.Connection, where: str) -> int:
    """Return the schema's version, 0 for an empty file."""
    application = db.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID:
        if application or db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
            raise StoreError(f"The knowledge store {where}: its {FILE} belongs to another program.")
        return 0
    try:
        version = int(db.execute("SELECT version FROM schema_version").fetchone()[0])
    except (TypeError, ValueError):
        raise StoreError(f"The knowledge store {where}: its {FILE} is damaged (no schema version).") from None
    if version > len(MIGRATIONS):
        raise StoreError(
            f"The knowledge store {where} has schema {version}, and this evermap knows schemas up to "
            f"{len(MIGRATIONS)}: use a newer evermap."
        )
    return version
