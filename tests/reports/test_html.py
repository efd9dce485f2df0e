import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from evermap.errors import OutputError, RecordError
from evermap.reports.report import report, write_report

sys.path.insert(0, str(Path(__file__).parent))
from browser import CHROMIUM, measured

NASTY = "<script>alert('x')</script> & \"q\" {{ 7 * 7 }}"
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Tags(HTMLParser):
    """Checks that tags nest, and gathers what a page refers to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.labels: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data"):
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if name == "aria-labelledby":
                self.labels.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(params=["finished", "label given", "one task", "no task", "nasty", "many"])
def run(request: pytest.FixtureRequest, tell: Callable[..., Any], write: Callable[..., Path], tmp_path: Path) -> Path:
    told, fields = tell(), {}
    if request.param == "label given":
        told = tell(label_given=True)
    elif request.param == "one task":
        told = tell(tasks=1)
    elif request.param == "no task":
        return write(tell(tasks=0), tmp_path / "run", status="interrupted")
    elif request.param == "nasty":
        told, fields = tell(names={0: NASTY, 3: "\x1b]0;owned\x07"}), {"name": NASTY, "description": NASTY}
    elif request.param == "many":
        told = tell(columns=30)
    return write(told, tmp_path / "run", **fields)


def test_the_page_is_whole_and_asks_for_nothing(run: Path) -> None:
    page = write_report(run).read_text()
    tags = Tags(page)
    assert "script" not in tags.seen
    assert tags.links == ["data:,"]  # the empty icon, so that no browser asks for one
    assert sorted(tags.labels) == sorted(tags.ids)
    assert not re.search(r"url\(|@import|https?://", page)
    assert "None" not in page
    shown = re.sub(r"<style>.*</style>", "", page, flags=re.DOTALL)
    assert not re.search(r"\bnan\b", shown, re.IGNORECASE)  # as a word: "performance maintenance" is a measure


def test_the_same_record_gives_the_same_bytes(run: Path) -> None:
    def files() -> tuple[bytes, bytes]:
        page = write_report(run)
        return page.read_bytes(), (run / "summary.json").read_bytes()

    assert files() == files()
    assert [each.name for each in run.iterdir() if each.name.startswith(".")] == []


def test_names_are_shown_and_never_obeyed(tell: Callable[..., Any], write: Callable[..., Path], tmp_path: Path) -> None:
    run = write(tell(names={0: NASTY}), tmp_path / "run", name=NASTY, description=NASTY)
    page = write_report(run).read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &#34;q&#34; {{ 7 * 7 }}" in page


def test_what_is_undefined_says_why(tell: Callable[..., Any], write: Callable[..., Path], tmp_path: Path) -> None:
    page = write_report(write(tell(tasks=1, label_given=True), tmp_path / "run")).read_text()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "Forward transfer (zero-shot) n/a Only one task was learned." in text
    assert "Forgetting n/a Only one task was learned." in text


def test_values_choices_and_reasons_stand_in_the_page(
    tell: Callable[..., Any], write: Callable[..., Path], tmp_path: Path
) -> None:
    told = tell()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", write_report(write(told, tmp_path / "run")).read_text()))
    for row in told.matrix.values:
        for value in row:
            assert f"{100 * value:.1f}" in text
    for event in told.lines:
        if event["event"] == "Chosen":
            assert event["reason"] in text
    assert "reuse ← encoder-3 of task 4, “0–4 rotated by 90°”" in text
    assert "evermap run demo --seed 0" in text
    assert "The loss of distill was not finite after unit 3; finetune went on instead." in text


def test_report_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no run record"):
        report(tmp_path)


def test_report_that_cannot_be_written(tell: Callable[..., Any], write: Callable[..., Path], tmp_path: Path) -> None:
    run = write(tell(tasks=1), tmp_path / "run")
    (run / "summary.json").mkdir()
    with pytest.raises(OutputError, match=r"the report cannot be written"):
        report(run)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to look at the page with")
@pytest.mark.parametrize(("width", "nasty"), [(1280, False), (390, True)])
def test_a_browser_opens_it_without_complaint(
    width: int, nasty: bool, tell: Callable[..., Any], write: Callable[..., Path], tmp_path: Path
) -> None:
    names = {0: NASTY, 1: "a very long name " * 12, 2: "x" * 200} if nasty else None
    found = measured(write_report(write(tell(names=names), tmp_path / "run")), width, tmp_path)
    assert (found["sticks"], found["sections"], found["asked"]) == (0, 10, 0)
    assert found["console"] == found["lying"] == found["labels"] == found["out"] == []
