"""`evermap regret` as a user types it."""

import json
from pathlib import Path

import pytest

from evermap.cli import main

TINY = """
description = "Two pairs of digits."
device = "cpu"
[stream]
layout = "split"
test_per_class = 10
train_per_class = 12
class_order = [0, 1, 2, 3]
classes_per_task = 2
[agent]
selector = "probe"
encoder_settings = { hidden = [4] }
anchor_features = 8
[strategies.scratch]
steps = 4
"""


@pytest.fixture(autouse=True)
def _away(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EVERMAP_DATA", raising=False)
    Path("tiny.toml").write_text(TINY)


def test_regret_prints_tables_and_keeps_its_runs(capsys):
    asked = ["regret", "tiny.toml", "--seeds", "0,1", "--fixed", "prototype", "--fixed", "scratch"]
    assert main([*asked, "--sources", "1"]) == 0
    said = capsys.readouterr()
    assert said.err.count("done") == 6
    for word in ("tiny  probe  seeds 0, 1", "naive oracle", "… of the retrieval", "always try all", "gap closed"):
        assert word in said.out
    kept = Path("runs/regret/tiny")
    assert {path.name for path in kept.iterdir()} == {"probe+arms", "fixed-prototype", "fixed-scratch"}

    assert main([*asked, "--sources", "1", "--json"]) == 0
    again = capsys.readouterr()
    assert again.err.count("kept") == 6
    found = json.loads(again.out)
    (scenario,) = found["scenarios"]
    assert [run["seed"] for run in scenario["runs"]] == [0, 1]
    task = scenario["runs"][0]["tasks"][1]
    assert task["regret"]["naive"] == pytest.approx(task["naive"] - task["accuracy"])
    assert set(scenario["gap"]) == {"split", "naive"}

    # The report of a cell is that of any run.
    assert main(["report", str(kept / "probe+arms" / "seed0")]) == 0


def test_fixed_strategies_are_taken_from_runs_that_are_there(capsys):
    for agent, seed in (("fixed:prototype", 0), ("fixed:prototype", 1), ("fixed:scratch", 0)):
        given = ["--set", f"agent.selector={agent}", "--seed", str(seed), "--out", f"mine/{agent[6:]}-{seed}"]
        assert main(["run", "tiny.toml", *given]) == 0
    changed = ["--set", "agent.selector=fixed:scratch", "--set", "strategies.scratch.steps=5", "--out", "mine/other"]
    assert main(["run", "tiny.toml", "--seed", "1", *changed]) == 0
    asked = ["regret", "tiny.toml", "--seeds", "0,1", "--fixed", "prototype", "--fixed", "scratch", "--sources", "0"]
    capsys.readouterr()
    assert main([*asked, "--runs", "mine", "--json"]) == 0
    said = capsys.readouterr()
    assert said.err.count("taken as it is") == 3
    assert "mine/other" not in said.err, "it had another setting"
    assert said.err.splitlines()[-1] == "6/6 tiny, fixed:scratch, seed 1: done"
    assert main([*asked, "--out", "alone", "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)["scenarios"][0]
    assert json.loads(said.out)["scenarios"][0]["fixed"] == alone["fixed"]
    assert main([*asked, "--runs", "nowhere"]) == 2
    assert "--runs nowhere: there is no such folder" in capsys.readouterr().err


def test_of_one_seed_without_fixed_strategies_there_is_no_gap(capsys):
    assert main(["regret", "tiny.toml", "--seeds", "3-3", "--no-fixed", "--agent", "fixed:prototype"]) == 0
    out = capsys.readouterr().out
    assert "seed 3" in out
    assert "n/a" in out
    assert "no fixed strategy was run" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tiny.toml", "--seeds", "two"], "--seeds two: 'two' is no seed"),
        (["tiny.toml", "--fixed", "protoype"], "Did you mean prototype"),
        (["tiny.toml", "--agent", "prob"], "--agent: agent.selector: found 'prob'"),
        (["tiny.toml", "tiny.toml", "--seeds", "1"], "Two scenarios are called 'tiny'"),
        (["tinny.toml"], "there is no such scenario file"),
        (["tiny.toml", "--set", "stream.ways=3"], "--set"),
    ],
)
def test_bad_input_is_one_clear_sentence(arguments, said, capsys):
    assert main(["regret", *arguments]) == 2
    err = capsys.readouterr().err
    assert said in err.replace("\n", " ")
    assert "Traceback" not in err


def test_explain_tells_of_one_task(capsys):
    assert main(["run", "tiny.toml", "--out", "here"]) == 0
    capsys.readouterr()
    assert main(["explain", "here", "2"]) == 0
    out = capsys.readouterr().out
    for heading in ("What was known", "What was considered", "What was chosen, and why", "What it cost"):
        assert heading in out
    assert main(["explain", "here", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["number"] == 2
    assert main(["explain", "here", "seven"]) == 2
    assert "there is no task 'seven'" in capsys.readouterr().err


def test_explain_loads_no_torch(tmp_path):
    import subprocess
    import sys

    assert main(["run", "tiny.toml", "--out", "here"]) == 0
    code = "import sys; from evermap.cli import main; main(['explain', 'here', '1']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
