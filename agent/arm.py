"""An arm: one strategy at work on one task from one source, driven unit by unit."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import Diverged, StrategyError
from ..streams.task import Samples, Task
from .budget import counted
from .closed_form import temperature
from .known import Known
from .model import Model, finite
from .strategy import Solution, Strategy
from .work import Work

# Samples per forward pass wherever the agent scores or answers: one fixed size, lest bits depend on the caller.
BATCH = 1024
# Fewest held-out samples on which the temperature of an answer is fitted; with fewer it would fit their noise.
FEWEST_TO_CALIBRATE = 20
# Fewest on which snapshots of one arm are compared after calibration: without it a single confident error among a dozen
# samples makes the first, untrained snapshot the best.
FEWEST_TO_SCORE = 5


@dataclass(frozen=True)
class Score:
    """How good a model is on some samples.

    Attributes:
        loss: Log-loss in nats, calibrated (regression: mean squared error).
        accuracy: Share of right answers (regression: R², 1 − MSE / variance of the targets).
    """

    loss: float
    accuracy: float


@dataclass(frozen=True)
class Point:
    """One point of an arm's learning curve; `score` is None where nothing is held out, and at a mere pause."""

    unit: int
    flops: float
    score: Score | None
    pause: bool = False


def outputs_of(model: Model, x: Tensor) -> Tensor:
    """Run a model over inputs in batches of the fixed size, without gradients and in evaluation mode.

    Args:
        model: The model; its parts' modes are left as they were.
        x: Inputs, shape `(n, *input_shape)`.

    Returns:
        Outputs, shape `(n, outputs)`.
    """
    in_training = [part for part in model.modules() if part.training]  # a frozen part may be in another mode
    if in_training:  # going through all parts takes as long as a small batch
        model.eval()
    with torch.no_grad():
        parts = [model(x[start : start + BATCH]) for start in range(0, len(x), BATCH)]
    for part in in_training:
        part.training = True
    return torch.cat(parts) if parts else torch.zeros(0, model.head.outputs, device=x.device)


def score(outputs: Tensor, y: Tensor, kind: str = "classification") -> Score:
    """Score outputs against targets.

    Networks that were trained for a short time are badly calibrated, and the raw log-loss punishes that more than wrong
    answers: from five samples on it is taken after fitting one temperature.

    Args:
        outputs: Shape `(n, outputs)`.
        y: Labels, shape `(n,)`, or regression targets, shape `(n, outputs)`.
        kind: "classification" or "regression".

    Returns:
        Their score.
    """
    if kind == "regression":
        mse = float(((outputs - y) ** 2).mean())
        variance = float(((y - y.mean(dim=0)) ** 2).mean())
        return Score(mse, 1 - mse / variance if variance > 0 else float(mse == 0))
    scale = temperature(outputs, y) if len(y) >= FEWEST_TO_SCORE and bool(torch.isfinite(outputs).all()) else 1.0
    loss = float(torch.nn.functional.cross_entropy(outputs / scale, y))
    return Score(loss, float((outputs.argmax(dim=1) == y).float().mean()))


