"""Joint training: tasks that arrive together share one encoder, each with a head of its own (Caruana 1997).

Their losses are summed with equal weights, weights by hand, weights learned from the tasks' uncertainty (Kendall 2018,
arXiv 1705.07115), by how fast each loss falls (dynamic weight averaging, Liu 2019, arXiv 1803.10704) or so that their
gradients keep step (GradNorm, Chen 2018, arXiv 1711.02257). Gradients that pull the shared encoder in opposite
directions can be cleared of the conflict (gradient surgery, Yu 2020, arXiv 2001.06782). A later task adds a head to the
encoder that they left.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from ..agent.known import Known, Source
from ..agent.model import LinearHead, Model
from ..agent.settings import positive, setting
from ..agent.strategy import Strategy
from ..errors import RecipeError, StrategyError
from ..streams.task import Task
from .gradnorm import GradNorm, norms_of
from .joint_losses import Fall, descend_apart, uncertainty_weighted
from .training import Sgd, batches, descend, optimiser, task_loss, train


class MultiTask(Strategy):
    """Trains one encoder and one head per task on a weighted sum of losses; a later task adds a head."""

    name: ClassVar[str] = "multitask"
    joint: ClassVar[bool] = True
    continues_source: ClassVar[bool] = True

    @dataclass(frozen=True)
    class Settings(Sgd):
        """How tasks that arrive together are trained, and how a later one is added."""

        weights: Literal["equal", "uncertainty", "dwa", "gradnorm"] | tuple[float, ...] = setting(
            "equal",
            "Weights of the losses: `equal`, learned from `uncertainty`, by how fast each falls (`dwa`), so that "
            "gradients keep step (`gradnorm`), or numbers in the order of the tasks (only their ratio counts).",
        )
        dwa_period: int = setting(20, "Steps over which `dwa` averages the losses before it weighs them anew.", "steps")
        dwa_temperature: float = setting(2.0, "Evens out the weights of `dwa`: the greater, the more equal they are.")
        gradnorm_alpha: float = setting(
            1.5, "How strongly `gradnorm` favours a task whose loss falls slowly; at 0 all gradients are to be alike."
        )
        gradnorm_lr: float = setting(
            0.025, "Learning rate of Adam for the weights of `gradnorm`, relative to an equal weight.", "per step"
        )
        surgery: Literal["none", "pcgrad"] = setting(
            "none", "`pcgrad` takes from each task's gradient of the encoder what opposes another's."
        )
        head_first: float = setting(
            0.2, "Share of a later task's steps in which its head alone is trained.", "share of steps"
        )
        later: Literal["fine-tune", "frozen"] = setting(
            "fine-tune", "What a later task does to the encoder: trains it after its head, or leaves it as it is."
        )

        def __post_init__(self) -> None:
            super().__post_init__()
            positive(
                "strategies.multitask",
                dwa_period=self.dwa_period,
                dwa_temperature=self.dwa_temperature,
                gradnorm_lr=self.gradnorm_lr,
            )
            if not (math.isfinite(self.gradnorm_alpha) and self.gradnorm_alpha >= 0):
                raise RecipeError("strategies.multitask", "gradnorm_alpha", self.gradnorm_alpha, "must be 0 or greater")
            if not 0 <= self.head_first <= 1:
                raise RecipeError("strategies.multitask", "head_first", self.head_first, "must be between 0 and 1")
            if isinstance(self.weights, tuple):
                good = all(math.isfinite(w) and w >= 0 for w in self.weights) and sum(self.weights) > 0
                if not good:
                    raise RecipeError(
                        "strategies.multitask",
                        "weights",
                        self.weights,
                        "numbers must be 0 or greater, and one of them greater than 0",
                    )

    def applies(self, task: Task, known: Known) -> str | None:
        """Needs to have learned the task together with others, or a stored encoder that it left."""
        if self._learned_it(known) or _left(known):
            return None
        if known.sources or not known.others:
            return "the task came alone, and the store holds no encoder of tasks that were learned together"
        return f"the task came alone, and no stored encoder takes inputs of shape {task.input_shape}"

    def sources(self, task: Task, known: Known) -> Sequence[Source]:
        """Encoders that joint training left; none for a task that was part of it."""
        return () if self._learned_it(known) else _left(known)

    def learn(self, task: Task, known: Known, rng: torch.Generator) -> Iterator[Model]:
        """Give what the task has from joint training; else train a new head on what that left, then both."""
        if known.joint is not None and self._learned_it(known):
            yield known.joint[1]()
            return
        source = min(_left(known), key=lambda each: each.id != known.chosen)
        model, steps = source.copy(head_for=task, rng=rng), self.settings.steps
        first = steps if self.settings.later == "frozen" else round(self.settings.head_first * steps)
        model.encoder.requires_grad_(False)
        yield from train(model, task, self.settings, rng, first)
        model.encoder.requires_grad_(True)
        yield from train(model, task, self.settings, rng, steps - first)

    def learn_jointly(self, tasks: Sequence[Task], known: Known, rng: torch.Generator) -> Iterator[Sequence[Model]]:
        """Train a fresh encoder with one head per task; one unit is a gradient step on one batch of every task."""
        s = self.settings
        self._check(tasks)
        encoder = known.fresh(tasks[0], rng).encoder
        models = [
            Model(encoder, LinearHead(encoder.feature_size, task.outputs, rng)).to(task.support.x.device)
            for task in tasks
        ]
        regression = torch.tensor([task.kind == "regression" for task in tasks])
        log_variances = nn.Parameter(torch.zeros(len(tasks)), requires_grad=s.weights == "uncertainty")
        by_hand = s.weights if isinstance(s.weights, tuple) else (1.0,) * len(tasks)
        weights, fall = torch.tensor(by_hand) / sum(by_hand), Fall(len(tasks), s.dwa_period, s.dwa_temperature)
        even = GradNorm(len(tasks), s.gradnorm_alpha, s.gradnorm_lr)
        shared, heads = list(encoder.parameters()), [p for model in models for p in model.head.parameters()]
        step = optimiser([*shared, *heads], s)
        if log_variances.requires_grad:
            step.add_param_group({"params": [log_variances], "weight_decay": 0.0})
        for model in models:
            model.train()
        feeds = [batches(task.support, s.batch_size, rng, s.shuffle) for task in tasks]
        for drawn in itertools.islice(zip(*feeds, strict=True), s.steps):
            losses = [task_loss(m(x), y, task) for m, (x, y), task in zip(models, drawn, tasks, strict=True)]
            if log_variances.requires_grad:
                # The weights are few: they stay on the CPU, whatever the device.
                pairs = zip(losses, log_variances, regression, strict=True)
                losses = [uncertainty_weighted(loss.cpu(), v, r) for loss, v, r in pairs]
            else:
                if s.weights == "dwa":
                    weights = fall.weights(plain(losses))
                elif s.weights == "gradnorm":
                    weights = even.weights
                    even.step(plain(losses), norms_of(losses, encoder.last_block()))
                losses = [weight * loss for weight, loss in zip(weights.tolist(), losses, strict=True)]
            if s.surgery == "pcgrad":
                descend_apart(losses, shared, step, rng)
            else:
                descend(torch.stack(losses).sum(), step)
            yield models

    def _learned_it(self, known: Known) -> bool:
        return known.joint is not None and known.joint[0] == self.name

    def _check(self, tasks: Sequence[Task]) -> None:
        weights = self.settings.weights
        if isinstance(weights, tuple) and len(weights) != len(tasks):
            names = ", ".join(task.name for task in tasks)
            what = f"strategies.multitask.weights has {len(weights)} numbers; {len(tasks)} tasks arrived together"
            raise StrategyError(self.name, names, 0, what)


def plain(losses: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the values of losses, one scalar per task, without their graphs, shape `(tasks,)`, on the CPU."""
    return torch.stack([loss.detach().cpu() for loss in losses])


def _left(known: Known) -> tuple[Source, ...]:
    return tuple(source for source in known.sources if source.made_by == MultiTask.name)
