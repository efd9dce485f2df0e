"""A comparison as CSV, LaTeX and Markdown; whatever a name holds, it stays a name."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import units
from .comparison_cells import SHOWN, interval, kind_of, mean, notes, p_value
from .comparison_glance import ABOUT, standings

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A table of text: caption, head, rows, what a reader must know, and (row, column) of what stands out."""

    caption: str
    head: list[str]
    rows: list[list[str]]
    remarks: Sequence[str] = ()
    strong: frozenset[tuple[int, int]] = frozenset()


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "−": "$-$",
    "²": r"\textsuperscript{2}",
    "≤": r"$\leq$",
    "–": "--",
}


def to_csv(comparison: Json) -> str:
    """Write every mean as a line: scenario, agent, measure, seeds, mean, 95 % interval, note.

    Args:
        comparison: What `comparison.json` holds.

    Returns:
        CSV with a head; numbers in full precision, empty where they are undefined.
    """
    lines: list[Sequence[object]] = [("scenario", "agent", "measure", "seeds", "mean", "low", "high", "note")]
    for scenario, agent in _rows(comparison):
        for key, each in agent["means"].items():
            numbers = (each["n"], each["mean"], each["low"], each["high"])
            lines.append((scenario["scenario"], agent["agent"], key, *numbers, each["note"]))
    return _csv(lines)


def runs_to_csv(comparison: Json) -> str:
    """Write every finished run as a line: scenario, agent, seed, every measure, folder."""
    keys = [each["key"] for each in comparison["measures"]]
    lines: list[Sequence[object]] = [("scenario", "agent", "seed", *keys, "run")]
    for scenario, agent in _rows(comparison):
        for run in agent["runs"]:
            values = [run["values"].get(key) for key in keys]
            lines.append((scenario["scenario"], agent["agent"], run["seed"], *values, run["path"]))
    return _csv(lines)


def to_latex(comparison: Json) -> str:
    """Write the tables for LaTeX with the package booktabs.

    Args:
        comparison: What `comparison.json` holds.

    Returns:
        A `table` per scenario and one of paired differences behind it.
    """
    parts = ["% \\usepackage{booktabs}"]
    for table in tables(comparison):
        columns = "l" + "r" * (len(table.head) - 1)
        body = [" & ".join(row) + r" \\" for row in _cells(table, _latex, r"\textbf{{{}}}")]
        parts += [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex(table.caption)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(_latex, table.head)) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    return "\n".join(parts) + "\n"


def to_markdown(comparison: Json) -> str:
    """Write the tables as Markdown, with what a reader must know below each.

    Args:
        comparison: What `comparison.json` holds.

    Returns:
        Text for GitHub and its like.
    """
    return "\n".join(map(markdown, tables(comparison))) or "\n"


def markdown(table: Table) -> str:
    """Write one table as Markdown, with what a reader must know below it."""
    parts = [f"**{_markdown(table.caption)}**", ""]
    parts.append("| " + " | ".join(map(_markdown, table.head)) + " |")
    parts.append("| --- |" + " ---: |" * (len(table.head) - 1))
    parts += ["| " + " | ".join(row) + " |" for row in _cells(table, _markdown, "**{}**")]
    parts += ["", *(f"- {_markdown(remark)}" for remark in table.remarks)] if table.remarks else []
    return "\n".join(parts) + "\n"


def _cells(table: Table, escaped: Callable[[str], str], strong: str) -> list[list[str]]:
    """Write the rows of a table in a language."""
    return [
        [strong.format(escaped(cell)) if (i, j) in table.strong else escaped(cell) for j, cell in enumerate(row)]
        for i, row in enumerate(table.rows)
    ]


def glance(comparison: Json) -> Table:
    """Make the table that comes first where there are several scenarios: accuracy by agent and scenario, mean place."""
    found = standings(comparison)
    names = [units.plain(scenario["scenario"]) for scenario in comparison["scenarios"]]
    return Table(
        f"At a glance: accuracy (%; R² where values are asked for) on {units.count(len(names), 'scenario')}",
        ["agent", "mean place", *names],
        [[each.agent, "–" if each.place is None else f"{each.place:.1f}", *each.accuracies] for each in found],
        [ABOUT],
        frozenset((i, j + 2) for i, each in enumerate(found) for j, best in enumerate(each.best) if best),
    )


def tables(comparison: Json) -> list[Table]:
    """Make every table of a comparison: where there are several scenarios, the one over all of them first."""
    found = [glance(comparison)] if len(comparison["scenarios"]) > 1 else []
    for scenario in comparison["scenarios"]:
        regression = scenario["regression"]
        name, seeds = units.plain(scenario["scenario"]), units.ranges(scenario["seeds"]) or "none"
        head = ["agent", *(_head(title, unit, regression) for _, title, unit in SHOWN)]
        rows = [
            [agent["agent"], *(mean(agent["means"][key], kind_of(comparison, key), regression) for key, *_ in SHOWN)]
            for agent in scenario["agents"]
        ]
        caption = f"{name}: means over seeds {seeds}, ± half the 95 % interval"
        found.append(Table(caption, head, rows, notes(scenario, comparison)))
        if scenario["paired"]:
            margin = units.change(comparison["margin"], regression).lstrip("+")
            head = [
                "agent",
                "seeds",
                "difference",
                "95 % t",
                "95 % bootstrap",
                "p (Holm)",
                "verdict",
                f"loss ≤ {margin}",
            ]
            rows = [
                [
                    pair["agent"],
                    str(len(pair["seeds"])),
                    units.change(pair["mean"], regression),
                    interval(pair["interval"], regression),
                    interval(pair["bootstrap"], regression),
                    p_value(pair["holm"]),
                    pair["verdict"] or "–",
                    pair["not_worse"] or "–",
                ]
                for pair in scenario["paired"]
            ]
            caption = f"{name}: accuracy minus that of {units.plain(comparison['baseline'])}, paired by seed"
            found.append(Table(caption, head, rows))
    ranked = comparison["ranks"]["agents"]
    if ranked and len(comparison["scenarios"]) > 1:
        difference = comparison["ranks"]["critical_difference"]
        caption = f"Average ranks over {units.count(len(comparison['ranks']['scenarios']), 'scenario')}"
        caption += "" if difference is None else f", critical difference {difference:.2f}"
        found.append(Table(caption, ["agent", "rank"], [[each["agent"], f"{each['rank']:.2f}"] for each in ranked]))
    equal = comparison.get("equal_bytes")
    if equal:
        found += [replace(table, caption=f"At equal bytes. {table.caption}") for table in tables(equal)]
    return found


def _rows(comparison: Json) -> Iterator[tuple[Json, Json]]:
    """Every agent of every scenario; those with a bound behind them, and nobody twice."""
    for part in filter(None, (comparison, comparison.get("equal_bytes"))):
        for scenario in part["scenarios"]:
            for agent in scenario["agents"]:
                if part is comparison or agent["agent"] != part["to"]:
                    yield scenario, agent


def _head(title: str, unit: str, regression: bool) -> str:
    return f"{title} ({'R²' if regression else unit})" if unit else title


def _csv(lines: Sequence[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for line in lines:
        writer.writerow(["" if each is None else repr(each) if isinstance(each, float) else each for each in line])
    return out.getvalue()


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in units.plain(text))


def _markdown(text: str) -> str:
    escaped = units.plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", escaped)


WRITERS: Mapping[str, Callable[[Json], str]] = {"csv": to_csv, "latex": to_latex, "markdown": to_markdown}
