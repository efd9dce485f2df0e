import pytest
import torch
from torch import nn

from evermap.agent.encoder import Encoder, build_encoder
from evermap.agent.model import LinearHead, Model
from evermap.errors import RecipeError
from evermap.strategies.backend import (
    SMALL,
    choose,
    in_channels_last,
    losses_of,
    mean_gradients,
    mean_reptile_gradients,
    settled,
)


class Residual(Encoder):
    """A linear layer whose input is added to its output: no chain."""

    name = "residual"

    def build(self):
        self.inner = nn.Linear(self.input_shape[0], self.input_shape[0])
        return self.input_shape[0]

    def forward(self, x):
        return x + self.inner(x)


def model(name, shape, **settings):
    encoder = build_encoder(name, shape, settings, 0)
    return Model(encoder, LinearHead(encoder.feature_size, 1))


def test_auto_goes_by_the_shape_of_the_network():
    def residual(size):
        return Model(Residual((size,)), LinearHead(size, 1))

    small, large = model("mlp", (1, 8, 8), hidden=(256, 128)), model("mlp", (1, 28, 28), hidden=(256, 128))
    assert sum(p.numel() for p in small.parameters()) <= SMALL < sum(p.numel() for p in large.parameters())
    assert choose(small) == "axis"
    assert choose(large) == "loop"
    assert choose(residual(8)) == "vmap"
    assert choose(residual(300)) == "loop"
    assert choose(model("conv4", (1, 8, 8), filters=16)) == "loop"
    assert choose(model("patches", (1, 8, 8))) == "loop", "nothing is known of its forward"


def test_what_is_named_is_taken_and_an_axis_that_there_is_not_is_refused():
    conv = model("conv4", (1, 8, 8), filters=16)
    assert [settled(b, conv, "here") for b in ("loop", "vmap", "auto")] == ["loop", "vmap", "loop"]
    with pytest.raises(RecipeError, match=r"here: backend: found 'axis'; this network is no chain of linear layers"):
        settled("axis", conv, "here")


def network_and_splits(kind, n=5):
    net = model("mlp", (4,), hidden=(6, 5)).double()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1), dtype=p.dtype))
    rng = torch.Generator().manual_seed(2)
    start = {
        name: p.detach().expand(3, *p.shape[1:]).clone() if name.startswith("head") else p.detach()
        for name, p in net.named_parameters()
    }

    def part(size):
        x = torch.randn(size, 4, generator=rng, dtype=torch.float64)
        values = torch.randn(size, 3, generator=rng, dtype=torch.float64)
        return x, (values if kind == "regression" else values.argmax(dim=1))

    return net, start, [(*part(6), *part(9)) for _ in range(n)]


def mean(parts, n):
    parts = list(parts)
    assert sum(count for count, _ in parts) == n
    return len(parts), {k: sum(count * found.start[k] for count, found in parts) / n for k in parts[0][1].start}


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_all_backends_and_chunks_give_the_same_numbers(kind):
    net, start, splits = network_and_splits(kind)
    losses, options = losses_of(net, kind), {"steps": 2, "lr": 0.2, "order": "second"}
    passes, reference = mean(mean_gradients("loop", losses, start, splits, 100, **options), 5)
    assert passes == 5
    for backend in ("vmap", "axis"):
        for chunk, expected in ((1, 5), (2, 3), (100, 1)):
            passes, found = mean(mean_gradients(backend, losses, start, splits, chunk, **options), 5)
            assert passes == expected
            assert max(float((found[n] - reference[n]).abs().max()) for n in start) < 1e-12


def test_channels_last_changes_the_layout_alone():
    net = model("conv4", (2, 8, 8), filters=16).double()
    start = {n: p.detach() for n, p in net.named_parameters()}
    rng = torch.Generator().manual_seed(2)
    x = torch.randn(6, 2, 8, 8, generator=rng, dtype=torch.float64)
    splits = [(x[:3], torch.zeros(3, dtype=torch.int64), x[3:], torch.zeros(3, dtype=torch.int64))]
    laid, images = in_channels_last(start, splits)
    assert laid["encoder.layers.4.weight"].is_contiguous(memory_format=torch.channels_last)
    assert not laid["encoder.layers.4.weight"].is_contiguous()
    assert images[0][0].is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(laid[n], p) for n, p in start.items())
    losses = losses_of(net, "regression")
    options = {"steps": 2, "lr": 0.01, "order": "second"}
    y = torch.randn(3, 1, generator=rng, dtype=torch.float64)
    (one,), (other,) = (
        list(mean_gradients("loop", losses, p, [(s[0], y, s[2], y) for s in given], 1, **options))
        for p, given in ((start, splits), (laid, images))
    )
    largest = max(float(g.abs().max()) for g in one[1].start.values())
    assert max(float((one[1].start[n] - other[1].start[n]).abs().max()) for n in start) < 1e-10 * largest
    assert largest > 1e-3


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_so_they_do_for_reptile(kind):
    net, start, splits = network_and_splits(kind)
    losses = losses_of(net, kind)
    dealt = [[(x, y), (x_query[:6], y_query[:6])] for x, y, x_query, y_query in splits]
    _, reference = mean(mean_reptile_gradients("loop", losses, start, dealt, 100, 0.2), 5)
    for backend in ("vmap", "axis"):
        for chunk in (2, 100):
            _, found = mean(mean_reptile_gradients(backend, losses, start, dealt, chunk, 0.2), 5)
            assert max(float((found[n] - reference[n]).abs().max()) for n in start) < 1e-12
