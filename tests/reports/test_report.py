import pytest

from evermap.errors import RecordError
from evermap.reports.report import report


def test_events_that_end_too_early_make_no_report(tmp_path, tell, write):
    folder = write(tell(tasks=3), tmp_path / "run")
    page, _ = report(folder)
    good = page.read_bytes()
    events = folder / "events.jsonl"
    lines = events.read_text().splitlines(keepends=True)
    for kept in ([], lines[: len(lines) // 2]):
        events.write_text("".join(kept))
        with pytest.raises(RecordError, match=r"events\.jsonl: tells of \d evaluations, matrix\.csv has 4 rows"):
            report(folder)
    assert page.read_bytes() == good
