"""The library: what its scenarios promise. Those that need published data are checked where these are."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

import evermap
from evermap.errors import DataMissing, RecipeError
from evermap.scenarios.outline import outline, validate
from evermap.scenarios.scenario import Scenario, has_short, library, load_scenario
from evermap.streams.plan import TaskPlan, plan
from evermap.streams.stream import build_stream
from evermap.streams.supply import Supply, sizes_of

# Below EVERMAP_DATA, or in shared/data beside the checkout.
ROOT = Path(os.environ.get("EVERMAP_DATA") or Path(evermap.__file__).parents[1] / "shared" / "data")
NEED_DATA = {
    "few-shot-omniglot": "omniglot-py",
    "class-incremental-clinc150": "clinc150",
    "class-incremental-fashion": "FashionMNIST",
    **{f"ctrl-s-{each}-published": "cifar-10-batches-py" for each in ("minus", "plus", "in", "out", "pl", "long")},
}
EMBEDDED = [name for name in library() if name not in NEED_DATA]
HERE = [
    *EMBEDDED,
    *(
        pytest.param(
            name, marks=pytest.mark.skipif(not (ROOT / folder).exists(), reason=f"there is no {ROOT / folder}")
        )
        for name, folder in NEED_DATA.items()
    ),
]


def planned(scenario: Scenario) -> tuple[TaskPlan, ...]:
    sizes = sizes_of(scenario.stream, scenario.name, ROOT)
    assert sizes is not None
    return plan(scenario.stream, scenario.seed, sizes)


@pytest.mark.parametrize("name", library())
def test_every_scenario_has_two_sizes(name: str) -> None:
    assert has_short(name)


@pytest.mark.parametrize("name", HERE)
def test_the_short_size_is_shorter(name: str) -> None:
    def work(scenario: Scenario) -> float:
        plans, cap = planned(scenario), scenario.stream.test_per_class or 10**6
        steps = int(scenario.strategies.get("scratch", {}).get("steps", 300))  # type: ignore[call-overload]
        return len(plans) * steps * cap

    default, short = load_scenario(name, data_root=ROOT), load_scenario(name, data_root=ROOT, size="short")
    assert short.name == f"{name}-short"
    assert work(short) < work(default)
    assert short.stream.setting is default.stream.setting


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("size", ["default", "short"])
def test_every_scenario_can_be_outlined(name: str, size: str) -> None:
    scenario = load_scenario(name, data_root=ROOT, size=size)
    page = outline(scenario, name, ROOT)
    assert len(page["tasks"]) == len(planned(scenario))
    assert all(task["samples"] > 0 and task["test"] > 0 for task in page["tasks"])
    assert page["origin"] == "evermap"


@pytest.mark.parametrize("name", HERE)
def test_few_shot_scenarios_have_query_samples_enough(name: str) -> None:
    for size in ("default", "short"):
        scenario = load_scenario(name, data_root=ROOT, size=size)
        if scenario.stream.layout == "few-shot" or name.startswith(("few-shot", "composite")):
            few = [each for each in planned(scenario) if "few-shot" in each.name and "again" not in each.name]
            assert few
            assert all(each.query >= 5 for each in few)


@pytest.mark.slow
@pytest.mark.parametrize("name", HERE)
def test_every_scenario_is_valid_in_both_sizes(name: str) -> None:
    assert set(validate(name, ROOT)["sizes"]) == {"default", "short"}


@pytest.mark.parametrize("name", NEED_DATA)
def test_without_its_data_a_scenario_says_what_is_missing(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match=r"(is|are) missing|there is no"):
        validate(name, tmp_path)


@pytest.mark.parametrize("size", ["default", "short"])
@pytest.mark.parametrize("name", HERE)
def test_no_sample_is_learned_in_one_task_and_asked_about_in_another(
    name: str, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their numbers, so that no transform hides it: drifting tasks show the images that they drift from."""
    scenario = load_scenario(name, data_root=ROOT, size=size)
    stream = build_stream(scenario.stream, scenario.seed, ROOT)
    taken: list[torch.Tensor] = []
    shape = stream.input_shape

    def note(self: Supply, index: torch.Tensor) -> torch.Tensor:
        taken.append(index)
        return torch.zeros(len(index), *shape)

    monkeypatch.setattr(Supply, "take", note)
    for _ in stream:
        pass
    learned, taken = set(torch.cat(taken).tolist()), []
    for concept in stream.concepts:
        stream.test(concept.index)
    asked = set(torch.cat(taken).tolist())
    assert learned
    assert asked
    assert not learned & asked


