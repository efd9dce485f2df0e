"""The input itself, flattened: what every learned representation has to beat."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor

from ..encoder import Encoder


class Raw(Encoder):
    """The flattened input; has no weights."""

    name: ClassVar[str] = "raw"
    trainable: ClassVar[bool] = False

    def build(self) -> int:
        """Create nothing."""
        return math.prod(self.input_shape)

    def forward(self, x: Tensor) -> Tensor:
        """Flatten inputs of shape `(n, *input_shape)`."""
        return x.flatten(1)
