"""Where a recipe's data are looked for, and what is said where they are not."""

from pathlib import Path

import numpy as np
import pytest

from evermap.errors import DataMissing, RecipeError
from evermap.scenarios.scenario import load_scenario, to_toml

RECIPE = """
[stream]
layout = "split"
classes_per_task = 2
source = "npz"
source_settings = { path = "data/mine.npz" }
"""


def arrays(path: Path, classes: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, x=np.random.default_rng(0).normal(size=(10 * classes, 3)), y=np.arange(10 * classes) % classes)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("recipes", "root", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "recipes" / "my.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "recipes" / "my.toml"


def test_a_path_is_relative_to_the_recipe_then_to_the_data_root(recipe: Path, tmp_path: Path) -> None:
    arrays(tmp_path / "root" / "data" / "mine.npz")
    found = load_scenario(recipe, data_root=tmp_path / "root").stream.source_settings
    assert found == {"path": str(tmp_path / "root" / "data" / "mine.npz")}
    arrays(recipe.parent / "data" / "mine.npz")
    found = load_scenario(recipe, data_root=tmp_path / "root").stream.source_settings
    assert found == {"path": str(recipe.parent / "data" / "mine.npz")}


def test_the_record_of_a_recipe_finds_the_same_file_from_anywhere(recipe: Path, tmp_path: Path) -> None:
    arrays(recipe.parent / "data" / "mine.npz")
    scenario = load_scenario(recipe)
    (tmp_path / "elsewhere" / "my.toml").write_text(to_toml(scenario))
    assert load_scenario("my.toml") == scenario


def test_a_path_on_the_command_line_is_relative_to_the_working_folder(recipe: Path, tmp_path: Path) -> None:
    """Also where the file's own is missing; what the recipe lies beside comes next."""
    arrays(tmp_path / "elsewhere" / "other.npz")
    change = ["stream.source_settings.path=other.npz"]
    assert load_scenario(recipe, change).stream.source_settings == {"path": str(tmp_path / "elsewhere" / "other.npz")}
    (tmp_path / "elsewhere" / "other.npz").rename(recipe.parent / "other.npz")
    assert load_scenario(recipe, change).stream.source_settings == {"path": str(recipe.parent / "other.npz")}


def test_what_is_missing_is_named_with_file_and_field(recipe: Path, tmp_path: Path) -> None:
    for overrides in ([], ["seed=3"]):  # a change of something else does not make it the command line's fault
        with pytest.raises(DataMissing) as missing:
            load_scenario(recipe, overrides, data_root=tmp_path / "root")
        said = str(missing.value)
        assert f"{recipe}: stream.source_settings.path: found 'data/mine.npz'; there is no " in said
        assert f"{recipe.parent}/data/mine.npz or {tmp_path}/root/data/mine.npz" in said
    with pytest.raises(DataMissing, match=r"--set: stream\.source_settings\.path: found 'gone\.npz'"):
        load_scenario(recipe, ["stream.source_settings.path=gone.npz"])


def test_sizes_are_checked_before_anything_is_loaded(recipe: Path) -> None:
    arrays(recipe.parent / "data" / "mine.npz", classes=3)
    with pytest.raises(RecipeError, match=r"--set: stream\.classes_per_task: found 4; there are 3 classes"):
        load_scenario(recipe, ["stream.classes_per_task=4"])


def test_a_stem_that_does_not_fit_the_kind_is_refused(recipe: Path) -> None:
    arrays(recipe.parent / "data" / "mine.npz")
    with pytest.raises(RecipeError, match=r"agent\.stem: found 'patches'; the inputs of npz are of the kind \"table\""):
        load_scenario(recipe, ["agent.stem=patches"])


@pytest.mark.parametrize("change", ["rotate = 90.0", "blur = 1.0", "invert = true", "noise = 0.1"])
def test_transforms_that_do_not_fit_the_kind_are_refused(recipe: Path, change: str) -> None:
    arrays(recipe.parent / "data" / "mine.npz")
    name = change.partition(" ")[0]
    tasks = f'\n[[stream.tasks]]\nname = "a"\ntransforms = {{ {change} }}\n'
    recipe.write_text(RECIPE.replace('"split"\nclasses_per_task = 2', '"tasks"') + tasks)
    with pytest.raises(RecipeError, match=rf"stream\.tasks\.0\.transforms\.{name}: found .*only images.* have it"):
        load_scenario(recipe)
    recipe.write_text(RECIPE.replace('"split"\nclasses_per_task = 2', '"tasks"') + tasks.replace(change, "permute = 1"))
    load_scenario(recipe)  # the columns of a table can stand in any order


def test_a_record_can_be_read_without_its_data(recipe: Path) -> None:
    assert load_scenario(recipe, check_names=False).stream.source_settings == {"path": "data/mine.npz"}
