import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from evermap.agent.encoder import build_encoder
from evermap.agent.model import LinearHead, Model
from evermap.strategies.meta_gradient import meta_gradient
from evermap.strategies.step_sizes import equal_sizes
from evermap.strategies.task_axis import meta_gradients_on_axis, with_task_axis

LR, CHANNELS, LENGTH = 0.3, 4, 5
NORMS = {
    "batch": lambda: nn.BatchNorm1d(CHANNELS, track_running_stats=False),
    "instance": lambda: nn.InstanceNorm1d(CHANNELS, affine=True),
    "layer": lambda: nn.LayerNorm((CHANNELS, LENGTH)),
    "group": lambda: nn.GroupNorm(2, CHANNELS),
    "none": nn.Identity,
}
VECTOR_NORMS = {
    "batch": lambda: nn.BatchNorm1d(8, track_running_stats=False),
    "layer": lambda: nn.LayerNorm(8),
    "group": lambda: nn.GroupNorm(2, 8),
}


def network(norm):
    """A norm of inputs with channels, two linear layers, and the norm once more between them where it takes vectors."""
    torch.manual_seed(0)
    net = nn.Sequential(
        NORMS[norm](),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(CHANNELS * LENGTH, 8, bias=False),
        VECTOR_NORMS.get(norm, nn.Identity)(),
        nn.ReLU(),
        nn.Linear(8, 3),
    ).double()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return net


def loss_of(net):
    return lambda p, x, y: F.cross_entropy(functional_call(net, dict(p), (x,)), y)


def summed(net):
    forward = with_task_axis(net)
    return lambda p, x, y: sum(F.cross_entropy(o, t) for o, t in zip(forward(p, x), y, strict=True))


def split(seed, support=6, query=9):
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(support + query, CHANNELS, LENGTH, generator=rng, dtype=torch.float64)
    y = torch.arange(support + query) % 3
    return x[:support], y[:support], x[support:], y[support:]


def plain(loss, start, splits, steps, lr, first=False):
    """The definition: one graph through all steps of all tasks, and one backward pass."""
    begin = {n: p.detach().clone().requires_grad_() for n, p in start.items()}
    sizes = {n: t.clone().requires_grad_() for n, t in lr.items()}
    total = 0.0
    for x, y, x_query, y_query in splits:
        theta = dict(begin)
        for k in range(steps):
            gradient = torch.autograd.grad(loss(theta, x, y), list(theta.values()), create_graph=True)
            theta = {
                n: p - sizes[n][min(k, len(sizes[n]) - 1)] * (g.detach() if first else g)
                for (n, p), g in zip(theta.items(), gradient, strict=True)
            }
        total = total + loss(theta, x_query, y_query) / len(splits)
    found = torch.autograd.grad(total, [*begin.values(), *sizes.values()])
    return total.detach(), dict(zip(begin, found, strict=False)), dict(zip(sizes, found[len(begin) :], strict=True))


def distance(one, other):
    return max(float((one[n] - other[n]).abs().max()) for n in one)


@pytest.mark.parametrize("norm", NORMS)
def test_every_task_has_its_own_weights(norm):
    net = network(norm)
    x = torch.stack([split(seed)[2] for seed in range(3)])
    weights = {n: p.detach() + torch.randn(3, *p.shape, dtype=p.dtype) for n, p in net.named_parameters()}
    together = with_task_axis(net)(weights, x)
    for k in range(3):
        alone = functional_call(net, {n: w[k] for n, w in weights.items()}, (x[k],))
        torch.testing.assert_close(together[k], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["layer", "layer-step", "weight"])
@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("norm", NORMS)
def test_meta_gradients_are_exact(norm, steps, kind):
    net, splits = network(norm), [split(seed) for seed in range(3)]
    start = dict(net.named_parameters())
    lr = {n: t + 0.1 * torch.randn_like(t) for n, t in equal_sizes(kind, start, steps, LR).items()}
    for order in ("second", "first"):
        found = meta_gradients_on_axis(summed(net), start, splits, steps=steps, lr=lr, order=order)
        value, gradient, sizes = plain(loss_of(net), start, splits, steps, lr, first=order == "first")
        assert abs(float(found.loss - value)) < 1e-12
        assert distance(found.start, gradient) < 1e-9
        assert distance(found.sizes, {n: g.detach() for n, g in sizes.items()}) < 1e-9
    second = plain(loss_of(net), start, splits, steps, lr)[1]
    assert distance(gradient, second) > 1e-3, "what stays of the loop is first order, which differs"


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("steps", [1, 5])
def test_with_one_size_for_all_it_ends_where_the_loop_ends(norm, steps):
    net, splits = network(norm), [split(seed) for seed in range(3)]
    start = dict(net.named_parameters())
    found = meta_gradients_on_axis(summed(net), start, splits, steps=steps, lr=LR)
    each = [meta_gradient(loss_of(net), start, one, steps=steps, lr=LR) for one in splits]
    assert distance(found.start, {n: sum(e.start[n] for e in each) / 3 for n in start}) < 1e-9


def test_the_head_alone():
    net, splits = network("layer"), [split(seed) for seed in range(3)]
    start, head = dict(net.named_parameters()), ["6.weight", "6.bias"]
    found = meta_gradients_on_axis(summed(net), start, splits, steps=2, lr=LR, adapted=head)
    each = [meta_gradient(loss_of(net), start, one, steps=2, lr=LR, adapted=head) for one in splits]
    assert distance(found.start, {n: sum(e.start[n] for e in each) / 3 for n in start}) < 1e-9


def test_encoders_that_are_chains_have_it_and_others_do_not():
    def model(name, shape, settings=None):
        encoder = build_encoder(name, shape, settings or {}, 0)
        return Model(encoder, LinearHead(encoder.feature_size, 3))

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x):
            return x + self.inner(x)

    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x):
            return self.inner(x) if x.sum() > 0 else x

    assert with_task_axis(model("mlp", (1, 8, 8))) is not None
    assert with_task_axis(model("conv4", (1, 8, 8), {"filters": 16})) is None
    assert with_task_axis(model("patches", (1, 8, 8))) is None
    for net in (Residual(), Branching(), nn.Sequential(nn.Linear(4, 4), nn.Dropout()), nn.BatchNorm1d(4)):
        assert with_task_axis(net) is None


def test_the_agents_network_answers_as_it_does_without_the_axis():
    encoder = build_encoder("mlp", (1, 8, 8), {"hidden": (16, 8)}, 0)
    model = Model(encoder, LinearHead(8, 3, torch.Generator().manual_seed(1)))
    x = torch.rand(2, 7, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    weights = {n: torch.stack([p, 2 * p]).detach() for n, p in model.named_parameters()}
    together = with_task_axis(model)(weights, x)
    alone = functional_call(model, {n: w[1] for n, w in weights.items()}, (x[1],))
    torch.testing.assert_close(together[1], alone)
