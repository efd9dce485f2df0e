"""What an agent would answer in the middle of learning a task: the model at work, and what stands on it by then."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..streams.task import Task
from .answer import Answer
from .arm import outputs_of
from .library import Library
from .model import Model


@torch.no_grad()
def spoken(model: Model, view: Tensor, classes: tuple[int, ...], kind: str) -> Answer:
    """Let a task's model answer.

    Args:
        model: The model; it is not changed.
        view: Inputs as strategies see them, shape `(n, *input_shape)`.
        classes: Global class ids of its outputs.
        kind: "classification" or "regression".
    """
    outputs = outputs_of(model, view)
    if kind == "regression":
        return Answer.of_values(outputs.cpu())
    by_anchor = torch.zeros(len(view), dtype=torch.bool)
    return Answer(torch.log_softmax(outputs / model.head.temperature, dim=1).cpu(), classes, by_anchor)


class AtWork:
    """The model at work on a task, alone: it answers about whatever it is asked, among the task's classes."""

    def __init__(self, library: Library, task: Task, model: Model, device: str) -> None:
        """Answer with a model as it is now.

        Args:
            library: Sends inputs through the stem.
            task: The task that is being learned.
            model: What has become of it so far.
            device: Where networks run.
        """
        self._library, self._task, self._model, self._device = library, task, model, device

    def answer(self, x: Tensor, label: int | None) -> Answer:
        """Answer for inputs as they come, shape `(n, *input_shape)`; no task label is needed."""
        view = self._library.view_asked(x.to(self._device))
        return spoken(self._model, view, self._task.classes, self._task.kind)


class Interim:
    """An agent as it would answer if learning ended here: nothing is stored for it, and nothing changed.

    A question under the label of the task at hand goes to the model at work; every other one to whoever answers it
    otherwise. Where the encoder at work would become the newest version of what earlier tasks read, they read it.

    Attributes:
        alone: The model at work by itself, for those who ask about the task at hand without a label.
    """

    def __init__(
        self,
        library: Library,
        task: Task,
        model: Model,
        continued: str | None,
        others: Callable[[Tensor, int | None], Answer],
        device: str,
    ) -> None:
        """Answer with a model as it is now.

        Args:
            library: Holds the models of other tasks.
            task: The task that is being learned.
            model: What has become of it so far.
            continued: The stored encoder whose newest version the model's encoder would be; None where it would be
                an entry of its own.
            others: Answers what is not about the task.
            device: Where networks run.
        """
        self.alone = AtWork(library, task, model, device)
        self._library, self._label, self._encoder = library, task.label, model.encoder
        self._continued, self._others = continued, others

    def answer(self, x: Tensor, label: int | None) -> Answer:
        """Answer for inputs as they come, shape `(n, *input_shape)`; `label` is the task label, None for none."""
        if label is not None and label == self._label:
            return self.alone.answer(x, label)
        if self._continued is None:
            return self._others(x, label)
        with self._library.reading(self._continued, self._encoder):
            return self._others(x, label)
