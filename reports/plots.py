"""Figures drawn by matplotlib, as elements of a page.

They are drawn in stand-in colours, which then become variables of the page's style sheet, so that they follow a dark
theme; nothing in them depends on the day or the process, so equal numbers give equal bytes.
"""

from __future__ import annotations

import io
import re
from html import escape
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import units

# Stand-in colours and what they become.
INK, SOFT, FAINT, WASH = "#010101", "#020202", "#030303", "#040404"
SERIES = tuple(f"#0000{number:02x}" for number in range(16, 24))
_VARIABLES = {INK: "--ink", SOFT: "--soft", FAINT: "--faint", WASH: "--wash"} | {
    colour: f"--s{number}" for number, colour in enumerate(SERIES)
}
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "evermap",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.unicode_minus": True,
    "text.parse_math": False,
    "mathtext.default": "regular",
}
WIDTH = 6.6  # inches


def colour_of(position: int) -> int:
    """Number of the colour of the agent at this position: there are eight, used again after that."""
    return position % len(SERIES)


def new_figure(height: float) -> tuple[Figure, Axes]:
    """Make a figure with one area, as wide as the page's text.

    Args:
        height: In inches.

    Returns:
        The figure and its area, both without a background.
    """
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.patch.set_visible(False)
    axes = figure.subplots()
    axes.patch.set_visible(False)
    return figure, axes


def short(name: str, most: int = 34) -> str:
    """Cut a name that would leave no room for the figure."""
    said = units.plain(name)
    return said if len(said) <= most else f"{said[: most - 1]}…"


def to_svg(figure: Figure, name: str, said: str) -> str:
    """Write a figure as an element of a page: ids of its own, colours of the page, words for who cannot see it.

    Args:
        figure: Drawn in the stand-in colours.
        name: Prefix of its ids, its own on the page.
        said: What it shows, in words.

    Returns:
        An `svg` element without script, date or reference to anything outside of it.
    """
    for axes in figure.axes:
        axes.patch.set_visible(False)
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :].rstrip("\n")
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    view = re.search(r'viewBox="[^"]*"', text)
    head = f'<svg {view.group() if view else ""} role="img" aria-label="{escape(units.plain(said))}">'
    return head + text[text.index(">") + 1 :]
