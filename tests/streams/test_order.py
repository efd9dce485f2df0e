import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evermap.streams.order import arrange, class_means, difficulty, distance, given_order
from evermap.streams.spec import TaskSpec, stream_spec
from evermap.streams.stream import Stream, build_stream
from evermap.streams.task import Samples, Task


def ordered(order: str, tasks: list[dict[str, object]], seed: int = 0) -> Stream:
    return build_stream(stream_spec(layout="tasks", tasks=tasks, order=order), seed)


HARD = [
    {"name": "noisy", "classes": [3, 8, 9], "transforms": {"noise": 0.8}, "train": 20},
    {"name": "plain", "classes": [0, 1], "train": 20},
    {"name": "middling", "classes": [3, 8, 9], "train": 20, "transforms": {"noise": 0.35}},
    {"name": "noisy again", "returns": "noisy", "train": 5},
]


def test_easy_to_hard() -> None:
    stream = ordered("easy-to-hard", HARD)
    assert [task.name for task in stream] == ["plain", "middling", "noisy", "noisy again"]
    hard = [difficulty(task) for task in stream]
    assert hard[0] < hard[1] < hard[2]
    assert [concept.name for concept in stream.concepts] == ["plain", "middling", "noisy"]


def test_similar_first() -> None:
    tasks = [
        {"name": "a", "classes": [0, 1], "train": 20},
        {"name": "far", "classes": [0, 1], "transforms": {"permute": 1}, "train": 20},
        {"name": "near", "classes": [0, 1], "transforms": {"rotate": 10.0}, "train": 20},
        {"name": "same", "classes": "a", "relabel": True, "train": 20},
    ]
    assert [task.name for task in ordered("similar-first", tasks)] == ["a", "same", "near", "far"]


def test_a_random_order_is_the_seeds() -> None:
    tasks = [{"name": str(i), "classes": 2, "train": 5} for i in range(8)]
    orders = [[task.name for task in ordered("random", tasks, seed)] for seed in range(4)]
    assert len({tuple(each) for each in orders}) == 4
    assert orders[0] == [task.name for task in ordered("random", tasks, 0)]
    assert all(sorted(each) == [str(i) for i in range(8)] for each in orders)


@pytest.mark.parametrize("order", ["random", "easy-to-hard", "similar-first"])
def test_the_order_changes_neither_classes_nor_test_sets(order: str) -> None:
    tasks = [{"name": str(i), "classes": 3, "train": 9} for i in range(5)]
    written, moved = ordered("as-given", tasks), ordered(order, tasks)
    tests = {c.name: written.test(c.index) for c in written.concepts}
    assert [c.name for c in moved.concepts] != [c.name for c in written.concepts]
    for concept in moved.concepts:
        assert concept.classes == tests[concept.name].classes
        assert torch.equal(moved.test(concept.index).x, tests[concept.name].x)


@given(st.integers(0, 10**6))
def test_every_task_comes_once_after_what_it_needs_and_phases_stay_together(seed: int) -> None:
    rng = random.Random(seed)
    tasks: list[TaskSpec] = []
    for i in range(12):
        earlier = [task.name for task in tasks]
        fields: dict[str, object] = {"name": str(i), "phase": f"phase {i // 3}" if i // 3 in (1, 3) else None}
        if earlier and rng.random() < 0.3:
            fields["returns"] = rng.choice(earlier)
        elif earlier and rng.random() < 0.3:
            fields["classes"] = rng.choice(earlier)
        tasks.append(TaskSpec(**fields))
    keys = [rng.random() for _ in tasks]
    order = arrange(tasks, lambda placed, i: keys[i])
    assert sorted(order) == list(range(12))
    place = {tasks[i].name: position for position, i in enumerate(order)}
    for first in (3, 9):
        start = order.index(first)
        assert order[start : start + 3] == [first, first + 1, first + 2]
    for task in tasks:
        for name in (task.returns, task.classes):
            if name in place:
                assert place[name] < place[task.name]


def plainly(x: torch.Tensor, y: torch.Tensor, classes: int) -> float:
    """Leave-one-out error of the nearest class mean, one sample after another."""
    wrong = 0
    for i in range(len(y)):
        best, nearest = float("inf"), -1
        for c in range(classes):
            own = [j for j in range(len(y)) if y[j] == c and j != i]
            if not own:
                continue
            gap = float(((x[own].mean(0) - x[i]) ** 2).sum())
            if gap < best:
                best, nearest = gap, c
        wrong += nearest != int(y[i])
    return wrong / len(y)


@given(st.integers(0, 10**6))
def test_difficulty_is_the_plain_loops(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(12) % 3
    x = torch.randn(12, 4, generator=rng) + y[:, None]
    task = Task("a", 0, Samples(x, y), None, (0, 1, 2))
    assert difficulty(task) == pytest.approx(plainly(x, y, 3))


def test_distances() -> None:
    a = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    assert distance(a, a) == 0
    assert distance(a, a.flip(0)) == 0
    b = torch.tensor([[0.0, 1.0]])
    # from a: 1 and √2 to b's only mean; from b: 1 to the nearer of a's; each per √2 values
    assert distance(a, b) == pytest.approx((1 + 2**0.5 + 1) / 3 / 2**0.5)
    assert distance(a, b) == distance(b, a)


def test_only_training_samples_are_looked_at() -> None:
    stream = ordered("as-given", [{"name": "a", "classes": [0, 1], "train": 4}])
    task = stream.task(0)
    own = torch.stack([task.support.x[task.support.y == c].mean(0).flatten() for c in range(2)])
    assert torch.allclose(class_means(task), own)


def test_what_is_measured_is_left_as_written_without_data() -> None:
    tasks = [TaskSpec(name="a"), TaskSpec(name="b")]
    assert given_order("easy-to-hard", tasks, 3) == given_order("as-given", tasks, 3) == [0, 1]
