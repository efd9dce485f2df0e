"""The further numbers of a report: what they are made of, what they need, and that older records lack only them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evermap.agent.events import Evaluated, EvaluatedDuring
from evermap.cli import main
from evermap.errors import RecordError
from evermap.reports.references import references_of
from evermap.reports.report import report
from evermap.reports.summary import summarise, to_text
from evermap.scenarios.against import expert_transfer, intransigence
from evermap.scenarios.record import read_record

Tell, Write = Callable[..., Any], Callable[..., Path]


def named(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in summary["measures"]}


def run_of(write: Write, told: Any, path: Path, agent: str = "probe", **changes: Any) -> Path:
    """Write a record whose manifest names an agent."""
    folder = write(told, path, **changes)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "id": path.name, "agent": agent}))
    return folder


def test_a_record_of_before_says_what_it_lacks(tell: Tell, write: Write, tmp_path: Path) -> None:
    summary = summarise(read_record(write(tell(), tmp_path / "run")))
    numbers = named(summary)
    assert all(each["value"] is not None or each["reason"] for each in summary["measures"])
    assert all(each["convention"] for each in summary["measures"])
    assert "needs a run of an independent expert" in numbers["transfer on the last task"]["reason"]
    assert "needs a run of joint training" in numbers["intransigence"]["reason"]
    assert "evaluate_units" in numbers["lowest accuracy"]["reason"]
    assert numbers["log-loss"]["reason"].startswith("not recorded")
    assert numbers["peak memory"]["reason"] == "the record does not have it"
    assert (summary["calibration"], summary["during"], summary["references"]) == (None, [], [])
    assert summary["curves_on"] == "held-out"
    assert numbers["performance maintenance"]["value"] is not None
    assert numbers["area under the learning curve"]["value"] is not None


def test_costs_are_those_of_the_events(tell: Tell, write: Write, tmp_path: Path) -> None:
    numbers = named(summarise(read_record(write(tell(), tmp_path / "run"))))
    learned = [event for event in tell().lines if event["event"] == "Learned"]
    assert numbers["FLOPs per task"]["value"] == pytest.approx(sum(e["total_flops"] for e in learned) / 12)
    # profile 31 MFLOP and choice 1.2 MFLOP of every task
    choosing = 12 * 3.22e7 / sum(e["total_flops"] for e in learned)
    assert numbers["share of choosing"]["value"] == pytest.approx(choosing)
    kept = [event["store_bytes"] for event in tell().lines if event["event"] == "Remembered"]
    assert numbers["bytes kept per task"]["value"] == kept[-1] / 12
    assert numbers["model-size efficiency"]["value"] == pytest.approx(sum(kept[0] / each for each in kept) / 12)


def test_references_give_the_numbers_that_need_them(tell: Tell, write: Write, tmp_path: Path) -> None:
    run = run_of(write, tell(), tmp_path / "run")
    expert = run_of(write, tell(seed=1), tmp_path / "expert", "fixed:scratch")
    joint = run_of(write, tell(seed=2), tmp_path / "joint", "joint")
    _, summary = report(run, against=[expert, joint])
    numbers, R, S, J = named(summary), tell().matrix, tell(seed=1).matrix, tell(seed=2).matrix
    assert numbers["transfer against an expert"]["value"] == expert_transfer(R, S).value
    assert numbers["intransigence"]["value"] == intransigence(R, J).value
    # task by task, the last one being the test set learned last: row 12 of both
    per_task = [task["measures"]["transfer_against_an_expert"]["value"] for task in summary["tasks"]]
    assert per_task[-1] == R.values[12, 9] - S.values[12, 9] == numbers["transfer on the last task"]["value"]
    assert per_task[4] == R.values[5, 0] - S.values[5, 0]  # "0–4 again", in the column of "0–4"
    assert numbers["transfer against an expert, every task"]["value"] == pytest.approx(sum(per_task) / 12)
    negative = [task["measures"]["negative_transfer_rate"]["value"] for task in summary["tasks"]]
    assert numbers["negative-transfer rate"]["value"] == pytest.approx(sum(negative) / 12)
    for name in ("jumpstart", "cost to threshold", "relative performance", "sample efficiency (contrast)"):
        assert numbers[name]["value"] is not None
    # the first unit of both runs of task 1, as its first `Progress` says
    first = [
        next(e["accuracy"] for e in tell(seed=k).lines if e["event"] == "Progress" and e["task"] == 0) for k in (0, 1)
    ]
    assert summary["tasks"][0]["measures"]["jumpstart"]["value"] == first[0] - first[1]
    assert summary["references"] == [
        {"role": "expert", "id": "expert", "agent": "fixed:scratch"},
        {"role": "joint", "id": "joint", "agent": "joint"},
    ]
    assert (run / "summary.json").read_text() == to_text(summary)
    report(run)  # without them it is as before
    assert json.loads((run / "summary.json").read_text())["references"] == []


def test_an_expert_against_itself_gains_nothing(tell: Tell, write: Write, tmp_path: Path) -> None:
    run, same = (run_of(write, tell(), tmp_path / name, "independent") for name in ("run", "same"))
    numbers = named(report(run, against=[same])[1])
    assert {numbers[name]["value"] for name in ("transfer against an expert", "jumpstart")} == {0.0}
    assert {numbers[name]["value"] for name in ("relative performance", "sample efficiency")} == {1.0}
    assert numbers["negative-transfer rate"]["value"] == 0.0


@pytest.mark.parametrize(
    ("agent", "changes", "message"),
    [
        ("probe", {}, r"a run of 'probe' is no reference; valid are runs of independent, fixed:scratch"),
        ("joint", {"stream": {"layout": "split"}}, r"another stream than .*; what differs: stream\.layout"),
        ("avalanche:JointTraining", {}, "a run of 'avalanche:JointTraining' is no reference"),
        ("joint", {"evaluate_every": 4}, "what differs: evaluate_every"),
    ],
)
def test_what_is_no_reference_is_refused(
    agent: str, changes: dict[str, Any], message: str, tell: Tell, write: Write, tmp_path: Path
) -> None:
    run, other = write(tell(), tmp_path / "run"), run_of(write, tell(), tmp_path / "other", agent, **changes)
    with pytest.raises(RecordError, match=message):
        report(run, against=[other])


def test_two_references_of_a_kind_and_other_test_sets_are_refused(tell: Tell, write: Write, tmp_path: Path) -> None:
    record = read_record(write(tell(), tmp_path / "run"))
    one, two = (run_of(write, tell(seed=k), tmp_path / f"{k}", "independent") for k in (1, 2))
    with pytest.raises(RecordError, match="1 tells the same already"):
        references_of(record, [one, two])
    fewer = run_of(write, tell(tasks=3), tmp_path / "fewer", "joint")
    with pytest.raises(RecordError, match="what differs: the test sets"):
        references_of(record, [fewer])
    nothing = run_of(write, tell(tasks=0), tmp_path / "nothing", "joint")
    with pytest.raises(RecordError, match="ended before anything was evaluated"):
        references_of(record, [nothing])


def test_an_expert_of_other_means_is_named(tell: Tell, write: Write, tmp_path: Path) -> None:
    record = read_record(write(tell(), tmp_path / "run"))
    other = run_of(write, tell(seed=1), tmp_path / "other", "fixed:scratch", budget={"scratch": 2.0})
    assert references_of(record, [other]).differs == ("other has another budget",)
    assert "other has another budget" in " ".join(summarise(record, references_of(record, [other]))["problems"])


def test_an_expert_that_is_told_the_task_is_named(tell: Tell, write: Write, tmp_path: Path) -> None:
    stream = {"layout": "split", "setting": "class-incremental"}
    record = read_record(write(tell(), tmp_path / "run", stream=stream))
    told = run_of(write, tell(seed=1), tmp_path / "told", "independent", stream=stream)
    assert references_of(record, [told]).differs == ("told is told the task when it is asked; the run is not",)
    alike = run_of(write, tell(seed=1), tmp_path / "alike", "fixed:scratch", stream=stream)
    assert references_of(record, [alike]).differs == ()
    assert references_of(read_record(told), [told]).differs == ()


@pytest.mark.parametrize("tasks", [0, 3])
def test_an_unfinished_run_has_no_transfer_on_the_last_task(
    tasks: int, tell: Tell, write: Write, tmp_path: Path
) -> None:
    whole = tell(tasks=4)
    last = [i for i, event in enumerate(whole.events) if isinstance(event, Evaluated)][tasks]
    matrix = replace(
        whole.matrix,
        values=whole.matrix.values[: tasks + 1],
        row_tasks=whole.matrix.row_tasks[: tasks + 1],
        learned_at=tuple(at if at <= tasks else None for at in whole.matrix.learned_at),
    )
    run = run_of(write, type(whole)(whole.events[: last + 1], matrix), tmp_path / "run", status="interrupted")
    expert = run_of(write, tell(tasks=4, seed=1), tmp_path / "expert", "independent")
    found = named(report(run, against=[expert])[1])["transfer on the last task"]
    reason = "the stream's last task was not learned" if tasks else "nothing was learned yet"
    assert (found["value"], found["reason"]) == (None, reason)


def with_more(told: Any, change: Callable[[Any], Any], looks: tuple[EvaluatedDuring, ...] = ()) -> Any:
    """The same run with its evaluations changed, and evaluations during learning before the last one."""
    events = [change(event) if isinstance(event, Evaluated) else event for event in told.events]
    return type(told)([*events[:-1], *looks, events[-1]], told.matrix)


def test_calibration_is_that_of_the_last_row(tell: Tell, write: Write, tmp_path: Path) -> None:
    def sure(event: Evaluated) -> Evaluated:
        n = len(event.columns)
        return replace(
            event, log_loss=(0.1 * event.row,) * n, ece=(0.05,) * n, reliability=((30, 0.5, 0.4), (10, 0.9, 0.7))
        )

    summary = summarise(read_record(write(with_more(tell(tasks=3), sure), tmp_path / "run")))
    numbers = named(summary)
    assert numbers["log-loss"]["value"] == pytest.approx(0.3)
    assert numbers["calibration error"]["value"] == pytest.approx(0.75 * 0.1 + 0.25 * 0.2)
    assert summary["calibration"]["row"] == 3
    assert summary["calibration"]["bins"][1] == {"samples": 10, "confidence": 0.9, "accuracy": 0.7}
    assert summary["concept_measures"][0]["calibration_error"] == {"value": 0.05, "reason": None}


def test_what_happened_on_the_way_is_told(tell: Tell, write: Write, tmp_path: Path) -> None:
    look = EvaluatedDuring(2, "prototype", None, 5, 1e6, 0.1, (0.125, 0.5, 0.6), 0.6, 2.0)
    told = with_more(tell(tasks=3, label_given=True), lambda event: event, (look,))
    summary = summarise(read_record(write(told, tmp_path / "run")))
    assert named(summary)["lowest accuracy"]["value"] == pytest.approx((0.125 + 0.5) / 2)
    assert summary["concept_measures"][0]["lowest_accuracy"]["value"] == 0.125
    assert summary["during"][0]["values"] == [0.125, 0.5, 0.6]
    assert summary["curves_on"] == "test"
    before = summarise(read_record(write(tell(tasks=3, label_given=True), tmp_path / "before")))
    added = summary["totals"]["evaluation_seconds"] - before["totals"]["evaluation_seconds"]
    assert added == pytest.approx(2.0)  # time for looking on is no time for learning
    assert summary["totals"]["task_seconds"] == before["totals"]["task_seconds"]


def test_the_command_line_takes_references(
    tell: Tell, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(write, tell(), tmp_path / "run")
    expert = run_of(write, tell(seed=1), tmp_path / "expert", "independent")
    assert main(["report", str(run), "--against", str(expert)]) == 0
    said = capsys.readouterr().out
    assert "Held against expert (independent)." in said
    assert "Transfer on the last task" in said
    assert "needs a run of joint training" in " ".join(said.split())
    assert main(["report", str(run)]) == 0  # without any, what needs them is said in one line
    said = capsys.readouterr().out
    assert "Transfer on the last task" not in said
    assert "11 numbers more: --against a run of independent and one of joint." in said
    assert main(["report", str(run), "--against", str(run)]) == 2
    assert "is no reference" in capsys.readouterr().err
    assert main(["report", str(run), "--against", str(tmp_path / "none")]) == 2
    assert "there is no such folder" in capsys.readouterr().err
