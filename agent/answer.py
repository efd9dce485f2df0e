"""What an agent says when it is asked: log-probabilities of the classes it takes into account, or values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Answer:
    """An agent's answer for a batch of inputs: about classes, or values (regression), or nothing it knows.

    Attributes:
        log_probs: Calibrated log-probabilities in nats, float, shape `(n, len(classes))`; minus infinity is allowed,
            NaN is not.
        classes: Global class id of every column; empty when the agent knows nothing that could answer.
        by_anchor: Which answers the anchor gave, bool, shape `(n,)`.
        values: Regression: predicted targets, float, shape `(n, outputs)`, and there are no classes; else None.
    """

    log_probs: Tensor
    classes: tuple[int, ...]
    by_anchor: Tensor
    values: Tensor | None = None

    def __post_init__(self) -> None:
        n = len(self.by_anchor)
        if tuple(self.log_probs.shape) != (n, len(self.classes)):
            raise ValueError(
                f"log_probs has shape {tuple(self.log_probs.shape)}; for {n} inputs and {len(self.classes)} classes "
                f"it must be {(n, len(self.classes))}"
            )
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"the classes of an answer must differ; found {self.classes}")
        if self.values is not None:
            if self.classes:
                raise ValueError(f"an answer is about classes or has values; found both, with classes {self.classes}")
            if self.values.ndim != 2 or len(self.values) != n:
                raise ValueError(
                    f"values has shape {tuple(self.values.shape)}; for {n} inputs it must be ({n}, outputs)"
                )

    @classmethod
    def of_values(cls, values: Tensor) -> Answer:
        """Answer a regression task.

        Args:
            values: Predicted targets, shape `(n, outputs)`.
        """
        n = len(values)
        return cls(torch.zeros(n, 0), (), torch.zeros(n, dtype=torch.bool), values)

    @classmethod
    def nothing(cls, n: int) -> Answer:
        """Say that nothing is known about `n` inputs."""
        return cls(torch.zeros(n, 0), (), torch.zeros(n, dtype=torch.bool))
