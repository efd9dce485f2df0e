"""Places on the page, worked out by hand."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evermap.reports.scale import linear, logarithmic
from evermap.reports.several_figures import choices, means, paired
from evermap.reports.several_plots import apart, bands


def mean(value, low=None, high=None, n=2):
    return {"n": n, "mean": value, "low": low, "high": high, "note": None}


def test_an_axis_has_round_ends() -> None:
    axis = linear([0.812, 0.853])
    assert axis.marks == (0.81, 0.82, 0.83, 0.84, 0.85, 0.86)
    assert axis.share(0.81) == 0
    assert axis.share(0.86) == 1
    assert axis.percent(0.835) == 50
    assert axis.percent(7) == 100


def test_a_logarithmic_axis_has_equal_steps_for_equal_factors() -> None:
    axis = logarithmic([1e9, 1e11])
    assert axis is not None
    assert axis.marks == (1e9, 2e9, 5e9, 1e10, 2e10, 5e10, 1e11)
    assert axis.share(1e10) - axis.share(1e9) == pytest.approx(axis.share(1e11) - axis.share(1e10))
    assert logarithmic([0.0, math.nan]) is None


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=9))
def test_every_value_lies_on_its_axis(values) -> None:
    axis = linear(values)
    assert axis.low <= min(values) + 1e-6
    assert axis.high >= max(values) - 1e-6
    assert all(0 <= axis.share(value) <= 1 for value in values)
    assert 2 <= len(axis.marks) <= 8


@given(st.lists(st.floats(1e-3, 1e12), min_size=1, max_size=9))
def test_a_logarithmic_axis_always_has_marks(values) -> None:
    axis = logarithmic(values)
    assert axis is not None
    assert axis.marks
    assert all(0 <= axis.share(value) <= 1 for value in values)


@given(st.lists(st.one_of(st.none(), st.floats(0, 300)), max_size=12))
def test_labels_do_not_lie_on_each_other_and_keep_their_order(places) -> None:
    found = apart(places, 13.0)
    assert [each is None for each in found] == [each is None for each in places]
    at = [(p, f) for p, f in zip(places, found, strict=True) if p is not None]
    ends = sorted(f for _, f in at)
    assert all(b - a >= 13.0 - 0.02 for a, b in pairwise(ends))
    assert all(f <= g + 0.02 for p, f in at for q, g in at if p < q)


SCENARIO = {
    "regression": False,
    "tasks": 2,
    "agents": [
        {
            "agent": "a",
            "number": 1,
            "curve": [{"task": 0, **mean(0.9, 0.85, 0.95)}, {"task": 1, **mean(0.7, 0.6, 0.8)}],
            "choices": [{"scratch": 3, "reuse": 1}, {}],
            "strategies": {"scratch": 3, "reuse": 1},
        }
    ],
}


def test_means_and_seeds_lie_on_one_axis() -> None:
    runs = [{"seed": 3, "values": {"accuracy": 0.5}}, {"seed": 4, "values": {"accuracy": 0.7}}]
    compared = {"agents": [{"means": {"accuracy": mean(0.6, 0.5, 0.7)}, "runs": runs}]}
    drawn = means(SCENARIO, compared)
    assert drawn["ticks"] == [(0, "50"), (25, "55"), (50, "60"), (75, "65"), (100, "70")]
    (row,) = drawn["rows"]
    assert (row["from"], row["width"], row["at"]) == (0, 100, 50)
    assert row["dots"] == [(0, "seed 3: 50.0"), (100, "seed 4: 70.0")]
    assert (row["text"], row["range"]) == ("60.0", "50.0 to 70.0")


def test_a_band_goes_there_on_its_roof_and_back_on_its_floor() -> None:
    drawn = bands(SCENARIO)
    frame = drawn["frame"]
    assert [text for _, text in drawn["rows"]] == ["60", "70", "80", "90", "100"]
    top, height = frame.top, frame.height
    y = [round(top + (1 - (value - 0.6) / 0.4) * height, 2) for value in (0.95, 0.8, 0.6, 0.85)]
    xs = [40, 660, 660, 40]
    assert [tuple(map(float, p.split())) for p in drawn["agents"][0]["band"].strip("MZ").split("L")] == [
        pytest.approx(pair) for pair in zip(xs, y, strict=True)
    ]


def test_choices_are_shares_of_the_seeds() -> None:
    (row,) = choices(SCENARIO)
    assert row["bars"][0]["parts"] == [(0, 19.5, "scratch"), (19.5, 6.5, "reuse")]
    assert [bar["said"] for bar in row["bars"]] == ["task 1: scratch 3×, reuse 1×", "task 2: nothing"]


def test_the_zone_of_equivalence_lies_around_zero() -> None:
    row = {
        "agent": "a",
        "seeds": [0, 1],
        "differences": [-0.02, 0.03],
        "mean": 0.005,
        "bootstrap": (-0.02, 0.03),
        "wilcoxon": 1.0,
        "holm": 1.0,
        "verdict": "undecided",
        "not_worse": "no",
        "note": None,
    }
    drawn = paired(SCENARIO, {"paired": [row]}, 0.01)
    assert [text for _, text in drawn["ticks"]] == ["−2", "−1", "0", "+1", "+2", "+3"]
    assert drawn["zero"] == 40
    assert drawn["zone"] == (20, 40)
    assert (drawn["rows"][0]["from"], drawn["rows"][0]["width"], drawn["rows"][0]["at"]) == (0, 100, 50)
