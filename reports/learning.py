"""Learning curves of a run, task by task, and what they say alone and beside those of a fresh expert."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..scenarios.curves import Curve, area_under_curve, jumpstart, mean_cost_to_threshold, steps_to_threshold
from ..scenarios.l2metrics import relative_performance, sample_efficiency
from ..scenarios.measure import Measure, PerColumn, Undefined, each
from .story import Story, TaskStory

On = Literal["test", "held-out"]

NO_EXPERT = "needs a run of an independent expert on the same stream (--against)"
# Costs are shares of a task's budget, which is the same for every agent: all of it is 1.
WHOLE = 1.0


@dataclass(frozen=True)
class Learning:
    """What the learning curves of a run say.

    Attributes:
        on: What the curves were measured on: "test" data during learning, or "held-out" samples.
        per_task: Numbers of every task, in the order of the tasks.
        means: Numbers of the run.
    """

    on: On
    per_task: tuple[PerColumn, ...]
    means: tuple[Measure, ...]


def learning_of(story: Story, expert: Story | None) -> Learning:
    """Gather the numbers of all learning curves.

    Args:
        story: The run.
        expert: The run of a fresh expert on the same stream; None for none.
    """
    both = [story] if expert is None else [story, expert]
    on: On = "test" if all(map(measured_on_tests, both)) else "held-out"
    tasks = [task for _, task in sorted(story.tasks.items()) if task.learned]
    names = [task.name for task in tasks]
    own = [curve_of(story, task, on) for task in tasks]
    theirs = [None if expert is None else _of(expert, task.index, on) for task in tasks]

    def alone(formula: Callable[[Curve], Measure]) -> Callable[[int], float]:
        return lambda i: _value(formula(_there(own[i])))

    def beside(formula: Callable[[Curve, Curve], Measure]) -> Callable[[int], float]:
        def value(i: int) -> float:
            if expert is None:
                raise Undefined(NO_EXPERT)
            return _value(formula(_there(own[i]), _there(theirs[i], "the expert's")))

        return value

    def column(name: str, like: Measure, formula: Callable[[int], float]) -> PerColumn:
        return each(name, f"{like.convention}; measured on {_said(on)}", names, formula)

    flat = Curve((WHOLE,), (0.5,))  # gives conventions
    area = column("area under the learning curve", area_under_curve(flat), alone(lambda c: area_under_curve(c, WHOLE)))
    start = column("jumpstart", jumpstart(flat, flat), beside(jumpstart))
    cost = column(
        "cost to threshold",
        steps_to_threshold(flat, 0.5),
        beside(lambda c, e: steps_to_threshold(c, e.values[-1])),
    )
    relative = column("relative performance", relative_performance(flat, flat), beside(relative_performance))
    against = column(
        "relative performance (contrast)",
        relative_performance(flat, flat, "contrast"),
        beside(lambda c, e: relative_performance(c, e, "contrast")),
    )
    efficiency = column("sample efficiency", sample_efficiency(flat, flat), beside(sample_efficiency))
    contrast = column(
        "sample efficiency (contrast)",
        sample_efficiency(flat, flat, "contrast"),
        beside(lambda c, e: sample_efficiency(c, e, "contrast")),
    )
    pairs = [(c, e.values[-1]) for c, e in zip(own, theirs, strict=True) if c is not None and e is not None]
    reached = mean_cost_to_threshold([c for c, _ in pairs], [level for _, level in pairs], WHOLE)
    if expert is None:
        reached = Measure(reached.name, None, NO_EXPERT, reached.convention)
    return Learning(
        on=on,
        per_task=(area, start, cost, relative, efficiency),
        means=(
            area.mean(),
            start.mean(),
            reached,
            relative.mean(),
            against.mean(),
            efficiency.mean(),
            contrast.mean(),
        ),
    )


def measured_on_tests(story: Story) -> bool:
    """Whether the model at work was evaluated on test data under a task label, so that its answer is the agent's."""
    return bool(story.during) and not any(row.get("anchor_share") for row in story.rows)


def curve_of(story: Story, task: TaskStory, on: On) -> Curve | None:
    """Gather the learning curve of what answers for a task; its cost is the share of the task's budget.

    Args:
        story: The run.
        task: A task that was learned.
        on: "held-out": scores on held-out samples. "test": evaluations during learning, and what the task is answered
            with in the end.

    Returns:
        The curve; None where nothing was measured.
    """
    learned = task.learned or {}
    which = (learned.get("strategy"), learned.get("source"))
    points: list[tuple[float, float]] = []
    if on == "held-out":
        told = [event for event in task.progress if (event["strategy"], event["source"]) == which]
        points = [(event["fraction"], event["accuracy"]) for event in told if _finite(event["accuracy"])]
    else:
        told = [e for e in story.during if e["task"] == task.index and (e["strategy"], e["source"]) == which]
        points = [(event["fraction"], event["own"]) for event in told if _finite(event["own"])]
        budget, column = (task.started or {}).get("budget"), (task.started or {}).get("concept")
        if task.evaluated and budget and column is not None and _finite(task.evaluated["values"][column]):
            spent = float(learned["total_flops"]) - float(learned.get("consolidation") or 0.0)
            end = max([min(WHOLE, spent / float(budget)), *(cost for cost, _ in points)])
            points.append((end, task.evaluated["values"][column]))
    return Curve(*map(tuple, zip(*points, strict=True))) if points else None


def _of(story: Story, index: int, on: On) -> Curve | None:
    task = story.tasks.get(index)
    return curve_of(story, task, on) if task is not None and task.learned else None


def _there(curve: Curve | None, whose: str = "its") -> Curve:
    if curve is None:
        raise Undefined(f"nothing was measured while it was learned: {whose} curve has no point")
    return curve


def _value(measure: Measure) -> float:
    if measure.value is None:
        raise Undefined(str(measure.reason))
    return measure.value


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _said(on: On) -> str:
    return "test data while learning" if on == "test" else "held-out samples"


def points_of(story: Story) -> Sequence[dict[str, object]]:
    """List the evaluations during learning as plain data, for whoever draws them."""
    keys = ("task", "strategy", "source", "unit", "flops", "fraction", "own", "values")
    return [{key: event[key] for key in keys} for event in story.during]
