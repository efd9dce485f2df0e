"""The search for defaults: its grid, its choice, and what it writes into the table."""

import argparse
import importlib.util
import json
import tomllib
from pathlib import Path

import pytest

from evermap.scenarios.competitor import TABLE, parse, table

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("baselines_benchmark", ROOT / "benchmarks" / "baselines.py")
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)


@pytest.mark.parametrize("method", list(table()))
def test_every_point_of_the_grid_is_a_valid_agent(method):
    found = list(bench.points(method))
    assert len(found) >= 3 or method == "LaMAML"
    for point in found:
        assert dict(parse(bench.agent(method, point)).arguments) == point


TRAINED = [{"optimiser": "adam", "lr": 0.001}, {"optimiser": "adam", "lr": 0.003}, {"optimiser": "sgd", "lr": 0.1}]


@pytest.fixture(autouse=True)
def _three_ways_to_train(monkeypatch):
    monkeypatch.setattr(bench, "TRAINED", TRAINED)


def options(**given):
    return argparse.Namespace(**{"methods": ["Naive"], "settings": ["class-incremental"], "seeds": 2, **given})


def cells_of(scores):
    """Cells of Naive, trained in three ways, on both pilot seeds, with these incremental accuracies."""
    names = [bench.agent("Naive", point) for point in TRAINED]
    keys = [f"digits-class/{name}/{seed}" for seed in (100, 101) for name in names]
    return {key: {"incremental": score} for key, score in zip(keys, scores, strict=False)}


def test_the_best_mean_over_pilot_seeds_wins():
    found = bench.best(cells_of([0.5, 0.9, 0.1, 0.8, 0.3, 0.2]), options())  # means .65, .6, .15
    assert found == {"Naive": {"class-incremental": TRAINED[0]}}


def test_a_grid_that_was_not_measured_whole_decides_nothing():
    assert bench.best(cells_of([0.5, 0.9, 0.1, 0.8, 0.3]), options()) == {}


def test_what_is_written_is_read_as_a_default_and_replaces_what_was_there(tmp_path, monkeypatch):
    copy = tmp_path / "baselines.toml"
    copy.write_text(TABLE.read_text("utf-8"), "utf-8")
    monkeypatch.setattr(bench, "TABLE", copy)
    for rate in (0.1, 0.2):
        bench.write({"Naive": {"class-incremental": {"lr": rate}}})
    data = tomllib.loads(copy.read_text("utf-8"))
    assert data["defaults"]["Naive"]["class-incremental"] == {"lr": 0.2}
    before = tomllib.loads(TABLE.read_text("utf-8"))
    assert data["methods"] == before["methods"]
    for name, method in before.get("defaults", {}).items():
        if name != "Naive":
            assert data["defaults"][name] == method


def test_finished_cells_are_not_measured_again(tmp_path, monkeypatch, capsys):
    kept = tmp_path / "cells.json"
    kept.write_text(json.dumps(cells_of([0.5, 0.9, 0.1, 0.8, 0.3])))
    measured = []
    monkeypatch.setattr(bench, "measure", lambda *cell: measured.append(cell) or {"incremental": 0.4, "seconds": 0.0})
    bench.main(["--methods", "Naive", "--settings", "class-incremental", "--cells", str(kept)])
    assert measured == [("digits-class", "avalanche:Naive(optimiser='sgd', lr=0.1)", 101)]
    assert "Naive, class-incremental: {'optimiser': 'adam', 'lr': 0.001}" in capsys.readouterr().out
