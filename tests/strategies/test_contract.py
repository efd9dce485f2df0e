"""What every strategy promises, built-in or plug-in, held over everything that is registered."""

import dataclasses
import functools
import inspect
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from evermap import registry
from evermap.agent.arm import Arm, outputs_of
from evermap.agent.budget import Ledger, counted
from evermap.agent.known import Known
from evermap.agent.model import finite, state
from evermap.agent.selector import Option
from evermap.agent.store import KnowledgeStore
from evermap.agent.strategy import Strategy
from evermap.agent.workbench import Workbench
from evermap.scenarios.measures import Measures
from evermap.scenarios.run import lifelong
from evermap.streams.digits import Digits
from evermap.streams.stream import Stream, TestSet
from evermap.streams.task import Samples, Task

PLENTY = 1e12  # FLOPs
RETURNING, NEW = 3, 4  # tasks of the fixture `stream` after those that `full_store` knows

STRATEGIES = pytest.mark.parametrize("name", registry.registered("strategy"))
SITUATIONS = pytest.mark.parametrize("index", [RETURNING, NEW])


def laid_out(agent, stream, name, index) -> Workbench:
    """Put a task before the agent; for a strategy that only learns jointly, as one of two that arrive together."""
    task = stream.task(index)
    bench = agent.layout.lay_out(task, Ledger(PLENTY), probing=True)
    if agent.strategies[name].joint and agent.strategies[name].applies(bench.task, bench.known) is not None:
        other = RETURNING + NEW - index
        list(agent.learn_together(sorted((task, stream.task(other)), key=lambda t: t.index)))
        bench = agent.layout.lay_out(task, Ledger(PLENTY), probing=True)
    return bench


@pytest.fixture
def bench_for(stream, full_store, make_agent, scripted):
    """A function that lays a task out for a strategy, before an agent that knows three tasks."""

    def lay_out(name: str, index: int) -> Workbench:
        return laid_out(make_agent(full_store, scripted(jointly=name)), stream, name, index)

    return lay_out


def options_of(bench: Workbench, name: str) -> list[Option]:
    return [option for option in bench.options() if option.strategy == name]


def new_arm(bench: Workbench, option: Option, **changes) -> Arm:
    given = {"held_out": bench.held_out, "seed": 7, "score_every": 10, "patience": 1000, **changes}
    return Arm(bench.strategies[option.strategy], bench.task, replace(bench.known, chosen=option.source), **given)


def exhaust(arm: Arm, limit: float = math.inf, units: int | None = None) -> Arm:
    for _ in arm.run(limit, units):
        pass
    return arm


def same(one, other) -> bool:
    a, b = state(one), state(other)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# What it is


@STRATEGIES
def test_it_is_described(name):
    kind = registry.load("strategy", name)
    assert issubclass(kind, Strategy)
    assert kind.name == name
    assert inspect.getdoc(kind)
    assert inspect.getdoc(kind) != inspect.getdoc(Strategy)
    settings = kind().settings
    assert type(settings).__dataclass_params__.frozen
    for field in dataclasses.fields(settings):
        assert field.metadata["help"].endswith("."), f"{field.name} is described in a sentence"


# Learning


@STRATEGIES
def test_it_learns_above_chance(bench_for, stream, name):
    """On digits that it has met under other labels: what any way to learn can do, with or without the store."""
    bench = bench_for(name, RETURNING)
    test = stream.test(stream.concept_of(RETURNING))
    option = options_of(bench, name)[0]
    assert option.why_not is None, f"with three tasks in the store it applies: {option.why_not}"
    model = exhaust(new_arm(bench, option)).best
    positions = torch.tensor([bench.task.classes.index(c) for c in test.y.tolist()])
    assert (outputs_of(model, test.x).argmax(dim=1) == positions).float().mean() >= 0.8


