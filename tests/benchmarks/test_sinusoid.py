import importlib.util
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

FILE = Path(__file__).parents[2] / "benchmarks" / "sinusoid.py"


@pytest.fixture(scope="module")
def sinusoid() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("benchmark_sinusoid", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_all_methods_are_measured(sinusoid, tmp_path, capsys):
    out, figure = tmp_path / "errors.json", tmp_path / "errors.svg"
    few = [
        "--shots",
        "5",
        "10",
        "--steps",
        "20",
        "--seeds",
        "3",
        "4",
        "--tasks",
        "4",
        "--queries",
        "8",
        "--others",
        "5",
    ]
    sinusoid.main([*few, "--json", str(out), "--figure", str(figure)])
    shown = capsys.readouterr().out
    assert "20 meta-steps, 4 tasks, seeds 3 4" in shown
    assert (
        shown.count("| steps | MAML | MAML, sizes per weight | pre-training | Fourier ridge | Gaussian process |") == 2
    )
    found = json.loads(out.read_text())
    for shots in ("5", "10"):
        steps = {name: [len(seed) for seed in errors] for name, errors in found[shots].items()}
        assert steps == {
            "MAML": [11, 11],
            "MAML, sizes per weight": [11, 11],
            "pre-training": [11, 11],
            "Fourier ridge": [1, 1],
            "Gaussian process": [1],
        }
    assert found["10"]["Gaussian process"][0][0] < found["10"]["MAML"][0][0], "twenty meta-steps teach nothing"
    assert "<svg" in figure.read_text()
    first = out.read_text()
    again = tmp_path / "again.svg"
    sinusoid.main(["--shots", "--json", str(out), "--figure", str(again)])
    assert out.read_text() == first, "nothing was measured"
    assert again.read_text() == figure.read_text(), "and all that was measured before is drawn"


def test_tasks_are_sines(sinusoid):
    tasks = sinusoid.draw(50, 5, 7, torch.Generator().manual_seed(0))
    assert tasks.x.shape == (50, 5, 1)
    assert tasks.y_query.shape == (50, 7, 1)
    assert tasks.x.abs().max() <= 5
    # Whatever amplitude and phase, a·sin(x − p) lies in the span of sin(x) and cos(x).
    x, y = (torch.cat(parts, dim=1).double() for parts in ((tasks.x, tasks.x_query), (tasks.y, tasks.y_query)))
    span = torch.cat([x.sin(), x.cos()], dim=2)
    weights = torch.linalg.lstsq(span, y).solution
    assert float((span @ weights - y).abs().max()) < 1e-5
    amplitudes = weights.norm(dim=1)
    assert 0.1 - 1e-4 <= float(amplitudes.min()) < float(amplitudes.max()) <= 5 + 1e-4


def test_adaptation_of_all_tasks_at_once_is_that_of_each(sinusoid):
    model, tasks = sinusoid.network(0), sinusoid.draw(3, 5, 7, torch.Generator().manual_seed(0))
    errors = sinusoid.errors(model, tasks, 0.02)
    assert errors.shape == (11, 3)
    for k in range(3):
        own = sinusoid.network(0)
        for step in range(11):
            with torch.no_grad():
                error = float(((own(tasks.x_query[k]) - tasks.y_query[k]) ** 2).mean())
            assert float(errors[step, k]) == pytest.approx(error, rel=1e-4)
            loss = ((own(tasks.x[k]) - tasks.y[k]) ** 2).mean()
            for p, g in zip(own.parameters(), torch.autograd.grad(loss, list(own.parameters())), strict=True):
                p.data -= 0.02 * g


def test_baselines_fit_an_easy_task(sinusoid):
    tasks, others = (sinusoid.draw(20, 30, 20, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    ridge = sinusoid.fourier_ridge(tasks, others, torch.Generator().manual_seed(2))
    assert float(ridge.mean()) < 0.05
    assert float(sinusoid.gaussian_process(tasks, 0).mean()) < 0.01


def test_a_cell_has_interval_and_range(sinusoid):
    errors = torch.tensor([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]])
    half = 1.96 / math.sqrt(3)  # the means over seeds are 2, 3 and 4
    assert sinusoid.cell(errors) == f"3.000 ± {half:.3f} (2.000 – 4.000)"
    assert sinusoid.cell(errors[:1]) == f"2.000 ± {half:.3f}"
