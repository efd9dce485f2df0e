"""Random ReLU features of the flattened input (Rahimi & Recht 2008; as the extreme learning machine of Huang 2006)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..encoder import Encoder
from ..settings import positive, setting


class RandomFeatures(Encoder):
    """One fixed random layer with ReLU; never trained."""

    name: ClassVar[str] = "random"
    trainable: ClassVar[bool] = False

    weight: Tensor
    bias: Tensor

    @dataclass(frozen=True)
    class Settings:
        """Size of the layer."""

        features: int = setting(512, "Number of random features.", "units")

        def __post_init__(self) -> None:
            positive("encoder random", features=self.features)

    def build(self) -> int:
        """Draw the layer."""
        inputs, features = math.prod(self.input_shape), self.settings.features
        self.register_buffer("weight", torch.randn(features, inputs) / math.sqrt(inputs))
        self.register_buffer("bias", torch.randn(features) * 0.1)
        return int(features)

    def forward(self, x: Tensor) -> Tensor:
        """Encode inputs of shape `(n, *input_shape)` as features of shape `(n, features)`."""
        return torch.relu(x.flatten(1) @ self.weight.T + self.bias)
