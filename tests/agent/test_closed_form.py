import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evermap.agent.closed_form import (
    PENALTIES,
    class_means,
    knn_leave_one_out,
    match_labels,
    ncm_leave_one_out,
    one_hot,
    ridge,
    temperature,
)


def draw(n, d, seed=0, scale=1.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def labels(n, classes, seed=0):
    return torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))


def ridge_on(x, y, penalty):
    """Ridge with an unpenalised intercept, by the normal equations."""
    mean_x, mean_y = x.mean(dim=0), y.mean(dim=0)
    x, y = x - mean_x, y - mean_y
    weight = torch.linalg.solve(x.T @ x + penalty * torch.eye(x.shape[1], dtype=x.dtype), x.T @ y).T
    return weight, mean_y - weight @ mean_x


def but(i, n):
    """All indices but one."""
    return [j for j in range(n) if j != i]


# Ridge


def test_ridge_by_hand():
    # Centred already; s² = 2, so a factor of ½ gives λ = 1 and w = 2/(2 + 1). Without the last sample the mean is −½,
    # s² = ½, w = ½/(½ + 1) = 1/3, and it is predicted as −½ + 1.5/3 = 0; by symmetry the first one as well; the middle
    # one is predicted as the mean of the others.
    line = torch.tensor([[-1.0], [0.0], [1.0]])
    fit = ridge(line, line, penalties=(0.5,))
    assert fit.penalty == pytest.approx(1.0)
    assert fit.weight.item() == pytest.approx(2 / 3)
    assert fit.bias.item() == pytest.approx(0.0, abs=1e-7)
    assert fit.loo.flatten().tolist() == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)
    assert fit.loo_mse == pytest.approx(2 / 3)


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(3, 12),
    d=st.integers(1, 20),
    targets=st.integers(1, 3),
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    factor=st.sampled_from([1e-3, 1e-1, 10.0]),
)
def test_ridge_is_what_a_loop_that_leaves_out_gives(n, d, targets, seed, scale, factor):
    x, y = draw(n, d, seed, scale), draw(n, targets, seed + 1)
    fit = ridge(x, y, penalties=(factor,))
    weight, bias = ridge_on(x, y, fit.penalty)
    torch.testing.assert_close(fit.weight.double(), weight, rtol=1e-4, atol=1e-5 / scale)
    torch.testing.assert_close(fit.bias.double(), bias, rtol=1e-4, atol=1e-4)
    for i in range(n):
        left = but(i, n)
        weight, bias = ridge_on(x[left], y[left], fit.penalty)
        torch.testing.assert_close(fit.loo[i].double(), weight @ x[i] + bias, rtol=1e-3, atol=1e-4)
    assert fit.loo_mse == pytest.approx(float(((fit.loo - y) ** 2).mean()), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(("n", "d"), [(30, 5), (8, 40)])
def test_ridge_takes_the_penalty_with_the_smallest_error(n, d):
    x = draw(n, d)
    y = x[:, :1] + draw(n, 1, seed=5)
    alone = {factor: ridge(x, y, penalties=(factor,)).loo_mse for factor in PENALTIES}
    assert ridge(x, y).loo_mse == pytest.approx(min(alone.values()), rel=1e-9)


def test_of_equally_good_penalties_the_larger_is_taken():
    x, y = draw(6, 2), torch.ones(6, 1)
    assert ridge(x, y, penalties=(0.1, 10.0)).penalty == ridge(x, y, penalties=(10.0,)).penalty


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 0.1])
def test_ridge_on_constant_inputs_knows_the_mean_only(value):
    y = torch.tensor([[0.0], [1.0], [2.0], [5.0]])
    fit = ridge(torch.full((4, 3), value), y)
    assert (fit.weight @ torch.full((3,), value) + fit.bias).item() == pytest.approx(2.0, abs=1e-4)
    assert fit.loo.flatten().tolist() == pytest.approx([8 / 3, 7 / 3, 2.0, 1.0], abs=1e-4)
    assert fit.loo_mse == pytest.approx(float(((fit.loo - y) ** 2).mean()), rel=1e-4)


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(2, 8),
    d=st.integers(1, 12),
    seed=st.integers(0, 1000),
    degenerate=st.sampled_from(["none", "constant column", "twins", "all twins", "rank one", "tiny", "huge"]),
)
def test_ridge_is_finite_whatever_comes(n, d, seed, degenerate):
    x = draw(n, d, seed).float()
    if degenerate == "constant column":
        x[:, 0] = 7
    elif degenerate == "twins":
        x[1] = x[0]
    elif degenerate == "all twins":
        x[:] = x[0].clone()
    elif degenerate == "rank one":
        x = x[:, :1] @ torch.ones(1, d)
    elif degenerate == "tiny":
        x = x * 1e-18
    elif degenerate == "huge":
        x = x * 1e12
    y = one_hot(labels(n, 2, seed), 2)
    fit = ridge(x, y)
    for part in (fit.weight, fit.bias, fit.loo, torch.tensor(fit.loo_mse)):
        assert torch.isfinite(part).all()


# Nearest mean


def test_class_means_by_hand():
    means, counts = class_means(torch.tensor([[0.0, 2.0], [4.0, 4.0], [2.0, 0.0]]), torch.tensor([0, 2, 0]), 3)
    assert means.tolist() == [[1.0, 1.0], [0.0, 0.0], [4.0, 4.0]]
    assert counts.tolist() == [2.0, 0.0, 1.0]


