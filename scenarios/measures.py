"""Measures an agent with Avalanche's own evaluation loop and metrics, and records the accuracy matrix beside them."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..agent.agent import LifelongAgent
from ..agent.asked import Asked
from ..agent.events import Evaluated, EvaluatedDuring, Event, Paused
from ..agent.randomness import OwnRandomness
from ..streams.stream import Stream, TestSet
from ..streams.task import Task
from ..streams.torchvision_guard import guard
from .during import Midway, Watch
from .examination import Answers as Answers  # part of this module's face
from .examination import Examiner, TestSets, batches
from .marks import Marks, pooled
from .matrix import AccuracyMatrix

guard()  # before Avalanche, which imports torchvision
from avalanche.benchmarks.scenarios import CLExperience, EagerCLStream  # noqa: E402
from avalanche.evaluation import PluginMetric  # noqa: E402
from avalanche.evaluation.metrics import (  # noqa: E402
    accuracy_metrics,
    bwt_metrics,
    forgetting_metrics,
    forward_transfer_metrics,
    loss_metrics,
)
from avalanche.logging import BaseLogger  # noqa: E402
from avalanche.models import MultiTaskModule  # noqa: E402
from avalanche.training.plugins import EvaluationPlugin  # noqa: E402
from avalanche.training.templates import SupervisedTemplate  # noqa: E402
from avalanche.training.templates.base import BaseTemplate  # noqa: E402

T = TypeVar("T")


class Measures:
    """Evaluates an agent over the whole test stream: row 0 before any learning, then after tasks.

    Avalanche sees a strategy whose training does nothing (the agent has learned by itself) and whose model answers for
    the agent; the protocol is the one under which its forgetting and transfer are right. A concept that comes back is
    announced to Avalanche under an id that no test experience has, else it would forget the value of the first visit.

    Regression runs through the same loop and gives the same rows, with R² in the place of accuracy. Avalanche's metrics
    count right answers, so a stream that has regression tasks is evaluated without them, but for the loss of each test
    set (squared error).
    """

    def __init__(self, stream: Stream, *, evaluate_every: int = 1, batch_size: int = 1024) -> None:
        """Prepare the evaluation; nothing is built or asked yet.

        Args:
            stream: Whose test sets to use.
            evaluate_every: Evaluate when so many tasks were learned since the last evaluation, and after the last task.
            batch_size: Test samples per question; fixed, so that a resumed run asks the same questions.

        Raises:
            ValueError: If `evaluate_every` or `batch_size` is below 1.
        """
        if evaluate_every < 1 or batch_size < 1:
            raise ValueError(f"evaluate_every is {evaluate_every} and batch_size {batch_size}; both must be at least 1")
        self._stream, self._every = stream, evaluate_every
        self._tests = TestSets(stream)
        self._avalanche = _Evaluation.over(stream, self._tests, batch_size)
        self._watch = Watch(stream, self._tests, batch_size)
        self._rows: list[tuple[float, ...]] = []
        self._row_tasks: list[int | None] = []
        self._learned_at: list[int | None] = [None] * len(stream.concepts)
        self._given: list[tuple[int, str, float]] = []
        self._announced = 0  # tasks that Avalanche was told of

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the test sets."""
        return tuple(concept.name for concept in self._stream.concepts)

    @property
    def counted(self) -> int:
        """How many tasks of the stream the rows count as learned."""
        return self._announced

    def start(self, agent: Answers) -> Iterator[Evaluated]:
        """Evaluate before any learning: row 0.

        Raises:
            ValueError: If a row was taken already.
        """
        if self._rows:
            raise ValueError("row 0 can only be the first; these measures have rows already")
        yield self._evaluate(agent, None)

    def after(self, task: Task, agent: Answers) -> Iterator[Evaluated]:
        """Evaluate after a task was learned, where it is time for it; all tasks up to it count as learned.

        After a joint phase call it once, with the phase's last task.

        Raises:
            ValueError: If row 0 is not there yet, or the task was counted before.
        """
        if not self._rows:
            raise ValueError("row 0 is missing: call start() before any learning")
        if task.index < self._announced:
            raise ValueError(f"task {task.index} is counted as learned already")
        if task.index + 1 - self._announced >= self._every or task.index == len(self._stream) - 1:
            yield self._evaluate(agent, task.index)

    def during(
        self, learning: Generator[Event, None, T], task: Task, agent: LifelongAgent
    ) -> Generator[Event, None, T]:
        """Look on while a task is learned, and evaluate wherever learning pauses; see `during.Watch`."""
        return (yield from self._watch.watched(learning, task, agent))

    def look(self, paused: Paused, interim: Midway) -> EvaluatedDuring:
        """Evaluate what would answer now on the concepts of the tasks so far; see `during.Watch`."""
        return self._watch.look(paused, interim)

    def restore(self, rows: Sequence[Evaluated], avalanche: Sequence[tuple[int, str, float]] = ()) -> None:
        """Take up recorded rows: afterwards everything is as if they had been evaluated here.

        The rows are fed through the same evaluation, with a model that gives exactly these accuracies.

        Args:
            rows: Every row so far, from row 0 on.
            avalanche: Avalanche's values as they were recorded, which replace those of this replay; the loss cannot
                be replayed, so it is left out where they are not given.

        Raises:
            ValueError: If rows were taken already, or the recorded ones do not fit the stream.
        """
        if self._rows:
            raise ValueError("these measures have rows already")
        for number, row in enumerate(rows):
            if row.row != number or row.columns != self.columns or (row.task is None) != (number == 0):
                raise ValueError(f"recorded row {row.row} (after task {row.task}) is not row {number} of this stream")
            self._learn_and_evaluate(row.values, row.task)
        replayed = [value for value in self._given if not value[1].startswith("Loss")]
        self._given = [value for value in avalanche if value[0] < len(rows)] if avalanche else replayed

    def matrix(self) -> AccuracyMatrix:
        """Return the rows so far."""
        return AccuracyMatrix(
            values=np.array(self._rows, dtype=np.float64).reshape(len(self._rows), len(self._stream.concepts)),
            columns=self.columns,
            row_tasks=tuple(self._row_tasks),
            learned_at=tuple(self._learned_at),
            class_sets=tuple(concept.classes for concept in self._stream.concepts),
            own_labels=tuple(concept.own_labels for concept in self._stream.concepts),
        )

    def avalanche_values(self) -> list[tuple[int, str, float]]:
        """Return (row, metric's name, value) as Avalanche gave them, in its order.

        Its conventions differ from the papers' in places, and after returning tasks or skipped evaluations its numbers
        can be wrong: `matrix` and `scenarios.metrics` are what a report is made from.
        """
        return list(self._given)

    def _evaluate(self, agent: Answers, task: int | None) -> Evaluated:
        began = time.process_time()
        found = self._learn_and_evaluate(agent, task)
        samples = tuple(self._tests.size(c) for c in range(len(self.columns)))
        given = self._stream.setting.label_when_asked
        learned = [marks for marks, at in zip(found.marks, self._learned_at, strict=True) if at is not None]
        return Evaluated(
            row=len(self._rows) - 1,
            task=task,
            values=self._rows[-1],
            columns=self.columns,
            samples=samples,
            anchor_share=() if given else tuple(k / n for k, n in zip(found.anchored, samples, strict=True)),
            log_loss=_known(marks.log_loss for marks in found.marks),
            ece=_known(marks.ece for marks in found.marks),
            mse=_known(marks.mse for marks in found.marks),
            reliability=tuple((each.samples, each.confidence, each.accuracy) for each in pooled(learned)),
            seconds=time.process_time() - began,
        )

    def _learn_and_evaluate(self, agent: Answers | tuple[float, ...], task: int | None) -> _Found:
        """Tell Avalanche of the tasks learned since the last row, evaluate, and append the row.

        Args:
            agent: What answers, or the accuracies that are to come out.
            task: The task after which the row is taken; None for row 0.
        """
        row, learned_at = len(self._rows), list(self._learned_at)
        for i in range(self._announced, 0 if task is None else task + 1):
            concept = self._stream.concept_of(i)
            returns = learned_at[concept] is not None
            # Avalanche compares ids with a test experience's id and the one before: those beyond mean "none of them".
            self._avalanche.announce(len(self._stream.concepts) + i if returns else concept)
            if not returns:
                learned_at[concept] = row
            self._tests.ask_under(concept, self._stream.label_of(i))
            self._announced = i + 1
        # Avalanche draws from the global generators; a row must not depend on what was drawn before, nor change it.
        with OwnRandomness(0).swapped_in():
            found = self._avalanche.evaluate(agent)
        # All of the row or nothing of it: whoever is interrupted while it is taken finds the matrix as it was.
        self._rows.append(found.accuracies)
        self._row_tasks.append(task)
        self._learned_at = learned_at
        self._given.extend((row, name, value) for name, value in found.values.items())
        return found


