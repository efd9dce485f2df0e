import functools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evermap.agent.closed_form import class_means
from evermap.agent.encoder import restore_encoder
from evermap.agent.known import Episode, Known
from evermap.errors import RecipeError
from evermap.strategies.protonet import ProtoNet, draw_episode
from evermap.streams.digits import Digits
from evermap.streams.task import Samples, Task

ARCHITECTURE = {"name": "mlp", "settings": {"hidden": (64, 32)}}


@functools.cache
def digits():
    """Digits in two halves: images for episodes, and images that no episode shows."""
    data = Digits().load(None)
    order = torch.randperm(len(data.y), generator=torch.Generator().manual_seed(5))
    return [(data.x[half], data.y[half]) for half in order.split(900)]


def samples_of(classes, each, rng, half=0):
    """Images of some digits under local labels, in support and query part of the same size."""
    x, y = digits()[half]
    parts = []
    for digit in classes:
        own = torch.nonzero(y == digit).flatten()
        parts.append(own[torch.randperm(len(own), generator=rng)[: 2 * each]])
    labels = torch.arange(len(parts)).repeat_interleave(each)
    support, query = torch.cat([p[:each] for p in parts]), torch.cat([p[each:] for p in parts])
    return Samples(x[support], labels), Samples(x[query], labels)


def episode(index, rng, ways=4, each=10):
    support, query = samples_of(torch.randperm(10, generator=rng)[:ways].tolist(), each, rng)
    return Episode(index, support, query, ways, "classification")


def known_with(episodes, meta=None):
    return Known((), (), 0, ARCHITECTURE, metas={} if meta is None else {"protonet": meta}, episodes=tuple(episodes))


def task_of(episode):
    return Task("t", episode.task, episode.support, None, tuple(range(episode.outputs)))


def trained(steps, episodes, meta=None, rng=None, **changes):
    """What is kept after training on some episodes."""
    strategy = ProtoNet(meta_steps=steps, **changes)
    rng = rng or torch.Generator().manual_seed(0)
    return list(strategy.consolidate(task_of(episodes[-1]), known_with(episodes, meta), rng))[-1]


@functools.cache
def after_eight_tasks(shuffled=False):
    rng = torch.Generator().manual_seed(1)
    episodes = [episode(i, rng) for i in range(8)]
    if shuffled:
        mixed = [torch.randperm(40, generator=rng) for _ in episodes]
        episodes = [
            replace(e, support=Samples(e.support.x, e.support.y[m]), query=Samples(e.query.x, e.query.y[m]))
            for e, m in zip(episodes, mixed, strict=True)
        ]
    return trained(100, episodes)


def accuracy_on_new_tasks(meta):
    """Four digits drawn anew, one image of each, of images that no episode showed; mean over 60 tasks."""
    encoder, rng, right = restore_encoder(meta.spec["encoder"], meta.weights), torch.Generator().manual_seed(9), []
    with torch.no_grad():
        for _ in range(60):
            support, query = samples_of(torch.randperm(10, generator=rng)[:4].tolist(), 10, rng, half=1)
            means = encoder(support.x[torch.arange(4) * 10])
            right.append(float((torch.cdist(encoder(query.x), means).argmin(dim=1) == query.y).float().mean()))
    return sum(right) / len(right)


def test_episodes_of_a_family_help_with_a_new_task_of_it():
    """Against the untrained network, and against the same training on labels that mean nothing."""
    untrained = trained(1, [episode(0, torch.Generator().manual_seed(1))], meta_lr=1e-12)
    learned = accuracy_on_new_tasks(after_eight_tasks())
    assert learned >= accuracy_on_new_tasks(untrained) + 0.10
    assert learned >= accuracy_on_new_tasks(after_eight_tasks(shuffled=True)) + 0.10


def test_it_needs_no_gradient_step():
    meta = after_eight_tasks()
    known = known_with([], replace(meta, spec={**meta.spec, "tasks": 3}, id="meta-7"))
    new = task_of(episode(9, torch.Generator().manual_seed(3)))
    strategy = ProtoNet()
    assert strategy.applies(new, known) is None
    assert [source.id for source in strategy.sources(new, known)] == ["meta-7"]
    (solution,) = strategy.learn(new, known, torch.Generator())
    encoder = restore_encoder(meta.spec["encoder"], meta.weights)
    with torch.no_grad():
        means, _ = class_means(encoder(new.support.x), new.support.y, 4)
    assert torch.equal(solution.model.head.prototypes, means)
    assert solution.helper == "meta-7"
    assert not any(p.requires_grad for p in solution.model.encoder.parameters())


