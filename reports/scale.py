"""Axes: where a value lies between two round ends, and which round values are marked."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .units import known


@dataclass(frozen=True)
class Scale:
    """One axis.

    Attributes:
        low: Value at its beginning.
        high: Value at its end.
        marks: Round values between them.
        logarithmic: Whether equal steps are equal factors.
    """

    low: float
    high: float
    marks: tuple[float, ...]
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Place a value.

        Args:
            value: Any; what lies outside is put at the nearer end.

        Returns:
            0 at the beginning of the axis, 1 at its end.
        """
        value = min(max(value, self.low), self.high)
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def percent(self, value: float) -> float:
        """Place a value, in percent of the axis with two digits."""
        return round(100 * self.share(value), 2)


def linear(values: Iterable[float], most: int = 5) -> Scale:
    """Find round ends around some values.

    Args:
        values: What is drawn.
        most: How many steps there may be between marks.

    Returns:
        The axis; 0 to 1 where there is nothing to draw. Steps are 1, 2 or 5 times a power of ten.
    """
    known = [value for value in values if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    if high - low < 1e-9:
        low, high = low - 0.01, high + 0.01
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(k * power for k in (1, 2, 5, 10) if (high - low) / (k * power) <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    marks = tuple(round(k * step, 12) for k in range(first, last + 1))
    return Scale(marks[0], marks[-1], marks)


def logarithmic(values: Iterable[float]) -> Scale | None:
    """Find round ends around positive values.

    Args:
        values: What is drawn.

    Returns:
        The axis, at least a factor of 4 long, with powers of ten marked, and 2 and 5 times them where it is not long;
        None where nothing is positive.
    """
    known = [value for value in values if math.isfinite(value) and value > 0]
    if not known:
        return None
    low, high = min(known) / 1.15, max(known) * 1.15
    if high / low < 4:
        middle = math.sqrt(low * high)
        low, high = middle / 2, middle * 2
    factors = (1,) if high / low > 300 else (1, 2, 5)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = tuple(k * 10.0**p for p in powers for k in factors if low <= k * 10.0**p <= high)
    return Scale(low, high, marks, True)


def axis_of(values: Iterable[float | None], ends: Iterable[float | None]) -> Scale:
    """Find the axis of accuracies or R²; an interval of few seeds may end where no accuracy can lie, the axis does not.

    Args:
        values: Means and seeds; undefined ones are passed over.
        ends: Ends of intervals.

    Returns:
        The axis: up to 1, and down to 0, or to the lowest of the values where that is negative, yet not below −1.
    """
    defined = list(filter(known, values))
    low = max(min([0.0, *defined]), -1.0)
    return linear([min(max(value, low), 1.0) for value in [*defined, *filter(known, ends)]])


def digits(axis: Scale) -> int:
    """Tell how many digits after the point tell the marks of an axis of shares apart.

    Args:
        axis: Of shares.

    Returns:
        0 or 1, for percent.
    """
    return 1 if len(axis.marks) > 1 and axis.marks[1] - axis.marks[0] < 0.0099 else 0
