"""Avalanche's own strategies as competitors: built for a stream, trained within a budget, asked like an agent.

A strategy meets the tasks that an agent meets, in their order, with all their support samples (an agent's held-out part
included; a query part too, where an agent keeps episodes to train on), as they come through the agent's stem. Its
network is the agent's architecture from the weights that `scratch` begins its first task with: one head per task where
the setting gives the task label, else one head for all classes. It trains until the next step would pass the task's
budget. What it is never given: test samples, and later tasks.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from ..agent.answer import Answer
from ..agent.encoder import Encoder
from ..agent.model import finite
from ..agent.randomness import OwnRandomness
from ..agent.work import place_of
from ..errors import Diverged, EvermapError, StrategyError, UserError
from ..streams.seeds import derive
from ..streams.task import Task
from ..streams.torchvision_guard import guard
from .baselines_methods import Built
from .baselines_networks import MultiHead, OneHead
from .bytes_kept import Kept, kept_bytes
from .meter import Meter
from .onlooker import Pause, Says

guard()  # before Avalanche, which imports torchvision
from avalanche.benchmarks.scenarios import CLExperience, CLStream  # noqa: E402
from avalanche.benchmarks.scenarios.dataset_scenario import DatasetExperience  # noqa: E402
from avalanche.benchmarks.utils import AvalancheDataset, ConstantSequence  # noqa: E402
from avalanche.benchmarks.utils.classification_dataset import TaskAwareClassificationDataset  # noqa: E402
from avalanche.benchmarks.utils.data_attribute import DataAttribute, TaskLabels  # noqa: E402
from avalanche.logging import BaseLogger  # noqa: E402
from avalanche.models import MultiTaskModule, NCMClassifier  # noqa: E402
from avalanche.models.packnet import PackNetModel  # noqa: E402
from avalanche.training import JointTraining, StreamingLDA  # noqa: E402
from avalanche.training.plugins import EvaluationPlugin  # noqa: E402

# Attributes of a strategy that hold nothing of its own between tasks.
_NOT_KEPT = ("evaluator", "plugins", "dataloader", "experience", "adapted_dataset", "_experiences", "optimizer")
# Passes over a task's samples that a strategy could make: it is the budget that ends them.
ENDLESS = 10**9


@dataclass(frozen=True)
class Materials:
    """What a strategy is built of.

    Attributes:
        encoder: The agent's network, with the weights that `scratch` begins with; already on its device.
        shape: Shape of one input, through the agent's stem.
        n_classes: Width of the global label space.
        label: Whether the task label is given when asked.
        device: Where networks run.
        settings: Learning rate and the like, as all methods have them.
    """

    encoder: Encoder
    shape: tuple[int, ...]
    n_classes: int
    label: bool
    device: str
    settings: Mapping[str, Any]

    def network(self) -> nn.Module:
        """Put a head on the encoder: one per task where the task label is given, else one for all classes."""
        made: nn.Module = (MultiHead if self.label else OneHead)(self.encoder, self.n_classes)
        return made.to(self.device)

    def optimiser(self, network: nn.Module) -> torch.optim.Optimizer:
        """Make the optimiser that the settings name."""
        s, parameters = self.settings, list(network.parameters())
        if s["optimiser"] == "sgd":
            return torch.optim.SGD(parameters, lr=s["lr"], momentum=s["momentum"])
        return torch.optim.Adam(parameters, lr=s["lr"])

    def common(self, network: nn.Module) -> dict[str, Any]:
        """Return what every strategy's constructor takes."""
        return {
            "model": network,
            "optimizer": self.optimiser(network),
            "criterion": nn.CrossEntropyLoss(),
            **self.quiet(),
        }

    def quiet(self) -> dict[str, Any]:
        """Return what every strategy's constructor takes, but for the network and how it is trained."""
        return {
            "train_mb_size": self.settings["batch_size"],
            "train_epochs": self.settings["epochs"] or ENDLESS,
            "eval_mb_size": 1024,
            "device": self.device,
            "evaluator": EvaluationPlugin(loggers=[BaseLogger()]),  # one that says nothing
        }


# Makes a strategy of Avalanche's; with `Built`, also what must be arranged before every task.
Build = Callable[[Materials], Any]


