"""The page on the format of scenarios is written from the schema, and is not stale."""

import importlib.util
import typing
from pathlib import Path
from types import ModuleType

import pytest

import evermap
from evermap.scenarios.scenario import AgentSpec, BudgetSpec, Scenario
from evermap.streams.spec import AnyStreamSpec, TaskSpec, Transforms

SCRIPT = Path(evermap.__file__).parent / "docs" / "scenario_format.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scenario_format", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_not_stale(script: ModuleType) -> None:
    assert script.PAGE.read_text() == script.page(), "write it again: python -P docs/scenario_format.py"


def test_every_field_of_every_layout_is_on_it(script: ModuleType) -> None:
    page = script.page()
    for model in typing.get_args(AnyStreamSpec):
        assert model.__doc__.split("\n")[0] in page
        for name in model.model_fields:
            assert f"`stream.{name}`" in page
    for model, prefix in (
        (Scenario, ""),
        (AgentSpec, "agent."),
        (BudgetSpec, "budget."),
        (TaskSpec, "stream.tasks.N."),
    ):
        for name in model.model_fields:
            assert f"| `{prefix}{name}` |" in page
    for name in Transforms.model_fields:
        assert f"`stream.tasks.N.transforms.{name}`" in page


def test_types_bounds_and_defaults_are_said_in_tomls_words(script: ModuleType) -> None:
    rows = {line.split("|")[1].strip(): line for line in script.page().splitlines() if line.startswith("| `")}
    assert "| number, ≥ 0, < 1 | `0.2` |" in rows["`agent.held_out`"]
    assert "| needed |" in rows["`stream.angles`"]
    assert "| left out |" in rows["`budget.flops`"]
    assert "list of list of whole number" in rows["`stream.tasks.N.groups`"]
    assert '| `"all"` |' in rows["`stream.tasks.N.train`"]
    assert "list [whole number, whole number]" in rows["`stream.large`"]
