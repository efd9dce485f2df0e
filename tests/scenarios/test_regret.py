import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evermap.agent.answer import Answer
from evermap.agent.features import FEATURES
from evermap.errors import OutputError, RecordError, UserError
from evermap.scenarios.arm_table import ANSWERS, ARMS, read_table
from evermap.scenarios.arms import halves, worth_of
from evermap.scenarios.oracle import task_regret
from evermap.scenarios.record import read_record
from evermap.scenarios.regret import CELL, Cell, looking_on, planned, run_cell, run_cells
from evermap.scenarios.regret_summary import learned_values, summarise
from evermap.scenarios.run import run
from evermap.scenarios.scenario import load_scenario
from evermap.streams.stream import TestSet

sys.path.insert(0, str(Path(__file__).parent))
from small_run import leavings, recipe


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The same run alone and with every arm beside it."""
    folder = tmp_path_factory.mktemp("pair")
    small = recipe(folder)
    list(run(small, folder / "alone"))
    list(run(small, folder / "watched", loop=looking_on(folder / "watched", 8)))
    return folder


@pytest.fixture(scope="module")
def table(pair):
    return read_table(pair / "watched")


def test_the_agent_does_what_it_would_have_done_alone(pair):
    alone, watched = leavings(pair / "alone"), leavings(pair / "watched")
    for each in (alone, watched):
        for word in ("id", "command"):
            each["manifest.json"].pop(word)
    assert watched == alone


def test_every_option_is_run_once(pair, table):
    chosen = {e["task"]: e for e in read_record(pair / "watched").events if e["event"] == "Chosen"}
    assert set(table.arms) == set(chosen) == set(table.answers)
    for task, arms in table.arms.items():
        options = {(o["strategy"], o["source"]) for o in chosen[task]["considered"] if o["why_not"] is None}
        assert {arm.way for arm in arms} == options
        assert len(arms) == len(options)
        applies = {name for name, open_to in arms[0].facts.mask.items() if open_to}
        assert applies == {arm.strategy for arm in arms}
        for name in applies:
            assert [arm.rank for arm in arms if arm.strategy == name] == list(range(len(arms)))[
                : sum(arm.strategy == name for arm in arms)
            ]


def test_what_the_agent_answered_is_what_the_matrix_says(pair, table):
    record = read_record(pair / "watched")
    assert [answer.accuracy for _, answer in sorted(table.answers.items())] == pytest.approx(learned_values(record))
    learned = {e["task"]: e for e in record.events if e["event"] == "Learned"}
    for task, answer in table.answers.items():
        assert answer.way == (learned[task]["strategy"], learned[task]["source"])
        assert answer.flops == learned[task]["total_flops"] - learned[task]["consolidation"]


def test_a_closed_form_that_answered_is_the_arm_of_the_table(table):
    """Nothing was tried out, so that the arm at full budget is what the agent did."""
    same = [
        (arm, table.answers[task])
        for task, arms in table.arms.items()
        for arm in arms
        if arm.way == table.answers[task].way and arm.strategy in ("prototype", "reuse")
    ]
    assert same
    for arm, answer in same:
        assert (arm.accuracy, arm.half_a, arm.half_b) == (answer.accuracy, answer.half_a, answer.half_b)
        assert arm.bytes <= answer.bytes  # a network that was trained beside it is the agent's


def test_arms_pay_what_comes_before_the_choice_and_stay_in_the_budget(table):
    for arms in table.arms.values():
        for arm in arms:
            assert arm.flops > arm.facts.before >= 0
            assert arm.flops <= arm.facts.budget or arm.units == 1
            assert set(arm.facts.features) == set(FEATURES)
    probed = [arm.facts.before for arms in table.arms.values() for arm in arms if arm.facts.features["probed"]]
    assert probed
    assert min(probed) > 0


def test_a_returning_task_has_stored_sources(table):
    arms = table.arms[4]
    assert any(arm.stored and arm.source.startswith("encoder-") for arm in arms)
    assert {"reuse", "finetune", "distill"} <= {arm.strategy for arm in arms}


def test_the_halves_are_fixed_and_even_in_every_class():
    y = torch.tensor([0] * 10 + [1] * 6 + [2] * 5)
    first = halves(y, 3)
    assert torch.equal(first, halves(y, 3))
    assert not torch.equal(first, halves(y, 4))
    for c, n in ((0, 10), (1, 6), (2, 5)):
        assert abs(int(first[y == c].sum()) - n / 2) <= 0.5
    assert int(first.sum()) == 11
    assert int(halves(torch.randn(9, 2), 0).sum()) == 5


def test_regression_is_valued_by_r_squared(tmp_path):
    sets = ["stream.tasks=[1, 1, 1]", "strategies.scratch.steps=5", "agent.selector=fixed:prototype", "device=cpu"]
    small = load_scenario("sinusoids-shift", sets, size="short")
    run_cell(Cell(small, tmp_path / "cell", arms=True, sources=0))
    table = read_table(tmp_path / "cell")
    arms = table.arms[0]
    assert arms[0].facts.regression
    assert arms[0].facts.features["regression"] == 1.0
    assert all(arm.accuracy <= 1 for arm in arms)
    assert task_regret(arms, table.answers[0]).regret.naive >= 0


def test_the_halves_of_a_regression_have_the_whole_as_their_mean():
    g = torch.Generator().manual_seed(0)
    y, said = torch.randn(20, 2, generator=g), torch.randn(20, 2, generator=g)
    test = TestSet(torch.zeros(20, 1), y, None, ())
    answer = Answer(torch.zeros(20, 0), (), torch.zeros(20, dtype=torch.bool), said)
    worth = worth_of(answer, test, 0, 5)
    first, variance = halves(y, 5), float(y.var(dim=0, correction=0).mean())
    assert worth.whole == pytest.approx(1 - float(((said - y) ** 2).mean()) / variance)
    assert worth.a == pytest.approx(1 - float(((said - y)[first] ** 2).mean()) / variance)
    assert (worth.a + worth.b) / 2 == pytest.approx(worth.whole), "no half is measured by a variance of its own"


# Cells


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
selector = "fixed:scratch"
encoder_settings = { hidden = [4] }
anchor_features = 8
[strategies.scratch]
steps = 4
"""