class Baseline:
    """A strategy of Avalanche's that learns tasks within budgets and answers like an agent."""

    def __init__(self, build: Build, materials: Materials, *, name: str, seed: int, passes_after: float = 0.0) -> None:
        """Build the strategy.

        Args:
            build: Makes it; it draws from torch's global generator, which is its own here.
            materials: What it is made of.
            name: For messages ("avalanche:EWC").
            seed: Decides all that it draws.
            passes_after: Its work after a task, in passes over the task's samples.

        Raises:
            UserError: If the network is none that it can use.
        """
        self.name, self.materials, self.meter = name, materials, Meter(passes_after)
        self._random = OwnRandomness(derive(seed, "baseline"))
        with self._random.swapped_in(), _without_deprecations():
            try:
                made = build(materials)
            except EvermapError:
                raise
            except (ValueError, TypeError) as error:
                raise UserError(f"{name} cannot be built on {materials.encoder.name}: {error}.") from error
        self._built = made if isinstance(made, Built) else Built(made)
        self.strategy = self._built.strategy
        self.strategy.plugins.insert(0, self.meter.first)
        self.strategy.plugins.append(self.meter.last)
        self._classes: dict[int | None, tuple[int, ...]] = {}  # by task label
        self._learned: list[Any] = []  # experiences that wait, where a strategy takes them all at once
        self._position: dict[int | None, int] = {}  # of a label among those that came
        self._groups: list[tuple[int, ...]] = []  # the classes of every task so far

    @property
    def waits(self) -> bool:
        """Whether it learns once, when the last task has come."""
        return isinstance(self.strategy, JointTraining)

    def learn(self, task: Task, limit: float, due: bool = True, pause: Pause | None = None) -> None:
        """Train on a task; what it took is in `spent`.

        Args:
            task: The task, through the agent's stem.
            limit: FLOPs that may be spent; where it waits, of all tasks together.
            due: Whether it is evaluated next; what waits learns only then.
            pause: Who looks on while it learns; None for nobody.

        Raises:
            StrategyError: If the strategy breaks, or its weights are no longer finite.
        """
        position = self._position.setdefault(task.label, len(self._position))
        experience = _experience(task, position if task.label is not None else 0, self._benchmark(task))
        samples, batch = len(task.support), self.materials.settings["batch_size"]
        self._learned.append(experience)
        known = self._classes.get(task.label, ())
        self._classes[task.label] = (*known, *(k for k in task.classes if k not in known))
        meter = self.meter
        meter.pause = None if pause is None else lambda: pause(meter.steps, meter.flops, self._midway)
        todo: Any = experience
        if self.waits:
            todo, samples = self._learned, sum(len(each.dataset) for each in self._learned)
        if not self.waits or due:
            with self._random.swapped_in(), _without_deprecations():
                try:
                    if self._built.prepare is not None:
                        self._built.prepare(experience, samples, limit)
                    steps = (1 - self._built.share) * limit
                    self.meter.watch(lambda: self._train(todo), steps, samples, batch)
                except Exception as error:
                    what = f"{type(error).__name__}: {error}{place_of(error)}"
                    raise StrategyError(self.name, task.name, self.meter.steps, what) from error
            if not finite(self.strategy.model):
                raise Diverged(self.name, task.name, self.meter.steps, "its weights are no longer finite")
        if not self.waits:
            self._learned.clear()

    @torch.no_grad()
    def answer(self, x: Tensor, label: int | None) -> Answer:
        """Answer for inputs, among the classes of the task where its label is given, else among all seen so far.

        Args:
            x: Inputs through the agent's stem, shape `(n, *shape)`.
            label: The task label; None where none is given.
        """
        if self.waits and not self.strategy._is_fitted:
            return Answer.nothing(len(x))
        return self._said(self.strategy, x, label)

    def _midway(self) -> Says:
        """Make what would answer now: a copy, since some networks change what they hold when they are asked."""
        strategy = copy.copy(self.strategy)
        strategy.model = model = copy.deepcopy(self.strategy.model)
        if isinstance(model, PackNetModel) and model.state == PackNetModel.State.POST_PRUNE:
            model.freeze_pruned()  # as it will do when the task ends: it answers for earlier tasks only then
        return lambda x, label: self._said(strategy, x, label)

    @torch.no_grad()
    def _said(self, strategy: Any, x: Tensor, label: int | None) -> Answer:
        classes, model = self._classes.get(label, ()), strategy.model.eval()
        nearest = getattr(model, "eval_classifier", None)
        if not classes or (isinstance(nearest, NCMClassifier) and not nearest.class_means_dict):
            return Answer.nothing(len(x))
        if isinstance(strategy, StreamingLDA):
            outputs = strategy.predict(model(x))
        elif isinstance(model, (MultiTaskModule, PackNetModel)):
            outputs = model(x, torch.full((len(x),), self._position[label], device=x.device))
        else:
            outputs = model(x)
        chosen = outputs[:, list(classes)].float().log_softmax(dim=1).cpu()
        return Answer(chosen, classes, torch.zeros(len(x), dtype=torch.bool))

    def kept(self, task: int) -> Kept:
        """Add up the bytes that it keeps: of network, statistics and samples."""
        s = self.strategy
        own = {k: v for k, v in vars(s).items() if k not in _NOT_KEPT}
        plugins = [each for each in s.plugins if each not in (self.meter.first, self.meter.last, s.evaluator, s.clock)]
        state = [] if s.optimizer is None else list(s.optimizer.state.values())
        waiting = [each.dataset for each in self._learned]
        over = (CLExperience, CLStream, EvaluationPlugin, torch.optim.Optimizer, torch.utils.data.DataLoader)
        return kept_bytes(task, [own, plugins, state, waiting], _is_dataset, self._dataset_bytes, over)

    @property
    def spent(self) -> tuple[float, float, int, str]:
        """FLOPs, CPU seconds and steps that the last task took, and why it ended."""
        if self.waits and not self.strategy._is_fitted:
            return 0.0, 0.0, 0, "finished"
        meter = self.meter
        return meter.flops, meter.seconds, meter.steps, "budget" if meter.stopped else "finished"

    def _dataset_bytes(self, dataset: Any) -> int:
        if not len(dataset):
            return 0
        return len(dataset) * sum(part.nbytes if isinstance(part, Tensor) else 8 for part in dataset[0])

    def _train(self, experiences: Any) -> None:
        self.strategy.train(experiences, eval_streams=[], shuffle=self.materials.settings["shuffle"])
        if isinstance(self.strategy, StreamingLDA):  # inverts its covariance: a part of learning
            self.strategy.predict(torch.zeros(1, self.strategy.input_size, device=self.materials.device))

    def _benchmark(self, task: Task) -> Any:
        """What ICaRL asks the benchmark for: the classes of every experience so far, and how many there are in all."""
        self._groups.append(task.classes)
        order = [k for group in self._groups for k in group]
        sizes = [len(group) for group in self._groups]
        return SimpleNamespace(n_classes_per_exp=[*sizes, self.materials.n_classes - len(order)], classes_order=order)


