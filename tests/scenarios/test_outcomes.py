"""What one run came to."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from evermap.errors import RecordError
from evermap.reports.story import TaskStory
from evermap.scenarios.comparable import labelled
from evermap.scenarios.matrix import AccuracyMatrix
from evermap.scenarios.outcomes import key_of, quantities
from evermap.scenarios.record import RunFolder, read_record

sys.path.insert(0, str(Path(__file__).parent))
from told_runs import STREAM, read_outcome, told, write_run


def test_the_numbers_of_a_run_by_hand(tmp_path: Path):
    found = read_outcome(write_run(tmp_path / "run", seed=3))
    assert (found.scenario, found.agent, found.seed, found.tasks) == ("two", "fixed:scratch", 3, 2)
    assert (found.status, found.regression) == ("finished", False)
    expected = {
        "accuracy": (0.8 + 0.7) / 2,
        "incremental_accuracy": (0.9 + (0.8 + 0.7) / 2) / 2,
        "learning_accuracy": (0.9 + 0.7) / 2,
        "forgetting": 0.1,
        "backward_transfer": -0.1,
        "bytes_kept": 200.0,
        "flops": 3e6,
        "cpu_seconds": 1.0,
    }
    for key, value in expected.items():
        assert found.values[key] == pytest.approx(value), key
    assert found.values["forward_transfer"] is None
    assert "classes of it were not seen" in found.reasons["forward_transfer"]


def test_what_was_not_measured_is_no_number(tmp_path: Path):
    found = read_outcome(write_run(tmp_path / "nan", values=[[0.5, 0.5], [0.9, 0.6], [math.nan, 0.7]]))
    assert found.values["accuracy"] is None
    assert "was not measured in row 2" in found.reasons["accuracy"]
    assert found.values["learning_accuracy"] == pytest.approx(0.8)
    empty = read_outcome(write_run(tmp_path / "none", values=[]))
    assert empty.tasks == 0
    assert all(value is None for value in empty.values.values())
    assert set(empty.reasons) == set(empty.values)


def test_a_stream_is_the_same_whatever_the_seed_and_the_agent(tmp_path: Path):
    one = read_outcome(write_run(tmp_path / "1", seed=1))
    two = read_outcome(write_run(tmp_path / "2", agent="probe", seed=2))
    other = read_outcome(write_run(tmp_path / "3", recipe=STREAM.replace("split", "rotations")))
    assert one.stream == two.stream != other.stream
    assert one.recipe == two.recipe == {"agent.encoder": "mlp"}


def test_every_quantity_can_be_typed():
    keys = [each.key for each in quantities()]
    assert keys[:3] == ["accuracy", "incremental_accuracy", "learning_accuracy"]
    assert {"forgetting", "backward_transfer", "forward_transfer", "bytes_kept", "flops", "cpu_seconds"} <= set(keys)
    assert len(set(keys)) == len(keys)
    assert all(key.isidentifier() for key in keys)
    assert key_of("some (new) measure") == "some_new_measure"
    assert {each.key: each.better for each in quantities()}["forgetting"] == "lower"


def test_what_differs_has_different_names():
    runs = [
        told("probe", 0, 0.5, recipe={"budget.scratch": 1.0, "agent.stem": "none"}),
        told("probe", 0, 0.6, recipe={"budget.scratch": 2.0, "agent.stem": "none"}),
        told("random", 0, 0.4, recipe={"budget.scratch": 2.0}),
        told("random", 0, 0.4, stream="another"),
    ]
    named = labelled(runs)
    assert [each.agent for each in named] == [
        "probe [budget.scratch=1.0]",
        "probe [budget.scratch=2.0]",
        "random",
        "random",
    ]
    assert [each.scenario for each in named] == ["two [two]"] * 3 + ["two [anothe]"]


def test_two_runs_of_one_seed_are_not_counted_twice():
    with pytest.raises(RecordError, match=r"are both runs of probe with seed 4 on two; give one of them"):
        labelled([told("probe", 4, 0.5), told("probe", 4, 0.5)])


def test_making_room_in_the_store_costs_too(tmp_path: Path):
    folder = write_run(tmp_path / "run")
    bounded = {"event": "Bounded", "task": 1, "flops": 5e5, "seconds": 0.25}
    with (folder / "events.jsonl").open("a") as file:
        file.write(json.dumps(bounded) + "\n")
    found = read_outcome(folder)
    assert (found.values["flops"], found.values["cpu_seconds"]) == (3.5e6, 1.25)
    learned = [event for event in read_record(folder).events if event["event"] == "Learned"]
    story = TaskStory(1, learned=learned[1], bounded=bounded)  # what a report says of the same task
    assert (story.spent, story.seconds) == (2.5e6, 0.75)


def test_the_peak_is_that_of_the_greediest_task_where_all_are_known(tmp_path: Path):
    folder = write_run(tmp_path / "run")
    assert read_outcome(folder).values["peak_memory"] is None
    assert read_outcome(folder).reasons["peak_memory"] == "the record does not tell it"
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    for event, peak in zip((e for e in events if e["event"] == "Learned"), (5e8, 4e8), strict=True):
        event["peak_bytes"] = peak
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    assert read_outcome(folder).values["peak_memory"] == 5e8


def test_a_run_that_was_evaluated_once_has_no_learning_accuracy(tmp_path: Path):
    folder = write_run(tmp_path / "run")
    R = AccuracyMatrix(
        np.array([[0.5, 0.5], [0.8, 0.7]]), ("a", "b"), (None, 1), (1, 1), ((0, 1), (2, 3)), (False,) * 2
    )
    RunFolder(folder).write_matrix(R)
    found = read_outcome(folder)
    assert found.values["accuracy"] == pytest.approx(0.75)
    assert found.values["learning_accuracy"] is None
    assert found.reasons["learning_accuracy"] == "evaluated once, after all tasks"
