"""Writes the table of docs/measures.md that compares tools on one matrix.

python -P docs/conventions.py           # writes the table
python -P docs/conventions.py --check   # exit code 1 where it is stale

The formulas of other tools are written here from their code, in the versions that `TOOLS` names, in numpy. Row 0 of the
matrix is before any learning, row i after task i; column j is task j, learned in row j + 1.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evermap.scenarios.against import first_visits
from evermap.scenarios.l2metrics import block_transfer, performance_maintenance
from evermap.scenarios.metrics import (
    AccuracyMatrix,
    average_accuracy,
    average_incremental_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
)

PAGE = Path(__file__).with_name("measures.md")
_MARKED = re.compile(r"(<!-- conventions -->\n).*?(<!-- end -->)", re.DOTALL)

Matrix = NDArray[np.float64]
Formula = Callable[[Matrix], float]

# a and b rise before they fall; c was answered best before it was learned, and improves in the last row.
R: Matrix = np.array(
    [
        [0.30, 0.35, 0.25, 0.40],
        [0.80, 0.45, 0.40, 0.45],
        [0.85, 0.90, 0.74, 0.50],
        [0.60, 0.95, 0.70, 0.70],
        [0.55, 0.80, 0.72, 0.75],
    ]
)
MATRIX = AccuracyMatrix(
    values=R,
    columns=("a", "b", "c", "d"),
    row_tasks=(None, 0, 1, 2, 3),
    learned_at=(1, 2, 3, 4),
    class_sets=((0, 1),) * 4,
    own_labels=(False,) * 4,
)


def after(M: Matrix) -> Matrix:
    """The rows after tasks: square, the diagonal is what was just learned."""
    return M[1:]


def first_minus_last(M: Matrix) -> float:
    """Avalanche's forgetting: mean over j < T of A[j, j] − A[T, j]."""
    A = after(M)
    return float(np.mean([A[j, j] - A[-1, j] for j in range(len(A) - 1)]))


def last_minus_first(M: Matrix) -> float:
    """Backward transfer of Lopez-Paz & Ranzato: the same with the other sign."""
    return -first_minus_last(M)


def before_minus_start(M: Matrix) -> float:
    """Forward transfer of Lopez-Paz & Ranzato: mean over j > 1 of A[j − 1, j] minus row 0."""
    return float(np.mean([M[j, j] - M[0, j] for j in range(1, len(M) - 1)]))


def best_of_all_minus_last(M: Matrix) -> float:
    """Mammoth's and PyCIL's forgetting: the best of all rows, the last among them; what was not learned counts as 0."""
    A = np.tril(after(M))
    return float(np.mean(A.max(axis=0)[:-1] - A[-1, :-1]))


def best_of_earlier_minus_last(M: Matrix) -> float:
    """Renate's forgetting: the best of all earlier rows, also of those before the task was learned."""
    A = after(M)
    return float(np.mean(A[:-1].max(axis=0)[:-1] - A[-1, :-1]))


def continuum_forgetting(M: Matrix) -> float:
    """Continuum's forgetting: j up to T − 2, rows up to T − 2, divided by T − 1."""
    A, T = after(M), len(M) - 1
    return sum(max(A[r, j] for r in range(j, T - 2)) - A[-1, j] for j in range(T - 2)) / (T - 1)


def continuum_backward(M: Matrix) -> float:
    """Continuum's backward transfer: over all rows, without the row after the task, divided by all pairs."""
    A, T = after(M), len(M) - 1
    return sum(A[i, j] - A[j, j] for i in range(1, T) for j in range(i - 1)) / (T * (T - 1) / 2)


def continuum_forward(M: Matrix) -> float:
    """Continuum's forward transfer: the mean below the diagonal, nothing subtracted."""
    A, T = after(M), len(M) - 1
    return sum(A[i, j] for i in range(T) for j in range(i)) / (T * (T - 1) / 2)


