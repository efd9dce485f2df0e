import importlib.util
import json
import sys
from pathlib import Path

import pytest

from evermap import registry
from evermap.scenarios.record import read_record

pytest.importorskip("stable_baselines3", reason="stable-baselines3 is an extra: pip install -e '.[rl]'")

FILE = Path(__file__).parents[2] / "examples" / "train_chooser.py"
TINY = """
description = "Two pairs of digits."
device = "cpu"
[stream]
layout = "split"
test_per_class = 10
train_per_class = 12
class_order = [0, 1, 2, 3]
classes_per_task = 2
[agent]
selector = "fixed:prototype"
encoder_settings = { hidden = [4] }
anchor_features = 8
[strategies.scratch]
steps = 4
"""


@pytest.fixture
def example():
    before = {kind: dict(found) for kind, found in registry._from_files.items()}
    spec = importlib.util.spec_from_file_location("train_chooser", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    for kind, found in before.items():
        registry._from_files[kind] = found


@pytest.mark.slow
def test_a_chooser_is_trained_and_runs_on_streams_it_has_not_seen(example, tmp_path, capsys):
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(TINY)
    out = tmp_path / "out"
    asked = ["--scenario", str(recipe), "--size", "default", "--steps", "1024", "--out", str(out)]
    found = example.main([*asked, "--train-seeds", "7", "--test-seeds", "0,1"])["tiny"]
    assert {"chooser", "best fixed", "fixed:scratch"} <= set(found)
    assert all(0 <= value <= 1 for value in found.values())
    assert "points against best fixed" in capsys.readouterr().out
    names = json.loads((out / "chooser.json").read_text())
    chosen = [e for e in read_record(out / "judged/tiny/chooser/seed0").events if e["event"] == "Chosen"]
    assert all(e["reason"].startswith("the trained chooser prefers") for e in chosen)
    assert {e["strategy"] for e in chosen} <= set(names["actions"])
    assert len({e["seed"] for e in [read_record(out / f"judged/tiny/chooser/seed{k}").manifest for k in (0, 1)]}) == 2


def test_what_is_kept_prefers_what_the_policy_prefers(example, tmp_path):
    """The plain matrices give the logits of stable-baselines3's own policy."""
    import torch
    from stable_baselines3 import PPO

    spec = importlib.util.spec_from_file_location("replay", FILE.parents[1] / "benchmarks" / "replay.py")
    replay = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(replay)
    (tmp_path / "table").mkdir()
    table = replay.make_up(tmp_path / "table", tasks=3, strategies=3)
    kept = {}
    learn = PPO.learn

    def watched(self, steps):
        kept["policy"] = self.policy
        return learn(self, steps)

    PPO.learn = watched
    try:
        plugin = example.train([table], tmp_path / "out", steps=512)
    finally:
        PPO.learn = learn
    registry.add_file(plugin)
    chooser = registry.load("selector", "chooser")()
    seen = torch.rand(22)
    logits = kept["policy"].get_distribution(seen[None]).distribution.logits[0].detach()
    mine = torch.tensor(list(chooser.preferences(seen.tolist()).values()))
    assert torch.allclose(torch.log_softmax(mine, 0), logits, atol=1e-5)


def test_a_seed_is_not_both_trained_and_tested_on(example, capsys):
    with pytest.raises(SystemExit):
        example.main(["--train-seeds", "0-2", "--test-seeds", "2"])
    assert "both" in capsys.readouterr().err
