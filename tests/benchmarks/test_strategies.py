"""The table of strategies: which recipe an agent's name stands for."""

import importlib.util
from pathlib import Path

import pytest

import evermap
from evermap.scenarios.scenario import load_scenario

FILE = Path(evermap.__file__).parent / "benchmarks" / "strategies.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("strategies_table", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_agents_are_split_at_commas_outside_parentheses(script):
    text = "auto,fixed:scratch, fixed:multitask(weights=dwa, surgery=pcgrad),fixed:reuse"
    assert script.agents_in(text) == [
        "auto",
        "fixed:scratch",
        "fixed:multitask(weights=dwa, surgery=pcgrad)",
        "fixed:reuse",
    ]


def test_settings_between_parentheses_are_those_of_the_strategy(script):
    agent = "fixed:multitask(weights=dwa, surgery=pcgrad)"
    scenario = load_scenario("joint-digits", script.changes_of(agent))
    assert scenario.agent.selector == "fixed:multitask"
    settings = scenario.strategies["multitask"]
    assert (settings["weights"], settings["surgery"]) == ("dwa", "pcgrad")
    assert script.changes_of("auto") == ["agent.selector=auto"]
