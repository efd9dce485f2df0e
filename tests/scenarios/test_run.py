import json
import re
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from evermap import registry
from evermap.agent.store import KnowledgeStore
from evermap.cli import main
from evermap.errors import OutputError, StrategyError, UserError
from evermap.scenarios.record import read_record
from evermap.scenarios.run import run
from evermap.scenarios.scenario import load_scenario

SMALL = [
    "stream.train_per_class=20",
    "stream.test_per_class=10",
    "strategies.scratch.steps=8",
    "strategies.finetune.steps=8",
    "agent.encoder_settings.hidden=[8]",
    "agent.encoder=mlp",
    "agent.anchor_features=16",
    "device=cpu",
]


def recipe(selector="probe", name="digits-split", *more):
    return load_scenario(name, [*SMALL, f"agent.selector={selector}", *more])


def names(events):
    return [type(event).__name__ for event in events]


# The record


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    return out, list(run(recipe(), out))


def test_events_come_in_the_order_of_the_loop(finished):
    told = [name for name in names(finished[1]) if name != "Progress"]
    task = ["TaskStarted", "Profiled", "Chosen", "Learned", "Remembered", "Evaluated"]
    assert told == ["Evaluated", *task * 5]


def test_the_record_of_a_finished_run(finished):
    out, events = finished
    record = read_record(out)
    assert record.manifest["status"] == "finished"
    assert record.problems == ()
    assert [event["event"] for event in record.events] == names(events)
    assert record.matrix.values.shape == (6, 5)
    rows = [event.values for event in events if type(event).__name__ == "Evaluated"]
    assert record.matrix.values.tolist() == [list(row) for row in rows]
    assert {row for row, _, _ in record.avalanche} == set(range(6))
    assert record.scenario == load_scenario(out / "scenario.toml").model_dump(mode="json", exclude_none=True)
    with KnowledgeStore.open(out / "store", read_only=True) as store:
        assert [task.index for task in store.tasks()] == [0, 1, 2, 3, 4]
        assert store.verify() == []


def test_what_was_spent_adds_up(finished):
    started = {e.task: e for e in finished[1] if type(e).__name__ == "TaskStarted"}
    profiled = {e.task: e for e in finished[1] if type(e).__name__ == "Profiled"}
    for event in finished[1]:
        if type(event).__name__ == "Learned":
            assert event.total_flops >= event.flops + profiled[event.task].flops
            passed = event.total_flops > started[event.task].budget
            assert passed == any("the budget was passed" in warning for warning in event.warnings)


@pytest.mark.parametrize(
    ("name", "rows"), [("digits-class", 6), ("digits-rotations", None), ("digits-fewshot", None), ("digits-split", 6)]
)
@pytest.mark.parametrize("selector", ["random", pytest.param("fixed:prototype", marks=pytest.mark.slow)])
def test_every_setting_runs(tmp_path, name, rows, selector):
    few_shot = [line for line in SMALL if not line.startswith("stream.train")] if name == "digits-fewshot" else SMALL
    asked = load_scenario(name, [*few_shot, f"agent.selector={selector}"])
    events = list(run(asked, tmp_path))
    evaluated = [event for event in events if type(event).__name__ == "Evaluated"]
    assert rows is None or len(evaluated) == rows
    given = asked.stream.setting.label_when_asked
    shares = evaluated[-1].anchor_share
    assert len(shares) == (0 if given else len(evaluated[-1].columns))
    assert all(0 <= share <= 1 for share in shares)
    if name == "digits-class":
        assert set(shares) == {1.0}, "so few samples prove nothing for the models of tasks"
    assert read_record(tmp_path).manifest["status"] == "finished"


# The same seed


def leavings(out):
    """What a run left, without what a clock measured."""
    blobs = {path.name for path in (out / "store" / "blobs").iterdir()}
    events = re.sub(r'"(seconds|peak_bytes)": [0-9.e-]+', r'"\1": 0', (out / "events.jsonl").read_text())
    return events, (out / "matrix.csv").read_bytes(), (out / "avalanche.csv").read_bytes(), blobs


@pytest.mark.parametrize("selector", ["probe", "random", "fixed:finetune"])
def test_the_same_seed_leaves_the_same_bytes(tmp_path, selector):
    import random

    import numpy as np
    import torch

    for number in (1, 2):
        out = tmp_path / str(number)
        out.mkdir()
        torch.manual_seed(number), np.random.seed(number), random.seed(number)  # noqa: NPY002 - what must not matter
        list(run(recipe(selector), out))
    assert leavings(tmp_path / "1") == leavings(tmp_path / "2")


def test_another_seed_leaves_others(tmp_path, finished):
    list(run(recipe("probe", "digits-split", "seed=1"), tmp_path))
    assert leavings(tmp_path)[0] != leavings(finished[0])[0]
    assert leavings(tmp_path)[3] != leavings(finished[0])[3]


# Ends before the end


def test_an_interruption_keeps_finished_tasks(tmp_path):
    events = run(recipe("fixed:scratch"), tmp_path)
    for event in events:
        if type(event).__name__ == "Progress" and event.task == 2:
            break
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt())
    record = read_record(tmp_path)
    assert record.manifest["status"] == "interrupted"
    assert "2 of 5 tasks, 3 rows" in json.dumps(record.manifest)
    assert record.matrix.values.shape == (3, 5)
    assert {event.get("task") for event in record.events} == {None, 0, 1}
    with KnowledgeStore.open(tmp_path / "store", read_only=True) as store:
        seen = [task.index for task in store.tasks()]
        assert store.verify() == []
    assert seen == [0, 1]


