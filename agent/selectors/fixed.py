"""Always the same strategy: what every choice has to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from ...streams.task import Task
from ..events import Profiled
from ..selector import Choice, Option, Selector
from ..workbench import Workbench


class Fixed(Selector):
    """`fixed:NAME` learns every task with strategy NAME, from the source that fits it best.

    Where the strategy does not apply, `scratch` stands in, and the record says so.
    """

    name: ClassVar[str] = "fixed"

    def __init__(self, argument: str = "") -> None:
        """Keep the strategy's name.

        Args:
            argument: The strategy.
        """
        super().__init__()
        self.strategy = argument

    def needs_profile(self, strategies: Mapping[str, Any]) -> bool:
        """Probe only for a strategy that looks at the store."""
        return bool(strategies[self.strategy].uses_knowledge)

    def together(self, strategies: Sequence[str], rng: torch.Generator) -> str | None:
        """Learn jointly only if that is the strategy."""
        return self.strategy if self.strategy in strategies else None

    def consolidates(self, strategies: Sequence[str]) -> Sequence[str]:
        """Consolidate only for the strategy."""
        return [name for name in strategies if name == self.strategy]

    def select(
        self, task: Task, profile: Profiled, options: Sequence[Option], bench: Workbench, rng: torch.Generator
    ) -> Choice:
        """Take the first option of the strategy: sources stand best first."""
        option = next(option for option in options if option.strategy == self.strategy)
        return Choice(self.strategy, option.source, f"always {self.strategy}")
