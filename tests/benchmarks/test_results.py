"""The page of results: finished cells are kept, impossible pairs are left out, and the page counts."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

import evermap
from evermap.scenarios.cells import Grid, cells_of
from evermap.scenarios.scenario import library

sys.path.insert(0, str(Path(__file__).parent.parent / "scenarios"))
from told_runs import write_run  # beside the tests of what reads records

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


def test_what_the_page_is_about(script):
    assert set(script.SCENARIOS) <= set(library())
    assert len(script.COMPETITORS) >= 12
    assert len(set(script.AGENTS)) == len(script.AGENTS)
