"""What is known for a task: a read-only view of the store, in which every model is a fresh copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..streams.task import Samples, Task
from .encoder import Encoder, build_encoder
from .entries import TaskRecord
from .events import ProbeScore
from .model import LinearHead, Model


@dataclass(frozen=True)
class Source:
    """A representation to start from: a stored encoder, or a fixed one ("raw", "stem", "random").

    Attributes:
        id: The stored encoder's id ("encoder-3"), or the name of the fixed representation.
        stored: Whether it is an entry of the store that was trained.
        score: What it is worth on the task; None where nothing was probed.
        tasks: Records of the tasks whose models use it, oldest first.
        made_by: Registered name of the strategy that left it in the store; empty for a fixed one.
    """

    id: str
    stored: bool
    score: ProbeScore | None
    tasks: tuple[TaskRecord, ...]
    _encoder: Callable[[], Encoder] = field(repr=False)
    _model: Callable[[TaskRecord], Model] = field(repr=False)
    made_by: str = ""

    def encoder(self) -> Encoder:
        """Return a fresh copy of the encoder."""
        return self._encoder()

    def model(self, record: TaskRecord) -> Model:
        """Return a fresh copy of a task's model.

        Args:
            record: One of `tasks`.
        """
        return self._model(record)

    def copy(self, head_for: Task, rng: torch.Generator | None = None) -> Model:
        """Return the encoder with a new linear head.

        Args:
            head_for: The task that the head is for.
            rng: Draws the head's weights; None starts them at zero.
        """
        encoder = self.encoder()
        return Model(encoder, LinearHead(encoder.feature_size, head_for.outputs, rng)).to(head_for.support.x.device)


@dataclass(frozen=True)
class Meta:
    """Something a strategy keeps for later tasks: a meta-initialisation with its optimiser's moments, a metric.

    Attributes:
        spec: What builds it, as plain JSON.
        weights: Its tensors, by name; every version stays in the store.
        moments: Working state (an optimiser's moments); of this only the newest stays.
        id: Its id in the store ("meta-3"); empty for one that is not stored yet.
        unit_flops: What a unit of the work for it took, on the average; 0 where nobody knows.
        met: Classes of all tasks that it was trained on; None where nobody knows.
    """

    spec: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    moments: Mapping[str, Tensor] = field(default_factory=dict)
    id: str = ""
    unit_flops: float = 0.0
    met: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Episode:
    """Samples of an earlier task, kept where the recipe allows an episode memory.

    Attributes:
        task: Its position in the stream.
        support: Samples to adapt on.
        query: Samples to test the adaptation on: the task's query part, or what was held out of its support set.
        outputs: Number of outputs its models have.
        kind: "classification" or "regression".
        held_out: Whether the query samples were held out of its support set; false where they were a part of their own.
        anchor: Shape of one input as it came, where the anchor for that shape has counted the task under its class ids;
            None where none has, or the ids may mean other classes by now.
    """

    task: int
    support: Samples
    query: Samples
    outputs: int
    kind: str
    held_out: bool = False
    anchor: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Known:
    """What the store offers for one task.

    Attributes:
        sources: Stored encoders that take the task's inputs, best first by leave-one-out score (newest first where
            nothing was probed).
        fixed: Fixed representations, best first: the shared stem (or the raw input where there is no stem) and random
            features of it.
        others: How many stored encoders take inputs of another shape.
        architecture: Name and settings of the encoder that the agent trains.
        metas: The newest thing that each strategy keeps for inputs of this shape, by strategy.
        episodes: Samples of earlier tasks with inputs of this shape, oldest first; empty without an episode memory.
        joint: Name of the strategy that learned this task together with others, and a fresh copy of what it learned;
            None where the task came alone.
        prepared: Encoders that strategies with a closed form of their own have trained on earlier tasks ("meta-3").
        chosen: Id of the source that the selector chose; None where it left the choice to the scores.
    """

    sources: tuple[Source, ...]
    fixed: tuple[Source, ...]
    others: int
    architecture: Mapping[str, Any]
    metas: Mapping[str, Meta] = field(default_factory=dict)
    episodes: tuple[Episode, ...] = ()
    joint: tuple[str, Callable[[], Model]] | None = None
    prepared: tuple[Source, ...] = ()
    chosen: str | None = None

    def best_source(self) -> Source:
        """Return the stored encoder to start from: the chosen one, else the best.

        Raises:
            LookupError: If the store has none for this shape of input; `applies` should have said so.
        """
        if not self.sources:
            raise LookupError("no stored encoder takes inputs of this shape")
        return min(self.sources, key=lambda source: source.id != self.chosen)

    def counted(self, shape: tuple[int, ...]) -> list[Episode]:
        """Return the episodes of tasks that an anchor has counted, oldest first.

        Args:
            shape: Shape of one input as it comes, which the anchor is for.
        """
        return [episode for episode in self.episodes if episode.anchor == shape]

    def representations(self) -> tuple[Source, ...]:
        """Return stored and fixed representations together: the chosen one, then best first, unprobed ones last."""

        def rank(source: Source) -> tuple[bool, float]:
            return source.id != self.chosen, source.score.ridge_mse if source.score is not None else float("inf")

        return tuple(sorted([*self.fixed, *self.sources], key=rank))

    def fresh(self, task: Task, rng: torch.Generator) -> Model:
        """Return a new model of the agent's architecture.

        Args:
            task: The task that its head is for.
            rng: Draws all weights.
        """
        seed = int(torch.randint(2**62, (), generator=rng))
        name, settings = self.architecture["name"], self.architecture["settings"]
        encoder = build_encoder(name, task.input_shape, settings, seed)
        return Model(encoder, LinearHead(encoder.feature_size, task.outputs, rng)).to(task.support.x.device)