def odd_tasks() -> dict[str, Task]:
    data = Digits().load(None)

    def task(x, y, classes=None, kind="classification"):
        return Task("odd", 9, Samples(x.clone(), y.clone()), None, tuple(range(classes or 2)), kind, 9)

    x = torch.cat([data.x[data.y == 0][:20], data.x[data.y == 1][:20]])
    y = torch.tensor([0] * 20 + [1] * 20)
    one_each = torch.stack([data.x[data.y == c][0] for c in range(10)])
    values = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    return {
        "smaller images": task(torch.nn.functional.avg_pool2d(x, 2), y),
        "vectors": task(x.flatten(1), y),
        "one class": task(x[:20], y[:20], 1),
        "one sample": task(x[:1], y[:1], 1),
        "one sample per class": task(one_each, torch.arange(10), 10),
        "one sample of each of two": task(x[[0, 20]], y[[0, 20]]),
        "constant inputs": task(torch.ones(40, 1, 8, 8), y),
        "a class without samples": task(x, y, 3),
        "ten classes": task(data.x[:200], data.y[:200], 10),
        "regression": Task("odd", 9, Samples(x, values), None, (), "regression", 9),
        "regression on one sample": Task("odd", 9, Samples(x[:1], values[:1]), None, (), "regression", 9),
        "constant targets": Task("odd", 9, Samples(x, torch.ones(40, 1)), None, (), "regression", 9),
    }


ODD = odd_tasks()


@pytest.fixture(scope="module")
def odd_benches(empty_store, full_store, make_agent):
    """Every odd task, laid out before an agent that knows nothing and before one that knows three tasks."""
    stores = {"empty": empty_store, "full": full_store}

    @functools.cache
    def lay_out(store, odd):
        return make_agent(stores[store]).layout.lay_out(ODD[odd], Ledger(PLENTY), probing=True)

    return lay_out


@STRATEGIES
@pytest.mark.parametrize("store", ["empty", "full"])
@pytest.mark.parametrize("odd", ODD)
def test_it_works_or_says_why_not(odd_benches, name, store, odd):
    task, bench = ODD[odd], odd_benches(store, odd)
    options = options_of(bench, name)
    assert options
    for option in (*options[:1], *options[-1:]):  # the best source and the worst
        if option.why_not is not None:
            assert len(option.why_not.split()) > 2, "in words"
            assert option.why_not[0].islower(), "as part of a sentence"
            assert not option.why_not.endswith(".")
            continue
        arm = exhaust(new_arm(bench, option), units=12)
        assert arm.best is not None, "it yields a model where it says that it applies"
        assert finite(arm.best)
        outputs = outputs_of(arm.best, task.support.x)
        assert outputs.shape == (len(task.support), task.outputs)
        assert torch.isfinite(outputs).all()


# Budget


@STRATEGIES
def test_it_stays_within_its_budget(bench_for, name):
    bench = bench_for(name, NEW)
    option = options_of(bench, name)[0]
    whole = exhaust(new_arm(bench, option)).flops
    for share in (0.0, 0.2, 0.7):
        stays_within(new_arm(bench, option), share * whole)


def stays_within(arm: Arm, limit: float) -> None:
    _, truly = counted(lambda: exhaust(arm, limit))
    assert arm.units == 1 or arm.flops <= limit
    # That another set of weights is trained is noticed when the first such unit is done: one may be paid too little.
    assert truly <= arm.flops + 2 * arm.flops / arm.units, "what is paid is what is done"


@STRATEGIES
def test_it_takes_as_many_units_as_it_says(bench_for, name):
    bench = bench_for(name, NEW)
    said = bench.strategies[name].units(bench.task)
    if said is not None:
        assert exhaust(new_arm(bench, options_of(bench, name)[0])).units == said


# What is stored


@STRATEGIES
@SITUATIONS
def test_it_leaves_stored_weights_untouched(bench_for, full_store, name, index):
    entries = [*full_store.encoders(), *full_store.heads(), *full_store.banks(), *full_store.metas()]
    before = {entry.id: full_store.weights(entry.id) for entry in entries}
    rows = full_store.counts()
    bench = bench_for(name, index)
    for option in options_of(bench, name):
        exhaust(new_arm(bench, option))
    assert full_store.counts() == rows, "and adds nothing behind the agent's back"
    assert full_store.verify() == [], "every blob still has the bytes that its name promises"
    for entry, tensors in before.items():
        now = full_store.weights(entry)
        assert all(torch.equal(tensors[key], now[key]) for key in tensors)


