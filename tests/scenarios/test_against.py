import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evermap.scenarios.against import (
    Visit,
    difference_interval,
    expert_transfer,
    expert_transfer_per_column,
    expert_transfer_per_task,
    first_visits,
    intransigence,
    intransigence_per_column,
    negative_transfer_over_seeds,
    negative_transfer_per_task,
    row_after,
    transfer_on_last_task,
)

sys.path.insert(0, str(Path(__file__).parent))
from matrices import RUN, VISITS

EXPERT = replace(RUN, values=np.array([[0.5, 0.5], [0.80, 0.5], [0.80, 0.75], [0.65, 0.75]]))
JOINT = replace(RUN, values=np.array([[0.5, 0.5], [0.82, 0.5], [0.85, 0.78], [0.91, 0.80]]))


def test_intransigence_by_hand():
    # a: joint .82 against .80 after task 1; b: joint .78 against .60 after task 2
    assert intransigence_per_column(RUN, JOINT).values == pytest.approx((0.02, 0.18))
    assert intransigence(RUN, JOINT).value == pytest.approx(0.10)


def test_transfer_against_an_expert_by_hand():
    assert expert_transfer_per_column(RUN, EXPERT).values == pytest.approx((0.0, -0.15))
    assert expert_transfer(RUN, EXPERT).value == pytest.approx(-0.075)
    # the task that returns: .90 against the expert's .65 on the few samples that came back
    assert expert_transfer_per_task(RUN, EXPERT, VISITS).values == pytest.approx((0.0, -0.15, 0.25))
    assert transfer_on_last_task(RUN, EXPERT, VISITS[-1]).value == pytest.approx(0.25)


def test_a_stream_that_is_not_through_has_no_transfer_on_its_last_task():
    cut = replace(RUN, values=RUN.values[:3], row_tasks=(None, 0, 1))
    measure = transfer_on_last_task(cut, EXPERT, VISITS[-1])
    assert (measure.value, measure.reason) == (None, "the stream's last task was not learned")
    before = transfer_on_last_task(cut, EXPERT, VISITS[1], len(VISITS))  # the last one that was evaluated
    assert (before.value, before.reason) == (None, "the stream's last task was not learned")
    late = expert_transfer_per_task(cut, EXPERT, VISITS)
    assert late.reasons[2] == "there is no row after task 3"


def test_a_reference_that_ended_early_is_named():
    cut = replace(EXPERT, values=EXPERT.values[:2], row_tasks=(None, 0), learned_at=(1, None))
    measure = expert_transfer(RUN, cut)
    assert (measure.value, measure.reason) == (None, "of the reference, there is no row after task 2")


def test_a_reference_may_have_been_evaluated_less_often():
    joint = replace(JOINT, values=JOINT.values[[0, 2, 3]], row_tasks=(None, 1, 2), learned_at=(1, 1))
    found = intransigence_per_column(RUN, joint)
    assert found.values == (None, pytest.approx(0.78 - 0.60))  # what two tasks teach is not what one does
    assert found.reasons[0] == "of the reference, there is no row right after task 1"
    assert found.mean().value is None
    assert expert_transfer_per_column(RUN, joint).values == pytest.approx((0.80 - 0.85, 0.60 - 0.78))
    assert [row_after(joint, task) for task in range(3)] == [1, 1, 2]


def test_other_test_sets_are_refused():
    with pytest.raises(ValueError, match="about other test sets"):
        expert_transfer(RUN, replace(EXPERT, columns=("a", "c")))
    with pytest.raises(ValueError, match="about other test sets"):
        intransigence(RUN, replace(EXPERT, class_sets=((0, 1), (2, 3))))


def test_the_interval_of_a_difference_by_hand():
    # 60 and 75 right of 100: (61/102, 76/102); se = sqrt((.5980·.4020 + .7451·.2549) / 102) = .06495
    low, high = difference_interval(0.60, 0.75, 100)
    assert (low, high) == pytest.approx((-0.14706 - 1.95996 * 0.06495, -0.14706 + 1.95996 * 0.06495), abs=2e-5)
    assert difference_interval(1.0, 1.0, 50)[1] > 0.0  # no interval of width 0, however sure it looks


def test_negative_transfer_counts_what_is_beyond_the_interval():
    # a: no difference; b: −.15 on 100 samples has the interval (−.274, −.020); a again: better
    found = negative_transfer_per_task(RUN, EXPERT, (100, 100), VISITS)
    assert found.values == (0.0, 1.0, 0.0)
    assert found.mean().value == pytest.approx(1 / 3)
    # the same difference on 30 samples is within its interval
    assert negative_transfer_per_task(RUN, EXPERT, (30, 30), VISITS).mean().value == 0.0


def test_one_run_of_a_regression_has_no_interval():
    values = replace(RUN, class_sets=((), ()))
    found = negative_transfer_per_task(values, values, (100, 100), VISITS).mean()
    assert (found.value, found.reason) == (None, "R² of one run has no interval; several seeds have one")


def test_negative_transfer_over_seeds_by_hand():
    # first: mean −.02, s = .01, half-width 4.3027·.01/√3 = .02484: holds 0. second: s = .001, half-width .00248
    seeds = [(-0.01, -0.019, 0.1), (-0.02, -0.020, 0.1), (-0.03, -0.021, 0.1)]
    found = negative_transfer_over_seeds(("a", "b", "c"), seeds)
    assert found.values == (0.0, 1.0, 0.0)
    assert negative_transfer_over_seeds(("a", "b", "c"), seeds[:1]).mean().reason == "one seed has no interval"


def test_first_visits_are_those_of_the_columns():
    assert first_visits(RUN) == (Visit(0, "a", 0), Visit(1, "b", 1))
    assert first_visits(replace(RUN, learned_at=(1, None))) == (Visit(0, "a", 0),)
