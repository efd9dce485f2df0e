"""A comparison while it runs."""

import io

import pytest
from rich.console import Console

from evermap.reports.comparison_live import Growing, Lines, progress

KEYS = [("demo", agent, seed) for seed in range(3) for agent in ("auto", "[red]fixed:maml[/red]")]


def console(terminal: bool, width: int = 80) -> Console:
    return Console(file=io.StringIO(), width=width, height=20, force_terminal=terminal, color_system=None)


def story(shown: Lines) -> None:
    shown.feed(KEYS[0], "kept", accuracy=0.9)
    shown.feed(KEYS[1], "started")
    shown.feed(KEYS[2], "started")
    shown.feed(KEYS[1], "at work", 2, 14)
    shown.feed(KEYS[2], "failed", why="the \x1b[31mdog\nate it")
    shown.tick()
    shown.feed(KEYS[1], "done", accuracy=0.8)
    shown.feed(KEYS[3], "started")
    shown.feed(KEYS[3], "at work", 4, 14)


def test_elsewhere_than_on_a_terminal_a_line_for_every_cell_that_ends():
    where = console(False)
    with progress(where, KEYS, 2) as shown:
        story(shown)
    lines = where.file.getvalue().splitlines()
    assert lines[0] == "[1/6] demo auto seed 0: 90.0 %, kept from before"
    assert lines[1] == "[2/6] demo auto seed 1: failed: the ?[31mdog ate it"
    assert lines[2].startswith("[3/6] demo [red]fixed:maml[/red] seed 0: 80.0 %, ")
    assert len(lines) == 3


@pytest.mark.parametrize("width", [60, 80, 120])
def test_on_a_terminal_a_table_grows(width):
    where = console(True, width)
    with progress(where, KEYS, 2) as shown:
        assert isinstance(shown, Growing)
        story(shown)
        where.file.truncate(0)
        where.print(shown)
    picture = where.file.getvalue()
    assert "●✗○" in picture  # auto: kept, failed, waiting
    assert "●◐○" in picture
    assert "3 of 6 runs, about " in picture
    assert "seed 1: task 5 of 14" in picture
    assert "[red]fixed:maml[/red]" in picture


def test_it_says_what_is_done_before_the_first_task_begins():
    where = console(True)
    with progress(where, KEYS, 2) as shown:
        where.print(shown)
        assert "0 of 6 runs, looking at recipes and data" in where.file.getvalue()
        shown.feed(KEYS[0], "started")
        where.file.truncate(0)
        where.print(shown)
        assert "0 of 6 runs, workers load torch" in where.file.getvalue()
        shown.feed(KEYS[0], "at work", 0, 14)
        where.file.truncate(0)
        where.print(shown)
        assert "load torch" not in where.file.getvalue()


def test_a_failure_stays_on_the_screen():
    where = console(True)
    with progress(where, KEYS, 2) as shown:
        story(shown)
    assert "demo auto seed 1 failed: the ?[31mdog ate it" in where.file.getvalue()
