"""`evermap compare` as a user types it."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evermap import registry
from evermap.cli import main
from evermap.scenarios.record import read_record
from evermap.scenarios.run import run
from evermap.scenarios.scenario import load_scenario
from evermap.scenarios.worker import _check

TINY = """
description = "Two pairs of digits."
[stream]
layout = "split"
test_per_class = 10
train_per_class = 12
class_order = [0, 1, 2, 3]
classes_per_task = 2
[agent]
encoder_settings = { hidden = [8] }
anchor = "none"
[budget]
scratch = 3.0
[strategies.scratch]
steps = 20
[strategies.finetune]
steps = 20
"""
PLUGIN = '''
from evermap.strategies.scratch import Scratch

class Mine(Scratch):
    """A strategy of my own."""
    name = "mine"

    def learn(self, task, known, rng):
        print("what a strategy prints is nobody's answer", flush=True)
        if task.index == 1:
            raise RuntimeError("the <b>dog</b> ate it")
        yield from super().learn(task, known, rng)
'''
COMPARE = ["compare", "tiny.toml", "--with", "fixed:scratch", "--with", "fixed:finetune", "--plugin", "mine.py"]
COMPARE += ["--seeds", "2"]
ALL = [*COMPARE, "--with", "fixed:mine"]


def files(folder: Path) -> None:
    (folder / "tiny.toml").write_text(TINY)
    (folder / "mine.py").write_text(PLUGIN)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A comparison in a folder, with an agent that fails everywhere; and what it said."""
    folder = tmp_path_factory.mktemp("compared")
    files(folder)
    return folder, evermap(ALL, folder)


