import gc
import tracemalloc
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evermap.streams.setting import Setting
from evermap.streams.source import SourceData
from evermap.streams.spec import AnyStreamSpec, stream_spec
from evermap.streams.stream import Stream, TestSet, build_stream
from evermap.streams.task import Samples, Task

CLASSES, EACH = 5, 20


def numbered() -> SourceData:
    """Make images whose first pixel is their own number, so that they are known again after any invertible change."""
    n = CLASSES * EACH
    x = torch.zeros(n, 1, 2, 2)
    x[:, 0, 0, 0] = torch.arange(n) / 128  # exact in float32
    return SourceData(x, torch.arange(n) % CLASSES, tuple("abcde"))


DATA = numbered()


def make(seed: int = 0, **fields: Any) -> Stream:
    return Stream(stream_spec(**fields), seed, DATA)


def ids(x: torch.Tensor) -> list[int]:
    """Tell the images' numbers, wherever a permutation has put the pixel that holds them."""
    return [round(float(each) * 128) for each in x.flatten(1).max(dim=1).values]


def drawn_tasks() -> st.SearchStrategy[list[dict[str, Any]]]:
    """Streams of tasks of all sorts, some of which return; only with transforms that leave the numbers readable."""
    new = st.fixed_dictionaries(
        {
            "classes": st.integers(1, CLASSES),
            "train": st.integers(1, 6) | st.just("all"),
            "query": st.integers(0, 4),
            "labels": st.sampled_from(["global", "local"]),
            "relabel": st.booleans(),
            "label_noise": st.sampled_from([0.0, 0.4]),
            "transforms": st.fixed_dictionaries({"permute": st.integers(0, 2), "rotate": st.sampled_from([0, 90])}),
        }
    )
    back = st.fixed_dictionaries(
        {"back": st.integers(0, 9), "train": st.integers(1, 6) | st.just("all"), "query": st.integers(0, 4)}
    )

    def number(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        named: list[dict[str, Any]] = []
        for i, task in enumerate(tasks):
            task = {"name": f"task {i}", **task}
            if "back" in task:
                task["returns"] = f"task {task.pop('back') % i}"
            named.append(task)
        return named

    return st.builds(lambda first, rest: number([first, *rest]), new, st.lists(new | back, max_size=7))


STREAMS: st.SearchStrategy[AnyStreamSpec] = st.one_of(
    st.builds(lambda tasks: stream_spec(layout="tasks", tasks=tasks), drawn_tasks()),
    st.builds(lambda n: stream_spec(layout="split", classes_per_task=n), st.integers(1, CLASSES)),
    st.builds(lambda t, w: stream_spec(layout="few-shot", tasks=t, ways=w), st.integers(1, 6), st.integers(2, CLASSES)),
    st.builds(
        lambda t, k: stream_spec(layout="permutations", tasks=t, setting="domain-incremental", train_per_class=k),
        st.integers(1, 4),
        st.integers(1, 14),
    ),
    st.builds(
        lambda n, o: stream_spec(layout="split", setting="blurry", classes_per_task=n, overlap=o),
        st.integers(1, CLASSES),
        st.floats(0, 0.9),
    ),
    st.builds(
        lambda n, o, e: stream_spec(
            layout="split", setting="online", classes_per_task=n, overlap=o, experience_size=e, order="random"
        ),
        st.integers(1, CLASSES),
        st.floats(0, 0.9),
        st.integers(1, 30),
    ),
    st.builds(
        lambda v, f, n: stream_spec(layout="recurring", concepts=2, visits=v, first=f, later=n),
        st.integers(1, 6),
        st.integers(1, 14),
        st.integers(1, 14),
    ),
    st.builds(
        lambda tasks, order: stream_spec(layout="tasks", tasks=tasks, order=order),
        drawn_tasks(),
        st.sampled_from(["random", "easy-to-hard", "similar-first"]),
    ),
)


def equal(a: Task, b: Task) -> bool:
    def same(p: Samples | None, q: Samples | None) -> bool:
        if p is None or q is None:
            return p is q
        return torch.equal(p.x, q.x) and torch.equal(p.y, q.y)

    named = (a.name, a.index, a.classes, a.label) == (b.name, b.index, b.classes, b.label)
    return named and same(a.support, b.support) and same(a.query, b.query)


@settings(max_examples=60, deadline=None)
@given(STREAMS, st.integers(0, 2**40))
def test_no_image_is_in_both_training_and_test_of_the_whole_stream(spec: AnyStreamSpec, seed: int) -> None:
    stream = Stream(spec, seed, DATA)
    train: set[int] = set()
    for task in stream:
        support, query = ids(task.support.x), ids(task.query.x) if task.query else []
        assert len(set(support + query)) == len(support + query)  # none twice, none in both parts
        train.update(support + query)
    test = {each for concept in stream.concepts for each in ids(stream.test(concept.index).x)}
    assert not train & test


@settings(max_examples=30, deadline=None)
@given(STREAMS, st.integers(0, 2**40), st.randoms(use_true_random=False))
def test_a_task_is_the_same_whichever_were_built_before_it(spec: AnyStreamSpec, seed: int, shuffled: Any) -> None:
    in_order = list(Stream(spec, seed, DATA))
    stream = Stream(spec, seed, DATA)
    order = list(range(len(stream)))
    shuffled.shuffle(order)
    before = torch.random.get_rng_state()
    for i in order:
        assert equal(stream.task(i), in_order[i])
        stream.test(stream.concept_of(i))
    assert equal(stream.task(order[0]), in_order[order[0]])
    assert torch.equal(before, torch.random.get_rng_state())


@settings(max_examples=30, deadline=None)
@given(drawn_tasks(), st.integers(0, 2**40))
def test_labels_are_right_but_for_the_stated_share(tasks: list[dict[str, Any]], seed: int) -> None:
    stream = make(seed, layout="tasks", tasks=tasks)
    for i, task in enumerate(stream):
        concept = stream.concepts[stream.concept_of(i)]
        test = stream.test(concept.index)
        assert task.classes == concept.classes == test.classes
        assert task.label == concept.label == test.label == concept.index
        # What an image is called in the test set is what its class is called in training.
        called = {each % CLASSES: int(y) for each, y in zip(ids(test.x), test.y, strict=True)}
        for part in (task.support, task.query):
            if part is not None:
                right = sum(
                    called[each % CLASSES] == task.classes[int(y)] for each, y in zip(ids(part.x), part.y, strict=True)
                )
                share = tasks[i].get("label_noise", 0.0) if len(task.classes) > 1 else 0.0
                assert len(part) - right == round(share * len(part))


def test_a_task_that_returns_brings_fresh_images_until_all_were_used() -> None:
    tasks = [{"name": "a", "train": 5, "query": 2}, *({"name": f"a{i}", "returns": "a", "train": 3} for i in range(3))]
    first, *again = list(make(layout="tasks", tasks=tasks))
    assert first.query is not None
    used = ids(first.support.x) + ids(first.query.x)
    for task in again[:2]:
        used += ids(task.support.x)
    assert len(set(used)) == len(used)  # 13 of 14 of each class
    assert len(set(ids(again[2].support.x)) & set(used)) == 2 * CLASSES


def test_different_seeds_give_different_splits_and_tasks() -> None:
    a, b = (make(seed, layout="few-shot", tasks=1, ways=5) for seed in (0, 1))
    assert set(ids(a.test(0).x)) != set(ids(b.test(0).x))
    assert not equal(a.task(0), b.task(0))


def test_the_split_is_stratified_and_limits_hold() -> None:
    stream = make(layout="split", classes_per_task=CLASSES, test_share=0.25, train_per_class=7, test_per_class=3)
    assert stream.task(0).support.y.bincount().tolist() == [7] * CLASSES
    assert stream.test(0).y.bincount().tolist() == [3] * CLASSES
    whole = make(layout="split", classes_per_task=CLASSES, test_share=0.25)
    assert whole.task(0).support.y.bincount().tolist() == [15] * CLASSES
    assert whole.test(0).y.bincount().tolist() == [5] * CLASSES


def test_a_source_keeps_its_own_split() -> None:
    parts = (torch.arange(0, 60), torch.arange(60, 100))
    data = SourceData(DATA.x, DATA.y, DATA.classes, "image", parts)
    stream = Stream(stream_spec(layout="split", classes_per_task=5), 0, data)
    assert sorted(ids(stream.task(0).support.x)) == list(range(60))
    assert sorted(ids(stream.test(0).x)) == list(range(60, 100))


@pytest.mark.parametrize("setting", list(Setting))
def test_only_the_task_incremental_setting_gives_labels(setting: Setting) -> None:
    task = {"name": "a", "classes": [0, 1], "train": 3}
    back = {"name": "b", "returns": "a", "train": 3}
    stream = make(layout="tasks", tasks=[task, back], setting=setting)
    label = 0 if setting is Setting.TASK_INCREMENTAL else None
    assert [each.label for each in stream] == [label, label]
    assert [each.label for each in stream.concepts] == [label]
    assert stream.test(0).label == label
    assert stream.setting is setting


def test_what_is_known_of_a_stream() -> None:
    tasks = [
        {"name": "a", "classes": [1, 2], "phase": "start"},
        {"name": "b", "classes": [0, 3], "phase": "start"},
        {"name": "c", "returns": "a"},
    ]
    stream = make(layout="tasks", tasks=tasks)
    assert len(stream) == 3
    assert (stream.kind, stream.input_shape, stream.n_classes) == ("image", (1, 2, 2), 4)
    assert [stream.concept_of(i) for i in range(3)] == [0, 1, 0]
    assert [stream.phase_of(i) for i in range(3)] == ["start", "start", None]
    assert [(each.name, each.classes) for each in stream.concepts] == [("a", (1, 2)), ("b", (0, 3))]
    assert [(each.kind, each.own_labels) for each in stream.concepts] == [("classification", False)] * 2
    few = make(layout="few-shot", tasks=2, ways=2, shots=1)
    assert [each.own_labels for each in few.concepts] == [True, True]
    assert stream.data_hash == DATA.sha256()
    with pytest.raises(IndexError, match="task 3 of a stream of 3"):
        stream.task(3)
    with pytest.raises(IndexError):
        stream.task(-1)
    with pytest.raises(IndexError, match="concept 2 of a stream of 2"):
        stream.test(2)


def test_permuted_tasks_differ_by_their_permutation_only_and_tests_are_permuted_alike() -> None:
    stream = build_stream(stream_spec(layout="permutations", tasks=2, setting="domain-incremental"), 0)
    plain, permuted = stream.test(0), stream.test(1)
    assert torch.equal(plain.y, permuted.y)
    assert not torch.equal(plain.x, permuted.x)
    assert torch.equal(plain.x.flatten(1).sort().values, permuted.x.flatten(1).sort().values)
    # The same rearrangement in training and testing: pixels that are always 0 are so in both.
    dark_train = stream.task(1).support.x.flatten(1).mean(dim=0) < 1e-3
    dark_test = permuted.x.flatten(1).mean(dim=0) < 1e-3
    assert float((dark_train == dark_test).float().mean()) > 0.9


def test_noise_is_drawn_anew_for_every_sample_and_visit() -> None:
    tasks = [{"name": "a", "transforms": {"noise": 0.2}}, {"name": "b", "returns": "a"}]
    stream = build_stream(stream_spec(layout="tasks", tasks=tasks), 0)
    first, second = stream.task(0).support, stream.task(1).support
    assert not {x.tobytes() for x in first.x.numpy()} & {x.tobytes() for x in second.x.numpy()}
    assert torch.equal(stream.test(0).x, stream.test(0).x)


def reachable(start: object) -> list[object]:
    """List everything that can be reached from an object's attributes, short of modules and classes."""
    seen: dict[int, object] = {}
    waiting = [start]
    while waiting:
        here = waiting.pop()
        if id(here) in seen or issubclass(type(here), type) or type(here).__name__ == "module":
            continue
        seen[id(here)] = here
        waiting += gc.get_referents(here)
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # touching deprecated names wakes them
            waiting += list(getattr(here, "__dict__", {}).values())
        if issubclass(type(here), torch.Tensor):
            waiting += [each for each in (here._base, here.grad, here.grad_fn) if each is not None]
    return list(seen.values())


def test_neither_test_data_nor_the_stream_can_be_reached_from_a_task() -> None:
    tasks = [
        {"name": "a", "train": 4, "query": 2},
        {"name": "b", "classes": [1, 3], "transforms": {"permute": 1}},
        {"name": "c", "returns": "a", "label_noise": 0.2},
    ]
    stream = make(layout="tasks", tasks=tasks)
    held = [stream.test(each.index) for each in stream.concepts]
    test_ids = {each for test in held for each in ids(test.x)}
    for task in stream:
        things = reachable(task)
        assert not [each for each in things if isinstance(each, Stream | SourceData | TestSet)]
        tensors = [each for each in things if isinstance(each, torch.Tensor)]
        assert len({each.data_ptr() for each in tensors}) == (4 if task.query else 2)
        for tensor in tensors:
            assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
            if tensor.dim() > 1:
                assert not set(ids(tensor)) & test_ids


LETTERS = {"letters": {"source": "glyphs", "settings": {"alphabets": 1, "characters": 6, "samples": 20}}}
OF_EVERY_KIND: list[dict[str, Any]] = [
    {"layout": "few-shot", "tasks": 3, "source": "glyphs", "shots": 2},
    {"layout": "regression", "tasks": [3], "source": "sinusoids"},
    {"layout": "split", "setting": "online", "experience_size": 40, "overlap": 0.5},
    {"layout": "recurring", "concepts": 2, "visits": 3},
    {
        "layout": "tasks",
        "sources": LETTERS,
        "tasks": [
            {"name": "a", "source": "letters", "transforms": {"colour": 1}},
            {"name": "b", "classes": 2},
            {"name": "c", "returns": "a"},
        ],
    },
    {
        "layout": "ctrl",
        "stream": "Sin",
        "sources": {
            f"letters {i}": {"source": "glyphs", "settings": {"alphabets": 1, "characters": 6, "seed": i}}
            for i in range(4)
        },
        "roles": ["letters 0", "digits", "letters 1", "letters 2", "letters 3"],
        "large": [9, 3],
        "small": [4, 2],
        "few": [2, 1],
    },
]


@pytest.mark.parametrize("fields", OF_EVERY_KIND, ids=lambda fields: fields["layout"])
def test_tasks_of_every_kind_reach_their_own_samples_only(fields: dict[str, Any]) -> None:
    stream = build_stream(stream_spec(**fields), 0)
    tests = {x.tobytes() for c in stream.concepts for x in stream.test(c.index).x.numpy()}
    for i in range(min(len(stream), 8)):
        task = stream.task(i)
        things = reachable(task)
        assert not [each for each in things if isinstance(each, Stream | SourceData | TestSet)]
        tensors = [each for each in things if isinstance(each, torch.Tensor)]
        assert len({each.data_ptr() for each in tensors}) == (4 if task.query else 2)
        for tensor in tensors:
            assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        for part in (task.support, task.query):
            assert part is None or not {x.tobytes() for x in part.x.numpy()} & tests


def test_writing_into_a_task_changes_neither_stream_nor_test() -> None:
    stream = make(layout="split", classes_per_task=5)
    before, test = stream.task(0), stream.test(0)
    stream.task(0).support.x.fill_(7)
    stream.test(0).x.fill_(7)
    assert equal(stream.task(0), before)
    assert torch.equal(stream.test(0).x, test.x)


def test_memory_does_not_grow_with_the_tasks_that_passed() -> None:
    stream = make(layout="few-shot", tasks=200, ways=3)
    stream.task(0)
    others = {id(each) for each in gc.get_objects() if type(each) is Task}  # of tests that ran before
    tracemalloc.start()
    try:
        for i in range(20):
            stream.task(i)
        early = tracemalloc.get_traced_memory()[0]
        for i in range(20, 200):
            stream.task(i)
        late = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert late - early < 20_000
    assert not [each for each in gc.get_objects() if type(each) is Task and id(each) not in others]


def test_the_walk_finds_what_is_hidden() -> None:
    stream = make(layout="split", classes_per_task=5)
    task = stream.task(0)
    object.__setattr__(task, "hidden", [lambda: stream])
    assert any(type(each) is Stream for each in reachable(task))
