import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

FILE = Path(__file__).parents[2] / "benchmarks" / "meta_speed.py"


@pytest.fixture(scope="module")
def speed() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("benchmark_meta_speed", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def without_peers(speed, monkeypatch):
    """As where the extra is not installed; what they compute is checked where it is, by the benchmark itself."""
    monkeypatch.setattr(speed, "PEERS", {name: ("not_installed_here", each[1]) for name, each in speed.PEERS.items()})


def test_everything_is_compared_and_what_is_not_installed_is_left_out_with_a_word(
    speed, tmp_path, capsys, monkeypatch, without_peers
):
    monkeypatch.setattr(speed, "BORDER", ((8, 8), (400, 200)))
    out = tmp_path / "seconds.json"
    sizes = ["--rounds", "1", "--tasks", "1", "--filters", "4", "--side", "16", "--growth", "1", "2"]
    speed.main([*sizes, "--json", str(out)])
    shown = capsys.readouterr().out
    assert "TorchOpt is left out: it is not installed (pip install 'evermap[bench]')" in shown
    assert "| 8-8 | 637 |" in shown
    assert "| 400-200 | 107,205 |" in shown
    kept = json.loads(out.read_text())
    assert list(kept["jobs"]) == ["sinusoid", "4-conv, 1 step", "4-conv, 5 steps", "ANIL, 1 step", "ANIL, 5 steps"]
    assert list(kept["memory"]) == ["1", "2"]
    for name, job in kept["jobs"].items():
        layouts = ["", ", channels last"] if name != "sinusoid" else [""]
        assert sorted(job["systems"]) == sorted(f"{s}{layout}" for s in ("evermap", "plain") for layout in layouts)
        assert job["floor"] > 0
        assert all(len(each["seconds"]) == 1 and each["away"] < 1e-9 for each in job["systems"].values())


def test_a_system_that_computes_something_else_is_not_timed(speed, monkeypatch):
    monkeypatch.setattr(speed, "evermap", lambda job: {n: 1.1 * g for n, g in speed.plain(job).items()})
    with pytest.raises(AssertionError, match=r"evermap computes something else: 0\.1 of the norm away"):
        speed.compare(speed.sinusoid(2), 1, 1, lambda line: None)


def test_the_peers_compute_the_same(speed):
    installed = {name for name, (module, _) in speed.PEERS.items() if importlib.util.find_spec(module) is not None}
    if not installed:
        pytest.skip("neither TorchOpt nor higher is installed")
    for job in (speed.sinusoid(2), speed.convolutional(2, 2, True, 4, 16), speed.convolutional(2, 2, False, 4, 16)):
        exact = job.exact()
        for name in installed:
            assert speed.agree(speed.PEERS[name][1](exact), speed.plain(exact)) < 1e-9, name


def test_the_distance_of_gradients(speed):
    one = {"a": torch.tensor([3.0, 4.0])}
    assert speed.agree({"a": torch.tensor([3.0, 4.5])}, one) == pytest.approx(0.1)
