"""The anchor: a frozen encoder with additive statistics of every class ever seen; it answers where no model may.

What it knows is a sum over samples, so it does not depend on the order in which they came. A prototype of one sample is
that sample's features, and means can leak averages: statistics are not anonymous.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .closed_form import lda
from .encoder import Encoder

# Up to so many samples per class (on average) the nearest mean answers, above it LDA with a shrunk covariance.
FEW = 5
# Samples that are encoded at once.
CHUNK = 1024


def second_moment(features: Tensor) -> Tensor:
    """Return the sum of `f fᵀ` over samples, float64.

    The large product is taken in float32, about the mean: that is exact to rounding also where the features lie far
    from the origin, and takes half as long as in float64.

    Args:
        features: float32, shape `(n, d)`, `n >= 1`.

    Returns:
        Shape `(d, d)`.
    """
    mean = features.mean(dim=0)
    rest = features - mean
    left, mean = rest.sum(dim=0).double(), mean.double()  # zero but for rounding
    cross = torch.outer(left, mean)
    return (rest.T @ rest).double() + cross + cross.T + len(features) * torch.outer(mean, mean)


class Anchor:
    """Counts, sums and second moments of features, per global class.

    Attributes:
        encoder: The frozen encoder.
        classes: Global class ids seen, ascending.
    """

    def __init__(self, encoder: Encoder) -> None:
        """Know nothing yet.

        Args:
            encoder: Frozen; never trained.
        """
        self.encoder = encoder.eval().requires_grad_(False)
        self.classes: tuple[int, ...] = ()
        size = encoder.feature_size
        self._counts = torch.zeros(0, dtype=torch.float64)  # (C,)
        self._sums = torch.zeros(0, size, dtype=torch.float64)  # (C, d)
        self._moment = torch.zeros(size, size, dtype=torch.float64)  # (d, d), pooled, about the origin
        self._head: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def add(self, x: Tensor, y: Tensor) -> None:
        """Take samples into the statistics.

        Args:
            x: Inputs, shape `(n, *input_shape)`.
            y: Global class ids, shape `(n,)`.
        """
        y = y.cpu()
        self._grow(tuple(sorted({*self.classes, *y.unique().tolist()})))
        position = torch.searchsorted(torch.tensor(self.classes), y)
        self._counts += position.bincount(minlength=len(self.classes))
        for start in range(0, len(y), CHUNK):
            features = self.encoder(x[start : start + CHUNK])
            self._sums.index_add_(0, position[start : start + CHUNK], features.double().cpu())
            self._moment += second_moment(features).cpu()
        self._head = None

    @torch.no_grad()
    def log_probs(self, x: Tensor) -> Tensor:
        """Answer among all classes seen.

        Args:
            x: Inputs, shape `(n, *input_shape)`.

        Returns:
            Log-probabilities, shape `(n, len(classes))`.
        """
        if self._head is None:
            self._head = self._fit()
        weight, bias = self._head
        features = self.encoder(x)
        return torch.log_softmax(features @ weight.to(x.device).T + bias.to(x.device), dim=1)

    def state(self) -> dict[str, Tensor]:
        """Return the statistics, to be stored."""
        return {
            "classes": torch.tensor(self.classes, dtype=torch.int64),
            "counts": self._counts.clone(),
            "sums": self._sums.clone(),
            "moment": self._moment.clone(),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up stored statistics.

        Args:
            state: As given by `state`.
        """
        self.classes = tuple(state["classes"].tolist())
        self._counts, self._sums = state["counts"].clone(), state["sums"].clone()
        self._moment, self._head = state["moment"].clone(), None

    def _grow(self, classes: tuple[int, ...]) -> None:
        if classes == self.classes:
            return
        counts = torch.zeros(len(classes), dtype=torch.float64)
        sums = torch.zeros(len(classes), self._sums.shape[1], dtype=torch.float64)
        for old, c in enumerate(self.classes):
            counts[classes.index(c)], sums[classes.index(c)] = self._counts[old], self._sums[old]
        self.classes, self._counts, self._sums = classes, counts, sums

    def _fit(self) -> tuple[Tensor, Tensor]:
        """Make a linear head of the statistics: nearest mean for few samples, LDA otherwise."""
        means = self._sums / self._counts[:, None]
        within = self._moment - (means * self._counts[:, None]).T @ means
        if float(self._counts.mean()) > FEW:
            return lda(means.float(), self._counts.float(), within)
        # Nearest mean under one isotropic variance, so that the answers are probabilities and not just an order.
        dimensions = self._moment.shape[0]
        freedom = float(self._counts.sum()) - len(self.classes)
        variance = float(within.diagonal().sum()) / (freedom * dimensions) if freedom > 0 else 0.0
        if variance <= 1e-12:
            variance = float(((means - means.mean(dim=0)) ** 2).mean()) or 1.0
        weight = means / (variance * dimensions**0.5)
        bias = -(means * means).sum(dim=1) / (2 * variance * dimensions**0.5)
        return weight.float(), bias.float()
