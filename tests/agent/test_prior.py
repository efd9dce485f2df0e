import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evermap.agent.features import FEATURES
from evermap.agent.prior import EXPECTED, SLOPE, SPREAD, UNSURE, USED, Prior, added
from evermap.agent.verdict import Gain
from evermap.errors import StoreError

MIDDLE = (0.5,) * len(FEATURES)


def at(**values):
    return tuple(values.get(name, 0.5) for name in FEATURES)


def test_before_anything_was_seen_the_expectation_is_what_is_written():
    found = Prior().expect("scratch", MIDDLE)
    assert found.nats == pytest.approx(EXPECTED)
    assert found.error == pytest.approx((UNSURE**2 + SPREAD**2) ** 0.5)
    # Half a range from the middle, in one feature: its slope's variance comes to it, times a quarter.
    assert Prior().expect("x", at(classes=1.0)).error == pytest.approx((UNSURE**2 + SLOPE**2 / 4 + SPREAD**2) ** 0.5)


def test_one_observation_by_hand():
    """At the middle of all features only the intercept is left: a normal prior and a normal measurement."""
    prior = Prior()
    prior.observe("scratch", MIDDLE, Gain(0.5, 0.2))
    noise = 0.2**2 + SPREAD**2
    expected = Gain(EXPECTED, UNSURE).joined(Gain(0.5, noise**0.5))
    found = prior.expect("scratch", MIDDLE)
    assert found.nats == pytest.approx(expected.nats)
    assert found.error == pytest.approx((expected.error**2 + SPREAD**2) ** 0.5)
    assert prior.expect("finetune", MIDDLE) == Prior().expect("finetune", MIDDLE), (
        "strategies do not learn of each other"
    )
    assert (prior.seen("scratch"), prior.seen("finetune")) == (1, 0)


def test_it_is_bayesian_regression_as_written_out():
    rng = np.random.default_rng(3)
    prior, rows, gains = Prior(), [], []
    for _ in range(25):
        profile = tuple(rng.random(len(FEATURES)))
        measured = Gain(float(rng.normal()), float(rng.random()))
        prior.observe("maml", profile, measured)
        rows.append([1.0, *(profile[FEATURES.index(n)] - 0.5 for n in USED)])
        gains.append(measured)
    x, asked = np.array(rows), tuple(rng.random(len(FEATURES)))
    noise = np.diag([1 / (g.error**2 + SPREAD**2) for g in gains])
    before = np.diag([UNSURE**-2] + [SLOPE**-2] * len(USED))
    covariance = np.linalg.inv(before + x.T @ noise @ x)
    weights = covariance @ x.T @ noise @ np.array([g.nats - EXPECTED for g in gains])
    row = np.array([1.0, *(asked[FEATURES.index(n)] - 0.5 for n in USED)])
    found = prior.expect("maml", asked)
    assert found.nats == pytest.approx(EXPECTED + row @ weights)
    assert found.error == pytest.approx((row @ covariance @ row + SPREAD**2) ** 0.5)


def test_it_learns_on_which_tasks_a_strategy_gains():
    prior = Prior()
    for i in range(40):
        few = i % 2 == 0
        prior.observe("maml", at(per_class=0.1 if few else 0.9), Gain(0.4 if few else -0.6, 0.1))
    assert prior.expect("maml", at(per_class=0.1)).nats > 0.2
    assert prior.expect("maml", at(per_class=0.9)).nats < -0.3


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 8))
def test_experiences_add_up_in_any_order_and_through_text(seed, cut):
    rng = np.random.default_rng(seed)
    seen = [(f"s{rng.integers(2)}", tuple(rng.random(len(FEATURES))), Gain(float(rng.normal()), 0.2)) for _ in range(9)]
    whole, one, other = Prior(), Prior(), Prior()
    for each in seen:
        whole.observe(*each)
    for each in seen[:cut]:
        one.observe(*each)
    for each in seen[cut:]:
        other.observe(*each)
    joined = Prior()
    joined.add(json.loads(json.dumps(added([other.state(), one.state()]))))
    for name in ("s0", "s1"):
        assert joined.seen(name) == whole.seen(name)
        a, b = joined.expect(name, MIDDLE), whole.expect(name, MIDDLE)
        assert (a.nats, a.error) == (pytest.approx(b.nats), pytest.approx(b.error))


def test_what_is_no_experience_is_refused():
    with pytest.raises(StoreError, match="about the features size; known are per_class"):
        Prior().add({"features": ["size"], "strategies": {}})
    for broken in (
        {},
        {"features": list(USED)},
        {"features": list(USED), "strategies": {"a": {"seen": 1, "sum": [0]}}},
    ):
        with pytest.raises(StoreError, match="a learned prior is damaged"):
            Prior().add(broken)
    wrong = {"features": list(USED), "strategies": {"a": {"seen": 1, "precision": [[1.0]], "sum": [1.0]}}}
    with pytest.raises(StoreError, match=r"a has sums of shape \(1, 1\) and \(1,\)"):
        Prior().add(wrong)
