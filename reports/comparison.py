"""What a comparison leaves in its folder: the numbers as JSON, tables in every format, and one page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..scenarios.run_folder import plain, write_atomically
from .comparison_html import render_comparison
from .comparison_text import WRITERS, runs_to_csv

PAGE, NUMBERS = "comparison.html", "comparison.json"
_FILES = {"csv": "comparison.csv", "latex": "comparison.tex", "markdown": "comparison.md"}


def write_comparison(out: Path, comparison: Mapping[str, Any]) -> Path:
    """Write all that a comparison leaves beside its runs; the same numbers give the same bytes.

    Args:
        out: Its folder.
        comparison: What `scenarios.compare` gave.

    Returns:
        The path of the page.

    Raises:
        OutputError: If something cannot be written.
    """
    files = {NUMBERS: printed(comparison, "json"), "runs.csv": runs_to_csv(comparison)}
    files |= {name: printed(comparison, form) for form, name in _FILES.items()}
    files[PAGE] = render_comparison(comparison)
    try:
        for name, text in files.items():
            write_atomically(out / name, text)
    except OSError as error:
        raise OutputError(f"{out}: the comparison cannot be written ({error.strerror}).") from error
    return out / PAGE


def printed(comparison: Mapping[str, Any], form: str) -> str:
    """Write a comparison in one form.

    Args:
        comparison: The numbers.
        form: "json", "csv", "latex" or "markdown".

    Returns:
        Text with a final newline; no NaN stands in JSON.
    """
    if form == "json":
        return json.dumps(plain(comparison), ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    return WRITERS[form](comparison)
