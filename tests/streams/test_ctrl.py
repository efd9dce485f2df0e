"""CTrL's six streams: what each of them is known by."""

from typing import Any

import pytest
import torch

from evermap.errors import RecipeError
from evermap.streams.ctrl import large_probability
from evermap.streams.plan import TaskPlan, plan
from evermap.streams.source import Sizes
from evermap.streams.spec import stream_spec
from evermap.streams.stream import Stream, build_stream
from evermap.streams.truth import similarity

ROLES = ["cifar10", "mnist", "dtd", "fashion-mnist", "svhn"]
LONG_ROLES = ["cifar10", "cifar100", "mnist", "fashion-mnist", "svhn"]
# Classes, and training samples of the smallest class, of the published sources.
HOLD = {"cifar10": (10, 5000), "mnist": (10, 5421), "dtd": (47, 80), "fashion-mnist": (10, 6000), "svhn": (10, 4659)}
HOLD["cifar100"] = 100, 500


def published(stream: str, seed: int = 0, **fields: Any) -> tuple[TaskPlan, ...]:
    roles = LONG_ROLES if stream == "Slong" else ROLES
    members = tuple(
        (name, Sizes((n,) * classes, (3, 32, 32), (40,) * classes)) for name in roles for classes, n in [HOLD[name]]
    )
    joined = Sizes(sum((each.samples for _, each in members), ()), (3, 32, 32), members=members)
    return plan(stream_spec(layout="ctrl", stream=stream, roles=roles, **fields), seed, joined)


def sizes(plans: tuple[TaskPlan, ...]) -> list[tuple[str, int, int, int]]:
    return [(each.source, len(each.drawn), each.support[0], each.query) for each in plans]


SMALL = [("mnist", 10, 40, 20), ("dtd", 10, 40, 20), ("fashion-mnist", 10, 40, 20), ("svhn", 10, 40, 20)]


def test_published_sizes() -> None:
    large, small = ("cifar10", 10, 400, 200), ("cifar10", 10, 40, 20)
    assert sizes(published("S-")) == [large, *SMALL, small]
    assert sizes(published("S+")) == [small, *SMALL, large]
    assert sizes(published("Sout")) == [large, *SMALL, small]
    assert sizes(published("Spl")) == [*SMALL, large]
    assert sizes(published("Sin")) == [("mnist", 10, 400, 200), small, *SMALL[1:], ("mnist", 10, 5, 3)]


def test_classes_are_drawn_where_a_source_has_more() -> None:
    draws = {tuple(sorted(published("S-", seed)[2].drawn)) for seed in range(3)}
    assert len(draws) == 3
    for drawn in draws:  # DTD's 47 classes come after CIFAR-10's and MNIST's
        assert set(drawn) <= set(range(20, 67))
    assert [len(each.drawn) for each in published("S-", ways=4)] == [4] * 6
    for stream in ("S-", "S+", "Sin", "Sout"):
        first, *_, last = published(stream, ways=4)
        assert first.drawn == last.drawn
    with pytest.raises(RecipeError, match=r"stream\.ways: found 11; 'cifar10' has 10 classes"):
        published("S-", ways=11)


@pytest.mark.parametrize("stream", ["S-", "S+"])
def test_the_last_task_is_the_first_one_with_other_samples(stream: str) -> None:
    first, *between, last = published(stream)
    assert last.concept == first.concept
    assert (last.drawn, last.positions, last.transforms) == (first.drawn, first.positions, first.transforms)
    assert max(first.support[0], last.support[0]) == 10 * min(first.support[0], last.support[0])
    assert list(last.start) == [first.support[0] + first.query] * 10
    assert len({each.concept for each in between}) == 4
    truth = similarity((first, *between, last))
    assert (truth.input[0][5], truth.label[0][5], truth.concept[0][5]) == (1, 1, 1)


def test_sout_differs_from_the_first_by_the_labels_only() -> None:
    first, *between, last = published("Sout")
    assert (last.drawn, last.transforms, last.classes) == (first.drawn, first.transforms, first.classes)
    assert all(a != b for a, b in zip(first.positions, last.positions, strict=True))
    assert last.concept != first.concept
    truth = similarity((first, *between, last))
    assert (truth.input[0][5], truth.label[0][5], truth.concept[0][5]) == (1, 0, 1)


def test_sin_differs_from_the_first_by_the_inputs_only() -> None:
    first, *between, last = published("Sin")
    assert (last.drawn, last.positions, last.classes) == (first.drawn, first.positions, first.classes)
    assert last.transforms != first.transforms
    truth = similarity((first, *between, last))
    assert (truth.input[0][5], truth.label[0][5], truth.concept[0][5]) == (0, 1, 1)


@pytest.mark.parametrize("stream", ["S-", "S+", "Sin", "Sout", "Spl"])
def test_what_lies_between_has_nothing_to_do_with_it(stream: str) -> None:
    plans = published(stream)
    truth = similarity(plans)
    n = len(plans)
    for i in range(n):
        for j in range(n):
            related = i == j or ({i, j} == {0, 5} and n == 6)
            for table in (truth.input, truth.label, truth.concept):
                assert related or table[i][j] == 0
                assert table[i][j] == table[j][i]


def test_spl_has_nothing_to_transfer() -> None:
    assert len({each.concept for each in published("Spl")}) == 5


