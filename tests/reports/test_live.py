import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from evermap.reports.live import Lines, Picture, display
from evermap.reports.panels import account, matrix, picture, sparkline
from evermap.reports.story import Story


def drawn(thing: Any, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None, legacy_windows=False)
    console.print(thing)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("columns", [0, 30])
@pytest.mark.parametrize(("width", "height"), [(80, 23), (80, 10), (108, 24), (120, 40), (200, 60), (40, 12)])
def test_the_picture_always_fits(width: int, height: int, columns: int, tell: Callable[..., Any]) -> None:
    story = Story()
    names = {0: "a very long name " * 12, 1: "\x1b[2J[bold]name[/bold]", 2: "零から九まで" * 9}
    for number, event in enumerate(tell(names=names, columns=columns).lines):
        story.add(event)
        if number % 7 and number > 30:  # the later ones look alike
            continue
        lines = drawn(picture(story, "demo  probe  seed 0", width, height), width)
        assert len(lines) <= height
        assert max(map(cell_len, lines)) <= width
        assert "\x1b[2J" not in "".join(lines)


def test_the_picture_shows_what_is_going_on(tell: Callable[..., Any]) -> None:
    lines = tell().lines
    at = next(i for i, e in enumerate(lines) if e["event"] == "Progress" and e["task"] == 3 and e["fraction"] > 0.5)
    said = "\n".join(drawn(picture(Story.of(lines[: at + 1]), "demo  probe  seed 0", 80, 40), 80))
    assert "demo  probe  seed 0" in said
    assert "task 4 of 12" in said
    assert "0–4 rotated by 90°  300 samples, 5 classes, budget 2.00 GFLOP" in said
    assert "▸ finetune from encoder-0" in said
    assert "no stored model has the labels of this task" in said
    assert "Why: encoder-0 separates these classes best" in said
    assert "% of budget" in said
    assert "held out" in said
    assert "84.6 kB in 3 encoders" in said


def test_the_matrix_keeps_to_its_room_and_says_what_it_leaves_out(tell: Callable[..., Any]) -> None:
    story = Story.of(tell(columns=30).lines)
    lines = [line.plain for line in matrix(story, 60, 12)]
    assert len(lines) == 12
    assert lines[0].startswith("Accuracy in % per test set, a row per evaluation (columns 18–30 of 30, last 10 rows)")
    assert lines[-1].split()[0] == "30"


def test_an_account_of_a_task_in_one_line(tell: Callable[..., Any]) -> None:
    line = account(Story.of(tell().lines).tasks[9]).plain
    assert line.startswith(" 10 odd against even, noisy   92.1 %  finetune from encoder-7  ")
    assert "not finite" in line


def test_sparkline() -> None:
    assert sparkline([0.0, None, 0.5, 1.0], 10) == "▁▅█"
    assert sparkline([1.0, 2.0, 3.0], 2) == "▁█"
    assert sparkline([0.4, 0.4], 10) == "▄▄"
    assert sparkline([], 10) == sparkline([None], 10) == sparkline([1.0], 0) == ""


def test_plain_lines_elsewhere(tell: Callable[..., Any]) -> None:
    file = io.StringIO()
    with display(Console(file=file, width=60), "demo · probe") as shown:
        assert isinstance(shown, Lines)
        for event in tell(names={1: "5 to 9"}).lines:
            shown.feed(event)
    lines = file.getvalue().splitlines()
    second = [line for line in lines if line.startswith("[task 2/12]")]
    assert second[0] == "[task 2/12] 5 to 9: 400 samples, 5 classes"
    assert second[1].startswith("[task 2/12] finetune from encoder-0: encoder-0 separates these classes best")
    assert second[2].startswith("[task 2/12] learned by finetune from encoder-0: ")
    assert second[3] == "[task 2/12] remembered model-1 on encoder-1: +41.0 kB, 82.0 kB in 2 encoders"
    assert second[4].startswith("[task 2/12] accuracy in %: ")
    assert len(second) == 5
    assert "\n".join(second).isascii()


def test_plain_lines_for_a_log_that_knows_ascii_only(tell: Callable[..., Any]) -> None:
    bytes_ = io.BytesIO()
    file = io.TextIOWrapper(bytes_, encoding="ascii")
    with display(Console(file=file), "demo") as shown:
        for event in tell(tasks=1, names={0: "零から九"}).lines:
            shown.feed(event)
    file.flush()
    assert b"[task 1/1] ????: 400 samples" in bytes_.getvalue()


def test_a_terminal_gets_the_picture_and_a_line_per_task(tell: Callable[..., Any]) -> None:
    file = io.StringIO()
    console = Console(
        file=file, width=80, height=24, force_terminal=True, color_system=None, _environ={"TERM": "xterm"}
    )
    with display(console, "demo") as shown:
        assert isinstance(shown, Picture)
        for event in tell(tasks=2).lines:
            shown.feed(event)
    assert " %  finetune from encoder-0  " in file.getvalue()
    assert "\x1b[?25h" in file.getvalue()  # the cursor is back


def test_tasks_that_arrive_together_have_a_line(joint: Callable[..., list[dict[str, Any]]]) -> None:
    said = []
    for events in (joint(), joint(None), joint(stopped="diverged")):
        file = io.StringIO()
        with display(Console(file=file, width=60), "demo") as shown:
            for event in events:
                shown.feed(event)
        said += file.getvalue().splitlines()[1:]
    assert said == [
        "[tasks 1-3] 3 tasks arrived together; multitask learned them as one, 95.0 % held out, 300 MFLOP",
        "[tasks 1-3] 3 tasks arrived together: the selector leaves them to themselves",
        "[tasks 1-3] 3 tasks arrived together: multitask: the loss is not finite, 300 MFLOP",
    ]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_picture_shows_tasks_that_are_learned_together(
    width: int, tell: Callable[..., Any], joint: Callable[..., list[dict[str, Any]]]
) -> None:
    lines = drawn(picture(Story.of([tell(tasks=3).lines[0], *joint()[:-1]]), "demo", width, 23), width)
    assert len(lines) <= 23
    assert max(map(cell_len, lines)) <= width
    said = "\n".join(lines)
    assert "from task 1 on, together" in said
    assert "Learning tasks that arrived" in said
    assert "held out  95.0 %" in said or width == 40
    file = io.StringIO()
    console = Console(
        file=file, width=100, height=24, force_terminal=True, color_system=None, _environ={"TERM": "xterm"}
    )
    with display(console, "demo") as shown:
        for event in joint():
            shown.feed(event)
    assert (
        "1–3 3 tasks arrived together; multitask learned them as one, 95.0 % held out  paid by each of them"
        in file.getvalue()
    )
