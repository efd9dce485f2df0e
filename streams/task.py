"""A task: what is learned at once, without any test data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Samples:
    """Inputs with their targets, in storage of their own.

    Attributes:
        x: Inputs, float32, shape `(n, *input_shape)`.
        y: Classification: int64, shape `(n,)`, the position of each sample's class in `Task.classes`.
            Regression: float32, shape `(n, outputs)`.
    """

    x: Tensor
    y: Tensor

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise ValueError(f"{len(self.x)} inputs but {len(self.y)} targets")
        # A view of a bigger tensor reaches all of it: what a learner gets owns its storage.
        for field in ("x", "y"):
            tensor: Tensor = getattr(self, field)
            if tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size():
                object.__setattr__(self, field, tensor.clone(memory_format=torch.contiguous_format))

    def __len__(self) -> int:
        return len(self.y)

    def pick(self, index: Tensor) -> Samples:
        """Take some of the samples.

        Args:
            index: Positions, int64, shape `(m,)`.

        Returns:
            The `m` samples, copied.
        """
        return Samples(self.x[index], self.y[index])


@dataclass(frozen=True)
class Task:
    """What is learned at once.

    Attributes:
        name: Readable and unique in its stream ("3 rotated 40").
        index: Position in the stream, from 0.
        support: What to learn from.
        query: Validation part, where the task brings one (a few-shot task's query set); never test data.
        classes: Global class id of every output, in the order of the outputs; empty for regression.
        kind: "classification" or "regression".
        label: The task label, in settings that give one when asked; a task that returns under a known identity has its
            first visit's label. None where the setting gives none.
        own_labels: Whether class ids mean something in this task only: local, grouped or relabelled classes.
        unlabelled: Further inputs to learn from whose labels are not told, float32, shape `(m, *input_shape)`, mixed;
            None where there are none.
    """

    name: str
    index: int
    support: Samples
    query: Samples | None
    classes: tuple[int, ...]
    kind: str = "classification"
    label: int | None = None
    own_labels: bool = False
    unlabelled: Tensor | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.support.x.shape[1:])

    @property
    def outputs(self) -> int:
        """Number of outputs a model of this task needs: classes, or regression targets."""
        return len(self.classes) if self.kind == "classification" else int(self.support.y.shape[1])