def test_slong_has_a_hundred_tasks_of_five_classes_ever_fewer_of_them_large() -> None:
    large = [0, 0, 0]
    for seed in range(5):
        plans = published("Slong", seed)
        assert len(plans) == 100
        assert {len(each.drawn) for each in plans} == {5}
        assert {(each.support[0], each.query) for each in plans if each.source != "cifar100"} == {(1000, 500), (5, 3)}
        # where there are fewer, all there are in the same proportion
        assert {(each.support[0], each.query) for each in plans if each.source == "cifar100"} == {(333, 167), (5, 3)}
        assert {each.source for each in plans} == set(LONG_ROLES)
        for i, each in enumerate(plans):
            large[0 if i < 33 else 1 if i < 66 else 2] += each.support[0] > 5
    assert 0.35 < large[0] / (5 * 33) < 0.65
    assert 0.15 < large[1] / (5 * 33) < 0.35
    assert large[2] == 0


def test_large_tasks_are_half_then_a_quarter_then_none() -> None:
    assert [large_probability(i, 100) for i in (0, 32, 33, 65, 66, 99)] == [0.5, 0.5, 0.25, 0.25, 0.0, 0.0]
    assert [large_probability(i, 9) for i in range(9)] == [0.5] * 3 + [0.25] * 3 + [0.0] * 3


def test_a_task_of_slong_does_not_depend_on_those_before_it() -> None:
    assert published("Slong")[17].drawn == published("Slong", tasks=18)[17].drawn


EMBEDDED = {
    "sources": {
        f"letters {i}": {"source": "glyphs", "settings": {"alphabets": 1, "characters": 6, "samples": 60, "seed": i}}
        for i in range(4)
    },
    "roles": ["letters 0", "digits", "letters 1", "letters 2", "letters 3"],
    "large": [20, 10],
    "small": [4, 2],
    "few": [2, 1],
}


def embedded(stream: str) -> Stream:
    return build_stream(stream_spec(layout="ctrl", stream=stream, **EMBEDDED), 0)


def test_stand_ins_are_called_by_their_own_names() -> None:
    stream = embedded("S-")
    names = [task.name for task in stream]
    assert names == ["letters 0", "digits", "letters 1", "letters 2", "letters 3", "letters 0 again"]
    assert stream.input_shape == (1, 28, 28)
    assert torch.equal(stream.test(0).y.unique(), torch.arange(6))


def test_the_images_of_s_minus_are_new_and_of_the_same_classes() -> None:
    stream = embedded("S-")
    first, last = stream.task(0), stream.task(5)
    assert first.classes == last.classes
    shown = [{x.tobytes() for x in task.support.x.numpy()} for task in (first, last)]
    assert not shown[0] & shown[1]
    assert last.label == first.label


def test_sin_shows_the_same_classes_in_other_colours() -> None:
    stream = embedded("Sin")
    assert stream.input_shape == (3, 28, 28)
    assert torch.equal(stream.test(0).y, stream.test(5).y)
    light = [stream.test(c).x.mean(dim=(0, 2, 3)) for c in (0, 5)]
    assert float((light[0] - light[1]).abs().max()) > 0.1
    between = stream.task(1).support.x
    assert torch.equal(between[:, 0], between[:, 2])


def test_sout_calls_the_same_images_otherwise() -> None:
    stream = embedded("Sout")
    assert torch.equal(stream.test(0).x, stream.test(5).x)
    assert not bool((stream.test(0).y == stream.test(5).y).any())


def test_impossible_sizes_and_settings_name_the_field() -> None:
    with pytest.raises(RecipeError, match=r"stream\.large: found 4000; class 0 has 42 training samples"):
        build_stream(stream_spec(layout="ctrl", stream="S-", **{**EMBEDDED, "large": [4000, 10]}), 0)
    with pytest.raises(RecipeError, match="layout 'ctrl' is task-incremental"):
        build_stream(stream_spec(layout="ctrl", stream="S-", setting="class-incremental", **EMBEDDED), 0)
    roles = ["letters 0", "nmist", "letters 1", "letters 2", "letters 3"]
    with pytest.raises(RecipeError, match=r"stream\.roles\.1: found 'nmist'; no such source"):
        build_stream(stream_spec(layout="ctrl", stream="S-", **{**EMBEDDED, "roles": roles}), 0)


def test_similarity_is_graded() -> None:
    tasks = [
        {"name": "a", "classes": [0, 1, 2]},
        {"name": "b", "classes": [1, 2, 3]},
        {"name": "parity", "groups": [[0, 2], [1, 3]]},
        {"name": "halves", "groups": [[0, 1], [2, 3]]},
        {"name": "turned", "classes": "a", "transforms": {"rotate": 90.0}},
        {"name": "parity the other way", "groups": [[1, 3], [0, 2]]},
    ]
    truth = build_stream(stream_spec(layout="tasks", tasks=tasks), 0).similarity()
    assert truth.input[0] == (1, 0.5, 0.75, 0.75, 0, 0.75)
    assert truth.label[0][:2] == (
        1,
        0,
    )  # 1 and 2 stand at the second and third output of one, the first two of the other
    assert truth.concept[0] == (1, 0.5, 0, 0, 1, 0)
    assert truth.concept[2][3] == 0
    assert (truth.label[2][5], truth.concept[2][5]) == (0, 1)
