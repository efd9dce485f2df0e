"""Wide episodes: many classes at once, every sample the support in its turn, what is encoded shared."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evermap.agent.encoder import build_encoder
from evermap.agent.known import Episode, Known
from evermap.agent.model import LinearHead, Model
from evermap.errors import RecipeError
from evermap.strategies.backend import losses_of
from evermap.strategies.episodes import draw_wide, is_wide
from evermap.strategies.episodic import episode_loss
from evermap.strategies.maml import Maml
from evermap.strategies.meta_gradient import meta_gradient
from evermap.strategies.meta_start import HEAD, spread
from evermap.strategies.one_step import one_step_loss
from evermap.strategies.protonet import ProtoNet
from evermap.streams.glyphs import Glyphs
from evermap.streams.task import Samples, Task

ARCHITECTURE = {"name": "mlp", "settings": {"hidden": (32,)}}


def drawings(classes, each, seed=0):
    """Drawn characters, shape `(classes, each, 1, 28, 28)`."""
    data = Glyphs(alphabets=-(-classes // 20), characters=20, samples=each, seed=seed).load(None)
    return data.x.view(-1, each, 1, 28, 28)[:classes]


def episode(index, classes, each=6, seed=0):
    x, half = drawings(classes, each, seed), each // 2
    y = torch.arange(classes).repeat_interleave(half)
    support, query = (Samples(part.flatten(0, 1), y) for part in (x[:, :half], x[:, half:]))
    return Episode(index, support, query, classes, "classification")


def consolidated(strategy, episodes, rng=None):
    """What is kept after every step of training on some episodes."""
    task = Task("t", episodes[-1].task, episodes[-1].support, None, tuple(range(episodes[-1].outputs)))
    known = Known((), (), 0, ARCHITECTURE, episodes=tuple(episodes))
    return list(strategy.consolidate(task, known, rng or torch.Generator().manual_seed(3)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=40), st.integers(2, 6), st.integers(2, 4), st.integers(0, 99))
def test_a_wide_episode_is_drawn_class_by_class(labels, ways, each, seed):
    y = torch.tensor(labels)
    x = torch.arange(len(y), dtype=torch.float32)[:, None]  # every sample carries its number
    n = len(y) // 2
    met = Episode(0, Samples(x[:n], y[:n]), Samples(x[n:], y[n:]), 5, "classification")
    able = {c for c in range(5) if labels.count(c) >= each}
    assert is_wide(met, max(1, len(able)), each) == bool(able)
    assert not is_wide(met, len(able) + 1, each)
    if not able:
        return
    drawn = draw_wide(met, ways, each, torch.Generator().manual_seed(seed)).flatten().long().tolist()
    assert len(set(drawn)) == len(drawn) == min(ways, len(able)) * each, "no sample twice"
    classes = [{labels[i] for i in drawn[k : k + each]} for k in range(0, len(drawn), each)]
    assert all(len(of) == 1 for of in classes), "class by class"
    assert len(set.union(*classes)) == len(classes), "no class twice"
    assert set.union(*classes) <= able


def test_a_regression_has_no_wide_episode():
    values = Samples(torch.zeros(9, 1), torch.zeros(9, 1))
    assert not is_wide(Episode(0, values, values, 1, "regression"), 1, 2)


def test_prototypes_are_trained_by_every_sample_in_its_turn():
    """One step is one of Adam on the mean loss of as many episodes as a class has samples."""
    met = [episode(0, 5), episode(1, 24)]
    settled = {"wide_ways": 22, "wide_samples": 3, "meta_steps": 1}
    (kept,) = consolidated(ProtoNet(**settled), met)
    rng = torch.Generator().manual_seed(3)
    task = Task("t", 1, met[1].support, None, tuple(range(24)))
    encoder = Known((), (), 0, ARCHITECTURE).fresh(task, rng).encoder
    assert int(torch.randint(1, (), generator=rng)) == 0
    features = encoder(draw_wide(met[1], 22, 3, rng)).view(22, 3, -1)
    losses = []
    for turn in range(3):
        rest = [k for k in range(3) if k != turn]
        y = torch.arange(22)
        asked = features[:, rest].flatten(0, 1)
        losses.append(episode_loss(features[:, turn], y, asked, y.repeat_interleave(2), 22))
    adam = torch.optim.Adam(encoder.parameters(), lr=ProtoNet().settings.meta_lr)
    torch.stack(losses).mean().backward()
    adam.step()
    for name, weight in encoder.state_dict().items():
        assert torch.allclose(kept.weights[name], weight, atol=2e-5), name


@pytest.mark.parametrize("kind", [ProtoNet, Maml])
def test_few_classes_teach_as_ever(kind):
    met = [episode(i, 5, seed=i) for i in range(3)]
    plain, other = (consolidated(kind(meta_steps=2, wide_from=n), met)[-1] for n in (20, 10_000))
    assert all(torch.equal(plain.weights[name], other.weights[name]) for name in plain.weights)
    wide = [consolidated(kind(meta_steps=2, wide_from=n), [episode(0, 24)])[-1] for n in (20, 10_000)]
    assert not all(torch.equal(wide[0].weights[name], wide[1].weights[name]) for name in wide[0].weights)


def test_one_step_from_equal_rows_is_what_the_exact_meta_gradient_says():
    """In double precision, against the plain second-order loop on every episode."""
    torch.manual_seed(0)
    encoder = build_encoder("mlp", (7,), {"hidden": (6,)}, 1).double()
    start = dict(Model(encoder, LinearHead(6, 1)).double().named_parameters())
    x, lr = torch.randn(6, 3, 7, dtype=torch.float64), 0.4
    loss = one_step_loss(encoder(x.flatten(0, 1)).view(6, 3, -1), 1, 3, lr / 3, torch.Generator().manual_seed(4))
    shared = torch.autograd.grad(loss, list(encoder.parameters()))

    dealt = torch.randperm(6, generator=torch.Generator().manual_seed(4)).view(2, 3)
    model = Model(encoder, LinearHead(6, 3)).double()
    whole, total = 0.0, {n: torch.zeros_like(p) for n, p in start.items() if n not in HEAD}
    for classes in dealt:
        for turn in range(3):
            rest = [k for k in range(3) if k != turn]
            y = torch.arange(3)
            split = (x[classes, turn], y, x[classes][:, rest].flatten(0, 1), y.repeat_interleave(2))
            found = meta_gradient(losses_of(model, "classification").one, spread(start, 3), split, steps=1, lr=lr)
            whole += found.loss.item() / 6
            for name in total:
                total[name] += found.start[name] / 6
    assert loss.item() == pytest.approx(whole, abs=1e-12)
    for got, name in zip(shared, total, strict=True):
        assert torch.allclose(got, total[name], atol=1e-12), name


def test_maml_leaves_episodes_apart_where_they_cannot_share():
    met = [episode(0, 24)]
    for changes in ({"inner_steps": 2}, {"order": "first"}, {"step_sizes": "layer"}):
        strategy = Maml(meta_steps=1, meta_batch=1, **changes)
        assert not strategy.settings.shares
        other = Maml(meta_steps=1, meta_batch=1, wide_from=10_000, **changes)
        one, two = consolidated(strategy, met)[-1], consolidated(other, met)[-1]
        assert all(torch.equal(one.weights[name], two.weights[name]) for name in one.weights)


def test_one_step_makes_nothing_elsewhere_than_its_features_are():
    features = torch.empty(6, 3, 7, device="meta", requires_grad=True)
    loss = one_step_loss(features, 1, 3, 0.1, torch.Generator().manual_seed(0))
    assert (loss.device.type, loss.shape) == ("meta", ())


def test_many_classes_teach_new_ones():
    """From drawings of 40 characters to one drawing each of 5 others: against the untrained network."""

    def accuracy(meta, strategy):
        new, right = drawings(60, 6, seed=9), []
        meta = meta if meta is None else meta.__class__({**meta.spec, "tasks": 3}, meta.weights, id="meta-1")
        known = Known((), (), 0, ARCHITECTURE, metas={strategy.name: meta})
        for first in range(0, 60, 5):
            some = new[first : first + 5]
            task = Task("new", 9, Samples(some[:, 0], torch.arange(5)), None, tuple(range(5)))
            *_, solution = strategy.learn(task, known, torch.Generator())
            said = solution.model(some[:, 1:].flatten(0, 1)).argmax(dim=1)
            right.append(float((said == torch.arange(5).repeat_interleave(5)).float().mean()))
        return sum(right) / len(right)

    for strategy, untrained in ((ProtoNet(meta_steps=60), ProtoNet(meta_steps=1, meta_lr=1e-12)),):
        kept = [consolidated(each, [episode(0, 40)])[-1] for each in (strategy, untrained)]
        assert accuracy(kept[0], strategy) >= accuracy(kept[1], untrained) + 0.1


@pytest.mark.parametrize("name", ["protonet", "maml"])
def test_settings_out_of_range_are_named(name):
    kind = {"protonet": ProtoNet, "maml": Maml}[name]
    with pytest.raises(RecipeError, match=rf"strategies\.{name}.*wide_samples: .*2 or more"):
        kind(wide_samples=1)
    with pytest.raises(RecipeError, match=r"wide_from: .*2 or more"):
        kind(wide_from=1)
    with pytest.raises(RecipeError, match=r"wide_ways: .*at most wide_from"):
        Maml(wide_ways=30)
