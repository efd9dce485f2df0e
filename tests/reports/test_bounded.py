"""What it took to stay within the store's bytes, told apart from forgetting."""

import pytest

from evermap.reports import lines
from evermap.reports.bounded import bounded
from evermap.reports.story import Story


def step(how, tasks=(), cost=0.0):
    return {"entry": "encoder-3", "how": how, "into": None, "tasks": list(tasks), "freed": 10, "cost": cost, "why": ""}


def told(*tasks, **more):
    events = []
    for i, steps in enumerate(tasks):
        events.append({"event": "Learned", "task": i, "total_flops": 100.0, "consolidation": 5.0, "seconds": 1.0})
        room = {"limit": 1000, "bytes": 900 - i, "steps": list(steps), "flops": 20.0, "seconds": 0.5}
        events.append({"event": "Bounded", "task": i, **room, **more})
    return Story.of(events)


def test_costs_are_averaged_over_all_tasks():
    story = told([], [step("evicted", [0, 1], 0.03), step("left out")], [step("merged", [2], 0.02)], [step("left out")])
    found = bounded(story)
    assert (found["limit"], found["most"]) == (1000, 900)
    assert found["counts"] == {"left out": 2, "merged": 1, "evicted": 1}
    assert found["cost"] == pytest.approx((2 * 0.03 + 0.02) / 4)
    assert [each["after"] for each in found["steps"]] == [1, 1, 2, 3]
    assert "2 left out, 1 merged, 1 evicted" in found["said"]
    assert "−2.0 points of accuracy" in found["said"]


def test_nothing_is_said_of_a_store_without_a_bound_and_no_cost_where_none_is_known():
    assert bounded(Story.of([{"event": "Learned", "task": 0}])) is None
    assert bounded(told([], []))["cost"] == 0.0
    assert "nothing had to be left out" in bounded(told([]))["said"]
    unknown = bounded(told([step("evicted", [0], None)]))
    assert unknown["cost"] is None
    assert "an unknown amount" in unknown["said"]


def test_its_flops_are_part_of_the_work_for_later_tasks():
    story = told([])
    (task,) = story.tasks.values()
    assert task.spent == 120.0
    assert story.parts(task) == {"profile": 0.0, "choice": 0.0, "together": 0.0, "learning": 95.0, "later": 25.0}
    assert story.seconds == 1.5


def test_what_passed_the_budget_is_said_with_the_task():
    story = told([], warnings=["making room in the store passed the budget: 2 FLOP were spent of 1"])
    (task,) = story.tasks.values()
    assert task.warnings == ["making room in the store passed the budget: 2 FLOP were spent of 1"]
    event = {"event": "Bounded", "task": 0, "warnings": task.warnings}
    assert lines.told(story, event).endswith(
        "warning: making room in the store passed the budget: 2 FLOP were spent of 1"
    )
    assert lines.told(story, {**event, "warnings": []}) is None, "room that was there is not worth a line"
