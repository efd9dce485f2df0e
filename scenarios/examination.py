"""Asking an agent about test sets: the sets, kept as far as memory allows, and what becomes of an answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from ..agent.answer import Answer
from ..agent.asked import Asked
from ..streams.stream import Stream, TestSet
from .full_width import full_values, full_width
from .marks import Marks

# Test sets are kept between evaluations up to this size, and built anew beyond it.
KEPT_BYTES = 2**30


class Answers(Protocol):
    """What is measured: anything that answers. Called once per batch; nothing else of it is used or changed."""

    def answer(self, x: Tensor, label: int | None) -> Answer:
        """Answer for inputs of shape `(n, *input_shape)`; `label` is the task label where the setting gives one."""


class TestSets:
    """The test sets, kept between evaluations as far as memory allows.

    Attributes:
        asked: What frozen encoders made of them when they were asked about.
    """

    __test__ = False  # pytest takes classes of such a name for tests

    def __init__(self, stream: Stream) -> None:
        """Build nothing yet.

        Args:
            stream: Whose test sets they are.
        """
        self.asked = Asked()
        self._stream = stream
        self._kept: dict[int, TestSet] = {}
        self._bytes = 0
        self._sizes: dict[int, int] = {}
        self._labels: dict[int, int | None] = {}

    def ask_under(self, concept: int, label: int | None) -> None:
        """Ask about a concept under this task label from now on: that of the task that brought it last."""
        self._labels[concept] = label

    def label(self, concept: int) -> int | None:
        """Return the task label that is told with a concept's test samples; None where the setting gives none."""
        return self._labels[concept]

    def __getitem__(self, concept: int) -> TestSet:
        if concept in self._kept:
            return self._kept[concept]
        built = self._stream.test(concept)
        if not len(built.y):
            raise ValueError(f"the test set of {self._stream.concepts[concept].name!r} is empty")
        if built.y.is_floating_point() and bool((built.y == built.y[0]).all()):
            raise ValueError(
                f"the test targets of {self._stream.concepts[concept].name!r} do not vary: R² is undefined"
            )
        self._sizes[concept] = len(built.y)
        self._bytes += built.x.nbytes + built.y.nbytes
        if self._bytes <= KEPT_BYTES:
            self._kept[concept] = built
        else:
            self._bytes -= built.x.nbytes + built.y.nbytes
        return built

    def size(self, concept: int) -> int:
        """Return the number of test samples of a concept that was built before."""
        return self._sizes[concept]


def batches(test: TestSet, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut a test set into batches.

    Args:
        test: The test set.
        size: Samples per batch.

    Yields:
        Inputs, a copy (a view would reach the whole test set, and an agent could write into it), and targets.
    """
    for start in range(0, len(test.y), size):
        part = slice(start, start + size)
        yield test.x[part].clone(), test.y[part]


class Examiner:
    """Asks, and makes answers comparable: log-probabilities over all classes there are, or values.

    Attributes:
        width: Number of classes in all.
        by_anchor: Answers that the anchor gave, per concept, since the concept was begun with.
    """

    def __init__(self, width: int, asked: Asked | None = None) -> None:
        """Ask nothing yet.

        Args:
            width: Number of classes in all.
            asked: What became of earlier questions; of its own where it is left out.
        """
        self.width, self._asked = width, asked or Asked()
        self.by_anchor: dict[int, int] = {}
        self._concept = 0
        self._among: tuple[int, ...] = ()  # the classes that a task label leaves open
        self._mean: Tensor | None = None  # of the test targets; None where classes are asked for
        self._guesses = torch.Generator()

    def begin(self, concept: int, test: TestSet) -> None:
        """Begin with a test set; what is guessed there is the same in every row."""
        self._concept, self._among = concept, test.classes
        self._mean = test.y.double().mean(dim=0) if test.y.is_floating_point() else None
        self.by_anchor[concept] = 0
        self._guesses.manual_seed(concept)

    def ask(self, agent: Answers, x: Tensor, label: int | None) -> Tensor:
        """Ask about one batch of the test set at hand.

        Args:
            agent: Whom to ask.
            x: Inputs, shape `(n, *input_shape)`.
            label: The task label; None where none is given.

        Returns:
            Log-probabilities, shape `(n, width)`, or values, shape `(n, outputs)`.

        Raises:
            ValueError: If the answer has another length, or is not finite.
        """
        with self._asked.at_hand():
            said = agent.answer(x, label)
        if len(said.by_anchor) != len(x):
            raise ValueError(f"the agent was asked about {len(x)} inputs and gave {len(said.by_anchor)} answers")
        self.by_anchor[self._concept] += int(said.by_anchor.sum())
        if self._mean is not None:
            return full_values(said, self._mean)
        among = self._among if label is not None else tuple(range(self.width))
        guess = torch.tensor(among)[torch.randint(len(among), (len(x),), generator=self._guesses)]
        return full_width(said, self.width, guess, among)

    def examine(self, agent: Answers, concept: int, test: TestSet, label: int | None, size: int) -> Marks:
        """Ask about a whole test set.

        Args:
            agent: Whom to ask.
            concept: Its column.
            test: The test set.
            label: The task label that is told.
            size: Samples per batch.

        Returns:
            The marks.
        """
        marks = Marks()
        self.begin(concept, test)
        for x, y in batches(test, size):
            marks.add(self.ask(agent, x, label), y)
        return marks
