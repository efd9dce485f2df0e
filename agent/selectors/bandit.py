"""A contextual bandit on the profile: what learning to choose from outcomes alone comes to, without try-outs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from ...streams.task import Task
from ..events import Learned, Profiled
from ..features import FEATURES, circumstances, features
from ..selector import Choice, Option, Selector
from ..workbench import Workbench

# How much a strategy gains from being unknown, in rewards.
CURIOUS = 0.5


class Bandit(Selector):
    """LinUCB with disjoint models (Li 2010, arXiv 1003.0146, algorithm 1) on the profile, one arm per strategy.

    The reward is the accuracy (regression: R²) on the held-out samples; where none are held out, the leave-one-out
    accuracy of the closed form that answers. A task without either teaches nothing. Of an arm's sources the first is
    taken: they stand best first. Nothing is tried out and nothing guards the choice.
    """

    name: ClassVar[str] = "bandit"

    def __init__(self, argument: str = "") -> None:
        """Know nothing yet."""
        super().__init__(argument)
        self._precision: dict[str, NDArray[np.float64]] = {}
        self._sum: dict[str, NDArray[np.float64]] = {}
        self._row: NDArray[np.float64] = np.zeros(0)
        self._promised: dict[tuple[str, str | None], float] = {}

    def select(
        self, task: Task, profile: Profiled, options: Sequence[Option], bench: Workbench, rng: torch.Generator
    ) -> Choice:
        """Take the strategy with the highest upper bound of its reward; ties go to the one that was named first."""
        self._row = np.array([1.0, *features(profile, circumstances(bench))])
        scores = {score.candidate: score for score in profile.scores}
        first: dict[str, Option] = {}
        for option in options:
            if option.why_not is None:
                first.setdefault(option.strategy, option)
        self._promised = {
            (o.strategy, o.source): (s.reuse if o.strategy == "reuse" and s.reuse is not None else s.closed_form)
            for o in first.values()
            if (s := scores.get(o.source or "")) is not None
        }
        bounds = {option: self._bound(name) for name, option in first.items()}
        best = max(bounds, key=lambda option: bounds[option])
        reason = f"the highest upper bound of its reward, {bounds[best]:.2f}, of {len(bounds)} strategies"
        return Choice(best.strategy, best.source, reason, bounds)

    def _bound(self, strategy: str) -> float:
        precision = self._precision.get(strategy, np.eye(len(self._row)))
        solved = np.linalg.solve(precision, np.stack([self._sum.get(strategy, 0 * self._row), self._row], axis=1))
        return float(self._row @ solved[:, 0] + CURIOUS * np.sqrt(self._row @ solved[:, 1]))

    def observe(self, profile: Profiled, outcome: Learned) -> None:
        """Learn from the reward of what answered."""
        reward = outcome.accuracy
        if reward is None:
            reward = self._promised.get((outcome.strategy, outcome.source))
        if reward is None or len(self._row) != len(FEATURES) + 1:
            return
        name, x = outcome.strategy, self._row
        self._precision[name] = self._precision.get(name, np.eye(len(x))) + np.outer(x, x)
        self._sum[name] = self._sum.get(name, np.zeros(len(x))) + reward * x

    def state(self) -> dict[str, Any]:
        """Return the sums of every arm."""
        return {
            name: {"precision": self._precision[name].tolist(), "sum": self._sum[name].tolist()}
            for name in sorted(self._sum)
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the sums of every arm."""
        for name, each in state.items():
            self._precision[name] = np.asarray(each["precision"], dtype=np.float64)
            self._sum[name] = np.asarray(each["sum"], dtype=np.float64)
