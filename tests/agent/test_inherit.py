"""A new stream that begins on another one's store."""

import hashlib
import json
import sqlite3
from pathlib import Path

import pytest
import torch

from evermap.agent.catalog import _FIRST, APPLICATION_ID
from evermap.agent.entries import SignatureRecord, TaskRecord
from evermap.agent.inherit import inherit, store_folder
from evermap.agent.store import KnowledgeStore
from evermap.errors import StoreError


def weights(seed, n=4):
    return {"w": torch.randn(n, generator=torch.Generator().manual_seed(seed))}


def fill(folder, tasks=3, episodes=2):
    with KnowledgeStore.open(folder) as store:
        for i in range(tasks):
            with store.transaction() as t:
                encoder = t.add_encoder({"name": "mlp"}, weights(i), task=i, strategy="s", parent=None, flops=1.0)
                head = t.add_head("linear", {}, weights(10 + i), encoder=encoder, task=i)
                t.add_task(TaskRecord(i, f"task {i}", i, (i,), "classification", encoder, head, "s"))
                t.add_signature(SignatureRecord(i, "4", {str(i): 1}, b"\0" * 8, b"\0" * 8))
                t.add_bank({"sums": i}, weights(20 + i), encoder=None, task=i, slot="anchor 4")
                t.add_bank({"episode": i}, weights(30 + i), encoder=None, task=i, slot=f"episode {i % episodes}")
                t.add_bank({"joint": 9}, weights(40), encoder=None, task=i, slot="joint head 9")
                t.helped(encoder, i, 0.5, "s")
                t.add_event(i, {"event": "Learned"})
                t.set_state("selector", {"seen": i})
                t.set_state("joint", {"9": {}})
                t.set_manifest("recipe", "x")
            store.add_row(i, i, {"values": [1.0]})


def content(folder: Path):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_tasks_move_before_the_stream_and_the_other_store_stays(tmp_path):
    fill(tmp_path / "old")
    before = content(tmp_path / "old")
    assert inherit(tmp_path / "old", tmp_path / "new") == 3
    assert content(tmp_path / "old") == before
    with KnowledgeStore.open(tmp_path / "new") as store:
        assert store.verify() == []
        assert [(r.index, r.name, r.label, r.classes) for r in store.tasks()] == [
            (-3, "task 0", None, (0,)),
            (-2, "task 1", None, (1,)),
            (-1, "task 2", None, (2,)),
        ]
        assert [e.task for e in store.encoders()] == [e.task for e in store.heads()] == [-3, -2, -1]
        assert [s.task for s in store.signatures()] == [h.task for h in store.helps()] == [-3, -2, -1]
        assert [p.task for p in store.provenance()] == [-3, -2, -1]
        assert torch.equal(store.weights("encoder-2")["w"], weights(1)["w"])
        assert (store.events(), store.rows(), store.banks(), store.state("joint")) == ([], [], [], None)
        assert (store.state("selector"), store.manifest(), store.learned()) == (None, {}, 0)
        # A task of the new stream collides with nothing, and its events are counted from 1.
        with store.transaction() as t:
            encoder = t.add_encoder({"name": "mlp"}, weights(99), task=0, strategy="s", parent=None, flops=1.0)
            t.add_task(TaskRecord(0, "task 0", 0, (0,), "classification", encoder, None, "s"))
            assert (encoder, t.add_event(0, {})) == ("encoder-4", 1)
    assert inherit(tmp_path / "new", tmp_path / "newer") == 4
    with KnowledgeStore.open(tmp_path / "newer") as store:
        assert [r.index for r in store.tasks()] == [-4, -3, -2, -1]
        assert store.verify() == []


