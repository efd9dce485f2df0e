"""A model: an encoder and the head of one task."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import StoreError
from ..streams.task import Task
from .encoder import Encoder


class Head(nn.Module, ABC):
    """Maps features, shape `(n, feature_size)`, to outputs of one task, shape `(n, outputs)`.

    `temperature` divides the outputs when the agent answers (Guo 2017, arXiv 1706.04599); training does not see it.
    """

    kind: ClassVar[str]
    temperature: Tensor

    def __init__(self) -> None:
        """Start at temperature one."""
        super().__init__()
        self.register_buffer("temperature", torch.ones(()))

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Number of outputs."""

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Return logits (regression: values), shape `(n, outputs)`."""

    @abstractmethod
    def select(self, order: Sequence[int]) -> Head:
        """Return a copy whose output `i` is this head's output `order[i]`."""


class LinearHead(Head):
    """A linear layer: logits or values are `W f + b`."""

    kind = "linear"

    def __init__(self, feature_size: int, outputs: int, rng: torch.Generator | None = None) -> None:
        """Draw weights as torch's own linear layer does.

        Args:
            feature_size: Number of features.
            outputs: Number of outputs.
            rng: Draws the weights; None starts them at zero.
        """
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, feature_size))
        self.bias = nn.Parameter(torch.zeros(outputs))
        if rng is not None:
            bound = feature_size**-0.5
            nn.init.uniform_(self.weight, -bound, bound, generator=rng)
            nn.init.uniform_(self.bias, -bound, bound, generator=rng)

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return len(self.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return `W f + b`, shape `(n, outputs)`."""
        return nn.functional.linear(features, self.weight, self.bias)

    def select(self, order: Sequence[int]) -> LinearHead:
        """Return a copy with the rows in another order."""
        head = LinearHead(self.weight.shape[1], len(order)).to(self.weight.device)
        with torch.no_grad():
            head.weight.copy_(self.weight[list(order)])
            head.bias.copy_(self.bias[list(order)])
            head.temperature.copy_(self.temperature)
        return head


class PrototypeHead(Head):
    """Negative squared Euclidean distance to one prototype per class (Snell 2017, arXiv 1703.05175)."""

    kind = "prototypes"
    prototypes: Tensor

    def __init__(self, prototypes: Tensor) -> None:
        """Keep the prototypes.

        Args:
            prototypes: One per output, shape `(outputs, feature_size)`.
        """
        super().__init__()
        self.register_buffer("prototypes", prototypes.clone())

    @property
    def outputs(self) -> int:
        """Number of prototypes."""
        return len(self.prototypes)

    def forward(self, features: Tensor) -> Tensor:
        """Return `-||f - p||²`, shape `(n, outputs)`; expanded, and without the part all classes share."""
        p = self.prototypes
        return 2 * features @ p.T - (p * p).sum(dim=1)

    def select(self, order: Sequence[int]) -> PrototypeHead:
        """Return a copy with the prototypes in another order."""
        head = type(self)(self.prototypes[list(order)])
        head.temperature.copy_(self.temperature)
        return head


class CosineHead(PrototypeHead):
    """Ten times the cosine of the angle to one prototype per class (Gidaris & Komodakis 2018, arXiv 1804.09458)."""

    kind = "cosine"
    SCALE: ClassVar[float] = 10.0  # cosines span 2 in all: without it the softmax could not tell anything apart

    def forward(self, features: Tensor) -> Tensor:
        """Return `10 cos(f, p)`, shape `(n, outputs)`; what has a prototype of length zero, no sample, is ruled out."""
        unit = nn.functional.normalize
        cosines = self.SCALE * unit(features, dim=1) @ unit(self.prototypes, dim=1).T
        return torch.where(torch.gt(torch.abs(self.prototypes).sum(dim=1), 0.0), cosines, -2 * self.SCALE)


class Model(nn.Module):
    """An encoder and a head.

    Attributes:
        encoder: Inputs to features.
        head: Features to the outputs of one task.
    """

    def __init__(self, encoder: Encoder, head: Head) -> None:
        """Join the two.

        Args:
            encoder: The encoder.
            head: A head for its features.
        """
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (regression: values), shape `(n, outputs)`, for inputs of shape `(n, *input_shape)`."""
        logits: Tensor = self.head(self.encoder(x))
        return logits

    def copy(self, head_for: Task | None = None, rng: torch.Generator | None = None) -> Model:
        """Copy the model; with `head_for`, with a new linear head for that task.

        Args:
            head_for: The task that the new head is for; None copies the head as well.
            rng: Draws the new head's weights; None starts them at zero.

        Returns:
            A model that shares no weights with this one.
        """
        encoder = copy.deepcopy(self.encoder)
        if head_for is None:
            return Model(encoder, copy.deepcopy(self.head))
        return Model(encoder, LinearHead(encoder.feature_size, head_for.outputs, rng)).to(head_for.support.x.device)


def restore_head(kind: str, weights: Mapping[str, Tensor]) -> Head:
    """Build a head from its kind and stored weights.

    Args:
        kind: `Head.kind`.
        weights: Its state, by name.

    Returns:
        The head, equal bit for bit to the one that was stored.

    Raises:
        StoreError: If the kind is unknown.
    """
    head: Head
    if kind == LinearHead.kind:
        head = LinearHead(weights["weight"].shape[1], weights["weight"].shape[0])
    elif kind == PrototypeHead.kind:
        head = PrototypeHead(weights["prototypes"])
    elif kind == CosineHead.kind:
        head = CosineHead(weights["prototypes"])
    else:
        raise StoreError(f"a head of kind {kind!r} cannot be restored: valid are linear, prototypes and cosine")
    head.load_state_dict(dict(weights))
    return head


def state(module: nn.Module) -> dict[str, Tensor]:
    """Copy a module's weights and buffers, detached.

    Args:
        module: Any module.

    Returns:
        Name to tensor; sharing no storage with the module.
    """
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def finite(module: nn.Module) -> bool:
    """Tell whether every weight of a module is finite.

    Args:
        module: Any module.

    Returns:
        False if any weight is NaN or infinite.
    """
    tensors: list[Any] = [t for t in module.state_dict().values() if t.is_floating_point()]
    return all(bool(torch.isfinite(t).all()) for t in tensors)
