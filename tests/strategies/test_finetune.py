import itertools
from dataclasses import replace

import pytest
import torch

from evermap.agent.model import state
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
