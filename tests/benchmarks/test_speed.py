import gzip
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

FILE = Path(__file__).parents[2] / "benchmarks" / "speed.py"


@pytest.fixture(scope="module")
def speed() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("benchmark_speed", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_all_do_the_same_work_and_are_compared(speed, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(speed.__dict__, "processor", lambda: "a processor")
    out = tmp_path / "seconds.json"
    sizes = ["--train", "40", "--test", "20", "--batch-size", "16", "--eval-batch", "32", "--fused"]
    speed.main(["--data", str(tmp_path), "--repeats", "1", *sizes, "--json", str(out)])
    shown = capsys.readouterr().out
    assert "scikit-learn's digits, repeated: 400 training samples in 5 tasks" in shown
    assert "Batches of 16 to train (25 steps), of 32 to test; AdamW fused for all" in shown
    (measured,) = json.loads(out.read_text())
    assert list(measured["rounds"]) == ["evermap", "evermap as it comes", "avalanche", "plain"]
    for (took,) in measured["rounds"].values():
        assert took["steps"] == 25
        assert took["accuracy"] > 0.6  # five tasks of two classes
        assert {"train", "evaluate", "last row", "all"} == set(took["wall"]) == set(took["cpu"])
        assert took["wall"]["all"] >= took["wall"]["train"] + took["wall"]["evaluate"] > took["wall"]["last row"] > 0
    assert sum(line.startswith("| evermap") for line in shown.splitlines()) == 16


def test_ratios_are_paired_by_round(speed):
    def took(seconds):
        return speed.Took(wall={"train": seconds}, cpu={"train": seconds})

    rounds = {"evermap": [took(1.0), took(6.0)], "plain": [took(2.0), took(3.0)]}
    assert speed.ratio(rounds, "evermap", "plain", "wall", "train") == [0.5, 2.0]


def test_the_published_files_are_read(speed, tmp_path):
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    assert speed.fashion_mnist(tmp_path) is None
    images = np.arange(30 * 784, dtype=np.int64).reshape(30, 28, 28).astype(np.uint8)
    labels = (np.arange(30) % 10).astype(np.uint8)
    for name, part in (("train", slice(0, 20)), ("t10k", slice(20, 30))):
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + images[part].tobytes()))
        (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + labels[part].tobytes()))
    data = speed.fashion_mnist(tmp_path)
    assert data.x.shape == (30, 1, 28, 28)
    assert torch.equal(data.x, torch.tensor(images).unsqueeze(1) / 255)
    assert data.y.tolist() == labels.tolist()
    assert [part.tolist() for part in data.parts] == [list(range(20)), list(range(20, 30))]


def test_repeated_digits_are_never_in_both_parts(speed):
    data = speed.repeated_digits(train=300, test=100)
    train, test = data.parts
    assert data.sizes.samples == (300,) * 10
    assert data.sizes.test == (100,) * 10
    assert not set(train.tolist()) & set(test.tolist())
