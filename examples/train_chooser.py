"""Train a chooser on recorded streams with stable-baselines3, and run it on streams that it has not seen.

    pip install -e '.[rl]'
    python examples/train_chooser.py --out chooser

1. Record: on the training seeds every arm is run before every task (`evermap regret`), which gives tables.
2. Train: PPO (Schulman 2017, arXiv 1707.06347) on replays of these tables, as a Gymnasium environment. Nothing that is
   chosen in a replay changes what comes later, so rewards are not carried over between tasks (gamma = 0).
3. Keep: the network as plain matrices, beside a copy of `examples/chooser.py`, which is a selector plug-in.
4. Judge: the plug-in, the selectors `auto` and `rules` and every fixed strategy run on the test seeds, which are none
   of the training seeds. The result is printed whichever way it falls.

Recorded tables and runs are kept in the folder and not made again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from evermap.agent.features import FEATURES
from evermap.registry import add_file, registered
from evermap.scenarios.env import StreamEnv
from evermap.scenarios.gap import picked_crosswise
from evermap.scenarios.record import read_record
from evermap.scenarios.regret import Cell, cell_folder, planned, run_cells
from evermap.scenarios.regret_summary import learned_values
from evermap.scenarios.scenario import Scenario, load_scenario
from evermap.scenarios.seed_list import seeds_of

# What it is held against, as far as it is there.
OTHERS = ("auto", "rules", "probe")


def record(recipes: Sequence[Scenario], seeds: Sequence[int], out: Path, jobs: int) -> list[Path]:
    """Run every arm of the training streams.

    Args:
        recipes: The scenarios, with the agent along whose runs the arms are run.
        seeds: Their seeds.
        out: Where the runs are kept.
        jobs: Worker processes.

    Returns:
        Folders with tables.
    """
    _, cells = planned(recipes, seeds, (), out, sources=1)  # the replay takes the first source of every strategy
    for done in run_cells(cells, jobs):
        print(f"  {done.cell.title}: {'kept' if done.kept else 'recorded'}")
    return [cell.folder for cell in cells]


def train(tables: Sequence[Path], out: Path, steps: int, seed: int = 0) -> Path:
    """Train a chooser and keep it as a plug-in.

    Args:
        tables: Folders with tables.
        out: Where the plug-in is put.
        steps: Tasks that are replayed.
        seed: Decides everything random.

    Returns:
        The plug-in's file.
    """
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv

    torch.set_num_threads(1)
    envs = DummyVecEnv([lambda: StreamEnv(tables=tables)] * 8)
    model = PPO("MlpPolicy", envs, gamma=0.0, n_steps=64, batch_size=128, seed=seed, device="cpu")
    model.learn(steps)
    linear = [m for m in model.policy.mlp_extractor.policy_net if isinstance(m, torch.nn.Linear)]
    weights = {}
    for k, layer in enumerate([*linear, model.policy.action_net]):
        weights |= {f"{k}.weight": layer.weight.detach().clone(), f"{k}.bias": layer.bias.detach().clone()}
    out.mkdir(parents=True, exist_ok=True)
    save_file(weights, out / "chooser.safetensors")
    actions = StreamEnv(tables=tables).actions
    (out / "chooser.json").write_text(json.dumps({"features": FEATURES, "actions": actions}, indent=1) + "\n", "utf-8")
    return Path(shutil.copy(Path(__file__).with_name("chooser.py"), out / "chooser.py"))


def judge(
    recipes: Sequence[Scenario], seeds: Sequence[int], plugin: Path, out: Path, jobs: int
) -> dict[str, dict[str, float]]:
    """Run the chooser and what it is held against on streams that it has not seen.

    Args:
        recipes: The scenarios.
        seeds: Their seeds.
        plugin: The chooser's file.
        out: Where the runs are kept; those of another chooser must not lie there.
        jobs: Worker processes.

    Returns:
        Scenario to agent to its mean accuracy right after each task was learned, over tasks and seeds; "best fixed" is
        picked on one half of the seeds and valued on the other.
    """
    add_file(plugin)
    fixed = [f"fixed:{name}" for name in registered("strategy")]
    agents = ["chooser", *(name for name in OTHERS if name in registered("selector")), *fixed]
    cells: dict[tuple[str, str], list[Cell]] = {}
    for recipe in recipes:
        for agent in agents:
            spec = recipe.agent.model_copy(update={"selector": agent})
            cells[recipe.name, agent] = [
                Cell(
                    recipe.model_copy(update={"agent": spec, "seed": seed}),
                    cell_folder(out, recipe.name, agent, seed),
                    arms=False,
                    sources=0,
                )
                for seed in seeds
            ]
    for done in run_cells([cell for each in cells.values() for cell in each], jobs, [plugin]):
        print(f"  {done.cell.title}: {'kept' if done.kept else 'done'}")
    found: dict[str, dict[str, float]] = {}
    for recipe in recipes:
        values = {a: [_mean(learned_values(read_record(c.folder))) for c in cells[recipe.name, a]] for a in agents}
        best = picked_crosswise({name: values[name] for name in fixed})[0]
        found[recipe.name] = {agent: _mean(each) for agent, each in values.items()} | {"best fixed": _mean(best)}
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    """Record, train, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", action="append", help="a scenario; may be repeated (default: demo)")
    parser.add_argument("--size", default="short", choices=["short", "default"])
    parser.add_argument("--set", action="append", default=[], dest="sets", help="a field of the recipes, PATH=VALUE")
    parser.add_argument("--train-seeds", default="100-103")
    parser.add_argument("--test-seeds", default="0-2")
    parser.add_argument("--steps", type=int, default=30_000, help="tasks that are replayed")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("chooser"))
    given = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", "no QP solver found", UserWarning)
    seen, unseen = seeds_of(given.train_seeds, "--train-seeds"), seeds_of(given.test_seeds, "--test-seeds")
    if set(seen) & set(unseen):
        parser.error("a seed is both one to train on and one to test on")
    recipes = [load_scenario(name, given.sets, size=given.size) for name in given.scenario or ["demo"]]
    print("Recording")
    tables = record(recipes, seen, given.out / "recorded", given.jobs)
    print(f"Training on {len(tables)} streams")
    plugin = train(tables, given.out, given.steps)
    print(f"Judging {plugin}")
    shutil.rmtree(given.out / "judged", ignore_errors=True)
    found = judge(recipes, unseen, plugin, given.out / "judged", given.jobs)
    for name, values in found.items():
        print(f"\n{name}, {len(unseen)} streams that it has not seen: accuracy right after learning, in %")
        for agent, value in sorted(values.items(), key=lambda pair: -pair[1]):
            print(f"  {agent:<20}{100 * value:6.1f}{'   ' + _against(value, values) if agent == 'chooser' else ''}")
    return found


def _against(value: float, values: dict[str, float]) -> str:
    names = [name for name in (*OTHERS, "best fixed") if name in values]
    return "; ".join(f"{100 * (value - values[name]):+.1f} points against {name}" for name in names)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
