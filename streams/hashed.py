"""Random numbers by position: a pure function of keys, so that any of them can be drawn without those before it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]

# Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators": the increment and finaliser of SplitMix64.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mix(keys: Keys) -> Keys:
    """Scatter keys: SplitMix64's finaliser, one to one on 64 bits.

    Args:
        keys: Any shape.

    Returns:
        Scattered keys of the same shape.
    """
    z = keys + _STEP
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


def keyed(seed: int, *parts: int | NDArray[np.int64]) -> Keys:
    """Make one key out of a seed and what it is for.

    Args:
        seed: 0 to 2**64 − 1.
        *parts: Whole numbers of at least 0, or arrays of them that broadcast together.

    Returns:
        Keys of the common shape, at least one-dimensional.
    """
    key = mix(np.array([seed], dtype=np.uint64))
    for part in parts:
        key = mix(mix(key) ^ np.atleast_1d(np.asarray(part)).astype(np.uint64))  # arrays wrap around, scalars warn
    return key


def uniform(keys: Keys, count: int) -> NDArray[np.float32]:
    """Draw numbers that are uniform on [0, 1).

    Args:
        keys: From `keyed`, shape `(*shape,)`.
        count: Numbers for every key.

    Returns:
        Shape `(*shape, count)`, with 24 random bits each.
    """
    drawn = mix(keys[..., None] + _STEP * np.arange(count, dtype=np.uint64))
    return ((drawn >> np.uint64(40)).astype(np.float32)) / np.float32(2**24)


def normal(keys: Keys, count: int) -> NDArray[np.float32]:
    """Draw standard normal numbers (Box & Muller 1958).

    Args:
        keys: As in `uniform`.
        count: Numbers for every key.

    Returns:
        Shape `(*shape, count)`.
    """
    u = uniform(keys, 2 * count)
    radius = np.sqrt(-2 * np.log1p(-u[..., :count]))
    return (radius * np.cos(2 * np.pi * u[..., count:])).astype(np.float32)
