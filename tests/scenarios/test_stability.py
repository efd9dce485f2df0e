import sys
from pathlib import Path

import numpy as np
import pytest

from evermap.scenarios.metrics import AccuracyMatrix
from evermap.scenarios.stability import (
    During,
    min_accuracy,
    min_accuracy_per_column,
    stability_gap_per_column,
    worst_case_accuracy,
)

sys.path.insert(0, str(Path(__file__).parent))
from matrices import GOLDEN

# while b was learned a fell to .40, while c was learned b fell to .75; a itself was at .10 while it was learned
DURING = (
    During(0, 5, (0.10, None, None)),
    During(1, 5, (0.40, 0.30, None)),
    During(1, 10, (0.65, 0.70, None)),
    During(2, 5, (0.58, 0.75, 0.50)),
)


def test_lowest_accuracies_by_hand():
    # a: .40 while b was learned, though the rows never fell below .60; b: .75
    assert min_accuracy_per_column(GOLDEN, DURING).values == pytest.approx((0.40, 0.75, None))
    assert min_accuracy(GOLDEN, DURING).value == pytest.approx(0.575)
    # k = 3: .95 / 3 + (1 − 1/3) · .575
    assert worst_case_accuracy(GOLDEN, DURING).value == pytest.approx(0.95 / 3 + 2 / 3 * 0.575)


def test_the_gap_is_what_was_made_good():
    # a: .60 in the end, .40 on the way; b: .80 after it was learned, .75 on the way
    assert stability_gap_per_column(GOLDEN, DURING).values == pytest.approx((0.20, 0.05, None))
    falling = AccuracyMatrix(
        np.array([[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]), ("a", "b"), (None, 0, 1), (1, 2), ((0,), (0,)), (False, False)
    )
    assert stability_gap_per_column(falling, (During(1, 1, (0.7, 0.2)),)).values == pytest.approx((0.0, None))


def test_rows_count_as_evaluations():
    assert min_accuracy_per_column(GOLDEN, (During(2, 5, (0.99, 0.99, None)),)).values[0] == pytest.approx(0.60)


def test_without_evaluations_during_learning_there_is_nothing_to_say():
    for measure in (min_accuracy(GOLDEN, ()), worst_case_accuracy(GOLDEN, ())):
        assert measure.value is None
        assert "nothing was evaluated during learning (evaluate_units)" in measure.reason
