"""Evaluations in the middle of learning: what would be answered then, on the tasks so far; nobody learns from it."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Protocol, TypeVar

from ..agent.agent import LifelongAgent
from ..agent.events import EvaluatedDuring, Event, Paused
from ..agent.randomness import OwnRandomness
from ..streams.stream import Stream
from ..streams.task import Task
from .examination import Answers, Examiner, TestSets
from .full_width import NotFinite

T = TypeVar("T")


class Midway(Answers, Protocol):
    """What would answer now, in the middle of learning a task."""

    @property
    def alone(self) -> Answers:
        """What is at work by itself, for who asks about the task at hand without a label."""


class Watch:
    """Evaluates what an agent would answer while it learns, apart from the rows of the matrix.

    Avalanche is not asked: its measures are wrong after an evaluation of some test sets only.
    """

    def __init__(self, stream: Stream, tests: TestSets, batch_size: int) -> None:
        """Look at nothing yet.

        Args:
            stream: The stream.
            tests: Its test sets.
            batch_size: Test samples per question.
        """
        self._stream, self._tests, self._size = stream, tests, batch_size
        self._examiner = Examiner(stream.n_classes, tests.asked)

    def watched(
        self, learning: Generator[Event, None, T], task: Task, agent: LifelongAgent
    ) -> Generator[Event, None, T]:
        """Look on while a task is learned.

        Args:
            learning: What `agent.learn` gave.
            task: The task.
            agent: The agent.

        Yields:
            Every event of it, an evaluation in the place of every pause.

        Returns:
            What learning returned.
        """
        try:
            while True:
                try:
                    event = next(learning)
                except StopIteration as end:
                    return end.value
                yield agent.note(self.look(event, agent.interim(task))) if isinstance(event, Paused) else event
        finally:
            learning.close()

    def look(self, paused: Paused, interim: Midway) -> EvaluatedDuring:
        """Evaluate on the concepts of the tasks so far, the one at hand among them.

        Args:
            paused: Where learning pauses.
            interim: What would answer now.
        """
        began, stream = time.process_time(), self._stream
        labels = {stream.concept_of(i): stream.label_of(i) for i in range(paused.task + 1)}
        current = stream.concept_of(paused.task)
        values: list[float | None] = [None] * len(stream.concepts)
        with OwnRandomness(0).swapped_in():
            for concept, label in labels.items():
                values[concept] = self._score(interim, concept, label)
            given = stream.setting.label_when_asked
            own = values[current] if given else self._score(interim.alone, current, 0)  # any label: among its classes
        return EvaluatedDuring(
            task=paused.task,
            strategy=paused.strategy,
            source=paused.source,
            unit=paused.unit,
            flops=paused.flops,
            fraction=paused.fraction,
            values=tuple(values),
            own=own,
            seconds=time.process_time() - began,
        )

    def _score(self, agent: Answers, concept: int, label: int | None) -> float | None:
        """Accuracy or R² on a test set; None where an answer is not finite, for a strategy may be about to diverge."""
        try:
            return self._examiner.examine(agent, concept, self._tests[concept], label, self._size).score
        except NotFinite:
            return None
