"""The bound `joint`: after every task a fresh network, trained on all tasks so far with the budgets of all of them."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..agent.answer import Answer
from ..agent.encoder import Encoder
from ..agent.randomness import OwnRandomness
from ..agent.work import Work
from ..strategies.training import Sgd, descend, optimiser
from ..streams.seeds import derive
from ..streams.task import Task
from .bytes_kept import Kept
from .onlooker import Pause


class Joint:
    """Trains on everything that came, as if it had come at once, by the settings of `scratch`.

    Where a task label is given every task has a head of its own; else there is one for all classes.

    Attributes:
        flops: FLOPs of the last training.
        seconds: CPU seconds of it.
        steps: Gradient steps of it.
        stopped: Why it ended.
    """

    def __init__(self, encoder: Encoder, n_classes: int, settings: Sgd, seed: int) -> None:
        """Know nothing yet.

        Args:
            encoder: The network, with the weights that every training begins with.
            n_classes: Width of the global label space.
            settings: How it is trained; the budget says for how long.
            seed: Decides heads and batches.
        """
        self.flops, self.seconds, self.steps, self.stopped = 0.0, 0.0, 0, "finished"
        self._first, self._n_classes, self._settings, self._seed = encoder, n_classes, settings, seed
        self._tasks: list[Task] = []
        self._budget = 0.0
        self._network: nn.ModuleDict | None = None

    def learn(self, task: Task, limit: float, due: bool, pause: Pause | None = None) -> None:
        """Take in a task, and train anew where an evaluation is due.

        Args:
            task: The task, through the agent's stem.
            limit: Its budget in FLOPs, which is added to those before it.
            due: Whether it is evaluated after this task; else training would be for nothing.
            pause: Who looks on while it is trained; None for nobody.

        Raises:
            StrategyError: If the loss is no longer finite.
        """
        self._tasks.append(task)
        self._budget += limit
        self.flops, self.seconds, self.steps, self.stopped = 0.0, 0.0, 0, "finished"
        if not due:
            return
        seed = derive(self._seed, task.index, "joint")
        with OwnRandomness(seed).swapped_in():
            heads = {_slot(each): self._head(each) for each in self._tasks}
        network = nn.ModuleDict({"encoder": copy.deepcopy(self._first), **heads}).to(task.support.x.device)
        work = Work(self._train(network, torch.Generator().manual_seed(seed)), "joint", task.name, seed)
        looked = 0.0

        def look() -> bool:
            nonlocal looked
            if pause is not None:
                began = time.process_time()
                pause(work.units, work.flops, lambda: lambda x, label: self._said(network, x, label))
                looked += time.process_time() - began
            return False  # it goes on

        self.stopped = work.advance(self._budget, look, lambda _: None)
        self.flops, self.seconds, self.steps = work.flops, work.seconds - looked, work.units
        self._network = network.eval().requires_grad_(False)

    def answer(self, x: Tensor, label: int | None) -> Answer:
        """Answer for inputs through the agent's stem, shape `(n, *shape)`, with what was trained last."""
        return Answer.nothing(len(x)) if self._network is None else self._said(self._network, x, label)

    @torch.no_grad()
    def _said(self, network: nn.ModuleDict, x: Tensor, label: int | None) -> Answer:
        known = [task for task in self._tasks if task.label == label]
        if not known:
            return Answer.nothing(len(x))
        outputs = network[_slot(known[-1])](network["encoder"](x))
        if known[-1].kind == "regression":
            return Answer.of_values(outputs.cpu())
        classes = tuple(dict.fromkeys(k for task in known for k in task.classes))
        log_probs = outputs[:, list(classes)].log_softmax(dim=1).cpu()
        return Answer(log_probs, classes, torch.zeros(len(x), dtype=torch.bool))

    def kept(self, task: int) -> Kept:
        """Add up the bytes kept: the network, and every sample."""
        weights = 0 if self._network is None else sum(t.nbytes for t in self._network.state_dict().values())
        return Kept(task, weights, 0, sum(t.support.x.nbytes + t.support.y.nbytes for t in self._tasks))

    @property
    def spent(self) -> tuple[float, float, int, str]:
        """FLOPs, CPU seconds and steps that the last task took, and why it ended."""
        return self.flops, self.seconds, self.steps, self.stopped

    def _head(self, task: Task) -> nn.Linear:
        return nn.Linear(self._first.feature_size, task.outputs if task.kind == "regression" else self._n_classes)

    def _train(self, network: nn.ModuleDict, rng: torch.Generator) -> Iterator[Any]:
        """Take gradient steps without end, each on a batch of all tasks' samples: of every task with its own head."""
        step = optimiser(network.parameters(), self._settings)
        x = torch.cat([task.support.x for task in self._tasks])
        of = torch.cat([torch.full((len(task.support),), i) for i, task in enumerate(self._tasks)]).to(x.device)
        place = torch.cat([torch.arange(len(task.support)) for task in self._tasks]).to(x.device)
        while True:
            order = torch.randperm(len(x), generator=rng).to(x.device)
            for start in range(0, len(x), self._settings.batch_size):
                index = order[start : start + self._settings.batch_size]
                features = network["encoder"](x[index])
                losses = [self._loss(network, features[rows], self._tasks[i], place[index[rows]]) for i, rows in
                          ((int(i), torch.nonzero(of[index] == i).flatten()) for i in of[index].unique())]  # fmt: skip
                descend(torch.stack(losses).sum() / len(index), step)
                yield None

    def _loss(self, network: nn.ModuleDict, features: Tensor, task: Task, place: Tensor) -> Tensor:
        """Sum of the losses of some samples of a task."""
        outputs, y = network[_slot(task)](features), task.support.y[place]
        if task.kind == "regression":
            return nn.functional.mse_loss(outputs, y, reduction="none").mean(dim=1).sum()
        if task.label is not None:  # among its own classes, as it is asked
            return nn.functional.cross_entropy(outputs[:, list(task.classes)], y, reduction="sum")
        return nn.functional.cross_entropy(outputs, y.new_tensor(task.classes)[y], reduction="sum")


def _slot(task: Task) -> str:
    """Name of the head that answers for a task."""
    return "head" if task.label is None else f"head {task.label}"
