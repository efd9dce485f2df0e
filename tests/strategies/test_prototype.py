import functools
from dataclasses import replace

import pytest
import torch

from evermap.agent.closed_form import one_hot, ridge
from evermap.agent.encoder import build_encoder
from evermap.agent.events import ProbeScore
from evermap.agent.known import Known, Source
from evermap.agent.model import restore_head, state
from evermap.errors import RecipeError
from evermap.strategies.prototype import Prototype, _nearest
from evermap.streams.digits import Digits
from evermap.streams.task import Samples, Task
from evermap.streams.transforms import noisy_labels


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


# Settings of nearest prototypes


@functools.cache
def stem_features():
    """Digits through the patch stem, and their labels."""
    data = Digits().load(None)
    stem = build_encoder("patches", (1, 8, 8), {}, 0)
    stem.fit(data.x[:200], torch.Generator().manual_seed(0))
    return stem(data.x), data.y


@torch.no_grad()
def accuracy(shots, noise, seed, **settings):
    """Accuracy on right labels after learning all ten digits from a few images, a share of whose labels is wrong."""
    features, y = stem_features()
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(y), generator=rng)
    mine = [order[y[order] == c] for c in range(10)]
    train, test = torch.cat([i[:shots] for i in mine]), torch.cat([i[100:140] for i in mine])
    head = _nearest(features[train], noisy_labels(y[train], noise, 10, rng), 10, Prototype(**settings).settings)
    return float((head(features[test]).argmax(dim=1) == y[test]).float().mean())


def gain(shots, noise, **settings):
    """Points by which a setting is better than plain means, over eight seeded draws."""
    return 100 * sum(accuracy(shots, noise, s, **settings) - accuracy(shots, noise, s) for s in range(8)) / 8


def test_robust_prototypes_gain_where_three_labels_of_ten_are_wrong():
    """Three images of each digit: a median is better than the mean by a point, an edited mean by three."""
    assert gain(3, 0.3, prototypes="median") >= 1.0
    assert gain(3, 0.3, prototypes="edited") >= 3.0
    assert gain(5, 0.3, prototypes="edited", distance="low-rank") >= 3.0, "a metric wants clean samples"


def test_a_learned_metric_gains_where_labels_are_right():
    assert gain(5, 0.0, distance="diagonal") >= 1.0
    assert gain(5, 0.0, distance="low-rank") >= 3.0


def test_cosines_by_hand():
    model = learned(task_of([[1.0, 0.0], [0.0, 5.0]], [0, 1]), head="nearest-mean", distance="cosine")
    assert model.head.kind == "cosine"
    answers = model(torch.tensor([[9.0, 1.0], [0.1, 0.2], [0.0, 0.0]]))
    assert answers.argmax(dim=1).tolist()[:2] == [0, 1], "length does not count"
    assert answers[0, 0].item() == pytest.approx(10 * 9 / 82**0.5)
    assert answers[2].tolist() == [0, 0]
    again = restore_head(model.head.kind, state(model.head))
    assert torch.equal(again(torch.ones(1, 2)), model.head(torch.ones(1, 2)))
    assert model.head.select([1, 0])(torch.ones(1, 2)).tolist() == model.head(torch.ones(1, 2)).flip(1).tolist()


@pytest.mark.parametrize("distance", ["euclidean", "cosine", "diagonal", "low-rank"])
@pytest.mark.parametrize("prototypes", ["mean", "shrunk", "median", "edited"])
def test_every_setting_is_calibrated_and_takes_anything(distance, prototypes):
    """Bad input: one class, one sample of each, a class without samples, constant inputs; and 60 samples of noise."""
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 2
    noise = torch.randn(60, 4, generator=rng).tolist()
    hard = learned(task_of(noise, y.tolist()), head="nearest-mean", distance=distance, prototypes=prototypes)
    probabilities = (hard(torch.randn(200, 4, generator=rng)) / hard.head.temperature).softmax(dim=1)
    assert probabilities.max(dim=1).values.mean() < 0.8, "where there is nothing to know it does not claim to know"
    for x, labels, classes in [
        ([[1.0, 2.0], [2.0, 1.0]], [0, 0], 1),
        ([[0.0, 1.0], [1.0, 0.0]], [0, 1], 2),
        ([[0.0, 1.0], [1.0, 0.0], [1.0, 0.1]], [0, 2, 2], 3),
        ([[1.0, 1.0]] * 6, [0, 0, 0, 1, 1, 1], 2),
        ([[0.0, 0.0]] * 6, [0, 0, 0, 1, 1, 1], 2),
    ]:
        for head in ("nearest-mean", "auto"):
            model = learned(task_of(x, labels, classes), head=head, distance=distance, prototypes=prototypes)
            outputs = model(torch.tensor(x)) / model.head.temperature
            assert outputs.shape == (len(x), classes)
            assert torch.isfinite(outputs).all()


def test_settings_out_of_range_are_named():
    for settings, said in [
        ({"distance": "manhattan"}, "distance: .*'euclidean', 'cosine', 'diagonal' or 'low-rank'"),
        ({"prototypes": "medoid"}, "prototypes: .*'mean', 'shrunk', 'median' or 'edited'"),
        ({"rank": 0}, "rank: .*must be greater than 0"),
    ]:
        with pytest.raises(RecipeError, match=said):
            Prototype(**settings)


@pytest.mark.parametrize("distance", ["euclidean", "cosine", "diagonal"])
@pytest.mark.parametrize("n", [1, 20])
def test_a_class_that_no_sample_has_is_never_answered(distance, n):
    """Label noise can take a class all its samples; around the origin its prototype would be the nearest."""
    rng = torch.Generator().manual_seed(0)
    y = torch.tensor([0, 2]).repeat(n)
    x = torch.randn(2 * n, 2, generator=rng) * 0.1
    x[:, 0] += y.float() - 1
    model = learned(Task("t", 0, Samples(x, y), None, (0, 1, 2)), head="nearest-mean", distance=distance)
    logits = model(torch.rand(200, 2, generator=rng) * 2 - 1).detach() / model.head.temperature
    assert set(logits.argmax(dim=1).tolist()) <= {0, 2}
    assert logits.isfinite().all()
    assert float(torch.softmax(logits, 1)[:, 1].max()) < 0.2
    assert float(model.head.temperature) < 1e3
