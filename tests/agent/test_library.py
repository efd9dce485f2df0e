from dataclasses import replace

import pytest
import torch

from evermap.agent.agent_settings import AgentSettings
from evermap.agent.encoder import build_encoder
from evermap.agent.entries import TaskRecord
from evermap.agent.events import ProbeScore
from evermap.agent.library import Library
from evermap.agent.model import LinearHead, state
from evermap.agent.store import KnowledgeStore
from evermap.streams.task import Samples, Task

SHAPE = (1, 4, 4)


def task_of(shape=SHAPE, index=0):
    x = torch.rand(10, *shape, generator=torch.Generator().manual_seed(index))
    return Task(f"task {index}", index, Samples(x, torch.arange(10) % 2), None, (0, 1), "classification", index)


def add_model(store, task, parent=None, seed=0, shape=SHAPE):
    encoder = build_encoder("mlp", shape, {"hidden": (3,)}, seed)
    head = LinearHead(3, 2, torch.Generator().manual_seed(seed))
    with store.transaction() as t:
        e = t.add_encoder(
            {**encoder.spec, "stem": None}, state(encoder), task=task, strategy="scratch", parent=parent, flops=0.0
        )
        h = t.add_head("linear", {}, state(head), encoder=e, task=task)
        t.add_task(TaskRecord(task, f"task {task}", task, (0, 1), "classification", e, h, "scratch"))
    return e


@pytest.fixture
def store():
    store = KnowledgeStore.in_memory()
    first = add_model(store, 0)
    add_model(store, 1, parent=first, seed=1)
    add_model(store, 2, seed=2, shape=(1, 2, 2))
    return store


def test_sources_fit_the_shape_and_the_newest_come_first(store):
    known = Library(store, AgentSettings()).known_for(task_of())
    assert [source.id for source in known.sources] == ["encoder-2", "encoder-1"]
    assert [[record.index for record in source.tasks] for source in known.sources] == [[1], [0]]
    assert known.others == 1
    assert [source.id for source in known.fixed] == ["raw", "random"]


def test_in_place_only_the_newest_of_a_lineage_is_a_source(store):
    known = Library(store, AgentSettings(sharing="in-place")).known_for(task_of())
    assert [source.id for source in known.sources] == ["encoder-2"]
    assert [record.index for record in known.sources[0].tasks] == [0, 1]


def test_scores_decide_the_order(store):
    known = Library(store, AgentSettings()).known_for(task_of())
    scores = {name: ProbeScore(name, mse, None, None) for name, mse in (("encoder-1", 0.1), ("random", 0.2))}
    ranked = Library.ranked(known, scores)
    assert [source.id for source in ranked.sources] == ["encoder-1", "encoder-2"], "without a score comes last"
    assert [source.id for source in ranked.fixed] == ["random", "raw"]
    assert [source.id for source in ranked.representations()] == ["encoder-1", "random", "raw", "encoder-2"]
    assert ranked.best_source().id == "encoder-1"


def test_what_is_given_is_a_fresh_copy(store):
    source = Library(store, AgentSettings()).known_for(task_of()).sources[0]
    before = store.weights(source.id)
    for made in (source.encoder(), source.model(source.tasks[0]).encoder, source.copy(task_of()).encoder):
        with torch.no_grad():
            for weight in made.parameters():
                weight.zero_()
    after = store.weights(source.id)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(torch.equal(before[name], value) for name, value in state(source.encoder()).items())


def test_a_model_is_answered_with_by_its_label(store):
    x = task_of().support.x
    versions, in_place = Library(store, AgentSettings()), Library(store, AgentSettings(sharing="in-place"))
    record, model = versions.model_of(0, SHAPE)
    assert record.index == 0
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())
    assert versions.model_of(7, SHAPE) is None
    newest = versions.model_of(1, SHAPE)[1].encoder
    assert torch.equal(in_place.model_of(0, SHAPE)[1].encoder(x), newest(x))
    assert not torch.equal(model.encoder(x), newest(x))


def test_the_first_task_of_a_shape_decides_the_stem():
    store, settings = KnowledgeStore.in_memory(), AgentSettings(stem="patches", stem_settings={"filters": 4})
    library = Library(store, settings)
    first, second = task_of(), task_of(index=1)
    seen = library.view_task(first)
    assert seen.support.x.shape[1:] != SHAPE
    assert torch.equal(library.view(first.support.x), seen.support.x)
    with store.transaction() as t:
        stem = library.store_stem(t, first)
        assert library.store_stem(t, second) == stem
    assert [entry.strategy for entry in store.encoders()] == ["stem"]
    again = Library(store, settings)
    assert torch.equal(again.view_task(second).support.x, library.view_task(second).support.x)
    assert library.known_for(seen).sources == (), "a stem is no source"
    assert [source.id for source in library.known_for(seen).fixed] == ["stem", "random"]


def test_inputs_without_label_go_through_the_stem_too():
    library = Library(KnowledgeStore.in_memory(), AgentSettings(stem="patches", stem_settings={"filters": 4}))
    task = task_of()
    seen = library.view_task(replace(task, unlabelled=task.support.x.clone()))
    assert torch.equal(seen.unlabelled, seen.support.x)
    assert library.view_task(task).unlabelled is None


def test_without_a_stem_inputs_stay_as_they_are():
    library = Library(KnowledgeStore.in_memory(), AgentSettings())
    task = task_of()
    assert torch.equal(library.view_task(task).support.x, task.support.x)
    assert library.anchors.classes(SHAPE) == ()
