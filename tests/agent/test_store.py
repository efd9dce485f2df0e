import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from evermap.agent import store_reader
from evermap.agent.entries import TaskRecord
from evermap.agent.store import KnowledgeStore
from evermap.agent.transaction import Transaction
from evermap.errors import StoreError


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KnowledgeStore]:
    made = KnowledgeStore.open(tmp_path / "store") if request.param == "disk" else KnowledgeStore.in_memory()
    with made:
        yield made


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[KnowledgeStore]:
    with KnowledgeStore.open(tmp_path / "store") as made:
        yield made


def w(seed: int, *shape: int) -> dict[str, Tensor]:
    return {"w": torch.randn(shape or (4,), generator=torch.Generator().manual_seed(seed))}


def add_encoder(t: Transaction, seed: int, task: int = 0, parent: str | None = None, delta: str = "whole") -> str:
    return t.add_encoder({"kind": "mlp"}, w(seed), task=task, strategy="scratch", parent=parent, flops=2.0, delta=delta)


def add_task(t: Transaction, i: int, seed: int | None = None) -> TaskRecord:
    encoder = add_encoder(t, i if seed is None else seed, task=i)
    head = t.add_head("linear", {"out": 2}, w(100 + (i if seed is None else seed)), encoder=encoder, task=i)
    return t.add_task(TaskRecord(i, f"task {i}", i, (3, 4), "classification", encoder, head, "scratch"))


def blob_files(path: Path) -> set[str]:
    return {file.name for file in (path / "store" / "blobs").iterdir()}


def test_a_task_comes_back_as_it_was_stored(store: KnowledgeStore) -> None:
    record = TaskRecord(
        0, "3 rotated 40", None, (7, 1), "classification", "encoder-1", "head-1", "finetune", "encoder-1",
        {"reason": "ähnlich", "scores": [0.1, None]}, {"accuracy": 0.5},
    )  # fmt: skip
    with store.transaction() as t:
        encoder = t.add_encoder({"kind": "mlp", "width": 8}, w(0, 3, 2), task=0, strategy="s", parent=None, flops=1e9)
        head = t.add_head("linear", {"out": 2}, w(1, 2, 3), encoder=encoder, task=0)
        bank = t.add_bank({"classes": 2}, {"n": torch.tensor(3), "none": torch.zeros(0, 2)}, encoder=encoder, task=0)
        meta = t.add_meta({"inner": 1}, w(2), task=0, strategy="maml", flops=5.0)
        t.helped(encoder, 0, 0.25, "teacher")
        t.helped(encoder, 0, None, "started from")
        stored = t.add_task(record)
    assert (encoder, head, bank, meta) == ("encoder-1", "head-1", "bank-1", "meta-1")
    assert stored == replace(record, model="model-1")
    assert store.tasks() == [stored] == [store.task(0)]
    found = store.encoder(encoder)
    assert (found.spec, found.flops, found.lineage, found.parent) == ({"kind": "mlp", "width": 8}, 1e9, encoder, None)
    assert store.encoders() == [found] == [store.entry(encoder)]
    assert store.heads() == store.heads(encoder) == [store.head(head)]
    assert store.heads("encoder-9") == []
    assert store.banks()[0].encoder == encoder
    assert store.metas()[0].spec == {"inner": 1}
    assert torch.equal(store.weights(encoder)["w"], w(0, 3, 2)["w"])
    assert torch.equal(store.weights(bank)["n"], torch.tensor(3))
    assert store.weights(bank)["none"].shape == (0, 2)
    assert [(each.gain, each.how) for each in store.helps(encoder)] == [(0.25, "teacher"), (None, "started from")]
    assert [(each.entry, each.strategy, each.flops) for each in store.provenance()] == [
        ("encoder-1", "s", 1e9),
        ("meta-1", "maml", 5.0),
    ]


