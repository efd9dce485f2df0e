import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evermap.agent.holdout import SMALLEST_CLASS, hold_out
from evermap.streams.task import Samples, Task


def task_of(sizes, query=None, kind="classification"):
    y = torch.cat([torch.full((n,), c) for c, n in enumerate(sizes)])
    x = torch.arange(len(y)).float()[:, None]  # every sample is its own number
    classes = tuple(range(len(sizes))) if kind == "classification" else ()
    return Task("t", 0, Samples(x, y if classes else x.clone()), query, classes, kind)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(5, 40), min_size=1, max_size=5), share=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_the_parts_are_the_whole_and_every_class_is_in_both(sizes, share, seed):
    task = task_of(sizes)
    seen, held = hold_out(task, share, rng(seed))
    assert sorted([*seen.support.x.flatten().tolist(), *held.x.flatten().tolist()]) == task.support.x.flatten().tolist()
    assert held.y.bincount(minlength=len(sizes)).tolist() == [min(max(1, round(share * n)), n - 1) for n in sizes]
    assert seen.support.y.bincount(minlength=len(sizes)).min() >= 1, "something of every class is left to learn from"
    for part in (seen.support, held):
        assert torch.equal(task.support.y[part.x.flatten().long()], part.y)
    assert (seen.name, seen.classes, seen.query) == (task.name, task.classes, None)


def test_a_query_part_is_what_scores():
    query = Samples(torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64))
    seen, held = hold_out(task_of([20, 20], query), 0.5, rng())
    assert held is query
    assert seen.query is None
    assert len(seen.support) == 40


@pytest.mark.parametrize(("sizes", "share"), [([20, SMALLEST_CLASS - 1], 0.2), ([20, 0], 0.2), ([20, 20], 0.0)])
def test_nothing_is_held_back_where_there_is_too_little(sizes, share):
    seen, held = hold_out(task_of(sizes), share, rng())
    assert held is None
    assert len(seen.support) == sum(sizes)


def test_a_regression_is_split_as_a_whole():
    seen, held = hold_out(task_of([10], kind="regression"), 0.2, rng())
    assert (len(seen.support), len(held)) == (8, 2)


def test_the_split_is_the_generators():
    first, again, other = (hold_out(task_of([20, 20]), 0.3, rng(seed))[1].x for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_what_is_seen_has_memory_of_its_own():
    seen, held = hold_out(task_of([20, 20]), 0.3, rng())
    assert seen.support.x.untyped_storage().nbytes() == 4 * len(seen.support)
    assert held.x.untyped_storage().nbytes() == 4 * len(held)
