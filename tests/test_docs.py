"""What README and docs say is true: their code is the examples' code, their names and links exist."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from evermap import registry
from evermap.scenarios.scenario import library, load_scenario

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_strategy_in_the_readme_is_the_example():
    code = next(block for block in blocks("python") if "class LinearProbe" in block)
    assert code in (ROOT / "examples" / "linear_probe.py").read_text()
    body = [line for line in code.splitlines() if line.strip()]
    assert len(body) <= 15


def test_the_scenario_in_the_readme_is_the_example():
    assert blocks("toml")[0] in (ROOT / "examples" / "my_stream.toml").read_text()
    assert load_scenario(ROOT / "examples" / "my_stream.toml").stream.layout == "tasks"


def test_every_strategy_is_in_the_table():
    named = re.findall(r"^\| `([\w-]+)` \|", README, flags=re.MULTILINE)
    assert sorted(named) == sorted(registry.registered("strategy"))


def test_every_strategy_has_a_section_with_its_settings_as_they_are():
    page = (ROOT / "docs" / "strategies.md").read_text()
    assert sorted(re.findall(r"^## ([\w-]+)$", page, flags=re.MULTILINE)) == sorted(registry.registered("strategy"))
    assert sorted(re.findall(r"<!-- settings of ([\w-]+) -->", page)) == sorted(registry.registered("strategy"))
    spec = importlib.util.spec_from_file_location("docs_settings", ROOT / "docs" / "settings.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    assert page == tables.filled(page), "stale: run `python docs/settings.py`"


def test_the_readme_names_scenarios_that_exist():
    ran = {name for name in re.findall(r"evermap run ([\w-]+)(?=[ \n])", README) if name != "examples"}
    assert ran
    assert ran <= set(library())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_main_loop_in_the_docs_is_the_one_that_runs():
    page = (ROOT / "docs" / "architecture.md").read_text()
    code = next(block for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL))
    plain = [re.sub(r"\s+", " ", line.split("#")[0]).strip() for line in code.splitlines()]
    source = (ROOT / "scenarios" / "run.py").read_text()
    loop = [re.sub(r"\s+", " ", line.split("#")[0]).strip() for line in source.splitlines()]
    start = loop.index(plain[0])
    assert loop[start : start + len(plain)] == plain


@pytest.mark.slow
def test_the_example_strategy_runs_on_the_example_stream(tmp_path):
    command = ["run", str(ROOT / "examples" / "my_stream.toml"), "--plugin", str(ROOT / "examples" / "linear_probe.py")]
    command += ["--selector", "fixed:linear-probe", "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-m", "evermap", *command], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "linear-probe from encoder-" in done.stdout
    assert (tmp_path / "run" / "report.html").exists()


def test_what_strategies_reach_on_the_demonstration_is_read_from_its_page():
    spec = importlib.util.spec_from_file_location("docs_settings", ROOT / "docs" / "settings.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    page = "| task | auto | fixed:reuse |\n|---|---|---|\n| one | **9** | 6 |\n| mean ± s.e. | 94.4 ± 0.4 | 61 |\n"
    assert tables.reached(page) == {"task": "mean ± s.e.", "auto": "94.4 ± 0.4", "reuse": "61"}
    shown = (ROOT / "docs" / "strategies.md").read_text()
    assert sorted(re.findall(r"<!-- demo of ([\w-]+) -->", shown)) == sorted(registry.registered("strategy"))
