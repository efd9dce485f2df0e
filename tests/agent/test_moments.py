import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf as sklearn_ledoit_wolf
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.linear_model import Ridge

from evermap.agent import closed_form
from evermap.agent.moments import (
    PENALTIES,
    Moments,
    lda,
    ledoit_wolf,
    nearest_mean,
    ridge_from,
    second_moment,
    shrunk_covariance,
)

CLASSIFIERS = [nearest_mean, lda, ridge_from]


def heaps(per_class, classes=3, d=4, seed=0, spread=2.0):
    """Samples about random centres, the same number of every class, in double precision but float32 numbers."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(classes).repeat_interleave(per_class)
    centres = spread * torch.randn(classes, d, generator=rng)
    scales = torch.linspace(0.3, 2, d)
    return centres[y] + scales * torch.randn(len(y), d, generator=rng), y


def test_sums_are_those_of_a_loop():
    x, y = heaps(5)
    found = Moments.of(x, y, 4)
    counts, squares, fourths = (np.zeros(4) for _ in range(3))
    sums, cubes, second = np.zeros((4, 4)), np.zeros((4, 4)), np.zeros((4, 4))
    for sample, label in zip(x.double().numpy(), y.tolist(), strict=True):
        square = sample @ sample
        counts[label] += 1
        sums[label] += sample
        squares[label] += square
        cubes[label] += square * sample
        fourths[label] += square**2
        second += np.outer(sample, sample)
    for name, expected in locals().items():
        if name in ("counts", "squares", "fourths", "sums", "cubes"):
            np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-10)
    np.testing.assert_allclose(found.second, second, rtol=1e-5)
    assert torch.equal(found.second, found.second.T)


def test_classes_can_be_given_other_places():
    x, y = heaps(5)
    moved = Moments.of(x, y, 3).placed(torch.tensor([4, 0, 2]), 5)
    direct = Moments.of(x, torch.tensor([4, 0, 2])[y], 5)
    for name in ("counts", "sums", "second", "squares", "cubes", "fourths"):
        assert torch.equal(getattr(moved, name), getattr(direct, name))


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_any_order_of_arrival_gives_the_classifier_of_joint_training(classifier):
    x, y = heaps(12)
    joint = classifier(Moments.of(x, y, 3))
    for order in itertools.permutations(range(3)):
        kept = Moments.none(3, 4)
        for c in order:
            for part in torch.nonzero(y == c).flatten().split(5):
                kept = kept.plus(Moments.of(x[part], y[part], 3))
        for found, expected in zip(classifier(kept), joint, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_a_class_with_fewer_samples_is_not_answered_less_often(classifier):
    x, y = heaps(400, classes=2, seed=1, spread=0.5)
    kept = torch.cat([torch.arange(400), 400 + torch.arange(20)])
    weight, bias = classifier(Moments.of(x[kept], y[kept], 2))
    answered = (x.double() @ weight.T + bias).argmax(dim=1).double().mean()
    assert 0.3 < answered < 0.7


@pytest.mark.parametrize("classifier", CLASSIFIERS)
@pytest.mark.parametrize(
    ("x", "y"),
    [
        (torch.ones(1, 4), [0]),
        (torch.ones(2, 4), [0, 1]),
        (torch.eye(4)[:2], [0, 1]),
        (torch.zeros(6, 4), [0] * 6),
        (torch.full((4, 4), 1e-9), [0, 0, 1, 1]),
        (torch.randn(12, 4, generator=torch.Generator().manual_seed(0)) * 1e6, [0] * 6 + [1] * 6),
    ],
)
def test_degenerate_samples_leave_finite_classifiers(classifier, x, y):
    for part in classifier(Moments.of(x, torch.tensor(y), max(y) + 1)):
        assert torch.isfinite(part).all()


# Ledoit–Wolf, LDA


@pytest.mark.parametrize(("n", "d"), [(50, 4), (10, 30), (200, 12)])
def test_shrinkage_is_scikit_learns(n, d):
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * torch.linspace(0.1, 3, d)
    x = x - x.mean(dim=0)
    fourth = float((x * x).sum(dim=1).pow(2).sum())
    expected = ledoit_wolf_shrinkage(x.numpy(), assume_centered=True)
    assert ledoit_wolf(x.T @ x / n, n, fourth) == pytest.approx(expected, rel=1e-9)


def test_of_one_class_the_fourth_moment_is_exact():
    x, y = heaps(40, classes=1)
    moments = Moments.of(x, y, 1)
    rest = x.double() - x.double().mean(dim=0)
    assert moments.within_fourth == pytest.approx(float((rest * rest).sum(dim=1).pow(2).sum()), rel=1e-5)
    found = ledoit_wolf(moments.within / 40, 40, moments.within_fourth)
    assert found == pytest.approx(ledoit_wolf_shrinkage(x.double().numpy()), rel=1e-4)


def test_of_several_classes_it_is_as_good_as_their_common_covariance():
    x, y = heaps(200, classes=4, d=6)
    moments = Moments.of(x, y, 4)
    rest = x.double() - moments.means[y]
    assert moments.within_fourth == pytest.approx(float((rest * rest).sum(dim=1).pow(2).sum()), rel=0.05)


def test_lda_is_the_discriminant_of_the_samples():
    x, y = heaps(40, classes=1)
    x = torch.cat([x, x + torch.tensor([2.0, 0.0, -1.0, 1.0]), x - 1.5])  # one covariance: the fourth moment is exact
    y = torch.arange(3).repeat_interleave(40)
    weight, bias = lda(Moments.of(x, y, 3))
    mu = np.stack([x[y == c].double().numpy().mean(axis=0) for c in range(3)])
    inverse = np.linalg.inv(sklearn_ledoit_wolf(x.double().numpy() - mu[y], assume_centered=True)[0])
    for sample in x.numpy():
        # −½ Mahalanobis distance, up to what all classes share
        direct = np.array([-0.5 * (sample - m) @ inverse @ (sample - m) for m in mu])
        found = weight.numpy() @ sample + bias.numpy()
        np.testing.assert_allclose(found - found[0], direct - direct[0], atol=1e-3)


# Ridge


@pytest.mark.parametrize("factor", PENALTIES)
def test_ridge_is_that_of_the_samples(factor):
    x, y = heaps(20)
    weight, bias = ridge_from(Moments.of(x, y, 3), (factor,))
    square = float(((x - x.mean(dim=0)) ** 2).sum()) / 4  # the mean squared singular value
    direct = Ridge(alpha=factor * square).fit(x.double().numpy(), closed_form.one_hot(y, 3).numpy())
    outputs = (x.double() @ weight.T + bias).numpy()
    expected = direct.predict(x.double().numpy()) - 1 / 3
    ratio = (outputs * expected).sum() / (expected * expected).sum()  # one over the residual variance
    np.testing.assert_allclose(outputs / ratio, expected, atol=1e-4)


def test_generalised_cross_validation_is_that_of_the_definition():
    x, y = heaps(15, spread=0.7)
    n, targets = len(y), closed_form.one_hot(y, 3).double()
    centred = x.double() - x.double().mean(dim=0)
    square = float((centred**2).sum()) / 4
    scores = {}
    for factor in PENALTIES:
        inverse = torch.linalg.inv(centred.T @ centred + factor * square * torch.eye(4, dtype=torch.float64))
        hat = centred @ inverse @ centred.T + 1 / n
        residual = targets - hat @ targets
        scores[factor] = float((residual**2).sum()) / n / (1 - float(hat.trace()) / n) ** 2
    best = min(scores, key=lambda factor: scores[factor])
    moments = Moments.of(x, y, 3)
    assert all(map(torch.equal, ridge_from(moments), ridge_from(moments, (best,))))


def test_generalised_cross_validation_chooses_as_leave_one_out():
    for seed, spread in itertools.product(range(4), (0.3, 1.0)):
        x, y = heaps(60, d=12, seed=seed, spread=spread)
        exact = closed_form.ridge(x, closed_form.one_hot(y, 3), PENALTIES)
        weight, bias = ridge_from(Moments.of(x, y, 3))
        guessed = (x.double() @ weight.T + bias).argmax(dim=1)
        assert (guessed == (x @ exact.weight.T + exact.bias).argmax(dim=1)).float().mean() > 0.98


def test_softmax_of_ridge_is_a_probability():
    x, y = heaps(2000, spread=0.5)
    weight, bias = ridge_from(Moments.of(x, y, 3))
    sure, guessed = torch.softmax(x.double() @ weight.T + bias, dim=1).max(dim=1)
    assert float(sure.mean()) == pytest.approx(float((guessed == y).float().mean()), abs=0.08)


# Second moments


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_second_moments_are_those_of_a_loop_in_double_precision(offset):
    features = torch.randn(300, 5, generator=torch.Generator().manual_seed(0)) + offset
    loop = sum((torch.outer(f, f) for f in features.double()), torch.zeros(5, 5, dtype=torch.float64))
    assert torch.allclose(second_moment(features, torch.arange(300) % 3, 4), loop, rtol=1e-9, atol=1e-3)
    # what is left when the mean is taken out again is the scatter
    mean = features.double().mean(dim=0)
    scatter = second_moment(features, torch.arange(300) % 3, 4) - len(features) * torch.outer(mean, mean)
    centred = features.double() - mean
    assert torch.allclose(scatter, centred.T @ centred, rtol=1e-5, atol=1e-2)


def test_a_covariance_that_rounding_spoils_is_mended():
    rng = torch.Generator().manual_seed(0)
    x = 1e3 + 1e-2 * torch.randn(24, 60, generator=rng)  # the variance is far below what float32 keeps of the squares
    moments = Moments.of(x, torch.arange(24) % 2, 2)
    spoiled = replace(moments, second=moments.second - 1e-3 * torch.eye(60, dtype=torch.float64))
    for each in (moments, spoiled):
        assert torch.linalg.cholesky_ex(shrunk_covariance(each)).info == 0
