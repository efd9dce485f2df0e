"""The code of docs/store.md does what the page says."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import evermap
from evermap.agent.arm import outputs_of
from evermap.agent.overview import task_called
from evermap.agent.store import KnowledgeStore
from evermap.cli import app, main
from evermap.scenarios.run import make_agent, run
from evermap.scenarios.scenario import load_scenario

PAGE = (Path(evermap.__file__).parent / "docs" / "store.md").read_text()
SMALL = ["stream.train_per_class=12", "stream.test_per_class=5", "strategies.scratch.steps=5", "device=cpu"]


@pytest.mark.parametrize("changes", [("agent.selector=fixed:scratch",), ("agent.stem=patches", "agent.encoder=mlp")])
def test_the_five_lines_load_what_was_exported(tmp_path, monkeypatch, capsys, changes):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
    assert len(code.splitlines()) == 5
    monkeypatch.chdir(tmp_path)
    scenario = load_scenario("digits-split", [*SMALL, *changes])
    list(run(scenario, Path("run")))
    with KnowledgeStore.open(Path("run/store"), read_only=True) as store:
        name = store.task(1).name
        agent = make_agent(scenario, store)
        x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        model = agent.library.ready(task_called(store, name))
        expected = outputs_of(model, agent.library.view(x)) / model.head.temperature
    assert main(["store", "export", "run", name, "three"]) == 0
    assert capsys.readouterr().out.split() == ["three.safetensors", "three.json"]
    names = {"json": json, "torch": torch, "load_file": safetensors.torch.load_file, "Path": Path, "x": x}
    exec(code, names)
    assert torch.allclose(names["y"], expected, atol=1e-5)
    assert len(names["said"]["class_names"]) == 2
    # And a new agent can begin on it.
    assert main(["store", "import", "three.json", "new-store"]) == 0
    again = load_scenario("digits-split", [*SMALL, *changes])
    list(run(again, Path("again"), store=Path("new-store")))
    with KnowledgeStore.open(Path("again/store"), read_only=True) as store:
        assert [r.index for r in store.tasks()] == [-1, 0, 1, 2, 3, 4]
        assert store.verify() == []
        model = make_agent(again, store).library.ready(store.task(-1))
        assert torch.allclose(outputs_of(model, agent.library.view(x)) / model.head.temperature, expected, atol=1e-5)
    np.testing.assert_array_equal(x.shape, (4, *names["said"]["input_shape"]))


def test_the_page_names_every_command():
    import typer.main

    for name in typer.main.get_command(app).commands["store"].commands:
        assert f"`evermap store {name} " in PAGE
