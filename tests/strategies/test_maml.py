import functools
import math
from dataclasses import replace

import pytest
import torch
from torch.func import functional_call

from evermap.agent.agent import LifelongAgent
from evermap.agent.agent_settings import AgentSettings
from evermap.agent.budget import counted
from evermap.agent.known import Episode, Known
from evermap.agent.model import LinearHead, Model
from evermap.agent.selectors.fixed import Fixed
from evermap.agent.store import KnowledgeStore
from evermap.agent.strategy import make_strategies
from evermap.agent.work import Work
from evermap.errors import Diverged, RecipeError
from evermap.strategies.episodes import deal
from evermap.strategies.maml import Maml
from evermap.strategies.meta_gradient import inner_step, meta_gradient
from evermap.streams.digits import Digits
from evermap.streams.task import Samples, Task

HEAD = ("head.weight", "head.bias")
ARCHITECTURE = {"name": "mlp", "settings": {"hidden": (64, 32)}}
WAYS, BUDGET = 5, 8e7  # classes and FLOPs of a task


@functools.cache
def digits():
    """Digits in two halves: images for the stream, and images that nothing of it has seen."""
    data = Digits().load(None)
    order = torch.randperm(len(data.y), generator=torch.Generator().manual_seed(5))
    return [(data.x[half], data.y[half]) for half in order.split(900)]


def few_shot(half, index, rng, shots=None, query=10, shuffled=False):
    """A task of the family: five digits drawn anew under local labels, one to five images of each."""
    x, y = digits()[half]
    shots = shots or int(torch.randint(1, 6, (), generator=rng))
    parts = []
    for label, digit in enumerate(torch.randperm(10, generator=rng)[:WAYS].tolist()):
        own = torch.nonzero(y == digit).flatten()
        own = own[torch.randperm(len(own), generator=rng)[: shots + query]]
        parts.append((x[own], torch.full((len(own),), label)))
    support = torch.cat([p[0][:shots] for p in parts]), torch.cat([p[1][:shots] for p in parts])
    asked = torch.cat([p[0][shots:] for p in parts]), torch.cat([p[1][shots:] for p in parts])
    if shuffled:  # no relation between image and label is left
        mixed = torch.cat([support[1], asked[1]])[torch.randperm(WAYS * (shots + query), generator=rng)]
        support, asked = (support[0], mixed[: WAYS * shots]), (asked[0], mixed[WAYS * shots :])
    return Task(f"few-shot {index}", index, Samples(*support), Samples(*asked), tuple(range(WAYS)), label=index)


def agent_on(store, **changes):
    strategies = make_strategies({})
    given = {
        "encoder_settings": ARCHITECTURE["settings"],
        "flops": BUDGET,
        "consolidate_share": 0.8,
        "episode_memory": 50,
    }
    return LifelongAgent(store, strategies, Fixed("maml"), AgentSettings(**{**given, **changes}))


def learn(agent, task):
    profile = agent.profile(task)
    choice = drained(agent.select(task, profile))
    outcome = drained(agent.learn(task, choice))
    agent.remember(task, outcome)
    return outcome


def drained(generator):
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


@functools.cache
def after_ten_tasks(shuffled=False):
    """The agent after ten tasks of the family, and how it learned each."""
    rng = torch.Generator().manual_seed(100)
    agent = agent_on(KnowledgeStore.in_memory())
    return agent, [learn(agent, few_shot(0, i, rng, shuffled=shuffled)) for i in range(10)]


def start_of(meta, rng=None):
    """The meta-trained network, or a random one; its head has one row."""
    known = Known((), (), 0, ARCHITECTURE)
    encoder = known.fresh(few_shot(0, 0, torch.Generator()), rng or torch.Generator().manual_seed(0)).encoder
    network = Model(encoder, LinearHead(encoder.feature_size, 1))
    if meta is not None:
        network.load_state_dict(dict(meta.weights), strict=False)
    return network


def cross_entropy(network):
    return lambda p, x, y: torch.nn.functional.cross_entropy(functional_call(network, dict(p), (x,)), y)


