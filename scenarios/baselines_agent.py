"""evermap's agent as a strategy of Avalanche's, for scripts with a benchmark, a loop and an evaluation of their own.

strategy = AgentStrategy(agent=agent, n_classes=10, evaluator=EvaluationPlugin(...))
for experience in benchmark.train_stream:
strategy.train(experience, eval_streams=[])
strategy.eval(benchmark.test_stream)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..agent.agent import LifelongAgent
from ..agent.events import Event
from ..errors import UserError
from ..streams.task import Samples, Task
from ..streams.torchvision_guard import guard
from .full_width import full_width

guard()  # before Avalanche, which imports torchvision
from avalanche.logging import BaseLogger  # noqa: E402
from avalanche.models import MultiTaskModule  # noqa: E402
from avalanche.training.plugins import EvaluationPlugin  # noqa: E402
from avalanche.training.templates import SupervisedTemplate  # noqa: E402
from avalanche.training.templates.base import BaseTemplate  # noqa: E402


class AgentStrategy(SupervisedTemplate):
    """Learns every experience as a task, and answers for Avalanche's evaluation; classification only.

    Experiences that carry one task label are learned under it and asked about with it; without labels the agent finds
    out by itself who answers. An experience whose label came before is that task come back.

    Attributes:
        agent: The agent.
        events: Everything that happened while it learned, in order.
    """

    def __init__(
        self, *, agent: LifelongAgent, n_classes: int, evaluator: Any = None, plugins: Any = None, **more: Any
    ) -> None:
        """Put an agent in a strategy's place.

        Args:
            agent: The agent; it may know something already.
            n_classes: Width of the benchmark's label space.
            evaluator: Avalanche's `EvaluationPlugin`; None for one that says nothing.
            plugins: Plug-ins of Avalanche's; those that look into training steps find none.
            **more: Further arguments of `SupervisedTemplate`, such as `eval_mb_size` and `eval_every`.
        """
        self.agent, self.events = agent, list[Event]()
        super().__init__(
            model=_Voice(agent, n_classes),
            optimizer=torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.0),  # asked for, never used
            criterion=torch.nn.functional.nll_loss,
            evaluator=EvaluationPlugin(loggers=[BaseLogger()]) if evaluator is None else evaluator,
            plugins=plugins,
            **{"eval_mb_size": 1024, **more},
        )

    def _before_training_exp(self, **kwargs: Any) -> None:
        BaseTemplate._before_training_exp(self, **kwargs)  # no data loader, no optimiser

    def _train_exp(self, experience: Any, eval_streams: Any = None, **kwargs: Any) -> None:
        self.events.extend(learned(self.agent, task_of(experience, self.agent)))


class _Voice(MultiTaskModule):
    """What Avalanche takes for the model."""

    def __init__(self, agent: LifelongAgent, n_classes: int) -> None:
        super().__init__()
        self._speaks_for, self._width = [agent], n_classes
        self._guesses = torch.Generator()

    def adaptation(self, experience: Any) -> None:
        """Do nothing: the agent has learned by itself."""

    def forward(self, x: Tensor, task_labels: Any = None) -> Tensor:
        """Return log-probabilities, shape `(n, n_classes)`; who knows nothing guesses, always the same."""
        agent, classes = self._speaks_for[0], tuple(range(self._width))
        label = None if task_labels is None else int(torch.as_tensor(task_labels).flatten()[0])
        said = agent.answer(x, label if label is not None and agent.store.task_labelled(label) else None)
        self._guesses.manual_seed(0)
        guess = torch.randint(self._width, (len(x),), generator=self._guesses)
        return full_width(said, self._width, guess, classes).float()


def task_of(experience: Any, agent: LifelongAgent) -> Task:
    """Make a task of one of Avalanche's experiences.

    Args:
        experience: With a dataset of `(x, y)` or `(x, y, task label)`, read with its transforms for evaluation.
        agent: The agent that will learn it; it counts the tasks.

    Returns:
        The task, with all samples as its support set.

    Raises:
        UserError: If the experience has several task labels, or no samples.
    """
    dataset = experience.dataset.eval()
    read = [dataset[i] for i in range(len(dataset))]
    if not read:
        raise UserError("The experience has no samples to learn from.")
    labels = set(getattr(experience, "task_labels", ()))
    if len(labels) > 1:
        raise UserError(f"The experience has the task labels {sorted(labels)}; a task has one, or none.")
    x = torch.stack([torch.as_tensor(each[0]) for each in read]).float()
    ids = torch.tensor([int(each[1]) for each in read])
    classes = ids.unique()
    index = len(agent.store.tasks())
    return Task(
        name=f"experience {index + 1}",
        index=index,
        support=Samples(x, torch.searchsorted(classes, ids)),
        query=None,
        classes=tuple(classes.tolist()),
        label=int(next(iter(labels))) if labels else None,
    )


def learned(agent: LifelongAgent, task: Task) -> Iterator[Event]:
    """Let an agent learn one task, as the main loop does.

    Args:
        agent: The agent.
        task: The task.

    Yields:
        What happens.
    """
    profile = agent.profile(task)
    yield profile
    choice = yield from agent.select(task, profile)
    outcome = yield from agent.learn(task, choice)
    yield agent.remember(task, outcome)
