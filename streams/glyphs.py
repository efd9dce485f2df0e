"""Characters drawn by procedure: as many alphabets as are asked for, every drawing different, nothing to download.

Every alphabet has a few strokes of its own (cubic Bézier curves in a style of its own), and each of its characters puts
two to four of them together, so that characters of one alphabet are related. A drawing moves the control points a
little, turns, shears, scales and shifts the whole, and has a pen of its own. What comes out looks like Omniglot
(Lake 2015) brought to 28×28, with bright ink on black.

Everything is a function of (seed, alphabet, character, drawing): drawings are made when they are asked for, whole
batches at once, and none is kept.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .source import Sizes, Source, SourceData

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 28
STROKES = 6  # that an alphabet has; a character takes two to MOST of them
MOST = 4
POINTS = 32  # of a stroke
MARGIN = 3.0  # pixels around a character before it is jittered


def _setting(default: Any, help: str, unit: str = "") -> Any:
    return field(default=default, metadata={"help": help, "unit": unit})


@dataclass(frozen=True)
class Glyphs(Source):
    """Procedurally drawn characters in alphabets, 28×28 grey: an endless stand-in for Omniglot, generated.

    Classes are numbered alphabet by alphabet: alphabet 3 of 20 characters has the classes 60 to 79.
    """

    name: ClassVar[str] = "glyphs"
    alphabets: int = _setting(50, "Alphabets; characters of one have strokes in common.", "alphabets")
    characters: int = _setting(20, "Characters of every alphabet: so many classes.", "classes")
    samples: int = _setting(20, "Drawings of every character, for training and testing together.", "samples")
    jitter: float = _setting(1.0, "How much drawings of a character differ; 0: not at all, 1: as by many hands.")
    seed: int = _setting(0, "Which alphabets: another seed gives others, and none of the same.")

    def __post_init__(self) -> None:
        for each in ("alphabets", "characters", "samples"):
            if getattr(self, each) < 1:
                raise ValueError(f"{each} must be at least 1")
        if not 0 <= self.jitter <= 3:
            raise ValueError("jitter must be between 0 and 3")
        if not 0 <= self.seed < 2**63:
            raise ValueError("seed must be between 0 and 2**63 - 1")

    def load(self, root: Path | None) -> SourceData:
        """Describe the drawings; none is made yet.

        Args:
            root: Unused: they are generated.

        Returns:
            Drawings of shape `(1, 28, 28)`, ink 1 on 0.
        """
        return GlyphData(self)

    def sizes(self, root: Path | None) -> Sizes:
        """Say how much there is."""
        classes, families = self.alphabets * self.characters, (self.characters,) * self.alphabets
        return Sizes((self.samples,) * classes, (1, SIDE, SIDE), families=families)


class GlyphData(SourceData):
    """Drawings that are made when they are asked for, and not kept."""

    def __init__(self, glyphs: Glyphs) -> None:
        """Describe them.

        Args:
            glyphs: Which, and how many.
        """
        import torch

        classes = glyphs.alphabets * glyphs.characters
        names = tuple(f"alphabet {a}/character {c}" for a in range(glyphs.alphabets) for c in range(glyphs.characters))
        fixed = {
            "glyphs": glyphs,
            "y": torch.arange(classes).repeat_interleave(glyphs.samples),
            "classes": names,
            "kind": "image",
            "parts": None,
            "families": (glyphs.characters,) * glyphs.alphabets,
            "targets": None,
        }
        for attribute, value in fixed.items():
            object.__setattr__(self, attribute, value)

    glyphs: Glyphs

    @property
    def x(self) -> Tensor:
        """Every drawing, made anew."""
        import torch

        return self.take(torch.arange(len(self.y)))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one drawing."""
        return (1, SIDE, SIDE)

    def take(self, index: Tensor) -> Tensor:
        """Make some of the drawings.

        Args:
            index: Positions, int64, shape `(m,)`.

        Returns:
            Drawings, float32 in [0, 1], shape `(m, 1, 28, 28)`: the same bits whatever is drawn beside them.
        """
        import torch

        if not len(index):
            return torch.zeros(0, 1, SIDE, SIDE)
        return torch.cat([draw(self.glyphs, part) for part in index.split(512)])

    @cached_property
    def _sha256(self) -> str:
        import torch

        first = self.take(torch.arange(min(len(self.y), 64)))  # what is drawn today, beside what it is drawn from
        shown = (first * 255).round().to(torch.uint8)
        return hashlib.sha256(repr(self.glyphs).encode() + shown.numpy().tobytes()).hexdigest()

    def sha256(self) -> str:
        """Hash the settings and the first drawings: they stand for all."""
        return self._sha256


