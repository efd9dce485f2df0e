"""What is done to the inputs and labels of a task: pure functions on whole batches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .seeds import generator
from .spec import Transforms


@dataclass(frozen=True)
class Drawn:
    """What transforms need that is drawn.

    Attributes:
        permutation: From `pixel_permutation`; None where pixels stay in place.
        colours: From `colours`; None where images keep theirs.
        rng: Draws the noise.
    """

    permutation: Tensor | None
    colours: Tensor | None
    rng: torch.Generator


def apply(x: Tensor, what: Transforms, drawn: Drawn) -> Tensor:
    """Apply a task's transforms, in the order of the fields of `Transforms`.

    Args:
        x: Inputs in [0, 1], shape `(n, *input_shape)`.
        what: Which transforms.
        drawn: What was drawn for them.

    Returns:
        New inputs of the same shape, in [0, 1].
    """
    if what.rotate % 360:
        x = rotate(x, what.rotate)
    if what.blur:
        x = blur(x, what.blur)
    if what.invert:
        x = invert(x)
    if drawn.colours is not None:
        x = colour(x, drawn.colours)
    if drawn.permutation is not None:
        x = permute(x, drawn.permutation)
    if what.noise:
        x = add_noise(x, what.noise, drawn.rng)
    return x


def rotate(x: Tensor, degrees: float) -> Tensor:
    """Rotate images counter-clockwise about their centre; what comes from outside is 0.

    Args:
        x: Images, shape `(n, c, h, w)`.
        degrees: The angle; multiples of 90 are exact on square images, others are interpolated bilinearly.

    Returns:
        Images of the same shape.
    """
    _, _, h, w = x.shape
    if h == w and degrees % 90 == 0:
        return torch.rot90(x, int(degrees // 90) % 4, dims=(2, 3)).contiguous()
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    # Where each output pixel comes from, in coordinates that run from −1 to 1 along either side, y downwards.
    theta = torch.tensor([[cos, -sin * h / w, 0.0], [sin * w / h, cos, 0.0]], dtype=x.dtype)
    grid = F.affine_grid(theta.expand(len(x), 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False).clamp(0, 1)


def blur(x: Tensor, sigma: float) -> Tensor:
    """Blur images with a Gaussian, cut off at three standard deviations; edge pixels are repeated outwards.

    Args:
        x: Images, shape `(n, c, h, w)`.
        sigma: Standard deviation in pixels, above 0.

    Returns:
        Images of the same shape.
    """
    radius = math.ceil(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=x.dtype) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    n, c, h, w = x.shape
    flat = F.pad(x.reshape(n * c, 1, h, w), (radius, radius, radius, radius), mode="replicate")
    return F.conv2d(F.conv2d(flat, kernel), kernel.transpose(2, 3)).reshape(n, c, h, w).clamp(0, 1)


def invert(x: Tensor) -> Tensor:
    """Exchange light and dark.

    Args:
        x: Inputs in [0, 1].

    Returns:
        `1 − x`.
    """
    return 1 - x


def colour(x: Tensor, pair: Tensor) -> Tensor:
    """Show the light and dark of images in two colours.

    Args:
        x: Images, shape `(n, c, h, w)`; of several channels, their mean counts.
        pair: From `colours`: what stands for 0 and for 1, shape `(2, 3)`.

    Returns:
        Shape `(n, 3, h, w)`, in [0, 1].
    """
    light = x.mean(dim=1, keepdim=True)
    dark_end, light_end = pair[:, None, :, None, None].to(x.dtype)
    return dark_end + light * (light_end - dark_end)


def colours(seed: int, number: int) -> Tensor | None:
    """Draw the stream's pair of colours of a given number.

    Args:
        seed: The stream's seed.
        number: Which; 0 leaves images as they are.

    Returns:
        For `colour`, shape `(2, 3)`, more than 0.6 apart in some channel; None for number 0.
    """
    if number == 0:
        return None
    rng = generator(seed, "colours", number)
    drawn = torch.rand(64, 2, 3, generator=rng)
    far = (drawn[:, 0] - drawn[:, 1]).abs().max(dim=1).values > 0.6  # ink and paper can be told apart
    return drawn[int(far.float().argmax())]


def permute(x: Tensor, permutation: Tensor) -> Tensor:
    """Put pixels in another order, the same in every channel.

    Args:
        x: Images of shape `(n, c, h, w)`, or vectors of shape `(n, d)`.
        permutation: Of `h * w` (of `d`) positions: place `i` gets what stood at `permutation[i]`.

    Returns:
        Inputs of the same shape.
    """
    flat = x.flatten(2) if x.dim() > 2 else x
    return flat[..., permutation].reshape(x.shape)


def pixel_permutation(seed: int, number: int, input_shape: tuple[int, ...]) -> Tensor | None:
    """Draw the stream's permutation of a given number.

    Args:
        seed: The stream's seed.
        number: Which; 0 leaves everything in place.
        input_shape: Shape of one input: `(c, h, w)` or `(d,)`.

    Returns:
        For `permute`, int64, shape `(h * w,)` or `(d,)`; None for number 0.
    """
    if number == 0:
        return None
    places = math.prod(input_shape[1:]) if len(input_shape) > 1 else input_shape[0]
    return torch.randperm(places, generator=generator(seed, "permutation", number))


def add_noise(x: Tensor, sd: float, rng: torch.Generator) -> Tensor:
    """Add Gaussian noise and clip to [0, 1].

    Args:
        x: Inputs in [0, 1].
        sd: Standard deviation.
        rng: Draws the noise.

    Returns:
        Inputs of the same shape.
    """
    return (x + sd * torch.randn(x.shape, generator=rng, dtype=x.dtype)).clamp(0, 1)


def noisy_labels(y: Tensor, share: float, outputs: int, rng: torch.Generator) -> Tensor:
    """Replace a share of labels by wrong ones, every wrong label equally likely (symmetric noise).

    Args:
        y: Labels from 0 to `outputs − 1`, int64, shape `(n,)`.
        share: Share to replace; `round(share * n)` labels are replaced.
        outputs: Number of labels; with one there is no wrong one, and nothing is replaced.
        rng: Draws which, and by what.

    Returns:
        Labels of the same shape.
    """
    count = round(share * len(y)) if outputs > 1 else 0
    hit = torch.randperm(len(y), generator=rng)[:count]
    away = torch.randint(1, max(outputs, 2), (count,), generator=rng)
    wrong = y.clone()
    wrong[hit] = (y[hit] + away) % outputs
    return wrong
