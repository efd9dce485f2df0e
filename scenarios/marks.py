"""The marks of an agent on one test set, gathered batch by batch: accuracy or R², and how sure it was."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from .calibration import Bin, calibration_error, log_loss, reliability
from .metrics import r_squared


class Marks:
    """What came of asking about one test set.

    Real targets are those of a regression: what is predicted for them is kept until the test set is through.
    """

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self._right: list[Tensor] = []  # per batch: whether each answer was right
        self._confidence: list[Tensor] = []  # the probability of each answer
        self._log_probs: list[Tensor] = []  # the log-probability of what would have been right
        self._predicted: list[tuple[Tensor, Tensor]] = []

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in a batch.

        Args:
            outputs: Log-probabilities of all classes, shape `(n, width)`; regression: values, shape `(n, outputs)`.
            targets: Class ids, shape `(n,)`; regression: the values that are right, shape `(n, outputs)`.
        """
        if targets.is_floating_point():
            self._predicted.append((outputs, targets))
            return
        best = outputs.max(dim=1)
        self._right.append(best.indices == targets)
        self._confidence.append(best.values.double().exp())
        self._log_probs.append(outputs.double().gather(1, targets[:, None])[:, 0])

    @property
    def score(self) -> float:
        """Accuracy; regression: R².

        Raises:
            ValueError: If R² is undefined.
        """
        if not self._predicted:
            right = torch.cat(self._right)
            return int(right.sum()) / len(right)
        measure = r_squared(*self._values())
        if measure.value is None:
            raise ValueError(f"R² is undefined: {measure.reason}")
        return measure.value

    @property
    def log_loss(self) -> float | None:
        """Negative log-likelihood in nats; None for regression."""
        return log_loss(torch.cat(self._log_probs).numpy()).value if self._log_probs else None

    @property
    def ece(self) -> float | None:
        """Expected calibration error; None for regression."""
        return calibration_error(pooled([self])).value

    @property
    def mse(self) -> float | None:
        """Mean squared error of a regression; None for classes."""
        if not self._predicted:
            return None
        predictions, targets = self._values()
        return float(((predictions - targets) ** 2).mean())

    def answers(self) -> tuple[Tensor, Tensor]:
        """Return the probability of every answer and whether it was right, shape `(n,)`; empty for regression."""
        if not self._right:
            return torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.bool)
        return torch.cat(self._confidence), torch.cat(self._right)

    def _values(self) -> tuple[np.ndarray, np.ndarray]:
        predictions, targets = (torch.cat(part).double().numpy() for part in zip(*self._predicted, strict=True))
        return predictions, targets


def pooled(marks: Iterable[Marks]) -> tuple[Bin, ...]:
    """Make the reliability diagram of the answers about several test sets together.

    Args:
        marks: The marks on each.

    Returns:
        Its bins; none where no classes were asked for.
    """
    parts = [each.answers() for each in marks]
    if not parts:
        return ()
    confidence, right = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    return reliability(confidence, right)
