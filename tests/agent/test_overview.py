"""What a store holds, as plain data, and the commands that show it."""

import json
import re

import pytest
import torch

from evermap.agent.entries import SignatureRecord, TaskRecord
from evermap.agent.exchange import export, import_export
from evermap.agent.inherit import inherit
from evermap.agent.overview import compared, listed, shown, similar, task_called
from evermap.agent.store import KnowledgeStore
from evermap.cli import main
from evermap.errors import OutputError, StoreError, UserError


def weights(seed):
    return {"w": torch.randn(4, generator=torch.Generator().manual_seed(seed))}


def signature(i, mean):
    values = torch.tensor([mean, 0.0]).numpy().astype("<f4").tobytes()
    return SignatureRecord(i, "1", {str(i): 1, "9": 1}, values, values)


@pytest.fixture
def folder(tmp_path):
    """Four tasks: a first encoder, two versions made from it, one of these helped the last task, which reuses it."""
    with KnowledgeStore.open(tmp_path / "store") as store, store.transaction() as t:
        spec = {"name": "mlp", "input_shape": [1], "stem": None}
        first = t.add_encoder(spec, weights(0), task=0, strategy="scratch", parent=None, flops=1e6)
        second = t.add_encoder(spec, weights(1), task=1, strategy="finetune", parent=first, flops=2e6)
        third = t.add_encoder(spec, weights(2), task=2, strategy="finetune", parent=first, flops=3e6)
        for i, encoder in enumerate((first, second, third, second)):
            head = t.add_head("linear", {}, weights(10 + min(i, 2)), encoder=encoder, task=i)
            t.add_task(
                TaskRecord(
                    i, f"task {'abcd'[i]}", i, (i, 9), "classification", encoder, head, "s", None, {"reason": "why"}
                )
            )
            t.add_signature(signature(i, (0.0, 1.0, 3.0, 0.9)[i]))
        t.helped(second, 3, 0.125, "reuse")
        t.helped("model-2", 3, None, "teacher")
        t.add_bank({"episode": 3}, weights(20), encoder=None, task=3, slot="episode 0")
        t.add_meta({"strategy": "maml"}, weights(30), task=3, strategy="maml")
    return tmp_path / "store"


def test_the_list(folder):
    with KnowledgeStore.open(folder, read_only=True) as store:
        found = json.loads(json.dumps(listed(store)))
        assert found["bytes"] == store.bytes_kept()
    assert [task["name"] for task in found["tasks"]] == ["task a", "task b", "task c", "task d"]
    assert [each["answers_for"] for each in found["encoders"]] == [[0], [1, 3], [2]]
    assert found["replay"]["tasks"] == 1
    assert found["banks"][0]["samples"] is True


def test_an_encoder_with_its_tree_and_whom_it_helped(folder):
    with KnowledgeStore.open(folder, read_only=True) as store:
        found = json.loads(json.dumps(shown(store, "encoder-2")))
    tree = found["lineage"]
    assert (tree["id"], [child["id"] for child in tree["children"]]) == ("encoder-1", ["encoder-2", "encoder-3"])
    assert tree["children"][0]["task_name"] == "task b"
    assert found["made_from"] == [{"entry": "encoder-1", "strategy": "finetune", "task": 1, "flops": 2e6}]
    assert [each["name"] for each in found["answers_for"]] == ["task b", "task d"]
    assert [(each["name"], each["gain"], each["how"]) for each in found["helped"]] == [
        ("task d", 0.125, "reuse"),
        ("task d", None, "teacher"),
    ]
    assert found["tensors"] == {"w": [4]}


