"""Make a run's report from its record alone: `summary.json` and `report.html`, each replaced in one step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import OutputError, RecordError
from ..scenarios.record import read_record
from ..scenarios.run_folder import EVENTS, MATRIX, write_atomically
from .html import render
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


def report(run_dir: Path) -> tuple[Path, dict[str, Any]]:
    """Write the report of a run and give back its numbers as well.

    Args:
        run_dir: The folder of the record.

    Returns:
        The path of `report.html`, and what stands in `summary.json`.

    Raises:
        RecordError: If the folder holds no record, or its events end before its matrix does.
        OutputError: If it cannot be written.
    """
    record = read_record(run_dir)
    told = sum(event.get("event") == "Evaluated" for event in record.events)
    rows = 0 if record.matrix is None else len(record.matrix.values)
    if told < rows:  # events are written first, so no crash leaves this behind
        raise RecordError(
            f"{run_dir / EVENTS}: tells of {told} evaluations, {MATRIX} has {rows} rows: its end is missing. "
            "The report is left as it was; the whole file is needed."
        )
    summary = summarise(record)
    page = run_dir / "report.html"
    try:
        write_atomically(run_dir / "summary.json", to_text(summary))
        write_atomically(page, render(summary))
    except OSError as error:
        raise OutputError(f"{run_dir}: the report cannot be written ({error.strerror}).") from error
    return page, summary
