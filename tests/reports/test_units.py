import pytest
from hypothesis import given
from hypothesis import strategies as st

from evermap.reports import units


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.961, "96.1"), (1.0, "100.0"), (-0.02, "−2.0"), (-0.0001, "0.0"), (None, "n/a"), (float("nan"), "n/a")],
)
def test_percent(value: float | None, said: str) -> None:
    assert units.percent(value) == said


@pytest.mark.parametrize(
    ("value", "said"), [(0.031, "+3.1"), (-0.031, "−3.1"), (0.0, "0.0"), (-0.0001, "0.0"), (None, "n/a")]
)
def test_points(value: float | None, said: str) -> None:
    assert units.points(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0 FLOP"),
        (999, "999 FLOP"),
        (1.5e6, "1.50 MFLOP"),
        (999.9e6, "1.00 GFLOP"),
        (34.6e9, "34.6 GFLOP"),
        (None, "n/a"),
    ],
)
def test_flops(value: float | None, said: str) -> None:
    assert units.flops(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.035, "35 ms"), (0.9, "0.9 s"), (59.96, "1 min 00 s"), (125, "2 min 05 s"), (11_220, "3 h 07 min")],
)
def test_seconds(value: float, said: str) -> None:
    assert units.seconds(value) == said


def test_size() -> None:
    assert [units.size(n) for n in (0, 999, 1000, 412_345, 3.43e6)] == ["0 B", "999 B", "1.00 kB", "412 kB", "3.43 MB"]


@given(st.text())
def test_plain_text_is_one_printable_line(text: str) -> None:
    assert units.plain(text).isprintable()


def test_plain_takes_the_terminals_orders_away() -> None:
    assert units.plain("a\x1b[31mred\n\tb\x07") == "a?[31mred b?"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no stored encoder helps", "No stored encoder helps."),
        ("encoder-5 helps", "encoder-5 helps."),
        ("It is so!", "It is so!"),
        ("", ""),
    ],
)
def test_sentence(text: str, said: str) -> None:
    assert units.sentence(text) == said


def test_ranges() -> None:
    assert units.ranges([1, 3, 4, 5, 7, 8]) == "1, 3–5, 7, 8"