def spread(network, outputs):
    return {n: p.expand(outputs, *p.shape[1:]) if n in HEAD else p for n, p in network.named_parameters()}


def accuracy_after_one_step(network):
    """Mean over new tasks of images that were never seen, each adapted by one step of the size that MAML takes."""
    rng, right = torch.Generator().manual_seed(7), []
    for i in range(40):
        task = few_shot(1, i, rng)
        adapted = inner_step(
            cross_entropy(network), spread(network, WAYS), task.support.x, task.support.y, Maml().settings.inner_lr
        )
        with torch.no_grad():
            answers = functional_call(network, adapted, (task.query.x,)).argmax(dim=1)
        right.append(float((answers == task.query.y).float().mean()))
    return sum(right) / len(right)


@functools.cache
def from_random():
    return sum(accuracy_after_one_step(start_of(None, torch.Generator().manual_seed(seed))) for seed in range(3)) / 3


def newest(agent):
    return agent.library.known_for(few_shot(0, 99, torch.Generator())).metas["maml"]


# Design §4: what meta-training in a stream must do


def test_after_ten_tasks_one_step_is_better_by_ten_points_than_from_random():
    agent, _ = after_ten_tasks()
    assert accuracy_after_one_step(start_of(newest(agent))) >= from_random() + 0.10


def test_meta_training_on_shuffled_labels_does_nothing_of_the_kind():
    agent, outcomes = after_ten_tasks(shuffled=True)
    assert newest(agent).spec["tasks"] == 10
    assert outcomes[-1].learned.strategy == "maml"
    assert accuracy_after_one_step(start_of(newest(agent))) < from_random() + 0.05


def test_it_stands_aside_for_three_tasks_and_then_adapts():
    agent, outcomes = after_ten_tasks()
    assert [o.learned.strategy for o in outcomes] == ["scratch"] * 3 + ["maml"] * 7
    assert "too few tasks of this shape: 2 of 3" in outcomes[2].choice.reason
    record = agent.store.tasks()[5]
    assert (record.source, outcomes[5].learned.helper) == ("meta-5", "meta-5"), "the start that task 4 left"
    assert [(h.task, h.how) for h in agent.store.helps("meta-5")] == [(5, "maml")]
    assert agent.store.encoder(record.encoder).parent is None


def test_every_start_stays_as_a_version_of_the_one_before():
    agent, _ = after_ten_tasks()
    metas = agent.store.metas()
    assert [m.parent for m in metas] == [None, *(m.id for m in metas[:-1])]
    assert len(metas) == 10
    moments = [bank for bank in agent.store.banks() if bank.slot and bank.slot.startswith("moments")]
    assert len(moments) == 1, "of the optimiser's moments only the newest are kept"


def test_it_stays_within_its_share_and_the_whole_within_the_budget():
    _, outcomes = after_ten_tasks()
    for outcome in outcomes:
        learned = outcome.learned
        assert 0.5 * 0.8 * BUDGET < learned.consolidation <= 0.8 * BUDGET
        assert learned.total_flops <= BUDGET
        assert learned.warnings == ()


def test_what_is_paid_for_meta_training_is_what_is_done():
    """Episodes differ in size."""
    episodes = episodes_of(8)
    task, known = few_shot(0, 8, torch.Generator()), known_with(episodes)
    steps = Maml(meta_steps=20).consolidate(task, known, torch.Generator().manual_seed(1))
    work = Work(steps, "maml", "few-shot", 0, price=0.0)
    status, truly = counted(lambda: work.advance(math.inf, lambda: False, lambda meta: None))
    assert status == "finished"
    assert truly == work.flops


# The start


def episodes_of(n, seed=3, **options):
    rng = torch.Generator().manual_seed(seed)
    tasks = [few_shot(0, i, rng, **options) for i in range(n)]
    return tuple(Episode(t.index, t.support, t.query, t.outputs, t.kind) for t in tasks)


