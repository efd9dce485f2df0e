"""What every page shares: how templates are filled, and how they write numbers."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from . import units
from .lines import way

COLOURS = 8  # --s0 … --s7 in report.css


def environment() -> Environment:
    """Make what fills a template: names are escaped, a name that a template misspells is an error.

    Returns:
        The environment, with the functions of `units` as filters.
    """
    made = Environment(
        loader=PackageLoader("evermap.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(
        percent=units.percent,
        score=units.score,
        change=units.change,
        scored=units.scored,
        flops=units.flops,
        size=units.size,
        seconds=units.seconds,
        plain=units.plain,
        decimal=units.decimal,
        sentence=units.sentence,
    )
    made.globals.update(count=units.count, way=way, known=units.known)
    return made
