"""Competitors: every strategy of the table runs where the table says, within its budget, and leaves a record."""

import itertools
import json
import math

import pytest
import torch

from evermap.cli import main
from evermap.errors import ResumeError, StrategyError, UserError
from evermap.reports.report import report
from evermap.scenarios.competitor import table
from evermap.scenarios.record import read_record
from evermap.scenarios.resume import resume
from evermap.scenarios.run import run
from evermap.scenarios.scenario import load_scenario

STREAMS = {
    "task-incremental": ["stream.layout=split"],
    "class-incremental": ["stream.layout=split"],
    "domain-incremental": ["stream.layout=rotations", "stream.angles=[0, 90, 45]"],
    "blurry": ["stream.layout=split", "stream.overlap=0.5"],
    "online": ["stream.layout=split", "stream.experience_size=16"],
}
SMALL = ["stream.train_per_class=16", "stream.test_per_class=5", "device=cpu", "agent.encoder_settings.hidden=[24, 16]"]
PAIRS = [(name, setting) for name, method in table().items() for setting in method.settings]
QUICK = {("Naive", "task-incremental"), ("Replay", "class-incremental"), ("EWC", "domain-incremental")}
QUICK |= {("PackNet", "task-incremental"), ("StreamingLDA", "online"), ("JointTraining", "class-incremental")}


LOOKED_AT = {("Naive", "task-incremental"), ("ICaRL", "class-incremental"), ("StreamingLDA", "online")}
LOOKED_AT |= {("PackNet", "task-incremental"), ("SCR", "domain-incremental"), ("joint", "class-incremental")}


def recipe(agent: str, setting: str, *more: str):
    classes = ["stream.class_order=[0, 1, 2, 3, 4, 5]"] if setting != "domain-incremental" else []
    changes = [f"stream.setting={setting}", "stream.source=digits", *classes, *SMALL, "budget.flops=3e7", *more]
    file = "digits-rotations" if setting == "domain-incremental" else "digits-class"
    return load_scenario(file, [*STREAMS[setting][1:], *changes, f"agent.selector={json.dumps(agent)}"])


def play(agent: str, setting: str, out, *more: str):
    return [event.to_json() for event in run(recipe(agent, setting, *more), out)]


def of(events, kind):
    return [event for event in events if event["event"] == kind]


@pytest.mark.parametrize(
    ("name", "setting"), [pytest.param(*p, marks=() if p in QUICK else pytest.mark.slow, id="-".join(p)) for p in PAIRS]
)
def test_every_strategy_runs_where_the_table_says_and_within_its_budget(name, setting, tmp_path):
    if name == "GEM":
        pytest.importorskip("quadprog")
    state = torch.get_rng_state()
    arguments = {"MER": "(mem_size=20, batch_size_mem=4)"}.get(name, "")
    events = play(f"avalanche:{name}{arguments}", setting, tmp_path)
    assert torch.equal(state, torch.get_rng_state()), "what is drawn is its own affair"
    budgets = [event["budget"] for event in of(events, "TaskStarted")]
    learned = of(events, "Learned")
    waits = name == "JointTraining"
    spent = [event["total_flops"] for event in learned]
    limits = list(itertools.accumulate(budgets)) if waits else budgets
    for flops, limit, event in zip(spent, limits, learned, strict=True):
        assert flops <= limit * 1.02 or any("budget was passed" in each for each in event["warnings"])
    assert sum(spent) > 0.1 * sum(budgets), "it does use its budget"
    rows = of(events, "Evaluated")
    assert len(rows) == (2 if waits else len(budgets) + 1)
    kept = of(events, "Kept")
    totals = [each["weights"] + each["statistics"] + each["samples"] for each in kept]
    assert totals == [each["store_bytes"] for each in of(events, "Remembered")]
    assert kept[-1]["weights"] > 0
    record = read_record(tmp_path)
    assert record.matrix is not None
    assert len(record.matrix.values) == len(rows)
    page, summary = report(tmp_path)
    assert page.is_file()
    assert all(each["strategy"].startswith("avalanche:") for each in summary["tasks"])


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        pytest.param(*p, marks=() if p in LOOKED_AT else pytest.mark.slow, id="-".join(p))
        for p in [*PAIRS, *(("joint", setting) for setting in STREAMS)]
    ],
)
def test_who_looks_on_while_it_learns_changes_nothing(name, setting, tmp_path):
    if name == "GEM":
        pytest.importorskip("quadprog")
    arguments = {"MER": "(mem_size=20, batch_size_mem=4)"}.get(name, "")
    agent = name if name == "joint" else f"avalanche:{name}{arguments}"
    k = 1 if name == "StreamingLDA" else 2  # that one has all of a task as one step
    alone, watched = (
        play(agent, setting, tmp_path / str(units), "budget.flops=6e6", f"evaluate_units={units}") for units in (0, k)
    )
    looks = of(watched, "EvaluatedDuring")
    assert looks
    assert (tmp_path / str(k) / "during.csv").read_text().count("\n") == len(looks) + 1
    for each in ("matrix.csv", "avalanche.csv"):
        assert (tmp_path / "0" / each).read_bytes() == (tmp_path / str(k) / each).read_bytes()
    left = [event for event in watched if event["event"] != "EvaluatedDuring"]
    for event in (*alone, *left):
        event.pop("seconds", None)
        event.pop("peak_bytes", None)
    assert left == alone
    assert all(0 < each["fraction"] <= 1 and each["unit"] % k == 0 for each in looks)


