"""An encoder: a network from inputs to features, without a head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .. import registry
from ..errors import RecipeError
from .budget import counted
from .settings import configure


@dataclass(frozen=True)
class Cost:
    """What an encoder takes.

    Attributes:
        parameters: Numbers that training changes; 0 for a fixed encoder.
        bytes: Size of all its tensors, fixed ones included, as the store keeps them.
        flops: FLOPs of encoding one sample, counted as the budget counts them.
    """

    parameters: int
    bytes: int
    flops: float


class Encoder(nn.Module, ABC):
    """Maps inputs of shape `(n, *input_shape)` to features of shape `(n, feature_size)`.

    A subclass names itself, has a frozen dataclass `Settings`, and builds its layers in `build`, which is called once,
    with torch's global generator seeded for it alone, and returns the number of features.

    Attributes:
        name: The name it is chosen by.
        trainable: False for a fixed representation.
        examples: Shapes of input for which its cost is listed.
        input_shape: Shape of one input.
        settings: Its settings.
        feature_size: Number of features.
    """

    registry_kind: ClassVar[str] = "encoder"
    name: ClassVar[str]
    trainable: ClassVar[bool] = True
    examples: ClassVar[tuple[tuple[int, ...], ...]] = ((1, 8, 8), (1, 28, 28), (3, 32, 32))

    @dataclass(frozen=True)
    class Settings:
        """Has no settings."""

    def __init__(self, input_shape: tuple[int, ...], **settings: Any) -> None:
        """Build the layers.

        Args:
            input_shape: Shape of one input.
            **settings: Fields of `Settings`.

        Raises:
            RecipeError: If a setting is unknown or of the wrong type.
        """
        super().__init__()
        self.input_shape = tuple(input_shape)
        self.settings: Any = configure(type(self).Settings, settings, where=f"encoder {self.name}")
        self.feature_size = self.build()

    @abstractmethod
    def build(self) -> int:
        """Create the layers for `self.input_shape` and `self.settings`; return the number of features."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Encode inputs of shape `(n, *input_shape)` as features of shape `(n, feature_size)`."""

    def last_block(self) -> list[nn.Parameter]:
        """List the parameters of the last layer that has weights, with those of the normalisation behind it."""
        layers = [list(part.parameters(recurse=False)) for part in self.modules()]
        layers = [layer for layer in layers if layer]
        start = max((i for i, layer in enumerate(layers) if any(p.dim() > 1 for p in layer)), default=0)
        return [parameter for layer in layers[start:] for parameter in layer]

    @property
    def spec(self) -> dict[str, Any]:
        """What `build_encoder` needs to make the same architecture again, as plain data."""
        return {"name": self.name, "input_shape": list(self.input_shape), "settings": asdict(self.settings)}

    @property
    def cost(self) -> Cost:
        """What it takes for inputs of its shape; encodes one to find out."""
        tensors = self.state_dict().values()
        device = next((t.device for t in tensors), torch.device("cpu"))
        with torch.no_grad():
            _, flops = counted(lambda: self(torch.zeros(1, *self.input_shape, device=device)))
        return Cost(
            parameters=sum(p.numel() for p in self.parameters()),
            bytes=sum(t.numel() * t.element_size() for t in tensors),
            flops=flops,
        )

    @classmethod
    def costs(cls) -> dict[tuple[int, ...], tuple[int, Cost]]:
        """Tell number of features and cost, with the default settings, for every shape of `examples` that it takes."""
        found: dict[tuple[int, ...], tuple[int, Cost]] = {}
        for shape in cls.examples:
            with suppress(RecipeError), torch.random.fork_rng(devices=[]):
                encoder = cls(shape)
                found[shape] = encoder.feature_size, encoder.cost
        return found


def build_encoder(name: str, input_shape: tuple[int, ...], settings: Mapping[str, Any], seed: int) -> Encoder:
    """Build a registered encoder with weights drawn from a seed.

    Args:
        name: Its registered name.
        input_shape: Shape of one input.
        settings: Fields of its `Settings`.
        seed: Decides the initial weights; torch's global generator is left as it was.

    Returns:
        The encoder, on the CPU.

    Raises:
        UnknownName: If nothing is registered under the name.
        RecipeError: If a setting is wrong.
    """
    kind = registry.load("encoder", name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder: Encoder = kind(tuple(input_shape), **settings)
    return encoder


def restore_encoder(spec: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Encoder:
    """Build an encoder from its specification and stored weights.

    Args:
        spec: As given by `Encoder.spec`.
        weights: Its state, by name.

    Returns:
        The encoder, equal bit for bit to the one that was stored.
    """
    kind = registry.load("encoder", spec["name"])
    with torch.device("meta"):  # no weights are drawn: the stored ones take their place
        encoder: Encoder = kind(tuple(spec["input_shape"]), **spec["settings"])
    encoder.load_state_dict(dict(weights), assign=True)
    for parameter in encoder.parameters():
        parameter.requires_grad_(True)
    return encoder
