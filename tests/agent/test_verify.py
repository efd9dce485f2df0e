"""What `verify` promises: any flipped byte of what the store says is found, and the rest stays usable."""

import math
import random
import shutil
import sqlite3
from contextlib import contextmanager

import pytest
import torch

from evermap.agent import catalog, checksums
from evermap.agent.catalog import FILE
from evermap.agent.entries import BoundedRecord, SignatureRecord, TaskRecord
from evermap.agent.store import KnowledgeStore
from evermap.errors import StoreError

FLIPS = 150


def weights(seed):
    return {"w": torch.randn(6, generator=torch.Generator().manual_seed(seed))}


def fill(path, tasks=12):
    with KnowledgeStore.open(path) as store:
        add_tasks(store, tasks)


def add_tasks(store, tasks):
    for i in range(tasks):
        with store.transaction() as t:
            encoder = t.add_encoder(
                {"name": "mlp", "text": "ä" * i}, weights(i), task=i, strategy="scratch", parent=None, flops=1 / 3
            )
            head = t.add_head("linear", {}, weights(100 + i), encoder=encoder, task=i)
            t.add_task(TaskRecord(i, f"task {i}", i, (i, 99), "classification", encoder, head, "s", None, {"why": "x"}))
            t.add_signature(SignatureRecord(i, "1", {str(i): 3}, bytes(range(64)), bytes(range(32))))
            t.add_bank({"of": i}, weights(200 + i), encoder=encoder, task=i, slot="anchor" if i % 2 else None)
            t.add_meta({"inner": i}, weights(300 + i), task=i, strategy="maml")
            t.helped(encoder, i, 0.1, "teacher")
            t.bounded(BoundedRecord(encoder, i, "evicted", None, (i,), 10, 0.25))
            for n in range(20):
                t.add_event(i, {"event": "Progress", "loss": 0.1 * n, "unit": n})
            t.set_state("selector", {"seen": i})
            t.set_manifest(f"fact {i}", i)
        store.add_row(i, i, {"values": [0.5] * i})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "store"
    fill(path)
    return path


def everything(path):
    """All that the catalog says, whatever way it says it."""
    db = sqlite3.connect(f"file:{path / FILE}?mode=ro&immutable=1", uri=True)
    try:
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        rows = {table: db.execute(f'SELECT * FROM "{table}" ORDER BY 1').fetchall() for table in tables}
        return rows, db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()
    finally:
        db.close()


def flip(data, rng):
    damaged = bytearray(data)
    at = rng.randrange(len(damaged))
    damaged[at] ^= 1 << rng.randrange(8)
    return at, bytes(damaged)


def test_a_flipped_byte_of_the_catalog_is_found_or_says_nothing(made, tmp_path):
    """Flips anywhere in the file: opening fails, `verify` finds it, or not a single cell reads otherwise."""
    sound, data, rng = repr(everything(made)), (made / FILE).read_bytes(), random.Random(0)
    path = tmp_path / "store"
    (path / "blobs").mkdir(parents=True)
    for blob in (made / "blobs").iterdir():
        (path / "blobs" / blob.name).hardlink_to(blob)
    found = 0
    for _ in range(FLIPS):
        at, damaged = flip(data, rng)
        (path / FILE).write_bytes(damaged)
        try:
            with KnowledgeStore.open(path, read_only=True) as store:
                damages = store.verify()
        except StoreError:
            found += 1
            continue
        if damages:
            found += 1
            continue
        assert repr(everything(path)) == sound, f"byte {at} was flipped and is not found"
    assert found > FLIPS / 5, "most of the file says something"


@contextmanager
def behind_the_triggers(path):
    """Write as a flipped byte would: no trigger sees it, nothing is checked."""
    db = sqlite3.connect(path / FILE, isolation_level=None)
    db.execute("PRAGMA ignore_check_constraints = ON")
    triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    yield db
    for _, sql in triggers:
        db.execute(sql)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


# Columns that are the number of the row themselves.
INTEGER_KEYS = {("tasks", "index"), ("signatures", "task"), ("events", "seq"), ("rows", "row")}


def nearly(value):
    """The same with one bit of it flipped."""
    if isinstance(value, float):
        return math.nextafter(value, math.inf)
    if isinstance(value, str):
        return value[:-1] + chr(ord(value[-1]) ^ 4)
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1])
    return 0 if value is None else value ^ 64