def known_with(episodes, meta=None):
    return Known((), (), 0, ARCHITECTURE, metas={} if meta is None else {"maml": meta}, episodes=tuple(episodes))


def metas(settings, episodes, seed=1, meta=None):
    task = few_shot(0, 50, torch.Generator())
    rng = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    return Maml(**settings).consolidate(task, known_with(episodes, meta), rng)


def test_the_outputs_follow_the_labels_and_any_number_of_classes_is_served():
    meta = list(metas({"meta_steps": 3}, episodes_of(3)))[-1]
    meta = replace(meta, spec={**meta.spec, "tasks": 3})
    rng = torch.Generator()
    task = few_shot(1, 60, rng.manual_seed(2), shots=3)
    order = torch.tensor([3, 0, 4, 1, 2])
    turned = replace(task, support=Samples(task.support.x, order[task.support.y]))
    three = replace(task, support=task.support.pick(torch.nonzero(task.support.y < 3).flatten()), classes=(0, 1, 2))
    one, other, fewer = (
        list(Maml().learn(t, known_with((), meta), torch.Generator()))[-1].model for t in (task, turned, three)
    )
    with torch.no_grad():
        torch.testing.assert_close(other(task.query.x)[:, order], one(task.query.x), rtol=1e-3, atol=1e-4)
        assert fewer(task.query.x).shape == (50, 3)


def test_in_classification_the_row_of_the_head_stays_zero():
    for meta in metas({"meta_steps": 3, "inner_steps": 2}, episodes_of(3)):
        assert not any(bool(meta.weights[n].any()) for n in HEAD)


def test_from_equal_rows_one_step_moves_the_head_alone():
    """So nothing else is differentiated where meta-training takes one step; the gradient of the encoder is the same."""
    network = start_of(None).double()
    start, loss = spread(network, WAYS), cross_entropy(network)
    task = few_shot(0, 0, torch.Generator().manual_seed(1), shots=4)
    start = {n: torch.zeros_like(p) if n in HEAD else p for n, p in start.items()}
    split = task.support.x.double(), task.support.y, task.query.x.double(), task.query.y
    (whole, everything, _), (alone, head, _) = (
        meta_gradient(loss, start, split, steps=1, lr=0.1, adapted=names) for names in (None, HEAD)
    )
    assert float(whole - alone) == pytest.approx(0, abs=1e-14)
    assert max(float((everything[n] - head[n]).abs().max()) for n in start if n not in HEAD) < 1e-14
    assert max(float(head[n].abs().max()) for n in start if n not in HEAD) > 1e-6


def test_interrupted_and_continued_it_ends_with_the_same_bits():
    episodes, rng = episodes_of(4), torch.Generator().manual_seed(1)
    whole = metas({"meta_steps": 6}, episodes, rng)
    for _ in range(3):
        half = next(whole)
    state = rng.get_state()
    *_, end = whole
    *_, again = metas({"meta_steps": 3}, episodes, torch.Generator().manual_seed(9).set_state(state), half)
    assert again.spec["tasks"] == 2
    assert all(torch.equal(end.weights[n], again.weights[n]) for n in end.weights)
    assert all(torch.equal(end.moments[n], again.moments[n]) for n in end.moments)
    assert float(end.moments["step head.bias"]) == 6


@pytest.mark.parametrize("backend", ["vmap", "axis", "auto"])
@pytest.mark.parametrize(
    "settings",
    [{"inner_steps": 1}, {"inner_steps": 2}, {"inner_steps": 2, "anil": True}, {"inner_steps": 2, "task_chunk": 1},
     {"inner_steps": 2, "step_sizes": "layer-step"}, {"inner_steps": 3, "order": "reptile"}],
)  # fmt: skip
def test_every_backend_ends_where_the_loop_ends(settings, backend):
    one, other = (
        list(metas({"meta_steps": 3, "backend": b, **settings}, episodes_of(6)))[-1] for b in ("loop", backend)
    )
    assert other.spec["backend"] == {"auto": "axis"}.get(backend, backend), "what is recorded never says auto"
    assert one.weights.keys() == other.weights.keys()
    for n in one.weights:
        torch.testing.assert_close(one.weights[n], other.weights[n], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [{"order": "first"}, {"anil": True}, {"inner_steps": 3}, {"order": "reptile"}, {"step_sizes": "layer"}],
)
def test_settings_change_the_start(settings):
    usual, changed = (
        list(metas({"inner_steps": 2, "meta_steps": 2, **s}, episodes_of(3)))[-1].weights for s in ({}, settings)
    )
    assert any(not torch.equal(usual[n], changed[n]) for n in usual)


