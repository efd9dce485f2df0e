import pytest
import torch

from evermap.agent.budget import counted
from evermap.agent.closed_form import knn_leave_one_out, ncm_leave_one_out, one_hot, ridge
from evermap.agent.encoder import build_encoder
from evermap.agent.entries import TaskRecord
from evermap.agent.known import Source
from evermap.agent.model import LinearHead, Model
from evermap.agent.probe import FEWEST_SAMPLES, MOST_SAMPLES, features_of, matched, probe, sample
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


def test_a_stored_head_is_matched_to_the_labels():
    task = task_of(40)
    right = (features_of(build_encoder("raw", (4,), {}, 0), task.support.x)[:, :2].argmax(1) == task.support.y).float()
    for rows, order in ((AGREES, [0, 1]), (AGREES[::-1], [1, 0]), ([[0.0] * 4, *AGREES], [1, 2])):
        found = matched(head(rows), task, task.support)
        assert found[0] == order
        if len(rows) == 2:
            assert found[1] == pytest.approx(float(right.mean()))
    assert probe(source([record()], head(AGREES[::-1])), task, task.support).reuse == pytest.approx(float(right.mean()))
    assert matched(head(AGREES[:1]), task, task.support) is None, "one output cannot stand for two classes"


def test_matching_is_paid():
    task = task_of(40)
    assert counted(lambda: matched(head(AGREES), task, task.support))[1] == 2 * 40 * 4 * 2 + 2**3


@pytest.mark.parametrize(
    ("n", "flops", "expected"),
    [(50, 1e12, 50), (5000, 1e12, MOST_SAMPLES), (500, 0.0, FEWEST_SAMPLES), (10, 0.0, 10), (500, 12 * 100.5**3, 100)],
)
def test_as_many_samples_as_can_be_paid(n, flops, expected):
    assert len(sample(task_of(n), flops, torch.Generator())) == expected


def test_no_class_is_left_out():
    y = torch.cat([torch.zeros(480, dtype=torch.int64), torch.arange(1, 11).repeat(2)])
    task = Task("t", 0, Samples(torch.arange(500).float()[:, None], y), None, tuple(range(11)))
    for seed in range(5):
        some = sample(task, 0.0, torch.Generator().manual_seed(seed))
        assert len(some) == FEWEST_SAMPLES
        assert some.y.bincount(minlength=11).min() >= 1
        assert torch.equal(task.support.y[some.x.flatten().long()], some.y)