def test_a_task_by_name_or_number(folder, tmp_path):
    with KnowledgeStore.open(folder, read_only=True) as store:
        assert shown(store, "task d") == shown(store, "4")
        assert (shown(store, "1")["name"], shown(store, "1")["index"], shown(store, "1")["number"]) == (
            "task a",
            0,
            "1",
        )
        assert [each["entry"] for each in shown(store, "task d")["helped_by"]] == ["encoder-2", "model-2"]
        assert task_called(store, "task b").index == 1
        with pytest.raises(
            UserError, match=r"no task 'tusk b'\. Did you mean 'task b'\? Give a name, or a number: 1 to 4\."
        ):
            shown(store, "tusk b")
        for none in ("0", "5", "-1", "before-1"):
            with pytest.raises(UserError, match=f"There is no task '{none}'"):
                shown(store, none)
        with pytest.raises(StoreError, match="no 'head-9' among the heads"):
            shown(store, "head-9")
    inherit(folder, tmp_path / "copy")
    with KnowledgeStore.open(tmp_path / "copy") as store:
        assert [(r.index, r.name) for r in store.tasks()][::3] == [(-4, "task a"), (-1, "task d")]
        assert (task_called(store, "before-1").name, task_called(store, "before-4").name) == ("task d", "task a")
        with pytest.raises(UserError, match="or a number: before-1 to before-4"):
            task_called(store, "1")
        with store.transaction() as t:
            t.add_task(TaskRecord(0, "4", 0, (0, 9), "classification", None, None, "anchor"))
            t.add_task(TaskRecord(1, "new", 1, (0, 9), "classification", None, None, "anchor"))
        assert [task_called(store, name).index for name in ("1", "2", "4", "before-4")] == [0, 1, 0, -4]
        assert [each["number"] for each in listed(store)["tasks"]][3:] == ["before-1", "1", "2"]


def test_the_nearest_tasks(folder):
    with KnowledgeStore.open(folder, read_only=True) as store:
        found = similar(store, "task d")
        assert [near["name"] for near in found["nearest"]] == ["task b", "task a", "task c"]
        near = found["nearest"][0]
        assert near["input"] == pytest.approx(0.1)
        assert near["label"] == 0.5
        assert len(similar(store, "4", 1)["nearest"]) == 1


def test_two_stores_are_compared_by_content(folder, tmp_path):
    with KnowledgeStore.open(folder) as one, KnowledgeStore.open(tmp_path / "other") as other:
        with other.transaction() as t:
            t.add_encoder({}, weights(99), task=0, strategy="s", parent=None, flops=0.0)
            entry = t.add_encoder({"name": "mlp"}, weights(0), task=5, strategy="scratch", parent=None, flops=0.0)
            head = t.add_head("linear", {}, weights(77), encoder=entry, task=0)
            t.add_task(TaskRecord(7, "task a", 0, (0, 9), "classification", entry, head, "s"))
        assert compared(one, one)["equal"]
        found = compared(one, other)
    assert not found["equal"]
    assert found["encoders"]["both"] == 1
    assert [each["id"] for each in found["encoders"]["only_there"]] == ["encoder-1"]
    assert found["encoders"]["made_otherwise"] == []  # whatever its task and its id are
    assert [each["name"] for each in found["tasks"]["changed"]] == ["task a"]
    assert [each["name"] for each in found["tasks"]["only_here"]] == ["task b", "task c", "task d"]


def test_the_same_weights_made_from_something_else_are_a_difference_of_provenance(folder, tmp_path):
    with KnowledgeStore.open(folder) as one, KnowledgeStore.open(tmp_path / "other") as other:
        with other.transaction() as t:
            t.add_encoder({"name": "mlp"}, weights(1), task=0, strategy="finetune", parent=None, flops=0.0)
        found = compared(one, other)["encoders"]
    assert (found["both"], [each["id"] for each in found["made_otherwise"]]) == (1, ["encoder-2"])


