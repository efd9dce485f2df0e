"""Write the report of several runs: `summary.json` and `report.html` in a folder of their own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..scenarios.run_folder import plain, write_atomically
from .several import several
from .several_html import render

FOLDER = Path("evermap-report")


def report_several(runs: Sequence[Path], out: Path, baseline: str | None = None) -> tuple[Path, dict[str, Any]]:
    """Set runs side by side and write what they say.

    Args:
        runs: Their folders.
        out: The folder of the report; it is made where it is missing, and an older report in it is replaced.
        baseline: The agent that the others are compared with; left out: that of the first run.

    Returns:
        The path of `report.html`, and what stands in `summary.json`.

    Raises:
        RecordError: If none of the runs can be read.
        UserError: If the baseline is none of the agents.
        OutputError: If the folder cannot be written.
    """
    told = several(runs, baseline)
    page = out / "report.html"
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "summary.json", json.dumps(plain(told), ensure_ascii=False, allow_nan=False) + "\n")
        write_atomically(page, render(told))
    except OSError as error:
        raise OutputError(f"{out}: the report cannot be written ({error.strerror}).") from error
    return page, told
