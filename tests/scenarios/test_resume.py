"""A run that is cut off and goes on ends as one that was not."""

import errno
import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from evermap import registry
from evermap.cli import main
from evermap.errors import RecordError, ResumeError
from evermap.scenarios.record import read_record
from evermap.scenarios.resume import resume
from evermap.scenarios.run import run
from evermap.scenarios.scenario import load_scenario

sys.path.insert(0, str(Path(__file__).parent))
from small_run import RECIPE, leavings, recipe

COMMAND = ("evermap", "run", "small")


def name(event):
    return type(event).__name__


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Every kind of run once, not cut off: its events and what it leaves."""
    made = {}

    def get(*changes):
        if changes not in made:
            folder = tmp_path_factory.mktemp("whole")
            events = list(run(recipe(folder, *changes), folder / "run", command=COMMAND))
            made[changes] = events, leavings(folder / "run")
        return made[changes]

    return get


def cut(events, kind, task):
    """Let a run go on up to an event, then close it, as an exception in whoever watches would."""
    for event in events:
        if (name(event), getattr(event, "task", None)) == (kind, task):
            break
    else:
        raise AssertionError(f"there is no {kind} of task {task}")
    events.close()


EVERYTHING = ()
IN_PLACE = ("agent.sharing=in-place", "agent.selector=fixed:multitask", "evaluate_every=2")
BY_LOT = ("agent.selector=random", "evaluate_every=3", "agent.stem=patches")
META = ("agent.selector=fixed:maml", "seed=3")
BOUNDED = ("budget.bytes=67000", "budget.consolidate=0.4", "agent.selector=probe")
JOINED = (  # two sources, and a task of which it is hidden that it returns
    "stream.sources={letters = {source = 'glyphs', settings = {alphabets = 2, characters = 5, samples = 20}}}",
    "stream.tasks.3={name = 'letters', source = 'letters', classes = 4, train = 5, query = 5}",
    "stream.tasks.4.hidden=true",
    "agent.selector=random",
)


@pytest.mark.parametrize(
    ("changes", "cuts"),
    [
        # Before anything, in the joint learning, between and after tasks of the phase, at the end.
        (EVERYTHING, [("Evaluated", None), ("LearnedTogether", None), ("Remembered", 1), ("Progress", 5)]),
        (EVERYTHING, [("TaskStarted", 0), ("Remembered", 2), ("Chosen", 4), ("Remembered", 5), ("Resumed", None)]),
        (IN_PLACE, [("Learned", 1), ("Remembered", 1), ("Learned", 2), ("Remembered", 3), ("Profiled", 5)]),
        (BY_LOT, [("Remembered", 0), ("Remembered", 1), ("Remembered", 2), ("Evaluated", 5)]),
        (META, [("Remembered", 3), ("Learned", 4), ("Evaluated", 5)]),
        (BOUNDED, [("Remembered", 3), ("Bounded", 4), ("Learned", 5), ("Remembered", 5)]),
        (JOINED, [("Remembered", 2), ("Learned", 3), ("Remembered", 4), ("Evaluated", 5)]),
    ],
    ids=["everything", "everything, elsewhere", "in place", "by lot", "meta", "bounded", "joined sources"],
)
def test_it_ends_with_the_same_bytes(tmp_path, whole, changes, cuts):
    events, expected = whole(*changes)
    out = tmp_path / "run"
    told = []
    for number, (kind, task) in enumerate(cuts):
        cut(resume(out) if number else run(recipe(tmp_path, *changes), out, command=COMMAND), kind, task)
        assert read_record(out).problems == ()
    told = list(resume(out))
    assert name(told[0]) == "Resumed"
    found = leavings(out)
    assert found.keys() == expected.keys()
    for part, content in expected.items():
        assert found[part] == content, part
    interruptions = json.loads((out / "manifest.json").read_text())["interruptions"]
    assert [each["status"] for each in interruptions] == ["interrupted"] * len(cuts)
    assert Counter(name(event) for event in events)["Evaluated"] == len(read_record(out).matrix.values)


def test_a_missing_row_is_evaluated_again_and_nothing_is_learned_again(tmp_path, whole):
    events, _ = whole()
    out = tmp_path / "run"
    cut(run(recipe(tmp_path), out, command=COMMAND), "Remembered", 3)
    assert read_record(out).matrix.row_tasks == (None, 0, 2)
    told = resume(out)
    first, second = next(told), next(told)
    told.close()
    assert (first.done, first.tasks, first.rows, first.changed) == (4, 6, 3, ())
    row = next(event for event in events if name(event) == "Evaluated" and event.task == 3)
    assert (name(second), second.row, second.values, second.samples) == ("Evaluated", 4 - 1, row.values, row.samples)


def test_a_run_of_the_short_size_goes_on_in_it(tmp_path, capsys):
    path = tmp_path / "my.toml"
    path.write_text(RECIPE + '[short]\n"stream.test_per_class" = 5\n"agent.selector" = "fixed:prototype"\n')
    short = load_scenario(path, size="short")
    whole, out = tmp_path / "whole" / "run", tmp_path / "cut" / "run"
    list(run(short, whole, command=COMMAND))
    cut(run(short, out, command=COMMAND), "Remembered", 3)
    path.unlink()  # the record says all
    assert main(["resume", str(out)]) == 0
    assert "my-short" in capsys.readouterr().out
    assert leavings(out) == leavings(whole)


def test_what_is_told_after_it_is_what_was_missing(tmp_path, whole):
    events, _ = whole()
    out = tmp_path / "run"
    cut(run(recipe(tmp_path), out, command=COMMAND), "Evaluated", 3)
    told = list(resume(out))
    after = list(itertools.dropwhile(lambda event: not (name(event) == "TaskStarted" and event.task == 4), events))
    assert [(name(each), getattr(each, "task", None)) for each in told[1:]] == [
        (name(each), getattr(each, "task", None)) for each in after
    ]


def test_nothing_happens_to_a_finished_run(tmp_path, capsys):
    out = tmp_path / "run"
    list(run(recipe(tmp_path, "agent.selector=fixed:prototype"), out, command=COMMAND))
    before = leavings(out), (out / "manifest.json").read_bytes()
    assert list(resume(out)) == []
    assert main(["resume", str(out)]) == 0
    said = capsys.readouterr()
    assert "is finished: 6 of 6 tasks, 6 rows" in said.err
    assert said.out.splitlines()[-1] == str(out / "report.html")
    assert (leavings(out), (out / "manifest.json").read_bytes()) == before


def test_the_command_line_goes_on_and_shows_all(tmp_path, capsys):
    out = tmp_path / "run"
    cut(run(recipe(tmp_path, "agent.selector=fixed:prototype"), out, command=COMMAND), "Learned", 4)
    assert main(["resume", str(out)]) == 0
    said = capsys.readouterr()
    assert "resumed: 4 of 6 tasks and 4 rows of the accuracy matrix are there" in said.out
    assert "[task 5/6]" in said.out
    assert "[task 4/6]" not in said.out
    assert said.out.splitlines()[-1] == str(out / "report.html")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["run"]["status"] == "finished"
    assert [task["accuracy"] is not None for task in summary["tasks"]] == [True] * 6
    assert ["interruptions", "1"] in summary["run"]["facts"]
    assert said.err == ""


def test_the_command_line_prints_events_as_json(tmp_path, capsys):
    out = tmp_path / "run"
    cut(run(recipe(tmp_path, "agent.selector=fixed:prototype"), out, command=COMMAND), "Learned", 4)
    assert main(["resume", str(out), "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events][:2] == ["Resumed", "TaskStarted"]
    assert events[-1]["event"] == "Summary"


# What must not have changed


@pytest.fixture
def stopped(tmp_path):
    out = tmp_path / "run"
    cut(run(recipe(tmp_path, "agent.selector=fixed:prototype"), out, command=COMMAND), "Evaluated", 0)
    return out


def change(out, file, old, new):
    path = out / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def in_catalog(out, key, value):
    from evermap.agent.store import KnowledgeStore

    with KnowledgeStore.open(out / "store") as store, store.transaction() as t:
        t.set_manifest(key, value)


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (lambda out: change(out, "scenario.toml", "seed = 0", "seed = 1"), "recipe, seed: 0 → 1"),
        (
            lambda out: change(out, "scenario.toml", 'name = "four"', 'name = "quartet"'),
            "recipe, stream.tasks.3.name: four → quartet",
        ),
        (lambda out: in_catalog(out, "data_sha256", "0" * 64), "the data: the source's samples are others"),
        (lambda out: in_catalog(out, "versions", {"torch": "1.0"}), "torch: 1.0 → "),
        (lambda out: in_catalog(out, "device", "cuda"), "device: cuda → cpu"),
        (lambda out: in_catalog(out, "strategies", ["prototype", "gone"]), "strategy gone: is not there"),
    ],
    ids=["recipe", "recipe, inside", "data", "versions", "device", "strategies"],
)
def test_it_refuses_what_has_changed_and_says_what(stopped, capsys, alter, said):
    alter(stopped)
    before = (stopped / "manifest.json").read_bytes(), (stopped / "matrix.csv").read_bytes()
    with pytest.raises(ResumeError, match="cannot go on as it began") as error:
        next(resume(stopped))
    assert said in str(error.value)
    assert ((stopped / "manifest.json").read_bytes(), (stopped / "matrix.csv").read_bytes()) == before
    assert main(["resume", str(stopped)]) == 2
    out, err = capsys.readouterr()
    assert said in " ".join(err.split())
    assert len(err.splitlines()) == 1
    assert out == ""


def test_force_goes_on_and_is_recorded(stopped):
    in_catalog(stopped, "versions", {"torch": "1.0"})
    list(resume(stopped, force=True))
    manifest = read_record(stopped).manifest
    assert manifest["status"] == "finished"
    assert any(each.startswith("torch: 1.0 → ") for each in manifest["interruptions"][0]["changed"])


def test_other_words_in_the_recipe_change_nothing(stopped):
    change(stopped, "scenario.toml", "Two tasks", "A pair of tasks")
    list(resume(stopped))
    assert read_record(stopped).manifest["interruptions"][0]["changed"] == []


def test_another_processor_is_noted_and_no_reason_to_refuse(stopped):
    in_catalog(stopped, "processor", "abacus")
    list(resume(stopped))
    assert read_record(stopped).manifest["interruptions"][0]["changed"][0].startswith("processor: abacus → ")


def test_what_is_no_run_is_refused(tmp_path, stopped):
    with pytest.raises(RecordError, match="there is no such folder"):
        next(resume(tmp_path / "nowhere"))
    with pytest.raises(RecordError, match="is no run record"):
        next(resume(tmp_path))
    (stopped / "scenario.toml").unlink()
    with pytest.raises(RecordError, match="is missing, and with it the recipe"):
        next(resume(stopped))


def test_two_processes_do_not_work_on_one_run(stopped):
    first = resume(stopped)
    next(first)
    with pytest.raises(ResumeError, match="another process is working on this run"):
        next(resume(stopped))
    first.close()
    assert read_record(stopped).manifest["status"] == "interrupted"


# A failing disk


@pytest.mark.parametrize("call", ["fsync", "write", "replace"])
def test_a_full_disk_is_one_message_and_the_run_goes_on_when_there_is_room(tmp_path, whole, capsys, monkeypatch, call):
    _, expected = whole()
    out, real, calls = tmp_path / "run", getattr(os, call), itertools.count()

    def full(*given):
        if next(calls) >= 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*given)

    cut(run(recipe(tmp_path), out, command=COMMAND), "Evaluated", 0)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        assert main(["resume", str(out)]) == 2
    said = capsys.readouterr().err
    assert "No space left on device" in said
    assert "is lost" in said
    assert "fault of evermap" not in said
    assert "Traceback" not in said
    list(resume(out))
    assert leavings(out) == expected


PLUGIN = """
from evermap.strategies.prototype import Prototype