def test_everything_survives_closing(tmp_path: Path) -> None:
    with KnowledgeStore.open(tmp_path / "store") as store:
        with store.transaction() as t:
            add_task(t, 0)
            t.add_bank({}, w(5), encoder=None, task=0, slot="anchor")
            t.add_event(0, {"event": "Learned", "loss": None})
            t.set_state("selector", {"seen": [1, 2]})
            t.set_manifest("seed", 7)
        store.add_row(0, None, {"values": [0.1]})
        store.add_row(1, 0, {"values": [0.9]}, [{"event": "Evaluated"}])
        before = (store.encoders(), store.heads(), store.banks(), store.tasks(), store.events(), store.rows())
    with KnowledgeStore.open(tmp_path / "store", create=False) as store:
        after = (store.encoders(), store.heads(), store.banks(), store.tasks(), store.events(), store.rows())
        assert after == before
        assert torch.equal(store.weights("encoder-1")["w"], w(0)["w"])
        assert (store.state("selector"), store.state("nothing")) == ({"seen": [1, 2]}, None)
        assert store.manifest() == {"seed": 7}
        assert [(each.row, each.task) for each in store.rows()] == [(0, None), (1, 0)]
        assert [(each.seq, each.task, each.body["event"]) for each in store.events(after=1)] == [(2, 0, "Evaluated")]
        assert store.verify() == []


def test_state_is_replaced(store: KnowledgeStore) -> None:
    for value in ({"n": 1}, [2]):
        with store.transaction() as t:
            t.set_state("selector", value)
    assert store.state("selector") == [2]


def test_reuse_adds_no_bytes(store: KnowledgeStore) -> None:
    with store.transaction() as t:
        first = add_task(t, 0)
    kept, counts = store.bytes_kept(), store.counts()
    with store.transaction() as t:
        again = add_task(t, 1, seed=0)
    assert (again.encoder, again.head, again.model) == (first.encoder, first.head, first.model)
    assert store.bytes_kept() == kept
    assert store.counts() == counts | {"tasks": 2}


def test_what_differs_in_spec_encoder_or_delta_is_another_entry_with_the_same_blob(store: KnowledgeStore) -> None:
    with store.transaction() as t:
        one, other = add_encoder(t, 0), add_encoder(t, 1)
        kept = store.bytes_kept()
        ids = {
            t.add_encoder({"kind": "conv4"}, w(0), task=0, strategy="s", parent=None, flops=0.0),
            add_encoder(t, 0, parent=one, delta="bias"),
            add_encoder(t, 0, parent=other, delta="bias"),
            add_encoder(t, 0, parent=other, delta="bias"),
            add_encoder(t, 0, parent=other),
        }
        heads = [t.add_head("linear", {}, w(0), encoder=encoder, task=0) for encoder in (one, other, one)]
    assert ids == {"encoder-3", "encoder-4", "encoder-5", one}
    assert heads == ["head-1", "head-2", "head-1"]
    assert store.bytes_kept() == kept


def test_memory_format_is_restored_and_belongs_to_the_entry(store: KnowledgeStore) -> None:
    kernel = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    last = kernel.to(memory_format=torch.channels_last)
    with store.transaction() as t:
        ids = [
            t.add_encoder({}, {"k": each}, task=0, strategy="s", parent=None, flops=0.0) for each in (kernel, last)
        ]  # fmt: skip
    assert [store.encoder(each).memory_format for each in ids] == [{}, {"k": [27, 1, 9, 3]}]
    assert store.encoder(ids[0]).blob == store.encoder(ids[1]).blob
    for _ in range(2):  # from the blob, then from the cache
        assert [store.weights(each)["k"].stride() for each in ids] == [kernel.stride(), last.stride()]
        assert all(torch.equal(store.weights(each)["k"], kernel) for each in ids)


def test_lineage_newest_and_ancestry(store: KnowledgeStore) -> None:
    with store.transaction() as t:
        root, other = add_encoder(t, 0), add_encoder(t, 1)
        second = add_encoder(t, 2, parent=root)
        third = add_encoder(t, 3, parent=second, delta="low-rank")
    assert [each.lineage for each in store.encoders()] == [root, other, root, root]
    assert store.newest(root).id == store.newest(second).id == third
    assert store.newest(other).id == other
    assert [each.id for each in store.ancestry(third)] == [root, second, third]
    assert [each.made_from for each in store.provenance(third)] == [second]