def cells(folder, *, seeds=(0,), fixed=("prototype",)):
    (folder / "tiny.toml").write_text(TINY)
    return planned([load_scenario(folder / "tiny.toml")], seeds, fixed, folder / "out", sources=1)


def test_the_arm_that_answers_is_run_also_from_a_source_that_was_left_out(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    recipe_ = load_scenario(tmp_path / "tiny.toml", ["agent.selector=fixed:finetune"])
    list(run(recipe_, tmp_path / "run", loop=looking_on(tmp_path / "run", 0)))
    table = read_table(tmp_path / "run")
    assert [arm.way for arm in table.arms[1] if arm.stored] == [("finetune", "encoder-1")]
    assert table.answers[1].way == ("finetune", "encoder-1")
    assert task_regret(table.arms[1], table.answers[1]).carrying_out is not None


def test_finished_cells_are_kept(tmp_path):
    parts, planned_cells = cells(tmp_path, seeds=(0, 1))
    assert [cell.arms for cell in planned_cells] == [True, False, True, False]
    first = list(run_cells(planned_cells))
    assert [done.kept for done in first] == [False] * 4
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert [done.kept for done in run_cells(planned_cells)] == [True] * 4
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()} == before

    found = summarise("fixed:scratch", parts)
    small = found["scenarios"][0]
    assert small["tasks"] == 4
    assert set(small["fixed"]) == {"prototype"}
    assert small["best_fixed"]["strategies"] == {"0": "prototype", "1": "prototype"}
    assert small["means"]["regret_naive"]["value"] == pytest.approx(
        small["means"]["naive"]["value"] - small["means"]["accuracy"]["value"]
    )
    assert found["pooled"] == {key: small["gap"][key] for key in ("split", "naive")}
    json.dumps(found, allow_nan=False)

    other = [Cell(cell.scenario, cell.folder, cell.arms, 2 if cell.arms else 0) for cell in planned_cells]
    with pytest.raises(OutputError, match="with other settings"):
        list(run_cells(other))


def test_a_cell_that_was_cut_off_begins_anew(tmp_path):
    _, (mine, _) = cells(tmp_path)
    events = run(mine.scenario, mine.folder, loop=looking_on(mine.folder, 1))
    mine.folder.parent.mkdir(parents=True)
    while type(next(events)).__name__ != "Learned":
        pass
    events.close()
    assert (mine.folder / ARMS).exists()
    assert not run_cell(mine).kept
    tasks = [json.loads(line)["task"] for line in (mine.folder / ANSWERS).read_text().splitlines()]
    assert tasks == [0, 1]


def test_what_is_no_run_is_not_removed(tmp_path):
    _, (mine, _) = cells(tmp_path)
    mine.folder.mkdir(parents=True)
    (mine.folder / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="no run"):
        run_cell(mine)
    assert (mine.folder / "thesis.txt").read_text() == "years of work"


@pytest.mark.slow
def test_worker_processes_leave_the_same(tmp_path):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    _, here = cells(tmp_path / "here", seeds=(0, 1))
    _, there = cells(tmp_path / "there", seeds=(0, 1))
    list(run_cells(here))
    assert sum(not done.kept for done in run_cells(there, jobs=2)) == 4
    for one, other in zip(here, there, strict=True):
        assert (one.folder / "matrix.csv").read_bytes() == (other.folder / "matrix.csv").read_bytes()
        assert (one.folder / CELL).read_bytes() == (other.folder / CELL).read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_an_error_in_a_worker_process_is_told_as_it_is(tmp_path):
    _, asked = cells(tmp_path)
    broken = [replace(c, scenario=c.scenario.model_copy(update={"device": "cuda"})) for c in asked]
    with pytest.raises(UserError, match=r"tiny, .*, seed 0: --device cuda: torch finds no CUDA device"):
        list(run_cells(broken, jobs=2))


def test_a_setting_without_task_label_is_left_out(tmp_path):
    parts, none = planned([load_scenario("digits-class", [])], (0, 1), ("prototype",), tmp_path)
    assert none == []
    found = summarise("probe", parts)
    assert "anchor answers" in found["scenarios"][0]["left_out"]
    assert found["pooled"]["split"] == {"value": None, "reason": "every scenario is left out"}


def test_bad_input_is_named(tmp_path):
    small = recipe(tmp_path)
    with pytest.raises(UserError, match="no strategy called 'protoype'"):
        planned([small], (0,), ("protoype",), tmp_path)
    with pytest.raises(UserError, match="Two scenarios are called 'small'"):
        planned([small, small], (0,), (), tmp_path)
    with pytest.raises(RecordError, match="is missing"):
        read_table(tmp_path)
    (tmp_path / ARMS).write_text('{"format": 1, "task": 0}\n')
    with pytest.raises(RecordError, match="line 1 is damaged"):
        read_table(tmp_path)
