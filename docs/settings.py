"""Write the tables of settings in docs/strategies.md anew, from the strategies' own code: `python docs/settings.py`.

A table stands between `<!-- settings of NAME -->` and `<!-- end -->`; a test fails when one is stale.
"""

from __future__ import annotations

import re
from pathlib import Path

from evermap.registry import registered
from evermap.reports.catalog import shown

PAGE = Path(__file__).resolve().parent / "strategies.md"
_MARKED = re.compile(r"(<!-- settings of ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(name: str) -> str:
    """Write the settings of one strategy as a table.

    Args:
        name: Its registered name.

    Returns:
        Markdown, one line per setting.
    """
    settings = shown(registered("strategy")[name])["settings"]
    if not settings:
        return "It has no settings.\n"
    lines = ["| setting | default | what it does |", "| --- | --- | --- |"]
    for each in settings:
        unit = f" ({each['unit']})" if each["unit"] else ""
        lines.append(f"| `{each['name']}` | `{each['default']}`{unit} | {each['help'].replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def filled(page: str) -> str:
    """Put the tables as they are now into a page.

    Args:
        page: Markdown with marks.
    """
    return _MARKED.sub(lambda found: found[1] + table(found[2]) + found[3], page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")