def test_a_slot_holds_the_newest_bank_and_frees_the_former(on_disk: KnowledgeStore, tmp_path: Path) -> None:
    with on_disk.transaction() as t:
        stays = t.add_bank({}, w(9), encoder=None, task=0)
    assert on_disk.bank_in("anchor") is None
    for i in range(3):
        with on_disk.transaction() as t:
            t.add_bank({"i": i}, w(i), encoder=None, task=i, slot="anchor")
    anchor = on_disk.bank_in("anchor")
    assert anchor is not None
    assert (anchor.id, anchor.spec) == ("bank-4", {"i": 2})
    assert [each.id for each in on_disk.banks()] == [stays, "bank-4"]
    assert blob_files(tmp_path) == {f"{each.blob}.safetensors" for each in on_disk.banks()}
    assert on_disk.bytes_kept() == sum(each.bytes for each in on_disk.banks())
    with on_disk.transaction() as t:
        assert t.add_bank({"i": 2}, w(2), encoder=None, task=3, slot="anchor") == "bank-4"


def test_a_superseded_blob_that_another_entry_needs_stays(on_disk: KnowledgeStore) -> None:
    with on_disk.transaction() as t:
        encoder = add_encoder(t, 0)
        t.add_bank({}, w(0), encoder=None, task=0, slot="anchor")
    with on_disk.transaction() as t:
        t.add_bank({}, w(1), encoder=None, task=1, slot="anchor")
        t.add_bank({}, w(2), encoder=None, task=1, slot="anchor")
    assert on_disk.verify() == []
    assert on_disk.counts()["banks"] == 1
    assert torch.equal(on_disk.weights(encoder)["w"], w(0)["w"])


def test_rolling_back_keeps_the_former_holder_of_a_slot(on_disk: KnowledgeStore, tmp_path: Path) -> None:
    with on_disk.transaction() as t:
        t.add_bank({}, w(0), encoder=None, task=0, slot="anchor")
    files = blob_files(tmp_path)
    with pytest.raises(RuntimeError), on_disk.transaction() as t:  # noqa: PT012 - the block must have added something
        t.add_bank({}, w(1), encoder=None, task=1, slot="anchor")
        raise RuntimeError
    assert on_disk.bank_in("anchor") == on_disk.banks()[0]
    assert (blob_files(tmp_path), on_disk.verify()) == (files, [])


def test_what_is_read_can_be_written_without_changing_the_store(store: KnowledgeStore) -> None:
    mine = w(0)
    with store.transaction() as t:
        encoder = t.add_encoder({}, mine, task=0, strategy="s", parent=None, flops=0.0)
    mine["w"].zero_()
    for _ in range(3):
        read = store.weights(encoder)
        assert torch.equal(read["w"], w(0)["w"])
        read["w"].zero_()
        read.clear()
        store.encoder(encoder).spec["changed"] = True
    assert store.encoder(encoder).spec == {}


def test_the_cache_is_bounded(store: KnowledgeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_reader, "CACHE_BYTES", 40)
    with store.transaction() as t:
        ids = [add_encoder(t, i) for i in range(5)]  # 16 bytes each
    for i in (0, 1, 0, 2, 3, 0, 4):
        assert torch.equal(store.weights(ids[i])["w"], w(i)["w"])
        assert store._cached == 16 * len(store._cache) <= 40


def test_a_raise_leaves_nothing(store: KnowledgeStore, tmp_path: Path) -> None:
    with store.transaction() as t:
        add_task(t, 0)
    before = (store.counts(), store.bytes_kept(), store.tasks())
    with pytest.raises(KeyboardInterrupt), store.transaction() as t:  # noqa: PT012 - the block must have added something
        add_task(t, 1)
        t.add_event(1, {})
        assert store.counts()["tasks"] == 2
        raise KeyboardInterrupt
    assert (store.counts(), store.bytes_kept(), store.tasks()) == before
    assert store.collect_garbage() == 0
    with store.transaction() as t:
        assert add_task(t, 1).encoder == "encoder-2"
        assert t.add_event(1, {}) == 1
    with pytest.raises(StoreError, match="transaction of the store has ended"):
        t.add_event(1, {})


