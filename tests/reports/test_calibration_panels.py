"""Calibration and what happens during learning: drawn where a record has them, left out where it has not."""

import sys
from pathlib import Path

import pytest

from evermap.reports.figures import Frame
from evermap.reports.html import render
from evermap.reports.interim import FRAME, interim
from evermap.reports.paper_tasks import calibration, during
from evermap.reports.reliability import reliability
from evermap.reports.summary import summarise
from evermap.scenarios.record import read_record

sys.path.insert(0, str(Path(__file__).parent))
from browser import CHROMIUM, measured

NASTY = "<script>alert('x')</script> & \"q\""


@pytest.fixture(name="summary")
def _summary(tell, write, tmp_path):
    found = summarise(read_record(write(tell(tasks=4, names={1: NASTY}), tmp_path / "run")))
    columns = len(found["concepts"])
    bins = [(10, 0.5, 0.6), (10, 0.7, 0.7), (20, 0.95, 0.85)]
    found["calibration"] = {
        "row": 4,
        "bins": [dict(zip(("samples", "confidence", "accuracy"), each, strict=True)) for each in bins],
        "log_loss": [0.2] * columns,
        "ece": [0.05, None] + [0.1] * (columns - 2),
        "mse": [],
    }
    found["during"] = [
        {"task": task, "values": [0.9, 0.4 if task == 2 else 0.8, None, None][:columns]}
        for task in range(1, 4)
        for _ in range(2)
    ]
    found["measures"] = [
        {
            "group": "stability",
            "name": "a",
            "title": NASTY,
            "value": None,
            "text": "n/a",
            "unit": "",
            "reason": NASTY,
            "convention": "c",
        },
        {
            "group": "cost",
            "name": "b",
            "title": "B",
            "value": 1.0,
            "text": "1.0",
            "unit": "%",
            "reason": None,
            "convention": "c; D 2020",
        },
    ]
    found["references"] = [{"id": NASTY, "agent": "joint"}]
    return found


def test_the_diagram_by_hand(summary) -> None:
    drawn = reliability(summary)
    # (10 · 0.1 + 10 · 0 + 20 · 0.1) / 40
    assert drawn["error"] == pytest.approx(0.075)
    x, y, on_diagonal, said = drawn["dots"][0]
    frame: Frame = drawn["frame"]
    assert (x, y, on_diagonal) == (frame.x(0.5), frame.y(0.6), frame.y(0.5))
    assert said == "10 answers given with 50.0 % on average: 60.0 % are right"
    assert [row["ece"] for row in drawn["rows"]][:2] == [0.05, None]


def test_the_lowest_point_since_a_test_set_was_learned(summary) -> None:
    second = next(each for each in interim(summary) if each["number"] == 2)
    assert second["lowest"] == 0.4
    # Four tasks; of the two evaluations during the third, the first stands a third of the way from 2 to 3.
    assert second["low"] == (FRAME.x((2 + 1 / 3) / 4), FRAME.y(0.4))


@pytest.mark.parametrize("make", [calibration, during])
def test_both_are_drawn_for_a_paper_where_there_is_something(make, summary) -> None:
    assert make(summary) is not None
    del summary["calibration"], summary["during"]
    assert make(summary) is None


def test_a_record_without_them_has_no_panel(summary) -> None:
    for key in ("calibration", "during", "measures", "references"):
        del summary[key]
    page = render(summary)
    assert reliability(summary) == {}
    assert interim(summary) == []
    assert "Calibration" not in page
    assert "Further numbers" not in page


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to look at the page with")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_opens_it_without_complaint(width, summary, tmp_path) -> None:
    page = tmp_path / "page.html"
    page.write_text(render(summary).replace('<details class="further">', '<details class="further" open>'))
    assert "<script" not in page.read_text()
    found = measured(page, width, tmp_path)
    assert (found["sticks"], found["sections"], found["asked"]) == (0, 12, 0)
    assert found["console"] == found["lying"] == found["labels"] == found["out"] == []
