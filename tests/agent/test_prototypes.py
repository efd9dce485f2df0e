import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evermap.agent.closed_form import class_means, oas_shrinkage
from evermap.agent.prototypes import (
    edited_means,
    folds_of,
    geometric_medians,
    prototypes_of,
    shrunk_means,
    within_class_metric,
)

KINDS = ["mean", "shrunk", "median", "edited"]


def drawn(n=40, d=6, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(classes, size=n - classes)])
    x = rng.normal(size=(n, d)) + 2 * rng.normal(size=(classes, d))[y]
    return x, y


def tensors(x, y):
    return torch.tensor(x, dtype=torch.float64), torch.tensor(y)


# What they are


def test_shrunk_means_are_the_plain_loop():
    x, y = drawn()
    classes = 4
    means = [x[y == c].mean(axis=0) for c in range(classes)]
    common = sum(means) / classes
    within = sum(((x[i] - means[y[i]]) ** 2).sum() for i in range(len(x))) / (len(x) - classes)
    counts = [int((y == c).sum()) for c in range(classes)]
    spread = sum(((m - common) ** 2).sum() for m in means) / (classes - 1)
    between = spread - within * sum(1 / n for n in counts) / classes
    assert between > 0, "the estimate that is not held"
    expected = [common + between / (between + within / n) * (m - common) for m, n in zip(means, counts, strict=True)]
    torch.testing.assert_close(shrunk_means(*tensors(x, y), classes), torch.tensor(np.array(expected)))


def test_classes_that_hardly_differ_are_drawn_together_but_not_made_one():
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(4000, 3, generator=rng), torch.arange(4000) % 2
    shrunk, plain = shrunk_means(x, y, 2), class_means(x, y, 2)[0]
    assert 0.05 < (shrunk[0] - shrunk[1]).norm() / (plain[0] - plain[1]).norm() < 0.8
    x = torch.tensor([[0.0], [2.0], [1.1], [1.1]])  # means that differ less than by chance
    shrunk = shrunk_means(x, torch.tensor([0, 0, 1, 1]), 2)
    within, error = 2 / 2, 2 / 2 * 0.5
    kept = 0.1 * error / (0.1 * error + within / 2)
    assert shrunk.flatten().tolist() == pytest.approx([1.05 - kept * 0.05, 1.05 + kept * 0.05])


def test_a_median_has_the_smallest_sum_of_distances():
    x, y = drawn(seed=1)
    found = geometric_medians(*tensors(x, y), 4).numpy()
    for c in range(4):
        mine = x[y == c]

        def total(point, mine=mine):
            return sum(np.sqrt(((each - point) ** 2).sum()) for each in mine)

        for step in np.concatenate([np.eye(6), -np.eye(6)]) * 0.05:
            assert total(found[c]) <= total(found[c] + step)


def test_a_median_stays_where_half_of_the_samples_are():
    """One sample leads a mean anywhere, and a median nowhere."""
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1e4, 1e4]])
    y = torch.zeros(4, dtype=torch.int64)
    assert geometric_medians(x, y, 1).norm() < 2
    assert class_means(x, y, 1)[0].norm() > 1000
    assert torch.equal(geometric_medians(x[:1], y[:1], 1), x[:1])


def test_edited_means_leave_out_what_looks_like_another_class():
    x = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0], [11.5]])
    y = torch.tensor([0, 0, 0, 1, 1, 1, 0])  # the last one is wrong
    found, kept = edited_means(x, y, 2)
    assert kept.tolist() == [True] * 6 + [False]
    assert found.flatten().tolist() == [1.0, 11.0]


