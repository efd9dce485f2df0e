import itertools

import pytest
import torch

from evermap.agent.encoder import build_encoder
from evermap.agent.model import LinearHead, Model
from evermap.errors import RecipeError
from evermap.strategies.training import Sgd, batches, task_loss, train
from evermap.streams.task import Samples, Task


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered(n):
    return Samples(torch.arange(n).float()[:, None], torch.arange(n))


def epochs(n, size, shuffle=True, seed=0, count=2):
    feed = batches(numbered(n), size, rng(seed), shuffle)
    each = -(-n // size)
    return [[y.tolist() for _, y in itertools.islice(feed, each)] for _ in range(count)]


@pytest.mark.parametrize(("n", "size"), [(10, 3), (9, 3), (2, 5), (1, 1)])
def test_every_epoch_has_every_sample_once(n, size):
    for epoch in epochs(n, size):
        assert sorted(itertools.chain.from_iterable(epoch)) == list(range(n))
        assert [len(batch) for batch in epoch[:-1]] == [size] * (len(epoch) - 1)


def test_orders_are_the_generators():
    one, two = epochs(20, 7)
    assert one != two, "every epoch has an order of its own"
    assert epochs(20, 7) == [one, two]
    assert epochs(20, 7, seed=1) != [one, two]
    assert epochs(5, 2, shuffle=False) == [[[0, 1], [2, 3], [4]]] * 2


def test_inputs_stay_with_their_targets():
    for x, y in itertools.islice(batches(numbered(11), 4, rng()), 6):
        assert x.flatten().tolist() == y.tolist()


def line():
    """One weight and one bias, from 0: y = 2 at x = 1."""
    encoder = build_encoder("raw", (1,), {}, 0)
    task = Task("t", 0, Samples(torch.ones(1, 1), torch.full((1, 1), 2.0)), None, (), "regression")
    return Model(encoder, LinearHead(1, 1)), task


def test_gradient_descent_by_hand():
    # The loss (w + b − 2)² has the gradient 2(w + b − 2) in both. Step 1: −4, so both are 0.4; step 2: −2.4 + 0.5·(−4)
    # is a velocity of −4.4, so both are 0.84.
    model, task = line()
    settings = Sgd(steps=2, optimiser="sgd", lr=0.1, momentum=0.5, weight_decay=0.0)
    seen = [(m.head.weight.item(), m.head.bias.item()) for m in train(model, task, settings, rng())]
    assert seen == [(pytest.approx(0.4), pytest.approx(0.4)), (pytest.approx(0.84), pytest.approx(0.84))]


def test_adams_first_step_is_its_learning_rate():
    model, task = line()
    next(train(model, task, Sgd(lr=0.25, weight_decay=0.0), rng()))
    assert model.head.weight.item() == pytest.approx(0.25)


@pytest.mark.parametrize(("given", "expected"), [(None, 5), (2, 2), (0, 0)])
def test_so_many_steps(given, expected):
    model, task = line()
    assert sum(1 for _ in train(model, task, Sgd(steps=5), rng(), given)) == expected


def test_frozen_weights_stay():
    model, task = line()
    model.head.bias.requires_grad_(False)
    list(train(model, task, Sgd(steps=3), rng()))
    assert model.head.bias.item() == 0
    assert model.head.weight.item() != 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_raised_before_it_reaches_the_weights(value):
    model, task = line()
    task.support.y.fill_(value)
    with pytest.raises(FloatingPointError, match=f"the loss is {value}"):
        next(train(model, task, Sgd(), rng()))
    assert model.head.weight.item() == 0


def test_losses_by_hand():
    task = Task("t", 0, numbered(2), None, (0, 1))
    assert task_loss(torch.zeros(3, 2), torch.tensor([0, 1, 1]), task).item() == pytest.approx(0.6931472)
    regression = line()[1]
    assert task_loss(torch.tensor([[1.0], [4.0]]), torch.tensor([[2.0], [2.0]]), regression).item() == 2.5


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch_size": -1}, {"lr": 0.0}])
def test_settings_must_be_positive(wrong):
    with pytest.raises(RecipeError, match=f"{next(iter(wrong))}: found .* must be greater than 0"):
        Sgd(**wrong)
