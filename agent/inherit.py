"""A new agent's store that begins with what another one knows; the other store is only read."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from ..errors import StoreError
from .blobs import DiskBlobs, sync_folder
from .catalog import FILE, connect, explained
from .library import EPISODE
from .store import WAIT, KnowledgeStore

# While positions are moved they stand apart from all that there are.
_APART = 10**12


def store_folder(path: Path) -> Path:
    """Find the store in the folder of a run, or in the folder that was given.

    Args:
        path: The folder of a run, or of a store.

    Returns:
        The store's folder.

    Raises:
        StoreError: If there is none in either place.
    """
    for folder in (path / "store", path):
        if (folder / FILE).is_file():
            return folder
    if not path.exists():
        raise StoreError(f"{path}: there is no such folder; give the folder of a run (runs/<id>) or of a store.")
    raise StoreError(f"{path}: holds no knowledge store, neither {FILE} nor store/{FILE}; give the folder of a run.")


def inherit(
    source: Path,
    target: Path,
    *,
    keep_classes: bool = False,
    keep_selector: bool = False,
    episodes: int = 0,
) -> int:
    """Copy a store so that a new stream can begin on it.

    Its tasks move before the new stream: the newest is −1, the one before −2, and so on. Their task labels are taken
    away, for the new stream gives its own; their names, models and all entries stay. Events and rows belong to the
    run that made them and stay there. The copy appears under its name when it is complete.

    Args:
        source: The folder of a store; it is read while others may write to it, and left as it is.
        target: The folder of the new store, which must not exist.
        keep_classes: Whether class ids mean the same in the new stream: the anchors' statistics then stay. Otherwise
            nothing says any more which classes a task's samples are of, or something was trained on.
        keep_selector: Whether the same selector will choose: what it has learned then stays.
        episodes: How many tasks' samples may stay, the newest; all others leave.

    Returns:
        How many tasks it knows.

    Raises:
        StoreError: If there is no store, it is damaged, or the new one cannot be written.
    """
    building = target.with_name(f".{target.name}.new")
    with explained(str(target)):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise StoreError(f"{target} holds something already; give a new or an empty folder for the store.")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(building, ignore_errors=True)
        (building / "blobs").mkdir(parents=True)
    try:
        _copy_catalog(source, building)
        with closing(connect(building, WAIT, read_only=False)) as db, explained(str(building)):
            db.execute("BEGIN IMMEDIATE")
            known = _moved(db)
            _leave(db, keep_classes, keep_selector, episodes)
            db.execute("COMMIT")
            blobs = [str(row[0]) for row in db.execute("SELECT blob FROM blobs ORDER BY blob")]
        _copy_blobs(source, building, blobs)
        with explained(str(target)):
            with suppress(FileNotFoundError):
                target.rmdir()
            building.rename(target)
            sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return known


def _copy_catalog(source: Path, building: Path) -> None:
    with KnowledgeStore.open(source, read_only=True, any_schema=True) as store:
        store.copy_catalog(building / FILE)


def _copy_blobs(source: Path, building: Path, names: list[str]) -> None:
    """Copy blobs, each verified."""
    theirs, ours = DiskBlobs(source / "blobs"), DiskBlobs(building / "blobs")
    for name in names:
        data = theirs.read(name)
        with explained(str(building)):
            ours.put(data)
    with explained(str(building)):
        ours.sync()


def _moved(db: sqlite3.Connection) -> int:
    """Move all tasks before position 0, and take their labels; return how many there are."""
    newest = db.execute('SELECT MAX("index") FROM tasks').fetchone()[0]
    by = 0 if newest is None else int(newest) + 1
    for table, column in (("tasks", '"index"'), ("signatures", "task")):  # unique: never two at one position
        db.execute(f"UPDATE {table} SET {column} = {column} - {_APART}")
        db.execute(f"UPDATE {table} SET {column} = {column} + {_APART - by}")
    for table in ("encoders", "heads", "banks", "metas", "provenance", "helped"):
        db.execute(f"UPDATE {table} SET task = task - {by}")
    db.execute("UPDATE tasks SET label = NULL")
    return int(db.execute("SELECT COUNT(*) FROM tasks").fetchone()[0])


def _leave(db: sqlite3.Connection, keep_classes: bool, keep_selector: bool, episodes: int) -> None:
    """Leave behind what belongs to the stream or the run that was."""
    for table in ("events", "rows", "manifest"):
        db.execute(f"DELETE FROM {table}")
    db.execute("DELETE FROM sqlite_sequence WHERE name = 'events'")
    db.execute("DELETE FROM state WHERE key != 'selector'")
    if not keep_selector:
        db.execute("DELETE FROM state")
    db.execute("DELETE FROM banks WHERE slot GLOB 'joint *'")
    if not keep_classes:
        db.execute("DELETE FROM banks WHERE slot GLOB 'anchor *'")
        for row in db.execute("SELECT id, spec FROM metas").fetchall():
            spec = _plain({**json.loads(row["spec"]), "met": None})
            db.execute("UPDATE metas SET spec = ? WHERE id = ?", (spec, row["id"]))
    # What tells who answers without a task label names tasks, which have moved, and their classes.
    for row in db.execute("SELECT id, task, spec FROM banks WHERE json_extract(spec, '$.gate') IS NOT NULL").fetchall():
        if keep_classes:
            spec = _plain({**json.loads(row["spec"]), "gate": row["task"]})
            db.execute("UPDATE banks SET spec = ? WHERE id = ?", (spec, row["id"]))
        else:
            db.execute("DELETE FROM banks WHERE id = ?", (row["id"],))
    kept = db.execute(
        "SELECT id, task, spec FROM banks WHERE slot GLOB ? ORDER BY task DESC", (f"{EPISODE}*",)
    ).fetchall()
    db.execute("UPDATE banks SET slot = NULL WHERE slot GLOB ?", (f"{EPISODE}*",))
    for position, row in enumerate(kept):
        if position >= episodes:
            db.execute("DELETE FROM banks WHERE id = ?", (row["id"],))
            continue
        # The slots of the oldest are the first that new tasks take.
        counted = {} if keep_classes else {"anchor": None}
        spec = _plain({**json.loads(row["spec"]), "episode": row["task"], **counted})
        slot = f"{EPISODE}{(-1 - position) % episodes}"
        db.execute("UPDATE banks SET slot = ?, spec = ? WHERE id = ?", (slot, spec, row["id"]))


def _plain(spec: dict[str, Any]) -> str:
    return json.dumps(spec, sort_keys=True, separators=(",", ":"))
