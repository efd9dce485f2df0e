from dataclasses import replace

import pytest
import torch

from evermap.agent.budget import counted
from evermap.agent.closed_form import knn_leave_one_out, ncm_leave_one_out, one_hot, ridge
from evermap.agent.encoder import build_encoder
from evermap.agent.entries import TaskRecord
from evermap.agent.known import Known, Source
from evermap.agent.model import LinearHead, Model
from evermap.agent.probe import (
    FEWEST_SAMPLES,
    MOST_SAMPLES,
    Price,
    answers,
    features_of,
    matched,
    price,
    probe,
    sample,
    says_something,
)
from evermap.strategies.prototype import Prototype
from evermap.streams.task import Samples, Task


def task_of(n, classes=2, kind="classification"):
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(n) % classes
    x = torch.randn(n, 4, generator=rng) + 2.0 * one_hot(y, 4)
    if kind == "regression":
        return Task("t", 0, Samples(x, x[:, :1] * 2), None, (), kind)
    return Task("t", 0, Samples(x, y), None, tuple(range(classes)))


def source(records=(), model=None):
    return Source("raw", False, None, records, lambda: build_encoder("raw", (4,), {}, 0), lambda record: model)


def record(kind="classification", classes=(0, 1)):
    return TaskRecord(0, "old", None, classes, kind, "encoder-1", "head-1", "scratch")


def head(rows):
    made = LinearHead(4, len(rows))
    with torch.no_grad():
        made.weight.copy_(torch.tensor(rows))
    return Model(build_encoder("raw", (4,), {}, 0), made)


AGREES = [[1.0, 0, 0, 0], [0, 1.0, 0, 0]]


def test_scores_are_the_leave_one_out_scores_of_the_features():
    task = task_of(30)
    x, y = task.support.x, task.support.y
    found = probe(source(), task, task.support)
    assert found.candidate == "raw"
    assert found.ridge_mse == ridge(x, one_hot(y, 2)).loo_mse
    assert found.ncm == ncm_leave_one_out(x, y, 2)
    assert found.knn == knn_leave_one_out(x, y, 2)
    assert found.reuse is None


def test_a_regression_has_ridge_only():
    task = task_of(30, kind="regression")
    found = probe(source([record("regression", ())], None), task, task.support)
    assert found.ridge_mse < 1e-3
    assert (found.ncm, found.knn, found.reuse) == (None, None, None)


def said(rows, task):
    with torch.no_grad():
        return head(rows)(task.support.x)


def test_a_stored_head_is_matched_to_the_labels():
    task = task_of(40)
    right = (features_of(build_encoder("raw", (4,), {}, 0), task.support.x)[:, :2].argmax(1) == task.support.y).float()
    for rows, order in ((AGREES, [0, 1]), (AGREES[::-1], [1, 0]), ([[0.0] * 4, *AGREES], [1, 2])):
        found = matched(said(rows, task), task.support.y, 2)
        assert found[0] == order
        if len(rows) == 2:
            assert found[1] == pytest.approx(float(right.mean()))
    assert probe(source([record()], head(AGREES[::-1])), task, task.support).reuse == pytest.approx(float(right.mean()))


def test_models_with_too_few_outputs_or_of_another_kind_are_not_asked():
    task, one = task_of(40), record(classes=(7,))
    asked = source([one, record(), record("regression", ())], head(AGREES))
    assert [found for found, _, _ in answers(asked, task, task.support.x)] == [record()]


@pytest.mark.parametrize("models", [1, 5])
def test_an_encoder_that_models_have_in_common_runs_once(models):
    task = task_of(40)

    def new():
        return build_encoder("mlp", (4,), {"hidden": (6,)}, 0)

    trained = LinearHead(6, 2, torch.Generator().manual_seed(0))
    stored = Source("encoder-1", True, None, (record(),) * models, new, lambda _: Model(new(), trained))
    found, spent = counted(lambda: list(answers(stored, task, task.support.x)))
    assert spent == 2 * 40 * 4 * 6 + models * 2 * 40 * 6 * 2
    for _, model, outputs in found:
        assert torch.equal(outputs, model(task.support.x))
    features = features_of(new(), task.support.x)
    again, spent = counted(lambda: list(answers(stored, task, task.support.x, features)))
    assert spent == models * 2 * 40 * 6 * 2, "what is known already is not encoded again"
    assert all(torch.equal(a[2], b[2]) for a, b in zip(found, again, strict=True))


