import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import evermap
from evermap.errors import DataMissing, RecipeError, UnknownName, UserError
from evermap.scenarios.override import override
from evermap.scenarios.scenario import (
    LIBRARY,
    AgentSpec,
    BudgetSpec,
    Scenario,
    library,
    load_scenario,
    recipe_hash,
    to_toml,
)
from evermap.streams.setting import Setting
from evermap.streams.spec import FewShotSpec, RotationsSpec, SplitSpec, TaskSpec, TasksSpec, Transforms
from evermap.streams.stream import build_stream

SPLIT = '[stream]\nlayout = "split"\n'


def written(folder: Path, text: str, name: str = "my.toml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


# Scenarios on data that are not part of the package: source by scenario.
# Below EVERMAP_DATA, or in shared/data beside the checkout.
ROOT = Path(os.environ.get("EVERMAP_DATA") or Path(evermap.__file__).parents[1] / "shared" / "data")
NEED_DATA = {
    "few-shot-omniglot": "omniglot",
    "class-incremental-clinc150": "clinc150",
    "class-incremental-fashion": "fashion-mnist",
    **{f"ctrl-s-{each}-published": "cifar10" for each in ("minus", "plus", "in", "out", "pl", "long")},
}
EMBEDDED = [name for name in library() if name not in NEED_DATA]


def test_scenarios_on_data_of_others_are_those_that_say_so() -> None:
    assert set(NEED_DATA) <= set(library())
    for name in library():
        words = tomllib.loads((LIBRARY / f"{name}.toml").read_text())
        assert ("Needs" in words["shows"]) == (name in NEED_DATA)
        first = words["stream"].get("roles", [words["stream"].get("source", "digits")])[0]
        assert first == NEED_DATA.get(name, first)


@pytest.mark.parametrize("name", NEED_DATA)
@pytest.mark.parametrize("size", ["default", "short"])
def test_scenarios_on_data_of_others_are_sound_where_the_data_are(name: str, size: str) -> None:
    try:
        scenario = load_scenario(name, data_root=ROOT, size=size)
        stream = build_stream(scenario.stream, scenario.seed, ROOT)
    except DataMissing as error:
        pytest.skip(str(error))
    assert len(stream.task(0).support) >= 2


@pytest.mark.parametrize("name", EMBEDDED)
def test_every_scenario_of_the_library_says_what_it_is_for_and_can_be_built(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert scenario.description
    assert scenario.shows
    assert scenario.expected
    stream = build_stream(scenario.stream, scenario.seed)
    for i in {0, len(stream) // 2, len(stream) - 1}:
        task = stream.task(i)
        assert len(task.support) >= task.outputs >= (2 if task.kind == "classification" else 1)
    for c in {0, len(stream.concepts) - 1}:
        assert len(stream.test(c).y) >= 50


def test_the_library_has_all_settings() -> None:
    settings = {load_scenario(name).stream.setting for name in EMBEDDED}
    assert settings == set(Setting)


def test_the_demo_has_a_task_of_every_sort() -> None:
    spec = load_scenario("demo").stream
    assert isinstance(spec, TasksSpec)
    assert 10 <= len(spec.tasks) <= 15
    assert len([task for task in spec.tasks if task.phase]) == 3
    assert len([task for task in spec.tasks if task.returns]) >= 3
    assert any(task.relabel for task in spec.tasks)
    assert any(task.label_noise for task in spec.tasks)
    assert any(task.transforms.permute for task in spec.tasks)
    assert any(isinstance(task.train, int) and task.train <= 5 and not task.returns for task in spec.tasks)
    assert any(task.train == "all" or task.train >= 50 for task in spec.tasks)


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_recipe_written_out_loads_back_equal(name: str, tmp_path: Path) -> None:
    scenario = load_scenario(name, ["seed=3", "strategies.scratch={rate=0.1, sizes=[1, 2], on=true}"])
    again = load_scenario(written(tmp_path, to_toml(scenario), f"{name}.toml"))
    assert again == scenario
    assert recipe_hash(again) == recipe_hash(scenario)
    assert to_toml(again) == to_toml(scenario)


def test_every_default_is_written_out_and_none_left_out(tmp_path: Path) -> None:
    text = to_toml(load_scenario(written(tmp_path, SPLIT)))
    for line in (
        'name = "my"',
        "evaluate_every = 1",
        'device = "auto"',
        'selector = "auto"',
        "held_out = 0.2",
        "anchor_features = 512",
        "gate = true",
        "scratch = 1.0",
        "probe = 0.1",
        "test_share = 0.3",
        'setting = "task-incremental"',
    ):
        assert line in text.splitlines()
    assert "flops" not in text
    assert "class_order" not in text


SPECS = st.one_of(
    st.builds(SplitSpec, classes_per_task=st.integers(1, 9), class_order=st.none() | st.just((1, 2, 3))),
    st.builds(RotationsSpec, angles=st.lists(st.floats(-360, 360), min_size=1, max_size=3).map(tuple)),
    st.builds(FewShotSpec, tasks=st.integers(1, 9), ways=st.integers(2, 9), source=st.text()),
    st.builds(
        TasksSpec,
        tasks=st.lists(
            st.builds(
                TaskSpec,
                name=st.text(min_size=1),
                classes=st.integers(1, 9) | st.just((3, 4)) | st.just("all"),
                train=st.integers(1, 9) | st.just("all"),
                transforms=st.builds(Transforms, rotate=st.floats(-1, 1), invert=st.booleans()),
                phase=st.none() | st.text(),
            ),
            min_size=1,
            max_size=3,
        ).map(tuple),
    ),
)
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.builds(
        Scenario,
        name=st.just("any"),
        description=st.text(),
        stream=SPECS,
        budget=st.builds(BudgetSpec, scratch=st.floats(0.01, 100), flops=st.none() | st.floats(1, 1e18)),
        agent=st.builds(AgentSpec, encoder_settings=st.dictionaries(st.text(), VALUES, max_size=2)),
        strategies=st.dictionaries(st.text(), st.dictionaries(st.text(), VALUES, max_size=2), max_size=2),
        seed=st.integers(0, 2**63 - 1),
    )
)
def test_any_recipe_survives_toml(tmp_path_factory: pytest.TempPathFactory, scenario: Scenario) -> None:
    path = written(tmp_path_factory.getbasetemp(), to_toml(scenario), "any.toml")
    assert load_scenario(path, check_names=False) == scenario


def test_a_recipe_is_immutable() -> None:
    scenario = load_scenario("digits-split")
    with pytest.raises(ValidationError):
        scenario.seed = 1  # type: ignore[misc]
    with pytest.raises(ValidationError):
        scenario.stream.source = "x"  # type: ignore[misc]


def test_the_hash_is_of_what_decides_the_results() -> None:
    plain = recipe_hash(load_scenario("digits-split"))
    assert plain == recipe_hash(load_scenario("digits-split", ['description="other words"', "name=other"]))
    assert len({plain, *(recipe_hash(load_scenario("digits-split", [change])) for change in CHANGES)}) == 6


CHANGES = ["seed=1", "agent.selector=fixed:scratch", "budget.scratch=2", "stream.test_share=0.4", "device=cpu"]


def test_overrides_reach_every_depth() -> None:
    scenario = load_scenario(
        "demo",
        [
            "agent.selector=fixed:finetune",
            "stream.tasks.5.train=7",
            "stream.tasks.0.classes=[4, 5]",
            "stream.tasks.0.name=fours and fives",
            "stream.tasks.0.transforms.rotate=10",
            "budget.flops=1e9",
            "strategies.scratch.some.deep='text'",
        ],
    )
    assert scenario.agent.selector == "fixed:finetune"
    assert isinstance(scenario.stream, TasksSpec)
    assert scenario.stream.tasks[5].train == 7
    assert scenario.stream.tasks[0].classes == (4, 5)
    assert scenario.stream.tasks[0].name == "fours and fives"
    assert scenario.stream.tasks[0].transforms == Transforms(rotate=10.0)
    assert scenario.budget.flops == 1e9
    assert scenario.strategies == {"scratch": {"some": {"deep": "text"}}}


def test_overriding_leaves_what_was_read_alone() -> None:
    data = {"a": {"b": [1, 2]}}
    assert override(data, ["a.b.1=5", "c=x"]) == {"a": {"b": [1, 5]}, "c": "x"}
    assert data == {"a": {"b": [1, 2]}}


@given(VALUES)
def test_any_toml_value_can_be_set(value: object) -> None:
    line = tomli_w.dumps({"value": [0, value]}).partition("=")[2].strip()
    assert override({}, [f"x={line}"]) == {"x": [0, value]}


WRONG = [
    ("selector=random", "selector: found 'random'; there is no such field (did you mean 'agent.selector'?)"),
    ("stream.clases_per_task=3", "(did you mean 'classes_per_task'?); here are source, "),
    ("agent.sharing=inplace", "agent.sharing: found 'inplace'; input should be 'versions' or 'in-place' (did you mean"),
    (
        "stream.layout=spilt",
        "stream.layout: found 'spilt'; valid are split, rotations, permutations, few-shot, families",
    ),
    ("stream.setting=offline", "stream.setting: found 'offline'; input should be 'task-incremental'"),
    ("seed=1.5", "seed: found 1.5; input should be a whole number"),
    ("seed='1'", "seed: found '1'; input should be a whole number"),
    ("seed=true", "seed: found True; input should be a whole number"),
    ("seed=-1", "seed: found -1; input should be greater than or equal to 0"),
    ("agent=3", "agent: found 3; input should be a table"),
    ("seed.x=3", "seed: found"),
    ("name.x=3", "name: found 'digits-split'; it is a value and has no field 'x'"),
    ("stream.test_share=nan", "stream.test_share: found nan; input should be a finite number"),
    ("stream.test_share=1", "stream.test_share: found 1; input should be less than 1"),
    ("stream.classes_per_task=11", "stream.classes_per_task: found 11; there are 10 classes"),
    ("stream.source=digts", "stream.source: found 'digts'; no such source (did you mean 'digits'?)"),
    ("stream.source_settings.a=1", "stream.source_settings.a: found 1; digits has the settings: none"),
    ("agent.selector=prob", "agent.selector: found 'prob'; there is no such selector (did you mean 'probe'?)"),
    ("agent.selector=finetune", "there is no such selector (did you mean 'fixed:finetune'?)"),
    ("stream.angles=[3]", "there is no such field in this layout (it is one of 'rotations'); here are source, "),
    (
        "stream.tasks=[1]",
        "in this layout (it is one of 'permutations' and 'few-shot' and 'regression' and 'ctrl' and 'tasks')",
    ),
    ("agent.gate=1", "agent.gate: found 1; input should be true or false"),
    (
        "agent.selector=fixed:scrtch",
        "found 'scrtch'; there is no such strategy (did you mean 'scratch'?)",
    ),
    ("agent.encoder=mpl", "agent.encoder: found 'mpl'; there is no such encoder (did you mean 'mlp'?)"),
    (
        "strategies.finetun.a=3",
        "strategies.finetun: found 'finetun'; there is no such strategy (did",
    ),
    ("strategies.scratch.a=inf", "strategies.scratch.a: found inf; settings are texts, finite numbers"),
    ("budget.consolidate=0.95", "budget.consolidate: found 1.05; probe and consolidate together must be below 1"),
    ("budget.scratch=0", "budget.scratch: found 0; input should be greater than 0"),
    ("budget.flops=[1,2", "budget.flops: found '[1,2'; a TOML value is needed"),
    ("budget.flops=1\nx=2", "a TOML value is needed"),
    ("seed", "seed: found 'seed'; write path=value"),
    ("=3", "path: found '=3'; write path=value"),
    ("a..b=3", "write path=value"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[change for change, _ in WRONG])
def test_a_wrong_override_names_field_and_what_is_valid(change: str, message: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_scenario("digits-split", [change])
    said = str(error.value)
    assert said.startswith("--set: ")
    assert message in said
    assert "\n" not in said.replace("\\n", "")


IN_TASKS = [
    ("stream.tasks.0.clases=3", "stream.tasks.0.clases: found 3; there is no such field (did you mean 'classes'?)"),
    ("stream.tasks.20.train=3", "stream.tasks.20: found '20'; a position from 0 to 13 is needed"),
    ("stream.tasks.0.train=lots", "stream.tasks.0.train: found 'lots'; Training samples per class, or \"all\""),
    ("stream.tasks.0.classes=[1, 'a']", "stream.tasks.0.classes: found 'a'; Ids of the classes"),
    ("stream.tasks.0.transforms.rotat=3", "stream.tasks.0.transforms.rotat: found 3; there is no such field (did you"),
    ("stream.tasks.0.classes=11", "stream.tasks.0.classes: found 11; the source has 10 classes"),
    ("stream.tasks.0.train=150", "stream.tasks.0.train: found 150; class 0 has 134 training samples"),
    ("stream.tasks=[]", "stream.tasks: found []; the list should have at least 1 item (The tasks, in order)"),
    (
        "stream.tasks.3.returns=later",
        "found 'later'; the name of an earlier task is needed; before it there are '0 to 2'",
    ),
    ("stream.tasks=3", "stream.tasks: found 3; input should be a list"),
]


@pytest.mark.parametrize(("change", "message"), IN_TASKS, ids=[change for change, _ in IN_TASKS])
def test_a_wrong_task_is_named_by_its_position(change: str, message: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_scenario("demo", [change])
    assert message in str(error.value)


def test_what_is_wrong_in_the_file_is_named_with_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, SPLIT + "clases_per_task = 3\n")
    with pytest.raises(RecipeError, match=rf"{path}: stream\.clases_per_task: found 3; there is no such field"):
        load_scenario(path, ["seed=1"])
    with pytest.raises(RecipeError, match=r"stream: it is not given; this field is needed: What arrives"):
        load_scenario(written(tmp_path, ""))
    with pytest.raises(RecipeError, match=r"stream\.layout: it is not given; valid are split, rotations, permutations"):
        load_scenario(written(tmp_path, "[stream]\n"))
    with pytest.raises(RecipeError, match=r"stream\.angles: it is not given; this field is needed: Degrees"):
        load_scenario(written(tmp_path, '[stream]\nlayout = "rotations"\n'))
    with pytest.raises(RecipeError, match=r"my\.toml: syntax: found .*line 1.*; the file must be valid TOML"):
        load_scenario(written(tmp_path, "[stream\n"))
    with pytest.raises(RecipeError, match=r"name: found .*; it must be one line of printable text"):
        load_scenario(written(tmp_path, 'name = "a\\nb"\n' + SPLIT))


def test_a_long_value_is_cut_in_the_message(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        load_scenario(written(tmp_path, f"wrong = [{', '.join('1' * 300)}]\n" + SPLIT))
    assert "found 'a list of 300'" in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no such scenario file"):
        load_scenario(tmp_path / "none.toml")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        load_scenario(str(tmp_path))
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(UserError, match=r"is not UTF-8 text \(byte 8\)"):
        load_scenario(tmp_path / "latin.toml")


def test_an_unknown_scenario_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match=r"no scenario called 'demmo'\. Did you mean demo\?"):
        load_scenario("demmo")


def test_the_name_of_a_file_stands_in_for_a_missing_one(tmp_path: Path) -> None:
    assert load_scenario(written(tmp_path, SPLIT, "pairs.toml")).name == "pairs"


def test_a_record_can_be_read_without_its_plugins(tmp_path: Path) -> None:
    path = written(tmp_path, '[agent]\nselector = "theirs"\n[strategies.gone]\na = 1\n' + SPLIT)
    with pytest.raises(RecipeError):
        load_scenario(path)
    assert load_scenario(path, check_names=False).strategies == {"gone": {"a": 1}}


def test_listing_and_checking_load_neither_torch_nor_numpy() -> None:
    code = (
        "import sys\n"
        "from evermap.scenarios.scenario import load_scenario\n"
        f"for name in {EMBEDDED!r}: load_scenario(name)\n"
        "sys.exit(bool({'torch', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_task_of_the_demonstration_brings_a_sample_that_an_earlier_one_brought():
    """What a returning task agrees with would otherwise be its own training samples."""
    scenario = load_scenario("demo")
    stream = build_stream(scenario.stream, scenario.seed)
    seen: set[tuple[int, int]] = set()
    for made in stream._plans:
        for k, n, start in zip(made.drawn, made.support, made.start, strict=True):
            dealt = {(k, (start + i) % len(stream._train[k])) for i in range(n + made.query)}
            assert not dealt & seen, made.name
            seen |= dealt
