"""A stream: ordered tasks, each built from the seed when it is asked for, with the test sets kept apart."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import RecipeError
from .plan import TaskPlan, plan
from .seeds import generator
from .setting import Setting
from .source import SourceData, make_source
from .spec import AnyStreamSpec
from .task import Samples, Task
from .transforms import apply, noisy_labels, pixel_permutation


@dataclass(frozen=True)
class Concept:
    """What is to be learned, however often it comes: a column of the accuracy matrix.

    Attributes:
        index: The column.
        name: Name of the task that brought it first.
        label: The task label that is given with a test sample; None in settings that give none.
        classes: Global class ids; empty for regression.
        own_labels: Whether class ids (regression: outputs) mean something in this concept's tasks only.
    """

    index: int
    name: str
    label: int | None
    classes: tuple[int, ...]
    own_labels: bool = False

    @property
    def kind(self) -> str:
        """What is asked of a test sample: "classification" or "regression"."""
        return "classification" if self.classes else "regression"


@dataclass(frozen=True)
class TestSet:
    """What a concept is tested on; for whoever measures, never for the agent.

    Attributes:
        x: Inputs, float32, shape `(n, *input_shape)`.
        y: Global class ids, int64, shape `(n,)`; regression: targets, float, shape `(n, outputs)`.
        label: The task label that may be told; None where the setting gives none.
        classes: The concept's global class ids; empty for regression.
    """

    __test__ = False  # pytest takes classes of such a name for tests

    x: Tensor
    y: Tensor
    label: int | None
    classes: tuple[int, ...]


class Stream:
    """Tasks in their order.

    Every task is a function of (seed, its position): `task(17)` is the same whether or not others were built. Nothing
    that was built is kept.

    Attributes:
        spec: What it was made from.
        seed: Decides all that is drawn.
        setting: What the learner is told.
        kind: What the inputs are ("image").
        input_shape: Shape of one input.
        n_classes: Width of the global label space: every class id is below it.
        concepts: The columns of the accuracy matrix.
        data_hash: SHA-256 of the source's samples, for the record.
    """

    def __init__(self, spec: AnyStreamSpec, seed: int, data: SourceData) -> None:
        """Plan the tasks and split the data.

        Args:
            spec: What the stream is.
            seed: Decides all that is drawn.
            data: The source's samples.

        Raises:
            RecipeError: If the description contradicts itself, or asks for more than there is.
        """
        if data.targets is not None:
            valid = "its samples have values to be predicted, and a stream's tasks are made of classes"
            raise RecipeError("stream", "stream.source", spec.source, valid)
        self.spec, self.seed, self._data = spec, seed, data
        self.setting: Setting = spec.setting
        self.kind = data.kind
        self.input_shape: tuple[int, ...] = tuple(data.x.shape[1:])
        self._plans = plan(spec, seed, data.sizes)
        self._firsts: list[TaskPlan] = []
        for each in self._plans:
            if each.concept == len(self._firsts):
                self._firsts.append(each)
        given = self.setting.label_when_asked
        self.concepts = tuple(
            Concept(i, each.name, i if given else None, each.classes, each.own_labels)
            for i, each in enumerate(self._firsts)
        )
        self.n_classes = 1 + max(max(each.classes) for each in self._firsts)
        self._train, self._test = self._split()
        self._data = data.fitted(torch.cat(self._train))

    def __len__(self) -> int:
        return len(self._plans)

    def __iter__(self) -> Iterator[Task]:
        for i in range(len(self)):
            yield self.task(i)

    def phases(self, start: int = 0) -> Iterator[tuple[Task, ...]]:
        """Group the tasks by arrival: consecutive tasks of one phase arrive together, every other one by itself.

        Args:
            start: Position from which tasks are wanted; arrivals that lie wholly before it are left out.

        Yields:
            The tasks of each arrival, in their order.
        """
        for _, group in itertools.groupby(range(len(self)), key=lambda i: self.phase_of(i) or i):
            members = list(group)
            if members[-1] >= start:
                yield tuple(self.task(i) for i in members)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Readable name of every class of the source."""
        return self._data.classes

    @property
    def data_hash(self) -> str:
        """SHA-256 of the source's samples."""
        return self._data.sha256()

    def task(self, i: int) -> Task:
        """Build one task.

        Args:
            i: Its position, from 0.

        Returns:
            The task: the same bits at every call, in memory of its own.
        """
        made = self._plan(i)
        support, query = [], []
        for k, n, start in zip(made.drawn, made.support, made.start, strict=True):
            deck = self._train[k]
            dealt = deck[(start + torch.arange(n + made.query)) % len(deck)]
            support.append(dealt[:n])
            query.append(dealt[n:])
        return Task(
            name=made.name,
            index=i,
            support=self._samples(made, support, i, "support"),
            query=self._samples(made, query, i, "query") if made.query else None,
            classes=made.classes,
            label=self.concepts[made.concept].label,
        )

    def test(self, c: int) -> TestSet:
        """Build the test set of one concept. It is built anew at every call: keep it if you ask again.

        Args:
            c: The concept's index.

        Returns:
            The test set: the same bits at every call.
        """
        if not 0 <= c < len(self.concepts):
            raise IndexError(f"concept {c} of a stream of {len(self.concepts)}")
        concept, made = self.concepts[c], self._firsts[c]
        chosen = [self._test[k][: self.spec.test_per_class] for k in made.drawn]
        y = torch.cat([torch.full((len(each),), made.meaning[k]) for k, each in zip(made.drawn, chosen, strict=True)])
        x = self._inputs(made, torch.cat(chosen), generator(self.seed, "concept", c, "test noise"))
        return TestSet(x, y, concept.label, concept.classes)

    def concept_of(self, i: int) -> int:
        """Return the index of the concept that task `i` brings."""
        return self._plan(i).concept

    def phase_of(self, i: int) -> str | None:
        """Return the name of the joint phase that task `i` belongs to; None where it arrives alone."""
        return self._plan(i).phase

    def _plan(self, i: int) -> TaskPlan:
        if not 0 <= i < len(self):
            raise IndexError(f"task {i} of a stream of {len(self)}")
        return self._plans[i]

    def _samples(self, made: TaskPlan, chosen: list[Tensor], i: int, part: str) -> Samples:
        """Gather, mix, transform and label one part of a task; `chosen` has the images of every drawn class."""
        y = torch.cat([torch.full((len(each),), p) for p, each in zip(made.positions, chosen, strict=True)])
        order = torch.randperm(len(y), generator=generator(self.seed, "task", i, part, "order"))
        index, y = torch.cat(chosen)[order], y[order]
        x = self._inputs(made, index, generator(self.seed, "task", i, part, "noise"))
        if made.label_noise:
            rng = generator(self.seed, "task", i, part, "label noise")
            y = noisy_labels(y, made.label_noise, len(made.classes), rng)
        return Samples(x, y)

    def _inputs(self, made: TaskPlan, index: Tensor, rng: torch.Generator) -> Tensor:
        permutation = pixel_permutation(self.seed, made.transforms.permute, self.input_shape)
        return apply(self._data.take(index), made.transforms, permutation, rng)

    def _split(self) -> tuple[list[Tensor], list[Tensor]]:
        """Part every class into training and test images, once for the whole stream: no image is ever in both."""
        trains, tests = [], []
        counts = self._data.sizes.split(self.spec.test_share)[1]
        for k in range(len(self._data.classes)):
            own, rng = self._data.y == k, generator(self.seed, "split", k)
            if self._data.parts is None:
                images = own.nonzero().flatten()
                images = images[torch.randperm(len(images), generator=rng)]
                test, train = images[: counts[k]], images[counts[k] :]
            else:
                train, test = (part[own[part]] for part in self._data.parts)
                train = train[torch.randperm(len(train), generator=rng)]
                test = test[torch.randperm(len(test), generator=rng)]
            trains.append(train)
            tests.append(test)
        return trains, tests


def build_stream(spec: AnyStreamSpec, seed: int, data_root: Path | None = None) -> Stream:
    """Load the source and plan the stream on it.

    Args:
        spec: What the stream is.
        seed: Decides all that is drawn.
        data_root: Folder that holds the user's data sets; None where none was given.

    Returns:
        The stream; its tasks are built when they are asked for.

    Raises:
        RecipeError: If the description contradicts itself, or asks for more than the source holds.
        DataMissing: If the source's files are not there.
    """
    source = make_source(spec.source, spec.source_settings, where="stream")
    return Stream(spec, seed, source.load(data_root))
