from collections.abc import Callable
from typing import Any

from evermap.reports.story import Origin, Story


def test_a_story_told_one_by_one_is_the_story_of_the_whole(tell: Callable[..., Any]) -> None:
    lines = tell().lines
    story = Story()
    for line in lines:
        story.add(line)
    assert story == Story.of(lines)


def test_costs_while_a_task_is_learned_and_after(tell: Callable[..., Any]) -> None:
    lines = tell(tasks=1).lines
    before = [line for line in lines if line["event"] in ("TaskStarted", "Profiled", "Chosen", "Progress")]
    assert Story.of(before).flops == 3.1e7 + 1.2e6 + 1.6e9  # profile, choice, and the last count of the one arm
    assert Story.of(lines).flops == 1.6e9 + 3.22e7  # what Learned says


def test_the_first_task_to_keep_an_entry_made_it(tell: Callable[..., Any]) -> None:
    story = Story.of(tell().lines)
    assert story.origins["encoder-0"] == Origin("encoder-0", (0,), "answer")
    assert "encoder-99" not in story.origins
    assert story.helper(story.tasks[0]) is None
    assert story.helper(story.tasks[4]) == story.origins["encoder-0"]


def test_events_of_a_later_version_are_passed_over() -> None:
    story = Story.of([{"event": "Merged", "task": 3}, {"event": "Noted"}])
    assert story == Story()


def test_tasks_that_are_learned_together_are_at_hand_before_they_start(
    tell: Callable[..., Any], joint: Callable[..., list[dict[str, Any]]]
) -> None:
    lines = tell(tasks=3).lines
    story = Story.of([lines[0], *joint()[:-1]])
    assert story.current is story.tasks[0]
    assert story.tasks[0].started is None
    story = Story.of([lines[0], *joint(), *lines[1:]])
    assert story.together == joint()[-1:]
    assert story.expected == 3
    assert story.flops == Story.of(lines).flops  # every task's account has its share of it


def test_one_row_after_several_tasks_is_the_row_of_each(tell: Callable[..., Any]) -> None:
    """As after a joint phase, or where only every third task is followed by a row."""
    lines = [line for line in tell(tasks=4).lines if line["event"] != "Evaluated" or line["task"] not in (0, 1)]
    story = Story.of(lines)
    assert [story.tasks[i].evaluated["task"] for i in range(4)] == [2, 2, 2, 3]  # type: ignore[index]
    assert story.covered == [story.tasks[3]]