def test_a_cell_that_changed_is_found_and_its_task_is_named():
    """One bit in every column of every table."""
    with KnowledgeStore.in_memory() as store:
        add_tasks(store, 3)
        assert store.verify() == []
        db, seen = store._db, 0
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        db.execute("PRAGMA ignore_check_constraints = ON")
        db.execute("PRAGMA foreign_keys = OFF")
        for table in checksums.COVERED:
            names = checksums.columns(db.execute, table)
            for column in names:
                row, value = db.execute(f'SELECT rowid, "{column}" FROM {table} ORDER BY rowid DESC').fetchone()
                update = f'UPDATE {table} SET "{column}" = ? WHERE rowid = ?'
                db.execute(update, (nearly(value), row))
                found = [each for each in store.verify() if each.what.startswith("row ")]
                assert found, f"{table}.{column}"
                if ("task" in names or table == "tasks") and (table, column) not in INTEGER_KEYS and column != "task":
                    assert all(2 in each.tasks for each in found), f"{table}.{column}: {found}"
                back = row if (table, column) not in INTEGER_KEYS else nearly(value)
                db.execute(update, (value, back))
                seen += 1
    assert seen > 80


def test_a_damaged_row_concerns_its_task_and_the_rest_stays_usable(tmp_path):
    path = tmp_path / "store"
    fill(path, tasks=3)
    data = (path / FILE).read_bytes()
    assert data.count(b'{"why":"x"}') == 3
    at = data.index(b'{"why":"x"}')  # rows are written from the end of a page: the last task's stands first
    damaged = bytearray(data)
    damaged[at] ^= 0x80  # neither JSON nor UTF-8 any more
    (path / FILE).write_bytes(bytes(damaged))
    with KnowledgeStore.open(path, read_only=True) as store:
        assert [(each.entry, each.tasks, each.what) for each in store.verify()] == [
            (None, (2,), "row 2 of tasks does not give its checksum")
        ]
        assert store.task(0).choice == store.task(1).choice == {"why": "x"}
        assert torch.equal(store.weights("encoder-2")["w"], weights(1)["w"])
        with pytest.raises(StoreError, match=r"decode|damaged"):
            store.task(2)
        assert store.task_names() == {0: "task 0", 1: "task 1", 2: "task 2"}


def test_a_row_that_is_gone_is_found(tmp_path):
    path = tmp_path / "store"
    fill(path, tasks=2)
    with behind_the_triggers(path) as db:
        db.execute("DELETE FROM events WHERE seq = 5")
    with KnowledgeStore.open(path, read_only=True) as store:
        assert [each.what for each in store.verify()] == ["row 5 of events is missing, its checksum is there"]


def test_a_trigger_that_changed_is_found(tmp_path):
    fill(tmp_path / "store", tasks=1)
    with sqlite3.connect(tmp_path / "store" / FILE) as db:
        db.execute("DROP TRIGGER events_sum_go")
    with KnowledgeStore.open(tmp_path / "store", read_only=True) as store:
        assert [each.what for each in store.verify()] == ["the catalog's schema is not the one that was made"]


def test_flipped_bytes_of_blobs_are_all_found(made, tmp_path):
    rng, path = random.Random(1), tmp_path / "store"
    shutil.copytree(made, path)
    with KnowledgeStore.open(path, read_only=True) as store:
        names = {}
        for entry in (*store.encoders(), *store.heads(), *store.banks(), *store.metas()):
            names.setdefault(entry.blob, entry)
        for blob, entry in names.items():
            file = path / "blobs" / f"{blob}.safetensors"
            sound = file.read_bytes()
            for _ in range(5):
                file.write_bytes(flip(sound, rng)[1])
                assert [(each.entry, each.tasks) for each in store.verify()] == [(entry.id, (entry.task,))]
            file.write_bytes(sound)
        assert store.verify() == []


def test_a_store_of_schema_2_gets_checksums(tmp_path, monkeypatch):
    path = tmp_path / "store"
    path.mkdir()
    with monkeypatch.context() as older:
        older.setattr(catalog, "MIGRATIONS", catalog.MIGRATIONS[:2])
        older.setattr(catalog, "seal", lambda db: None)
        with KnowledgeStore.open(path) as store, store.transaction() as t:
            encoder = t.add_encoder({}, weights(0), task=0, strategy="s", parent=None, flops=0.5)
            t.add_task(TaskRecord(0, "one", 0, (1,), "classification", encoder, None, "s"))
            t.add_event(0, {"event": "Learned"})
    with pytest.raises(StoreError, match="older schema 2"):
        KnowledgeStore.open(path, read_only=True)
    with KnowledgeStore.open(path) as store:
        assert store.verify() == []
        kept = dict(store._db.execute('SELECT "of", COUNT(*) FROM checksums GROUP BY "of"').fetchall())
    assert (kept["encoders"], kept["tasks"], kept["events"], kept["sqlite_master"]) == (1, 1, 1, 1)
