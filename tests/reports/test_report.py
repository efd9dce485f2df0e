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
        with pytest.raises(
            RecordError, match=r"events\.jsonl tells of \d evaluations, matrix\.csv has 4 rows: the end of events"
        ):
            report(folder)
    assert page.read_bytes() == good


def test_a_record_without_its_matrix_or_with_a_changed_one_makes_no_report(tmp_path, tell, write):
    folder = write(tell(tasks=3), tmp_path / "run")
    page, _ = report(folder)
    good, matrix = page.read_bytes(), folder / "matrix.csv"
    whole = matrix.read_text()
    *rows, last = whole.splitlines(keepends=True)
    matrix.write_text("".join([*rows, last.replace(last.split(",")[2], "0.123", 1)]))
    with pytest.raises(RecordError, match=r"row 3 of matrix\.csv and its evaluation in events\.jsonl differ"):
        report(folder)
    matrix.unlink()
    with pytest.raises(
        RecordError, match=r"events\.jsonl tells of 4 evaluations, matrix\.csv has 0 rows: the end of mat"
    ):
        report(folder)
    assert page.read_bytes() == good


def test_an_event_that_lacks_what_it_must_hold_is_named(tmp_path, tell, write):
    folder = write(tell(tasks=2), tmp_path / "run")
    events = folder / "events.jsonl"
    events.write_text(events.read_text().replace('"total_flops"', '"total"'))
    with pytest.raises(
        RecordError, match=r"events\.jsonl: an event does not hold what it must hold \(KeyError: 'total_f"
    ):
        report(folder)