@pytest.mark.parametrize("settings", [{}, {"anil": True}, {"order": "reptile"}])
def test_channels_last_gives_the_same_gradients_and_is_not_stored(settings, monkeypatch):
    architecture = {"name": "conv4", "settings": {"filters": 16}}
    monkeypatch.setitem(globals(), "ARCHITECTURE", architecture)
    one, other, auto = (
        list(metas({"meta_steps": 1, "inner_steps": 2, "channels_last": last, **settings}, episodes_of(3)))[-1]
        for last in (False, True, "auto")
    )
    assert all(torch.equal(other.weights[n], t) for n, t in auto.weights.items()), "auto: it has convolutions"
    assert one.spec["backend"] == other.spec["backend"] == "loop"
    # After one step Adam's first moment is a tenth of the gradient; in float32 a rounding error may move a maximum.
    usual, laid = (torch.cat([t.flatten() for n, t in m.moments.items() if "exp_avg " in n]) for m in (one, other))
    assert float((usual - laid).norm()) < 0.05 * float(usual.norm())
    assert all(t.is_contiguous() for t in (*other.weights.values(), *other.moments.values()))


def test_anil_adapts_the_head_alone():
    meta = list(metas({"meta_steps": 1}, episodes_of(3)))[-1]
    *_, last = Maml(anil=True).learn(few_shot(1, 0, torch.Generator()), known_with((), meta), torch.Generator())
    adapted = last.model.state_dict()
    assert all(torch.equal(adapted[n], t) for n, t in meta.weights.items() if n not in HEAD)
    assert bool(adapted["head.weight"].any())


# Learned step sizes


def sizes_in(meta):
    return {n.removeprefix("step_size."): t for n, t in meta.weights.items() if n.startswith("step_size.")}


@pytest.mark.parametrize(
    ("kind", "shape"), [("layer", lambda p: (1,)), ("layer-step", lambda p: (2,)), ("weight", lambda p: (1, *p.shape))]
)
def test_they_are_kept_with_the_start_and_move_from_the_inner_rate(kind, shape):
    settings = {"meta_steps": 3, "inner_steps": 2, "step_sizes": kind, "inner_lr": 0.2, "meta_lr": 0.01}
    meta = list(metas(settings, episodes_of(4)))[-1]
    network = dict(start_of(meta).named_parameters())
    sizes = sizes_in(meta)
    assert {n: tuple(t.shape) for n, t in sizes.items()} == {n: shape(p) for n, p in network.items()}
    assert f"exp_avg step_size.{HEAD[0]}" in meta.moments
    assert meta.spec["step_sizes"] == kind
    moved = [float((t - 0.2).abs().max()) for t in sizes.values()]
    assert 0 < max(moved) <= 1.1 * 3 * 0.01 * 0.2, "three steps of Adam, in units of where they began"
    usual = list(metas({**settings, "step_sizes": "fixed"}, episodes_of(4)))[-1]
    assert sizes_in(usual) == {}


def test_in_classification_the_first_step_of_the_encoder_teaches_its_size_nothing():
    meta = list(metas({"meta_steps": 2, "inner_steps": 2, "step_sizes": "layer-step"}, episodes_of(4)))[-1]
    first, second = sizes_in(meta)["encoder.layers.1.weight"].tolist()
    assert first == pytest.approx(0.3)
    assert second != pytest.approx(0.3, rel=1e-4)


