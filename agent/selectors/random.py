"""A choice by lot: what every reasoned choice has to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from ...streams.task import Task
from ..events import Profiled
from ..selector import Choice, Option, Selector
from ..workbench import Workbench


class Random(Selector):
    """Draws a strategy that applies, then one of its sources, each with equal chance."""

    name: ClassVar[str] = "random"

    def needs_profile(self, strategies: Mapping[str, Any]) -> bool:
        """Probe nothing: the lot does not ask."""
        return False

    def together(self, strategies: Sequence[str], rng: torch.Generator) -> str | None:
        """Draw whether, and how."""
        draw = int(torch.randint(len(strategies) + 1, (), generator=rng))
        return strategies[draw] if draw < len(strategies) else None

    def select(
        self, task: Task, profile: Profiled, options: Sequence[Option], bench: Workbench, rng: torch.Generator
    ) -> Choice:
        """Draw strategy and source."""
        open_to = [option for option in options if option.why_not is None]
        names = sorted({option.strategy for option in open_to})
        strategy = names[int(torch.randint(len(names), (), generator=rng))]
        sources = [option.source for option in open_to if option.strategy == strategy]
        source = sources[int(torch.randint(len(sources), (), generator=rng))]
        return Choice(strategy, source, f"drawn by lot from {len(names)} strategies that apply")
