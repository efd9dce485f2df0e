import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evermap.errors import RecipeError
from evermap.streams.plan import TaskPlan, plan
from evermap.streams.source import Sizes
from evermap.streams.spec import AnyStreamSpec, stream_spec

SIZES = Sizes((20,) * 10, (1, 4, 4))  # 14 to train and 6 to test of each, at the default share


def planned(seed: int = 0, sizes: Sizes = SIZES, **fields: Any) -> tuple[TaskPlan, ...]:
    return plan(stream_spec(**fields), seed, sizes, where="my.toml")


def tasks(*written: dict[str, Any], **fields: Any) -> tuple[TaskPlan, ...]:
    return planned(layout="tasks", tasks=list(written), **fields)


def test_split_covers_every_class_once_and_drops_none() -> None:
    made = planned(layout="split", classes_per_task=3)
    assert [len(each.classes) for each in made] == [3, 3, 3, 1]
    assert sorted(k for each in made for k in each.classes) == list(range(10))


def test_split_follows_an_explicit_order() -> None:
    made = planned(layout="split", class_order=[3, 1, 4, 0], classes_per_task=2)
    assert [each.classes for each in made] == [(1, 3), (0, 4)]
    assert [each.name for each in made] == ["classes 1, 3", "classes 0, 4"]
    assert made[0].meaning == {3: 3, 1: 1}


def test_the_order_of_classes_is_drawn_by_the_seed() -> None:
    orders = {tuple(each.drawn for each in planned(seed, layout="split")) for seed in range(5)}
    assert len(orders) == 5
    assert planned(3, layout="split") == planned(3, layout="split")


def test_rotations_and_permutations_have_all_classes_and_begin_as_written() -> None:
    turned = planned(layout="rotations", angles=[0, 12.5], setting="domain-incremental")
    assert [(each.name, each.transforms.rotate) for each in turned] == [("rotated 0°", 0), ("rotated 12.5°", 12.5)]
    mixed = planned(layout="permutations", tasks=3, setting="domain-incremental", train_per_class=4)
    assert [each.transforms.permute for each in mixed] == [0, 1, 2]
    assert all(each.classes == tuple(range(10)) and each.support == (4,) * 10 for each in mixed)


def test_few_shot_labels_are_local_and_classes_drawn_per_task() -> None:
    made = planned(layout="few-shot", tasks=20, ways=3, shots=2, query=5)
    assert all(each.classes == (0, 1, 2) and each.positions == (0, 1, 2) for each in made)
    assert all(each.support == (2, 2, 2) and each.query == 5 for each in made)
    assert len({each.drawn for each in made}) > 10
    assert [each.concept for each in made] == list(range(20))


def test_a_task_that_returns_has_everything_of_its_first_visit_but_its_samples() -> None:
    first, other, back = tasks(
        {"name": "a", "classes": 3, "train": 4, "query": 1, "relabel": True, "transforms": {"rotate": 30.0}},
        {"name": "b", "classes": [0], "train": 2},
        {"name": "a again", "returns": "a", "train": 6},
    )
    assert (back.drawn, back.positions, back.classes) == (first.drawn, first.positions, first.classes)
    assert back.transforms == first.transforms
    assert [each.concept for each in (first, other, back)] == [0, 1, 0]
    assert back.support == (6, 6, 6)
    used = [5 + 2 * (k == 0) for k in back.drawn]
    assert list(back.start) == used  # it goes on behind what earlier tasks were dealt


def test_returning_to_a_task_that_returned_is_the_same_concept() -> None:
    made = tasks({"name": "a"}, {"name": "b", "returns": "a"}, {"name": "c", "returns": "b"})
    assert [each.concept for each in made] == [0, 0, 0]


@given(st.integers(2, 8), st.integers(0, 1000), st.sampled_from(["global", "local"]))
def test_relabelling_gives_every_class_another_ones_label(classes: int, seed: int, labels: str) -> None:
    spec = stream_spec(
        layout="tasks",
        tasks=[
            {"name": "a", "classes": classes, "labels": labels},
            {"name": "b", "classes": "a", "labels": labels, "relabel": True},
        ],
    )
    first, second = plan(spec, seed, SIZES)
    assert set(first.drawn) == set(second.drawn)
    assert first.classes == second.classes
    assert sorted(second.positions) == sorted(first.positions)
    assert all(first.meaning[k] != second.meaning[k] for k in first.drawn)
    assert second.concept != first.concept


