"""The table of all scenarios: finished cells are kept, and only cells of today's recipes count."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

import evermap

SCRIPT = Path(evermap.__file__).parent / "benchmarks" / "scenarios.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scenarios_table", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scenarios_table"] = module
    spec.loader.exec_module(module)
    return module


def row(script: ModuleType, agent: str, seed: int, accuracy: float, recipe: str, own: int = 5) -> str:
    cell = {"scenario": "digits-split", "size": "short", "agent": agent, "seed": seed, "recipe": recipe}
    return json.dumps({**cell, "accuracy": accuracy, "seconds": 1.0, "own": own})


def written(
    script: ModuleType, folder: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch, name: str = "digits-split"
) -> str:
    page = folder / "page.md"
    page.write_text("# Before\n\n<!-- table -->\nold\n<!-- end of table -->\n\nAfter.\n")
    given = [name, "--seeds", "2", "--cells", str(folder / "cells.jsonl"), "--page", str(page), *arguments]
    monkeypatch.setattr(sys, "argv", ["scenarios.py", *given])
    script.main()
    return page.read_text()


def test_the_table_has_means_with_errors_and_says_what_is_missing(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, _ = script.wanted(["digits-split"], "short", range(2))
    lines = [
        row(script, "fixed:scratch", 0, 0.5, cells["digits-split", "fixed:scratch", 0]),
        row(script, "fixed:scratch", 1, 0.7, cells["digits-split", "fixed:scratch", 1]),
        row(script, "fixed:prototype", 0, 0.9, cells["digits-split", "fixed:prototype", 0]),
        row(script, "fixed:prototype", 1, 0.1, "of another recipe"),
        '{"half a li',
    ]
    (tmp_path / "cells.jsonl").write_text("\n".join(lines))
    page = written(script, tmp_path, ["--table-only"], monkeypatch)
    assert page.startswith("# Before\n")
    assert page.endswith("\n\nAfter.\n")
    assert "old" not in page
    assert "| digits-split | task-incremental | 5 | 1×8×8 | 0.600 ± 0.100 | n/a (not run) | **0.900** |" in page
    assert "3 of 6 cells" in page


def test_a_narrow_table_has_the_agents_that_are_asked_for(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, _ = script.wanted(["digits-split"], "short", [100], ["probe", "fixed:reuse"])
    assert list(cells) == [("digits-split", "probe", 100), ("digits-split", "fixed:reuse", 100)]
    (tmp_path / "cells.jsonl").write_text(row(script, "probe", 100, 0.5, cells["digits-split", "probe", 100]))
    asked = ["--agents", "probe", "fixed:reuse", "--first-seed", "100", "--seeds", "1", "--table-only", "--show"]
    page = written(script, tmp_path, [*asked, "seconds"], monkeypatch)
    assert "Size `short`, seed 100, 1 of 2 cells." in page
    assert "| scenario | probe | fixed:reuse |" in page
    assert "| digits-split | 1.0 | n/a (not run) |" in page
    with pytest.raises(
        SystemExit, match=r"page\.md: the lines <!-- winners --> and <!-- end of winners --> are needed"
    ):
        written(script, tmp_path, ["--table-only", "--part", "winners"], monkeypatch)


def test_what_was_expected_is_named_by_the_first_sentence(script: ModuleType) -> None:
    assert script.expected_of("reuse: better than scratch.") == ["reuse"]
    assert script.expected_of("prototype on the stem, or maml. finetune was expected") == ["maml", "prototype"]
    assert script.expected_of("None: all agree, prototype as well.") == []


@pytest.mark.parametrize(
    ("expected", "others", "said"),
    [
        ((0.80, 0.82, 0.90), (0.70, 0.72, 0.80), "+10.0 ± 0.0 | held"),
        ((0.70, 0.72, 0.80), (0.80, 0.82, 0.90), "-10.0 ± 0.0 | failed"),
        # Differences 1, 2 and 6 points: mean 3, standard deviation √7, t(2; 97.5 %) = 4.303, half = 4.303 · √(7/3).
        ((0.71, 0.72, 0.86), (0.70, 0.70, 0.80), "+3.0 ± 6.6 | undecided"),
    ],
)
def test_an_expectation_held_or_failed_by_more_than_its_interval(
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    expected: tuple[float, ...],
    others: tuple[float, ...],
    said: str,
) -> None:
    agents = ["fixed:reuse", "fixed:scratch", "fixed:finetune", "fixed:multitask"]
    cells, _ = script.wanted(["recurring-hidden"], "short", range(3), agents)
    values = {"fixed:reuse": expected, "fixed:scratch": others, "fixed:finetune": (0.1,) * 3}
    lines = [
        row(script, agent, seed, value[seed], cells["recurring-hidden", agent, seed])
        for agent, value in values.items()
        for seed in range(3)
    ]
    # What never applied does not count, however right its stand-in was.
    lines += [
        row(script, "fixed:multitask", seed, 1.0, cells["recurring-hidden", "fixed:multitask", seed], own=0)
        for seed in range(3)
    ]
    named = "\n".join(lines).replace('"digits-split"', '"recurring-hidden"')
    (tmp_path / "cells.jsonl").write_text(named)
    asked = ["--seeds", "3", "--agents", *agents, "--table-only", "--show", "expected"]
    page = written(script, tmp_path, asked, monkeypatch, "recurring-hidden")
    assert f"| recurring-hidden | reuse | reuse | scratch | {said} |" in page


def test_nothing_expected_and_a_single_seed_are_said(script: ModuleType) -> None:
    cells = {("a", agent, 0): "recipe" for agent in ("fixed:reuse", "fixed:scratch")}
    done = {key: {"accuracy": 0.5, "own": 1} for key in cells}
    assert script.verdict("a", [], cells, done) == ["n/a", "reuse", "n/a", "n/a (nothing to compare)"]
    assert script.verdict("a", ["scratch"], cells, done) == ["scratch", "reuse", "n/a", "n/a (one seed)"]


@pytest.mark.slow
def test_a_second_call_goes_on(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = written(script, tmp_path, ["--jobs", "1"], monkeypatch)
    assert "6 of 6 cells" in page
    kept = (tmp_path / "cells.jsonl").read_text()
    (tmp_path / "cells.jsonl").write_text("".join(kept.splitlines(keepends=True)[:5]))
    assert written(script, tmp_path, ["--jobs", "1"], monkeypatch) == page
    assert len((tmp_path / "cells.jsonl").read_text().splitlines()) == 6


def test_scenarios_without_their_data_are_left_out_with_the_reason(script: ModuleType, tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text('[stream]\nlayout = "split"\nsource = "nowhere"\n[short]\nseed = 1\n')
    cells, left_out = script.wanted([str(broken)], "short", [0])
    assert cells == {}
    assert "no such source" in left_out[str(broken)]
    assert script.reasons({"a": "no file.", "b": "no class", "c": "no file."}) == [
        "`a`, `c` (no file)",
        "`b` (no class)",
    ]
