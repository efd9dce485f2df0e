"""The colours of report.css, for figures that are not part of a page: one place holds them."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files


@cache
def palette(dark: bool = False) -> dict[str, str]:
    """Read the colours.

    Args:
        dark: Those for a dark background instead.

    Returns:
        Name ("ink", "s0") to "#rrggbb".
    """
    css = (files("evermap.reports") / "templates/report.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", css, flags=re.DOTALL)
    return dict(re.findall(r"--(\w[\w-]*): (#[0-9a-f]{6});", blocks[1 if dark else 0]))
