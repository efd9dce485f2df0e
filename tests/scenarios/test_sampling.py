import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evermap.scenarios.matrix import AccuracyMatrix
from evermap.scenarios.metrics import all_measures
from evermap.scenarios.sampling import over_samples, weighted, wilson

# Two tasks, a row before learning; classes known before, so that forward transfer is defined for the second.
R = AccuracyMatrix(
    values=np.array([[0.5, 0.4], [0.9, 0.6], [0.8, 0.7]]),
    columns=("a", "b"),
    row_tasks=(None, 0, 1),
    learned_at=(1, 2),
    class_sets=((0, 1), (0, 1)),
    own_labels=(False, False),
)


def test_wilson_as_published() -> None:
    # Newcombe 1998 (Statistics in Medicine 17:857), method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15 / 148, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1 / 29, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_a_difference_as_published() -> None:
    # Newcombe 1998 (Statistics in Medicine 17:873), method 10, which MOVER generalises: 56/70 - 48/80, 9/10 - 3/10.
    assert weighted([(1, 56 / 70, 70), (-1, 48 / 80, 80)]) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert weighted([(1, 0.9, 10), (-1, 0.3, 10)]) == pytest.approx((0.1705, 0.8090), abs=5e-5)


def test_one_test_set_has_wilsons_interval() -> None:
    assert weighted([(1.0, 0.7, 50)]) == pytest.approx(wilson(0.7, 50))


@pytest.mark.parametrize("measure", all_measures(R), ids=lambda each: each.name)
def test_every_headline_number_lies_in_its_interval(measure) -> None:
    found = over_samples(measure.name, R, (200, 300))
    assert found.reason is None
    assert found.low < measure.value < found.high


def test_average_accuracy_by_hand() -> None:
    (low_a, high_a), (low_b, high_b) = wilson(0.8, 200), wilson(0.7, 300)
    found = over_samples("average accuracy", R, (200, 300))
    assert found.low == pytest.approx(0.75 - math.hypot((0.8 - low_a) / 2, (0.7 - low_b) / 2))
    assert found.high == pytest.approx(0.75 + math.hypot((high_a - 0.8) / 2, (high_b - 0.7) / 2))


def test_samples_that_are_asked_in_every_row_count_once() -> None:
    same = AccuracyMatrix(np.full((4, 1), 0.8), ("a",), (None, 0, 1, 2), (1,), ((0, 1),), (False,))
    found = over_samples("average incremental accuracy", same, (100,))
    assert (found.low, found.high) == pytest.approx(wilson(0.8, 100))


def test_where_nothing_changed_there_is_nothing_to_bound() -> None:
    same = AccuracyMatrix(np.full((3, 2), 0.8), ("a", "b"), (None, 0, 1), (1, 2), ((0,), (0,)), (False, False))
    assert over_samples("forgetting", same, (9, 9)).reason == "both rows are equal on every test set"


@pytest.mark.parametrize(
    ("changes", "samples", "reason"),
    [
        ({"class_sets": ((), ())}, (9, 9), "R² is not a share"),
        ({"class_sets": ((0,), ())}, (9, 9), "some of the test sets ask for values"),
        ({}, (), "does not say how many test samples"),
        ({"values": np.full((3, 2), math.nan)}, (9, 9), "was not measured"),
    ],
)
def test_no_interval_has_a_reason(changes, samples, reason) -> None:
    fields = {key: getattr(R, key) for key in R.__dataclass_fields__} | changes
    found = over_samples("average accuracy", AccuracyMatrix(**fields), samples)
    assert found.low is None
    assert reason in found.reason


@given(st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 50), st.integers(1, 200)), min_size=1, max_size=6))
def test_more_samples_narrow_it_and_the_value_lies_inside(terms) -> None:
    few = [(weight, right / 50, n) for weight, right, n in terms]
    many = [(weight, share, 100 * n) for weight, share, n in few]
    value = sum(weight * share for weight, share, _ in few)
    low, high = weighted(few)
    assert low - 1e-9 <= value <= high + 1e-9
    narrow = weighted(many)
    assert narrow[1] - narrow[0] <= high - low + 1e-9
