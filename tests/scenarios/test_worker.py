"""What a worker process does with a cell; here in this process."""

from contextlib import closing
from pathlib import Path

import pytest

from evermap.errors import ResumeError
from evermap.scenarios.record import read_record
from evermap.scenarios.run_lock import locked
from evermap.scenarios.scenario import Scenario, load_scenario
from evermap.scenarios.worker import _check, _events, _run
from evermap.streams.stream import build_stream

TINY = """
[stream]
layout = "split"
test_per_class = 10
train_per_class = 12
class_order = [0, 1, 2, 3]
classes_per_task = 2
[agent]
selector = "fixed:prototype"
anchor = "none"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Scenario:
    (tmp_path / "tiny.toml").write_text(TINY)
    return load_scenario(tmp_path / "tiny.toml")


def told(recipe: Scenario, folder: Path) -> list[str]:
    return [type(event).__name__ for event in _events(recipe, folder, None, [])]


def test_a_cell_that_was_cut_off_goes_on(recipe: Scenario, tmp_path: Path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert told(recipe, whole)[0] == "Evaluated"
    with closing(_events(recipe, cut, None, [])) as events:
        for event in events:
            if type(event).__name__ == "Evaluated" and event.row == 1:
                break
    assert read_record(cut).manifest["status"] == "interrupted"
    assert told(recipe, cut)[0] == "Resumed"
    assert (cut / "matrix.csv").read_bytes() == (whole / "matrix.csv").read_bytes()


@pytest.mark.parametrize("damage", ["matrix.csv", "manifest.json", "store/catalog.sqlite", "scenario.toml"])
def test_a_cell_that_is_damaged_begins_again(damage: str, recipe: Scenario, tmp_path: Path):
    folder = tmp_path / "cell"
    told(recipe, folder)
    whole = (folder / "matrix.csv").read_bytes()
    (folder / damage).write_bytes(b"?" * 9000)
    if damage in ("store/catalog.sqlite", "scenario.toml"):  # as if it had been killed
        manifest = (folder / "manifest.json").read_text().replace('"finished"', '"running"')
        (folder / "manifest.json").write_text(manifest)
    names = told(recipe, folder)
    assert "Resumed" not in names
    assert names.count("Evaluated") == 3
    assert (folder / "matrix.csv").read_bytes() == whole


def test_a_cell_that_another_process_works_at_is_left_alone(recipe: Scenario, tmp_path: Path):
    folder = tmp_path / "cell"
    told(recipe, folder)
    with locked(folder), pytest.raises(ResumeError, match="another process is working on this run"):
        told(recipe, folder)
    assert read_record(folder).manifest["status"] == "finished"


def test_it_says_when_a_task_begins(tmp_path: Path, recipe: Scenario):
    said: list[object] = []
    task = {"scenario": str(tmp_path / "tiny.toml"), "sets": ["seed=3"], "folder": str(tmp_path / "cell")}
    assert _run({**task, "size": "default", "data_root": None, "plugins": []}, said.append) == {}
    assert said == [{"state": "at work", "task": 0, "tasks": 2}, {"state": "at work", "task": 1, "tasks": 2}]
    manifest = read_record(tmp_path / "cell").manifest
    assert (manifest["seed"], manifest["status"]) == (3, "finished")
    assert manifest["command"] == ["evermap", "run", str(tmp_path / "cell" / "scenario.toml")]


def test_it_finds_pairs_that_are_impossible(tmp_path: Path, recipe: Scenario):
    agents = [["probe", []], ["fixed:scratch", ["agent.encoder=conv4", "agent.stem=patches"]]]
    task = {"scenario": str(tmp_path / "tiny.toml"), "agents": agents, "size": "default", "data_root": None}
    found = _check({**task, "plugins": []})
    (wrong,) = found["wrong"]
    assert found["data"] == build_stream(recipe.stream, 0).data_hash
    assert wrong[0] == "fixed:scratch"
    assert "conv4" in wrong[1]
