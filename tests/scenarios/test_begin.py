"""A run that begins on another one's store."""

import hashlib
import sys
from pathlib import Path

import pytest

from evermap.agent.store import KnowledgeStore
from evermap.cli import main
from evermap.errors import StoreError
from evermap.scenarios.record import read_record
from evermap.scenarios.resume import resume
from evermap.scenarios.run import run
from evermap.scenarios.scenario import load_scenario

sys.path.insert(0, str(Path(__file__).parent))
from small_run import leavings

SMALL = [
    "stream.train_per_class=12",
    "stream.test_per_class=10",
    "strategies.scratch.steps=20",
    "agent.encoder_settings.hidden=[8]",
    "agent.anchor_features=64",
    "device=cpu",
]


def recipe(name, *more):
    return load_scenario(name, [*SMALL, *more])


def content(folder: Path):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def former(tmp_path_factory):
    """Runs to begin on: five pairs of digits, with task labels, and learned class by class."""
    folder = tmp_path_factory.mktemp("former")
    list(run(recipe("digits-split", "agent.selector=fixed:finetune"), folder / "split"))
    list(run(recipe("digits-class", "agent.selector=fixed:prototype"), folder / "class"))
    return folder


def test_it_knows_what_was_learned_and_harms_nothing(tmp_path, former):
    before = content(former)
    events = list(run(recipe("digits-split", "agent.selector=fixed:finetune"), tmp_path, store=former / "split"))
    assert content(former) == before
    chosen = [event for event in events if type(event).__name__ == "Chosen"]
    assert chosen[0].strategy == "finetune"  # without a store there is nothing to fine-tune
    assert chosen[0].wanted is None
    assert [event.task for event in chosen] == [0, 1, 2, 3, 4]
    with KnowledgeStore.open(tmp_path / "store", read_only=True) as store:
        assert [record.index for record in store.tasks()] == list(range(-5, 5))
        assert [record.label for record in store.tasks()] == [None] * 5 + [0, 1, 2, 3, 4]
        assert store.verify() == []
        assert len(store.rows()) == 6
    record = read_record(tmp_path)
    assert record.manifest["continues"] == {"store": str(former / "split"), "tasks": 5}
    assert record.manifest["kept"] == "5 of 5 tasks, 6 rows of the accuracy matrix"


def test_labels_of_the_old_stream_do_not_answer_in_the_new_one(tmp_path, former):
    fresh = next(run(recipe("digits-split", "agent.selector=fixed:scratch"), tmp_path / "fresh"))
    begun = next(
        run(recipe("digits-split", "agent.selector=fixed:scratch"), tmp_path / "begun", store=former / "split")
    )
    assert begun.values == fresh.values  # row 0 guesses: no old task answers to the label of a new one


@pytest.mark.parametrize(
    ("changes", "knows"), [((), True), (("seed=1",), False), (("agent.anchor_features=32",), False)]
)
def test_class_statistics_are_taken_along_where_they_mean_the_same(tmp_path, former, changes, knows):
    asked = recipe("digits-class", "agent.selector=fixed:prototype", *changes)
    row = next(run(asked, tmp_path, store=former / "class"))
    assert (sum(row.values) / len(row.values) > 0.6) == knows


def test_it_can_be_cut_off_and_go_on(tmp_path, former):
    asked = recipe("digits-class", "agent.selector=fixed:finetune")
    list(run(asked, tmp_path / "a" / "run", store=former / "split", command=["again"]))
    events = run(asked, tmp_path / "b" / "run", store=former / "split", command=["again"])
    for event in events:
        if type(event).__name__ == "Learned" and event.task == 2:
            break
    events.close()
    list(resume(tmp_path / "b" / "run"))
    assert leavings(tmp_path / "a" / "run") == leavings(tmp_path / "b" / "run")


def test_a_wrong_place_is_named_and_nothing_is_left(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="there is no such folder"):
        list(run(recipe("digits-split"), Path("out"), store=Path("none")))
    assert main(["run", "digits-split", "--store", "none", "--out", "new"]) == 2
    assert "none: there is no such folder" in capsys.readouterr().err
    assert not Path("new").exists()
