"""Blurry boundaries, online experiences, and tasks of which it is hidden that they return."""

import itertools
from collections import Counter

import pytest
import torch

from evermap.errors import RecipeError
from evermap.streams.setting import Setting
from evermap.streams.spec import stream_spec
from evermap.streams.stream import Stream, build_stream


def make(**fields: object) -> Stream:
    return build_stream(stream_spec(**fields), 0)


def bytes_of(x: torch.Tensor) -> list[bytes]:
    return [each.tobytes() for each in x.numpy()]


def test_blurry_classes_go_on_in_the_next_task_and_every_sample_comes_once() -> None:
    stream = make(layout="split", setting="blurry", classes_per_task=4, overlap=0.5, class_order=range(10))
    assert [task.classes for task in stream] == [(0, 1, 2, 3), (2, 3, 4, 5, 6, 7), (6, 7, 8, 9)]
    seen = Counter(each for task in stream for each in bytes_of(task.support.x))
    assert set(seen.values()) == {1}
    whole = make(layout="split", setting="class-incremental", classes_per_task=10)
    assert len(whole.task(0).support) - len(seen) <= 4  # of an odd number of samples one is left over
    test = {each for c in stream.concepts for each in bytes_of(stream.test(c.index).x)}
    assert not test & set(seen)
    assert [task.label for task in stream] == [None] * 3


def test_at_least_one_class_overlaps() -> None:
    stream = make(layout="split", setting="blurry", classes_per_task=2, overlap=0.01)
    for before, after in itertools.pairwise(stream.plans()):
        assert len(set(before.drawn) & set(after.drawn)) == 1


def test_overlap_needs_a_setting_that_has_it() -> None:
    with pytest.raises(
        RecipeError, match=r"stream\.overlap: found 0\.5; classes go over boundaries in the settings blurry"
    ):
        make(layout="split", overlap=0.5)


def test_online_experiences_are_pieces_of_the_tasks_in_one_pass() -> None:
    stream = make(layout="split", setting="online", classes_per_task=5, experience_size=100, train_per_class=50)
    whole = make(layout="split", setting="class-incremental", classes_per_task=5, train_per_class=50)
    assert [len(task.support) for task in stream] == [100, 100, 50, 100, 100, 50]
    assert [stream.concept_of(i) for i in range(6)] == [0, 0, 0, 1, 1, 1]
    assert len(stream.concepts) == 2
    for c in range(2):
        pieces = [stream.task(i) for i in range(6) if stream.concept_of(i) == c]
        shown = Counter(each for piece in pieces for each in bytes_of(piece.support.x))
        assert shown == Counter(bytes_of(whole.task(c).support.x))
        assert torch.equal(stream.test(c).x, whole.test(c).x)
        for piece in pieces:
            assert set(piece.classes) <= set(stream.concepts[c].classes)
            assert piece.support.y.unique().tolist() == list(range(len(piece.classes)))
            assert piece.label is None


def test_what_is_known_of_an_online_batch_is_the_batch() -> None:
    stream = make(layout="split", setting="online", classes_per_task=10, experience_size=6)
    truth = {each: int(y) for each, y in zip(bytes_of(build_whole().support.x), build_whole().support.y, strict=True)}
    for i in (0, 3, 7):
        task = stream.task(i)
        called = [task.classes[p] for p in task.support.y.tolist()]
        assert called == [truth[each] for each in bytes_of(task.support.x)]
        assert set(called) == set(task.classes)
        assert len(task.classes) < 10


def build_whole():
    return make(layout="split", setting="class-incremental", classes_per_task=10).task(0)


def test_an_online_task_is_the_same_whichever_were_built() -> None:
    fields = {"layout": "split", "setting": "online", "experience_size": 30}
    in_order = [task.support.x for task in make(**fields)]
    stream = make(**fields)
    assert torch.equal(stream.task(17).support.x, in_order[17])
    assert torch.equal(stream.task(3).support.x, in_order[3])


def test_online_has_no_query_part() -> None:
    with pytest.raises(RecipeError, match=r"stream\.tasks\.0\.query: found 3; in the online setting a batch is all"):
        make(layout="tasks", setting="online", tasks=[{"name": "a", "query": 3}])


def test_overlap_and_online_go_together() -> None:
    stream = make(layout="split", setting="online", overlap=0.5, classes_per_task=4, experience_size=64)
    seen = Counter(each for task in stream for each in bytes_of(task.support.x))
    assert set(seen.values()) == {1}


@pytest.mark.parametrize("setting", ["task-incremental", "class-incremental"])
def test_concepts_recur_after_gaps(setting: str) -> None:
    stream = make(layout="recurring", concepts=4, visits=5, ways=2, first=10, later=3, setting=setting)
    concepts = [stream.concept_of(i) for i in range(20)]
    assert sorted(concepts) == sorted(list(range(4)) * 5)
    assert all(a != b for a, b in itertools.pairwise(concepts))
    gaps = {b - a for c in range(4) for a, b in itertools.pairwise(places(concepts, c))}
    assert len(gaps) > 2
    assert len(stream.concepts) == 4
    assert len({k for each in stream.concepts for k in each.classes}) == 8
    assert [len(task.support) for task in stream] == [20] * 4 + [6] * 16


def places(concepts: list[int], c: int) -> list[int]:
    return [i for i, each in enumerate(concepts) if each == c]


def test_a_hidden_return_comes_under_a_label_of_its_own() -> None:
    stream = make(layout="recurring", concepts=2, visits=2)
    labels = [task.label for task in stream]
    assert labels[:2] == [0, 1]
    assert len(set(labels)) == 4
    assert [stream.label_of(i) for i in range(4)] == labels
    known = make(layout="recurring", concepts=2, visits=2, hidden=False)
    assert sorted(task.label for task in known) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("tasks", "setting", "said"),
    [
        ([{"name": "a", "hidden": True}], "task-incremental", "only of a task that returns"),
        ([{"name": "a"}, {"name": "b", "returns": "a", "hidden": True}], "class-incremental", "gives no task label"),
    ],
)
def test_hiding_needs_a_return_and_a_label(tasks: list[dict[str, object]], setting: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        make(layout="tasks", tasks=tasks, setting=setting)


def test_concepts_need_classes_enough() -> None:
    with pytest.raises(RecipeError, match="found '4 concepts of 3 classes'; the source has 10 classes"):
        make(layout="recurring", concepts=4, visits=2, ways=3)


def test_only_the_first_three_settings_and_their_rules() -> None:
    assert [each.value for each in Setting if each.label_when_asked] == ["task-incremental"]
    assert [each.value for each in Setting if each.shared_classes] == ["domain-incremental"]
    assert [each.value for each in Setting if each.one_pass] == ["blurry", "online"]
