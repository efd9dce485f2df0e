"""The patch stem: fixed normalised patch filters, ReLU, average pooling (Coates, Ng & Lee 2011)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import Proxy

from ...errors import RecipeError
from ..encoder import Encoder
from ..settings import positive, setting

# Images whose maps are made at once: so few that they stay in a processor's cache, which is three times as fast.
CHUNK = 64


class Patches(Encoder):
    """Correlation of every normalised patch with fixed filters, both signs rectified, averaged over a coarse grid.

    The filters are patches of the first images that are met (`fit`), or random ones where none were given: white noise,
    or (`smooth`) draws of a Gaussian field whose correlation falls off as exp(−distance / smooth), as that of natural
    images does. They are never trained: one set serves all tasks with this shape of input.
    """

    name: ClassVar[str] = "patches"
    trainable: ClassVar[bool] = False

    filters: Tensor

    @dataclass(frozen=True)
    class Settings:
        """Size and number of the filters."""

        filters: int = setting(64, "Number of filters; each gives two rectified maps.", "filters")
        size: int = setting(0, "Side of a patch; 0 takes 3 for images under 16 pixels and 6 above.", "pixels")
        grid: int = setting(4, "Side of the grid that the maps are averaged to.", "cells")
        threshold: float = setting(0.25, "Correlation below which a patch does not count.", "correlation")
        smooth: float = setting(0.0, "Distance over which random filters vary; 0 for white noise.", "pixels")

        def __post_init__(self) -> None:
            positive("encoder patches", filters=self.filters, grid=self.grid)

    def build(self) -> int:
        """Draw random filters of zero mean and unit norm."""
        if len(self.input_shape) != 3:
            raise RecipeError(
                "encoder patches", "input_shape", self.input_shape, "needs images (channels, height, width)"
            )
        channels, height, width = self.input_shape
        self.size = self.settings.size or (3 if min(height, width) < 16 else 6)
        if self.size > min(height, width):
            raise RecipeError("encoder patches", "size", self.size, f"must fit into {height} x {width} pixels")
        self.grid = (
            min(self.settings.grid, height - self.size + 1),
            min(self.settings.grid, width - self.size + 1),
        )
        noise = torch.randn(self.settings.filters, channels, self.size * self.size)
        if self.settings.smooth > 0:
            noise = noise @ _field(self.size, self.settings.smooth, noise.device)
        self.register_buffer("filters", _normalise(noise.flatten(1)))
        return int(2 * self.settings.filters * self.grid[0] * self.grid[1])

    def fit(self, x: Tensor, rng: torch.Generator) -> None:
        """Take the filters from patches of given images.

        Args:
            x: Images, shape `(n, channels, height, width)`, n >= 1.
            rng: Draws the patches.
        """
        wanted = self.settings.filters
        some = x[torch.randint(len(x), (min(len(x), 256),), generator=rng)]
        patches = F.unfold(some, self.size).transpose(1, 2).reshape(-1, self.filters.shape[1])
        patches = patches[patches.std(dim=1) > 1e-3]  # an empty corner is no filter
        if len(patches) >= wanted:
            self.filters = _normalise(patches[torch.randperm(len(patches), generator=rng)[:wanted]])

    def forward(self, x: Tensor) -> Tensor:
        """Encode images of shape `(n, channels, height, width)` as features of shape `(n, feature_size)`."""
        if isinstance(x, Proxy):  # it is being written out as plain calls, which take any number of images
            return self._maps(x)
        return torch.cat([self._maps(some) for some in x.split(CHUNK)])

    def _maps(self, x: Tensor) -> Tensor:
        channels = self.input_shape[0]
        kernel = self.filters.view(-1, channels, self.size, self.size)
        area = channels * self.size * self.size
        mean = F.avg_pool2d(x, self.size, stride=1).mean(dim=1, keepdim=True)
        square = F.avg_pool2d(x * x, self.size, stride=1).mean(dim=1, keepdim=True)
        norm = ((square - mean * mean).clamp_min(0) * area + 1e-2).sqrt()  # of the centred patch
        correlation = F.conv2d(x, kernel) / norm  # filters have zero mean: the patch's own mean drops out
        threshold = self.settings.threshold
        # Averaged apart: putting the maps of both signs together first would take longer than the correlation.
        alike = F.adaptive_avg_pool2d(F.relu(correlation - threshold, inplace=True), self.grid)
        opposite = F.adaptive_avg_pool2d(F.relu(-correlation - threshold, inplace=True), self.grid)
        return torch.cat([alike, opposite], dim=1).flatten(1)


def _field(size: int, scale: float, device: torch.device) -> Tensor:
    """What turns white noise on a square, shape `(n, size²)`, into a field with exponential correlation."""
    at = torch.cartesian_prod(torch.arange(size), torch.arange(size)).to(device, torch.float32)
    return torch.linalg.cholesky(torch.exp(-torch.cdist(at, at) / scale)).T


def _normalise(patches: Tensor) -> Tensor:
    """Bring patches, shape `(n, pixels)`, to zero mean and unit norm."""
    centred = patches - patches.mean(dim=1, keepdim=True)
    return centred / centred.norm(dim=1, keepdim=True).clamp_min(1e-8)
