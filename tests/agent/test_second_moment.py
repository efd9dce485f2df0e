import pytest
import torch

from evermap.agent.anchor import CHUNK, Anchor, second_moment
from evermap.agent.encoders.raw import Raw


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_second_moments_are_those_of_a_loop_in_double_precision(offset):
    features = torch.randn(300, 5, generator=torch.Generator().manual_seed(0)) + offset
    loop = sum((torch.outer(f, f) for f in features.double()), torch.zeros(5, 5, dtype=torch.float64))
    assert torch.allclose(second_moment(features), loop, rtol=1e-9, atol=1e-3)
    # what is left when the mean is taken out again is the scatter
    mean = features.double().mean(dim=0)
    scatter = second_moment(features) - len(features) * torch.outer(mean, mean)
    centred = features.double() - mean
    assert torch.allclose(scatter, centred.T @ centred, rtol=1e-5, atol=1e-2)


def test_what_an_anchor_knows_does_not_depend_on_how_the_samples_come():
    rng = torch.Generator().manual_seed(0)
    x, y = torch.rand(2 * CHUNK + 7, 3, generator=rng), torch.randint(5, (2 * CHUNK + 7,), generator=rng) * 3
    at_once, in_parts = Anchor(Raw((3,))), Anchor(Raw((3,)))
    at_once.add(x, y)
    for part in torch.arange(len(y)).flip(0).split(100):
        in_parts.add(x[part], y[part])
    assert at_once.classes == in_parts.classes == (0, 3, 6, 9, 12)
    assert torch.equal(at_once.state()["counts"], in_parts.state()["counts"])
    assert at_once.state()["counts"].tolist() == [int((y == c).sum()) for c in at_once.classes]
    for name in ("sums", "moment"):
        assert torch.allclose(at_once.state()[name], in_parts.state()[name], rtol=1e-6)
    assert torch.allclose(at_once.log_probs(x[:50]), in_parts.log_probs(x[:50]), atol=1e-4)