def test_a_class_is_never_edited_away():
    x = torch.tensor([[0.0], [1.0], [5.0], [6.0], [0.4]])
    y = torch.tensor([0, 0, 1, 1, 2])  # class 2 lies within class 0
    found, kept = edited_means(x, y, 4)
    assert bool(kept[4])
    assert found[2].item() == pytest.approx(0.4)
    assert found[3].item() == 0, "no sample, no prototype"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("x", "y", "classes"),
    [
        ([[1.0, 2.0]], [0], 1),
        ([[1.0, 2.0], [3.0, 4.0]], [0, 1], 2),
        ([[1.0, 2.0]] * 4, [0, 0, 1, 1], 2),
        ([[1.0, 2.0], [1.5, 2.0], [9.0, 9.0]], [0, 0, 2], 3),
    ],
    ids=["one sample", "one of each", "constant", "a class without samples"],
)
def test_they_are_defined_for_anything(kind, x, y, classes):
    x, y = torch.tensor(x), torch.tensor(y)
    found = prototypes_of(x, y, classes, kind)
    assert found.shape == (classes, 2)
    assert torch.isfinite(found).all()
    for metric in ("diagonal", "low-rank"):
        weight, bias = within_class_metric(x, y, found, metric, 3).linear(found)
        assert torch.isfinite(weight).all()
        assert torch.isfinite(bias).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(KINDS))
def test_they_move_and_turn_with_the_samples(seed, kind):
    x, y = tensors(*drawn(seed=seed))
    rng = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=rng, dtype=torch.float64))[0]
    by = torch.randn(6, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(
        prototypes_of(x @ turn + by, y, 4, kind), prototypes_of(x, y, 4, kind) @ turn + by, rtol=1e-6, atol=1e-6
    )


# The metric


def covariance_of(x, y, classes):
    """The pooled covariance within classes, and its shrinkage."""
    means = np.array([x[y == c].mean(axis=0) for c in range(classes)])
    covariance = sum(np.outer(r, r) for r in x - means[y]) / len(x)
    return covariance, means, oas_shrinkage(torch.tensor(covariance), len(x))


@pytest.mark.parametrize("shape", [(40, 6), (9, 12)], ids=["tall", "wide"])
def test_a_low_rank_metric_is_the_inverse_of_what_it_says(shape):
    """Of the shrunk covariance the widest directions as they are, all others alike, by a full eigendecomposition."""
    x, y = drawn(*shape)
    covariance, means, shrinkage = covariance_of(x, y, 4)
    mean = np.trace(covariance) / shape[1]
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1], vectors[:, ::-1]
    rank = 3
    shrunk = (1 - shrinkage) * values + shrinkage * mean
    shrunk[rank:] = (1 - shrinkage) * values[rank:].sum() / (shape[1] - rank) + shrinkage * mean
    inverse = shrunk[-1] * (vectors / shrunk) @ vectors.T
    features, labels = tensors(x, y)
    metric = within_class_metric(features, labels, torch.tensor(means), "low-rank", rank)
    torch.testing.assert_close(metric.times(torch.eye(shape[1], dtype=torch.float64)), torch.tensor(inverse.copy()))


def test_a_diagonal_metric_is_the_inverse_of_the_shrunk_variances():
    x, y = drawn()
    covariance, means, shrinkage = covariance_of(x, y, 4)
    mean = np.trace(covariance) / 6
    metric = within_class_metric(*tensors(x, y), torch.tensor(means), "diagonal", 3)
    expected = mean / ((1 - shrinkage) * np.diag(covariance) + shrinkage * mean)
    torch.testing.assert_close(metric.times(torch.ones(1, 6, dtype=torch.float64))[0], torch.tensor(expected))


@pytest.mark.parametrize("kind", ["diagonal", "low-rank"])
def test_a_metric_is_linear_in_the_features(kind):
    x, y = tensors(*drawn())
    means = class_means(x, y, 4)[0]
    metric = within_class_metric(x, y, means, kind, 2)
    weight, bias = metric.linear(means)
    apart = x[:, None] - means  # (n, C, d)
    square = (apart * metric.times(apart.reshape(-1, 6)).view_as(apart)).sum(dim=2)
    said = x @ weight.T + bias
    torch.testing.assert_close(said - said[:, :1], square[:, :1] - square)


def test_without_scatter_the_metric_is_euclidean():
    x, y = torch.eye(3), torch.arange(3)
    for kind in ("diagonal", "low-rank"):
        assert torch.equal(within_class_metric(x, y, x, kind, 5).times(x), x)


# Folds


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_every_class_is_spread_evenly_over_the_folds(labels):
    y = torch.tensor(labels)
    folds = folds_of(y)
    assert int(folds.max()) + 1 == min(5, int(y.bincount().max()))
    for c in y.unique():
        sizes = folds[y == c].bincount(minlength=int(folds.max()) + 1)
        assert int(sizes.max() - sizes.min()) <= 1