@pytest.fixture
def away(compared: tuple[Path, object], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Go where it is."""
    monkeypatch.chdir(compared[0])
    for name in ("EVERMAP_DEBUG", "EVERMAP_DATA"):
        monkeypatch.delenv(name, raising=False)
    before = {kind: dict(found) for kind, found in registry._from_files.items()}
    yield compared[0]
    for kind, found in before.items():
        registry._from_files[kind] = found


@pytest.fixture
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be run anew; what is checked is checked here."""

    def do(self: object, tasks: list[dict[str, object]]) -> Iterator[tuple[int, dict[str, object]]]:
        for position, task in enumerate(tasks):
            assert task["do"] == "check", "a cell was run anew"
            yield position, {"state": "done", **_check(task)}

    monkeypatch.setattr("evermap.scenarios.pool.Pool.do", do)


def evermap(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "evermap", *arguments]
    environment = {**os.environ, "COLUMNS": "120", "NO_COLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)


def cells(folder: Path, words: str = "") -> list[Path]:
    return sorted(each for each in (folder / "runs" / "compare-tiny" / "cells").iterdir() if words in each.name)


def test_help_answers_at_once():
    code = (
        "import sys; from evermap.cli import main; code = main(['compare', '--help']);"
        "print(code, [name for name in ('torch', 'numpy', 'scipy', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "0 []"
    assert "--fail-if" in done.stdout


def test_a_cell_that_fails_is_reported_and_the_rest_goes_on(compared):
    folder, said = compared
    assert said.returncode == 1
    lines = said.stdout.splitlines()
    assert sum(line.startswith("[") and "tiny fixed:scratch seed" in line for line in lines) == 2
    assert "[6/6] tiny " in said.stdout
    why = "Strategy 'mine' failed on task 'classes 2, 3' in unit 1: RuntimeError: the <b>dog</b> ate it"
    assert f"tiny fixed:mine seed 1: failed: {why}" in said.stdout
    assert said.stderr.startswith(f"evermap: 2 runs failed. tiny with fixed:mine, seed 0: {why}")
    assert said.stdout.splitlines()[-1] == "runs/compare-tiny/comparison.html"
    assert len(cells(folder)) == 6
    assert "what a strategy prints" in (folder / "runs" / "compare-tiny" / "worker-1.log").read_text()
    page = (folder / "runs" / "compare-tiny" / "comparison.html").read_text()
    assert "the &lt;b&gt;dog&lt;/b&gt; ate it" in page
    assert "<b>dog" not in page


def test_a_cell_is_an_ordinary_run(compared):
    folder, _ = compared
    (cell,) = cells(folder, "scratch_seed1")
    for name in ("scenario.toml", "manifest.json", "matrix.csv", "events.jsonl", "summary.json", "report.html"):
        assert (cell / name).is_file(), name
    recipe = load_scenario(folder / "tiny.toml", ['agent.selector="fixed:scratch"', "seed=1"])
    for _ in run(recipe, folder / "alone"):
        pass
    assert (cell / "matrix.csv").read_bytes() == (folder / "alone" / "matrix.csv").read_bytes()
    recipes = [tomllib.loads((each / "scenario.toml").read_text()) for each in (cell, folder / "alone")]
    assert recipes[0]["strategies"].pop("mine")  # the plug-in was not loaded here
    assert recipes[0] == recipes[1]


def test_the_same_seed_gives_every_agent_the_same(compared):
    """Data, order, initialisation: on the first task `scratch` stands in for `finetune`, and ends bit for bit alike."""
    folder, _ = compared
    one, other = (read_record(cells(folder, f"{name}_seed0")[0]) for name in ("scratch", "finetune"))
    next_seed = read_record(cells(folder, "scratch_seed1")[0])
    assert one.manifest["data_sha256"] == other.manifest["data_sha256"]
    started = [[event for event in each.events if event["event"] == "TaskStarted"] for each in (one, other)]
    assert started[0] == started[1]
    assert (one.matrix.values[:2] == other.matrix.values[:2]).all()
    losses = [
        next(event["loss"] for event in each.events if event["event"] == "Learned") for each in (one, other, next_seed)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_the_numbers_are_those_of_the_runs(compared):
    folder, _ = compared
    found = json.loads((folder / "runs" / "compare-tiny" / "comparison.json").read_text())
    assert found["cells"] == {"wanted": 6, "finished": 4, "failed": 2}
    (scenario,) = found["scenarios"]
    by_agent = {each["agent"]: each for each in scenario["agents"]}
    for agent, words in (("fixed:scratch", "scratch"), ("fixed:finetune", "finetune")):
        last = [read_record(cell).matrix.values[-1].mean() for cell in cells(folder, f"{words}_seed")]
        assert by_agent[agent]["means"]["accuracy"]["mean"] == pytest.approx(sum(last) / 2)
        assert by_agent[agent]["means"]["bytes_kept"]["mean"] > 0
    assert by_agent["fixed:mine"]["means"]["accuracy"]["mean"] is None
    assert [pair["agent"] for pair in scenario["paired"]] == ["fixed:finetune", "fixed:mine"]
    assert scenario["paired"][0]["seeds"] == [0, 1]
    paths = [run["path"] for run in by_agent["fixed:scratch"]["runs"]]
    assert all((folder / "runs" / "compare-tiny" / path / "report.html").is_file() for path in paths)


@pytest.mark.usefixtures("away", "no_worker")
def test_what_is_finished_is_kept(capsys):
    page = Path("runs/compare-tiny/comparison.html")
    assert main([*COMPARE, "--json"]) == 0
    first, bytes_ = json.loads(capsys.readouterr().out), page.read_bytes()
    assert first["cells"] == {"wanted": 4, "finished": 4, "failed": 0}
    assert main(COMPARE) == 0
    out, err = capsys.readouterr()
    assert out.count("kept from before") == 4
    assert err == ""
    assert page.read_bytes() == bytes_  # the same records, the same bytes
    assert json.loads(Path("runs/compare-tiny/comparison.json").read_text()) == first


@pytest.mark.usefixtures("away", "no_worker")
def test_forms(capsys):
    assert main([*COMPARE, "--csv", "--baseline", "fixed:finetune"]) == 0
    out, err = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(out)))
    assert {row["agent"] for row in rows} == {"fixed:scratch", "fixed:finetune"}
    assert {row["seeds"] for row in rows if row["measure"] == "accuracy"} == {"2"}
    assert "kept from before" in err
    assert main([*COMPARE, "--latex"]) == 0
    out = capsys.readouterr().out
    assert out.count(r"\toprule") == 2
    assert r"fixed:scratch & " in out
    assert main([*COMPARE, "--markdown"]) == 0
    assert "| fixed:finetune | " in capsys.readouterr().out
    folder = Path("runs/compare-tiny")
    assert {each.name for each in folder.iterdir() if each.is_file() and each.suffix != ".log"} == {
        "comparison.json",
        "comparison.csv",
        "comparison.tex",
        "comparison.md",
        "comparison.html",
        "runs.csv",
    }


@pytest.mark.usefixtures("away", "no_worker")
def test_fail_if(capsys):
    assert main([*COMPARE, "--fail-if", "fixed:scratch.accuracy < 0"]) == 0
    assert capsys.readouterr().err == ""
    assert main([*COMPARE, "--fail-if", "fixed:scratch.accuracy < 0", "--fail-if", "fixed:scratch.accuracy > 0.1"]) == 3
    assert capsys.readouterr().err == 'evermap: --fail-if "fixed:scratch.accuracy > 0.1" holds on tiny.\n'
    assert main([*COMPARE, "--fail-if", "fixed:scratch.fwt > 0.1"]) == 2
    assert (
        "cannot be decided on tiny: fixed:scratch.forward_transfer is n/a (no task of this stream was"
        in capsys.readouterr().err
    )


@pytest.mark.usefixtures("away", "no_worker")
def test_one_seed_says_so(capsys):
    assert main([*COMPARE[:-1], "1-1"]) == 0
    assert "one seed only: no interval." in capsys.readouterr().out


@pytest.mark.usefixtures("no_worker")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tiny.toml", "--with", "probe", "--with", "probe"], "--with probe: is given twice; once is enough."),
        (["tiny.toml", "tiny.toml", "--with", "probe"], "scenario tiny.toml: is given twice"),
        (["tiny.toml", "--with", "fixd:maml"], "--with: agent.selector: found 'fixd'; there is no such selector"),
        (["tiny.toml", "--with", "fixed:mamml"], "--with: agent.selector: found 'mamml'; there is no such strategy"),
        (["none", "--with", "probe"], "There is no scenario called 'none'."),
        (["tiny.toml", "--with", "probe", "--seeds", "0"], "--seeds 0: how many seeds? 1 to 1000"),
        (["tiny.toml", "--with", "probe", "--seeds", "7-3"], "--seeds 7-3: '7-3' is no seed; write how many"),
        (["tiny.toml", "--with", "probe", "--seeds", "x"], "--seeds x: 'x' is no seed; write how many"),
        (["tiny.toml", "--with", "probe", "--set", "seed=3"], "--set: seed: found '3'; --seeds decides it"),
        (["tiny.toml", "--with", "probe", "--set", "agent.selector=x"], "--with decides it in a comparison"),
        (["tiny.toml", "--with", "probe", "--baseline", "random"], "--baseline random: is none of the agents"),
        (["tiny.toml", "--with", "probe", "--csv", "--json"], "--json and --csv: one at a time is printed"),
        (["tiny.toml", "--with", "probe", "--fail-if", "auto.accuracy < 1"], "there is no agent 'auto'"),
        (["tiny.toml", "--with", "probe", "--out", "tiny.toml"], "--out tiny.toml: this is a file; give a folder."),
        (["tiny.toml", "--with", "probe", "--out", "."], "--out .: holds something else than a comparison"),
        (["tiny.toml", "--with", "probe", "--size", "short"], "this recipe has no table [short]"),
        (["tiny.toml", "--with", "probe", "--equal-bytes-to", "x"], "--equal-bytes-to x: is none of the agents"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(TINY)
    assert main(["compare", *arguments]) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert len(err.splitlines()) == 1
    assert out == ""
    assert [each.name for each in Path().iterdir()] == ["tiny.toml"]


@pytest.mark.slow
def test_an_impossible_pair_is_refused_before_anything_starts(tmp_path):
    files(tmp_path)
    wrong = ["--set", "agent.encoder=conv4", "--set", "agent.stem=patches"]
    said = evermap([*COMPARE, *wrong], tmp_path)
    assert said.returncode == 2
    assert said.stderr.startswith("evermap: Nothing was started: tiny.toml with fixed:scratch: ")
    assert "(and 1 more)" in said.stderr
    assert not list((tmp_path / "runs" / "compare-tiny" / "cells").iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("away")
def test_a_damaged_cell_is_run_again(capsys):
    (cell,) = cells(Path(), "scratch_seed0")
    whole = (cell / "matrix.csv").read_text()
    (cell / "matrix.csv").write_text(whole[: len(whole) // 2])
    assert main(COMPARE) == 0
    out = capsys.readouterr().out
    assert out.count("kept from before") == 3
    assert (cell / "matrix.csv").read_text() == whole


def until(what: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


def finished(folder: Path) -> int:
    manifests = (folder / "runs" / "compare-tiny").glob("cells/*/manifest.json")
    return sum(json.loads(each.read_text())["status"] == "finished" for each in manifests)


def processes(folder: Path) -> list[str]:
    """Worker processes of a comparison in this folder."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            words = (each / "cmdline").read_bytes().split(b"\0")
            if b"evermap.scenarios.worker" in words and (each / "cwd").resolve() == folder.resolve():
                found.append(each.name)
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize(("end", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_comparison_that_was_cut_off_goes_on(end, code, tmp_path, compared):
    files(tmp_path)
    command = [sys.executable, "-m", "evermap", *COMPARE, "--jobs", "2"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: finished(tmp_path) >= 1)
        process.send_signal(end)
        _, err = process.communicate(timeout=120)
    assert process.returncode == code
    until(lambda: not processes(tmp_path))
    kept = finished(tmp_path)
    if end == signal.SIGINT:
        assert f"evermap: interrupted. Kept: {kept} of 4 runs in runs/compare-tiny; the same command goes on" in err
        assert (tmp_path / "runs" / "compare-tiny" / "comparison.json").is_file()
    said = evermap(COMPARE, tmp_path)
    assert said.returncode == 0, said.stderr
    assert said.stdout.count("kept from before") == kept >= 1
    for cell in cells(compared[0], "scratch") + cells(compared[0], "finetune"):
        (again,) = cells(tmp_path, cell.name)
        assert (again / "matrix.csv").read_bytes() == (cell / "matrix.csv").read_bytes()
