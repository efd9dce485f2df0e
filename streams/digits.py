"""Real handwritten digits, 8×8 grey, that come with scikit-learn: 1,797 samples of ten classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from .source import Sizes, Source, SourceData

_SAMPLES = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)


@dataclass(frozen=True)
class Digits(Source):
    """The test part of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak 1998)."""

    name: ClassVar[str] = "digits"

    def load(self, root: Path | None) -> SourceData:
        """Load the digits; `x` has shape `(1797, 1, 8, 8)`.

        Args:
            root: Unused: they come with scikit-learn.

        Returns:
            The samples, grey levels 0–16 divided by 16.
        """
        import torch  # here, so that sizes are known without loading torch and scikit-learn
        from sklearn.datasets import load_digits

        bunch = load_digits()
        x = torch.tensor(bunch.images, dtype=torch.float32).div(16).unsqueeze(1)
        y = torch.tensor(bunch.target, dtype=torch.int64)
        return SourceData(x, y, tuple(str(digit) for digit in range(10)))

    def sizes(self, root: Path | None) -> Sizes:
        """Say how much there is."""
        return Sizes(_SAMPLES, (1, 8, 8))
