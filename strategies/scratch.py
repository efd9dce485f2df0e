"""From scratch: a new network for every task, which knows nothing of the others.

The honest baseline: transfer is measured against it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from ..agent.known import Known
from ..agent.model import Model
from ..agent.strategy import Strategy
from ..streams.task import Task
from .training import Sgd, train


class Scratch(Strategy):
    """Trains a fresh encoder and head by gradient descent."""

    name: ClassVar[str] = "scratch"
    uses_knowledge: ClassVar[bool] = False

    @dataclass(frozen=True)
    class Settings(Sgd):
        """How the network is trained."""

    def units(self, task: Task) -> int:
        """One unit is one gradient step."""
        return int(self.settings.steps)

    def learn(self, task: Task, known: Known, rng: torch.Generator) -> Iterator[Model]:
        """Train a new model."""
        yield from train(known.fresh(task, rng), task, self.settings, rng)
