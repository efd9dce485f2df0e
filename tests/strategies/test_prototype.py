from dataclasses import replace

import pytest
import torch

from evermap.agent.closed_form import one_hot, ridge
from evermap.agent.encoder import build_encoder
from evermap.agent.events import ProbeScore
from evermap.agent.known import Known, Source
from evermap.strategies.prototype import Prototype
from evermap.streams.task import Samples, Task


def fixed(name, mse=None, **settings):
    score = None if mse is None else ProbeScore(name, mse, None, None)
    return Source(name, False, score, (), lambda: build_encoder(name, (2,), settings, 0), lambda record: None)


KNOWN = Known((), (fixed("raw"), fixed("random", features=7)), 0, {})


def task_of(x, y, classes=2, kind="classification"):
    return Task("t", 0, Samples(torch.tensor(x), torch.tensor(y)), None, tuple(range(classes)), kind)


def learned(task, known=KNOWN, **settings):
    made = list(Prototype(**settings).learn(task, known, torch.Generator()))
    assert len(made) == 1, "one unit"
    return made[0]


CORNERS = task_of([[0.0, 0.0], [2.0, 0.0], [10.0, 10.0], [10.0, 14.0]], [0, 0, 1, 1])


def test_nearest_means_by_hand():
    model = learned(CORNERS, head="nearest-mean")
    assert model.head.prototypes.tolist() == [[1.0, 0.0], [10.0, 12.0]]
    assert model(torch.tensor([[0.0, 1.0], [9.0, 9.0]])).argmax(dim=1).tolist() == [0, 1]


def test_a_ridge_head_is_the_ridge_regression():
    model = learned(CORNERS, head="ridge")
    fit = ridge(CORNERS.support.x, one_hot(CORNERS.support.y, 2))
    assert torch.equal(model.head.weight, fit.weight)
    assert torch.equal(model.head.bias, fit.bias)


def test_auto_takes_what_is_better_left_out():
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 2
    # A class in the middle of a long thin cloud: means know the way along it only, ridge the way across.
    x = torch.randn(60, 2, generator=rng) * torch.tensor([10.0, 0.1]) + torch.stack([0 * y, y], dim=1)
    across = Task("t", 0, Samples(x, y), None, (0, 1))
    assert learned(across).head.kind == "linear"
    assert learned(CORNERS).head.kind == "linear", "ridge on a tie"
    # Two classes at the ends, one between them on one line: linear targets mask the middle one (Hastie 2009, §4.2).
    y = torch.arange(60) % 3
    masked = Task(
        "t",
        0,
        Samples(y[:, None] * torch.tensor([1.0, 1.0]) + 0.1 * torch.randn(60, 2, generator=rng), y),
        None,
        (0, 1, 2),
    )
    assert learned(masked).head.kind == "prototypes"


def test_it_takes_the_chosen_representation_else_the_best():
    task = CORNERS
    probed = replace(KNOWN, fixed=(fixed("raw", 0.3), fixed("random", 0.2, features=7)))
    assert learned(task, probed).encoder.name == "random"
    assert learned(task, replace(probed, chosen="raw")).encoder.name == "raw"
    assert learned(task, KNOWN).encoder.name == "raw", "unprobed, in the order in which they are offered"
    assert [source.id for source in Prototype().sources(task, probed)] == ["random", "raw"]


def test_the_encoder_is_not_trained():
    assert not any(p.requires_grad for p in learned(CORNERS).encoder.parameters())


def test_probabilities_are_calibrated():
    """At the temperature it brings, the log-loss on new samples is near the smallest that a temperature can reach."""
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(400) % 2
    x = torch.randn(400, 2, generator=rng) + 1.5 * y[:, None]
    task = Task("t", 0, Samples(x[:200].clone(), y[:200].clone()), None, (0, 1))
    for head in ("ridge", "nearest-mean"):
        model = learned(task, head=head)
        outputs = model(x[200:])

        def loss(t, outputs=outputs):
            return torch.nn.functional.cross_entropy(outputs / t, y[200:]).item()

        best = min(loss(float(t)) for t in torch.logspace(-2, 4, 500))
        assert loss(model.head.temperature) < best + 0.03


@pytest.mark.parametrize("head", ["auto", "nearest-mean", "ridge"])
def test_one_sample_of_each_class(head):
    model = learned(task_of([[0.0, 1.0], [1.0, 0.0]], [0, 1]), head=head)
    assert model(torch.tensor([[0.0, 1.0], [1.0, 0.0]])).argmax(dim=1).tolist() == [0, 1]
    assert model.head.temperature > 0


def test_a_regression():
    x = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]
    task = task_of(x, [[3 * a - b + 1] for a, b in x], 0, "regression")
    assert learned(task)(torch.tensor([[5.0, 5.0]])).item() == pytest.approx(11.0, abs=0.02)