def test_nearest_mean_by_hand():
    # Class 0 at 0 and 2, class 1 at 3 and 9. Left out: 0 is nearer to 2 than to 6; 2 is at 2 from 0 and 4 from 6; 3 is
    # at 6 from 9 and 2 from the mean 1, so wrong; 9 is at 6 from 3 and 8 from 1.
    features = torch.tensor([[0.0], [2.0], [3.0], [9.0]])
    assert ncm_leave_one_out(features, torch.tensor([0, 0, 1, 1]), 2) == 0.75


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 14), d=st.integers(1, 10), classes=st.integers(1, 5), spare=st.integers(0, 2), seed=st.integers(0)
)
def test_nearest_mean_is_what_a_loop_that_leaves_out_gives(n, d, classes, spare, seed):
    seed %= 10_000
    x, y = draw(n, d, seed), labels(n, classes, seed)
    right, usable = 0, 0
    for i in range(n):
        left = but(i, n)
        if not any(y[j] == y[i] for j in left):
            continue
        usable += 1
        means = {c: x[[j for j in left if y[j] == c]].mean(dim=0) for c in {int(y[j]) for j in left}}
        nearest = min(means, key=lambda c: float(((x[i] - means[c]) ** 2).sum()))
        right += nearest == y[i]
    found = ncm_leave_one_out(x, y, classes + spare)
    assert found == (pytest.approx(right / usable) if usable else None)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e5])
def test_nearest_mean_does_not_mind_where_the_origin_is(offset):
    y = torch.tensor([0, 0, 0, 1, 1, 1])
    assert ncm_leave_one_out((y[:, None] * 3 + draw(6, 2) * 0.1).float() + offset, y, 2) == 1.0


# Nearest neighbours


def test_neighbours_by_hand():
    # One neighbour by angle: (1, 0) and (2, 0.1) find each other, (0, 3) finds (0.2, 1), which finds it.
    features = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 3.0], [0.2, 1.0]])
    assert knn_leave_one_out(features, torch.tensor([0, 0, 1, 1]), 2, k=1) == 1.0
    assert knn_leave_one_out(features, torch.tensor([0, 1, 1, 0]), 2, k=1) == 0.0
    assert knn_leave_one_out(features[:1], torch.tensor([0]), 2) is None


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 14), d=st.integers(2, 8), classes=st.integers(1, 4), k=st.integers(1, 6), seed=st.integers(0))
def test_neighbours_are_what_a_loop_that_leaves_out_gives(n, d, classes, k, seed):
    seed %= 10_000
    x, y = draw(n, d, seed), labels(n, classes, seed)
    right = 0
    for i in range(n):
        cosine = {j: float(x[i] @ x[j] / (x[i].norm() * x[j].norm())) for j in but(i, n)}
        near = sorted(cosine, key=lambda j: -cosine[j])[:k]
        votes = {c: [cosine[j] for j in near if y[j] == c] for c in range(classes)}
        winner = max(votes, key=lambda c: (len(votes[c]), sum(votes[c])))
        right += winner == y[i]
    assert knn_leave_one_out(x, y, classes, k) == pytest.approx(right / n)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 8), classes=st.integers(1, 4), value=st.sampled_from([0.0, 1.0]), seed=st.integers(0, 100))
def test_scores_of_constant_features_are_shares(n, classes, value, seed):
    x, y = torch.full((n, 3), value), labels(n, classes, seed)
    for found in (ncm_leave_one_out(x, y, classes), knn_leave_one_out(x, y, classes)):
        assert found is None or 0 <= found <= 1


def test_one_sample_per_class_leaves_nearest_mean_nothing_to_say():
    x, y = draw(4, 3), torch.arange(4)
    assert ncm_leave_one_out(x, y, 4) is None
    assert knn_leave_one_out(x, y, 4) == 0.0  # no neighbour can have its class
    assert math.isfinite(ridge(x, one_hot(y, 4)).loo_mse)


# Temperature


@pytest.mark.parametrize("factor", [0.05, 1.0, 7.0, 100.0])
def test_the_temperature_is_that_of_a_fine_grid(factor):
    y = labels(200, 4)
    logits = (one_hot(y, 4) * 1.5 + draw(200, 4).float()) * factor
    grid = torch.logspace(-2, 4, 4001)
    losses = torch.stack([torch.nn.functional.cross_entropy(logits / t, y) for t in grid])
    assert temperature(logits, y) == pytest.approx(float(grid[losses.argmin()]), rel=0.01)


@pytest.mark.parametrize(
    "logits", [torch.zeros(5, 3), torch.eye(3)[[0, 1, 2, 0, 1]] * 50, -torch.eye(3)[[0, 1, 2, 0, 1]], torch.ones(5, 3)]
)
def test_the_temperature_stays_in_its_interval(logits):
    found = temperature(logits, torch.tensor([0, 1, 2, 0, 1]))
    assert 0.0099 <= found <= 10_000 * 1.001


# Matching labels


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 15), classes=st.integers(1, 4), spare=st.integers(0, 1), seed=st.integers(0, 1000))
def test_labels_are_matched_as_well_as_any_matching_does(n, classes, spare, seed):
    outputs = classes + spare
    y, predicted = labels(n, classes, seed), labels(n, outputs, seed + 1)
    order, share = match_labels(predicted, y, outputs, classes)
    assert len(set(order)) == len(order) == classes

    def agreement(candidate):
        return sum(int(p) == candidate[c] for p, c in zip(predicted.tolist(), y.tolist(), strict=True)) / n

    best = max(agreement(candidate) for candidate in itertools.permutations(range(outputs), classes))
    assert share == pytest.approx(agreement(order))
    assert share == pytest.approx(best)
    if agreement(list(range(classes))) == pytest.approx(best):
        assert order == list(range(classes)), "the identity wins ties"
