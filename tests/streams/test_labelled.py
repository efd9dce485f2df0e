"""Tasks part of whose labels are not told: how many, which, and that nothing given to a learner tells them."""

import gc
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evermap.errors import RecipeError
from evermap.scenarios.outline import outline
from evermap.scenarios.scenario import load_scenario
from evermap.streams.digits import Digits
from evermap.streams.plan import plan
from evermap.streams.spec import stream_spec
from evermap.streams.stream import Stream

DATA = Digits().load(None)
TWO = [{"name": "a", "classes": [0, 1]}, {"name": "b", "returns": "a"}]


def stream(labelled, **fields):
    written = {"layout": "tasks", "tasks": TWO, "train_per_class": 20} | fields
    return Stream(stream_spec(labelled=labelled, **written), 0, DATA)


def rows(x):
    return [each.numpy().tobytes() for each in x]


def test_a_share_of_every_class_is_labelled_and_the_rest_is_the_same_samples():
    whole, part = stream(1.0), stream(0.2)
    for task, seen in zip(whole, part, strict=True):
        assert task.unlabelled is None
        assert seen.support.y.bincount().tolist() == [4, 4]
        assert seen.unlabelled.shape == (32, 1, 8, 8)
        assert sorted([*rows(seen.support.x), *rows(seen.unlabelled)]) == sorted(rows(task.support.x))
        told = dict(zip(rows(task.support.x), task.support.y.tolist(), strict=True))
        assert [told[each] for each in rows(seen.support.x)] == seen.support.y.tolist()


def test_the_order_of_unlabelled_samples_does_not_tell_their_classes():
    whole, part = stream(1.0).task(0), stream(0.2).task(0)
    told = dict(zip(rows(whole.support.x), whole.support.y.tolist(), strict=True))
    classes = [told[each] for each in rows(part.unlabelled)]
    changes = sum(a != b for a, b in itertools.pairwise(classes))
    assert changes > 8, "in the order of classes there would be one change"


def test_labels_that_are_not_told_cannot_be_reached():
    """Nothing but inputs is there: no tensor of labels has more entries than the support set."""
    task = stream(0.2).task(0)
    seen, waiting = {}, [task]
    while waiting:
        here = waiting.pop()
        if id(here) in seen or isinstance(here, type) or type(here).__name__ == "module":
            continue
        seen[id(here)] = here
        waiting += gc.get_referents(here)
        if isinstance(here, torch.Tensor):
            waiting += [each for each in (here._base, here.grad_fn) if each is not None]
    tensors = [each for each in seen.values() if isinstance(each, torch.Tensor)]
    assert sorted(tuple(each.shape) for each in tensors) == [(8,), (8, 1, 8, 8), (32, 1, 8, 8)]
    assert all(each.untyped_storage().nbytes() == each.numel() * each.element_size() for each in tensors)
    assert not [each for each in seen.values() if isinstance(each, Stream)]


def test_test_sets_and_query_parts_stay_labelled_and_as_they_are():
    tasks = [{"name": "a", "classes": [3, 4], "query": 5}]
    whole, part = stream(1.0, tasks=tasks), stream(0.1, tasks=tasks)
    assert torch.equal(whole.test(0).x, part.test(0).x)
    assert torch.equal(whole.task(0).query.x, part.task(0).query.x)
    assert torch.equal(whole.task(0).query.y, part.task(0).query.y)
    assert not set(rows(part.task(0).unlabelled)) & set(rows(part.test(0).x))


@given(labelled=st.floats(0.01, 0.99), cap=st.integers(1, 40))
def test_at_least_one_sample_of_a_class_is_labelled_and_none_is_lost(labelled, cap):
    spec = {"layout": "split", "classes_per_task": 5, "train_per_class": cap}
    whole = plan(stream_spec(**spec), 0, DATA.sizes)
    fewer = stream_spec(labelled=labelled, **spec)
    if max(1, round(labelled * cap)) == cap:
        with pytest.raises(RecipeError, match=r"stream\.labelled"):
            plan(fewer, 0, DATA.sizes)
        return
    part = plan(fewer, 0, DATA.sizes)
    for one, other in zip(whole, part, strict=True):
        assert other.trained == one.support
        assert min(other.support) >= 1
        assert other.start == one.start


def test_regression_targets_are_hidden_too():
    fields = {"layout": "regression", "tasks": [2], "source": "sinusoids", "shots": 10, "labelled": 0.3}
    from evermap.streams.stream import build_stream

    task = build_stream(stream_spec(**fields), 0).task(0)
    assert (len(task.support), len(task.unlabelled)) == (3, 7)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labelled": 0.0}, "greater than 0"),
        ({"labelled": 1.5}, "less than or equal to 1"),
        ({"labelled": 0.99}, "stream.labelled: found 0.99; must be lower: of 20 training samples none is left over"),
        ({"labelled": 0.5, "setting": "online", "layout": "split"}, "must be 1 in the setting online"),
    ],
)
def test_a_share_that_cannot_be_is_refused(fields, message):
    written = {"train_per_class": 20} | fields
    written |= {} if "layout" in fields else {"layout": "tasks", "tasks": TWO}
    with pytest.raises((RecipeError, ValueError), match=message):
        plan(stream_spec(**written), 0, DATA.sizes, where="my.toml")


def test_what_is_not_told_is_shown(tmp_path):
    path = tmp_path / "few.toml"
    path.write_text('[stream]\nlayout = "split"\nclasses_per_task = 5\ntrain_per_class = 10\nlabelled = 0.2\n', "utf-8")
    tasks = outline(load_scenario(str(path)), str(path))["tasks"]
    assert [each["samples"] for each in tasks] == [10, 10]
    assert tasks[0]["special"] == ["40 more without label"]