def test_the_composite_is_informative() -> None:
    plans = planned(load_scenario("composite"))
    names = {each.name for each in plans}
    back = [each for each in plans if "again" in each.name or "relabelled" in each.name]
    assert len(plans) >= 32
    assert len(back) >= len(plans) / 3
    assert sum("again" in each.name for each in back) >= 5
    assert sum("relabelled" in each.name for each in back) >= 3
    for each in back:  # the first visit is in the same stream, before it
        assert each.name.removesuffix(" again").removesuffix(" relabelled") in names
        assert sum(each.support) <= 60, "they come with few samples"
    assert [each.phase for each in plans][:7] == ["background"] * 6 + [None]
    stream = build_stream(load_scenario("composite").stream, 0)
    assert min(task["test"] for task in outline(load_scenario("composite"), "composite")["tasks"]) >= 300
    assert len(stream.test(0).y) >= 300


def test_names_of_stand_ins_are_not_those_of_the_published_streams() -> None:
    for name in library():
        scenario = load_scenario(name, check_names=False)
        if scenario.stream.layout == "ctrl":
            published = set(scenario.stream.roles) <= {"cifar10", "cifar100", "mnist", "dtd", "fashion-mnist", "svhn"}
            assert name.endswith("-published" if published else "-embedded")
            assert ("not CTrL's published stream" in scenario.description) != published
            if published:  # nothing is said of sizes: the format's defaults are the published ones
                told = {"large", "small", "few", "long_large", "tasks", "ways"} & scenario.stream.model_fields_set
                assert not told


def test_all_six_streams_of_ctrl_and_the_thirteen_of_the_notes_are_there() -> None:
    layouts = Counter(load_scenario(name).stream.layout for name in EMBEDDED)
    assert layouts["ctrl"] == 6
    streams = {load_scenario(name).stream.stream for name in EMBEDDED if name.startswith("ctrl-")}  # type: ignore[union-attr]
    assert streams == {"S-", "S+", "Sin", "Sout", "Spl", "Slong"}
    wanted = (
        "few-shot-glyphs related-large unrelated label-noise compression recurring-hidden blurry-digits long-glyphs"
    )
    wanted += " online-digits class-incremental-glyphs class-incremental-clinc150 sinusoids-shift composite"
    assert set(wanted.split()) | {"control-homogeneous", "control-random"} <= set(library())


def test_every_strategy_has_a_scenario_in_which_it_is_expected_to_win() -> None:
    first = {load_scenario(name, check_names=False).expected.partition(":")[0] for name in library()}
    first |= {word for each in first for word in each.replace(",", "").split()}
    assert {"scratch", "finetune", "prototype", "reuse", "distill", "multitask", "maml"} <= first


def test_the_random_control_has_labels_by_chance() -> None:
    stream = build_stream(load_scenario("control-random").stream, 0)
    for plan_, task in zip(stream.plans(), stream, strict=True):
        assert plan_.label_noise == 1 - 1 / task.outputs


def short_file(folder: Any, text: str) -> Any:
    path = folder / "my.toml"
    path.write_text('[stream]\nlayout = "split"\n' + text)
    return path


def test_changes_of_the_short_size_are_checked_like_the_file(tmp_path: Any) -> None:
    good = short_file(tmp_path, '[short]\n"stream.classes_per_task" = 5\n"agent.stem" = "patches"\n')
    scenario = load_scenario(good, ["stream.classes_per_task=4"], size="short")
    assert (scenario.name, scenario.agent.stem) == ("my-short", "patches")
    assert scenario.stream.classes_per_task == 4  # type: ignore[union-attr]  # what is set comes last
    assert load_scenario(good).stream.classes_per_task == 2  # type: ignore[union-attr]
    unquoted = "[short]\nstream.classes_per_task = 5\nagent.encoder_settings = { hidden = [8] }\n"
    same = load_scenario(short_file(tmp_path, unquoted), size="short")
    assert same.stream.classes_per_task == 5  # type: ignore[union-attr]
    assert same.agent.encoder_settings == {"hidden": [8]}
    for text, size, said in (
        (
            '[short]\n"stream.clases" = 5\n',
            "short",
            r"my\.toml \[short\]: stream\.clases: found 5; there is no such field",
        ),
        ('[short]\n"stream..x" = 5\n', "short", r"\[short\]: stream\.\.x: found 5; a path is needed"),
        ("", "short", r"short: it is not given; this recipe has no table \[short\]"),
    ):
        with pytest.raises(RecipeError, match=said):
            load_scenario(short_file(tmp_path, text), size=size)