def test_taking_the_classes_of_a_task_takes_the_meaning_of_its_labels() -> None:
    first, second = tasks(
        {"name": "a", "classes": 4, "relabel": True}, {"name": "b", "classes": "a", "transforms": {"invert": True}}
    )
    assert first.meaning == second.meaning


def test_labels_are_a_tasks_own_where_they_are_local_grouped_or_shuffled() -> None:
    written = [
        {"name": "plain", "classes": [0, 1, 2]},
        {"name": "local", "classes": [0, 1, 2], "labels": "local"},
        {"name": "shuffled", "classes": [0, 1, 2], "relabel": True},
        {"name": "parity", "groups": [[0, 2, 4], [1, 3]]},
        {"name": "shuffled and turned", "classes": "shuffled", "transforms": {"rotate": 9}},
        {"name": "plain and turned", "classes": "plain", "transforms": {"rotate": 9}},
        {"name": "parity again", "returns": "parity"},
        {"name": "local and turned", "classes": "local", "transforms": {"rotate": 9}},
    ]
    own = [each.name for each in tasks(*written) if each.own_labels]
    assert own == ["local", "shuffled", "parity", "shuffled and turned", "parity again", "local and turned"]
    assert not any(each.own_labels for each in planned(layout="permutations", tasks=3, setting="task-incremental"))
    assert all(each.own_labels for each in planned(layout="few-shot", tasks=3, ways=3, shots=2))
    # where no task label tells tasks apart, a class has one label in the whole stream
    (alone,) = tasks({"name": "a", "classes": [7, 2], "labels": "local"}, setting="class-incremental")
    assert not alone.own_labels


def test_global_and_local_labels() -> None:
    (glob,) = tasks({"name": "a", "classes": [7, 2, 5]})
    assert glob.classes == (2, 5, 7)
    assert glob.meaning == {7: 7, 2: 2, 5: 5}
    (local,) = tasks({"name": "a", "classes": [7, 2, 5], "labels": "local"})
    assert local.classes == (0, 1, 2)
    assert local.meaning == {7: 0, 2: 1, 5: 2}


def test_all_means_what_the_query_part_leaves_up_to_the_limit() -> None:
    made = tasks({"name": "a", "query": 4}, {"name": "b", "train": 12}, train_per_class=11)
    assert [each.support[0] for each in made] == [10, 12]


def test_unequal_classes_keep_what_they_have() -> None:
    made = planned(sizes=Sizes((20, 5), (1,), kind="table"), layout="split", classes_per_task=2, class_order=[0, 1])
    assert made[0].support == (14, 3)