def test_errors_of_the_block_itself_are_not_the_stores(store: KnowledgeStore) -> None:
    with pytest.raises(FileNotFoundError), store.transaction():
        Path("/nowhere/at/all").read_text()


def test_transactions_do_not_nest(store: KnowledgeStore) -> None:
    with store.transaction() as t:
        add_encoder(t, 0)
        with pytest.raises(StoreError, match="has a transaction open already"), store.transaction():
            pass
    assert store.counts()["encoders"] == 1


def test_nan_never_reaches_the_store(store: KnowledgeStore) -> None:
    bad = {"w": torch.tensor([1.0, float("nan")])}
    said = "The encoder that finetune made on task 4: Tensor 'w' holds NaN or infinity"
    with pytest.raises(StoreError, match=said), store.transaction() as t:
        t.add_encoder({}, bad, task=3, strategy="finetune", parent=None, flops=0.0)
    with pytest.raises(StoreError, match="The gain by encoder-1 is nan"), store.transaction() as t:
        t.helped("encoder-1", 0, float("nan"), "teacher")
    with pytest.raises(StoreError, match="An event of task 4 is not plain JSON"), store.transaction() as t:
        t.add_event(3, {"loss": float("inf")})
    assert set(store.counts().values()) == {0}


def test_numpy_scalars_are_stored_as_numbers(store: KnowledgeStore) -> None:
    with store.transaction() as t:
        for task in (torch.arange(3)[2], torch.arange(3).numpy()[2]):
            t.add_event(task, {})
    assert [each.task for each in store.events()] == [2, 2]


@pytest.mark.parametrize(
    ("add", "said"),
    [
        (lambda t: t.add_head("linear", {}, w(0), encoder="stem", task=2), "linear head of task 3 names 'stem'"),
        (lambda t: t.add_bank({}, w(0), encoder="encoder-7", task=2), "bank of task 3 names 'encoder-7'"),
        (lambda t: t.add_meta({}, w(0), task=2, strategy="maml", parent="meta-7"), "names 'meta-7'"),
        (lambda t: add_encoder(t, 5, parent="encoder-7"), "names 'encoder-7', which is not among the encoders"),
        (lambda t: add_encoder(t, 5, delta="bias"), "is a bias delta and names no parent"),
        (lambda t: add_encoder(t, 5, parent="encoder-1", delta="half"), "contradicts what is there"),
        (lambda t: add_task(t, 0), r"Task 1 \(task 0\) is in the store already"),
        (lambda t: t.add_row(0, None, {}), "contradicts what is there"),
    ],
)
def test_what_contradicts_the_store_is_refused(store: KnowledgeStore, add: object, said: str) -> None:
    with store.transaction() as t:
        add_task(t, 0)
        t.add_row(0, None, {})
    before = store.counts()
    with pytest.raises(StoreError, match=said), store.transaction() as t:
        add(t)  # type: ignore[operator]
    assert store.counts() == before


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda s: s.encoder("encoder-1"), "no 'encoder-1' among the encoders"),
        (lambda s: s.weights("head-1"), "no 'head-1' among the heads"),
        (lambda s: s.weights("stem"), "'stem' is no id of an entry"),
        (lambda s: s.newest("encoder-1"), "no 'encoder-1'"),
        (lambda s: s.task(3), "no record of task 4"),
    ],
)
def test_what_is_not_there_is_named(store: KnowledgeStore, ask: object, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        ask(store)  # type: ignore[operator]


def test_models_are_numbered_by_encoder_and_head(store: KnowledgeStore) -> None:
    with store.transaction() as t:
        models = [add_task(t, i, seed).model for i, seed in enumerate((0, 1, 0))]
        unlearned = TaskRecord(3, "d", None, (), "regression", None, None, "anchor")
        models += [t.add_task(replace(unlearned, index=i)).model for i in (3, 4)]
        models.append(t.add_task(replace(unlearned, index=5, model="model-1")).model)
    assert models == ["model-1", "model-2", "model-1", "model-3", "model-3", "model-1"]
    assert store.task(3).classes == ()


# Places and damage


def test_nothing_and_an_empty_folder_become_a_store(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "deep/er"):
        with KnowledgeStore.open(tmp_path / name) as store:
            assert store.counts()["tasks"] == 0


def test_what_is_no_store_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "letter.txt").write_text("x")
    (tmp_path / "lost" / "blobs").mkdir(parents=True)
    (tmp_path / "lost" / "blobs" / "0.safetensors").write_text("x")
    with pytest.raises(StoreError, match="is a file, not the folder"):
        KnowledgeStore.open(tmp_path / "file")
    for folder in ("folder", "lost"):
        with pytest.raises(StoreError, match="holds other files, and no catalog"):
            KnowledgeStore.open(tmp_path / folder)
    for options in ({"create": False}, {"read_only": True}):
        with pytest.raises(StoreError, match="There is no knowledge store at"):
            KnowledgeStore.open(tmp_path / "missing", **options)
    with pytest.raises(StoreError, match="cannot be read or written: Not a directory"):
        KnowledgeStore.open(tmp_path / "file" / "store")
    (tmp_path / "lost" / "catalog.sqlite").touch()
    with pytest.raises(StoreError, match=r"catalog\.sqlite is empty, and there are blobs"):
        KnowledgeStore.open(tmp_path / "lost")
    assert {path.name for path in tmp_path.rglob("*")} == {
        "file", "folder", "letter.txt", "lost", "blobs", "0.safetensors", "catalog.sqlite"
    }  # fmt: skip