class _Row(PluginMetric):
    """One row of the accuracy matrix, keyed by (stream, experience); Avalanche's own metrics know experiences only."""

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def before_eval(self, strategy: Any) -> None:
        self.reset()

    def after_eval_iteration(self, strategy: Any) -> None:
        key = (strategy.experience.origin_stream.name, strategy.experience.current_experience)
        self.marks.setdefault(key, Marks()).add(strategy.mb_output, strategy.mb_y)

    def result(self) -> dict[tuple[str, int], float]:
        return {key: marks.score for key, marks in self.marks.items()}

    def reset(self) -> None:
        self.marks: dict[tuple[str, int], Marks] = {}


def _known(values: Iterable[float | None]) -> tuple[float | None, ...]:
    """Gather one number per column; nothing at all where no column has it."""
    found = tuple(values)
    return found if any(value is not None for value in found) else ()


def _loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Negative log-likelihood of classes, squared error of real targets."""
    if targets.is_floating_point():
        return torch.nn.functional.mse_loss(outputs, targets.to(outputs.dtype))
    return torch.nn.functional.nll_loss(outputs, targets)


class _Given(BaseLogger):
    """Avalanche's values as it gives them during one evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, float] = {}

    def log_single_metric(self, name: str, value: Any, x_plot: int) -> None:
        self.values[name] = float(value)