def continuum_accuracy(M: Matrix) -> float:
    """Continuum's accuracy A: the mean on and below the diagonal, after Díaz-Rodríguez 2018."""
    A, T = after(M), len(M) - 1
    return sum(A[i, j] for i in range(T) for j in range(i + 1)) / (T * (T + 1) / 2)


def last_row(M: Matrix) -> float:
    """The mean of the last row."""
    return float(M[-1].mean())


def ours(name: str) -> Formula:
    """A measure of evermap's, on any matrix of this shape."""
    from dataclasses import replace

    by_name = {
        "accuracy": average_accuracy,
        "incremental": average_incremental_accuracy,
        "forgetting": forgetting,
        "backward": backward_transfer,
        "forward": forward_transfer,
    }

    def formula(M: Matrix) -> float:
        value = by_name[name](replace(MATRIX, values=M)).value
        return float("nan") if value is None else value

    return formula


# What each tool gives under the name of the row, as in the code of that version; None where it has no such number.
TOOLS: dict[str, dict[str, Formula | None]] = {
    "evermap": {
        "average accuracy": ours("accuracy"),
        "forgetting": ours("forgetting"),
        "backward transfer": ours("backward"),
        "forward transfer": ours("forward"),
    },
    "Avalanche 0.6.0": {
        "average accuracy": last_row,
        "forgetting": first_minus_last,
        "backward transfer": last_minus_first,
        "forward transfer": before_minus_start,
    },
    "Mammoth": {
        "average accuracy": last_row,
        "forgetting": best_of_all_minus_last,
        "backward transfer": last_minus_first,
        "forward transfer": before_minus_start,
    },
    "PyCIL": {
        "average accuracy": None,
        "forgetting": best_of_all_minus_last,
        "backward transfer": None,
        "forward transfer": None,
    },
    "Renate": {
        "average accuracy": last_row,
        "forgetting": best_of_earlier_minus_last,
        "backward transfer": last_minus_first,
        "forward transfer": before_minus_start,
    },
    "Continuum 1.2.7": {
        "average accuracy": continuum_accuracy,
        "forgetting": continuum_forgetting,
        "backward transfer": continuum_backward,
        "forward transfer": continuum_forward,
    },
}


def l2m() -> list[tuple[str, float]]:
    """What the formulas of the L2M programme give (New et al. 2022)."""
    visits = first_visits(MATRIX)
    measures = [performance_maintenance(MATRIX, visits)]
    measures += [block_transfer(MATRIX, visits, d, f) for d in ("forward", "backward") for f in ("contrast", "ratio")]
    return [(measure.name, float("nan") if measure.value is None else measure.value) for measure in measures]


def table() -> str:
    """Write both tables and the matrix that they are about.

    Returns:
        Markdown.
    """
    lines = ["| after | a | b | c | d |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {'nothing' if row == 0 else 'abcd'[row - 1]} | {' | '.join(f'{v:.2f}' for v in values)} |"
        for row, values in enumerate(R)
    ]
    names = list(next(iter(TOOLS.values())))
    lines += ["", f"| | {' | '.join(TOOLS)} |", f"| --- |{' --- |' * len(TOOLS)}"]
    for name in names:
        cells = [_cell(None if (f := tool[name]) is None else f(R)) for tool in TOOLS.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| L2M's formula | value |", "| --- | --- |"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in l2m()]
    return "\n".join(lines) + "\n"


def filled(page: str) -> str:
    """Put the tables as they are now into a page.

    Args:
        page: Markdown with the marks.
    """
    return _MARKED.sub(lambda found: f"{found[1]}\n{table()}\n{found[2]}", page)


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}".replace("-", "−")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say whether the page is stale")
    page = PAGE.read_text("utf-8")
    if parser.parse_args().check:
        sys.exit(page != filled(page))
    PAGE.write_text(filled(page), "utf-8")
