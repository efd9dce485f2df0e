"""What meta-training says beforehand that a unit takes, against what is counted when it is done."""

import pytest
import torch

from evermap.agent.budget import counted
from evermap.agent.known import Episode, Known
from evermap.strategies.maml import Maml
from evermap.strategies.protonet import ProtoNet
from evermap.streams.task import Samples, Task


def episode(classes, support, query, shape=(24,), index=0):
    y = [torch.arange(classes).repeat_interleave(n) for n in (support, query)]
    parts = [Samples(torch.randn(len(of), *shape), of) for of in y]
    return Episode(index, *parts, classes, "classification")


def regression(n, m):
    parts = [Samples(torch.randn(k, 24), torch.randn(k, 2)) for k in (n, m)]
    return Episode(0, *parts, 2, "regression")


MLP, CONV = {"name": "mlp", "settings": {"hidden": (16, 8)}}, {"name": "conv4", "settings": {"filters": 8}}
CASES = [
    (ProtoNet(), [episode(5, 4, 3), episode(3, 1, 9)], MLP),
    (ProtoNet(meta_batch=1), [episode(12, 9, 9), episode(4, 2, 2)], MLP),
    (ProtoNet(wide_ways=22), [episode(5, 4, 3), episode(24, 3, 3)], MLP),
    (ProtoNet(), [episode(5, 2, 2, (1, 28, 28))], CONV),
    (Maml(), [episode(5, 4, 3), episode(3, 1, 9)], MLP),
    (Maml(backend="loop"), [episode(5, 7, 12)], MLP),
    (Maml(inner_steps=3), [episode(5, 4, 3)], MLP),
    (Maml(inner_steps=3, backend="loop", order="first"), [episode(5, 4, 3)], MLP),
    (Maml(inner_steps=2, anil=True, backend="loop"), [episode(5, 4, 3)], MLP),
    (Maml(inner_steps=2, step_sizes="layer"), [episode(5, 4, 3)], MLP),
    (Maml(order="reptile", inner_steps=4), [episode(5, 4, 3)], MLP),
    (Maml(), [episode(24, 3, 3)], MLP),
    (Maml(wide_classes=40), [episode(40, 3, 3)], MLP),
    (Maml(), [episode(3, 2, 2, (1, 28, 28))], CONV),
    (Maml(inner_steps=2), [regression(5, 6)], MLP),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_a_unit_takes_no_more_than_its_price(case):
    strategy, episodes, architecture = CASES[case]
    last = episodes[-1]
    classes = tuple(range(last.outputs)) if last.kind == "classification" else ()
    task = Task("t", 0, last.support, None, classes, last.kind)
    known = Known((), (), 0, architecture, episodes=tuple(episodes))
    price = strategy.price(task, known)
    steps = strategy.consolidate(task, known, torch.Generator().manual_seed(0))
    spent = [counted(lambda: next(steps))[1] for _ in range(8)]
    assert min(spent) > 0
    assert max(spent) <= price
    assert price <= 3 * max(spent), "nor is it far from the truth, lest nothing be trained"


@pytest.mark.parametrize("strategy", [ProtoNet(), Maml()])
def test_where_nothing_is_trained_there_is_no_price(strategy):
    task = Task("t", 0, episode(3, 2, 2).support, None, (0, 1, 2))
    assert strategy.price(task, Known((), (), 0, MLP)) == 0
