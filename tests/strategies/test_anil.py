import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from evermap.agent.budget import counted
from evermap.strategies.anil import head_meta_gradient
from evermap.strategies.meta_gradient import meta_gradient
from evermap.strategies.step_sizes import equal_sizes

HEAD = ("head.weight", "head.bias")


def parts(norm):
    """An encoder with a norm and a head, as one module and as the two functions."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), norm, nn.Tanh(), nn.Flatten())
    net = nn.ModuleDict({"encoder": encoder, "head": nn.Linear(64, 3)}).double()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.3 * torch.randn_like(p))

    def encode(p, x):
        own = {n.removeprefix("encoder."): t for n, t in p.items() if n.startswith("encoder.")}
        return functional_call(net["encoder"], own, (x,))

    def head_loss(p, features, y):
        return F.cross_entropy(F.linear(features, p["head.weight"], p["head.bias"]), y)

    return dict(net.named_parameters()), encode, head_loss


def split():
    x = torch.randn(15, 1, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = torch.arange(15) % 3
    return x[:6], y[:6], x[6:], y[6:]


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(4, track_running_stats=False), nn.GroupNorm(2, 4)])
@pytest.mark.parametrize("order", ["second", "first"])
@pytest.mark.parametrize("kind", ["fixed", "layer", "weight"])
def test_one_pass_through_the_encoder_gives_the_same_gradients(norm, order, kind):
    start, encode, head_loss = parts(norm)
    lr = equal_sizes(kind, {n: start[n] for n in HEAD}, 5, 0.3) or 0.3
    options = {"steps": 5, "lr": lr, "adapted": HEAD, "order": order}

    def whole(p, x, y):
        return head_loss(p, encode(p, x), y)

    one, fl_one = counted(lambda: head_meta_gradient(encode, head_loss, start, split(), **options))
    other, fl_other = counted(lambda: meta_gradient(whole, start, split(), **options))
    assert abs(float(one.loss - other.loss)) < 1e-12
    assert list(one.start) == list(start)
    for found, wanted in ((one.start, other.start), (one.sizes, other.sizes)):
        assert found.keys() == wanted.keys()
        assert all(float((found[n] - wanted[n]).abs().max()) < 1e-10 for n in found)
    assert float(one.start["encoder.0.weight"].abs().max()) > 1e-3
    assert fl_one < 0.7 * fl_other, "the encoder runs once over each part"