def test_what_means_the_same_is_taken_along(tmp_path):
    fill(tmp_path / "old", tasks=5, episodes=3)
    inherit(tmp_path / "old", tmp_path / "new", keep_classes=True, keep_selector=True, episodes=2)
    with KnowledgeStore.open(tmp_path / "new") as store:
        anchor = store.bank_in("anchor 4")
        assert anchor is not None
        assert (anchor.task, anchor.spec) == (-1, {"sums": 4})
        assert store.state("selector") == {"seen": 4}
        # The newest two; new task 0 takes the slot of the older one, task 1 that of the newer one.
        assert [(b.slot, b.task, b.spec["episode"]) for b in store.banks_in("episode ")] == [
            ("episode 0", -2, -2),
            ("episode 1", -1, -1),
        ]
        assert torch.equal(store.weights(store.banks_in("episode ")[0].id)["w"], weights(33)["w"])
        assert store.verify() == []


def test_a_damaged_blob_leaves_no_half_a_store(tmp_path):
    fill(tmp_path / "old")
    blob = next((tmp_path / "old" / "blobs").iterdir())
    blob.write_bytes(blob.read_bytes()[:-1] + b"\x01")
    with pytest.raises(StoreError, match=r"damaged|missing"):
        inherit(tmp_path / "old", tmp_path / "new", keep_classes=True, episodes=9)
    assert {path.name for path in tmp_path.iterdir()} == {"old"}


def test_a_place_that_holds_something_is_left_alone(tmp_path):
    fill(tmp_path / "old")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "letter").touch()
    with pytest.raises(StoreError, match="holds something already"):
        inherit(tmp_path / "old", tmp_path / "new")
    assert content(tmp_path / "new").keys() == {"letter"}


def test_the_store_of_a_run_is_found(tmp_path):
    fill(tmp_path / "run" / "store", tasks=1)
    assert store_folder(tmp_path / "run") == store_folder(tmp_path / "run" / "store") == tmp_path / "run" / "store"
    with pytest.raises(StoreError, match="there is no such folder"):
        store_folder(tmp_path / "none")
    with pytest.raises(StoreError, match="holds no knowledge store"):
        store_folder(tmp_path)


def test_a_store_of_the_first_schema_is_brought_up_to_date_in_the_copy_alone(tmp_path):
    old = tmp_path / "old"
    (old / "blobs").mkdir(parents=True)
    data = b"12345"
    name = hashlib.sha256(data).hexdigest()
    (old / "blobs" / f"{name}.safetensors").write_bytes(data)
    db = sqlite3.connect(old / "catalog.sqlite")
    for statement in _FIRST:
        db.execute(statement)
    db.execute("UPDATE schema_version SET version = 1")
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    for number in (1, 2):
        values = (f"encoder-{number}", number, "{}", name, "{}", None, f"encoder-{number}", "whole", 0, "s", 1.0, 5)
        db.execute(f"INSERT INTO encoders VALUES ({', '.join('?' * 12)})", values)
    record = (0, "first", 0, "[]", "regression", "encoder-1", None, "s", None, "{}", "{}", "model-1")
    db.execute(f"INSERT INTO tasks VALUES ({', '.join('?' * 12)})", record)
    db.commit()
    db.close()
    before = content(old)
    inherit(old, tmp_path / "new")
    assert content(old) == before
    with KnowledgeStore.open(tmp_path / "new") as store:
        assert store.bytes_kept() == 5
        assert (store.verify(), store.signatures()) == ([], [])
        assert [r.index for r in store.tasks()] == [-1]
    with pytest.raises(StoreError, match="older schema 1"):
        KnowledgeStore.open(old, read_only=True)
    with KnowledgeStore.open(old) as store:  # the migration in place
        assert (store.bytes_kept(), store.verify()) == (5, [])


@pytest.mark.parametrize("read_only", [True, False])
def test_reading_leaves_no_files_behind(tmp_path, read_only):
    fill(tmp_path / "old")
    before = content(tmp_path / "old")
    with KnowledgeStore.open(tmp_path / "old", read_only=read_only) as store:
        assert json.dumps(store.counts())
    assert content(tmp_path / "old").keys() == before.keys()
