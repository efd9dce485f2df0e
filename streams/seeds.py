"""Every random decision's own seed, derived from the run's seed and what the decision is for."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(seed: int, *purpose: int | str) -> int:
    """Derive the seed of one decision.

    Args:
        seed: The run's seed.
        *purpose: What the seed is for ("task", 17, "order"); an int and the same digits as text differ.

    Returns:
        The first 63 bits of the SHA-256 of seed and purpose: the same on every machine, 0 to 2**63 − 1.
    """
    digest = hashlib.sha256(json.dumps([seed, *purpose]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *purpose: int | str) -> torch.Generator:
    """Make torch's generator for one decision.

    Args:
        seed: The run's seed.
        *purpose: As in `derive`.

    Returns:
        A new generator on the CPU.
    """
    import torch  # here, so that recipes can be checked without loading torch

    made = torch.Generator()
    made.manual_seed(derive(seed, *purpose))
    return made
