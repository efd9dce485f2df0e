"""The four-block convolutional network of the few-shot papers (Vinyals 2016, Finn 2017, Snell 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from ...errors import RecipeError
from ..encoder import Encoder
from ..settings import positive, setting


class Conv4(Encoder):
    """Four blocks of 3x3 convolution, group norm and ReLU, each halving the image while there is something to halve.

    Halving is 2x2 max-pooling (Vinyals 2016, Snell 2017) or a stride of 2 (Finn 2017), which takes about a quarter of
    the FLOPs. The papers use batch norm; evermap stores no network whose prediction depends on its batch (docs/design).
    """

    name: ClassVar[str] = "conv4"

    @dataclass(frozen=True)
    class Settings:
        """Width, how blocks halve the image, and normalisation."""

        filters: int = setting(64, "Filters of every block.", "channels")
        down: Literal["pool", "stride"] = setting(
            "pool", "How a block halves the image: max-pooling, or a stride of 2."
        )
        norm: Literal["group", "none"] = setting("group", "Normalisation after every convolution.")
        groups: int = setting(8, "Groups of the group norm; must divide `filters`.", "groups")

        def __post_init__(self) -> None:
            positive("encoder conv4", filters=self.filters, groups=self.groups)
            if self.norm == "group" and self.filters % self.groups:
                raise RecipeError("encoder conv4", "groups", self.groups, f"must divide filters = {self.filters}")

    def build(self) -> int:
        """Create the blocks."""
        if len(self.input_shape) != 3:
            raise RecipeError(
                "encoder conv4", "input_shape", self.input_shape, "needs images (channels, height, width)"
            )
        channels, height, width = self.input_shape
        filters, layers = self.settings.filters, list[nn.Module]()
        for _ in range(4):
            halve = min(height, width) > 1
            stride = 2 if halve and self.settings.down == "stride" else 1
            layers.append(nn.Conv2d(channels, filters, 3, stride, padding=1, bias=self.settings.norm == "none"))
            height, width = math.ceil(height / stride), math.ceil(width / stride)
            if self.settings.norm == "group":
                if filters // self.settings.groups * height * width == 1:
                    valid = f"must be below filters = {filters}: a group of one value is constant"
                    raise RecipeError("encoder conv4", "groups", self.settings.groups, valid)
                layers.append(nn.GroupNorm(self.settings.groups, filters))
            layers.append(nn.ReLU())
            if halve and stride == 1:
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
            channels = filters
        self.layers = nn.Sequential(*layers, nn.Flatten())
        return filters * height * width

    def forward(self, x: Tensor) -> Tensor:
        """Encode images of shape `(n, channels, height, width)` as features of shape `(n, feature_size)`."""
        features: Tensor = self.layers(x)
        return features