@contextmanager
def _without_deprecations() -> Iterator[None]:
    """Hold back what Avalanche says when its own strategies call what it has deprecated; it lifts filters to say it."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield
    for each in said:
        if not str(each.message).startswith(("Call to deprecated function", "Avalanche is transitioning")):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def _is_dataset(thing: Any) -> bool:
    return isinstance(thing, AvalancheDataset)


class _Pairs(TensorDataset):
    """Inputs, and class ids as plain numbers: ICaRL's memory has such, and batches must not mix them with tensors."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        super().__init__(x, y)
        self._ids = y.tolist()

    def __getitem__(self, i: Any) -> Any:
        return self.tensors[0][i], self._ids[i]


def _experience(task: Task, label: int, benchmark: Any) -> Any:
    """Make Avalanche's form of a task: samples `(x, global class id, task label)`; it leads to no other task."""
    y = task.support.y.new_tensor(task.classes)[task.support.y]
    targets, labels = DataAttribute(y.tolist(), "targets"), TaskLabels(ConstantSequence(label, len(y)))
    data = TaskAwareClassificationDataset([_Pairs(task.support.x, y)], data_attributes=[targets, labels])
    made: Any = DatasetExperience(dataset=data, current_experience=task.index)
    made.classes_in_this_experience = sorted(task.classes)
    made.task_label, made.task_labels, made.benchmark = label, [label], benchmark
    return made
