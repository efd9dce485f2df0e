import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evermap.scenarios.metrics import (
    AccuracyMatrix,
    all_measures,
    all_per_column,
    average_accuracy,
    average_incremental_accuracy,
    backward_transfer,
    backward_transfer_per_column,
    evaluated_once,
    forgetting,
    forgetting_per_column,
    forward_transfer,
    forward_transfer_per_column,
    from_csv,
    learning_accuracy,
    r_squared,
    to_csv,
)

sys.path.insert(0, str(Path(__file__).parent))
from matrices import GOLDEN


def test_golden_values_worked_out_by_hand():
    assert average_accuracy(GOLDEN).value == pytest.approx((0.60 + 0.85 + 0.95) / 3)
    assert average_incremental_accuracy(GOLDEN).value == pytest.approx((0.70 + 0.85 + 0.80) / 3)
    assert learning_accuracy(GOLDEN).value == pytest.approx((0.70 + 0.80 + 0.95) / 3)
    # a: best before the last row .90, not the first .70; b: .80 is its only earlier row, and it improved
    assert forgetting_per_column(GOLDEN).values == pytest.approx((0.30, -0.05, None))
    assert forgetting(GOLDEN).value == pytest.approx(0.125)
    assert backward_transfer_per_column(GOLDEN).values == pytest.approx((-0.10, 0.05, None))
    assert backward_transfer(GOLDEN).value == pytest.approx(-0.025)
    # b: row 1 against row 0; c: row 2 against row 0
    assert forward_transfer_per_column(GOLDEN).values == pytest.approx((None, 0.05, 0.30))
    assert forward_transfer(GOLDEN).value == pytest.approx(0.175)


def test_reasons_stand_where_numbers_do_not():
    assert forgetting_per_column(GOLDEN).reasons == (None, None, "it was learned last")
    assert forward_transfer_per_column(GOLDEN).reasons == ("no task of this stream was learned before it", None, None)
    for per_column in all_per_column(GOLDEN):
        assert [v is None for v in per_column.values] == [r is not None for r in per_column.reasons]


def test_a_returning_task_has_its_first_visit_as_diagonal():
    # a, b, a again: row 3 follows the second visit
    R = AccuracyMatrix(
        values=np.array([[0.1, 0.1], [0.8, 0.2], [0.5, 0.9], [0.9, 0.7]]),
        columns=("a", "b"),
        row_tasks=(None, 0, 1, 2),
        learned_at=(1, 2),
        class_sets=((0,), (0,)),
        own_labels=(False, False),
    )
    assert backward_transfer_per_column(R).values == pytest.approx((0.1, -0.2))
    assert forgetting_per_column(R).values == pytest.approx((0.8 - 0.9, 0.9 - 0.7))
    assert learning_accuracy(R).value == pytest.approx((0.8 + 0.9) / 2)


def test_another_order_of_learning_changes_the_diagonal():
    R = replace(GOLDEN, learned_at=(3, 1, 2))
    assert learning_accuracy(R).value == pytest.approx((0.25 + 0.60 + 0.60) / 3)
    assert backward_transfer_per_column(R).values == pytest.approx((None, 0.60, 0.35))
    assert forward_transfer_per_column(R).values == pytest.approx((0.80, None, 0.05))


def test_forward_transfer_is_undefined_for_labels_of_the_tasks_own():
    measure = forward_transfer(replace(GOLDEN, own_labels=(True, True, True)))
    assert measure.value is None
    assert "mean something in this task only, so nobody can know them before (2 of 3)" in str(measure.reason)
    # one such column says nothing about the others, and its ids are not those of others
    last = forward_transfer_per_column(replace(GOLDEN, own_labels=(False, False, True)))
    assert last.values == pytest.approx((None, 0.05, None))
    first = forward_transfer_per_column(replace(GOLDEN, own_labels=(True, False, False)))
    assert first.values == pytest.approx((None, None, 0.30))
    assert first.reasons[1] == "classes of it were not seen before it"


def test_forward_transfer_is_undefined_for_unseen_classes():
    one_unseen = forward_transfer_per_column(replace(GOLDEN, class_sets=((0, 1), (0, 1), (1, 2))))
    assert one_unseen.values == pytest.approx((None, 0.05, None))
    assert one_unseen.reasons[2] == "classes of it were not seen before it"
    assert one_unseen.mean().value == pytest.approx(0.05)
    # classes of a task learned in the same row were not seen *before* it
    together = replace(GOLDEN, learned_at=(1, 2, 2), class_sets=((0, 1), (0, 1, 2), (2,)))
    assert forward_transfer_per_column(together).values == (None, None, None)


