"""What is told of a task when it arrives, whoever learns it."""

from __future__ import annotations

from ..agent.events import TaskStarted
from ..streams.stream import Stream
from ..streams.task import Task


def started(task: Task, stream: Stream, budget: float) -> TaskStarted:
    """Tell that a task has arrived.

    Args:
        task: The task.
        stream: Its stream.
        budget: FLOPs that may be spent on it.

    Returns:
        The event.
    """
    return TaskStarted(
        task=task.index,
        name=task.name,
        concept=stream.concept_of(task.index),
        tasks=len(stream),
        classes=task.classes,
        samples=len(task.support),
        query=len(task.query) if task.query is not None else 0,
        input_shape=task.input_shape,
        budget=budget,
    )