def test_closing_the_run_keeps_finished_tasks(tmp_path):
    events = run(recipe("fixed:scratch"), tmp_path)
    while type(next(events)).__name__ != "Remembered":
        pass
    events.close()  # the task is in the store, its row is not
    record = read_record(tmp_path)
    assert record.manifest["status"] == "interrupted"
    assert record.matrix.values.shape == (1, 5)
    assert "1 of 5 tasks, 1 row" in json.dumps(record.manifest)


def test_ctrl_c_in_a_terminal(tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "evermap", "run", "digits-split", "--out", str(out), "--device", "cpu", "--json"]
    command += ["--selector", "fixed:scratch", "--set", "strategies.scratch.steps=2000"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        for line in started.stdout:
            if '"Remembered"' in line:
                break
        for line in started.stdout:
            if '"TaskStarted"' in line:
                break
        time.sleep(0.2)  # somewhere in the middle of a task
        started.send_signal(signal.SIGINT)
        _, said = started.communicate(timeout=60)
    finally:
        started.kill()
        started.wait()
    assert started.returncode == 130
    assert "interrupted" in said
    assert "Kept: " in said
    assert "Traceback" not in said
    record = read_record(out)
    assert record.manifest["status"] == "interrupted"
    assert record.matrix.values.shape[0] >= 2


@pytest.fixture
def plugin(tmp_path):
    """A function that writes a strategy's `learn` into a file; what it registered is taken back."""
    kept = {kind: dict(found) for kind, found in registry._from_files.items()}

    def write(body):
        file = tmp_path / "my_way.py"
        text = "from evermap.agent.strategy import Strategy\n\n\nclass MyWay(Strategy):\n    name = 'my-way'\n\n"
        text += "    def learn(self, task, known, rng):\n" + textwrap.indent(textwrap.dedent(body), " " * 8)
        file.write_text(text)
        return file

    yield write
    for kind, found in kept.items():
        registry._from_files[kind].clear()
        registry._from_files[kind].update(found)


FAILS_ON_THE_FOURTH = """
    yield known.fresh(task, rng)
    if task.index == 3:
        raise ValueError("three is too many")
"""


def test_a_plugin_that_raises_leaves_the_record_up_to_there(tmp_path, plugin):
    registry.add_file(plugin(FAILS_ON_THE_FOURTH))
    out = tmp_path / "run"
    out.mkdir()
    with pytest.raises(StrategyError, match=r"'my-way' failed on task .* in unit 2: ValueError: three is too many"):
        list(run(recipe("fixed:my-way"), out))
    record = read_record(out)
    assert record.manifest["status"] == "failed"
    assert record.matrix.values.shape == (4, 5)
    assert {event.get("task") for event in record.events} == {None, 0, 1, 2}


def test_the_command_line_names_the_plugin_and_the_task(tmp_path, plugin, capfd):
    out = tmp_path / "run"
    sets = [part for line in SMALL for part in ("--set", line)]
    given = ["--plugin", str(plugin(FAILS_ON_THE_FOURTH)), "--selector", "fixed:my-way", "--out", str(out), *sets]
    assert main(["run", "digits-split", *given]) == 2
    said = capfd.readouterr().err
    assert "'my-way' failed on task" in said
    assert "three is too many" in said
    assert "Kept: 3 of 5 tasks" in said
    assert "Traceback" not in said
    assert (out / "report.html").exists()


def test_a_plugin_that_diverges_is_replaced(tmp_path, plugin):
    body = """
        model = known.fresh(task, rng)
        if task.index == 2:
            model.head.weight.data.fill_(float("nan"))
        yield model
    """
    registry.add_file(plugin(body))
    out = tmp_path / "run"
    out.mkdir()
    learned = [event for event in run(recipe("fixed:my-way"), out) if type(event).__name__ == "Learned"]
    assert [event.strategy == "my-way" for event in learned] == [True, True, False, True, True]
    assert "'my-way' failed on task" in learned[2].warnings[0]
    with KnowledgeStore.open(out / "store", read_only=True) as store:
        entries = [*store.encoders(), *store.heads()]
        assert all(bool(t.isfinite().all()) for entry in entries for t in store.weights(entry.id).values())


def test_a_device_that_is_not_there(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(UserError, match="no CUDA device"):
        list(run(recipe("probe", "digits-split", "device=cuda"), tmp_path))


def test_a_folder_that_holds_a_run_is_not_run_into_again(tmp_path):
    scenario = load_scenario("digits-split", ["agent.selector=fixed:prototype", "stream.train_per_class=3"])
    for _ in run(scenario, tmp_path / "mine"):
        pass
    before = {path: path.read_bytes() for path in (tmp_path / "mine").glob("*.*")}
    with pytest.raises(OutputError, match="not empty"):
        next(run(scenario, tmp_path / "mine"))
    assert {path: path.read_bytes() for path in (tmp_path / "mine").glob("*.*")} == before
