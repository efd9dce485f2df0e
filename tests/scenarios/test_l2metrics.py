import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evermap.scenarios.against import Visit, first_visits
from evermap.scenarios.curves import Curve
from evermap.scenarios.l2metrics import (
    block_transfer,
    performance_maintenance,
    performance_maintenance_per_column,
    relative_performance,
    sample_efficiency,
)

sys.path.insert(0, str(Path(__file__).parent))
from matrices import GOLDEN, RUN, VISITS


def test_maintenance_by_hand():
    # a: .90 − .70 and .60 − .70; b: .85 − .80; c was learned last
    found = performance_maintenance_per_column(GOLDEN, first_visits(GOLDEN))
    assert found.values == pytest.approx((0.05, 0.05, None))
    assert found.reasons[2] == "it was learned last"
    assert performance_maintenance(GOLDEN, first_visits(GOLDEN)).value == pytest.approx(0.05)


def test_a_task_that_returns_has_a_new_reference():
    # a: .70 − .80; the row after its second visit is a reference. b: .55 − .60
    assert performance_maintenance_per_column(RUN, VISITS).values == pytest.approx((-0.10, -0.05))
    # taken for one visit each, the last row would count as maintenance of a: (−.10 + .10) / 2
    assert performance_maintenance_per_column(RUN, first_visits(RUN)).values[0] == pytest.approx(0.0)
    again = (Visit(0, "a", 0), Visit(1, "a again", 0), Visit(2, "b", 1))
    other = replace(RUN, learned_at=(1, None), values=RUN.values[:3], row_tasks=(None, 0, 1))
    assert performance_maintenance_per_column(other, again).reasons[0] == "no row follows but those of its own visits"


def test_transfer_between_blocks_by_hand():
    visits = first_visits(GOLDEN)
    # forward: task 1 on b (.20 → .25) and c (.30 → .35), task 2 on c (.35 → .60)
    contrast = (0.05 / 0.45 + 0.05 / 0.65 + 0.25 / 0.95) / 3
    assert block_transfer(GOLDEN, visits, "forward", "contrast").value == pytest.approx(contrast)
    ratio = (0.25 / 0.20 + 0.35 / 0.30 + 0.60 / 0.35) / 3
    assert block_transfer(GOLDEN, visits, "forward", "ratio").value == pytest.approx(ratio)
    # backward: task 2 on a (.70 → .90), task 3 on a (.90 → .60) and b (.80 → .85)
    contrast = (0.20 / 1.60 - 0.30 / 1.50 + 0.05 / 1.65) / 3
    assert block_transfer(GOLDEN, visits, "backward", "contrast").value == pytest.approx(contrast)
    ratio = (0.90 / 0.70 + 0.60 / 0.90 + 0.85 / 0.80) / 3
    assert block_transfer(GOLDEN, visits, "backward", "ratio").value == pytest.approx(ratio)


def test_transfer_from_a_task_to_itself_does_not_count():
    # the second visit of a is neither forward nor backward transfer to a; to b it is: .60 → .55
    backward = block_transfer(RUN, VISITS, "backward", "ratio")
    assert backward.value == pytest.approx((0.70 / 0.80 + 0.55 / 0.60) / 2)


def test_forward_transfer_needs_classes_that_were_seen():
    other = replace(GOLDEN, class_sets=((0, 1), (2, 3), (0, 1)))
    contrast = (0.05 / 0.65 + 0.25 / 0.95) / 2  # c after task 1 and after task 2
    assert block_transfer(other, first_visits(other), "forward", "contrast").value == pytest.approx(contrast)
    own = replace(GOLDEN, own_labels=(True, True, True))
    assert block_transfer(own, first_visits(own), "forward", "ratio").reason == (
        "no such task is there beside the one that was learned"
    )


def test_what_divides_by_nothing_is_undefined():
    zero = replace(GOLDEN, values=np.zeros((4, 3)))
    measure = block_transfer(zero, first_visits(zero), "forward", "ratio")
    assert (measure.value, measure.reason) == (None, "no value before is above 0")
    assert block_transfer(GOLDEN, (), "forward", "ratio").value is None
    negative = replace(GOLDEN, values=GOLDEN.values - 1)
    assert block_transfer(negative, first_visits(GOLDEN), "forward", "contrast").value is None


LEARNER = Curve((0.2, 0.4), (0.8, 0.9))
EXPERT = Curve((0.4, 0.8), (0.3, 0.6))


def test_relative_performance_by_hand():
    # up to .4: .2·.8 + .2·.85 = .33 against .4·.3 = .12
    assert relative_performance(LEARNER, EXPERT).value == pytest.approx(0.33 / 0.12)
    assert relative_performance(LEARNER, EXPERT, "contrast").value == pytest.approx(0.21 / 0.45)
    assert relative_performance(LEARNER, Curve((0.4,), (0.0,))).value is None
    assert relative_performance(LEARNER, Curve((0.0,), (0.5,))).reason == "the curves have no common length"


def test_sample_efficiency_by_hand():
    # saturation .9 at .4 against .6 at .8
    ratio = (0.9 / 0.6) * (0.8 / 0.4)
    assert sample_efficiency(LEARNER, EXPERT).value == pytest.approx(ratio)
    assert sample_efficiency(LEARNER, EXPERT, "contrast").value == pytest.approx((ratio - 1) / (ratio + 1))
    assert sample_efficiency(LEARNER, Curve((0.4,), (0.0,))).value is None
    assert sample_efficiency(Curve((0.0,), (0.9,)), EXPERT).value is None
