"""Functions to be fitted: sinusoids as in the MAML paper, and sawtooth waves and straight lines as shifts of them.

Finn 2017 (arXiv 1703.03400), §5.1: amplitude in [0.1, 5.0], phase in [0, π], inputs in [−5, 5].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from .source import Sizes, Source, SourceData

FAMILIES = ("sinusoid", "sawtooth", "line")


def _setting(default: Any, help: str, unit: str = "") -> Any:
    return field(default=default, metadata={"help": help, "unit": unit})


@dataclass(frozen=True)
class Sinusoids(Source):
    """Functions of one variable in three families, each to be fitted from samples: sinusoids, sawtooth waves, lines.

    Every "class" is one function. With 100 functions a family, 0 to 99 are sinusoids a·sin(x + p), 100 to 199 sawtooth
    waves of the same period, amplitude and phase range, 200 to 299 lines s·x + b with s and b in [−1, 1].
    """

    name: ClassVar[str] = "sinusoids"
    functions: int = _setting(100, "Functions of each of the three families.", "functions")
    samples: int = _setting(200, "Samples of every function, for training and testing together.", "samples")
    noise: float = _setting(0.0, "Standard deviation of Gaussian noise on the targets.")
    seed: int = _setting(0, "Which functions: another seed gives others.")

    def __post_init__(self) -> None:
        if self.functions < 1 or self.samples < 2:
            raise ValueError("functions must be at least 1 and samples at least 2")
        if not 0 <= self.noise < float("inf"):
            raise ValueError("noise must be finite and not below 0")
        if not 0 <= self.seed < 2**63:
            raise ValueError("seed must be between 0 and 2**63 - 1")

    def load(self, root: Path | None) -> SourceData:
        """Draw the functions and their samples.

        Args:
            root: Unused: they are generated.

        Returns:
            Inputs in [−5, 5] of shape `(n, 1)` and targets of shape `(n, 1)`; kind "function".
        """
        import numpy as np
        import torch

        from .hashed import keyed, normal, uniform

        count = len(FAMILIES) * self.functions
        which = np.arange(count)
        u = uniform(keyed(self.seed, 0, which), 2)
        amplitude, phase = 0.1 + 4.9 * u[:, :1], np.pi * u[:, 1:]  # (F, 1)
        slope, offset = 2 * u[:, :1] - 1, 2 * u[:, 1:] - 1
        x = 10 * uniform(keyed(self.seed, 1, which), self.samples) - 5  # (F, S)
        turn = (x + phase) / (2 * np.pi)
        shapes = (
            amplitude * np.sin(x + phase),
            amplitude * 2 * (turn - np.floor(turn + 0.5)),  # 0 and rising where the sinusoid is
            slope * x + offset,
        )
        y = np.concatenate([shape[k * self.functions :][: self.functions] for k, shape in enumerate(shapes)])
        y = y + self.noise * normal(keyed(self.seed, 2, which), self.samples)
        return SourceData(
            torch.from_numpy(x.reshape(-1, 1).astype(np.float32)),
            torch.arange(count).repeat_interleave(self.samples),
            tuple(f"{family}/{k}" for family in FAMILIES for k in range(self.functions)),
            "function",
            families=(self.functions,) * len(FAMILIES),
            targets=torch.from_numpy(y.reshape(-1, 1).astype(np.float32)),
        )

    def sizes(self, root: Path | None) -> Sizes:
        """Say how much there is."""
        families = (self.functions,) * len(FAMILIES)
        samples = (self.samples,) * (len(FAMILIES) * self.functions)
        return Sizes(samples, (1,), kind="function", families=families, outputs=1)
