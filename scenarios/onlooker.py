"""Looking on while a competitor learns: what it would answer every so many steps, at nobody's cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..agent.answer import Answer

# Answers for inputs through the agent's stem, shape `(n, *shape)`, and the task label; None where none is given.
Says = Callable[[Tensor, int | None], Answer]


@dataclass(frozen=True)
class Pause:
    """When a learner stops for somebody to look on, and who that is.

    Attributes:
        every: Units of work between two looks.
        look: Is given the units and FLOPs of the task so far, and what would answer now; draws from no generator of
            the learner's, and changes nothing of it.
    """

    every: int
    look: Callable[[int, float, Says], None]

    def __call__(self, units: int, flops: float, says: Callable[[], Says]) -> None:
        """Let somebody look on, where it is time.

        Args:
            units: Units of work done on the task.
            flops: FLOPs spent on it.
            says: Makes what would answer now.
        """
        if units % self.every == 0:
            self.look(units, flops, says())


class Midway:
    """A competitor as it would answer if learning ended here.

    Attributes:
        alone: The same, asked about the task at hand among that task's classes only.
    """

    def __init__(self, view: Callable[[Tensor], Tensor], says: Says, classes: tuple[int, ...]) -> None:
        """Answer with what a learner is now.

        Args:
            view: Sends inputs through the stem.
            says: What would answer now.
            classes: Global class ids of the task at hand; none where values are asked for.
        """
        self.alone = _Among(self, classes)
        self._view, self._says = view, says

    def answer(self, x: Tensor, label: int | None) -> Answer:
        """Answer for inputs as they come, shape `(n, *input_shape)`."""
        return self._says(self._view(x), label)


class _Among:
    """Answers without a task label, among some classes."""

    def __init__(self, whole: Midway, classes: tuple[int, ...]) -> None:
        self._whole, self._classes = whole, classes

    def answer(self, x: Tensor, label: int | None) -> Answer:
        said = self._whole.answer(x, None)
        if not set(self._classes) <= set(said.classes):  # it knows nothing yet, or values are asked for
            return said
        columns = [said.classes.index(k) for k in self._classes]
        return Answer(torch.log_softmax(said.log_probs[:, columns], dim=1), self._classes, said.by_anchor)