def draw(glyphs: Glyphs, index: Tensor) -> Tensor:
    """Draw characters.

    Args:
        glyphs: The alphabets.
        index: Which drawings: class × samples + number of the drawing, int64, shape `(n,)`.

    Returns:
        Shape `(n, 1, 28, 28)`, float32 in [0, 1].
    """
    import numpy as np
    import torch

    from .hashed import keyed, normal, uniform

    classes, drawing = np.divmod(index.numpy(), glyphs.samples)
    distinct, which = np.unique(classes, return_inverse=True)
    controls, used = (each[which] for each in characters(glyphs, distinct))  # (n, MOST, 4, 2), (n, MOST)
    n, jitter = len(index), np.float32(glyphs.jitter)
    keys = keyed(glyphs.seed, 2, classes, drawing)
    controls = controls + jitter * normal(keys, MOST * 8).reshape(n, MOST, 4, 2)
    hand = jitter * normal(keyed(glyphs.seed, 3, classes, drawing), 7)
    turned, shear, pen = np.clip(hand[:, :3] * np.array([0.22, 0.2, 0.15], dtype=np.float32), -0.6, 0.6).T
    stretch = np.exp(np.clip(0.14 * hand[:, 3:5], -0.4, 0.4))
    shift = np.clip(1.6 * hand[:, 5:], -3, 3)
    cos, sin = np.cos(turned), np.sin(turned)
    linear = np.stack([np.stack([cos, -sin + shear], -1), np.stack([sin, cos], -1)], -2) * stretch[:, None, :]
    middle = np.float32((SIDE - 1) / 2)
    moved = (linear[:, None, None] * (controls - middle)[..., None, :]).sum(axis=-1)
    controls = moved + middle + shift[:, None, None, :]
    width = 0.75 * np.exp(pen) * (0.9 + 0.2 * uniform(keyed(glyphs.seed, 4, classes), 1)[:, 0])
    return ink(*map(torch.from_numpy, (controls.astype(np.float32), used, width.astype(np.float32)))).unsqueeze(1)


def ink(controls: Tensor, used: Tensor, width: Tensor) -> Tensor:
    """Draw Bézier strokes with a round, soft pen.

    Points along a stroke are Gaussian spots, weighted by the way from one to the next, so that their sum is an even
    line; as a spot is a product of one factor per axis, a picture is one small matrix product.

    Args:
        controls: Control points (x, y) in pixels, shape `(n, strokes, 4, 2)`.
        used: Which strokes are drawn, bool, shape `(n, strokes)`.
        width: Standard deviation of the pen in pixels, shape `(n,)`.

    Returns:
        Shape `(n, 28, 28)`, in [0, 1].
    """
    import torch

    t = (torch.arange(POINTS) + 0.5) / POINTS
    basis = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
    slope = -3 * (1 - t) ** 2, 3 * (1 - t) * (1 - 3 * t), 3 * t * (2 - 3 * t), 3 * t**2

    def along(weights: tuple[Tensor, ...]) -> Tensor:  # term by term: a product's last bits depend on its batch
        a, b, c, d = (w[:, None] * controls[:, :, k, None] for k, w in enumerate(weights))
        return a + b + c + d

    points, speed = along(basis), along(slope).norm(dim=3)  # (n, S, P, 2); pixels per unit of t
    weight = (speed / POINTS * used[:, :, None]).flatten(1)  # (n, S·P)
    x, y = points.flatten(1, 2).unbind(dim=2)
    pixels = torch.arange(SIDE, dtype=torch.float32)
    precision = (0.5 / width**2)[:, None, None]
    across = torch.exp(-precision * (x[:, None, :] - pixels[:, None]) ** 2)  # (n, 28, S·P)
    down = torch.exp(-precision * (y[:, None, :] - pixels[:, None]) ** 2)
    picture = torch.matmul(down * weight[:, None, :], across.transpose(1, 2))
    line = picture / (width * (2 * torch.pi) ** 0.5)[:, None, None]  # 1 in the middle of a straight line
    return (1.6 * line - 0.25).clamp(0, 1)


