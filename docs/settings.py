"""Write what docs/strategies.md takes from elsewhere anew: `python docs/settings.py`.

Tables of settings come from the strategies' own code and stand between `<!-- settings of NAME -->` and `<!-- end -->`;
what a strategy reaches on the demonstration comes from docs/demo.md and stands between `<!-- demo of NAME -->` and
`<!-- end -->`. A test fails when something is stale.
"""

from __future__ import annotations

import re
from pathlib import Path

from evermap.registry import registered
from evermap.reports.catalog import shown

PAGE = Path(__file__).resolve().parent / "strategies.md"
DEMO = PAGE.with_name("demo.md")
_MARKED = re.compile(r"(<!-- settings of ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_REACHED = re.compile(r"(<!-- demo of ([\w-]+) -->).*?(<!-- end -->)")


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


def reached(page: str) -> dict[str, str]:
    """Read the mean over all tasks of every agent from the page of the demonstration, as it stands there."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    agents = next(row for row in rows if row[0] == "task")
    means = next(row for row in rows if row[0].startswith("mean"))
    return {agent.removeprefix("fixed:"): mean for agent, mean in zip(agents, means, strict=True)}


def filled(page: str) -> str:
    """Put the tables and figures as they are now into a page.

    Args:
        page: Markdown with marks.
    """
    figures = reached(DEMO.read_text("utf-8"))
    page = _REACHED.sub(lambda found: found[1] + figures[found[2]] + found[3], page)
    return _MARKED.sub(lambda found: found[1] + table(found[2]) + found[3], page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")
