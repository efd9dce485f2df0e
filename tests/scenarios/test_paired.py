"""Statistics of paired runs: by hand, against a plain loop, against scipy."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evermap.scenarios.paired import (
    bootstrap_interval,
    holm,
    largest_loss,
    mean_interval,
    not_worse,
    signed_rank,
    smallest_p,
    verdict,
)

NUMBERS = st.lists(st.integers(-6, 6).map(lambda k: k / 10), min_size=1, max_size=9)


def test_the_interval_of_a_mean_by_hand():
    # mean 3, s.d. √2.5, standard error √0.5; t(0.975; 4) = 2.776445
    low, high = mean_interval([1, 2, 3, 4, 5])
    assert low == pytest.approx(3 - 2.776445 * math.sqrt(0.5), abs=1e-6)
    assert high == pytest.approx(3 + 2.776445 * math.sqrt(0.5), abs=1e-6)
    assert mean_interval([0.25, 0.25, 0.25]) == (0.25, 0.25)


def test_one_seed_has_no_interval():
    for function in (mean_interval, bootstrap_interval, largest_loss, not_worse):
        assert function([0.9]) is None
        assert function([]) is None


def test_the_bootstrap_interval_is_scipys():
    x = np.array([0.031, 0.012, 0.044, -0.006, 0.027, 0.09, 0.018, 0.022, 0.035, 0.001])
    theirs = stats.bootstrap((x,), np.mean, n_resamples=10_000, method="BCa", rng=np.random.default_rng(5))
    ours = bootstrap_interval(x)
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.001)
    percentile = stats.bootstrap((x,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(5))
    assert ours[1] - percentile.confidence_interval.high > 0.001  # the skew is corrected for
    assert bootstrap_interval(x) == ours
    assert bootstrap_interval([0.1, 0.1, 0.1]) == (0.1, 0.1)


@given(NUMBERS.filter(lambda numbers: len(numbers) > 1))
def test_the_bootstrap_interval_lies_within_the_numbers(numbers):
    low, high = bootstrap_interval(numbers, resamples=200)
    assert min(numbers) - 1e-12 <= low <= high <= max(numbers) + 1e-12


def test_the_signed_rank_test_by_hand():
    # five of the same sign: only all + and all − are as extreme, 2 of 32 signs
    assert signed_rank([0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx(2 / 32)
    # ranks 1 2 3, W+ = 5: 5, 6 and their mirror images 1, 0 of 8 sums 0 1 2 3 3 4 5 6
    assert signed_rank([-0.1, 0.2, 0.3]) == pytest.approx(4 / 8)
    assert signed_rank([0.0, 0.0]) == 1.0
    assert signed_rank([0.0, 0.1, 0.2]) == signed_rank([0.1, 0.2]) == pytest.approx(2 / 4)
    assert signed_rank([]) is None
    # 0.3 − 0.2 and 0.1 differ in the last bit only: they are tied
    assert signed_rank([0.3 - 0.2, -0.1, 0.5]) == signed_rank([0.1, -0.1, 0.5])


def test_the_signed_rank_test_is_scipys_without_ties():
    rng = np.random.default_rng(0)
    for n in (3, 6, 10, 14):
        d = rng.normal(0.3, 1, n)
        assert signed_rank(d) == pytest.approx(stats.wilcoxon(d, method="exact").pvalue)


@given(NUMBERS)
def test_the_signed_rank_test_is_that_of_all_signs(numbers):
    d = [x for x in numbers if x]
    rank = stats.rankdata(np.abs(d)) if d else np.array([])
    middle = rank.sum() / 2
    seen = abs(sum(r for r, x in zip(rank, d, strict=True) if x > 0) - middle)
    sums = [sum(r for r, plus in zip(rank, s, strict=True) if plus) for s in itertools.product([0, 1], repeat=len(d))]
    share = sum(abs(each - middle) >= seen for each in sums) / len(sums)
    assert signed_rank(numbers) == pytest.approx(share)


def test_how_small_p_can_get():
    assert smallest_p(5) == 0.0625  # so five seeds never reach 0.05
    assert smallest_p(6) == pytest.approx(0.03125)
    assert smallest_p(6) == signed_rank([1, 2, 3, 4, 5, 6])
    assert 6 * smallest_p(8) < 0.05 < 6 * smallest_p(7)


def test_holm_by_hand():
    # sorted .01 .02 .03 .04 → ·4 ·3 ·2 ·1 = .04 .06 .06 .04, never falling: .04 .06 .06 .06
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([None, 0.5, 0.6]) == [None, 1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((0.011, 0.05), "better"),
        ((-0.05, -0.011), "worse"),
        ((-0.01, 0.01), "equivalent"),
        ((0.005, 0.05), "undecided"),
        ((-0.02, 0.02), "undecided"),
        (None, None),
    ],
)
def test_verdicts(interval, said):
    assert verdict(interval) == said


def test_not_worse_by_more_than_a_point():
    # mean loss 0, s.d. √2 points, standard error √(2/2) = 1 point; t(0.95; 1) = 6.313752
    assert largest_loss([0.01, -0.01]) == pytest.approx(0.06313752)
    assert not_worse([0.01, -0.01]) == "undecided"
    assert not_worse([0.02] * 3) == not_worse([-0.01] * 3) == "yes"
    assert not_worse([-0.02] * 3) == "no"
    assert not_worse([-0.05, -0.051, -0.049]) == "no"
