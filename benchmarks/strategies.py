"""Every strategy on every task of a scenario: which one is best where, and how close a selector comes.

Usage:
    python benchmarks/strategies.py demo --seeds 5 --agents probe,fixed:scratch,…
    python benchmarks/strategies.py joint-digits --agents "fixed:multitask,fixed:multitask(weights=dwa)"

Prints a Markdown table: accuracy on each task's test set right after it was learned, mean over seeds, the best
fixed strategy of a task in bold; then the mean over tasks with the standard error over seeds, and the paired difference
to the best fixed strategy. Runs go through the same loop as `evermap run`.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

Cell = dict[str, float]


def agents_in(text: str) -> list[str]:
    """Split a list of agents at its commas, but for those between parentheses."""
    return [each.strip() for each in re.findall(r"[^,(]+(?:\([^)]*\))?", text)]


def changes_of(agent: str) -> list[str]:
    """Turn an agent into changes of a recipe: `fixed:NAME(SETTING=VALUE, …)` sets the strategy NAME as well."""
    selector, _, settings = agent.removesuffix(")").partition("(")
    own = [each.strip() for each in settings.split(",") if each.strip()]
    return [f"agent.selector={selector}", *(f"strategies.{selector.removeprefix('fixed:')}.{each}" for each in own)]


def cell(job: tuple[str, str, int, tuple[str, ...]]) -> tuple[Cell, float, float]:
    """Run one agent with one seed; return accuracy by task, its share of the budget, and CPU seconds."""
    scenario_name, agent, seed, changes = job
    import torch

    from evermap.scenarios.run import run
    from evermap.scenarios.scenario import load_scenario

    torch.set_num_threads(1)
    scenario = load_scenario(scenario_name, [*changes_of(agent), f"seed={seed}", *changes])
    accuracy: Cell = {}
    started: dict[int, tuple[str, int, float]] = {}
    spent, allowed, seconds = 0.0, 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for event in run(scenario, Path(folder)):
            body = event.to_json()
            if body["event"] == "TaskStarted":
                started[body["task"]] = body["name"], body["concept"], body["budget"]
                allowed += body["budget"]
            elif body["event"] == "Learned":
                spent += body["total_flops"]
                seconds += body["seconds"]
            elif body["event"] == "Evaluated" and body["task"] is not None:
                for task, (name, concept, _) in started.items():
                    if name not in accuracy and task <= body["task"]:
                        accuracy[name] = 100 * body["values"][concept]
    return accuracy, spent / allowed, seconds


def table(scenario: str, agents: list[str], seeds: list[int], changes: tuple[str, ...], jobs: int) -> str:
    """Run all cells and write the table."""
    work = [(scenario, agent, seed, changes) for agent in agents for seed in seeds]
    with ProcessPoolExecutor(jobs) as pool:
        results = dict(zip(((w[1], w[2]) for w in work), pool.map(cell, work), strict=True))
    tasks = list(results[agents[0], seeds[0]][0])
    fixed = [agent for agent in agents if agent.startswith("fixed:")]
    lines = [f"| task | {' | '.join(agents)} |", "| --- |" + " ---: |" * len(agents)]

    def mean(agent: str, task: str) -> float:
        return statistics.fmean(results[agent, seed][0][task] for seed in seeds)

    for task in tasks:
        best = max((mean(agent, task) for agent in fixed), default=float("nan"))
        values = [mean(agent, task) for agent in agents]
        texts = [
            f"**{value:.1f}**" if agent in fixed and value >= best - 0.05 else f"{value:.1f}"
            for agent, value in zip(agents, values, strict=True)
        ]
        lines.append(f"| {task} | {' | '.join(texts)} |")
    totals = {a: [statistics.fmean(results[a, seed][0].values()) for seed in seeds] for a in agents}
    error = {a: statistics.stdev(v) / len(v) ** 0.5 if len(v) > 1 else float("nan") for a, v in totals.items()}
    lines.append(
        "| mean ± s.e. | " + " | ".join(f"{statistics.fmean(totals[a]):.1f} ± {error[a]:.1f}" for a in agents) + " |"
    )
    lines.append(
        "| share of the budget | "
        + " | ".join(f"{100 * statistics.fmean(results[a, s][1] for s in seeds):.0f} %" for a in agents)
        + " |"
    )
    lines.append(
        "| CPU seconds | "
        + " | ".join(f"{statistics.fmean(results[a, s][2] for s in seeds):.1f}" for a in agents)
        + " |"
    )
    if fixed:
        top = max(fixed, key=lambda a: statistics.fmean(totals[a]))
        lines.append("")
        for agent in agents:
            if agent != top:
                gaps = [ours - theirs for ours, theirs in zip(totals[agent], totals[top], strict=True)]
                spread = statistics.stdev(gaps) / len(gaps) ** 0.5 if len(gaps) > 1 else float("nan")
                lines.append(f"{agent} − {top} (best fixed): {statistics.fmean(gaps):+.2f} ± {spread:.2f} points")
    return "\n".join(lines)


def main() -> None:
    """Read the command line and print the table."""
    from evermap import registry

    every = [f"fixed:{name}" for name in registry.registered("strategy")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario")
    parser.add_argument(
        "--agents", default=",".join(["auto", "probe", "random", *every]), help="comma-separated selectors"
    )
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them; 100 and above are for tuning")
    parser.add_argument("--set", action="append", default=[], help="change of the recipe, as for evermap run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    given = parser.parse_args()
    seeds = list(range(given.first_seed, given.first_seed + given.seeds))
    print(table(given.scenario, agents_in(given.agents), seeds, tuple(given.set), given.jobs))


if __name__ == "__main__":
    main()