def characters(glyphs: Glyphs, classes: Any) -> tuple[Any, Any]:
    """Design characters.

    Args:
        glyphs: The alphabets.
        classes: Their classes, numpy int64, shape `(n,)`.

    Returns:
        Control points in pixels, float32, shape `(n, MOST, 4, 2)`; which strokes there are, bool, shape `(n, MOST)`.
    """
    import numpy as np

    from .hashed import keyed, uniform

    alphabet, n = classes // glyphs.characters, len(classes)
    own = uniform(keyed(glyphs.seed, 0, classes), 2 + MOST * 6)
    count = 2 + np.minimum((own[:, 0] * (MOST - 1)).astype(np.int64), MOST - 2)
    used = np.arange(MOST) < count[:, None]
    traits = own[:, 2:].reshape(n, MOST, 6)
    order = np.argsort(uniform(keyed(glyphs.seed, 5, classes), STROKES), axis=1)[:, :MOST]  # no stroke twice
    style = uniform(keyed(glyphs.seed, 1, alphabet), 2)  # how bent the strokes are, and whether on a grid
    stroke = uniform(keyed(glyphs.seed, 1, alphabet[:, None], 1 + order), 8).reshape(n, MOST, 4, 2)
    ends, bends = stroke[:, :, [0, 3]], stroke[:, :, 1:3] - 0.5
    ends = np.where(style[:, None, None, 1:] < 0.5, np.round(ends * 3) / 3, ends)
    start, end = ends[:, :, :1], ends[:, :, 1:]
    short = np.linalg.norm(end - start, axis=3, keepdims=True) < 0.5
    end = np.where(short, 1 - start + 0.3 * (end - start), end)  # no stroke is a dot
    along = start + (end - start) * np.array([1 / 3, 2 / 3], dtype=np.float32)[:, None]
    controls = np.concatenate([start, along + (0.4 + 1.6 * style[:, None, None, :1]) * bends, end], axis=2)
    mirrored = np.where(traits[..., :2] < 0.2, -1.0, 1.0)
    controls = (controls - 0.5) * (mirrored * (0.6 + 0.4 * traits[..., 2:3]))[:, :, None, :]
    controls = controls + ((traits[..., 3:5] - 0.5) * 0.8)[:, :, None, :]
    for s in range(1, MOST):  # most strokes begin where the one before ends, or crosses its middle
        before = controls[:, s - 1]
        middle = 0.125 * (before[:, 0] + 3 * before[:, 1] + 3 * before[:, 2] + before[:, 3])
        joint = np.where(traits[:, s, 5:] < 0.4, before[:, 3], middle)
        joined = controls[:, s] + (joint - controls[:, s, 0])[:, None, :]
        controls[:, s] = np.where(traits[:, s, 5:, None] < 0.75, joined, controls[:, s])
    drawn = np.where(used[:, :, None, None], controls, np.nan).reshape(n, -1, 2)
    low, high = np.nanmin(drawn, axis=1), np.nanmax(drawn, axis=1)
    extent = np.maximum(high - low, 1e-3)
    scale = (SIDE - 2 * MARGIN) / np.maximum(extent, 0.6 * extent.max(axis=1, keepdims=True))
    centred = controls - ((low + high) / 2)[:, None, None, :]
    return (centred * scale[:, None, None, :] + (SIDE - 1) / 2).astype(np.float32), used