def test_training_goes_on_where_it_stopped():
    """Ten steps and ten more, by way of what is kept, are twenty: weights and moments alike, bit for bit."""
    rng = torch.Generator().manual_seed(2)
    episodes = [episode(i, rng) for i in range(3)]
    whole = trained(20, episodes, rng=torch.Generator().manual_seed(5))
    draws = torch.Generator().manual_seed(5)
    half = trained(10, episodes, rng=draws)
    both = trained(10, episodes, half, rng=draws)
    for one, other in ((whole.weights, both.weights), (whole.moments, both.moments)):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert (half.spec["tasks"], both.spec["tasks"]) == (1, 2)


def test_what_it_says_where_it_does_not_apply():
    meta = after_eight_tasks()
    task = task_of(episode(9, torch.Generator().manual_seed(3)))
    regression = Task("r", 1, Samples(task.support.x, torch.zeros(len(task.support), 2)), None, (), "regression")
    young = replace(meta, spec={**meta.spec, "tasks": 2})
    assert "no encoder is trained on episodes yet" in ProtoNet().applies(task, known_with([]))
    assert "too few tasks of this shape: 2 of 3" in ProtoNet().applies(task, known_with([], young))
    assert "it has no classes" in ProtoNet().applies(regression, known_with([], meta))


def test_nothing_is_trained_where_nothing_can_be():
    rng = torch.Generator().manual_seed(0)
    one_class = episode(0, rng, ways=1)
    single = Samples(digits()[0][0][:2], torch.arange(2))
    one_each = Episode(1, single, Samples(single.x[:0], single.y[:0]), 2, "classification")
    values = Samples(digits()[0][0][:9], torch.zeros(9, 1))
    regression = Episode(2, values, values, 1, "regression")
    useless = [one_class, one_each, regression]
    for met in useless:
        steps = ProtoNet().consolidate(task_of(one_class), known_with([met]), torch.Generator())
        assert list(steps) == []
    assert trained(3, [*useless, episode(3, rng)]).spec["tasks"] == 1, "what is of no use is left out"


def test_a_constant_input_is_no_reason_to_diverge():
    flat = Samples(torch.ones(20, 1, 8, 8), torch.arange(20) % 2)
    meta = trained(5, [Episode(0, flat, flat, 2, "classification")])
    assert all(torch.isfinite(t).all() for t in meta.weights.values())


@pytest.mark.parametrize("distance", ["euclidean", "cosine", "diagonal", "low-rank"])
def test_it_trains_for_every_distance(distance):
    rng = torch.Generator().manual_seed(4)
    episodes = [episode(i, rng) for i in range(2)]
    meta = trained(5, episodes, distance=distance)
    assert all(torch.isfinite(t).all() for t in meta.weights.values())
    plain = trained(5, episodes)
    same = all(torch.equal(meta.weights[n], plain.weights[n]) for n in plain.weights)
    assert same == (distance != "cosine"), (
        "a metric is fitted to each task, the encoder is trained for squared distances"
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=4, max_size=40), st.integers(2, 5), st.integers(1, 4), st.integers(1, 6))
def test_an_episode_is_dealt_out_fairly(labels, ways, shots, queries):
    y = torch.tensor(labels)
    x = torch.arange(len(y), dtype=torch.float32)[:, None]  # every sample carries its number
    n = len(y) // 2
    met = Episode(0, Samples(x[:n], y[:n]), Samples(x[n:], y[n:]), 4, "classification")
    usable = {c for c in range(4) if labels.count(c) > 1}
    if len(usable) < 2:
        return
    s, ys, q, yq, classes = draw_episode(met, ways, shots, queries, torch.Generator().manual_seed(len(labels)))
    assert classes == min(ways, len(usable))
    support, asked = s.flatten().long().tolist(), q.flatten().long().tolist()
    assert len({*support, *asked}) == len(support) + len(asked), "no sample is on both sides"
    for numbers, local in ((support, ys.tolist()), (asked, yq.tolist())):
        of = {(label, labels[number]) for number, label in zip(numbers, local, strict=True)}
        assert len(of) == classes, "a local label stands for one class"
    for c in range(classes):
        have = labels.count(labels[support[ys.tolist().index(c)]])
        assert ys.tolist().count(c) == min(shots, have - 1)
        assert yq.tolist().count(c) == min(queries, have - min(shots, have - 1))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ways": 1}, "ways: .*one class is no choice"),
        ({"shots": 0}, "shots: .*greater than 0"),
        ({"queries": -2}, "queries: .*greater than 0"),
        ({"meta_lr": float("inf")}, "meta_lr: .*finite"),
        ({"distance": "far"}, "distance: .*'euclidean'"),
    ],
)
def test_settings_out_of_range_are_named(changes, said):
    with pytest.raises(RecipeError, match=said):
        ProtoNet(**changes)
