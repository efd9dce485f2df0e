"""A multi-layer perceptron on the flattened input."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ..encoder import Encoder
from ..settings import positive, setting


class Mlp(Encoder):
    """Linear layers with ReLU after each, on the flattened input."""

    name: ClassVar[str] = "mlp"

    @dataclass(frozen=True)
    class Settings:
        """Sizes of the layers."""

        hidden: tuple[int, ...] = setting(
            (256, 128), "Width of every layer; the last one is the feature size.", "units"
        )

        def __post_init__(self) -> None:
            for width in self.hidden or (0,):
                positive("encoder mlp", hidden=width)

    def build(self) -> int:
        """Create the layers."""
        sizes = [math.prod(self.input_shape), *self.settings.hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in itertools.pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        return sizes[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Encode inputs of shape `(n, *input_shape)` as features of shape `(n, hidden[-1])`."""
        features: Tensor = self.layers(x)
        return features