def test_what_is_seen_on_the_way_is_what_it_would_answer_there(tmp_path):
    events = play("avalanche:Naive(lr=0.01)", "class-incremental", tmp_path, "evaluate_units=1", "budget.flops=6e6")
    rows, looks = of(events, "Evaluated"), of(events, "EvaluatedDuring")
    for learned in of(events, "Learned"):
        mine = [each for each in looks if each["task"] == learned["task"]]
        assert [each["unit"] for each in mine] == list(range(1, learned["units"] + 1))
        seen, row = mine[-1]["values"], rows[learned["task"] + 1]["values"]
        assert [a for a in seen if a is not None] == list(row[: learned["task"] + 1]), (
            "after the last step, it is the row"
        )
    second = [each for each in looks if each["task"] == 1]
    assert second[0]["own"] > second[0]["values"][1], "among its own classes it is right sooner"
    lowest = [
        min([each["values"][j] for each in looks if each["task"] > j] + [row["values"][j] for row in rows[j + 1 :]])
        for j in range(2)  # what was learned last had no time to fall
    ]
    summary = report(tmp_path)[1]
    (found,) = [each["value"] for each in summary["measures"] if each["name"] == "lowest accuracy"]
    assert found == pytest.approx(sum(lowest) / 2)


def test_joint_is_looked_at_while_it_is_trained_anew(tmp_path):
    events = play("joint", "class-incremental", tmp_path, "evaluate_units=3", "budget.flops=6e6")
    units = {task: [e["unit"] for e in of(events, "EvaluatedDuring") if e["task"] == task] for task in range(3)}
    for learned in of(events, "Learned"):
        assert units[learned["task"]] == list(range(3, learned["units"] + 1, 3))
    assert len(units[2]) > len(units[0]), "it has the budgets of all tasks"


def test_a_memory_holds_what_it_may_and_is_counted(tmp_path):
    kept = of(play("avalanche:Replay(mem_size=20)", "class-incremental", tmp_path), "Kept")
    sample = 64 * 4 + 8 + 8  # pixels, class, task label
    assert [each["samples"] for each in kept] == [20 * sample] * 3
    encoder = (64 * 24 + 24) + (24 * 16 + 16)
    assert kept[0]["weights"] == 4 * (encoder + 16 * 6 + 6)
    assert kept[0]["statistics"] == pytest.approx(2 * kept[0]["weights"], rel=0.02), "Adam's two moments"


def test_penalties_and_former_networks_are_counted(tmp_path):
    naive, lwf, ewc = (
        of(play(f"avalanche:{name}", "class-incremental", tmp_path / name), "Kept") for name in ("Naive", "LwF", "EWC")
    )
    assert lwf[-1]["weights"] == 2 * naive[-1]["weights"], "the network before the task"
    for task in range(3):  # saved weights and importances of every task
        assert ewc[task]["statistics"] - naive[task]["statistics"] == 2 * (task + 1) * naive[0]["weights"]
    assert naive[-1]["samples"] == 0