def test_matching_is_paid():
    task = task_of(40)
    assert counted(lambda: matched(said(AGREES, task), task.support.y, 2))[1] == 2 * 40 * 4 * 2 + 2**3


@pytest.mark.parametrize("hidden", [(6,), (200, 300)])
@pytest.mark.parametrize("n", [20, 150])
def test_what_a_probe_costs_is_known_beforehand(n, hidden):
    task = task_of(n)
    one = replace(source(), _encoder=lambda: build_encoder("mlp", (4,), {"hidden": hidden}, 0))
    spent = counted(lambda: probe(one, task, task.support))[1]
    assert price(one, task, {}).of(n) == pytest.approx(spent, rel=0.1)

    asked = replace(one, tasks=(record(), record(), record(classes=(0, 1, 2))), _model=lambda each: built(hidden, each))
    with_heads = counted(lambda: probe(asked, task, task.support))[1]
    assert price(asked, task, {}).said == 7
    assert price(asked, task, {}).of(n) - price(one, task, {}).of(n) >= 0.5 * (with_heads - spent) > 0


def built(hidden, of):
    encoder = build_encoder("mlp", (4,), {"hidden": hidden}, 0)
    return Model(encoder, LinearHead(encoder.feature_size, len(of.classes)))


@pytest.mark.parametrize("n", [3, 20, 150])
def test_what_a_head_costs_is_known_beforehand(n):
    task, passes = task_of(n), {}
    one = replace(source(), _encoder=lambda: build_encoder("mlp", (4,), {"hidden": (9,)}, 0))
    known = Known((), (one,), 0, {})

    def work():
        (model,) = Prototype().learn(task, known, torch.Generator())
        model(torch.zeros(11, 4))

    spent = counted(work)[1]
    assert spent <= price(one, task, passes).head(n, 11)
    assert n == 3 or price(one, task, passes).head(n, 11) <= 1.6 * spent
    assert len(passes) == 1
    assert price(one, task, dict.fromkeys(passes, 0.0)).once == 0.0, "an architecture is counted once"


def test_one_sample_per_class_is_nothing_to_leave_out():
    def says(*labels, kind="classification"):
        y = torch.tensor(labels)
        return says_something(replace(task_of(2), kind=kind), Samples(torch.zeros(len(y), 4), y))

    assert not says(0)
    assert not says(*range(9))
    assert says(*range(10)), "stored heads may recognise it"
    assert says(0, 1, 1)
    assert says(0, 1, 2, kind="regression")


FREE = Price(0.0, 4, 2)
DEAR = Price(1000.0, 4, 2)


@pytest.mark.parametrize(
    ("n", "prices", "flops", "expected"),
    [
        (50, [FREE], 1e12, 50),
        (5000, [FREE], 1e12, MOST_SAMPLES),
        (500, [FREE], 0.0, FEWEST_SAMPLES),
        (10, [FREE], 0.0, 10),
        (500, [DEAR], DEAR.of(100), 100),
        (500, [DEAR, FREE, DEAR], 2 * DEAR.of(100) + FREE.of(100), 100),
        (500, [DEAR], DEAR.of(101) - 1, 100),
    ],
)
def test_as_many_samples_as_can_be_paid(n, prices, flops, expected):
    assert len(sample(task_of(n), prices, flops, torch.Generator())) == expected


def test_no_class_is_left_out():
    y = torch.cat([torch.zeros(480, dtype=torch.int64), torch.arange(1, 11).repeat(2)])
    task = Task("t", 0, Samples(torch.arange(500).float()[:, None], y), None, tuple(range(11)))
    for seed in range(5):
        some = sample(task, [FREE], 0.0, torch.Generator().manual_seed(seed))
        assert len(some) == FEWEST_SAMPLES
        assert some.y.bincount(minlength=11).min() >= 1
        assert torch.equal(task.support.y[some.x.flatten().long()], some.y)
