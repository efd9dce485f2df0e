import math

import numpy as np
import pytest
import torch
from scipy import stats

from evermap.agent.gate import FEATURES, FEWEST, MOST, PLAUSIBLE, Signature, Tally, pick


def samples(n=400, at=0.0, d=6, classes=2, seed=0, scale=1.0):
    """Normal samples about `classes` centres that lie far from one another, moved by `at` in every direction."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % classes
    centres = 8 * torch.eye(d)[:classes]
    return centres[y] + at + scale * torch.randn(n, d, generator=rng), y


def signature(**given):
    x, y = samples(**given)
    return Signature.of(x, y, int(y.max()) + 1)


def test_p_values_of_ones_own_kind_are_uniform():
    fresh, _ = samples(2000, seed=1)
    found = signature().log_p(fresh).exp().numpy()
    assert stats.kstest(found, "uniform").statistic < 0.06


@pytest.mark.parametrize("scale", [0.01, 1.0, 300.0])
def test_p_values_do_not_depend_on_the_scale_of_features(scale):
    x, y = samples()
    asked = torch.cat([x[:20] + 0.3, x[:20] + 3])
    one, other = Signature.of(x, y, 2), Signature.of(x * scale, y, 2)
    torch.testing.assert_close(one.log_p(asked), other.log_p(asked * scale), rtol=1e-3, atol=1e-3)


def test_distances_are_those_of_a_loop():
    x, y = samples(60)
    found = Signature.of(x, y, 2)
    factor = np.zeros((6, 6))
    factor[np.tril_indices(6)] = found.factor.numpy()
    inverse = np.linalg.inv(factor @ factor.T)
    mean, deviation = found.scale.tolist()
    for sample, log_p in zip(x[:9].double().numpy(), found.log_p(x[:9]).tolist(), strict=True):
        away = [float((sample - mu) @ inverse @ (sample - mu)) for mu in found.means.double().numpy()]
        expected = stats.norm.logsf((min(away) ** (1 / 3) - mean) / deviation)
        assert log_p == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_the_nearer_task_is_picked_and_none_where_none_is_plausible():
    here, there = signature(), signature(at=5.0, seed=2)
    mine, theirs, nobodys = (samples(50, at=at, seed=3)[0] for at in (0.0, 5.0, 60.0))
    assert (pick(mine, [here, there]) == 0).float().mean() > 0.95
    assert (pick(theirs, [here, there]) == 1).float().mean() > 0.95
    assert pick(nobodys, [here, there]).tolist() == [-1] * 50
    assert torch.isfinite(here.log_p(nobodys)).all()
    assert (here.log_p(mine).exp() > PLAUSIBLE).float().mean() > 0.98


def test_tasks_of_other_units_are_compared_by_p_values_not_by_distances():
    # Some samples of the wide task lie nearer to a mean of the narrow one, and far out in its terms.
    narrow, wide = signature(scale=0.1), signature(scale=3.0, at=2.0, seed=1)
    asked = samples(200, scale=3.0, at=2.0, seed=5)[0]
    nearest = torch.stack([torch.cdist(asked, each.means).min(dim=1).values for each in (narrow, wide)], dim=1)
    assert (nearest.argmin(dim=1) == 0).any()
    assert (pick(asked, [narrow, wide]) == 1).float().mean() > 0.99


def test_only_leading_features_and_the_first_samples_are_described():
    x, y = samples(MOST + 50, d=FEATURES + 9)
    found = Signature.of(x, y, 2)
    again = Signature.of(x[:MOST, :FEATURES], y[:MOST], 2)
    assert found.means.shape == (2, FEATURES)
    assert found.factor.shape == (FEATURES * (FEATURES + 1) // 2,)
    assert all(map(torch.equal, found.tensors().values(), again.tensors().values()))
    assert torch.equal(found.log_p(x[:5]), found.log_p(x[:5, :FEATURES]))


def test_a_signature_is_restored_bit_for_bit():
    x, _ = samples(30, seed=4)
    found = signature()
    assert torch.equal(Signature.restored(found.tensors()).log_p(x), found.log_p(x))


def test_too_few_samples_have_no_signature():
    x, y = samples(FEWEST)
    assert Signature.of(x, y, 2) is not None
    assert Signature.of(x[:-1], y[:-1], 2) is None
    assert Signature.of(x, torch.tensor([1] + [0] * (FEWEST - 1)), 2) is None
    assert Signature.of(x, y, 3) is None


@pytest.mark.parametrize("x", [torch.zeros(40, 3), torch.full((40, 3), 1e6), torch.eye(40)[:, :3]])
def test_degenerate_samples_give_p_values_all_the_same(x):
    found = Signature.of(x, torch.arange(40) % 2, 2)
    assert not found.log_p(torch.cat([x, x + 1])).isnan().any()


@pytest.mark.parametrize(
    ("tally", "same_classes", "other_classes"),
    [
        (Tally(), False, False),
        (Tally(90, 90, 100), True, False),
        (Tally(91, 90, 100), True, False),
        (Tally(89, 90, 100), False, False),
        (Tally(99, 80, 100), True, True),
        (Tally(10, 9, 10), True, False),  # too few to tell
        (Tally(9600, 9000, 10000), True, True),
        (Tally(9600, 9450, 10000), True, False),  # sure, but not by much
    ],
)
def test_the_gate_opens_for_what_models_proved(tally, same_classes, other_classes):
    assert tally.opens(same_classes=True) is same_classes
    assert tally.opens(same_classes=False) is other_classes


def test_the_margin_by_hand():
    # .97 against .90 of n: the standard error of the difference is √((.97·.03 + .9·.1)/n); 1.64 of it are .05 at 129
    assert math.ceil((0.97 * 0.03 + 0.9 * 0.1) * (1.64 / 0.05) ** 2) == 129
    assert not Tally(0.97 * 127, 0.9 * 127, 127).opens(same_classes=False)
    assert Tally(0.97 * 130, 0.9 * 130, 130).opens(same_classes=False)


def test_tallies_add_up():
    assert Tally(1.5, 2, 3).plus(Tally(2, 1, 4)) == Tally(3.5, 3, 7)
