"""The page of results: finished cells are kept, impossible pairs are left out, and the page counts."""

import importlib.util
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

import evermap
from evermap.scenarios.cells import Grid, cells_of
from evermap.scenarios.compare import Sitting
from evermap.scenarios.comparison import compare
from evermap.scenarios.scenario import library, load_scenario

sys.path.insert(0, str(Path(__file__).parent.parent / "scenarios"))
from told_runs import told, write_run  # beside the tests of what reads records

SCRIPT = Path(evermap.__file__).parent / "benchmarks" / "results.py"
TINY = '[stream]\nlayout = "split"\nclasses_per_task = 5\ntrain_per_class = 12\ntest_per_class = 10\n'


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("results_page", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["results_page"] = module
    spec.loader.exec_module(module)
    return module


def written(script: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    agents = ["--with", "fixed:scratch", "--with", "fixed:prototype", "--with", "fixed:none-such"]
    given = ["tiny.toml", "--size", "default", "--out", "cells", "--page", "page.md", *agents, *arguments]
    monkeypatch.setattr(sys, "argv", ["results.py", *given])
    script.main()
    return Path("page.md").read_text()


def test_the_page_says_how_many_cells_are_there(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(TINY)
    page = written(script, monkeypatch, "--seeds", "2", "--table-only")
    assert "**0 of 4 cells** (scenario, agent, seed) are there: 4 are missing" in page
    assert (
        "- tiny.toml with fixed:none-such: --set: agent.selector: found 'none-such'; there is no such strategy" in page
    )
    cells = cells_of(Grid(("tiny.toml",), ("fixed:scratch", "fixed:prototype"), (0, 1)), Path("cells"))
    for cell in cells[:3]:
        write_run(cell.folder, cell.agent, cell.seed, scenario="tiny")
    page = written(script, monkeypatch, "--seeds", "2", "--table-only")
    assert "**3 of 4 cells** (scenario, agent, seed) are there: 1 are missing" in page
    assert "| fixed:scratch | 75.0 ± 0.0 | 10.0 ± 0.0 |" in page
    write_run(cells[3].folder, cells[3].agent, cells[3].seed, scenario="tiny")
    page = written(script, monkeypatch, "--seeds", "2")  # nothing is missing: no process is started
    assert "**4 of 4 cells** (scenario, agent, seed) are there: all of them" in page


def test_one_table_stands_at_equal_bytes(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(TINY)
    grid = Grid(("tiny.toml",), ("fixed:scratch", "fixed:prototype"), (0, 1))
    for cell in cells_of(grid, Path("cells")):
        write_run(cell.folder, cell.agent, cell.seed, scenario="tiny")
        events = (cell.folder / "events.jsonl").read_text()
        (cell.folder / "events.jsonl").write_text(events.replace('"store_bytes": 200', '"store_bytes": 5000000'))
    planned = Sitting(grid, Path("cells"), 1, equal_to="fixed:scratch")
    planned.comparison()
    assert [cell.name for cell in planned.bounded] == ["fixed:prototype within the bytes of fixed:scratch"] * 2
    for cell in planned.bounded:
        write_run(cell.folder, cell.agent, cell.seed, scenario="tiny")
    page = written(script, monkeypatch, "--seeds", "2", "--table-only", "--equal-bytes-to", "fixed:scratch")
    _, equal = page.split("**At equal bytes. tiny: means over seeds 0, 1, ± half the 95 % interval**")
    assert "| fixed:prototype within the bytes of fixed:scratch | 75.0 ± 0.0 |" in equal
    assert "--equal-bytes-to 'fixed:scratch'" in page
    assert "At equal bytes" not in written(script, monkeypatch, "--seeds", "2", "--table-only")


def test_published_figures_stand_beside_the_nearest_scenario(script):
    runs = [
        told(agent, seed, accuracy, scenario=scenario)
        for scenario, agent, accuracy in (
            ("digits-class-short", "avalanche:GDumb", 0.9),
            ("class-incremental-fashion", "avalanche:GDumb", 0.8),
            ("digits-split", "avalanche:GDumb", 0.7),  # task-incremental: no figure is about that
            ("digits-class-short", "avalanche:MAS", 0.2),  # nobody's figure is known
        )
        for seed in (0, 1)
    ]
    page = script.published(compare(runs))
    lines = [line for line in page.splitlines() if line.startswith("| avalanche")]
    assert lines == [
        "| avalanche:GDumb | Split MNIST, class-incremental | 97 | 97 | 90.0 ± 0.0 (digits-class-short); "
        "80.0 ± 0.0 (class-incremental-fashion) | as for Split MNIST, class-incremental | Prabhu 2020, ECCV |"
    ]
    assert page.count("\n- ") == 2
    assert script.published(compare(runs[-2:])) == ""


def test_every_published_figure_is_of_something_that_runs_here_and_has_a_source(script):
    data = tomllib.loads(script.PUBLISHED.read_text())
    assert {name for each in data["benchmarks"].values() for name in each["nearest"]} <= set(script.SCENARIOS)
    for each in data["figures"]:
        setting = each["benchmark"].rsplit(", ")[-1]
        if each["method"] == "avalanche:GEM" and find_spec("quadprog") is None:
            continue
        (name, *_) = data["benchmarks"][each["benchmark"]]["nearest"]
        assert load_scenario(name, [f"agent.selector={each['method']}"]).stream.setting.value == setting
        assert {"published", "avalanche"} & each.keys()
        assert all(0 < each[who] < 1 for who in ("published", "avalanche") if who in each)
        assert each["source"]


def test_what_the_page_is_about(script):
    assert set(script.SCENARIOS) <= set(library())
    assert len(script.COMPETITORS) >= 12
    assert len(set(script.AGENTS)) == len(script.AGENTS)
