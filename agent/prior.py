"""What experience says about a strategy before it is tried: one Bayesian linear model each, profile → gain.

The gain is that over the closed-form default at the same share of the budget, on the held-out samples, in nats.
Bayesian linear regression with known noise (Bishop 2006, §3.3): sums over observations are all that is kept, so that
the models of several runs can be added up, and what was learned does not depend on the order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from .features import FEATURES
from .verdict import Gain

# What of a profile the gain may depend on; with few observations more numbers than these are noise.
USED = (
    "per_class",
    "classes",
    "best",
    "stored_gain_error",
    "random_gain_error",
    "agreement_gain",
    "tasks",
    "regression",
)
# Before anything was observed: the gain to expect (a little below 0: the default costs nothing, and what is trained was
# stopped on the samples that measure it), how sure that is, and by how much each feature may change it from one end of
# its range to the other; in nats. Chosen on pilot seeds (docs/selection.md).
EXPECTED, UNSURE, SLOPE = -0.05, 0.07, 0.2
# Standard deviation of a gain around what the profile tells, beside that of its measurement; in nats.
SPREAD = 0.07

_COLUMNS = [FEATURES.index(name) for name in USED]


class Prior:
    """Expects the gain of strategies; learns from every one that was tried."""

    def __init__(self) -> None:
        """Nothing was observed."""
        self._precision: dict[str, NDArray[np.float64]] = {}
        self._sum: dict[str, NDArray[np.float64]] = {}
        self._seen: dict[str, int] = {}

    def seen(self, strategy: str) -> int:
        """Count what was observed of a strategy."""
        return self._seen.get(strategy, 0)

    def observe(self, strategy: str, profile: Sequence[float], measured: Gain) -> None:
        """Learn from a strategy that was tried.

        Args:
            strategy: Registered name.
            profile: Its task's features, in the order of `FEATURES`.
            measured: Its gain over the default on the held-out samples.
        """
        x = _row(profile)
        weight = 1 / (measured.error**2 + SPREAD**2)
        zero = np.zeros(len(x))
        self._precision[strategy] = self._precision.get(strategy, np.diag(zero)) + weight * np.outer(x, x)
        self._sum[strategy] = self._sum.get(strategy, zero) + weight * x * (measured.nats - EXPECTED)
        self._seen[strategy] = self.seen(strategy) + 1

    def expect(self, strategy: str, profile: Sequence[float]) -> Gain:
        """Expect the gain of a strategy on a task.

        Args:
            strategy: Registered name.
            profile: The task's features, in the order of `FEATURES`.

        Returns:
            Mean and standard deviation of the predictive distribution.
        """
        x = _row(profile)
        precision = np.diag([UNSURE**-2, *[SLOPE**-2] * len(USED)])
        if strategy in self._precision:
            precision = precision + self._precision[strategy]
        solved = np.linalg.solve(precision, np.stack([self._sum.get(strategy, np.zeros(len(x))), x], axis=1))
        return Gain(EXPECTED + float(x @ solved[:, 0]), float(np.sqrt(x @ solved[:, 1] + SPREAD**2)))

    def state(self) -> dict[str, Any]:
        """Return what was learned, as plain data."""
        return {
            "features": list(USED),
            "strategies": {
                name: {
                    "seen": self._seen[name],
                    "precision": self._precision[name].tolist(),
                    "sum": self._sum[name].tolist(),
                }
                for name in sorted(self._seen)
            },
        }

    def add(self, state: Mapping[str, Any]) -> None:
        """Add what another one has learned.

        Args:
            state: What `state` returned.

        Raises:
            StoreError: If it is not of that form, or about other features.
        """
        try:
            if tuple(state["features"]) != USED:
                found, known = ", ".join(state["features"]), ", ".join(USED)
                raise StoreError(f"a learned prior is about the features {found}; known are {known}.")
            for name, each in state["strategies"].items():
                precision, total = np.asarray(each["precision"], float), np.asarray(each["sum"], float)
                size = len(USED) + 1
                if precision.shape != (size, size) or total.shape != (size,):
                    raise ValueError(f"{name} has sums of shape {precision.shape} and {total.shape}")
                self._precision[name] = self._precision.get(name, np.zeros((size, size))) + precision
                self._sum[name] = self._sum.get(name, np.zeros(size)) + total
                self._seen[name] = self.seen(name) + int(each["seen"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(f"a learned prior is damaged: {type(error).__name__}: {error}.") from error


def added(states: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up what several runs have learned.

    Args:
        states: What `Prior.state` returned in each.

    Returns:
        The state of a prior that has observed everything.
    """
    prior = Prior()
    for state in states:
        prior.add(state)
    return prior.state()


def _row(profile: Sequence[float]) -> NDArray[np.float64]:
    """One and the features, measured from the middle of their range."""
    return np.array([1.0, *(profile[column] - 0.5 for column in _COLUMNS)])