def one_task() -> AccuracyMatrix:
    return AccuracyMatrix(np.array([[0.5], [0.9]]), ("a",), (None, 0), (1,), ((0, 1),), (False,))


def test_one_task_has_an_accuracy_and_no_transfer():
    R = one_task()
    assert average_accuracy(R).value == learning_accuracy(R).value == average_incremental_accuracy(R).value == 0.9
    for measure in (forgetting(R), backward_transfer(R), forward_transfer(R)):
        assert (measure.value, measure.reason) == (None, "only one task was learned")


def test_before_any_learning_everything_is_undefined():
    for rows in (0, 1):
        R = AccuracyMatrix(np.full((rows, 1), 0.5), ("a",), (None,) * rows, (None,), ((0,),), (False,))
        assert {(m.value, m.reason) for m in all_measures(R)} == {(None, "nothing was learned yet")}


def test_without_columns_everything_is_undefined():
    R = AccuracyMatrix(np.empty((2, 0)), (), (None, 0), (), (), ())
    assert {(m.value, m.reason) for m in all_measures(R)} == {(None, "there is no test set")}


def test_an_interrupted_run_counts_what_was_learned():
    R = replace(GOLDEN, values=GOLDEN.values[:3], row_tasks=(None, 0, 1), learned_at=(1, 2, None))
    assert average_accuracy(R).value == pytest.approx(0.85)
    assert backward_transfer(R).value == pytest.approx(0.2)
    assert forgetting_per_column(R).reasons == (None, "it was learned last", "it was never learned")


def test_a_missing_value_is_never_left_out_of_a_mean():
    values = GOLDEN.values.copy()
    values[3, 0] = np.nan
    R = replace(GOLDEN, values=values)
    for measure in (average_accuracy(R), average_incremental_accuracy(R), forgetting(R), backward_transfer(R)):
        assert (measure.value, measure.reason) == (None, "the accuracy on 'a' was not measured in row 3")
    assert learning_accuracy(R).value is not None  # needs no value of the last row for a
    assert forgetting_per_column(R).values == pytest.approx((None, -0.05, None))
    assert forgetting_per_column(R).missing == (True, False, False)


def test_every_measure_prints_its_source():
    for measure in (*all_measures(GOLDEN), *all_per_column(GOLDEN)):
        assert "20" in measure.convention


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"row_tasks": (None, 0)}, "values have shape"),
        ({"learned_at": (1, 2)}, "learned_at has 2 entries for 3 columns"),
        ({"learned_at": (0, 1, 2)}, "rows 1 to 3 follow some learning"),
        ({"learned_at": (1, 2, 4)}, "rows 1 to 3 follow some learning"),
        ({"class_sets": ()}, "class_sets has 0 entries"),
        ({"own_labels": (True,)}, "own_labels has 1 entries"),
    ],
)
def test_a_matrix_that_contradicts_itself_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(GOLDEN, **change)


def test_a_matrix_cannot_be_written_into():
    source = GOLDEN.values.copy()
    R = replace(GOLDEN, values=source)
    source[:] = 0
    assert R == GOLDEN
    with pytest.raises(ValueError, match="read-only"):
        R.values[0, 0] = 1.0


class TestRSquared:
    def test_perfect_mean_and_worse(self):
        y = np.array([[1.0], [2.0], [3.0]])
        assert r_squared(y, y).value == 1.0
        assert r_squared(np.full((3, 1), 2.0), y).value == pytest.approx(0.0)
        assert r_squared(np.array([[3.0], [2.0], [1.0]]), y).value == pytest.approx(-3.0)

    def test_undefined(self):
        assert r_squared([1.0, 2.0], [3.0, 3.0]).reason == "the test targets do not vary"
        assert r_squared([], []).reason == "there is no test sample"
        assert r_squared([math.nan], [1.0]).reason == "a prediction or a target is not finite"

    def test_shapes_must_match(self):
        with pytest.raises(ValueError, match="predictions have shape"):
            r_squared([1.0], [1.0, 2.0])


# ---- against plain loops ---------------------------------------------------------------------------------------------

accuracies = st.floats(0, 1, allow_nan=False)
names = st.text(st.characters(codec="utf-8"), max_size=8)


