import itertools
from dataclasses import replace

import pytest
import torch

from evermap.agent.encoder import build_encoder
from evermap.agent.model import state
from evermap.agent.store import KnowledgeStore
from evermap.errors import RecipeError
from evermap.strategies.finetune import FineTuning


@pytest.fixture
def known(full_store, make_agent, stream):
    return make_agent(full_store).library.known_for(stream.task(4))


def steps(known, task, **settings):
    """The state after every step of the encoder and of the head."""
    made = FineTuning(**settings).learn(task, known, torch.Generator().manual_seed(0))
    return [(state(model.encoder), state(model.head)) for model in made]


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("share", "first"), [(0.0, 0), (0.25, 2), (0.5, 4), (1.0, 8)])
def test_the_head_is_trained_first(known, stream, share, first):
    stored = state(known.best_source().encoder())
    seen = steps(known, stream.task(4), steps=8, head_first=share)
    assert len(seen) == 8
    for number, (encoder, _) in enumerate(seen, start=1):
        assert same(encoder, stored) == (number <= first)
    heads = [head for _, head in seen]
    assert not any(same(a, b) for a, b in itertools.pairwise(heads))


def test_it_starts_from_the_chosen_source(known, stream):
    assert len(known.sources) == 3
    for source in known.sources:
        seen = steps(replace(known, chosen=source.id), stream.task(4), steps=1, head_first=1.0)
        assert same(seen[0][0], state(source.encoder()))


def test_reasons(known, stream, make_agent, empty_store):
    task = stream.task(4)
    assert FineTuning().applies(task, known) is None
    nothing = make_agent(empty_store).library.known_for(task)
    assert FineTuning().applies(task, nothing) == "the store holds no trained encoder yet"
    others = replace(known, sources=(), others=3)
    assert FineTuning().applies(task, others) == "no stored encoder takes inputs of shape (1, 8, 8)"


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_a_share(share):
    with pytest.raises(RecipeError, match=r"head_first: found .*; must be between 0 and 1"):
        FineTuning(head_first=share)


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("last_first", {"last_first": 1.5}),
        ("last_first", {"head_first": 0.6, "last_first": 0.5}),
        ("last_first", {"last_first": 0.1, "trains": "bias"}),
        ("rank", {"rank": 0}),
        ("delta_lr", {"delta_lr": 0.0}),
    ],
)
def test_settings_that_make_no_sense_are_refused(field, settings):
    with pytest.raises(RecipeError, match=field):
        FineTuning(**settings)


def test_after_the_head_the_last_layer_is_trained_then_all(known, stream):
    base = replace(known.best_source(), _encoder=lambda: build_encoder("mlp", (1, 8, 8), {"hidden": (20, 16)}, 3))
    stored = state(base.encoder())
    shares = {"head_first": 1 / 3, "last_first": 1 / 3}
    seen = steps(replace(known, sources=(base,)), stream.task(4), steps=9, **shares)
    changed = [{name for name in stored if not torch.equal(encoder[name], stored[name])} for encoder, _ in seen]
    assert changed[:3] == [set()] * 3
    assert changed[3:6] == [{"layers.3.weight", "layers.3.bias"}] * 3
    assert changed[6:] == [set(stored)] * 3


@pytest.mark.parametrize("sharing", ["versions", "in-place"])
@pytest.mark.parametrize("trains", ["low-rank", "bias"])
def test_a_delta_is_stored_in_place_of_a_copy_and_answers_with_the_same_bits(
    make_agent, scripted, teach, stream, trains, sharing
):
    with KnowledgeStore.in_memory() as store:
        agent = make_agent(store, scripted(("scratch", "finetune")), sharing=sharing)
        agent.strategies["finetune"] = FineTuning(steps=30, trains=trains, head_first=0.0)
        teach(agent, stream.task(0))
        first = agent.library.known_for(stream.task(1)).best_source()
        before = state(first.encoder())
        teach(agent, stream.task(1))
        teach(agent, stream.task(2))
        assert [entry.delta for entry in store.encoders()] == ["whole", trains, trains]
        whole, *deltas = store.encoders()
        assert deltas[0].parent == whole.id
        assert sharing == "versions" or deltas[1].parent == deltas[0].id, "a delta on a delta"
        assert max(entry.bytes for entry in deltas) < whole.bytes
        assert same(before, state(first.encoder())), "the version it was made from is as it was"
        task = stream.task(2)
        said = agent.answer(task.support.x, 2).log_probs
        assert float((said.argmax(1) == task.support.y).float().mean()) > 0.9
        assert torch.equal(make_agent(store, sharing=sharing).answer(task.support.x, 2).log_probs, said)


def test_an_encoder_without_biases_says_so(known, stream):
    base = replace(known.best_source(), _encoder=lambda: build_encoder("raw", (1, 8, 8), {}, 0))
    alone = replace(known, sources=(base,))
    assert (
        FineTuning(trains="bias").applies(stream.task(4), alone)
        == f"{base.id} has nothing that a bias delta could change"
    )
    assert FineTuning().applies(stream.task(4), alone) is None
