"""The grids behind the defaults: what they change exists, cells are kept, differences are paired."""

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path

import pytest

import evermap
from evermap import registry

ROOT = Path(evermap.__file__).parent
SMALL = {"scratch": (("digits-split", {"lr": (0.1,), "shuffle": (False,)}), ("control-random", {"lr": (0.1,)}))}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("defaults_table", ROOT / "benchmarks" / "defaults.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def small(script, monkeypatch):
    monkeypatch.setattr(script, "GRIDS", SMALL)
    return script


def test_a_grid_changes_settings_that_exist_to_values_that_are_valid_and_not_the_default(script):
    assert set(script.GRIDS) <= set(registry.registered("strategy"))
    for name, grids in script.GRIDS.items():
        kind = registry.load("strategy", name)
        defaults = dataclasses.asdict(kind().settings)
        for setting, value in ((s, v) for _, grid in grids for s, values in grid.items() for v in values):
            assert value != defaults[setting], f"{name}.{setting}: the default itself is in every grid"
            kind(**{setting: value})


def test_no_seed_of_a_figure_is_used(script):
    assert {row["seed"] for row in script.cells(["scratch"], 3, "default")} == {100, 101, 102}


def test_finished_cells_are_kept_and_differences_are_paired(small, tmp_path, capsys):
    path = tmp_path / "cells.jsonl"
    given = ["--strategies", "scratch", "--seeds", "1", "--size", "short", "--cells", str(path)]
    assert small.main(given) == 0
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    changed = [("", None), ("lr", 0.1), ("shuffle", False), ("", None), ("lr", 0.1)]
    assert [(row["setting"], row["value"]) for row in rows] == changed
    assert [row["scenario"] for row in rows] == ["digits-split"] * 3 + ["control-random"] * 2
    assert all(row["tasks"] > 0 and 0 <= row["accuracy"] <= 1 for row in rows)
    said = capsys.readouterr()
    assert small.main(given) == 0
    assert capsys.readouterr().out == said.out
    assert len(path.read_text().splitlines()) == 5, "nothing is run twice"
    gap = 100 * (rows[1]["accuracy"] - rows[0]["accuracy"])
    assert f"| `lr` | `0.003` | `0.1` | {gap:+.2f} (one seed) |" in said.out


def test_the_table_by_hand(small):
    def row(setting, value, seed, accuracy, scenario="digits-split"):
        told = {"strategy": "scratch", "setting": setting, "value": value, "seed": seed, "accuracy": accuracy}
        return {**told, "scenario": scenario, "size": "short", "tasks": 5}

    rows = [row("", None, 100, 0.5), row("", None, 101, 0.7), row("lr", 0.1, 100, 0.6), row("lr", 0.1, 101, 0.6)]
    elsewhere = [row("", None, 100, 0.9, "control-random")]
    text = small.table([*rows, row("lr", 0.1, 102, 0.0), *elsewhere])
    assert "pilot seeds 100, 101, 5 tasks a run; default: 0.600 ± 0.1." in text
    assert "| `lr` | `0.003` | `0.1` | +0.00 ± 10 |" in text, "(+10, -10); the seed without a default does not count"
    assert "| `shuffle` | `True` | `False` | not run |" in text
    assert "`control-random` (size short), pilot seeds 100, 5 tasks a run; default: 0.900 (one seed)." in text
    assert small.table([]).count("Not run yet") == 2


def test_the_page_is_what_is_finished(script):
    page = script.PAGE.read_text("utf-8")
    assert script.into_page(page, script.table(script.finished(script.CELLS))) == page


def test_a_mistake_is_one_sentence(script, tmp_path, capsys):
    broken = tmp_path / "cells.jsonl"
    broken.write_text('{"recipe": 1}\n')
    for given, said in ((["--cells", str(broken)], "no file of finished cells"), (["--seeds", "0"], "at least 1")):
        assert script.main(given) == 2
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1
    with pytest.raises(script.UserError, match="marks"):
        script.into_page("nothing", "x")
