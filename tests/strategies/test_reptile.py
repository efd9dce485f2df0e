import pytest
import torch

from evermap.strategies.episodes import deal_batches
from evermap.strategies.meta_gradient import inner_step
from evermap.strategies.reptile import reptile_gradient


def loss(p, x, y):
    return ((p["w"] * x - y) ** 2).mean()


def test_two_steps_by_hand():
    """Loss (w − y)²: from w = 1 with a = 0.1 toward 0 it goes to 0.8, then toward 2 to 1.04."""
    one = torch.ones(1)
    found = reptile_gradient(loss, {"w": torch.tensor(1.0)}, [(one, 0 * one), (one, 2 * one)], 0.1)
    assert float(found.start["w"]) == pytest.approx((1 - 1.04) / 0.1)
    assert float(found.loss) == pytest.approx((0.8 - 2) ** 2)


def test_it_is_the_way_that_the_inner_loop_goes():
    rng = torch.Generator().manual_seed(1)
    start = {"w": torch.randn(3, generator=rng, dtype=torch.float64), "idle": torch.ones(2)}
    batches = [tuple(torch.randn(2, 4, 3, generator=rng, dtype=torch.float64)) for _ in range(4)]
    theta = start
    for x, y in batches:
        theta = inner_step(loss, theta, x, y, 0.1)
    found = reptile_gradient(loss, start, batches, 0.1)
    torch.testing.assert_close(found.start["w"], (start["w"] - theta["w"]) / 0.1, rtol=0, atol=1e-12)
    assert not found.start["idle"].any()
    assert not start["w"].requires_grad


@pytest.mark.parametrize(("samples", "steps", "size"), [(9, 2, 4), (10, 5, 2), (3, 5, 1)])
def test_every_step_sees_other_samples(samples, steps, size):
    x = torch.arange(float(samples))
    cut = samples // 3
    batches = deal_batches((x[:cut], x[:cut], x[cut:], x[cut:]), steps, torch.Generator().manual_seed(0))
    assert [len(y) for _, y in batches] == [size] * steps
    assert all(torch.equal(a, b) for a, b in batches)
    seen = [v for a, _ in batches for v in a.tolist()]
    assert len(set(seen)) == min(len(seen), samples)
