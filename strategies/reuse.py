"""Reuse: a stored model as it is, with its outputs matched to the task's classes.

Costs one pass over the support set and adds nothing to the store: right for a task that returns, also under other
labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch

from ..agent.entries import TaskRecord
from ..agent.known import Known, Source
from ..agent.model import Model
from ..agent.probe import agreement, answers, matched
from ..agent.strategy import Solution, Strategy
from ..streams.task import Task


class Reuse(Strategy):
    """Takes the stored model that agrees best with the support set after matching labels (Hungarian method)."""

    name: ClassVar[str] = "reuse"
    closed_form: ClassVar[bool] = True

    def sources(self, task: Task, known: Known) -> Sequence[Source]:
        """Any representation on which a model with enough outputs stands; the one whose model agrees best first."""

        def rank(source: Source) -> tuple[bool, float]:
            agreement = source.score.reuse if source.score is not None else None
            return source.id != known.chosen, -(agreement or 0.0)

        return sorted((s for s in known.representations() if _fitting(s, task)), key=rank)

    def applies(self, task: Task, known: Known) -> str | None:
        """Needs a stored model with at least as many outputs, for this shape of input."""
        if task.kind != "classification":
            return "labels can be matched for classification only"
        if self.sources(task, known):
            return None
        if any(source.tasks for source in known.representations()):
            return f"no stored model for inputs of shape {task.input_shape} has {task.outputs} outputs or more"
        return f"the store holds no model for inputs of shape {task.input_shape}"

    def learn(self, task: Task, known: Known, rng: torch.Generator) -> Iterator[Solution]:
        """Match every model of the chosen representation, and take the one that agrees best."""
        source = self.sources(task, known)[0]
        best: tuple[float, Solution] | None = None
        for record, model, said in answers(source, task, task.support.x):
            order, _ = matched(said, task.support.y, task.outputs)
            right = agreement(said, task.support.y, task.outputs)
            if best is None or right > best[0]:
                best = right, Solution(Model(model.encoder, model.head.select(order)), helper=record.model)
        if best is not None:
            yield best[1]


def _fitting(source: Source, task: Task) -> list[TaskRecord]:
    return [r for r in source.tasks if r.kind == task.kind and len(r.classes) >= task.outputs]