def test_mir_replays_every_kept_class_but_those_of_the_task_at_hand(tmp_path, monkeypatch):
    from evermap.scenarios import baselines_methods

    replayed, loader = [], baselines_methods.DataLoader

    def watched(data, **how):
        replayed.append(sorted(set(data.targets)))
        return loader(data, **how)

    monkeypatch.setattr(baselines_methods, "DataLoader", watched)
    play("avalanche:MIR(batch_size_mem=4, subsample=8)", "class-incremental", tmp_path)
    assert replayed == [[0, 1], [0, 1, 2, 3]]


def test_icarls_class_means_are_of_the_kept_images_alone(tmp_path, monkeypatch):
    from evermap.scenarios.baselines import Baseline

    learned, learn = [], Baseline.learn

    def kept(self, *task):
        learn(self, *task)
        learned.append(self.strategy)

    monkeypatch.setattr(Baseline, "learn", kept)
    play("avalanche:ICaRL(memory_size=12)", "class-incremental", tmp_path)
    strategy = learned[-1]
    icarl = next(each for each in strategy.plugins if hasattr(each, "x_memory"))
    assert [len(x) for x in icarl.x_memory] == [2] * 6
    for x, y in zip(icarl.x_memory, icarl.y_memory, strict=True):
        with torch.no_grad():
            features = strategy.model.feature_extractor(x)
        mean = sum(each / each.norm() for each in features) / len(features)  # a plain loop
        assert torch.allclose(strategy.model.eval_classifier.class_means[y[0]], mean / mean.norm(), atol=1e-6)


def test_the_dreamers_loss_is_the_bound_at_the_noise_that_fits_best():
    from evermap.scenarios.baselines_networks import dreaming_loss

    x, seen = torch.zeros(2, 3), torch.tensor([[0.5, 0.0, 0.0], [0.0, 0.0, 1.0]])
    mean, logvar = torch.ones(2, 1), torch.zeros(2, 1)
    noise = (0.25 + 1.0) / 6
    expected = 6 / 2 * math.log(noise) + 2 * 0.5  # six pixels; each sample's divergence is 1/2
    assert dreaming_loss(x, (seen, mean, logvar)).item() == pytest.approx(expected, rel=1e-6)
    assert math.isfinite(dreaming_loss(x, (x, mean, logvar)).item()), "a perfect reconstruction has a noise, too"


def test_the_same_run_gives_the_same_bytes(tmp_path):
    for place in ("a", "b"):
        play("avalanche:ER_ACE(mem_size=20)", "class-incremental", tmp_path / place)
    a, b = (tmp_path / place for place in ("a", "b"))
    assert (a / "matrix.csv").read_bytes() == (b / "matrix.csv").read_bytes()
    assert (a / "avalanche.csv").read_bytes() == (b / "avalanche.csv").read_bytes()


def test_a_competitor_meets_the_tasks_samples_and_weights_that_an_agent_meets(tmp_path, monkeypatch):
    from evermap.agent.known import Known
    from evermap.scenarios import baselines

    begun, seen = [], []
    fresh, experience = Known.fresh, baselines._experience

    def watched(self, task, rng):
        model = fresh(self, task, rng)
        begun.append(next(model.encoder.parameters()).detach().clone())
        return model

    def looked_at(task, *rest):
        seen.append((task.support.x.clone(), task.support.y.clone()))
        return experience(task, *rest)

    monkeypatch.setattr(Known, "fresh", watched)
    monkeypatch.setattr(baselines, "_experience", looked_at)
    play("fixed:scratch", "class-incremental", tmp_path / "agent")
    agents, begun = begun[0], []
    play("avalanche:Naive", "class-incremental", tmp_path / "naive")
    assert any(torch.equal(agents, each) for each in begun)
    from evermap.streams.stream import build_stream

    made = recipe("probe", "class-incremental")
    for task, (x, y) in zip(build_stream(made.stream, made.seed), seen, strict=True):
        assert torch.equal(task.support.x, x)
        assert torch.equal(task.support.y, y)


