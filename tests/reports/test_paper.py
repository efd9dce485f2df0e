"""Figures for a paper: all of them, in three formats, with fonts inside, the same bytes from the same record."""

import re
from pathlib import Path

import pytest

from evermap.errors import OutputError
from evermap.reports.paper import draw, slug
from evermap.reports.several import several
from evermap.reports.summary import summarise
from evermap.scenarios.record import read_record

RUN = ["matrix", "accuracy", "test-sets", "waterfall", "choices", "provenance", "learning", "cost"]
SEVERAL = ["accuracy", "differences", "over-time", "cost", "test-sets", "choices"]
NASTY = {0: "$x^2$ & 100 % \\frac{a}", 1: "数字 一", 3: "\x1b]0;owned\x07"}


def files(names):
    return [f"{name}.{ending}" for name in names for ending in ("pdf", "svg", "png")]


@pytest.fixture(name="one")
def _one(tell, write, tmp_path):
    return summarise(read_record(write(tell(tasks=6, names=NASTY), tmp_path / "run")))


@pytest.fixture(name="many")
def _many(tell, write, tmp_path):
    runs = []
    for agent in ("auto", "$fixed_a$"):
        for seed in range(3):
            path = tmp_path / f"{len(runs)}"
            runs.append(write(tell(tasks=4, seed=len(runs)), path, seed=seed, selector=agent))
    return several(runs)


def test_every_figure_of_a_run_in_every_format_with_its_fonts_and_at_its_width(one, tmp_path) -> None:
    made = draw(one, tmp_path / "figures")
    assert [path.name for path in made] == files(RUN)
    for path in made:
        content = path.read_bytes()
        if path.suffix == ".pdf":
            assert b"/Type3" not in content
            assert content.count(b"/FontFile2") == content.count(b"/Type /FontDescriptor") > 0  # each font is inside
            assert b"CreationDate" not in content
        elif path.suffix == ".svg":
            assert b"<text" not in content  # letters are outlines
            assert b"<dc:date>" not in content
            width = float(re.search(rb'width="([\d.]+)pt"', content)[1]) / 72
            narrow = {"accuracy": 3.4, "provenance": 3.4, "matrix": 3.4, "waterfall": 5.1}
            assert width == pytest.approx(narrow.get(path.stem, 7.0), abs=0.01)


@pytest.mark.slow
def test_every_figure_of_several_runs_in_every_format(many, tmp_path) -> None:
    assert [path.name for path in draw(many, tmp_path / "figures")] == files(SEVERAL)


@pytest.mark.slow
def test_the_same_record_gives_the_same_bytes(one, many, tmp_path) -> None:
    for summary in (one, many):
        first = {path.name: path.read_bytes() for path in draw(summary, tmp_path / "first")}
        assert first == {path.name: path.read_bytes() for path in draw(summary, tmp_path / "second")}


def test_a_run_without_anything_to_draw_draws_nothing(tell, write, tmp_path) -> None:
    empty = summarise(read_record(write(tell(tasks=0), tmp_path / "none", "interrupted")))
    assert draw(empty, tmp_path / "figures") == []


def test_runs_of_which_none_is_finished(tell, write, tmp_path) -> None:
    told = several([write(tell(tasks=1), tmp_path / "run", "failed")])
    assert draw(told, tmp_path / "figures") == []


@pytest.mark.slow
def test_scenarios_have_files_of_their_own(tell, write, tmp_path) -> None:
    runs = [
        write(tell(tasks=2), tmp_path / name, name="Ünder/score: a", stream={"source": name}) for name in ("one", "two")
    ]
    names = {path.name for path in draw(several(runs), tmp_path / "figures") if path.suffix == ".pdf"}
    assert len(names) == len({name.removesuffix(".pdf") for name in names}) == 10
    assert all(re.fullmatch(r"[a-z0-9-]+\.pdf", name) for name in names)
    assert slug("///") == "scenario"


def test_a_folder_that_cannot_be_made(one, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"--figures .*file: cannot be written \(File exists\)"):
        draw(one, Path(tmp_path / "file"))
