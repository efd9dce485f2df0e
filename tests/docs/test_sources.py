"""docs/sources.md names every source and setting, and what it shows works."""

import dataclasses
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from evermap import registry
from evermap.scenarios.scenario import Scenario, load_scenario
from evermap.streams.source import make_source

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "sources.md").read_text()
RECIPES = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
SOURCES = list(registry.registered("source"))


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_and_every_setting_of_it_is_described(name: str) -> None:
    assert f"`{name}`" in PAGE
    kind = registry.load("source", name)
    for field in dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ():
        assert re.search(rf"`[^`]*\b{field.name}\b[^`]*`", PAGE), field.name


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_is_valid(recipe: str) -> None:
    scenario = Scenario.model_validate({"name": "shown", **tomllib.loads(recipe)})
    make_source(scenario.stream.source, scenario.stream.source_settings, "docs/sources.md")


def test_the_examples_table_is_there_and_is_described() -> None:
    scenario = load_scenario(ROOT / "examples" / "my_table.toml")
    assert scenario.stream.source_settings["path"] == str(ROOT / "examples" / "iris.csv")
    assert scenario.description
    assert scenario.expected


@pytest.mark.slow
def test_the_example_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "evermap", "run", str(ROOT / "examples" / "my_table.toml"), "--out", "here"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "all three" in done.stdout


def test_the_source_that_is_shown_is_one(tmp_path: Path) -> None:
    code = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL) if "class Moons" in block)
    head = (
        "from dataclasses import dataclass\nfrom pathlib import Path\nfrom typing import ClassVar\nimport torch\n"
        "from sklearn.datasets import make_moons\n"
        "from evermap.streams.source import Source, SourceData, source_setting\n"
    )
    (tmp_path / "moons.py").write_text(head + code)
    (tmp_path / "moons.toml").write_text('[stream]\nsource = "moons"\nlayout = "split"\n')
    command = [sys.executable, "-m", "evermap", "run", "moons.toml", "--plugin", "moons.py", "--selector"]
    command += ["fixed:prototype", "--out", "here"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "here" / "summary.json").read_text())
    assert summary["tasks"][0]["accuracy"] > 0.8
