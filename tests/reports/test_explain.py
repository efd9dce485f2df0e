import json

import pytest
from rich.console import Console

from evermap.errors import RecordError, UserError
from evermap.reports.explain import explained
from evermap.reports.explanation import explanation
from evermap.scenarios.arm_table import ANSWERS, ARMS, AnswerLine, ArmLine, Facts, append
from evermap.scenarios.record import read_record


@pytest.fixture
def folder(tell, write, tmp_path):
    return write(tell(), tmp_path / "run")


def shown(found, width=100):
    console = Console(width=width, color_system=None, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(explanation(found))
    return " ".join(capture.get().split())


def with_arms(folder, task=4):
    facts = Facts(task, "0–4 again", 12, False, {}, {"reuse": True}, 2e9, 3e7, 10_000)

    def arm(strategy, source, a, b, **more):
        return ArmLine(facts, strategy, source, False, 0, (a + b) / 2, a, b, 80, 0.2, 0.9, 1e8, **more)

    failed = ArmLine(facts, "maml", None, False, 0, failed="its loss is not finite")
    append(folder / ARMS, [arm("scratch", None, 0.9, 0.8), arm("reuse", "encoder-0", 0.8, 0.7), failed])
    append(folder / ANSWERS, [AnswerLine(task, "reuse", "encoder-0", 0.75, 0.8, 0.7, 1e8, 0.1, 0)])


def test_a_task_is_found_by_name_and_by_number(folder):
    record = read_record(folder)
    assert explained(record, "0–4 again")["index"] == 4
    assert explained(record, "5")["name"] == "0–4 again"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [("0-4 again", "Did you mean '0–4 again'"), ("13", "a number from 1 to 12"), ("0", "a number from 1 to 12")],
)
def test_a_task_that_is_not_there_is_an_error_that_helps(folder, wanted, said):
    with pytest.raises(UserError, match=said):
        explained(read_record(folder), wanted)


def test_a_name_that_several_tasks_have_asks_for_the_number(tell, write, tmp_path):
    folder = write(tell(names={1: "twin", 3: "twin"}), tmp_path / "run")
    with pytest.raises(UserError, match=r"several tasks are called 'twin'; give the number: 2, 4"):
        explained(read_record(folder), "twin")


def test_it_tells_what_was_known_chosen_spent_kept_and_whom_it_helped(folder):
    found = explained(read_record(folder), "1")
    assert found["known"] == {"tasks": 0, "encoders": 0, "unprobed": 0, "flops": 3.1e7}
    assert [each["number"] for each in found["helped"]] == [2, 4, 5], "tasks that start from what it left"
    json.dumps(found, allow_nan=False)
    text = shown(found)
    for piece in (
        "Task 1 of 12: “0–4”",
        "400 samples of 5 classes, and 2.00 GFLOP to spend.",
        "Nothing: it is the first task.",
        "scratch: a new network, trained from nothing.",
        "finetune – the store is empty",
        "1.63 GFLOP, 82% of what it might have spent",
        "model-0 answers for it, on encoder-0",
        "Task 2, “5–9”: finetune with encoder-0",
        "`evermap regret` runs every way",
    ):
        assert piece in text, text
    later = shown(explained(read_record(folder), "5"))
    assert "4 earlier tasks, and 4 stored networks" in later
    assert "encoder-0 90.0" not in later
    assert "left by task 1, “0–4”" in later


def test_counterfactuals_are_told_where_they_were_computed(folder):
    with_arms(folder)
    found = explained(read_record(folder), "5")
    lines = found["arms"]["lines"]
    assert [line["strategy"] for line in lines] == ["scratch", "reuse", "maml"], "the best first, what failed last"
    assert [line["answered"] for line in lines] == [False, True, False]
    assert found["arms"]["regret"]["regret"]["naive"] == pytest.approx(0.1)
    text = shown(found)
    assert "The agent answered 75.0 %; the best, scratch, has +10.0 points on it." in text
    assert "its loss is not finite" in text
    assert explained(read_record(folder), "4")["arms"] is None


def test_where_nothing_was_better_that_is_said(folder):
    facts = Facts(4, "0–4 again", 12, False, {}, {}, 2e9, 3e7, 10_000)
    append(folder / ARMS, [ArmLine(facts, "reuse", "encoder-0", True, 0, 0.75, 0.8, 0.7)])
    append(folder / ANSWERS, [AnswerLine(4, "reuse", "encoder-0", 0.75, 0.8, 0.7, 1e8, 0.1, 0)])
    assert "no way alone was better" in shown(explained(read_record(folder), "5"))


def test_what_was_compared_with_the_default_is_told(folder):
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    arm = {"strategy": "scratch", "source": None, "nats": -0.25, "error": 0.125, "units": 40, "flops": 2e6}
    for line in lines:
        if line.get("task") == 4 and line["event"] == "Chosen":
            line |= {"tried": [{**arm, "expected": 0.5, "unsure": 1.5}], "expected": 0.75, "unsure": 0.25}
        if line.get("task") == 4 and line["event"] == "Learned":
            line |= {"judged": {**arm, "strategy": "finetune", "source": "encoder-0", "nats": 0.5, "units": 0}}
    (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = shown(explained(read_record(folder), "5"), width=120)
    assert "scratch 40 2.00 MFLOP −0.250 ± 0.125 +0.500 ± 1.500 tried out" in text
    assert "finetune from encoder-0 all 2.00 MFLOP +0.500 ± 0.125 – the guard's comparison" in text
    assert "Earlier tasks let expect a gain of +0.750 ± 0.250 nats" in text
    assert explained(read_record(folder), "4")["compared"] == []


def test_a_run_that_was_cut_off_is_told_as_far_as_it_came(tell, write, tmp_path):
    told = tell(tasks=3)
    last = max(k for k, event in enumerate(told.events) if type(event).__name__ == "Chosen")
    told.events[last + 1 :] = []
    folder = write(told, tmp_path / "run", status="interrupted")
    text = shown(explained(read_record(folder), "3"))
    assert "What was chosen, and why" in text
    assert "What it cost" not in text
    none = write(tell(tasks=0), tmp_path / "none", status="interrupted")
    with pytest.raises(RecordError, match="before its first task"):
        explained(read_record(none), "1")


def test_text_of_others_cannot_command_the_terminal(tell, write, tmp_path):
    folder = write(tell(names={0: "a\x1b[31m [bold]name"}), tmp_path / "run")
    text = shown(explained(read_record(folder), "1"))
    assert "\x1b" not in text
    assert "[bold]name" in text


@pytest.mark.parametrize("width", [60, 80, 160])
def test_it_fits_any_terminal(folder, width):
    with_arms(folder)
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(explanation(explained(read_record(folder), "5")))
    assert max(map(len, capture.get().splitlines())) <= width
