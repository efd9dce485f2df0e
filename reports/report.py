"""Make a run's report from its record alone: `summary.json` and `report.html`, each replaced in one step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import OutputError, RecordError
from ..scenarios.record import Record, read_record
from ..scenarios.run_folder import EVENTS, MATRIX, write_atomically
from .html import render
from .references import references_of
from .summary import summarise, to_text


def write_report(run_dir: Path) -> Path:
    """Write the report of a run into its folder.

    Args:
        run_dir: The folder of the record.

    Returns:
        The path of `report.html`; the numbers stand in `summary.json` beside it.

    Raises:
        RecordError: If the folder holds no record.
        OutputError: If it cannot be written.
    """
    return report(run_dir)[0]


def report(run_dir: Path, out: Path | None = None, against: Sequence[Path] = ()) -> tuple[Path, dict[str, Any]]:
    """Write the report of a run and give back its numbers as well.

    Args:
        run_dir: The folder of the record.
        out: Where it goes; left out: the same folder.
        against: Folders of runs that it is held against, for the numbers that need them.

    Returns:
        The path of `report.html`, and what stands in `summary.json`.

    Raises:
        RecordError: If a folder holds no record, or a damaged one, or a run cannot serve as a reference.
        OutputError: If it cannot be written.
    """
    _, summary = summary_of(run_dir, against)
    out = out or run_dir
    page = out / "report.html"
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "summary.json", to_text(summary))
        write_atomically(page, render(summary))
    except OSError as error:
        raise OutputError(f"{out}: the report cannot be written ({error.strerror}).") from error
    return page, summary


def summary_of(run_dir: Path, against: Sequence[Path] = ()) -> tuple[Record, dict[str, Any]]:
    """Read a run and gather its numbers.

    Args:
        run_dir: The folder of the record.
        against: Folders of runs that it is held against.

    Returns:
        The record, and what `summarise` makes of it.

    Raises:
        RecordError: If the folder holds no record, or a damaged one.
    """
    record = read_record(run_dir)
    _check_rows(record)
    references = references_of(record, against)
    try:
        return record, summarise(record, references)
    except (KeyError, TypeError, AttributeError) as error:
        raise RecordError(
            f"{run_dir / EVENTS}: an event does not hold what it must hold ({type(error).__name__}: {error}): the file "
            "is damaged, or another evermap wrote it. The report is left as it was."
        ) from error


def _check_rows(record: Record) -> None:
    """Check that the events and the matrix tell of the same evaluations.

    Events are written first, so a crash between the two leaves one evaluation more in them, never one less.
    """
    told = [event for event in record.events if event.get("event") == "Evaluated"]
    rows = [] if record.matrix is None else record.matrix.values.tolist()
    if not len(rows) <= len(told) <= len(rows) + 1:
        cut = EVENTS if len(told) < len(rows) else MATRIX
        raise RecordError(
            f"{record.path}: {EVENTS} tells of {len(told)} evaluations, {MATRIX} has {len(rows)} rows: the end of "
            f"{cut} is missing. The report is left as it was; the whole file is needed."
        )
    for number, (row, event) in enumerate(zip(rows, told, strict=False)):
        values = [value if math.isfinite(value) else None for value in row]
        if list(event.get("values") or ()) != values:
            raise RecordError(
                f"{record.path}: row {number} of {MATRIX} and its evaluation in {EVENTS} differ: one of them was "
                "changed. The report is left as it was."
            )