def test_a_store_whose_making_was_interrupted_is_made(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "catalog.sqlite").touch()
    with KnowledgeStore.open(tmp_path / "store") as store, store.transaction() as t:
        add_task(t, 0)


def test_damage_is_found_and_concerns_its_tasks_only(tmp_path: Path) -> None:
    with KnowledgeStore.open(tmp_path / "store") as store, store.transaction() as t:
        for i, seed in enumerate((0, 1, 0)):
            add_task(t, i, seed)
    with KnowledgeStore.open(tmp_path / "store") as store:
        encoder, head = store.encoder("encoder-1"), store.head("head-2")
        flipped, missing = (tmp_path / "store" / "blobs" / f"{each.blob}.safetensors" for each in (encoder, head))
        data = bytearray(flipped.read_bytes())
        data[-1] ^= 1
        flipped.write_bytes(data)
        missing.unlink()
        found = store.verify()
        assert [(each.entry, each.tasks) for each in found] == [("encoder-1", (0, 2)), ("head-2", (1,))]
        assert "damaged" in found[0].what
        assert "missing" in found[1].what
        with pytest.raises(StoreError, match=f"encoder-1 of task 1 cannot be read: Blob {encoder.blob} .* damaged"):
            store.weights("encoder-1")
        with pytest.raises(StoreError, match=r"head-2 of task 2 cannot be read: .* missing"):
            store.weights("head-2")
        assert torch.equal(store.weights("encoder-2")["w"], w(1)["w"])


def test_a_dangling_row_is_found(on_disk: KnowledgeStore) -> None:
    with on_disk.transaction() as t:
        add_task(t, 0)
    on_disk._db.execute("PRAGMA foreign_keys = OFF")
    on_disk._db.execute("DELETE FROM heads")
    assert [each.what for each in on_disk.verify()] == ["row 0 of tasks names what is not in heads"]


def test_garbage_is_collected_and_what_lives_stays(on_disk: KnowledgeStore, tmp_path: Path) -> None:
    with on_disk.transaction() as t:
        add_task(t, 0)
    blobs = tmp_path / "store" / "blobs"
    before = blob_files(tmp_path)
    (blobs / f"{'0' * 64}.safetensors").write_bytes(b"12345")
    (blobs / f"{'1' * 64}.tmp").write_bytes(b"123")
    assert on_disk.collect_garbage() == 8
    assert blob_files(tmp_path) == before
    assert on_disk.verify() == []


# A failing disk