@pytest.mark.parametrize(("memory", "learned"), [(0, 3 * 5), (50, 3 * (5 + 4))])
def test_a_query_part_is_learned_from_where_the_agent_keeps_it_to_train_on(memory, learned, tmp_path, monkeypatch):
    from evermap.scenarios import baselines

    seen, experience = [], baselines._experience

    def looked_at(task, *rest):
        seen.append(task)
        return experience(task, *rest)

    monkeypatch.setattr(baselines, "_experience", looked_at)
    few = ["stream.tasks=2", "stream.query=4", "budget.flops=1e6", "device=cpu", f"agent.episode_memory={memory}"]
    kept = {}
    for agent in ("avalanche:Naive", "joint"):
        made = load_scenario("digits-fewshot", [*few, f"agent.selector={agent}"])
        kept[agent] = of([event.to_json() for event in run(made, tmp_path / agent)], "Kept")
    from evermap.streams.stream import build_stream

    for task, each in zip(build_stream(made.stream, made.seed), seen, strict=True):
        assert len(each.support) == learned
        parts = (task.support, task.query)[: 2 if memory else 1]
        assert torch.equal(each.support.x, torch.cat([part.x for part in parts]))
        assert torch.equal(each.support.y, torch.cat([part.y for part in parts]))
        assert each.query is None or not memory
    assert kept["joint"][0]["samples"] == learned * (64 * 4 + 8)


def test_the_most_memory_is_recorded(tmp_path):
    play("joint", "class-incremental", tmp_path, "budget.flops=1e6")
    record = read_record(tmp_path)
    peaks = [event["peak_bytes"] for event in of(record.events, "Learned")]
    assert len(peaks) == 3
    assert 1_000_000 < max(peaks) <= record.manifest["peak_bytes"]


def test_the_future_cannot_be_reached_from_an_experience(tmp_path, monkeypatch):
    from avalanche.training.plugins import SupervisedPlugin

    from evermap.scenarios.own_strategy import run_strategy

    found = []

    class Spy(SupervisedPlugin):
        def before_training_exp(self, strategy, **kwargs):
            e = strategy.experience
            found.append((e._origin_stream, len(e.benchmark.classes_order), len(set(e.dataset.targets))))

    from avalanche.training import Naive

    made = recipe("avalanche:Naive", "class-incremental")
    list(run_strategy(lambda m: Naive(**m.common(m.network()), plugins=[Spy()]), made, tmp_path))
    assert found == [(None, 2, 2), (None, 4, 2), (None, 6, 2)]


def test_a_strategy_of_the_users_own_runs_like_one_that_is_known(tmp_path):
    from avalanche.training import Replay

    from evermap.scenarios.own_strategy import run_strategy

    made = recipe("probe", "class-incremental")
    mine = [
        event.to_json()
        for event in run_strategy(
            lambda m: Replay(**m.common(m.network()), mem_size=20), made, tmp_path / "mine", name="my replay"
        )
    ]
    known = play("avalanche:Replay(mem_size=20)", "class-incremental", tmp_path / "known")
    assert [e["values"] for e in of(mine, "Evaluated")] == [e["values"] for e in of(known, "Evaluated")]
    report(tmp_path / "mine")
    assert read_record(tmp_path / "mine").manifest["agent"] == "avalanche:my replay"


def test_a_strategy_that_breaks_is_named_with_its_task(tmp_path):
    from avalanche.training import Naive
    from avalanche.training.plugins import SupervisedPlugin

    from evermap.scenarios.own_strategy import run_strategy

    class Broken(SupervisedPlugin):
        def before_backward(self, strategy, **kwargs):
            raise RuntimeError("boom")

    made = recipe("probe", "class-incremental")
    with pytest.raises(StrategyError, match=r"avalanche:broken.*RuntimeError: boom \(test_baselines.py, line \d+\)"):
        list(run_strategy(lambda m: Naive(**m.common(m.network()), plugins=[Broken()]), made, tmp_path, name="broken"))
    assert read_record(tmp_path).manifest["status"] == "failed"


def test_weights_that_are_no_longer_finite_end_the_run(tmp_path):
    with pytest.raises(StrategyError, match="no longer finite"):
        play("avalanche:Naive(lr=1e30, optimiser='sgd')", "class-incremental", tmp_path)


def test_a_network_that_a_strategy_cannot_use_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match="avalanche:PackNet cannot be built on conv4"):
        play("avalanche:PackNet", "task-incremental", tmp_path, "agent.encoder=conv4", "agent.encoder_settings={}")
    assert not (tmp_path / "manifest.json").exists()


