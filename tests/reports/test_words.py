"""What is said of a task whose choice was overruled, of who helped it, and of what is kept of it."""

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from evermap.reports.account import account
from evermap.reports.html import render
from evermap.reports.lines import way
from evermap.reports.provenance import provenance
from evermap.reports.recipe import compact
from evermap.reports.short import in_short
from evermap.reports.story import PARTS, Origin, Story
from evermap.reports.summary import summarise
from evermap.reports.terminal import overview
from evermap.reports.words import in_brief, left_by, standing_on, told
from evermap.scenarios.record import read_record

VERDICT = "finetune has 0.400 nats on 80 held-out samples against 0.300 of prototype on stem, not clearly better"


def changed(lines: list[dict[str, Any]], kind: str, task: int, **fields: Any) -> None:
    """Change fields of a task's event of a kind, in place."""
    for line in lines:
        if line["event"] == kind and line.get("task") == task:
            line.update(fields)


@pytest.fixture
def lines(tell: Callable[..., Any]) -> list[dict[str, Any]]:
    """Task 2 wanted to be fine-tuned and its guard was kept; task 5 reuses a model; task 4 starts from what 2 kept."""
    lines: list[dict[str, Any]] = tell(tasks=6).lines
    changed(lines, "Learned", 1, strategy="prototype", source="stem", verdict=VERDICT)
    changed(lines, "Remembered", 1, encoder="encoder-stem", kept=("encoder-9",))
    changed(lines, "Chosen", 3, source="encoder-9")
    changed(lines, "Learned", 3, source="encoder-9")
    changed(lines, "Learned", 4, source="stem", helper="model-0")
    changed(lines, "Chosen", 4, source="stem")
    return lines


def test_what_was_wanted_what_was_kept_and_why(lines: list[dict[str, Any]]) -> None:
    story = Story.of(lines)
    said = dict(map(tuple, told(story, story.tasks[1])))  # type: ignore[arg-type]
    assert list(said) == ["Why", "Guard", "Result", "Kept"]
    assert said["Guard"] == f"Finetune{VERDICT.removeprefix('finetune')}."
    assert said["Kept"] == "encoder-9, trained beside the answer, for later tasks."
    assert "% on 80 held-out samples; 160 units of work, the state after 140 kept" in said["Result"]
    assert (
        in_brief(story.tasks[1])
        == "Guard: finetune from encoder-0, trained, is not clearly better on 80 held-out samples."
    )
    plain = account(story, story.tasks[1], [])
    assert (plain["strategy"], plain["source"], plain["overruled"]) == ("prototype", "stem", True)
    assert plain["chosen"]["strategy"] == "finetune"
    roles = [(each["strategy"], each["source"], each["picked"], each["answers"]) for each in plain["considered"][:2]]
    assert roles == [("prototype", "stem", False, True), ("finetune", "encoder-0", True, False)]


def test_who_helped_is_named_by_its_task(lines: list[dict[str, Any]]) -> None:
    story = Story.of(lines)
    kept = story.helper(story.tasks[3])
    assert kept == Origin("encoder-9", (1,), "kept")
    assert left_by(story, kept) == "task 2, “5–9”, kept for later"
    reused = story.helper(story.tasks[4])  # the model that was reused says more than the stem that it stands on
    assert reused == Origin("model-0", (0,), "answer")
    assert dict(map(tuple, told(story, story.tasks[4])))["Helped by"] == "model-0, the model of task 1, “0–4”."  # type: ignore[arg-type]
    assert standing_on(story, "stem", 4) == "fixed features that all tasks share, never trained"
    assert standing_on(story, "encoder-77", 4) == ""
    assert (way("prototype", "stem"), way("finetune", "encoder-1")) == ("prototype on stem", "finetune from encoder-1")


def test_without_a_guard_what_took_over_is_said(lines: list[dict[str, Any]]) -> None:
    changed(lines, "Learned", 1, verdict="", warnings=("finetune: the loss is not finite",))
    story = Story.of(lines)
    assert ["Instead", "Prototype on stem took over; see the warning."] in told(story, story.tasks[1])
    assert in_brief(story.tasks[1]) == "Finetune from encoder-0 failed; this took over."


def test_what_tasks_learned_together_share_is_theirs_together(
    lines: list[dict[str, Any]], joint: Callable[..., list[dict[str, Any]]]
) -> None:
    for task in range(3):
        changed(lines, "Remembered", task, kept=("encoder-9",))
    story = Story.of([lines[0], *joint(), *lines[1:]])
    assert story.origins["encoder-9"] == Origin("encoder-9", (0, 1, 2), "together")
    assert left_by(story, story.origins["encoder-9"]) == "tasks 1–3, learned together"
    assert told(story, story.tasks[0])[0] == ["Before", "Learned together with tasks 2, 3."]
    assert "for later" not in dict(map(tuple, told(story, story.tasks[0])))["Kept"]  # type: ignore[arg-type]


