"""GradNorm against a plain float64 loop and by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from evermap.strategies.gradnorm import LEAST, GradNorm, gradnorm, norms_of


@given(tasks=st.integers(1, 5), alpha=st.sampled_from([0.0, 0.5, 1.5]), seed=st.integers(0, 1000), zero=st.booleans())
def test_the_sum_is_what_a_loop_gives(tasks, alpha, seed, zero):
    draw = np.random.default_rng(seed)
    weights, norms, losses, first = draw.exponential(size=(4, tasks))
    first[0] = 0.0 if zero else first[0]
    ratios = [now / before if before else 1.0 for now, before in zip(losses, first, strict=True)]
    found = [w * n for w, n in zip(weights, norms, strict=True)]
    total, slopes = 0.0, []
    for g, ratio, norm in zip(found, ratios, norms, strict=True):
        target = sum(found) / tasks * (ratio / (sum(ratios) / tasks)) ** alpha
        total += abs(g - target)
        slopes.append(norm if g > target else -norm if g < target else 0.0)
    told, gradient = gradnorm(*map(torch.tensor, (weights, norms, losses, first)), alpha)
    assert told.dtype == torch.float64
    assert told.item() == pytest.approx(total, rel=1e-9, abs=1e-12)
    for slope, expected, g in zip(gradient.tolist(), slopes, found, strict=True):
        # Alone a task is on its target, but for rounding: there the slope may be of either sign.
        assert tasks == 1 or slope == pytest.approx(expected, rel=1e-9) or abs(g) < 1e-9


def test_the_gradient_is_that_of_the_sum_with_constant_targets():
    weights = torch.tensor([0.4, 1.1, 1.5], dtype=torch.float64, requires_grad=True)
    norms, losses, first = torch.tensor([[3.0, 1.0, 2.0], [0.5, 1.0, 0.2], [1.0, 1.2, 0.9]], dtype=torch.float64)
    rate = losses / first
    targets = ((weights * norms).mean() * (rate / rate.mean()) ** 1.5).detach()
    (weights * norms - targets).abs().sum().backward()
    _, gradient = gradnorm(weights.detach(), norms, losses, first, 1.5)
    torch.testing.assert_close(gradient, weights.grad, rtol=0, atol=1e-12)


def test_by_hand():
    """Norms 4 and 2 around 3; the second loss has not fallen, the first by half: targets 3 · (2/3) and 3 · (4/3)."""
    told, gradient = gradnorm(
        torch.ones(2), torch.tensor([4.0, 2.0]), torch.tensor([1.0, 5.0]), torch.tensor([2.0, 5.0]), 1.0
    )
    assert told.item() == pytest.approx(abs(4 - 2) + abs(2 - 4))
    assert gradient.tolist() == [4.0, -2.0]


def test_norms_are_those_of_the_shared_layer_alone():
    shared, own = nn.Parameter(torch.tensor([3.0, 4.0])), nn.Parameter(torch.tensor(7.0))
    losses = [(shared * shared).sum() / 2 + own, own * own, 2 * shared[0]]
    assert norms_of(losses, [shared]).tolist() == [5.0, 0.0, 2.0]
    sum(losses).backward()  # their graphs are still there
    assert shared.grad.tolist() == [5.0, 4.0]


def test_the_task_with_the_larger_gradient_loses_weight_until_gradients_are_of_one_norm():
    even = GradNorm(2, alpha=0.0, lr=0.01)
    assert even.weights.tolist() == [0.5, 0.5]
    for _ in range(600):
        even.step(torch.tensor([1.0, 1.0]), torch.tensor([3.0, 1.0]))
    assert float(even.weights.sum()) == pytest.approx(1.0)
    assert float(even.weights[0] * 3) == pytest.approx(float(even.weights[1]), abs=0.05)


def test_the_task_that_falls_more_slowly_gains_weight():
    even = GradNorm(2, alpha=1.5, lr=0.01)
    even.step(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0]))
    for _ in range(20):
        even.step(torch.tensor([0.5, 2.0]), torch.tensor([1.0, 1.0]))
    assert even.weights[1] > even.weights[0] + 0.05


def test_weights_stay_above_zero_and_survive_a_loss_that_is_none():
    even = GradNorm(2, alpha=0.0, lr=0.5)
    for _ in range(50):
        even.step(torch.tensor([1.0, 1.0]), torch.tensor([1000.0, 1e-3]))
    assert float(even.weights.min()) > 0.1 * LEAST
    before = even.weights
    even.step(torch.tensor([math.nan, 1.0]), torch.tensor([1.0, 1.0]))
    assert torch.equal(even.weights, before)
    alone = GradNorm(1, alpha=1.5, lr=0.1)
    alone.step(torch.tensor([0.0]), torch.tensor([0.0]))
    assert alone.weights.tolist() == [1.0]