@pytest.mark.parametrize("kind", ["layer", "layer-step", "weight"])
def test_interrupted_and_continued_they_end_with_the_same_bits(kind):
    settings, episodes = {"inner_steps": 2, "step_sizes": kind}, episodes_of(4)
    rng = torch.Generator().manual_seed(1)
    whole = metas({**settings, "meta_steps": 4}, episodes, rng)
    for _ in range(2):
        half = next(whole)
    state = rng.get_state()
    *_, end = whole
    *_, again = metas({**settings, "meta_steps": 2}, episodes, torch.Generator().manual_seed(9).set_state(state), half)
    assert all(torch.equal(end.weights[n], again.weights[n]) for n in end.weights)
    assert all(torch.equal(end.moments[n], again.moments[n]) for n in end.moments)


@pytest.mark.parametrize("kind", ["layer", "layer-step", "weight"])
def test_adaptation_takes_them_and_the_last_ones_for_steps_beyond(kind):
    meta = list(metas({"meta_steps": 1, "inner_steps": 2, "step_sizes": kind}, episodes_of(3)))[-1]
    rng = torch.Generator().manual_seed(3)
    drawn = {n: 0.3 * torch.rand(t.shape, generator=rng) for n, t in sizes_in(meta).items()}
    meta = replace(meta, weights={**meta.weights, **{f"step_size.{n}": t for n, t in drawn.items()}})
    task = few_shot(1, 60, torch.Generator().manual_seed(2))
    learned = Maml(step_sizes=kind, inner_steps=2, adapt_steps=4).learn(task, known_with((), meta), torch.Generator())
    *_, last = learned
    network = start_of(meta)
    theta, loss = spread(network, WAYS), cross_entropy(network)
    for k in range(4):
        leaves = {n: p.detach().requires_grad_() for n, p in theta.items()}
        gradient = torch.autograd.grad(loss(leaves, task.support.x, task.support.y), list(leaves.values()))
        rows = {n: t[min(k, len(t) - 1)] for n, t in drawn.items()}
        theta = {n: p.detach() - rows[n] * g for (n, p), g in zip(leaves.items(), gradient, strict=True)}
    for n, p in last.model.named_parameters():
        torch.testing.assert_close(p.detach(), theta[n], rtol=1e-5, atol=1e-6)


def test_they_come_back_from_the_store():
    agent, rng = agent_on(KnowledgeStore.in_memory()), torch.Generator().manual_seed(1)
    agent.strategies["maml"] = Maml(step_sizes="weight", inner_steps=2)
    for i in range(2):
        last = learn(agent, few_shot(0, i, rng)).metas["maml"]
    kept = sizes_in(newest(agent))
    assert kept.keys() == sizes_in(last).keys() != set()
    assert all(torch.equal(t, sizes_in(last)[n]) for n, t in kept.items())


def test_under_another_setting_sizes_begin_anew_and_the_start_goes_on():
    meta = list(metas({"meta_steps": 2, "inner_steps": 2, "step_sizes": "weight"}, episodes_of(3)))[-1]
    changed = list(metas({"meta_steps": 1, "inner_steps": 2, "step_sizes": "layer"}, episodes_of(3), meta=meta))[-1]
    assert {tuple(t.shape) for t in sizes_in(changed).values()} == {(1,)}
    assert float(changed.moments["step encoder.layers.1.weight"]) == 3
    assert float(changed.moments["step step_size.encoder.layers.1.weight"]) == 1


# Regression


def sinusoid(index, rng, samples=10):
    x = 10 * torch.rand(2 * samples, 1, generator=rng) - 5
    y = (0.1 + 4.9 * torch.rand((), generator=rng)) * torch.sin(x - math.pi * torch.rand((), generator=rng))
    return Episode(index, Samples(x[:samples], y[:samples]), Samples(x[samples:], y[samples:]), 1, "regression")


