import numpy as np
import pytest
import torch

from evermap.agent.transferability import h_score, logme


def evidence(f, t, alpha, beta):
    """Log marginal likelihood of one target as a Gaussian: t ~ N(0, I/β + f fᵀ/α)."""
    n = len(t)
    covariance = np.eye(n) / beta + f @ f.T / alpha
    _, log_det = np.linalg.slogdet(covariance)
    return -0.5 * (n * np.log(2 * np.pi) + log_det + t @ np.linalg.solve(covariance, t))


@pytest.mark.parametrize(("n", "d"), [(40, 6), (12, 20)])
def test_logme_is_the_largest_marginal_likelihood_of_the_indicators(n, d):
    rng = np.random.default_rng(n)
    f, y = rng.normal(size=(n, d)), rng.integers(0, 2, size=n)
    y[:2] = [0, 1]
    f[:, 0] += 2 * y  # something to explain
    best = 0.0
    for c in range(2):
        t = (y == c).astype(float)
        grid = np.exp(np.linspace(-6, 8, 57))
        best += max(evidence(f, t, a, b) for a in grid for b in grid) / n / 2
    found = logme(torch.tensor(f), torch.tensor(y), 2, steps=200)
    if d < n:
        assert found == pytest.approx(best, abs=0.02)
    else:
        assert np.isfinite(found)


def test_logme_prefers_features_that_tell():
    y = torch.arange(60) % 3
    noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
    telling = noise.clone()
    telling[:, :3] += 3 * torch.nn.functional.one_hot(y, 3)
    assert logme(telling, y, 3) > logme(noise, y, 3) + 0.1


def test_logme_of_features_that_are_all_zero_is_that_of_noise_alone():
    """Half of the indicators are one: their mean square is 1/2, and ln N(t; 0, 1/2) is -(ln π + 1) / 2 on average."""
    found = logme(torch.zeros(8, 3), torch.arange(8) % 2, 2)
    assert found == pytest.approx(-0.5 * (np.log(np.pi) + 1), abs=1e-6)


def test_h_score_by_hand_and_its_bounds():
    # One feature, two classes at ±1 with a spread of ±1: variance of means 1, of all 2.
    f = torch.tensor([[0.0], [2.0], [-2.0], [0.0]])
    y = torch.tensor([0, 0, 1, 1])
    assert h_score(f, y, 2) == pytest.approx(0.5)
    apart = torch.nn.functional.one_hot(torch.arange(30) % 3, 3).float()
    assert h_score(apart, torch.arange(30) % 3, 3) == pytest.approx(2.0, abs=1e-6)
