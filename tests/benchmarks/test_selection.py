"""The page of selection: what is computed from finished runs, and one real run of the smallest kind."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import evermap
from evermap.scenarios.scenario import library

SCRIPT = Path(evermap.__file__).parent / "benchmarks" / "selection.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("selection_page", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["selection_page"] = module
    spec.loader.exec_module(module)
    return module


def measured(script, name, auto, fixed, **more):
    """A scenario of four tasks whose agents have these values per seed."""
    seeds = tuple(range(len(auto)))
    values = {"auto": tuple(auto), **{f"fixed:{key}": tuple(each) for key, each in fixed.items()}}
    values |= {"probe": tuple(v - 0.01 for v in auto)}
    ones = dict.fromkeys(values, 1.0)
    given = {"naive": tuple(v + 0.02 for v in auto), "split": tuple(v + 0.01 for v in auto), **more}
    return script.Measured(
        name, seeds, 4, values, choosing=(0.1, 0.25), whole=(0.9, 1.1), flops=ones, seconds=ones, **given
    )


def test_the_gain_is_over_the_best_fixed_strategy_of_the_other_seeds(script):
    """On seeds 0 and 2 scratch is best (mean .75 against .7), on 1 and 3 reuse: each is valued on the other half."""
    found = measured(script, "a", [0.9] * 4, {"scratch": [0.8, 0.5, 0.7, 0.5], "reuse": [0.7, 0.6, 0.7, 0.6]})
    assert found.over_best_fixed() == pytest.approx([0.2, 0.4, 0.2, 0.4])


def test_the_page_shows_losses_first_and_counts_what_passed_the_budget(script):
    wins = measured(script, "wins", [0.9, 0.92, 0.91], {"scratch": [0.8, 0.8, 0.8], "reuse": [0.5, 0.5, 0.5]})
    loses = measured(script, "loses", [0.7, 0.72, 0.71], {"scratch": [0.8, 0.8, 0.8], "reuse": [0.5, 0.5, 0.5]})
    agents = ["fixed:scratch", "fixed:reuse", "probe"]
    text = script.page([wins, loses], ["wins", "loses", "missing"], agents, (0, 1, 2), "short", "command")
    assert "6 of 9 pairs of scenario and seed are there" in text
    assert text.index("| loses | 4 × 3 | 80.0 (scratch) | 71.0 | -9.0 |") < text.index("| wins | 4 × 3 |")
    assert "| loses | 0.17, 0.25 | 1.00, 1.10 | 1, 1 of 2 |" in text
    assert "Pairs are scenarios (means over seeds): 2 of them cannot give a p below 0.500, 1.000 after" in text
    assert "| probe | +1.0 | 2 | 1.000 |" in text


def test_from_six_seeds_on_the_seeds_are_tested(script):
    auto = [0.90, 0.92, 0.91, 0.93, 0.94, 0.95]
    found = measured(script, "a", auto, {"scratch": [0.8] * 6})
    text = "\n".join(script._pairs([found], ["fixed:scratch"]))
    assert "Pairs are seeds (means over scenarios): 6 of them cannot give a p below 0.031" in text
    assert f"| fixed:scratch | {100 * (np.mean(auto) - 0.8):+.1f} | 6 | 0.031 |" in text


def test_choosing_is_everything_but_the_winners_own_part(script):
    def tried(strategy, flops):
        return {"strategy": strategy, "source": None, "flops": flops}

    events = [
        {"event": "TaskStarted", "task": 0, "budget": 100.0},
        {"event": "Profiled", "task": 0, "flops": 8.0},
        {"event": "Chosen", "task": 0, "flops": 20.0, "strategy": "a", "source": None}
        | {"tried": [tried("a", 9.0), tried("b", 5.0)]},
        {"event": "Learned", "task": 0, "total_flops": 90.0},
    ]
    record = type("Record", (), {"events": events})
    assert script._shares(record) == [(pytest.approx(0.19), pytest.approx(0.9))]


def test_what_the_page_is_about(script):
    assert set(script.FULL) <= set(library())
    assert len(script.FIRST) == 6
    assert script.family_of("ctrl-s-out-embedded") == script.family_of("ctrl-s-minus-embedded")
    assert script.family_of("demo") == "demo"


@pytest.mark.slow
def test_a_real_run_of_one_scenario(script, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table -->\n<!-- end of table -->\nafter\n")
    given = ["--scenario", "digits-split", "--size", "short", "--seeds", "2", "--jobs", "2", "--other", "probe"]
    assert script.main([*given, "--page", str(page)]) == 0
    assert "2 of 2 pairs of scenario and seed are there" in page.read_text()
    assert page.read_text().startswith("before")
    assert script.main([*given, "--page", str(page), "--table-only"]) == 0