class Mine(Prototype):
    name = "mine"
"""


def test_a_plugin_must_be_given_again_and_be_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for kind in registry.GROUPS:
        monkeypatch.setitem(registry._from_files, kind, {})
    plugin = Path("mine.py")
    plugin.write_text(PLUGIN)
    registry.add_file(plugin)
    cut(run(recipe(tmp_path, "agent.selector=fixed:mine"), Path("run"), command=COMMAND), "Evaluated", 0)
    registry._from_files["strategy"].clear()
    assert main(["resume", "run"]) == 2
    assert (
        "run was run with the plug-in mine.py, which must be given again: --plugin mine.py" in capsys.readouterr().err
    )
    plugin.write_text(PLUGIN + "\n# changed\n")
    assert main(["resume", "run", "--plugin", "mine.py"]) == 2
    assert "the plug-in mine.py: its code is another" in " ".join(capsys.readouterr().err.split())
    plugin.write_text(PLUGIN)
    assert main(["resume", "run", "--plugin", "mine.py"]) == 0
    assert "6 of 6" in read_record(Path("run")).manifest["kept"]


# kill -9


def killed(folder, first, kills):
    script = Path(__file__).with_name("killed_run.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder), str(first), str(kills)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_killed_run_goes_on(tmp_path):
    found = killed(tmp_path, 0, 5)
    assert len(found["kills"]) == 5
    assert found["runs"] >= 1


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_runs_killed_at_sixty_moments_go_on(tmp_path):
    found = killed(tmp_path, 100, 60)
    assert len(found["kills"]) == 60
    where = Counter(kill["where"] for kill in found["kills"])
    # Among them moments in the middle of writing a blob, of a transaction, and of learning.
    assert where["half a write"] >= 3
    assert where["SQL"] >= 10
    assert where["a moment"] >= 15
