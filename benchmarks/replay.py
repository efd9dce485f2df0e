"""Speed of the replay of recorded tables as a Gymnasium environment, in tasks per second.

    python benchmarks/replay.py
    python benchmarks/replay.py --tables runs/regret/composite/probe+arms/seed0 --envs 1 8 64 512

Without tables it makes one up, of 30 tasks and eight strategies: what is in a table does not matter for the speed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import gymnasium as gym
import numpy as np

from evermap.agent.features import FEATURES
from evermap.scenarios.arm_table import ANSWERS, ARMS, AnswerLine, ArmLine, Facts, append
from evermap.scenarios.env import ID

NAME = f"evermap.scenarios.env:{ID}"


def make_up(folder: Path, tasks: int = 30, strategies: int = 8) -> Path:
    """Write a table of random numbers.

    Args:
        folder: An empty folder.
        tasks: Tasks of the stream.
        strategies: Strategies; "scratch" is the first.

    Returns:
        The folder.
    """
    rng = np.random.default_rng(0)
    names = ["scratch", *(f"way-{k}" for k in range(1, strategies))]
    for t in range(tasks):
        seen = dict(zip(FEATURES, rng.random(len(FEATURES)).tolist(), strict=True))
        facts = Facts(t, f"task {t}", tasks, False, seen, dict.fromkeys(names, True), 1e9, 1e7, 10_000)
        values = rng.random(strategies).tolist()
        pairs = zip(names, values, strict=True)
        append(folder / ARMS, [ArmLine(facts, n, None, False, 0, v, v, v, 0, None, None, 1e9) for n, v in pairs])
        append(folder / ANSWERS, [AnswerLine(t, "scratch", None, values[0], values[0], values[0], 1e9, 0.0, 0)])
    return folder


def alone(tables: list[str], seconds: float) -> float:
    """Tasks per second of one environment."""
    env = gym.make(NAME, tables=tables)
    env.reset(seed=0)
    actions, steps, began = env.action_space, 0, time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        for _ in range(100):
            if env.step(actions.sample())[2]:
                env.reset()
        steps += 100
    return steps / took


def side_by_side(tables: list[str], envs: int, seconds: float) -> float:
    """Tasks per second of so many replays as one vector; the steps that only begin a stream anew are not counted."""
    env = gym.make_vec(NAME, num_envs=envs, tables=tables)
    env.reset(seed=0)
    steps, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        for _ in range(20):
            steps += int((env.step(env.action_space.sample())[4]["taken"] >= 0).sum())
    return steps / took


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="*", default=[], help="folders of `evermap regret`")
    parser.add_argument("--envs", nargs="*", type=int, default=[1, 8, 64, 512], help="replays in one vector")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each is measured")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        tables = given.tables or [str(make_up(Path(folder)))]
        found = {"alone": alone(tables, given.seconds)}
        found |= {f"vector of {n}": side_by_side(tables, n, given.seconds) for n in given.envs}
    for name, speed in found.items():
        print(f"{name:>15}  {speed:>12,.0f} tasks/s")
    return found


if __name__ == "__main__":
    main()
