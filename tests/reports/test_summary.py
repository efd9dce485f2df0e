import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evermap.reports.html import render
from evermap.reports.summary import summarise, to_text
from evermap.scenarios.metrics import all_measures
from evermap.scenarios.record import read_record


@pytest.fixture
def summary(tell: Callable[..., Any], write: Callable[..., Path], tmp_path: Path) -> dict[str, Any]:
    return summarise(read_record(write(tell(), tmp_path / "run")))


def test_headline_numbers_are_those_of_the_metrics(summary: dict[str, Any], tell: Callable[..., Any]) -> None:
    measures = all_measures(tell().matrix)
    assert [each["value"] for each in summary["headline"]] == [measure.value for measure in measures]
    assert all(each["convention"] for each in summary["headline"])


def test_a_task_says_what_was_chosen_and_whom_it_owes(summary: dict[str, Any]) -> None:
    returning = summary["tasks"][4]
    assert (returning["strategy"], returning["source"]) == ("reuse", "encoder-0")
    assert returning["helped_by"] == {"entry": "encoder-0", "tasks": [0], "kind": "answer", "said": "task 1, “0–4”"}
    assert returning["accuracy"] == summary["matrix"]["rows"][5]["values"][0]
    assert summary["tasks"][0]["helped_by"] is None


def test_choices_and_totals_add_up(summary: dict[str, Any], tell: Callable[..., Any]) -> None:
    assert summary["choices"] == {"finetune": 5, "prototype": 2, "reuse": 3, "scratch": 2}
    learned = [event for event in tell().lines if event["event"] == "Learned"]
    assert summary["totals"]["task_flops"] == pytest.approx(sum(event["total_flops"] for event in learned))
    assert summary["totals"]["task_seconds"] == pytest.approx(sum(event["seconds"] for event in learned))
    kept = [event for event in tell().lines if event["event"] == "Remembered"]
    assert summary["totals"]["store_bytes"] == kept[-1]["store_bytes"] == sum(event["new_bytes"] for event in kept)


def test_what_is_undefined_is_none_with_its_reason(
    tell: Callable[..., Any], write: Callable[..., Path], tmp_path: Path
) -> None:
    summary = summarise(read_record(write(tell(tasks=3, label_given=True), tmp_path / "run")))
    forward = summary["headline"][-1]
    assert forward["value"] is None
    assert forward["text"] == "n/a"
    assert "mean something in this task only" in forward["reason"]
    assert summary["concepts"][2]["forgetting"] is None
    assert summary["concepts"][2]["reasons"]["forgetting"] == "it was learned last"
    assert ["forgetting, test set 3", "it was learned last"] in summary["undefined"]


def test_tasks_that_arrived_together_are_said_to_be(
    tell: Callable[..., Any], write: Callable[..., Path], tmp_path: Path, joint: Callable[..., list[dict[str, Any]]]
) -> None:
    run = write(tell(), tmp_path / "run")
    events = (run / "events.jsonl").read_text()
    (run / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in joint()) + events)
    summary = summarise(read_record(run))
    (together,) = summary["together"]
    assert together["said"] == "3 tasks arrived together; multitask learned them as one, 95.0 % held out."
    assert (together["tasks"], together["strategy"], together["units"]) == ([0, 1, 2], "multitask", 60)
    assert together["curves"][0]["strategy"] == "multitask"
    assert f'<p class="together"><b>Tasks 1–3.</b> {together["said"]}</p>' in render(summary)


def test_a_run_without_any_row_has_reasons_only(
    tell: Callable[..., Any], write: Callable[..., Path], tmp_path: Path
) -> None:
    summary = summarise(read_record(write(tell(tasks=0), tmp_path / "run", status="interrupted")))
    assert summary["tasks"] == summary["concepts"] == []
    assert {each["value"] for each in summary["headline"]} == {None}
    assert {each["reason"] for each in summary["headline"]} == {"the run ended before anything was evaluated"}


def test_a_cut_record_says_how_far_it_goes(
    tell: Callable[..., Any], write: Callable[..., Path], tmp_path: Path
) -> None:
    told = tell()
    cut = next(i for i, event in enumerate(told.lines) if event["event"] == "Chosen" and event["task"] == 5)
    half = type(told)(told.events[: cut + 1], tell(tasks=5).matrix)
    summary = summarise(read_record(write(half, tmp_path / "run", status="running")))
    assert summary["run"]["status"] == "unfinished"
    assert "5 of 12 tasks" in summary["run"]["status_note"]
    assert summary["tasks"][5]["strategy"] == "reuse"
    assert summary["tasks"][5]["flops"] is None


def test_json_is_the_same_from_the_same_record_and_has_no_nan(
    tell: Callable[..., Any], write: Callable[..., Path], tmp_path: Path
) -> None:
    run = write(tell(), tmp_path / "run")
    first = to_text(summarise(read_record(run)))
    assert first == to_text(summarise(read_record(run)))

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(first, parse_constant=refuse)
