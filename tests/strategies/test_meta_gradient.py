import math

import pytest
import torch
from torch import nn
from torch.func import functional_call

from evermap.agent.budget import counted
from evermap.strategies.meta_gradient import inner_step, meta_gradient, meta_gradients
from evermap.strategies.step_sizes import equal_sizes

LR = 0.3


def normalisation(kind, channels, side):
    made = {
        "batch": lambda: nn.BatchNorm2d(channels, track_running_stats=False),
        "instance": lambda: nn.InstanceNorm2d(channels, affine=True),
        "layer": lambda: nn.LayerNorm((channels, side, side)),
        "group": lambda: nn.GroupNorm(2, channels),
        "none": nn.Identity,
    }
    return made[kind]()


def convolutional(norm):
    """Two small convolutions; the weights of the normalisation are drawn, lest ones and zeros hide an error."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=norm == "none"),
        normalisation(norm, 4, 6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1, bias=norm == "none"),
        normalisation(norm, 4, 3),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(36, 3),
    ).double()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return net


def cross_entropy(net):
    return lambda p, x, y: nn.functional.cross_entropy(functional_call(net, dict(p), (x,)), y)


def split(seed, support=6, query=9):
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(support + query, 1, 6, 6, generator=rng, dtype=torch.float64)
    y = torch.arange(support + query) % 3
    return x[:support], y[:support], x[support:], y[support:]


def plain(loss, start, splits, steps, lr, adapted=None, first=False):
    """The definition: one graph through all steps of all tasks, and one backward pass."""
    begin = {n: p.detach().clone().requires_grad_() for n, p in start.items()}
    sizes = {n: t.detach().clone().requires_grad_() for n, t in lr.items()} if isinstance(lr, dict) else {}
    total = 0.0
    for x, y, x_query, y_query in splits:
        theta = dict(begin)
        for k in range(steps):
            names = [n for n in theta if adapted is None or n in adapted]
            gradient = torch.autograd.grad(loss(theta, x, y), [theta[n] for n in names], create_graph=True)
            for n, g in zip(names, gradient, strict=True):
                size = sizes[n][min(k, len(sizes[n]) - 1)] if sizes else lr
                theta[n] = theta[n] - size * (g.detach() if first else g)
        total = total + loss(theta, x_query, y_query) / len(splits)
    gradient = torch.autograd.grad(total, [*begin.values(), *sizes.values()], materialize_grads=True)
    found = dict(zip([*begin, *(f"size {n}" for n in sizes)], gradient, strict=True))
    return total.detach(), {n: found[n] for n in begin}, {n: found[f"size {n}"] for n in sizes}


def looped(loss, start, splits, **options):
    each = [meta_gradient(loss, start, one, **options) for one in splits]
    return torch.stack([e.loss for e in each]).mean(), *(
        {n: torch.stack([part[n] for part in parts]).mean(0) for n in parts[0]}
        for parts in ([e.start for e in each], [e.sizes for e in each])
    )


def distance(one, other):
    return max(float((one[n] - other[n]).abs().max()) for n in one)


@pytest.mark.parametrize("backend", [looped, meta_gradients])
@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("norm", ["batch", "instance", "layer", "group", "none"])
def test_second_order_is_exact(norm, steps, backend):
    net, splits = convolutional(norm), [split(seed) for seed in range(3)]
    loss, start = cross_entropy(net), dict(net.named_parameters())
    value, gradient, _ = backend(loss, start, splits, steps=steps, lr=LR)
    wanted, reference, _ = plain(loss, start, splits, steps, LR)
    assert abs(float(value - wanted)) < 1e-12
    assert distance(gradient, reference) < 1e-9
    assert max(float(g.abs().max()) for g in reference.values()) > 0.1, "there is something to get wrong"


@pytest.mark.parametrize("backend", [looped, meta_gradients])
@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_first_order_is_the_gradient_at_the_adapted_parameters_and_differs(norm, steps, backend):
    net, splits = convolutional(norm), [split(seed) for seed in range(3)]
    loss, start = cross_entropy(net), dict(net.named_parameters())
    _, first, _ = backend(loss, start, splits, steps=steps, lr=LR, order="first")
    _, reference, _ = plain(loss, start, splits, steps, LR, first=True)
    _, second, _ = plain(loss, start, splits, steps, LR)
    assert distance(first, reference) < 1e-9
    assert distance(first, second) > 1e-3


@pytest.mark.parametrize("backend", [looped, meta_gradients])
@pytest.mark.parametrize("order", ["first", "second"])
def test_the_head_alone_adapts_and_everything_learns(order, backend):
    net, splits = convolutional("group"), [split(seed) for seed in range(3)]
    loss, start, head = cross_entropy(net), dict(net.named_parameters()), {"8.weight", "8.bias"}
    _, gradient, _ = backend(loss, start, splits, steps=5, lr=LR, adapted=head, order=order)
    _, reference, _ = plain(loss, start, splits, 5, LR, adapted=head, first=order == "first")
    assert distance(gradient, reference) < 1e-9
    assert float(gradient["0.weight"].abs().max()) > 1e-3, "through the features"
    adapted = inner_step(loss, start, *splits[0][:2], LR, head)
    assert {n for n in start if not torch.equal(adapted[n], start[n])} == head


def drawn_sizes(start, kind, steps, adapted=None):
    """Step sizes about LR, all different, some negative."""
    rng = torch.Generator().manual_seed(4)
    moving = {n: p for n, p in start.items() if adapted is None or n in adapted}
    sizes = equal_sizes(kind, moving, steps, LR)
    return {n: t + 0.3 * torch.randn(t.shape, generator=rng, dtype=t.dtype) for n, t in sizes.items()}


@pytest.mark.parametrize("backend", [looped, meta_gradients])
@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("kind", ["layer", "layer-step", "weight"])
@pytest.mark.parametrize("norm", ["batch", "instance", "layer", "group", "none"])
def test_gradients_of_learned_step_sizes_are_exact(norm, kind, steps, backend):
    net, splits = convolutional(norm), [split(seed) for seed in range(2)]
    loss, start = cross_entropy(net), dict(net.named_parameters())
    lr = drawn_sizes(start, kind, steps)
    value, gradient, sizes = backend(loss, start, splits, steps=steps, lr=lr)
    wanted, reference, exact = plain(loss, start, splits, steps, lr)
    assert abs(float(value - wanted)) < 1e-12
    assert distance(gradient, reference) < 1e-9
    assert {n: t.shape for n, t in sizes.items()} == {n: t.shape for n, t in lr.items()}
    assert distance(sizes, exact) < 1e-9
    assert max(float(g.abs().max()) for g in exact.values()) > 0.01, "there is something to get wrong"


@pytest.mark.parametrize("backend", [looped, meta_gradients])
@pytest.mark.parametrize("order", ["first", "second"])
@pytest.mark.parametrize("adapted", [None, ("8.weight", "8.bias")])
def test_learned_step_sizes_in_first_order_and_of_the_head_alone(adapted, order, backend):
    net, splits = convolutional("group"), [split(seed) for seed in range(2)]
    loss, start = cross_entropy(net), dict(net.named_parameters())
    lr = drawn_sizes(start, "layer-step", 2, adapted)  # for three steps: the last one's serve on
    found = backend(loss, start, splits, steps=3, lr=lr, adapted=adapted, order=order)
    reference = plain(loss, start, splits, 3, lr, adapted, first=order == "first")
    assert distance(found[1], reference[1]) < 1e-9
    assert distance(found[2], reference[2]) < 1e-9
    other = plain(loss, start, splits, 3, lr, adapted, first=order != "first")
    assert distance(found[2], other[2]) > 1e-3


@pytest.mark.parametrize("kind", ["layer", "layer-step", "weight"])
def test_equal_sizes_step_as_one_number_does(kind):
    net = convolutional("none")
    loss, start = cross_entropy(net), dict(net.named_parameters())
    sizes = equal_sizes(kind, start, 2, LR)
    for step in (0, 1, 7):
        one, other = (inner_step(loss, start, *split(0)[:2], lr, step=step) for lr in (LR, sizes))
        assert distance(one, other) < 1e-15


def test_one_step_size_by_hand():
    """As below: the query loss (w − 2a(w − s) − q)² falls with a by 2 (that − q) · 2 (w − s)."""
    s, q, w, a = 1.0, 3.0, 0.5, 0.1
    one = torch.tensor([[1.0]])

    def loss(p, x, y):
        return ((p["w"] * x - y) ** 2).mean()

    lr = {"w": torch.tensor([a])}
    found = meta_gradient(loss, {"w": torch.tensor(w)}, (one, one * s, one, one * q), steps=1, lr=lr)
    after = w - 2 * a * (w - s)
    assert float(found.sizes["w"]) == pytest.approx(-2 * (after - q) * 2 * (w - s))
    assert float(found.start["w"]) == pytest.approx(2 * (after - q) * (1 - 2 * a))


def test_one_weight_by_hand():
    """Loss (w − y)² on one sample: the step gives w − 2a(w − s); d/dw (that − q)² = 2 (that − q)(1 − 2a)."""
    s, q, w, a = 1.0, 3.0, 0.5, 0.1
    one = torch.tensor([[1.0]])

    def loss(p, x, y):
        return ((p["w"] * x - y) ** 2).mean()

    given = (one, one * s, one, one * q)
    after = w - 2 * a * (w - s)
    assert float(inner_step(loss, {"w": torch.tensor(w)}, one, one * s, a)["w"]) == pytest.approx(after)
    for order, factor in (("second", 1 - 2 * a), ("first", 1.0)):
        value, gradient, _ = meta_gradient(loss, {"w": torch.tensor(w)}, given, steps=1, lr=a, order=order)
        assert float(value) == pytest.approx((after - q) ** 2)
        assert float(gradient["w"]) == pytest.approx(2 * (after - q) * factor)


@pytest.mark.parametrize("steps", [0, 2])
def test_a_parameter_that_does_nothing_and_one_whose_gradient_is_constant(steps):
    start = {"idle": torch.ones(2), "linear": torch.ones(1), "w": torch.ones(1)}

    def loss(p, x, y):
        return p["linear"].sum() + ((p["w"] * x - y) ** 2).mean()

    given = (torch.ones(3), torch.zeros(3), torch.ones(3), torch.ones(3))
    _, gradient, _ = meta_gradient(loss, start, given, steps=steps, lr=0.1)
    _, reference = plain_allowing_unused(loss, start, given, steps)
    assert distance(gradient, reference) < 1e-6
    assert gradient["idle"].abs().max() == 0
    assert gradient["linear"] == 1


def plain_allowing_unused(loss, start, given, steps):
    moved = {n: p for n, p in start.items() if n != "idle"}
    value, gradient, _ = plain(loss, moved, [given], steps, 0.1)
    return value, {**gradient, "idle": torch.zeros(2)}


def test_what_is_given_stays_as_it_was():
    net = convolutional("group")
    start = dict(net.named_parameters())
    before = {n: p.detach().clone() for n, p in start.items()}
    meta_gradient(cross_entropy(net), start, split(0), steps=2, lr=LR)
    meta_gradients(cross_entropy(net), start, [split(0)], steps=2, lr=LR)
    inner_step(cross_entropy(net), start, *split(0)[:2], LR)
    assert all(torch.equal(start[n], before[n]) and start[n].grad is None for n in start)


def test_flops_are_counted_the_same_in_both_backends():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 20), nn.ReLU(), nn.Linear(20, 3)).double()
    loss, start, splits = cross_entropy(net), dict(net.named_parameters()), [split(seed) for seed in range(4)]
    forward = 2 * (36 * 20 + 20 * 3)  # FLOPs of one sample

    def flops(backend, **options):
        return counted(lambda: backend(loss, start, splits, lr=LR, **options))[1]

    assert flops(looped, steps=0) == 4 * 9 * (3 * forward - 2 * 36 * 20), "no gradient of the input is taken"
    for options in ({"steps": 1}, {"steps": 5}, {"steps": 1, "order": "first"}, {"steps": 2, "adapted": {"3.weight"}}):
        assert flops(looped, **options) == flops(meta_gradients, **options)
    assert flops(looped, steps=0) < flops(looped, steps=1, order="first") < flops(looped, steps=1)


# Regression: the sinusoids of Finn 2017, §5.1


def sinusoid(rng, samples=10):
    amplitude = 0.1 + 4.9 * torch.rand((), generator=rng)
    phase = math.pi * torch.rand((), generator=rng)
    x = 10 * torch.rand(2 * samples, 1, generator=rng) - 5
    y = amplitude * torch.sin(x - phase)
    return x[:samples], y[:samples], x[samples:], y[samples:]


def test_sinusoids_one_step_helps_after_meta_training_and_not_before():
    torch.manual_seed(100)
    net = nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))
    rng = torch.Generator().manual_seed(100)

    def loss(p, x, y):
        return nn.functional.mse_loss(functional_call(net, dict(p), (x,)), y)

    def errors():
        tasks = torch.Generator().manual_seed(7)
        before, after = [], []
        for _ in range(100):
            x, y, x_query, y_query = sinusoid(tasks)
            start = {n: p.detach() for n, p in net.named_parameters()}
            before.append(float(loss(start, x_query, y_query)))
            after.append(float(loss(inner_step(loss, start, x, y, 0.01), x_query, y_query)))
        return sum(before) / 100, sum(after) / 100

    fresh_before, fresh_after = errors()
    adam = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(400):
        _, gradient, _ = meta_gradients(
            loss, dict(net.named_parameters()), [sinusoid(rng) for _ in range(10)], steps=1, lr=0.01
        )
        for n, p in net.named_parameters():
            p.grad = gradient[n]
        adam.step()
    before, after = errors()
    assert fresh_after > 0.8 * fresh_before
    assert after < 0.6 * before
    assert after < 0.6 * fresh_after
