"""Evaluations in the middle of learning: what they show, and that nothing else depends on them."""

import csv
import json
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from evermap.agent.answer import Answer
from evermap.agent.events import Evaluated, EvaluatedDuring, Learned
from evermap.scenarios.during import Watch
from evermap.scenarios.examination import TestSets
from evermap.scenarios.record import read_record
from evermap.scenarios.resume import resume
from evermap.scenarios.run import run
from evermap.scenarios.scenario import load_scenario
from evermap.streams.stream import build_stream

sys.path.insert(0, str(Path(__file__).parent))
from small_run import leavings

RECIPE = """
device = "cpu"
[stream]
source = "digits"
setting = "task-incremental"
layout = "tasks"
test_per_class = 10
[agent]
selector = "fixed:finetune"
encoder_settings = { hidden = [32] }
anchor = "none"
[strategies.scratch]
steps = 40
[strategies.finetune]
steps = 25
lr = 0.1
head_first = 0
[[stream.tasks]]
name = "0 or 1"
classes = [0, 1]
train = 10
[[stream.tasks]]
name = "2 or 3, the wrong way round"
classes = [3, 2]
train = 15
[[stream.tasks]]
name = "0 or 1 again"
returns = "0 or 1"
train = 12
"""


def recipe(folder, *changes):
    path = folder / "small.toml"
    path.write_text(RECIPE)
    return load_scenario(path, changes)


def events_of(folder, *changes):
    out = folder / "run"
    out.mkdir()
    return list(run(recipe(folder, *changes), out))


def columns_before(events):
    """Pair every look with the row before it, on the concepts that were learned by then."""
    row, told = None, []
    for event in events:
        if isinstance(event, Evaluated):
            row = event
        elif isinstance(event, EvaluatedDuring) and row.task is not None:
            told.append((event, row))
    return told


def test_stored_versions_are_not_touched_while_a_task_is_learned(tmp_path):
    told = columns_before(events_of(tmp_path, "evaluate_units=5"))
    second = [(look, row) for look, row in told if look.task == 1]
    assert [look.unit for look, _ in second] == [5, 10, 15, 20, 25]
    assert all(look.values[0] == row.values[0] for look, row in second)  # flat
    assert all(look.values[1] == look.own for look, _ in second)
    assert len({look.values[1] for look, _ in second}) > 1  # the task itself is being learned


def test_in_place_what_was_learned_suffers_at_once(tmp_path):
    events = events_of(tmp_path, "evaluate_units=1", "agent.sharing=in-place", "agent.held_out=0")
    rows = {event.task: event for event in events if isinstance(event, Evaluated)}
    looks = [event for event in events if isinstance(event, EvaluatedDuring)]
    # the first task has no test set learned before it
    assert all(look.values[1] is None for look in looks if look.task == 0)
    assert rows[1].values[0] < rows[0].values[0]  # forgotten
    third = [look.values[1] for look in looks if look.task == 2]
    assert min(third) < min(rows[1].values[1], rows[2].values[1]) - 0.2  # a gap: lower on the way than before and after
    # nothing is held out, so the last model is kept: the last look is the row
    for task, row in rows.items():
        if task is not None:
            last = [look for look in looks if look.task == task][-1]
            assert all(value in (None, there) for value, there in zip(last.values, row.values, strict=True))
            assert last.own == row.values[task % 2]


@pytest.mark.parametrize("sharing", ["versions", "in-place"])
def test_what_is_learned_does_not_depend_on_who_looks_on(tmp_path, sharing):
    found = []
    for units in (0, 3):
        out = tmp_path / str(units)
        out.mkdir()
        list(run(recipe(tmp_path, f"agent.sharing={sharing}", f"evaluate_units={units}"), out))
        left = leavings(out)
        for name in ("scenario.toml", "manifest.json", "catalog, manifest"):  # these hold the recipe
            del left[name]
        del left["catalog, sqlite_sequence"]  # counts events
        looks = [event for event in left["events.jsonl"] if event["event"] == "EvaluatedDuring"]
        assert bool(looks) == bool(units) == (out / "during.csv").exists()
        left["events.jsonl"] = [event for event in left["events.jsonl"] if event["event"] != "EvaluatedDuring"]
        numbered = (json.loads(line) for line in left["catalog, events"])
        left["catalog, events"] = sorted(json.dumps(e[1:]) for e in numbered if "EvaluatedDuring" not in str(e))
        found.append(left)
    assert found[0] == found[1]


def test_a_run_that_goes_on_leaves_the_same_evaluations(tmp_path):
    left = []
    for cut in (False, True):
        out = tmp_path / str(cut) / "run"
        out.mkdir(parents=True)
        going = run(recipe(tmp_path, "evaluate_units=5"), out, command=("evermap", "run", "small"))
        for event in going:
            if cut and isinstance(event, Learned) and event.task == 1:
                going.close()
                list(resume(out))
        left.append((leavings(out), (out / "during.csv").read_bytes()))
    assert left[0] == left[1]


def test_the_table_is_that_of_the_events(tmp_path):
    events = events_of(tmp_path, "evaluate_units=10")
    looks = [event for event in events if isinstance(event, EvaluatedDuring)]
    with (tmp_path / "run" / "during.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(looks) == sum(e["event"] == "EvaluatedDuring" for e in read_record(tmp_path / "run").events)
    for row, look in zip(rows, looks, strict=True):
        assert (int(row["task"]), int(row["unit"]), float(row["own"])) == (look.task, look.unit, look.own)
        assert row["0 or 1"] == repr(look.values[0])


def test_without_a_label_the_model_at_work_is_also_asked_alone(tmp_path):
    changes = ("evaluate_units=10", "stream.setting=class-incremental", "agent.anchor=random")
    told = columns_before(events_of(tmp_path, *changes))
    for look, row in told:
        assert look.values[0] == row.values[0]  # who answers without a label learns when the task is remembered
    second = [look for look, _ in told if look.task == 1]
    assert all(look.values[1] == 0.0 for look in second)  # its classes are not known to that one yet
    assert second[-1].own > 0.5


class Broken:
    """Answers nothing that is a number."""

    def answer(self, x: Tensor, label: int | None) -> Answer:
        return Answer(torch.full((len(x), 2), torch.nan), (0, 1), torch.zeros(len(x), dtype=torch.bool))


def test_a_model_that_is_about_to_diverge_ends_nothing(tmp_path):
    stream = build_stream(recipe(tmp_path).stream, 0)
    watch = Watch(stream, TestSets(stream), 64)
    assert watch._score(Broken(), 0, 0) is None


def test_who_is_not_learning_has_nothing_to_say_in_between(tmp_path):
    from evermap.agent.store import KnowledgeStore
    from evermap.scenarios.run import make_agent

    scenario = recipe(tmp_path)
    with KnowledgeStore.in_memory() as store, pytest.raises(RuntimeError, match="ask while `learn` pauses"):
        make_agent(scenario, store).interim(build_stream(scenario.stream, 0).task(0))
