"""Tasks that are hardly any: every strategy lives through all of them, one after another, or says why it does not.

What `test_contract.py` holds for an arm is held here for the whole life of an agent: profiling, learning, consolidation
on the episode memory, storing and answering.
"""

import dataclasses
import math

import pytest
import torch

from evermap import registry
from evermap.agent.arm import Arm
from evermap.agent.events import Learned
from evermap.agent.known import Known
from evermap.agent.model import finite
from evermap.agent.selectors.fixed import Fixed
from evermap.agent.store import KnowledgeStore
from evermap.errors import RecipeError
from evermap.strategies.multitask import MultiTask
from evermap.streams.task import Samples, Task

NAMES = registry.registered("strategy")
STRATEGIES = pytest.mark.parametrize("name", NAMES)
SHAPE = (1, 4, 4)


def task(x, y, index, kind="classification", classes=None, query=None):
    outputs = classes if classes is not None else int(y.max()) + 1 if kind == "classification" else 0
    return Task(f"odd {index}", index, Samples(x, y), query, tuple(range(outputs)), kind, index)


def odd_life():
    """A life: ordinary tasks first, so that there is something to reuse, then tasks of every odd sort."""
    rng = torch.Generator().manual_seed(0)
    heaps = torch.randn(10, *SHAPE, generator=rng)

    def draw(y):
        return heaps[y] + 0.3 * torch.randn(len(y), *SHAPE, generator=rng)

    two = torch.arange(2).repeat_interleave(10)
    ordinary = [(draw(two + 2 * i), two) for i in range(3)]
    odd = [
        (draw(two[:10]), two[:10]),  # one class only
        (draw(two[:1]), two[:1]),  # of which there is one sample
        (draw(torch.arange(10)), torch.arange(10)),  # one sample per class
        (torch.ones(20, *SHAPE), two),  # constant inputs
        (torch.zeros(20, *SHAPE), two),
        (torch.full((20, *SHAPE), 1e6), two),  # far from everything
        (torch.randn(20, 1, 2, 2, generator=rng), two),  # of another input shape
        (torch.randn(20, 5, generator=rng), two),
    ]
    tasks = [task(x, y, i) for i, (x, y) in enumerate([*ordinary, *odd])]
    tasks.append(task(draw(two), two, len(tasks), classes=4))  # classes without samples
    constant = torch.full((20, 2), 3.0)
    tasks.append(task(draw(two), constant, len(tasks), "regression"))
    tasks.append(task(draw(two)[:1], constant[:1], len(tasks), "regression"))
    one_of_one = Samples(draw(two[:1]), two[:1])
    tasks.append(task(draw(two), two, len(tasks), query=one_of_one))  # a query part of one class
    return tasks


def lives_through(agent, teach, tasks):
    """Let an agent learn tasks; check that what it says and keeps is a number, and return who learned each."""
    by = []
    for each in tasks:
        told = teach(agent, each)
        by.append(next(event.strategy for event in told if isinstance(event, Learned)))
        answer = agent.answer(each.support.x, each.label)
        assert len(answer.by_anchor) == len(each.support)
        assert not bool((answer.log_probs if answer.values is None else answer.values).isnan().any())
    for entry in agent.store.encoders():
        weights = agent.store.weights(entry.id).values()
        assert all(bool(w.isfinite().all()) for w in weights)
    return by


@STRATEGIES
def test_a_life_of_odd_tasks(name, make_agent, teach):
    agent = make_agent(KnowledgeStore.in_memory(), Fixed(name), flops=1e7)
    by = lives_through(agent, teach, odd_life())
    assert name in by or name == "multitask", "it applies to some of them"


@STRATEGIES
@pytest.mark.parametrize("flops", [1e-9, 1.0, 1e4])
def test_a_budget_that_buys_nothing(name, flops, make_agent, teach):
    """At most one unit may pass it; what is left is an answer."""
    agent = make_agent(KnowledgeStore.in_memory(), Fixed(name), flops=flops)
    lives_through(agent, teach, odd_life()[:5])


@pytest.mark.parametrize(
    ("weights", "surgery"),
    [("equal", "none"), ("uncertainty", "none"), ("dwa", "none"), ("gradnorm", "none"), ("gradnorm", "pcgrad")],
)
def test_odd_tasks_that_arrive_together(weights, surgery):
    """All of one input shape; some losses are 0 from the beginning, and some gradients too."""
    tasks = [each for each in odd_life() if each.input_shape == SHAPE and float(each.support.x.abs().max()) < 100]
    known = Known((), (), 0, {"name": "mlp", "settings": {"hidden": (16,)}})
    strategy = MultiTask(steps=30, weights=weights, surgery=surgery, dwa_period=5)
    arm = Arm(strategy, tasks, known, seed=0)
    for _ in arm.run(math.inf):
        pass
    assert arm.units == 30
    assert all(map(finite, arm.models))


@STRATEGIES
def test_settings_of_zero_are_refused_where_nothing_would_be_done(name):
    """Zero steps, shots, ways, samples: an error that names setting and value, not a strategy that does nothing."""
    kind = registry.load("strategy", name)
    for field in dataclasses.fields(kind().settings):
        if field.name in NEVER_ZERO:
            with pytest.raises(RecipeError, match=field.name) as error:
                kind(**{field.name: 0})
            assert "found 0" in str(error.value)


NEVER_ZERO = {
    "steps", "batch_size", "lr", "inner_lr", "inner_steps", "adapt_steps", "meta_lr", "meta_batch", "meta_steps",
    "shots", "queries", "ways", "rank", "teachers", "temperature", "width", "min_tasks", "task_chunk",
}  # fmt: skip


@pytest.mark.parametrize("name", ["maml", "protonet"])
def test_shots_and_ways_that_no_task_can_give_are_upper_bounds(name, make_agent, teach):
    """Meta-training reaches for a thousand samples of each class; tasks have ten."""
    kind = registry.load("strategy", name)
    greedy = {"shots": 1000, "queries": 1000} | ({"ways": 1000} if name == "protonet" else {})
    assert kind(**greedy).settings.shots == 1000

    def made(**settings):
        return kind(**settings, **greedy)

    agent = make_agent(KnowledgeStore.in_memory(), Fixed(name), {name: made}, flops=1e7)
    rng = torch.Generator().manual_seed(1)
    y = torch.arange(2).repeat_interleave(10)
    tasks = [task(torch.randn(20, *SHAPE, generator=rng) + 3 * y.view(-1, 1, 1, 1), y, i) for i in range(5)]
    assert name in lives_through(agent, teach, tasks)
