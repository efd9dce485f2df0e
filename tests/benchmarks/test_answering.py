"""The benchmarks of answering without a label: they measure what they say, and go on where they stopped."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[dict[str, ModuleType]]:
    path = list(sys.path)
    yield {name: loaded(name) for name in ("class_incremental", "answering")}
    sys.path[:] = path
    for name in ("class_incremental", "answering", "speed"):
        sys.modules.pop(name, None)


def test_steps_and_joint_training_answer_alike_and_beat_fine_tuning(benchmarks, tmp_path, capsys):
    cells = tmp_path / "cells.json"
    command = ["--sets", "digits", "--seeds", "1", "--cells", str(cells), "--data", str(tmp_path)]
    benchmarks["class_incremental"].main([*command, "--methods", "evermap", "evermap, joint"])
    benchmarks["class_incremental"].main([*command, "--methods", "fine-tuning"])
    found = {key.split("/")[1]: value[0] for key, value in json.loads(cells.read_text()).items()}
    assert found["evermap"] == found["evermap, joint"] > 0.98
    assert found["fine-tuning"] < 0.5
    table = capsys.readouterr().out.rpartition("| digits | accuracy")[2]
    assert f"| evermap | {found['evermap']:.4f} ± 0.0000 |" in table
    cells.write_text(json.dumps({"digits/fine-tuning/0": [0.125, 0, 1]}))
    benchmarks["class_incremental"].main([*command, "--methods", "fine-tuning"])
    assert "| fine-tuning | 0.1250" in capsys.readouterr().out, "a finished cell is not measured again"


def test_data_that_is_not_there_is_left_out(benchmarks, tmp_path, capsys):
    benchmarks["class_incremental"].main(
        ["--sets", "fashion-mnist", "--data", str(tmp_path), "--cells", str(tmp_path / "cells.json")]
    )
    assert "fashion-mnist: its files are not in" in capsys.readouterr().out


def test_borders_and_gate_are_measured(benchmarks, tmp_path, capsys):
    cells = tmp_path / "cells.json"
    for only in ("borders/digits, 512 random/10", "gate/digits, rotations by 5°/probe"):
        benchmarks["answering"].main(["--seeds", "1", "--only", only, "--cells", str(cells), "--data", str(tmp_path)])
    found = json.loads(cells.read_text())
    assert set(found) == {
        *(f"borders/digits, 512 random/{n}/0" for n in (10, 100)),
        "gate/digits, rotations by 5°/probe/0",
    }
    few, many = (found[f"borders/digits, 512 random/{n}/0"] for n in (10, 100))
    assert all(0.8 < a < b < 1 for a, b in zip(few, many, strict=True))
    alone, decided, _, by_anchor, opened = found["gate/digits, rotations by 5°/probe/0"]
    assert (opened, by_anchor) == (0.0, 1.0), "domains that hardly differ are better pooled"
    assert alone == decided > 0.9
    assert "| digits, rotations by 5° | probe | " in capsys.readouterr().out


def test_anchors_are_compared_on_characters(benchmarks, tmp_path, capsys):
    cells = tmp_path / "cells.json"
    only = "meta/drawn characters, 10 × 6/raw on the stem"
    benchmarks["answering"].main(["--seeds", "1", "--only", only, "--cells", str(cells), "--data", str(tmp_path)])
    accuracy, frozen, _ = json.loads(cells.read_text())[f"{only}/0"]
    assert accuracy > 0.85
    assert frozen < 0, "what is drawn is not trained"
    assert f"| drawn characters, 10 × 6 | raw on the stem | {accuracy:.4f} | – |" in capsys.readouterr().out


def test_icarl_runs_and_passes_can_be_piloted(benchmarks, tmp_path):
    cells = tmp_path / "cells.json"
    command = ["--sets", "digits", "--seeds", "1", "--first", "100", "--cells", str(cells), "--data", str(tmp_path)]
    benchmarks["class_incremental"].main([*command, "--methods", "ICaRL 500", "--passes", "2"])
    ((key, (accuracy, kept, _, passes)),) = json.loads(cells.read_text()).items()
    assert (key, passes) == ("digits/ICaRL 500/100", 2)
    assert accuracy > 0.4
    assert kept == 500 * 64 * 4


def test_cells_of_another_number_of_passes_are_made_again(benchmarks):
    is_done = benchmarks["class_incremental"].is_done
    cells = {"new": [0.9, 1.0, 2.0, 5], "former": [0.9, 1.0, 2.0]}
    assert is_done(cells, "new", 5)
    assert not is_done(cells, "new", 2)
    assert is_done(cells, "former", 2)
    assert not is_done(cells, "missing", 2)
