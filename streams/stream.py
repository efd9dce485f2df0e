"""A stream: ordered tasks, each built from the seed when it is asked for, with the test sets kept apart."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .layouts import write_out
from .order import MEASURED, measured_order
from .plan import TaskPlan, plan
from .seeds import generator
from .setting import Setting
from .source import Sizes, SourceData
from .spec import AnyStreamSpec
from .supply import Supply, make_sources, used_sources
from .task import Samples, Task
from .transforms import Drawn, apply, colours, noisy_labels, pixel_permutation
from .truth import Similarity, similarity


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

    def __init__(self, spec: AnyStreamSpec, seed: int, data: SourceData | Mapping[str, SourceData]) -> None:
        """Plan the tasks and split the data.

        Args:
            spec: What the stream is.
            seed: Decides all that is drawn.
            data: The source's samples; where the stream draws from several sources, those of each by its name.

        Raises:
            RecipeError: If the description contradicts itself, or asks for more than there is.
        """
        self.spec, self.seed = spec, seed
        self._supply = Supply(spec, {used_sources(spec)[0]: data} if isinstance(data, SourceData) else data)
        sizes = self._supply.sizes
        self.setting: Setting = spec.setting
        self.kind, self.input_shape = sizes.kind, sizes.input_shape
        rng = {k: generator(seed, "split", k) for k in range(len(sizes.samples))}
        self._train, self._test = self._supply.split(spec.test_share, rng)
        self._supply.fit(self._train)
        self._arrange(plan(spec, seed, sizes))
        if spec.order in MEASURED:
            tasks = [task for task, _ in write_out(spec, seed, sizes, "stream")]
            self._arrange(plan(spec, seed, sizes, order=measured_order(spec.order, tasks, self._whole())))

    def _arrange(self, plans: tuple[TaskPlan, ...]) -> None:
        """Take up the plans of all tasks."""
        self._plans = plans
        self._firsts: list[TaskPlan] = []
        for each in self._plans:
            if each.concept == len(self._firsts):
                self._firsts.append(each)
        given = self.setting.label_when_asked
        self.concepts = tuple(
            Concept(i, each.name, i if given else None, each.classes, each.own_labels)
            for i, each in enumerate(self._firsts)
        )
        self.n_classes = 1 + max(max(each.classes, default=-1) for each in self._firsts)

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
    def data_hash(self) -> str:
        """SHA-256 of the source's samples."""
        return self._supply.sha256()

    @property
    def sizes(self) -> Sizes:
        """How much the stream can draw from."""
        return self._supply.sizes

    @property
    def table(self) -> dict[str, Any] | None:
        """How rows of the user's own table became inputs, as plain data; None for anything else."""
        return self._supply.table

    @property
    def class_names(self) -> tuple[str, ...]:
        """Readable name of every class that the stream can draw; a plan's `drawn` numbers them."""
        return self._supply.class_names

    def similarity(self) -> Similarity:
        """Say which tasks have something to do with each other: the truth, as the stream was planned."""
        return similarity(self._plans)

    def plans(self) -> tuple[TaskPlan, ...]:
        """Say what was decided for every task; for whoever shows or measures, never for the agent."""
        return self._plans

    def task(self, i: int) -> Task:
        """Build one task.

        Args:
            i: Its position, from 0.

        Returns:
            The task: the same bits at every call, in memory of its own.
        """
        return self._build(i)

    def _build(self, i: int) -> Task:
        made = self._plan(i)
        support, unlabelled, query = [], [], []
        for k, n, labelled, start in zip(made.drawn, made.trained, made.support, made.start, strict=True):
            deck = self._train[k]
            dealt = deck[(start + torch.arange(n + made.query)) % len(deck)]
            support.append(dealt[:labelled])
            unlabelled.append(dealt[labelled:n])
            query.append(dealt[n:])
        classes, samples = made.classes, self._samples(made, support, i, "support")
        if made.piece is not None:  # what is known of a batch is the batch
            here = samples.y.unique()
            classes = tuple(classes[position] for position in here.tolist())
            samples = Samples(samples.x, torch.searchsorted(here, samples.y))
        return Task(
            name=made.name,
            index=i,
            support=samples,
            query=self._samples(made, query, i, "query") if made.query else None,
            classes=classes,
            kind="classification" if classes else "regression",
            label=self.label_of(i),
            own_labels=made.own_labels,
            unlabelled=self._samples(made, unlabelled, i, "unlabelled").x if made.unlabelled else None,
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
        index = torch.cat(chosen)
        x = self._inputs(made, index, generator(self.seed, "concept", c, "test noise"))
        if not made.classes:
            return TestSet(x, self._supply.targets(index), concept.label, ())
        y = torch.cat([torch.full((len(each),), made.meaning[k]) for k, each in zip(made.drawn, chosen, strict=True)])
        return TestSet(x, y, concept.label, concept.classes)

    def concept_of(self, i: int) -> int:
        """Return the index of the concept that task `i` brings."""
        return self._plan(i).concept

    def label_of(self, i: int) -> int | None:
        """Return the task label under which task `i` is learned, and its concept is asked about from then on.

        It is the concept's own, but for a task of which it is hidden that it returns: that one has a label of its own.
        """
        made = self._plan(i)
        return len(self.concepts) + i if made.hidden else self.concepts[made.concept].label

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
        own = (i,) if made.piece is None else (made.written, "whole")  # pieces of a task are cut from one order
        order = torch.randperm(len(y), generator=generator(self.seed, "task", *own, part, "order"))
        if made.piece is not None:
            size = self.spec.experience_size
            order = order[made.piece[0] * size :][:size]
        index, y = torch.cat(chosen)[order], y[order]
        x = self._inputs(made, index, generator(self.seed, "task", i, part, "noise"))
        if not made.classes:
            return Samples(x, self._supply.targets(index))
        if made.label_noise:
            rng = generator(self.seed, "task", i, part, "label noise")
            y = noisy_labels(y, made.label_noise, len(made.classes), rng)
        return Samples(x, y)

    def _inputs(self, made: TaskPlan, index: Tensor, rng: torch.Generator) -> Tensor:
        drawn = Drawn(
            permutation=pixel_permutation(self.seed, made.transforms.permute, self.input_shape),
            colours=colours(self.seed, made.transforms.colour),
            rng=rng,
        )
        return apply(self._supply.take(index), made.transforms, drawn)

    def _whole(self) -> list[Task]:
        """Build every task as written, for what is measured to order them; online, the first piece stands for all."""
        first: dict[int, int] = {}
        for i, made in enumerate(self._plans):
            first.setdefault(made.written, i)
        return [self._build(first[position]) for position in sorted(first)]


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
    return Stream(spec, seed, {name: source.load(data_root) for name, source in make_sources(spec, "stream").items()})
