import math

import numpy as np
import pytest
import torch

from evermap.agent.entries import SignatureRecord
from evermap.agent.memory import Memory
from evermap.agent.signature import INPUTS, distances, nearest, numbers, sign
from evermap.agent.store import KnowledgeStore
from evermap.streams.task import Samples, Task


def task(index, x, y=(0, 1), classes=(3, 5), kind="classification"):
    return Task(f"task {index}", index, Samples(x, torch.tensor(y)), None, classes, kind)


def record(index, inputs, features=(0.0, 0.0), classes=None, space="1"):
    packed = [np.array(values, dtype="<f4").tobytes() for values in (inputs, features)]
    return SignatureRecord(index, space, classes or {}, *packed)


def test_means_and_deviations_by_hand():
    x = torch.tensor([[0.0, 0.5], [1.0, 0.5]])
    signed = sign(task(4, x), task(4, x), "encoder-1")
    assert numbers(signed.inputs).tolist() == [0.5, 0.5, 0.5, 0.0]
    assert (signed.task, signed.classes, signed.space) == (4, {"3": 1, "5": 1}, "2 on encoder-1")
    assert len(numbers(signed.features)) == 128


def test_distances_by_hand():
    # Means 0 and 3, deviations 0 and 4: the Wasserstein-2 distance of two normal distributions is 5.
    one = record(0, [0.0, 0.0], [0.0, 0.0], {"1": 1, "2": 1})
    others = [
        record(1, [3.0, 4.0], [6.0, 8.0], {"2": 2, "3": 2}),
        record(2, [0.0, 0.0], [1.0, 0.0], {"1": 5, "2": 5}),
        record(3, [0.0, 0.0], [0.0, 0.0], {"7": 1}, space="2"),
        record(-1, [0.0, 0.0], [2.0, 0.0], {"1": 1, "2": 1}),
    ]
    found = {near.task: (near.input, near.label, near.feature) for near in distances(one, others)}
    assert found == {1: (5.0, 0.5, 10.0), 2: (0.0, 0.0, 1.0), 3: (None, 1.0, None), -1: (0.0, None, 2.0)}
    assert [near.task for near in distances(one, others)] == [2, -1, 1, 3]


def test_many_values_are_averaged_with_their_neighbours():
    images = torch.arange(2 * 3 * 40 * 40, dtype=torch.float32).reshape(2, 3, 40, 40)
    signed = sign(task(0, images), task(0, images), None)
    means = numbers(signed.inputs)
    assert len(means) // 2 == 3 * 9 * 9 <= INPUTS
    assert math.isclose(means[: len(means) // 2].mean(), float(images.mean()), rel_tol=0.01)
    rows = torch.rand(2, 1000)
    assert len(numbers(sign(task(0, rows), task(0, rows), None).inputs)) == 2 * INPUTS


def test_the_same_task_is_nearest_whatever_its_labels_are():
    rng = torch.Generator().manual_seed(0)
    shift = [0.0, 0.3, 0.6]
    signed = [
        sign(task(i, x := torch.rand(40, 1, 8, 8, generator=rng) + s, [0, 1] * 20), task(i, x, [0, 1] * 20), None)
        for i, s in enumerate(shift)
    ]
    again = torch.rand(40, 1, 8, 8, generator=rng) + 0.6
    last = sign(task(3, again, [1, 0] * 20, (8, 9)), task(3, again, [1, 0] * 20, (8, 9)), None)
    assert [near.task for near in distances(last, signed)] == [2, 1, 0]


def test_nearest_agrees_with_a_loop():
    apart = np.append(np.random.default_rng(0).random(50, dtype=np.float32), np.float32(np.inf))
    expected = sorted(sorted(range(50), key=lambda i: apart[i])[:7])
    assert nearest(apart, np.arange(50), 7) == expected
    chosen = np.array([3, -1, 9, 9, 40])
    assert nearest(apart, chosen, 5) == [0, 1, 2, 3, 4]
    assert 1 not in nearest(apart, chosen, 4)
    assert nearest(np.ones(9), np.arange(9), 4) == [0, 1, 2, 3], "of equals the first ones"


def test_what_was_looked_up_is_found_again_and_what_is_new_as_well():
    """With a key only what is new is looked up; the answer is the one of a look at everything."""
    rng = np.random.default_rng(1)
    tasks = [task(i, torch.tensor(rng.random((2, 4)), dtype=torch.float32)) for i in range(40)]
    with KnowledgeStore.in_memory() as store:
        memory, found = Memory(store), []
        for i in range(39):
            with store.transaction() as t:
                t.add_signature(sign(tasks[i], tasks[i], None))
            found.append(i)
            new = tasks[i + 1]
            by_key = memory.recall(found, lambda i: i, new, 5, "all")
            assert (
                by_key == memory.recall(found, lambda i: i, new, 5) == Memory(store).recall(found, lambda i: i, new, 5)
            )
    own = torch.tensor(np.frombuffer(sign(tasks[39], tasks[39], None).features, "<f4").copy())
    apart = [
        float((torch.tensor(np.frombuffer(sign(t, t, None).features, "<f4").copy()) - own).norm()) for t in tasks[:39]
    ]
    assert by_key == sorted(sorted(range(39), key=lambda i: apart[i])[:5])


@pytest.mark.parametrize("most", [2, 5])
def test_recall_keeps_the_nearest_in_their_order(most):
    x = [torch.full((2, 4), float(i)) for i in range(5)]
    with KnowledgeStore.in_memory() as store:
        with store.transaction() as t:
            for i in range(4):  # task 4 has left no signature
                t.add_signature(sign(task(i, x[i]), task(i, x[i]), None))
        memory = Memory(store)
        found = memory.recall([4, 0, 1, 2, 3], lambda i: i, task(9, torch.full((2, 4), 1.9)), most)
    assert found == ([1, 2] if most == 2 else [4, 0, 1, 2, 3])
