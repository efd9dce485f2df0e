"""The four-block convolutional network of the few-shot papers (Vinyals 2016, Finn 2017, Snell 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from ...errors import RecipeError
from ..encoder import Encoder
from ..settings import positive, setting


class Conv4(Encoder):
    """Four blocks of 3x3 convolution, group norm, ReLU and 2x2 max-pooling (as long as there is something to pool).

    The papers use batch norm; evermap stores no network whose prediction depends on its batch (docs/design).
    """

    name: ClassVar[str] = "conv4"

    @dataclass(frozen=True)
    class Settings:
        """Width and normalisation."""

        filters: int = setting(64, "Filters of every block.", "channels")
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
            layers.append(nn.Conv2d(channels, filters, 3, padding=1, bias=self.settings.norm == "none"))
            if self.settings.norm == "group":
                if filters // self.settings.groups * height * width == 1:
                    valid = f"must be below filters = {filters}: a group of one value is constant"
                    raise RecipeError("encoder conv4", "groups", self.settings.groups, valid)
                layers.append(nn.GroupNorm(self.settings.groups, filters))
            layers.append(nn.ReLU())
            if min(height, width) > 1:
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
            channels = filters
        self.layers = nn.Sequential(*layers, nn.Flatten())
        return filters * height * width

    def forward(self, x: Tensor) -> Tensor:
        """Encode images of shape `(n, channels, height, width)` as features of shape `(n, feature_size)`."""
        features: Tensor = self.layers(x)
        return features