def test_the_commands(folder, capsys, tmp_path):
    def say(*arguments, code=0):
        assert main(["store", *arguments]) == code
        return capsys.readouterr().out

    said = say("ls", str(folder))
    assert "4 tasks, 3 encoders, 4 heads, 1 bank, 1 meta-initialisation" in said
    assert "Samples of 1 task are kept" in said
    said = say("show", str(folder), "encoder-2")
    assert "├── encoder-2  finetune on task 2, “task b”" in said
    assert "└── encoder-3" in said
    assert "encoder-1 by finetune on task 2, 2.00 MFLOP" in said
    assert "task 4, “task d”: +12.5 points, reuse (encoder-2)" in said
    assert "why" in say("show", str(folder), "task d")
    assert "4 " in say("show", str(folder), "head-1")
    said = say("similar", str(folder), "task d", "--most", "2")
    assert said.index("task b") < said.index("task a")
    assert "task c" not in said
    assert "The store is sound" in say("verify", str(folder))
    (folder / "blobs" / f"{'0' * 64}.safetensors").write_bytes(b"12345")
    assert json.loads(say("gc", str(folder), "--json")) == {"freed": 5}
    assert "hold the same" in say("diff", str(folder), str(folder))
    assert "knows 4 tasks" in say("import", str(folder), str(tmp_path / "copy"))
    said = " ".join(say("diff", str(folder), str(tmp_path / "copy"), code=1).split())
    assert re.search(r"tasks 4 encoders 3 heads 4 banks 0 bank-1 metas 1$", said)  # samples are not taken along
    for arguments in (("ls", "x"), ("show", "x", "encoder-1"), ("similar", "x", "1"), ("diff", "x", "x")):
        named = [str(folder) if word == "x" else word for word in arguments]
        assert json.loads(say(*named, "--json"))


def test_verify_names_the_tasks_of_what_is_damaged_and_ends_with_1(folder, capsys):
    with KnowledgeStore.open(folder) as store:
        blob = folder / "blobs" / f"{store.encoder('encoder-2').blob}.safetensors"
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    assert main(["store", "verify", str(folder)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "encoder-2 (concerns task 2 “task b”, 4 “task d”): Blob" in said
    assert "damaged" in said
    assert main(["store", "verify", str(folder), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["tasks"] == [1, 3]
    assert main(["store", "show", str(folder), "encoder-1"]) == 0  # the rest stays usable
    assert main(["store", "show", str(folder), "encoder-2"]) == 2
    assert "encoder-2 of task 2 cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["ls", "verify", "gc"])
def test_what_is_no_store_is_a_users_mistake(command, tmp_path, capsys):
    assert main(["store", command, str(tmp_path / "none")]) == 2
    assert "there is no such folder" in capsys.readouterr().err
    assert main(["store", command, str(tmp_path)]) == 2
    assert "holds no knowledge store" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_export_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"format": 1}')
    with pytest.raises(StoreError, match=r"a\.safetensors: cannot be read"):
        import_export(tmp_path / "a", tmp_path / "new")
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    with pytest.raises(StoreError, match="is no exported model"):
        import_export(tmp_path / "a.json", tmp_path / "new")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(StoreError, match="is no exported model"):
        import_export(tmp_path / "a.json", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_export_overwrites_nothing(tmp_path):
    from evermap.agent.encoder import build_encoder
    from evermap.agent.model import LinearHead, state

    with KnowledgeStore.open(tmp_path / "store") as store:
        with store.transaction() as t:
            encoder = build_encoder("mlp", (1, 2, 2), {"hidden": (3,)}, 0)
            entry = t.add_encoder(
                {**encoder.spec, "stem": None}, state(encoder), task=0, strategy="s", parent=None, flops=1.0
            )
            head = t.add_head("linear", {}, state(LinearHead(3, 2)), encoder=entry, task=0)
            t.add_task(TaskRecord(0, "a", 0, (4, 7), "classification", entry, head, "s"))
            t.add_task(TaskRecord(1, "b", 1, (4, 7), "classification", None, None, "anchor"))
        facts = {"class_names": [f"class {i}" for i in range(10)], "own_labels": []}
        files = export(store, "a", tmp_path / "deep" / "model", facts)
        assert json.loads(files[1].read_text())["class_names"] == ["class 4", "class 7"]
        before = files[0].read_bytes()
        with pytest.raises(OutputError, match="is there already"):
            export(store, "a", tmp_path / "deep" / "model", facts)
        assert files[0].read_bytes() == before
        with pytest.raises(StoreError, match="has no model of its own"):
            export(store, "b", tmp_path / "b")