@STRATEGIES
def test_it_leaves_the_task_as_it_was(bench_for, name):
    bench = bench_for(name, NEW)
    x, y = bench.task.support.x.clone(), bench.task.support.y.clone()
    exhaust(new_arm(bench, options_of(bench, name)[0]))
    assert torch.equal(bench.task.support.x, x)
    assert torch.equal(bench.task.support.y, y)


# Bits


@STRATEGIES
def test_alone_interleaved_and_paused_it_ends_with_the_same_bits(bench_for, name):
    bench = bench_for(name, NEW)
    option = options_of(bench, name)[0]
    alone, paused, one, other = (new_arm(bench, option) for _ in range(4))
    stranger = new_arm(bench, Option("scratch"), seed=8)
    exhaust(alone)
    torch.manual_seed(123)
    while not paused.stopped:
        exhaust(paused, units=1)  # scored after every unit
    while not (one.stopped and other.stopped):
        exhaust(one, units=2)
        exhaust(stranger, units=1)
        exhaust(other, units=3)
    for arm in (paused, one, other):
        assert arm.units == alone.units
        assert same(arm.model, alone.model)


@STRATEGIES
def test_one_sample_is_answered_as_in_a_batch(bench_for, stream, name):
    bench = bench_for(name, NEW)
    model = exhaust(new_arm(bench, options_of(bench, name)[0])).best
    x = stream.test(stream.concept_of(NEW)).x
    together = outputs_of(model, x) / model.head.temperature
    alone = torch.cat([outputs_of(model, each[None]) for each in x]) / model.head.temperature
    torch.testing.assert_close(alone.log_softmax(1), together.log_softmax(1), rtol=1e-5, atol=1e-5)


# What it can reach


def samples_in(things, x) -> int:
    """Count which of the marked samples `x` (its corner pixels say which) lie in any memory that `things` hold."""
    first, second = x[:, 0, 0, 0], x[:, 0, 0, 7]
    partner = dict(zip(first.tolist(), second.tolist(), strict=True))
    hits = set()
    for thing in things:
        if isinstance(thing, torch.Tensor):
            storage = thing.untyped_storage()  # all of it, beyond what the view shows
            flat = torch.empty(0).set_(storage) if storage.nbytes() % 4 == 0 else torch.empty(0)
        elif isinstance(thing, np.ndarray) and thing.dtype == np.float32:
            flat = torch.from_numpy(np.ascontiguousarray(thing).ravel().copy())
        elif isinstance(thing, bytes | bytearray) and len(thing) >= 32:
            flat = torch.frombuffer(bytearray(thing[len(thing) % 4 :]), dtype=torch.float32)
        else:
            continue
        places = torch.isin(flat[:-7], first).nonzero().flatten()
        hits |= {v for v, w in zip(flat[places].tolist(), flat[places + 7].tolist(), strict=True) if partner[v] == w}
    return len(hits)


def test_the_search_finds_what_can_be_reached(stream, reached):
    test = stream.test(0)

    def closure():
        return test

    def generator():
        held = test.x
        yield held

    paused = generator()
    next(paused)
    holder = type("Holder", (), {})()
    holder.deep = {"list": [(test.x,)]}
    hidden = test.x[0, 0, 0, 1:2]  # one blank pixel, in the storage of all
    array = test.x.numpy()[3:4, :, 4:]
    ways = [closure, paused, holder, hidden, array, [test.x.numpy().tobytes()]]
    for way in ways:
        assert samples_in(reached([way]), test.x) == len(test.x), way
    assert samples_in(reached([test.x.clone()[:1].clone()]), test.x) == 1
    assert samples_in(reached([stream.task(0)]), test.x) == 0


