"""Fine-tuning: a stored encoder with a new head: first the head alone, then the last layer too, then all of it.

Training the head first keeps a random head's large gradients from spoiling the features (Kumar 2022, arXiv 2202.10054);
going on from the last layer to the first is gradual unfreezing (Howard & Ruder 2018, arXiv 1801.06146). Instead of a
copy the encoder may get a small delta: low-rank updates (LoRA, Hu 2022) or biases (BitFit, Ben Zaken 2022).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from ..agent.delta import DeltaEncoder, bases
from ..agent.known import Known
from ..agent.model import Model
from ..agent.settings import positive, setting
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
        last_first: float = setting(
            0.0, "Share of the steps, after these, in which the encoder's last layer is trained too.", "share of steps"
        )
        trains: Literal["all", "low-rank", "bias"] = setting(
            "all", "What of the encoder is trained and kept: a whole copy, low-rank updates of its weights, or biases."
        )
        rank: int = setting(4, "Rank of the `low-rank` updates.", "columns")
        delta_lr: float = setting(0.01, "Learning rate where a delta is trained: fewer numbers must move further.")

        def __post_init__(self) -> None:
            super().__post_init__()
            positive("strategies.finetune", rank=self.rank, delta_lr=self.delta_lr)
            for name in ("head_first", "last_first"):
                if not 0 <= getattr(self, name) <= 1:
                    raise RecipeError("strategies.finetune", name, getattr(self, name), "must be between 0 and 1")
            if self.head_first + self.last_first > 1:
                valid = f"must be at most 1 together with head_first = {self.head_first}"
                raise RecipeError("strategies.finetune", "last_first", self.last_first, valid)
            if self.last_first and self.trains != "all":
                valid = f"must be 0 where trains = {self.trains!r}: a delta is trained in all layers at once"
                raise RecipeError("strategies.finetune", "last_first", self.last_first, valid)

    def applies(self, task: Task, known: Known) -> str | None:
        """Needs a stored encoder for this shape of input, with something in it that can be trained."""
        if known.sources:
            if self.settings.trains != "all" and not bases(known.best_source().encoder(), self.settings.trains):
                return f"{known.best_source().id} has nothing that a {self.settings.trains} delta could change"
            return None
        if known.others:
            return f"no stored encoder takes inputs of shape {task.input_shape}"
        return "the store holds no trained encoder yet"

    def units(self, task: Task) -> int:
        """One unit is one gradient step."""
        return int(self.settings.steps)

    def learn(self, task: Task, known: Known, rng: torch.Generator) -> Iterator[Model]:
        """Train the head on frozen features, then head and last layer, then head and encoder."""
        s = self.settings
        model = known.best_source().copy(head_for=task, rng=rng)
        if s.trains != "all":
            model = Model(DeltaEncoder(model.encoder, s.trains, s.rank, rng), model.head)
        first, last = round(s.head_first * s.steps), round(s.last_first * s.steps)
        model.encoder.requires_grad_(False)
        yield from train(model, task, s, rng, first)
        for parameter in model.encoder.last_block() if last else ():
            parameter.requires_grad_(True)
        yield from train(model, task, s, rng, last)
        model.encoder.requires_grad_(True)
        rest = s if s.trains == "all" else replace(s, lr=s.delta_lr)
        yield from train(model, task, rest, rng, s.steps - first - last)
