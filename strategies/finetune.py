"""Fine-tuning: a stored encoder with a new head, first the head alone, then all of it.

Training the head first keeps a random head's large gradients from spoiling the features (Kumar 2022, arXiv 2202.10054).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from ..agent.known import Known
from ..agent.model import Model
from ..agent.settings import setting
from ..agent.strategy import Strategy
from ..errors import RecipeError
from ..streams.task import Task
from .training import Sgd, train


class FineTuning(Strategy):
    """Starts from the best stored encoder, adds a head, trains the head and then both."""

    name: ClassVar[str] = "finetune"
    continues_source: ClassVar[bool] = True

    @dataclass(frozen=True)
    class Settings(Sgd):
        """How it is trained."""

        head_first: float = setting(0.2, "Share of the steps in which the head alone is trained.", "share of steps")

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.head_first <= 1:
                raise RecipeError("strategies.finetune", "head_first", self.head_first, "must be between 0 and 1")

    def applies(self, task: Task, known: Known) -> str | None:
        """Needs a stored encoder for this shape of input."""
        if known.sources:
            return None
        if known.others:
            return f"no stored encoder takes inputs of shape {task.input_shape}"
        return "the store holds no trained encoder yet"

    def units(self, task: Task) -> int:
        """One unit is one gradient step."""
        return int(self.settings.steps)

    def learn(self, task: Task, known: Known, rng: torch.Generator) -> Iterator[Model]:
        """Train the head on frozen features, then head and encoder."""
        model = known.best_source().copy(head_for=task, rng=rng)
        first = round(self.settings.head_first * self.settings.steps)
        model.encoder.requires_grad_(False)
        yield from train(model, task, self.settings, rng, first)
        model.encoder.requires_grad_(True)
        yield from train(model, task, self.settings, rng, self.settings.steps - first)
