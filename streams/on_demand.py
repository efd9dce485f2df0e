"""Inputs that are made when they are first asked for, so that a stream pays only for the samples it uses."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class OnDemand:
    """Inputs that are made of what was read when they are first asked for, and kept from then on.

    Fifty characters of Omniglot can be learned without decoding the drawings of 1,623. An input is the same whatever
    else is asked for, and in whichever order.

    Attributes:
        shape: Shape of all inputs together, `(n, *input_shape)`.
        sha256: SHA-256 of everything they are made of, asked for or not, in hexadecimal.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: torch.dtype, make: Callable[[list[int]], Tensor], sha256: str
    ) -> None:
        """Take up how inputs are made; nothing is made yet.

        Args:
            shape: Shape of all inputs together.
            dtype: What they are kept as.
            make: From the positions of some inputs to these, shape `(m, *input_shape)`; each a function of its own
                position alone.
            sha256: SHA-256 of everything they are made of, in hexadecimal.
        """
        self.shape, self.sha256 = shape, sha256
        self._make = make
        self._kept = torch.empty(shape, dtype=dtype)  # takes up memory where it is written to, and only there
        self._made = torch.zeros(shape[0], dtype=torch.bool)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Tensor) -> Tensor:
        """Get some of the inputs.

        Args:
            index: Positions, int64, shape `(m,)`.

        Returns:
            Shape `(m, *input_shape)`, copied.
        """
        missing = index[~self._made[index]].unique()
        if len(missing):
            self._kept[missing] = self._make(missing.tolist())
            self._made[missing] = True
        return self._kept[index]