@pytest.mark.skipif(sys.platform == "win32", reason="needs setrlimit")
def test_a_disk_that_takes_no_more_of_a_blob_is_reported_and_loses_nothing(
    on_disk: KnowledgeStore, tmp_path: Path
) -> None:
    import resource

    with on_disk.transaction() as t:
        add_task(t, 0)
    before, files = on_disk.counts(), blob_files(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))  # a short write, then an error
        said = r"File too large.* nothing that was stored before is lost"
        with pytest.raises(StoreError, match=said), on_disk.transaction() as t:  # noqa: PT012 - what came before goes too
            add_task(t, 1)
            t.add_bank({}, w(0, 100_000), encoder=None, task=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (on_disk.counts(), blob_files(tmp_path), on_disk.verify()) == (before, files, [])
    with on_disk.transaction() as t:
        add_task(t, 1)


def test_a_full_catalog_is_reported_and_loses_nothing(on_disk: KnowledgeStore) -> None:
    with on_disk.transaction() as t:
        add_task(t, 0)
    before = on_disk.counts()
    pages = on_disk._db.execute("PRAGMA page_count").fetchone()[0]
    on_disk._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="no space is left on its disk"), on_disk.transaction() as t:
        t.set_state("selector", "x" * 100_000)
    assert (on_disk.counts(), on_disk.verify()) == (before, [])
    on_disk._db.execute("PRAGMA max_page_count = 1000000")
    with on_disk.transaction() as t:
        t.set_state("selector", "x" * 100_000)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_system_call_is_reported_and_loses_nothing(
    on_disk: KnowledgeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    with on_disk.transaction() as t:
        add_task(t, 0)
    before, files = on_disk.counts(), blob_files(tmp_path)

    def fails(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fails)
        with pytest.raises(StoreError, match="Read-only file system"), on_disk.transaction() as t:
            add_task(t, 1)
    assert (on_disk.counts(), blob_files(tmp_path), on_disk.verify()) == (before, files, [])


def test_a_store_opened_for_reading_is_not_written(tmp_path: Path) -> None:
    with KnowledgeStore.open(tmp_path / "store") as store, store.transaction() as t:
        add_task(t, 0)
    with KnowledgeStore.open(tmp_path / "store", read_only=True) as store:
        assert torch.equal(store.weights("encoder-1")["w"], w(0)["w"])
        with pytest.raises(StoreError, match="cannot be written"), store.transaction() as t:
            add_task(t, 1)


# Two on one store


def test_readers_do_not_block_and_a_second_writer_is_refused_in_time(tmp_path: Path) -> None:
    with KnowledgeStore.open(tmp_path / "store") as one, KnowledgeStore.open(tmp_path / "store", wait=0.05) as two:
        with one.transaction() as t:
            add_task(t, 0)
            assert two.tasks() == []
            said = r"another process has been writing to it for 0\.05 s"
            with pytest.raises(StoreError, match=said), two.transaction() as other:
                add_task(other, 0)
        assert two.tasks() == one.tasks()
        with pytest.raises(StoreError, match=r"Task 1 .* is in the store already"), two.transaction() as other:
            add_task(other, 0)
        with two.transaction() as other:
            add_task(other, 1)
        assert [each.encoder for each in one.tasks()] == ["encoder-1", "encoder-2"]


def test_a_second_writer_waits(tmp_path: Path) -> None:
    with KnowledgeStore.open(tmp_path / "store") as one:

        def second() -> None:
            with KnowledgeStore.open(tmp_path / "store") as two, two.transaction() as other:
                add_task(other, 1)

        thread = threading.Thread(target=second)
        with one.transaction() as t:
            add_task(t, 0)
            thread.start()
            thread.join(0.1)
            assert thread.is_alive()
        thread.join(10)
        assert [each.index for each in one.tasks()] == [0, 1]


# kill -9


def killed(folder: Path, first: int, seeds: int) -> list[dict[str, int]]:
    script = Path(__file__).with_name("killed_writer.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder), str(first), str(seeds)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, int]] = json.loads(done.stdout)
    assert len(found) == seeds
    return found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_killed_writer_leaves_the_store_before_or_after_a_task(tmp_path: Path) -> None:
    killed(tmp_path / "store", 0, 6)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_fifty_killed_writers_leave_the_store_before_or_after_a_task(tmp_path: Path) -> None:
    found = killed(tmp_path / "store", 100, 50)
    # Some died between blobs and commit: the moments are the ones that matter.
    assert sum(each["between"] for each in found) >= 10
