"""The anchor: a frozen encoder with additive statistics of every class ever seen; it answers where no model may.

What it knows is a sum over samples, so it does not depend on the order in which they came. A prototype of one sample is
that sample's features, and means can leak averages: statistics are not anonymous.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import torch
from torch import Tensor

from ..errors import StoreError
from .encoder import Encoder
from .moments import Linear, Moments, lda, nearest_mean, ridge_from

# Up to so many samples per class (on average) the nearest mean answers, then LDA, and above the second border ridge
# (docs/answering.md has the measurements).
FEW, MANY = 2, 30
# Samples that are encoded at once.
CHUNK = 1024


class Anchor:
    """Sums over features, per global class.

    Attributes:
        encoder: The frozen encoder.
        classes: Global class ids seen, ascending.
        moments: The sums, in the order of `classes`.
    """

    def __init__(self, encoder: Encoder) -> None:
        """Know nothing yet.

        Args:
            encoder: Frozen; never trained.
        """
        self.encoder = encoder.eval().requires_grad_(False)
        self.classes: tuple[int, ...] = ()
        self.moments = Moments.none(0, encoder.feature_size)
        self._head: Linear | None = None

    @torch.no_grad()
    def add(self, x: Tensor, y: Tensor) -> None:
        """Take samples into the statistics.

        Args:
            x: Inputs, shape `(n, *input_shape)`.
            y: Global class ids, shape `(n,)`.
        """
        y = y.cpu()
        before, self.classes = self.classes, tuple(sorted({*self.classes, *y.unique().tolist()}))
        known = torch.tensor(self.classes, dtype=torch.int64)
        old = torch.searchsorted(known, torch.tensor(before, dtype=torch.int64))
        self.moments = self.moments.placed(old, len(known))
        position = torch.searchsorted(known, y)
        for start in range(0, len(y), CHUNK):
            part = slice(start, start + CHUNK)
            self.moments = self.moments.plus(Moments.of(self.encoder(x[part]), position[part], len(known)))
        self._head = None

    @torch.no_grad()
    def log_probs(self, x: Tensor) -> Tensor:
        """Answer among all classes seen.

        Args:
            x: Inputs, shape `(n, *input_shape)`.

        Returns:
            Log-probabilities, shape `(n, len(classes))`.
        """
        return self.log_probs_of(self.encoder(x))

    def log_probs_of(self, features: Tensor) -> Tensor:
        """Answer for features, shape `(n, d)`, as `log_probs` does for inputs."""
        if self._head is None:
            self._head = fit(self.moments)
        weight, bias = self._head
        # In double precision: weights that cancel make much of a rounding, and one sample must be as in a batch.
        outputs = features.double() @ weight.to(features.device).T + bias.to(features.device)
        return torch.log_softmax(outputs, dim=1).float()

    def state(self) -> dict[str, Tensor]:
        """Return the statistics, to be stored; of the symmetric second moment the upper triangle."""
        state = {each.name: getattr(self.moments, each.name).clone() for each in fields(Moments)}
        size = len(self.moments.second)
        state["second"] = self.moments.second[tuple(torch.triu_indices(size, size))]
        return {"classes": torch.tensor(self.classes, dtype=torch.int64), **state}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up stored statistics.

        Args:
            state: As given by `state`.

        Raises:
            StoreError: If they are something else.
        """
        names = {each.name for each in fields(Moments)}
        if set(state) != {"classes", *names}:
            raise StoreError(f"the anchor's statistics have {', '.join(sorted(state))}, not those of this version.")
        size = self.encoder.feature_size
        second = torch.zeros(size, size, dtype=torch.float64)
        rows, columns = torch.triu_indices(size, size)
        second[rows, columns] = second[columns, rows] = state["second"]
        self.classes = tuple(state["classes"].tolist())
        self.moments = Moments(**{name: second if name == "second" else state[name].clone() for name in names})
        self._head = None


def fit(moments: Moments) -> Linear:
    """Make the classifier that suits the number of samples per class: nearest mean, LDA or ridge.

    Args:
        moments: Sums over samples, at least one of every class.

    Returns:
        Weight, float64, shape `(C, d)`, and bias, shape `(C,)`; their softmax is a probability.
    """
    per_class = moments.total / len(moments.counts)
    return nearest_mean(moments) if per_class <= FEW else lda(moments) if per_class <= MANY else ridge_from(moments)