A = {"name": "a", "classes": [1, 2]}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"layout": "split", "classes_per_task": 11}, "stream.classes_per_task: found 11; there are 10 classes"),
    ({"layout": "split", "class_order": [1, 1]}, "stream.class_order: found [1, 1]; every class may stand there once"),
    ({"layout": "split", "class_order": [1, 10]}, "stream.class_order: found 10; the source has the classes 0 to 9"),
    ({"layout": "split", "class_order": []}, "stream.class_order: found []; at least one class is needed"),
    ({"layout": "split", "setting": "domain-incremental"}, "stream.setting: found 'domain-incremental'"),
    ({"layout": "rotations", "angles": [0, 1], "setting": "class-incremental"}, "stream.setting: found"),
    ({"layout": "rotations", "angles": [5, 5]}, "stream.angles: found 5.0; every angle may stand there once"),
    ({"layout": "few-shot", "tasks": 1, "setting": "class-incremental"}, "'few-shot' is task-incremental"),
    ({"layout": "few-shot", "tasks": 1, "ways": 11}, "stream.ways: found 11; the source has 10 classes"),
    ({"layout": "few-shot", "tasks": 1, "shots": 10}, "stream.shots: found 10; class"),
    ({"layout": "few-shot", "tasks": 1, "query": 14}, "stream.query: found 14; class"),
    ({"tasks": [A, A]}, "stream.tasks.1.name: found 'a'; every task has a name of its own"),
    ({"tasks": [A, {"name": "b", "returns": "aa"}]}, "stream.tasks.1.returns: found 'aa'; the name of an earlier task"),
    ({"tasks": [A, {"name": "b", "returns": "b"}]}, "before it there are 'a'"),
    (
        {"tasks": [A, {"name": "b", "returns": "a", "relabel": True}]},
        "stream.tasks.1.relabel: found True; leave it",
    ),
    ({"tasks": [A, {"name": "b", "returns": "a", "classes": 2}]}, "stream.tasks.1.classes: found 2; leave it out"),
    ({"tasks": [A, {"name": "b", "returns": "a", "transforms": {"invert": True}}]}, "found {'invert': True}; leave it"),
    ({"tasks": [{"name": "a", "classes": 11}]}, "stream.tasks.0.classes: found 11; the source has 10 classes"),
    ({"tasks": [{"name": "a", "classes": "b"}]}, "stream.tasks.0.classes: found 'b'"),
    ({"tasks": [{"name": "a", "classes": [0, 0]}]}, "stream.tasks.0.classes: found [0, 0]"),
    ({"tasks": [{"name": "a", "train": 15}]}, "stream.tasks.0.train: found 15; class 0 has 14 training samples"),
    (
        {"tasks": [{"name": "a", "query": 14}]},
        "stream.tasks.0.query: found 14; class 0 has 14 training samples, and",
    ),
    (
        {"tasks": [{**A, "phase": "x"}, {**A, "name": "b"}, {**A, "name": "c", "phase": "x"}]},
        "stream.tasks.2.phase: found 'x'; the tasks of one phase follow one another",
    ),
    (
        {"tasks": [A, {"name": "b", "classes": [1, 3]}], "setting": "domain-incremental"},
        "stream.tasks.1.classes: found [1, 3]; in the domain-incremental setting every task has the classes of 'a'",
    ),
    (
        {"tasks": [A, {"name": "b", "classes": "a", "relabel": True}], "setting": "class-incremental"},
        "in the class-incremental setting a class has one label in all tasks",
    ),
    (
        {"tasks": [{**A, "labels": "local"}, {"name": "b", "classes": [3], "labels": "local"}]}
        | {"setting": "class-incremental"},
        "stream.tasks.1.labels: found 'class 3 as 0'",
    ),
]


@pytest.mark.parametrize(("fields", "message"), WRONG, ids=[message[:50] for _, message in WRONG])
def test_a_wrong_recipe_names_place_field_and_what_is_valid(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as error:
        planned(**{"layout": "tasks", **fields})
    assert message in str(error.value)
    assert str(error.value).startswith("my.toml: stream.")


def test_a_class_of_one_sample_cannot_be_trained_and_tested() -> None:
    with pytest.raises(RecipeError, match="class 1 needs at least one sample of each"):
        planned(sizes=Sizes((5, 1), (1,)), layout="split", class_order=[0, 1])


def test_what_is_no_image_cannot_be_turned() -> None:
    with pytest.raises(RecipeError, match=r"stream\.angles\.1: found 5\.0; only images, not table, have it"):
        planned(sizes=Sizes((5, 5), (3,), kind="table"), layout="rotations", angles=[0, 5])


LAYOUTS: st.SearchStrategy[AnyStreamSpec] = st.one_of(
    st.builds(lambda n: stream_spec(layout="split", classes_per_task=n), st.integers(1, 10)),
    st.builds(
        lambda t, w, s, q: stream_spec(layout="few-shot", tasks=t, ways=w, shots=s, query=q),
        st.integers(1, 30),
        st.integers(2, 10),
        st.integers(1, 6),
        st.integers(0, 8),
    ),
    st.builds(lambda t: stream_spec(layout="permutations", tasks=t), st.integers(1, 10)),
)


@given(LAYOUTS, st.integers(0, 2**63 - 1))
def test_plans_are_functions_of_the_seed_and_ask_for_no_more_than_there_is(spec: AnyStreamSpec, seed: int) -> None:
    made = plan(spec, seed, SIZES)
    assert made == plan(spec, seed, SIZES)
    assert len({each.name for each in made}) == len(made)
    for each in made:
        assert all(n + each.query <= 14 for n in each.support)
        assert sorted(each.positions) == list(range(len(each.classes)))


def test_planning_loads_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, evermap.streams.plan, evermap.streams.digits, evermap.streams.spec\n"
        "sys.exit(bool({'torch', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