def test_a_run_that_was_cut_off_has_to_be_made_again(tmp_path):
    events = run(recipe("avalanche:Naive", "class-incremental"), tmp_path)
    for event in events:
        if type(event).__name__ == "Evaluated" and event.row == 1:
            break
    events.close()
    assert read_record(tmp_path).manifest["status"] == "interrupted"
    assert len(read_record(tmp_path).matrix.values) == 2
    with pytest.raises(ResumeError, match="has to be run again"):
        list(resume(tmp_path))


def test_a_competitor_begins_with_nothing(tmp_path):
    with pytest.raises(UserError, match="begins with nothing"):
        list(run(recipe("joint", "class-incremental"), tmp_path / "b", store=tmp_path))


@pytest.mark.parametrize("setting", ["task-incremental", "class-incremental", "domain-incremental"])
def test_independent_is_scratch_on_every_task_alone_with_the_task_known(setting, tmp_path):
    rows = of(play("independent", setting, tmp_path / "one"), "Evaluated")
    last = rows[-1]["values"]
    for row, event in enumerate(rows):
        assert list(event["values"][:row]) == list(last[:row]), "a column never changes once it was learned"
    assert rows[0]["anchor_share"] == ()
    if setting == "task-incremental":
        agents = of(play("fixed:scratch", setting, tmp_path / "two"), "Evaluated")
        assert agents[-1]["values"] == last


def test_independent_resumes_to_the_same_matrix(tmp_path):
    play("independent", "class-incremental", tmp_path / "whole")
    events = run(recipe("independent", "class-incremental"), tmp_path / "cut")
    for event in events:
        if type(event).__name__ == "Evaluated" and event.row == 2:
            break
    events.close()
    list(resume(tmp_path / "cut"))
    whole, cut = ((tmp_path / name / "matrix.csv").read_bytes() for name in ("whole", "cut"))
    assert whole == cut


@pytest.mark.parametrize(
    "setting", [*list(STREAMS)[:3], *(pytest.param(s, marks=pytest.mark.slow) for s in list(STREAMS)[3:])]
)
def test_joint_keeps_everything_and_spends_the_budgets_of_all_tasks_so_far(setting, tmp_path):
    events = play("joint", setting, tmp_path)
    budgets = itertools.accumulate(event["budget"] for event in of(events, "TaskStarted"))
    for limit, learned in zip(budgets, of(events, "Learned"), strict=True):
        assert 0.7 * limit < learned["total_flops"] <= limit
    samples = [event["samples"] for event in of(events, "Kept")]
    assert samples == sorted(samples)
    assert samples[0] > 0
    values = of(events, "Evaluated")[-1]["values"]
    assert sum(values) / len(values) > 0.5


def test_joint_and_independent_learn_functions(tmp_path):
    small = ["stream.tasks=[2]", "stream.families=[0]", "budget.flops=3e6", "device=cpu"]
    for agent in ("joint", "independent"):
        made = load_scenario("sinusoids-shift", [*small, f"agent.selector={agent}"])
        rows = [e for e in run(made, tmp_path / agent) if type(e).__name__ == "Evaluated"]
        assert rows[-1].values > rows[0].values


def test_the_command_line_runs_reports_and_refuses(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = [part for each in SMALL for part in ("--set", each)]
    agent = ["--agent", "avalanche:Replay(mem_size=20, epochs=1)", "--set", "budget.flops=1e7"]
    assert main(["run", "digits-class", *agent, *small, "--out", "here"]) == 0
    assert "avalanche:Replay" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "here" / "manifest.json").read_text())
    assert manifest["agent"] == "avalanche:Replay(mem_size=20, epochs=1)"
    assert main(["report", "here", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"][0]["strategy"] == "avalanche:Replay"
    assert main(["run", "here/scenario.toml", "--out", "again"]) == 0, "a record's recipe runs again"
    assert (tmp_path / "here/matrix.csv").read_bytes() == (tmp_path / "again/matrix.csv").read_bytes()
    capsys.readouterr()
    assert main(["run", "digits-class", "--agent", "avalanche:PackNet", "--out", "no"]) == 2
    assert "PackNet is task-incremental" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