def test_the_parts_of_a_cost_add_up(lines: list[dict[str, Any]], joint: Callable[..., list[dict[str, Any]]]) -> None:
    changed(lines, "Learned", 1, consolidation=4e7)
    story = Story.of([lines[0], *joint(), *lines[1:]])
    for task in story.tasks.values():
        assert tuple(story.parts(task)) == PARTS
        assert sum(story.parts(task).values()) == pytest.approx(task.spent)
    parts = story.parts(story.tasks[1])
    assert (parts["profile"], parts["choice"], parts["later"]) == (3.1e7, 1.2e6, 4e7)
    assert parts["together"] == pytest.approx(1e8)  # a third of 300 MFLOP: the three budgets are equal
    assert story.parts(story.tasks[3])["together"] == 0


def test_arcs_lead_from_the_helper_to_the_helped(
    lines: list[dict[str, Any]], write: Callable[..., Path], tell: Callable[..., Any], tmp_path: Path
) -> None:
    run = write(tell(tasks=6), tmp_path / "run")
    record = replace(read_record(run), events=lines)
    summary = summarise(record)
    figure = provenance(summary)
    assert [row["label"] for row in figure["rows"]] == ["1", "2", "3", "4", "5", "6"]
    assert [row["uses"] for row in figure["rows"]] == [1, 1, 0, 0, 0, 0]
    assert [each["task"]["index"] for each in figure["arcs"]] == [3, 4]
    said = dict(map(tuple, in_short(summary)))  # type: ignore[arg-type]
    assert said["Transferred"].startswith("2 of 6 tasks use or build on what others had left")
    assert said["Chosen"].endswith("1 task trained a network under a guard, whose closed form was kept instead in all.")
    page = render(summary)
    assert "<b>encoder-9</b> of task 2, “5–9”, kept for later" in page
    assert VERDICT.removeprefix("finetune") in page


@pytest.mark.parametrize(
    ("share", "sentence"),
    [
        (1.0, "the anchor gave every answer"),
        (0.0, "models of tasks gave every answer; the anchor gave none"),
        (0.25, "the anchor gave 25.0 % of the answers; models of tasks that the inputs fit gave the others"),
        (None, None),
    ],
)
def test_the_page_says_who_answered_without_a_label(
    share: float | None,
    sentence: str | None,
    write: Callable[..., Path],
    tell: Callable[..., Any],
    tmp_path: Path,
) -> None:
    told_ = tell(tasks=3, label_given=share is None)
    events = told_.events
    if share is not None:
        events = [
            replace(e, anchor_share=(share,) * len(e.columns)) if type(e).__name__ == "Evaluated" else e
            for e in told_.events
        ]
    page = render(summarise(read_record(write(type(told_)(events, told_.matrix), tmp_path / "run"))))
    if sentence is None:
        assert "Without a task label" not in page
    else:
        assert f"Without a task label, {sentence}" in page


@pytest.mark.parametrize(
    ("kept", "sentence"),
    [
        ({"sampled": 3, "sample_bytes": 1500}, "are kept in the episode memory, of 3 tasks: 1.50 kB."),
        ({"sampled": None, "sample_bytes": 1500}, "are kept in a buffer: 1.50 kB."),
        ({"sampled": 0, "sample_bytes": 0}, None),
    ],
)
def test_the_report_names_the_samples_that_are_kept(
    kept: dict[str, Any], sentence: str | None, write: Callable[..., Path], tell: Callable[..., Any], tmp_path: Path
) -> None:
    told_ = tell(tasks=3)
    events = [replace(e, **kept) if type(e).__name__ == "Remembered" else e for e in told_.events]
    summary = summarise(read_record(write(type(told_)(events, told_.matrix), tmp_path / "run")))
    page, shown = render(summary), StringIO()
    Console(file=shown, width=200).print(overview(summary))
    assert summary["totals"]["sample_bytes"] == kept["sample_bytes"]
    for text in (page, shown.getvalue()):
        assert (sentence in text) if sentence else ("are kept in" not in text)


def test_regression_is_told_as_r2(write: Callable[..., Path], tell: Callable[..., Any], tmp_path: Path) -> None:
    told_ = tell(tasks=3, label_given=True)
    matrix = replace(told_.matrix, class_sets=((),) * 3, values=told_.matrix.values - np.array([[2.0], [0], [0], [0]]))
    events = [replace(e, classes=()) if type(e).__name__ == "TaskStarted" else e for e in told_.events]
    summary = summarise(read_record(write(type(told_)(events, matrix), tmp_path / "run")))
    average = summary["headline"][0]
    assert (average["title"], average["unit"]) == ("Average R²", "")
    assert average["text"] == f"{average['value']:.2f}"
    assert summary["tasks"][0]["regression"]
    page = render(summary)
    assert "R² matrix" in page
    assert "Accuracy" not in page
    assert "R² 0.9" in dict(map(tuple, summary["tasks"][0]["told"]))["Result"]  # type: ignore[arg-type]
    assert "%" not in dict(map(tuple, summary["tasks"][0]["told"]))["Result"]  # type: ignore[arg-type]


def test_a_recipe_has_a_line_for_each_task() -> None:
    tasks = [{"name": "a", "train": 3, "labels": "own", "rotate": 0.0}, {"name": "b", "train": 5, "labels": "own"}]
    assert compact({"seed": 0, "stream": {"tasks": tasks, "angles": [0.0, 20.0]}}) == [
        ["seed", "0"],
        ["stream.tasks.*", "labels own"],
        ["stream.tasks.0", "name a, train 3"],
        ["stream.tasks.1", "name b, train 5"],
        ["stream.angles", "[0.0, 20.0]"],
    ]
