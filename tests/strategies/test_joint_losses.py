"""Weights and gradients of tasks that are trained together, against plain loops and by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from evermap.strategies.joint_losses import (
    Fall,
    descend_apart,
    dynamic_weights,
    uncertainty_weighted,
    without_conflict,
)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@given(tasks=st.integers(1, 5), seed=st.integers(0, 1000))
def test_uncertainty_weighting_is_what_a_loop_gives(tasks, seed):
    draw = np.random.default_rng(seed)
    losses, log_variances = draw.exponential(size=tasks), draw.normal(size=tasks)
    regression = draw.random(tasks) < 0.5
    total = 0.0
    for loss, s, squared in zip(losses, log_variances, regression, strict=True):
        sigma = math.exp(s / 2)
        total += (loss / (2 * sigma**2) if squared else loss / sigma**2) + math.log(sigma)  # Kendall 2018, eq. 10
    found = uncertainty_weighted(*map(torch.tensor, (losses, log_variances, regression)))
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(total, rel=1e-9, abs=1e-12)


def test_uncertainty_is_least_where_the_variance_is_the_squared_error():
    """For a squared error L the best σ² is L itself; for a cross-entropy 2 L."""
    losses, regression = torch.tensor([0.3, 0.7], dtype=torch.float64), torch.tensor([True, False])
    best = torch.log(torch.tensor([0.3, 1.4], dtype=torch.float64)).requires_grad_()
    uncertainty_weighted(losses, best, regression).backward()
    torch.testing.assert_close(best.grad, torch.zeros(2, dtype=torch.float64))


@given(tasks=st.integers(1, 5), size=st.integers(1, 6), seed=st.integers(0, 1000))
def test_surgery_is_what_a_loop_gives(tasks, size, seed):
    gradients = np.random.default_rng(seed).normal(size=(tasks, size))
    orders, total = rng(seed), np.zeros(size)
    for i in range(tasks):
        cleared = gradients[i].copy()
        for j in torch.randperm(tasks, generator=orders).tolist():
            if j != i and float(np.dot(cleared, gradients[j])) < 0:
                cleared = cleared - np.dot(cleared, gradients[j]) / np.dot(gradients[j], gradients[j]) * gradients[j]
        total = total + cleared
    found = without_conflict(torch.tensor(gradients), rng(seed))
    np.testing.assert_allclose(found.numpy(), total, rtol=1e-9, atol=1e-12)


def test_surgery_by_hand():
    """(1, 0) and (−1, 1): each loses what opposes the other, (½, ½) and (0, 1)."""
    opposed = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    assert without_conflict(opposed, rng()).tolist() == [0.5, 1.5]
    agreeing = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    assert without_conflict(agreeing, rng()).tolist() == [2.0, 1.0]
    assert opposed.tolist() == [[1.0, 0.0], [-1.0, 1.0]], "what is given stays as it was"


@given(seed=st.integers(0, 1000))
def test_what_surgery_leaves_of_two_gradients_opposes_neither(seed):
    gradients = torch.randn(2, 4, generator=rng(seed), dtype=torch.float64)
    together = without_conflict(gradients, rng(seed))
    assert (gradients @ together).min() > -1e-9


def test_a_step_apart_by_hand():
    shared, own = nn.Parameter(torch.tensor([0.0, 0.0])), nn.Parameter(torch.tensor(0.0))
    step = torch.optim.SGD([shared, own], lr=1.0)
    losses = [shared[0] + 3 * own, -shared[0] + shared[1]]
    descend_apart(losses, [shared], step, rng())
    assert shared.tolist() == [-0.5, -1.5]
    assert own.item() == -3.0


def test_a_loss_that_is_not_finite_changes_nothing():
    shared = nn.Parameter(torch.tensor([1.0]))
    step = torch.optim.SGD([shared], lr=1.0)
    with pytest.raises(FloatingPointError, match="the loss is inf"):
        descend_apart([shared.sum(), shared.sum() * math.inf], [shared], step, rng())
    assert shared.item() == 1.0


def test_a_loss_that_falls_more_slowly_weighs_more():
    found = dynamic_weights(torch.tensor([1.0, 2.0, 0.0]), torch.tensor([0.5, 2.0, 0.0]), 1.0)
    parts = np.exp([0.5, 1.0, 1.0])  # a loss that was 0 counts as one that stays
    np.testing.assert_allclose(found.numpy(), parts / parts.sum(), rtol=1e-6)
    assert dynamic_weights(torch.tensor([1.0, 1.0]), torch.tensor([0.1, 1.0]), 1e6).tolist() == pytest.approx(
        [0.5, 0.5]
    )


def test_weights_change_after_every_period_from_the_second_on():
    fall = Fall(2, period=2, temperature=1.0)
    losses = [(4.0, 1.0), (2.0, 1.0), (1.0, 1.0), (2.0, 1.0), (1.0, 1.0), (1.0, 3.0), (0.0, 0.0)]
    found = [fall.weights(torch.tensor(each)).tolist() for each in losses]
    assert found[:4] == [[0.5, 0.5]] * 4
    second = np.exp([0.5, 1.0])  # means (3, 1), then (1.5, 1)
    third = np.exp([1 / 1.5, 2.0])  # then (1, 2)
    for weights, expected in ((found[4], second), (found[5], second), (found[6], third)):
        np.testing.assert_allclose(weights, expected / expected.sum(), rtol=1e-6)
