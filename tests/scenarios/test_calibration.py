import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evermap.scenarios.calibration import Bin, calibration_error, log_loss, reliability


def test_bins_of_equal_mass_by_hand():
    confidence, right = [0.9, 0.6, 0.7, 0.8, 0.95], [1, 1, 0, 0, 1]
    # two bins: .6, .7, .8 (one of three right) and .9, .95 (both)
    bins = reliability(confidence, right, bins=2)
    assert [each.samples for each in bins] == [3, 2]
    assert [each.confidence for each in bins] == pytest.approx([0.7, 0.925])
    assert [each.accuracy for each in bins] == pytest.approx([1 / 3, 1.0])
    assert calibration_error(bins).value == pytest.approx(3 / 5 * (0.7 - 1 / 3) + 2 / 5 * 0.075)


def test_answers_with_one_probability_are_right_in_equal_shares():
    # four bins of one answer each would say |1 − .5| and |0 − .5|; the answers are perfectly calibrated
    for right in ([1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 1, 1]):
        bins = reliability([0.5] * 4, right, bins=4)
        assert {(each.confidence, each.accuracy) for each in bins} == {(0.5, 0.5)}
        assert calibration_error(bins).value == 0.0


def test_fewer_answers_than_bins():
    assert reliability([0.8, 0.6], [1, 0]) == (Bin(1, 0.6, 0.0), Bin(1, 0.8, 1.0))
    assert reliability([], []) == ()
    assert calibration_error(()).reason == "there is no answer about classes"
    with pytest.raises(ValueError, match="both must be"):
        reliability([0.5], [1, 0])


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9, 1.0]), st.booleans()), min_size=1, max_size=60))
def test_the_error_equals_a_plain_loop(answers):
    by_confidence = {}
    for p, right in answers:
        by_confidence.setdefault(p, []).append(right)
    shares = sorted((p, sum(by_confidence[p]) / len(by_confidence[p])) for p, _ in answers)
    bins, error, start = min(15, len(shares)), 0.0, 0
    for b in range(bins):
        size = len(shares) // bins + (b < len(shares) % bins)
        part = shares[start : start + size]
        start += size
        error += abs(sum(y for _, y in part) / size - sum(p for p, _ in part) / size) * size / len(shares)
    found = calibration_error(reliability([p for p, _ in answers], [y for _, y in answers]))
    assert found.value == pytest.approx(error, abs=1e-12)


def test_the_order_of_samples_does_not_matter():
    rng = np.random.default_rng(0)
    confidence, right = rng.choice([0.3, 0.6, 0.9], 100), rng.random(100) < 0.5
    order = rng.permutation(100)
    assert reliability(confidence, right) == reliability(confidence[order], right[order])


def test_log_loss_by_hand():
    assert log_loss([math.log(0.5), math.log(0.25)]).value == pytest.approx(1.5 * math.log(2))
    assert log_loss([]).value is None
