"""Geometry of the report's figures: numbers to coordinates of SVG paths, rounded so that equal records draw alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .units import known

Point = tuple[float, float]


@dataclass(frozen=True)
class Frame:
    """A drawing area; x and y run from 0 to 1, y upwards.

    Attributes:
        width: Width of the area in SVG units.
        height: Height of the area.
        left: Space left of it, for labels.
        top: Space above it.
        right: Space right of it.
        bottom: Space below it.
    """

    width: float
    height: float
    left: float = 0.0
    top: float = 0.0
    right: float = 0.0
    bottom: float = 0.0

    @property
    def view_box(self) -> str:
        """The whole figure, for `viewBox`."""
        return f"0 0 {_number(self.left + self.width + self.right)} {_number(self.top + self.height + self.bottom)}"

    def x(self, share: float) -> float:
        """Place a share of the width.

        Args:
            share: 0 at the left, 1 at the right.

        Returns:
            The coordinate.
        """
        return round(self.left + share * self.width, 2)

    def y(self, share: float) -> float:
        """Place a share of the height; what lies outside is clipped to the frame.

        Args:
            share: 0 at the bottom, 1 at the top.

        Returns:
            The coordinate.
        """
        return round(self.top + (1 - min(max(share, 0.0), 1.0)) * self.height, 2)

    def path(self, points: Sequence[tuple[float, float | None]]) -> str:
        """Draw a line through points, broken where a value is undefined.

        Args:
            points: Shares (x, y).

        Returns:
            The `d` of an SVG path; empty where there is nothing to draw.
        """
        parts: list[str] = []
        pen_down = False
        for x, y in points:
            if y is None or not known(y):
                pen_down = False
                continue
            parts.append(f"{'L' if pen_down else 'M'}{_number(self.x(x))} {_number(self.y(y))}")
            pen_down = True
        return "".join(parts)


def spread(count: int) -> list[float]:
    """Place so many points evenly from 0 to 1.

    Args:
        count: How many.

    Returns:
        Their shares; one point stands at 0.
    """
    return [position / max(count - 1, 1) for position in range(count)]


def arc(start: int, end: int, row: float, right: float) -> str:
    """Draw who helped whom: an arc at the left of rows, from one row's middle to another's.

    Args:
        start: Row of the helper.
        end: Row of the helped.
        row: Height of a row.
        right: The x at which the arc begins and ends.

    Returns:
        The `d` of an SVG path; the farther apart, the wider the arc.
    """
    top, bottom = (start + 0.5) * row, (end + 0.5) * row
    reach = min(10.0 + 5.0 * abs(end - start), right - 4.0)
    return (
        f"M{_number(right)} {_number(top)}"
        f"C{_number(right - 1.33 * reach)} {_number(top)} {_number(right - 1.33 * reach)} {_number(bottom)} "
        f"{_number(right)} {_number(bottom)}"
    )


def _number(value: float) -> str:
    """Write a coordinate with at most two digits after the point."""
    return f"{round(value, 2):.2f}".rstrip("0").rstrip(".")