@STRATEGIES
def test_it_cannot_reach_test_data(stream, make_agent, scripted, reached, name):
    """In a whole run: what it is given, and `self`, lead to no test sample, no later task and no stream."""
    tests = torch.cat([stream.test(c).x for c in range(len(stream.concepts))])
    supports = [stream.task(i).support.x for i in range(len(stream))]
    kind, looked = registry.load("strategy", name), []

    def watched(self, tasks, known, rng, steps):
        for unit, yielded in enumerate(steps):
            if unit == 0 and tasks[0].index == RETURNING:
                things = reached([self, kind, tasks, known, rng, steps, yielded], skip=[Spy])
                looked.append([samples_in(things, supports[task.index]) for task in tasks])
                assert min(looked[-1]) > 0.5 * len(supports[RETURNING]), "its own samples are found"
                assert samples_in(things, tests) == 0
                own = {task.index for task in tasks} | {episode.task for episode in known.episodes}
                others = torch.cat([tests[:0], *(supports[i] for i in range(len(stream)) if i not in own)])
                shared = torch.isin(others[:, 0, 0, 0], torch.cat([supports[i] for i in own])[:, 0, 0, 0])
                assert samples_in(things, others[~shared]) == 0, "raw samples of other tasks are in the episodes only"
                assert not any(isinstance(thing, Stream | TestSet | Measures) for thing in things)
            yield yielded

    class Spy(kind):
        def learn(self, task, known, rng):
            yield from watched(self, [task], known, rng, super().learn(task, known, rng))

        def learn_jointly(self, tasks, known, rng):
            yield from watched(self, tasks, known, rng, super().learn_jointly(tasks, known, rng))

        def consolidate(self, task, known, rng):
            yield from watched(self, [task], known, rng, super().consolidate(task, known, rng))

    memory = 10 if kind.consolidates else 0
    script = scripted(["scratch"] * RETURNING + [name], jointly=name)
    agent = make_agent(KnowledgeStore.in_memory(), script, {name: Spy}, episode_memory=memory)
    events = [type(event).__name__ for event in lifelong(agent, stream, Measures(stream))]
    assert events.count("Learned") == len(stream)
    assert len(looked) >= 1 + kind.joint + kind.consolidates


def test_whoever_looks_on_while_it_learns_leaves_no_test_data_behind(stream, make_agent, scripted, reached):
    tests, kind = (
        torch.cat([stream.test(c).x for c in range(len(stream.concepts))]),
        registry.load("strategy", "finetune"),
    )
    looked = []

    class Spy(kind):
        def learn(self, task, known, rng):
            steps = super().learn(task, known, rng)
            for unit, yielded in enumerate(steps):
                if unit == 1 and task.index == RETURNING:  # it was evaluated after its first unit
                    things = reached([self, task, known, rng, steps, yielded], skip=[Spy])
                    looked.append(samples_in(things, tests))
                    assert not any(isinstance(thing, Stream | TestSet | Measures) for thing in things)
                yield yielded

    script = scripted(["scratch"] * RETURNING + ["finetune"])
    agent = make_agent(KnowledgeStore.in_memory(), script, {"finetune": Spy}, pause_every=1, sharing="in-place")
    events = [type(event).__name__ for event in lifelong(agent, stream, Measures(stream))]
    assert events.count("EvaluatedDuring") > len(stream)
    assert looked == [0]


@STRATEGIES
def test_it_does_not_see_what_scores_it(bench_for, reached, name):
    bench = bench_for(name, NEW)
    option = options_of(bench, name)[0]
    seen = []

    kind = type(bench.strategies[name])

    class Spy(kind):
        def learn(self, task, known, rng):
            for yielded in super().learn(task, known, rng):
                things = reached([self, kind, task, known, rng, yielded], skip=[Spy])
                seen.append((samples_in(things, task.support.x), samples_in(things, bench.held_out.x)))
                yield yielded

    spying = replace(bench, strategies={**bench.strategies, name: Spy()})
    exhaust(new_arm(spying, option), units=1)
    assert len(bench.held_out) >= 10
    assert seen == [(len(bench.task.support), 0)]


def test_nothing_known_is_nothing_to_reach():
    assert Known((), (), 0, {}).representations() == ()
