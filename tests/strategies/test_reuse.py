from dataclasses import replace

import pytest
import torch

from evermap.agent.arm import outputs_of
from evermap.agent.events import ProbeScore
from evermap.agent.known import Known
from evermap.agent.model import state
from evermap.strategies.reuse import Reuse
from evermap.streams.task import Samples, Task


@pytest.fixture
def known(full_store, make_agent, stream):
    return make_agent(full_store).library.known_for(stream.task(4))


def learned(known, task):
    made = list(Reuse().learn(task, known, torch.Generator()))
    assert len(made) == 1
    assert made[0].helper.startswith("model-"), "the account says whose model it is"
    return made[0].model


def test_a_task_that_returns_gets_its_model_back(known, stream):
    for source in known.sources:
        record = source.tasks[0]
        task = stream.task(record.index)
        mine, stored = learned(replace(known, chosen=source.id), task), source.model(record)
        assert torch.equal(mine(task.support.x), stored(task.support.x))
        assert all(torch.equal(value, state(stored)[name]) for name, value in state(mine).items())


def test_under_other_labels_the_outputs_change_places(known, stream):
    task = stream.task(0)
    source = next(s for s in known.sources if s.tasks[0].index == 0)
    turned = replace(task, support=Samples(task.support.x, 1 - task.support.y))
    mine, stored = learned(replace(known, chosen=source.id), turned), source.model(source.tasks[0])
    assert torch.equal(mine(task.support.x), stored(task.support.x)[:, [1, 0]])
    agreement = (outputs_of(mine, turned.support.x).argmax(dim=1) == turned.support.y).float().mean()
    assert agreement > 0.9


def test_reasons(known, stream):
    task = stream.task(0)
    nothing = Known((), (), 0, {})
    assert Reuse().applies(task, known) is None
    assert Reuse().applies(task, nothing) == "the store holds no model for inputs of shape (1, 8, 8)"
    three = Task("t", 9, Samples(task.support.x, task.support.y), None, (0, 1, 2))
    assert "has 3 outputs or more" in Reuse().applies(three, known)
    regression = Task("t", 9, Samples(task.support.x, task.support.x[:, 0, 0, :1]), None, (), "regression")
    assert "classification only" in Reuse().applies(regression, known)


def test_the_source_whose_model_agrees_best_comes_first(known, stream):
    def scored(source, agreement, error):
        return replace(source, score=ProbeScore(source.id, error, 0.5, 0.5, reuse=agreement))

    first, second = known.sources[:2]
    ranked = replace(known, sources=(scored(first, 0.2, 0.01), scored(second, 0.9, 0.09)))
    assert [source.id for source in Reuse().sources(stream.task(4), ranked)][:2] == [second.id, first.id]
    chosen = replace(ranked, chosen=first.id)
    assert Reuse().sources(stream.task(4), chosen)[0].id == first.id
