import itertools

import pytest
import torch

from evermap.agent.agent_settings import AgentSettings
from evermap.agent.anchors import Anchors, patch_settings
from evermap.agent.encoder import build_encoder
from evermap.agent.store import KnowledgeStore
from evermap.errors import RecipeError
from evermap.streams.spec import stream_spec
from evermap.streams.stream import build_stream

SPEC = {"layout": "split", "setting": "class-incremental", "train_per_class": 40, "test_per_class": 20}
STREAM = build_stream(stream_spec(**SPEC), 0)
TASKS = list(STREAM)
ASKED = torch.cat([STREAM.test(c).x for c in range(5)])
KINDS = pytest.mark.parametrize("kind", ["random", "patches", "raw"])


def as_it_is(x):
    return x


def anchors_on(store, view=as_it_is, **settings):
    return Anchors(store, AgentSettings(**{"anchor_features": 64, **settings}), view)


def add(anchors, store, tasks):
    for task in tasks:
        anchors.add(task, task)
        with store.transaction() as t:
            anchors.keep(t, task.input_shape, task.index)
    return anchors


@KINDS
def test_any_order_of_tasks_gives_what_joint_training_gives(kind):
    said = []
    for order in [*itertools.islice(itertools.permutations(TASKS), 0, 120, 17), None]:
        store = KnowledgeStore.in_memory()
        anchors = anchors_on(store, anchor=kind)
        if order is not None:
            add(anchors, store, order)
        else:  # all at once
            whole = build_stream(stream_spec(**SPEC, classes_per_task=10), 0)
            add(anchors, store, whole)
        assert anchors.classes((1, 8, 8)) == tuple(range(10))
        said.append(anchors.log_probs(ASKED).exp())
    for other in said[1:]:
        torch.testing.assert_close(other, said[0], rtol=1e-5, atol=1e-5)


@KINDS
def test_an_anchor_is_rebuilt_from_the_store_whatever_the_recipe_says_now(kind):
    store = KnowledgeStore.in_memory()
    first = add(anchors_on(store, anchor=kind, seed=3), store, TASKS[:2])
    again = anchors_on(store, anchor="raw" if kind == "random" else "random", anchor_features=7, seed=4)
    assert torch.equal(again.log_probs(ASKED), first.log_probs(ASKED))
    add(first, KnowledgeStore.in_memory(), TASKS[2:3])
    add(again, store, TASKS[2:3])
    assert torch.equal(again.log_probs(ASKED), first.log_probs(ASKED))
    assert len(store.banks()) == 1


def test_every_shape_of_input_has_its_own():
    store = KnowledgeStore.in_memory()
    anchors = add(anchors_on(store), store, TASKS[:1])
    assert anchors.classes((1, 8, 8)) == TASKS[0].classes
    assert anchors.classes((1, 9, 9)) == ()
    with pytest.raises(LookupError, match="shape"):
        anchors.log_probs(torch.zeros(1, 1, 9, 9))


def test_patches_see_inputs_as_they_come_and_random_features_the_stem():
    def front(x):
        return x.flatten(1)[:, ::2]

    said = {}
    for kind in ("random", "patches"):
        store = KnowledgeStore.in_memory()
        anchors = anchors_on(store, front, anchor=kind)
        for task in TASKS[:2]:
            view = type(task)(
                task.name, task.index, type(task.support)(front(task.support.x), task.support.y), None, task.classes
            )
            anchors.add(task, view)
            with store.transaction() as t:
                anchors.keep(t, task.input_shape, task.index)
        said[kind] = store.banks()[0].spec["input_shape"], anchors.features(ASKED[:2]).shape
    assert said == {"random": ([32], (2, 64)), "patches": ([1, 8, 8], (2, 64))}


def test_patch_features_are_about_as_many_as_wanted():
    for shape, wanted in (((1, 8, 8), 1024), ((1, 28, 28), 2304), ((3, 32, 32), 500)):
        size = build_encoder("patches", shape, patch_settings(shape, wanted), 0).feature_size
        assert 0.8 * wanted < size <= wanted
    assert build_encoder("patches", (1, 28, 28), patch_settings((1, 28, 28), 1), 0).feature_size == 72
    with pytest.raises(RecipeError, match=r"agent\.anchor: found 'patches'; .*no images.*random or raw"):
        patch_settings((64,), 512)


def test_patches_know_more_of_digits_than_random_features():
    right = {}
    for kind in ("random", "patches"):
        store = KnowledgeStore.in_memory()
        anchors = add(anchors_on(store, anchor=kind, anchor_features=256), store, TASKS)
        y = torch.cat([STREAM.test(c).y for c in range(5)])
        right[kind] = float((anchors.log_probs(ASKED).argmax(dim=1) == y).float().mean())
    assert right["patches"] > 0.95
    assert right["patches"] > right["random"] - 0.01
