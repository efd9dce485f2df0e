"""Ranks over scenarios: Demšar's own example, scipy, a plain loop."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evermap.scenarios.ranks import critical_difference, friedman, groups, pareto, ranks


def test_demsars_example():
    """Demšar 2006, section 3.2.2: four classifiers on 14 data sets."""
    average = [3.143, 2.000, 2.893, 1.964]
    test = friedman(average, 14)
    assert test.chi_squared == pytest.approx(9.28, abs=0.01)
    assert test.f == pytest.approx(3.69, abs=0.01)
    assert test.f_p < 0.05  # the critical value of F(3, 39) is 2.85
    assert critical_difference(4, 14, 0.10) == pytest.approx(1.12, abs=0.005)
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


@pytest.mark.parametrize(("agents", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_demsars_table_of_critical_values(agents, q):
    assert critical_difference(agents, 6) == pytest.approx(q * np.sqrt(agents * (agents + 1)) / 6, abs=0.003)


def test_friedman_is_scipys_without_ties():
    rng = np.random.default_rng(1)
    scores = rng.random((9, 5))
    ours = friedman(ranks(scores).mean(axis=0), 9)
    theirs = stats.friedmanchisquare(*scores.T)
    assert ours.chi_squared == pytest.approx(theirs.statistic)
    assert ours.p == pytest.approx(theirs.pvalue)


def test_ranks_share_places():
    assert ranks([[0.9, 0.5, 0.9, 0.1]]).tolist() == [[1.5, 3.0, 1.5, 4.0]]


def test_scenarios_that_agree():
    test = friedman([1.0, 2.0, 3.0], 4)
    assert test.chi_squared == pytest.approx(8.0)  # 12·4/12·(14 − 12)
    assert test.p == pytest.approx(math.exp(-4))  # of χ² with two degrees of freedom
    assert test.f is None  # it would be infinite, and p be 0, with two scenarios as with a hundred
    assert test.f_p is None


def test_groups_by_hand():
    # sorted: 1.0 (c), 1.8 (a), 2.5 (d), 4.0 (b); within 1.6: c–a–d, then d–b
    assert groups([1.8, 4.0, 1.0, 2.5], 1.6) == [(2, 0, 3), (3, 1)]
    assert groups([1.8, 4.0, 1.0, 2.5], 0.5) == []
    assert groups([1.8, 4.0, 1.0, 2.5], 9.0) == [(2, 0, 3, 1)]


def test_the_pareto_set_by_hand():
    points = [(0.9, 10), (0.8, 5), (0.85, 12), (0.8, 5), (0.95, 30), (0.7, 5)]
    assert pareto(points) == [1, 3, 0, 4]
    assert pareto([]) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_the_pareto_set_is_what_nothing_beats(points):
    kept = pareto(points)
    for position, (gain, cost) in enumerate(points):
        beaten = False
        for g, c in points:
            if g >= gain and c <= cost and (g, c) != (gain, cost):
                beaten = True
        assert (position in kept) != beaten
