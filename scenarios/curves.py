"""Learning curves: how fast a task was learned, alone and beside a reference."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from .measure import Measure, Undefined, one


@dataclass(frozen=True)
class Curve:
    """Performance on one task while it was learned.

    Attributes:
        cost: What had been spent when each point was taken (units of work, FLOPs, a share of the budget), ascending.
        values: Accuracy (regression: R²) at each point.
    """

    cost: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.cost) != len(self.values) or not self.cost:
            raise ValueError(f"a curve has as many costs as values; found {len(self.cost)} and {len(self.values)}")
        if not all(map(math.isfinite, (*self.cost, *self.values))):
            raise ValueError("a curve holds finite numbers only")
        if any(later < earlier for earlier, later in itertools.pairwise(self.cost)):
            raise ValueError(f"the costs of a curve ascend; found {self.cost}")


def area_under_curve(curve: Curve, until: float | None = None) -> Measure:
    """Area under the learning curve over its length: the mean performance while learning (Taylor & Stone 2009).

    Trapezoids between the points. The first value stands for what was before it, the last one for what comes after it,
    so that curves of different lengths can be compared up to the same cost.

    Args:
        curve: The curve.
        until: Cost up to which the area is taken; left out: up to the last point.
    """
    convention = (
        "mean performance from the beginning to the end of the budget: area under the learning curve over its length "
        "(trapezoids, the first value before it, the last one after it); Taylor & Stone 2009"
    )

    def formula() -> float:
        end = curve.cost[-1] if until is None else until
        if not end > 0:
            raise Undefined("the curve has no length")
        return area(curve, end) / end

    return one("area under the learning curve", convention, formula)


def area(curve: Curve, until: float) -> float:
    """Integrate a curve from cost 0 on, as `area_under_curve` describes.

    Args:
        curve: The curve.
        until: Cost up to which.
    """
    points = [(0.0, curve.values[0]), *zip(curve.cost, curve.values, strict=True), (math.inf, curve.values[-1])]
    total = 0.0
    for (x, y), (x2, y2) in itertools.pairwise(points):
        end = min(x2, until)
        if end > x:
            y_end = y2 if end == x2 or y == y2 else y + (y2 - y) * (end - x) / (x2 - x)
            total += (end - x) * (y + y_end) / 2
    return total


def learning_curve_area(curve: Curve, beta: int) -> Measure:
    """LCA_β = 1/(β + 1) Σ_{b ≤ β} Z_b, Z_b the accuracy after the b-th mini-batch (Chaudhry 2019, arXiv 1812.00420).

    Args:
        curve: Accuracy by units of work; its point at 0 is the accuracy before learning.
        beta: How many mini-batches.
    """
    convention = f"mean accuracy before and after each of the first {beta} units of work; Chaudhry et al. 2019"

    def formula() -> float:
        found = dict(zip(curve.cost, curve.values, strict=True))
        if not all(b in found for b in range(beta + 1)):
            raise Undefined(f"the accuracy after each of the first {beta} units is needed")
        return math.fsum(found[b] for b in range(beta + 1)) / (beta + 1)

    return one("learning curve area", convention, formula)


def jumpstart(curve: Curve, reference: Curve) -> Measure:
    """First value of a curve minus that of a learner without knowledge (Taylor & Stone 2009).

    Args:
        curve: The curve.
        reference: That of a fresh learner on the same task.
    """
    convention = (
        "performance at the first point of the learning curve (the first unit of work; on test data, the first "
        "evaluation) minus that of a fresh learner there; Taylor & Stone 2009"
    )
    return Measure("jumpstart", curve.values[0] - reference.values[0], None, convention)


def steps_to_threshold(curve: Curve, threshold: float) -> Measure:
    """Cost at which a curve first reaches a level (Taylor & Stone 2009).

    Args:
        curve: The curve.
        threshold: The level.

    Returns:
        The cost of the first point at or above it, in the curve's own unit.
    """
    convention = (
        "what had been spent when the learning curve first reached the level that a fresh learner ends at; "
        "Taylor & Stone 2009"
    )

    def formula() -> float:
        for cost, value in zip(curve.cost, curve.values, strict=True):
            if value >= threshold:
                return cost
        raise Undefined(f"the level of {threshold:.3g} was never reached")

    return one("cost to threshold", convention, formula)


def mean_cost_to_threshold(curves: Sequence[Curve], thresholds: Sequence[float], whole: float) -> Measure:
    """Average `steps_to_threshold` over tasks; a task whose level was never reached counts with all that it had.

    Leaving such tasks out would favour who fails on the slow ones.

    Args:
        curves: One per task.
        thresholds: One level per task.
        whole: What each task might have spent, in the unit of the curves.
    """
    convention = (
        "mean over tasks of what had been spent when the learning curve first reached the level that a fresh learner "
        "ends at; where it never did, all that might be spent; Taylor & Stone 2009"
    )

    def formula() -> float:
        if not curves:
            raise Undefined("no task has a learning curve in both runs")
        reached = [steps_to_threshold(*pair).value for pair in zip(curves, thresholds, strict=True)]
        return math.fsum(whole if cost is None else cost for cost in reached) / len(reached)

    return one("cost to threshold", convention, formula)