class Arm:
    """Drives a strategy on a task, or on tasks that arrive together: scores it, keeps the best model, stops it.

    Attributes:
        strategy: The strategy.
        source: Id of the source it was given; None for none.
        models: The models last yielded, one per task (empty before the first unit).
        best_models: The models to keep: the best on the held-out samples, or the last ones.
        best_score: Their score, averaged over tasks; None where nothing is held out.
        best_outputs: Their outputs on the held-out samples of each task, shape `(n, outputs)`; empty likewise.
        best_unit: The unit they are from.
        helper: Id of the stored model that helped, as the strategy says; empty for none.
        stopped: Why the arm ended: "finished", "budget", "patience"; "" while it may go on.
        curve: Points of the learning curve.
    """

    def __init__(
        self,
        strategy: Strategy,
        task: Task | Sequence[Task],
        known: Known,
        *,
        seed: int,
        held_out: Samples | Sequence[Samples | None] | None = None,
        score_every: int = 20,
        patience: int = 10,
    ) -> None:
        """Get ready; nothing is learned before `run`.

        Args:
            strategy: The strategy; it must apply.
            task: What it may see of the task; several are learned jointly.
            known: What the store offers.
            seed: Decides everything random in the arm.
            held_out: Samples to score it on, per task; None for none.
            score_every: Units between two scores.
            patience: Scores without a better one after which it stops.
        """
        self.strategy, self.source = strategy, known.chosen
        self.models: tuple[Model, ...] = ()
        self.best_models: tuple[Model, ...] = ()
        self.best_score: Score | None = None
        self.best_outputs: tuple[Tensor, ...] = ()
        self.best_unit, self.stopped, self.helper = 0, "", ""
        self.curve: list[Point] = []
        rng = torch.Generator().manual_seed(seed)
        if isinstance(task, Task):
            self._tasks: tuple[Task, ...] = (task,)
            steps = _steps(lambda: strategy.learn(task, known, rng))
            name = task.name
        else:
            self._tasks = tuple(task)
            steps = _steps(lambda: strategy.learn_jointly(self._tasks, known, rng))
            name = ", ".join(each.name for each in self._tasks)
        held = (held_out,) if held_out is None or isinstance(held_out, Samples) else tuple(held_out)
        self._held_out: tuple[Samples, ...] = tuple(h for h in held if h is not None)
        if len(self._held_out) < len(self._tasks):
            self._held_out = ()
        self._score_every, self._patience = score_every, patience
        self._work = Work(steps, strategy.name, name, seed)
        self._scoring, self._score_flops, self._stale = [0.0, 0.0], 0.0, 0
        self._trained: tuple[bool, ...] | None = None
        given = [(each.support.x, each.support.y, each.unlabelled) for each in self._tasks]
        self._given = [part for parts in given for part in parts if part is not None]
        self._versions = [tensor._version for tensor in self._given]

    @property
    def units(self) -> int:
        """Units done."""
        return self._work.units

    @property
    def flops(self) -> float:
        """FLOPs spent: units and scoring."""
        return self._work.flops + self._scoring[0]

    @property
    def seconds(self) -> float:
        """CPU seconds spent."""
        return self._work.seconds + self._scoring[1]

    @property
    def model(self) -> Model | None:
        """The model last yielded, of the first task; None before the first unit."""
        return self.models[0] if self.models else None

    @property
    def best(self) -> Model | None:
        """The model to keep, of the first task; None before the first unit."""
        return self.best_models[0] if self.best_models else None

    def run(self, limit: float, units: int | None = None, pause_every: int = 0) -> Iterator[Point]:
        """Learn until the strategy is finished, patience is out, or the next unit would pass the limit.

        A first unit that alone passes the limit is done all the same. Calling `run` again with a higher limit goes on
        from where it stopped.

        Args:
            limit: FLOPs that this arm may have spent in all.
            units: Stop after this many further units; None for no such bound.
            pause_every: Units between two pauses, at which `models` may be looked at; 0 for none. What is learned does
                not depend on it.

        Yields:
            A point of the learning curve whenever the model was scored, and one marked as a pause at every pause.

        Raises:
            StrategyError: If the strategy raises or breaks its contract.
            Diverged: If its loss or weights are no longer finite.
        """
        if self.stopped in ("finished", "patience"):
            return
        self.stopped = ""
        until = math.inf if units is None else self.units + units

        def scored() -> bool:
            return self.units % self._score_every == 0 or self.units == 1 or self.units >= until

        def paused() -> bool:
            return pause_every > 0 and self.units % pause_every == 0

        last = self.units  # the unit of the last pause
        while not self.stopped and self.units < until:
            self.stopped = self._work.advance(
                limit - self._scoring[0] - self._score_flops, lambda: scored() or paused(), self._accept
            )
            new = not self.curve or self.curve[-1].unit < self.units
            if self.models and new and (self.stopped or scored()):
                yield self._look()
            if paused() and last < self.units:
                last = self.units
                yield Point(self.units, self.flops, None, pause=True)

    def _accept(self, yielded: object) -> None:
        """Take what a unit yielded: one model per task."""
        if isinstance(yielded, Solution):
            if yielded.loss is not None and not bool(torch.isfinite(yielded.loss).all()):
                raise self._work.failed(Diverged, f"the loss is {float(yielded.loss.mean())}")
            self.helper = yielded.helper or self.helper
            yielded = yielded.model
        models = tuple(yielded) if isinstance(yielded, (list, tuple)) else (yielded,)
        for model in models:
            if not isinstance(model, Model):
                what = f"it yielded a {type(model).__name__}, not a Model or a Solution"
                raise self._work.failed(StrategyError, what)
        self._check(models)
        trained = tuple(p.requires_grad for model in models for p in model.parameters())
        if trained != self._trained and self._trained is not None:
            self._work.recount()
        self.models, self._trained = models, trained

    def _check(self, models: tuple[Model, ...]) -> None:
        if [tensor._version for tensor in self._given] != self._versions:
            raise self._work.failed(StrategyError, "it changed the task's samples in place; work on a copy")
        if len(models) != len(self._tasks):
            raise self._work.failed(StrategyError, f"it yielded {len(models)} models for {len(self._tasks)} tasks")
        for model, task in zip(models, self._tasks, strict=True):
            if model.head.outputs != task.outputs:
                what = f"its model has {model.head.outputs} outputs; the task needs {task.outputs}"
                raise self._work.failed(StrategyError, what)
            if model.encoder.input_shape != task.input_shape:
                shape = model.encoder.input_shape
                what = f"its model takes inputs of shape {shape}; the task's have shape {task.input_shape}"
                raise self._work.failed(StrategyError, what)

    def _look(self) -> Point:
        """Score the models at hand and keep them if they are the ones to keep."""
        start = time.process_time()
        if not all(map(finite, self.models)):
            raise self._work.failed(Diverged, "a weight is NaN or infinite")
        now, outputs = self._score()
        if now is None or self.strategy.keep == "last":
            self._keep(self.models, now, outputs)
        elif self.best_score is None or now.loss < self.best_score.loss:
            self._keep(copy.deepcopy(self.models), now, outputs)  # in one go: shared encoders stay shared
            self._stale = 0
        else:
            self._stale += 1
            if self._stale >= self._patience and not self.stopped:
                self.stopped = "patience"
        point = Point(self.units, self.flops, now)
        self.curve.append(point)
        self._scoring[1] += time.process_time() - start
        return point

    def _keep(self, models: tuple[Model, ...], now: Score | None, outputs: tuple[Tensor, ...]) -> None:
        self.best_models, self.best_score, self.best_unit, self.best_outputs = models, now, self.units, outputs

    def _score(self) -> tuple[Score | None, tuple[Tensor, ...]]:
        """Score the models on the held-out samples, and pay for it."""
        if not self._held_out:
            return None, ()

        def work() -> tuple[Tensor, ...]:
            pairs = zip(self.models, self._held_out, strict=True)
            return tuple(outputs_of(model, held.x) for model, held in pairs)

        if self._score_flops:
            outputs = work()
        else:
            outputs, self._score_flops = counted(work)
        self._scoring[0] += self._score_flops
        each = [
            score(out, held.y, task.kind) for out, held, task in zip(outputs, self._held_out, self._tasks, strict=True)
        ]
        now = Score(sum(s.loss for s in each) / len(each), sum(s.accuracy for s in each) / len(each))
        if not math.isfinite(now.loss):
            raise self._work.failed(Diverged, f"the held-out loss is {now.loss}")
        return now, outputs


def _steps(begin: Callable[[], Iterator[object]]) -> Iterator[object]:
    """Begin a strategy's generator with its first unit: whatever is wrong with it is then the strategy's failure."""
    made = begin()
    if not isinstance(made, Iterator):
        raise TypeError(f"learn must be a generator that yields its model; it returned {type(made).__name__}")
    yield from made