@st.composite
def matrices(draw, values=accuracies):
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    learned = st.none() | st.integers(1, rows - 1) if rows > 1 else st.none()
    return AccuracyMatrix(
        values=np.array(draw(st.lists(values, min_size=rows * columns, max_size=rows * columns))).reshape(
            rows, columns
        ),
        columns=tuple(draw(st.lists(names, min_size=columns, max_size=columns))),
        row_tasks=(None, *range(rows - 1)),
        learned_at=tuple(draw(st.lists(learned, min_size=columns, max_size=columns))),
        class_sets=tuple(
            tuple(sorted(each))
            for each in draw(st.lists(st.sets(st.integers(0, 3)), min_size=columns, max_size=columns))
        ),
        own_labels=tuple(draw(st.lists(st.booleans(), min_size=columns, max_size=columns))),
    )


def mean_or_none(values):
    return sum(values) / len(values) if values else None


@given(matrices())
def test_measures_equal_plain_loops(R):
    T, learned = len(R.row_tasks) - 1, [(j, at) for j, at in enumerate(R.learned_at) if at is not None]
    A, L, F, B, W = [], [], [], [], []
    for j, at in learned:
        A.append(R.values[T, j])
        L.append(R.values[at, j])
        if at < T:
            best = R.values[at, j]
            for row in range(at + 1, T):
                best = max(best, R.values[row, j])
            F.append(best - R.values[T, j])
            B.append(R.values[T, j] - R.values[at, j])
        before = [k for k, other in learned if other < at]
        known = set().union(*(R.class_sets[k] for k in before if not R.own_labels[k]))
        if before and not R.own_labels[j] and set(R.class_sets[j]) <= known:
            W.append(R.values[at - 1, j] - R.values[0, j])
    rows = []
    for row in range(1, T + 1):
        seen = [R.values[row, j] for j, at in learned if at <= row]
        if seen:
            rows.append(sum(seen) / len(seen))
    expected = [mean_or_none(each) for each in (A, rows, L, F, B, W)]
    assert [m.value for m in all_measures(R)] == pytest.approx(expected, abs=1e-12)


@given(matrices())
def test_forgetting_is_at_least_minus_backward_transfer(R):
    f, b = forgetting(R).value, backward_transfer(R).value
    assert (f is None) == (b is None)
    if f is not None:
        assert f >= -b - 1e-12


@settings(max_examples=200)
@given(matrices(st.floats()))
def test_text_gives_back_the_same_matrix(R):
    assert from_csv(to_csv(R)) == R


def test_the_text_is_a_table_that_a_person_can_read():
    assert to_csv(GOLDEN).splitlines() == [
        "# classes,,0 1,0 1,0 1",
        "# own_labels,,false,false,false",
        "# learned_at,,1,2,3",
        "row,task,a,b,c",
        "0,,0.1,0.2,0.3",
        "1,0,0.7,0.25,0.35",
        "2,1,0.9,0.8,0.6",
        "3,2,0.6,0.85,0.95",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("# classes", "classes", "there is no line '# classes'"),
        ("row,task", "line,task", "the table's head"),
        ("# own_labels,,false", "# own_labels,,perhaps", "own_labels has 'perhaps'; valid: true, false"),
        ("2,1,0.9", "7,1,0.9", "row 2 must be its number"),
        (",0.95", "", "row 3 must be its number"),
        ("0.95", "much", "could not convert"),
        ("# learned_at,,1,2,3", "# learned_at,,1,2", "learned_at has 2 entries"),
    ],
)
def test_damaged_text_is_refused_with_what_is_wrong(old, new, message):
    with pytest.raises(ValueError, match=message):
        from_csv(to_csv(GOLDEN).replace(old, new))


def test_one_row_after_all_tasks_follows_no_learning():
    R = AccuracyMatrix(
        np.array([[0.5, 0.5], [0.9, 0.7]]), ("a", "b"), (None, 1), (1, 1), ((0, 1), (2, 3)), (False,) * 2
    )
    assert evaluated_once(R, [])
    assert not evaluated_once(R, [(0, 1)])  # they arrived together
    assert not evaluated_once(GOLDEN, [])
    found = {measure.name: (measure.value, measure.reason) for measure in all_measures(R, once=True)}
    assert found["average accuracy"] == (pytest.approx(0.8), None)
    for name in ("average incremental accuracy", "learning accuracy"):
        assert found[name] == (None, "evaluated once, after all tasks")