@pytest.mark.parametrize(
    ("settings", "gain"),
    [({}, 0.6), ({"step_sizes": "layer-step"}, 0.6), ({"step_sizes": "weight"}, 0.6),
     ({"order": "reptile", "inner_steps": 5}, 0.8)],
)  # fmt: skip
def test_sinusoids_are_fitted_better_after_meta_training(settings, gain):
    rng = torch.Generator().manual_seed(4)
    strategy = Maml(**{"meta_steps": 200, "meta_batch": 8, "meta_lr": 0.005, "inner_lr": 0.02, **settings})
    episodes = tuple(sinusoid(i, rng) for i in range(30))
    known = known_with(episodes)

    def task_of(episode):
        return Task("sinusoid", episode.task, episode.support, None, (), "regression")

    first, *_, last = strategy.consolidate(task_of(episodes[-1]), known, torch.Generator().manual_seed(1))
    assert bool(last.weights["head.weight"].any())

    def error(meta):
        new, errors = torch.Generator().manual_seed(5), []
        for i in range(20):
            episode = sinusoid(i, new)
            for _, solution in zip(range(3), strategy.learn(task_of(episode), known_with((), meta), new), strict=False):
                model = solution.model
            with torch.no_grad():
                errors.append(float(((model(episode.query.x) - episode.query.y) ** 2).mean()))
        return sum(errors) / len(errors)

    assert error(last) < gain * error(first)


# What it refuses, and what it survives


def test_it_says_why_it_does_not_apply():
    task = few_shot(0, 9, torch.Generator())
    meta = list(metas({"meta_steps": 1}, episodes_of(3)))[-1]
    assert "nothing is meta-trained yet for inputs of shape (1, 8, 8)" in Maml().applies(task, known_with(()))
    assert "too few tasks of this shape: 1 of 3" in Maml().applies(task, known_with((), meta))
    enough = replace(meta, spec={**meta.spec, "tasks": 3})
    assert Maml().applies(task, known_with((), enough)) is None
    values = Samples(task.support.x, torch.zeros(len(task.support), 1))
    regression = replace(task, support=values, classes=(), kind="regression")
    assert "is for classification, the task is regression" in Maml().applies(regression, known_with((), enough))
    nothing = replace(task, support=task.support.pick(torch.arange(0)))
    assert "no samples" in Maml().applies(nothing, known_with((), enough))
    assert list(Maml().consolidate(regression, known_with(episodes_of(2), enough), torch.Generator())) == []


def test_without_an_episode_memory_there_is_nothing_to_train_on():
    agent = agent_on(KnowledgeStore.in_memory(), episode_memory=0)
    rng = torch.Generator().manual_seed(1)
    outcomes = [learn(agent, few_shot(0, i, rng)) for i in range(4)]
    assert {o.learned.strategy for o in outcomes} == {"scratch"}
    assert "agent.episode_memory" in outcomes[-1].choice.reason
    assert agent.store.metas() == []


@pytest.mark.parametrize(
    ("settings", "field"),
    [({"inner_lr": 0.0}, "inner_lr"), ({"inner_steps": 0}, "inner_steps"), ({"meta_lr": math.nan}, "meta_lr"),
     ({"meta_lr": math.inf}, "meta_lr"), ({"order": "third"}, "order"), ({"min_tasks": 0}, "min_tasks"),
     ({"adapt_steps": 0}, "adapt_steps"), ({"meta_steps": 0}, "meta_steps"), ({"shots": 0}, "shots"),
     ({"queries": 0}, "queries"), ({"task_chunk": 0}, "task_chunk"), ({"backend": "fast"}, "backend"),
     ({"step_sizes": "all"}, "step_sizes"), ({"order": "reptile"}, "inner_steps.*at least 2"),
     ({"order": "reptile", "inner_steps": 2, "anil": True}, "anil"),
     ({"order": "reptile", "inner_steps": 2, "step_sizes": "layer"}, "step_sizes")],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings, field):
    with pytest.raises(RecipeError, match=field):
        Maml(**settings)


