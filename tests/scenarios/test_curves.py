import pytest
from hypothesis import given
from hypothesis import strategies as st

from evermap.scenarios.curves import (
    Curve,
    area_under_curve,
    jumpstart,
    learning_curve_area,
    mean_cost_to_threshold,
    steps_to_threshold,
)

RISING = Curve((0.1, 0.3, 0.5), (0.4, 0.8, 0.9))
FRESH = Curve((0.1, 0.9), (0.2, 0.8))


def test_area_by_hand():
    # .1·.4 before the first point, .2·.6 and .2·.85 between the points
    assert area_under_curve(RISING).value == pytest.approx((0.04 + 0.12 + 0.17) / 0.5)
    # up to 1 the last value stands; up to .2 the curve is cut in the middle, at .6
    assert area_under_curve(RISING, until=1.0).value == pytest.approx(0.33 + 0.5 * 0.9)
    assert area_under_curve(RISING, until=0.2).value == pytest.approx((0.04 + 0.1 * 0.5) / 0.2)


def test_a_single_point_stands_for_the_whole_budget():
    assert area_under_curve(Curve((0.02,), (0.7,)), until=1.0).value == pytest.approx(0.7)
    assert area_under_curve(Curve((0.0,), (0.7,))).reason == "the curve has no length"


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8), st.floats(0.01, 1))
def test_area_equals_a_plain_sum(points, until):
    points = sorted(points)
    curve = Curve(tuple(x for x, _ in points), tuple(y for _, y in points))

    def at(x):
        before = [p for p in points if p[0] <= x]
        after = [p for p in points if p[0] > x]
        if not before or not after:
            return points[0][1] if not before else points[-1][1]
        (x0, y0), (x1, y1) = before[-1], after[0]
        return y0 + (y1 - y0) * (x - x0) / (x1 - x0)

    steps = 4000
    plain = sum(at((k + 0.5) * until / steps) for k in range(steps)) / steps
    assert area_under_curve(curve, until).value == pytest.approx(plain, abs=3e-3)


def test_learning_curve_area_by_hand():
    curve = Curve((0, 1, 2, 3), (0.1, 0.5, 0.7, 0.9))
    assert learning_curve_area(curve, 2).value == pytest.approx((0.1 + 0.5 + 0.7) / 3)
    assert learning_curve_area(Curve((0, 2), (0.1, 0.7)), 2).reason == (
        "the accuracy after each of the first 2 units is needed"
    )


def test_jumpstart_and_threshold_by_hand():
    assert jumpstart(RISING, FRESH).value == pytest.approx(0.2)
    assert steps_to_threshold(RISING, 0.8).value == 0.3
    assert steps_to_threshold(RISING, 0.95).reason == "the level of 0.95 was never reached"
    # .3 where it is reached, all of 1 where it never is
    assert mean_cost_to_threshold([RISING, RISING], [0.8, 0.95], whole=1.0).value == pytest.approx(0.65)
    assert mean_cost_to_threshold([], [], whole=1.0).value is None


@pytest.mark.parametrize(
    ("cost", "values", "message"),
    [
        ((), (), "found 0 and 0"),
        ((1.0,), (0.5, 0.6), "found 1 and 2"),
        ((1.0,), (float("nan"),), "finite numbers only"),
        ((2.0, 1.0), (0.5, 0.6), "ascend"),
    ],
)
def test_what_is_no_curve_is_refused(cost, values, message):
    with pytest.raises(ValueError, match=message):
        Curve(cost, values)
