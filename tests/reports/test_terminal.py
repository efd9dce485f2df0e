import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from evermap.reports.summary import summarise
from evermap.reports.terminal import overview
from evermap.scenarios.record import read_record


@pytest.mark.parametrize("width", [80, 120])
def test_the_overview_fits_and_tells_all(
    width: int, tell: Callable[..., Any], write: Callable[..., Path], tmp_path: Path
) -> None:
    summary = summarise(read_record(write(tell(names={0: "[red]0–4[/red]"}), tmp_path / "run", status="interrupted")))
    file = io.StringIO()
    Console(file=file, width=width).print(overview(summary))
    said = file.getvalue()
    assert max(map(len, said.splitlines())) <= width
    assert "[red]0–4[/red]" in said
    assert "reuse from 4" in said
    for each in summary["headline"]:
        assert each["title"] in said
        assert each["text"] in said
    assert "Interrupted: The record holds 12 of 12 tasks" in said
    assert "Task 10: The loss of distill was not finite" in said
