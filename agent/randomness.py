"""Keeping the global random state of one arm apart from that of everybody else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


class OwnRandomness:
    """A private copy of the global random states (torch, NumPy, `random`) that can be swapped in."""

    def __init__(self, seed: int) -> None:
        """Start from a seed.

        Args:
            seed: Decides all three states; the global ones are left as they were.
        """
        outer = _capture()
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - the legacy state is the one that a strategy may touch by mistake
        random.seed(seed)
        self._state = _capture()
        _put(outer)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Make this state the global one for the length of a block."""
        outer = _capture()
        _put(self._state)
        try:
            yield
        finally:
            self._state = _capture()
            _put(outer)


def _capture() -> tuple[Any, ...]:
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    return torch.get_rng_state(), np.random.get_state(), random.getstate(), devices  # noqa: NPY002 - as above


def _put(state: tuple[Any, ...]) -> None:
    torch.set_rng_state(state[0])
    np.random.set_state(state[1])  # noqa: NPY002 - as above
    random.setstate(state[2])
    if state[3]:
        torch.cuda.set_rng_state_all(state[3])