class _Voice(MultiTaskModule):
    """What Avalanche takes for the model: it answers for the agent."""

    def __init__(self, width: int, asked: Asked) -> None:
        super().__init__()
        # In a list, so that an agent which is a torch module does not become a part of this one, to be switched to
        # evaluation and moved between devices with it.
        self.speaks_for: list[Answers] = []
        self.examiner = Examiner(width, asked)

    def adaptation(self, experience: Any) -> None:
        """Do nothing: the agent has learned by itself."""

    def forward(self, x: Tensor, task_labels: Tensor | None = None) -> Tensor:
        """Return log-probabilities, shape `(n, width)`, or values; all `task_labels` of a test set are the same."""
        label = None if task_labels is None else int(task_labels[0])
        return self.examiner.ask(self.speaks_for[0], x, label)


@dataclass(frozen=True)
class _Found:
    """What one evaluation of the whole test stream gave.

    Attributes:
        accuracies: Per concept.
        marks: Per concept; none where the accuracies were given.
        anchored: Answers that the anchor gave, per concept.
        values: Avalanche's values by name.
    """

    accuracies: tuple[float, ...]
    marks: tuple[Marks, ...]
    anchored: tuple[int, ...]
    values: Mapping[str, float]


class _Evaluation(SupervisedTemplate):
    """The strategy that Avalanche evaluates: its training does nothing, its batches are slices of whole tensors."""

    def __init__(
        self, *, tests: TestSets, row: _Row, given: _Given, test_stream: Any, counted: bool, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._tests, self._row, self._given, self._test_stream = tests, row, given, test_stream
        self._counted = counted  # whether all tests have right answers; else no metric here remembers earlier rows
        self._prescribed: tuple[float, ...] | None = None
        self._position = 0

    @classmethod
    def over(cls, stream: Stream, tests: TestSets, batch_size: int) -> _Evaluation:
        """Build it with all of Avalanche's measures and our own row."""
        experiences = []
        for concept in stream.concepts:
            experience: Any = CLExperience(current_experience=concept.index, origin_stream=None)
            tests.ask_under(concept.index, concept.label)
            if concept.label is not None:
                experience.task_label, experience.task_labels = concept.label, [concept.label]
            experiences.append(experience)
        row, given = _Row(), _Given()
        counted = all(concept.kind == "classification" for concept in stream.concepts)
        metrics = (
            (
                accuracy_metrics(experience=True, stream=True),
                loss_metrics(experience=True, stream=True),
                forgetting_metrics(experience=True, stream=True),
                bwt_metrics(experience=True, stream=True),
                forward_transfer_metrics(experience=True, stream=True),
            )
            if counted
            else (loss_metrics(experience=True),)
        )
        return cls(
            tests=tests,
            row=row,
            given=given,
            test_stream=EagerCLStream("test", experiences),
            model=_Voice(stream.n_classes, tests.asked),
            optimizer=torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.0),  # asked for, never used
            criterion=_loss,
            eval_mb_size=batch_size,
            counted=counted,
            evaluator=EvaluationPlugin(*metrics, row, loggers=[given], collect_all=False),
            eval_every=0,  # the forward-transfer metric asserts it; nothing is evaluated while `train` runs
        )

    def announce(self, experience: int) -> None:
        """Let Avalanche know that the agent learned the experience of this id."""
        self.train(CLExperience(current_experience=experience, origin_stream=None), eval_streams=[])

    def evaluate(self, agent: Answers | tuple[float, ...]) -> _Found:
        """Evaluate the whole test stream.

        Args:
            agent: What answers, or the accuracies that are to come out.
        """
        if isinstance(agent, tuple) and not self._counted:
            return _Found(agent, (), (0,) * len(agent), {})
        self._prescribed = agent if isinstance(agent, tuple) else None
        self.model.speaks_for = [] if isinstance(agent, tuple) else [agent]
        self._given.values = {}
        try:
            self.eval(self._test_stream)
        finally:
            self._prescribed, self.model.speaks_for = None, []
        marks = [self._row.marks["test", c] for c in range(len(self._test_stream))]
        return _Found(
            accuracies=tuple(each.score for each in marks),
            marks=() if isinstance(agent, tuple) else tuple(marks),
            anchored=tuple(self.model.examiner.by_anchor[c] for c in range(len(marks))),
            values=self._given.values,
        )

    def _before_training_exp(self, **kwargs: Any) -> None:
        BaseTemplate._before_training_exp(self, **kwargs)  # no data, no optimiser

    def _train_exp(self, experience: Any, eval_streams: Any = None, **kwargs: Any) -> None:
        """Do nothing: the agent has learned by itself."""

    def eval_dataset_adaptation(self, **kwargs: Any) -> None:
        """Do nothing: the data come from the stream's test sets."""

    def make_eval_dataloader(self, **kwargs: Any) -> None:
        """Cut the test set into batches."""
        concept = self.experience.current_experience
        test = self._tests[concept]
        self.model.examiner.begin(concept, test)
        self._position = 0
        self.dataloader = self._batches(test, self._tests.label(concept))

    def _batches(self, test: TestSet, label: int | None) -> Iterator[list[Tensor]]:
        for x, y in batches(test, self.eval_mb_size):
            yield [x, y] if label is None else [x, y, torch.full((len(y),), label)]

    def forward(self) -> Tensor:
        """Ask the agent, or give as many right answers as the prescribed accuracy says."""
        if self._prescribed is None:
            return super().forward()
        concept, width = self.experience.current_experience, self.model.examiner.width
        n, wanted = self._tests.size(concept), self._prescribed[concept]
        right = round(wanted * n)
        if right / n != wanted:
            raise ValueError(f"an accuracy of {wanted} is not possible on the {n} test samples of column {concept}")
        position = self._position + torch.arange(len(self.mb_y))
        self._position += len(self.mb_y)
        said = torch.where(position < right, self.mb_y, (self.mb_y + 1) % width)
        return torch.nn.functional.one_hot(said, width).double().log_softmax(dim=1)
