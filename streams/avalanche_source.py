"""Benchmarks that Avalanche builds, as a source: every experience is a family of classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pydantic import JsonValue

from .source import Source, SourceData, source_setting


@dataclass(frozen=True)
class AvalancheSource(Source):
    """A benchmark of Avalanche by its name and arguments; the layout "families" gives a task per experience.

    Its training and test samples stay what they are there. From Python, `from_benchmark` of
    `evermap.streams.benchmark` takes a benchmark object.
    """

    name: ClassVar[str] = "avalanche"
    benchmark: str = source_setting("SplitMNIST", "Name of the function in avalanche.benchmarks.")
    arguments: dict[str, JsonValue] = field(
        default_factory=lambda: {"n_experiences": 5},
        metadata={"help": "Its arguments; transforms that are not among them are switched off.", "unit": ""},
    )

    def load(self, root: Path | None) -> SourceData:
        """Let Avalanche build the benchmark and take its samples.

        Args:
            root: Passed on as `dataset_root`, where the benchmark has it.

        Returns:
            The samples, with a family for every experience.
        """
        from .benchmark import build_benchmark, from_benchmark  # imports Avalanche

        return from_benchmark(build_benchmark(self.benchmark, self.arguments, root))

    def download(self, root: Path) -> None:
        """Let Avalanche fetch what it does not find.

        Args:
            root: Passed on as in `load`.
        """
        from .benchmark import build_benchmark  # imports Avalanche

        build_benchmark(self.benchmark, self.arguments, root, download=True)