def test_a_task_with_one_class_teaches_nothing():
    x = torch.rand(4, 1, 8, 8)
    alone = Episode(0, Samples(x, torch.zeros(4, dtype=torch.int64)), Samples(x, torch.zeros(4, dtype=torch.int64)),
                    1, "classification")  # fmt: skip
    assert list(metas({"meta_steps": 2}, [alone])) == []
    assert len(list(metas({"meta_steps": 2}, [alone, *episodes_of(1)]))) == 2


def odd(x, y, x_query, y_query, outputs):
    return Episode(0, Samples(x, y), Samples(x_query, y_query), outputs, "classification")


def test_an_episode_is_dealt_out_anew_each_class_as_it_came():
    x = torch.arange(20.0)
    y = (x % 2).long()  # three and seven of class 0, five and five of class 1
    first = torch.cat([x[y == 0][:3], x[y == 1][:5]])
    rest = torch.tensor([v for v in x.tolist() if v not in first.tolist()])
    episode = odd(first, (first % 2).long(), rest, (rest % 2).long(), 2)
    seen = set()
    for seed in range(20):
        xs, ys, xq, yq = deal(episode, shots=4, queries=6, rng=torch.Generator().manual_seed(seed))
        assert ys.bincount().tolist() == [3, 4], "as many as came, at most `shots`"
        assert yq.bincount().tolist() == [6, 5], "what is left, at most `queries`"
        assert torch.equal((xs % 2).long(), ys)
        assert torch.equal((xq % 2).long(), yq)
        assert len(set(xs.tolist()) | set(xq.tolist())) == 18, "no sample in both"
        seen |= set(xs.tolist())
    assert seen == set(x.tolist())


@pytest.mark.parametrize(
    "settings",
    [{"backend": "loop"}, {"backend": "vmap"}, {"backend": "axis"}, {"step_sizes": "weight"}, {"order": "reptile"}],
)
@pytest.mark.parametrize(
    "case", ["one shot", "constant", "a class without support", "a class without query", "fewer than asked for"]
)
def test_odd_episodes_give_a_finite_start(case, settings):
    x, y = torch.rand(6, 1, 8, 8), torch.arange(6) % 3
    episode = {
        "one shot": odd(x[:3], y[:3], x[3:], y[3:], 3),
        "constant": odd(torch.ones_like(x), y, torch.ones_like(x), y, 3),
        "a class without support": odd(x, y % 2, x, y, 3),
        "a class without query": odd(x, y, x[y < 2], y[y < 2], 3),
        "fewer than asked for": odd(x[:2], y[:2], x[:1], y[:1], 3),
    }[case]
    found = list(metas({"meta_steps": 2, "inner_steps": 2, **settings}, [episode]))
    assert len(found) == 2
    assert all(bool(t.isfinite().all()) for t in (*found[-1].weights.values(), *found[-1].moments.values()))


def test_an_adaptation_that_diverges_is_stopped_by_name():
    meta = list(metas({"meta_steps": 1}, episodes_of(3)))[-1]
    task = few_shot(1, 60, torch.Generator())
    task = replace(task, support=Samples(task.support.x * 1e20, task.support.y))
    work = Work(Maml(inner_lr=1e30).learn(task, known_with((), meta), torch.Generator()), "maml", task.name, 0)
    with pytest.raises(Diverged, match=r"'maml' failed on task 'few-shot 60' in unit \d+: .*NaN or infinite"):
        work.advance(math.inf, lambda: False, lambda solution: None)


def test_a_meta_training_that_diverges_keeps_the_start_that_was():
    agent, rng = agent_on(KnowledgeStore.in_memory()), torch.Generator().manual_seed(1)
    learn(agent, few_shot(0, 0, rng))
    agent.strategies["maml"] = Maml(inner_lr=1e30, inner_steps=3)
    outcome = learn(agent, few_shot(0, 1, rng))
    assert (
        "'maml' failed on task 'few-shot 1' in unit 1: the query loss after adaptation is"
        in outcome.learned.warnings[0]
    )
    assert outcome.metas == {}
    assert [m.id for m in agent.store.metas()] == ["meta-1"]
