"""Golden values worked out by hand."""

import numpy as np
import pytest

from evermap.scenarios.gap import Values, gap_closed, picked_crosswise

FIXED = {"a": (0.5, 0.8, 0.7, 0.6), "b": (0.6, 0.6, 0.9, 0.7)}


def test_the_best_fixed_strategy_is_picked_on_the_other_half_of_the_seeds():
    # Seeds at even positions: a has (.5 + .7) / 2 = .6, b .75: b is valued on the odd ones.
    # At odd positions: a has .7, b .65: a is valued on the even ones.
    values, names = picked_crosswise(FIXED)
    assert names == ("a", "b", "a", "b")
    assert values == (0.5, 0.6, 0.7, 0.7)


def test_of_one_seed_there_is_no_other_half():
    assert picked_crosswise({"a": (0.5,), "b": (0.6,)}) == ((0.6,), ("b",))


def test_gap_closed():
    # Best fixed (.5, .6, .7, .7), mean .625; the selector has .7, the oracle .775.
    found = gap_closed([Values((0, 1, 2, 3), (0.6, 0.7, 0.7, 0.8), (0.7, 0.8, 0.8, 0.8), FIXED)])
    assert found.gained == pytest.approx(0.075)
    assert found.room == pytest.approx(0.15)
    assert found.value == pytest.approx(0.5)
    assert found.low <= found.value <= found.high
    assert found.reason is None
    assert 0 < found.room_low < 0.15 < found.room_high


def test_scenarios_are_pooled_as_a_ratio_of_sums():
    flat = {"a": (0.5, 0.5)}
    one = Values((0, 1), (0.6, 0.6), (0.9, 0.9), flat)  # .1 of .4
    other = Values((0, 1), (0.6, 0.6), (0.6, 0.6), flat)  # .1 of .1
    assert gap_closed([one, other]).value == pytest.approx(0.2 / 0.5), "not the mean of .25 and 1"


def test_the_interval_is_a_bootstrap_over_seeds():
    values = Values((0, 1, 2), (0.6, 0.5, 0.7), (0.9, 0.8, 0.7), {"a": (0.5, 0.5, 0.5)})
    rng = np.random.default_rng(7)
    drawn = [rng.integers(3, size=3) for _ in range(500)]  # as one block: the same stream of numbers
    ratios = []
    for picks in drawn:
        ratios.append(sum((0.1, 0.0, 0.2)[k] for k in picks) / sum((0.4, 0.3, 0.2)[k] for k in picks))
    found = gap_closed([values], seed=7, draws=500)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(ratios, [0.025, 0.975])))


@pytest.mark.parametrize(
    ("oracle", "said"),
    [
        ((0.4, 0.6, 0.5, 0.5), "includes 0"),
        ((0.3, 0.4, 0.4, 0.3), "lies below 0"),
        ((0.5, 0.5, 0.5, 0.5), "includes 0"),
    ],
)
def test_where_there_is_no_gap_the_number_is_undefined(oracle, said):
    found = gap_closed([Values((0, 1, 2, 3), (0.5,) * 4, oracle, {"a": (0.5,) * 4})])
    assert found.value is None
    assert said in found.reason
    assert "no gap to close" in found.reason


def test_of_one_seed_there_is_no_interval():
    found = gap_closed([Values((0,), (0.6,), (0.9,), {"a": (0.5,)})])
    assert found.value is None
    assert "one seed" in found.reason
    assert (found.gained, found.room) == pytest.approx((0.1, 0.4))
