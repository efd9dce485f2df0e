"""A slim residual network of eighteen layers (He 2016, arXiv 1512.03385), as continual learning uses it.

Narrow and for small images: a 3x3 first convolution without pooling, and `width` filters where the paper has 64
(Lopez-Paz & Ranzato 2017, arXiv 1706.08840, take 20).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ...errors import RecipeError
from ..encoder import Encoder
from ..settings import positive, setting


class ResNet18(Encoder):
    """A 3x3 convolution, four stages of two residual blocks each, and the mean over what is left of the image.

    Every stage but the first halves the image and doubles the filters. Group norm stands in the place of batch norm:
    evermap stores no network whose prediction depends on its batch (docs/design).
    """

    name: ClassVar[str] = "resnet18"

    @dataclass(frozen=True)
    class Settings:
        """Width and normalisation."""

        width: int = setting(20, "Filters of the first stage; the last one has eight times as many.", "channels")
        groups: int = setting(4, "Groups of every group norm; must divide `width`.", "groups")

        def __post_init__(self) -> None:
            positive("encoder resnet18", width=self.width, groups=self.groups)
            if self.width % self.groups:
                raise RecipeError("encoder resnet18", "groups", self.groups, f"must divide width = {self.width}")

    def build(self) -> int:
        """Create the stages."""
        if len(self.input_shape) != 3:
            raise RecipeError(
                "encoder resnet18", "input_shape", self.input_shape, "needs images (channels, height, width)"
            )
        channels, height, width = self.input_shape
        filters, groups = self.settings.width, self.settings.groups
        if filters == groups and height * width == 1:
            valid = f"must be below width = {filters}: a group of one value is constant"
            raise RecipeError("encoder resnet18", "groups", groups, valid)
        layers: list[nn.Module] = [_convolution(channels, filters), nn.GroupNorm(groups, filters), nn.ReLU()]
        before = filters
        for stage in range(4):
            after = filters * 2**stage
            layers += [_Block(before, after, 2 if stage else 1, groups), _Block(after, after, 1, groups)]
            before = after
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return filters * 8

    def forward(self, x: Tensor) -> Tensor:
        """Encode images of shape `(n, channels, height, width)` as features of shape `(n, 8 * width)`."""
        features: Tensor = self.layers(x)
        return features


class _Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut: the identity, or a 1x1 convolution where shapes differ."""

    def __init__(self, channels: int, filters: int, stride: int, groups: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            _convolution(channels, filters, 3, stride),
            nn.GroupNorm(groups, filters),
            nn.ReLU(),
            _convolution(filters, filters),
            nn.GroupNorm(groups, filters),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != filters:
            self.shortcut = nn.Sequential(_convolution(channels, filters, 1, stride), nn.GroupNorm(groups, filters))

    def forward(self, x: Tensor) -> Tensor:
        return (self.path(x) + self.shortcut(x)).relu()


def _convolution(channels: int, filters: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias, its weights drawn for what ReLU lets through (He 2015, arXiv 1502.01852)."""
    layer = nn.Conv2d(channels, filters, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer
