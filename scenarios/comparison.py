"""Many runs set side by side, paired by seed: plain data, from their outcomes alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..errors import UserError
from .comparable import check_data
from .comparable import labelled as labelled  # whoever compares needs them
from .comparable import outcomes_of as outcomes_of
from .outcomes import MAIN, Outcome, Quantity, quantities
from .paired import (
    LEVEL,
    MARGIN,
    RESAMPLES,
    bootstrap_interval,
    holm,
    largest_loss,
    mean_interval,
    not_worse,
    signed_rank,
    smallest_p,
    verdict,
)
from .ranks import critical_difference, friedman, groups, pareto, ranks

FORMAT = 1
COSTS = ("flops", "cpu_seconds", "bytes_kept")
ALPHA = 0.05
ONE_SEED = "one seed only: no interval"

Failure = Mapping[str, Any]  # scenario, agent, seed, why


def compare(
    outcomes: Sequence[Outcome],
    baseline: str | None = None,
    failures: Sequence[Failure] = (),
    agents: Sequence[str] = (),
) -> dict[str, Any]:
    """Set runs side by side.

    Only finished runs are averaged. A number that is undefined for a seed is left out of that mean, and the count of
    seeds beside it says so; a difference needs both runs of a seed.

    Args:
        outcomes: Runs, as `labelled` names them.
        baseline: The agent that the others are compared with; left out: the first one.
        failures: Runs that came to nothing: scenario, agent, seed and why.
        agents: Agents in the order in which they are shown; left out: as they appear.

    Returns:
        Plain data, as docs/compare.md describes it: per scenario means with intervals, paired differences and
        Pareto sets; ranks over the scenarios.

    Raises:
        UserError: If the baseline is none of the agents.
        RecordError: If runs of one scenario and seed did not see the same data.
    """
    told = [*(each.agent for each in outcomes), *(str(each["agent"]) for each in failures)]
    order = list(dict.fromkeys((*agents, *told)))
    if baseline is not None and baseline not in order:
        raise UserError(f"--baseline {baseline}: is none of the agents; they are {', '.join(order) or 'none'}.")
    base = baseline or (order[0] if order else None)
    names = list(dict.fromkeys([*(each.scenario for each in outcomes), *(str(each["scenario"]) for each in failures)]))
    every = quantities()
    scenarios = [
        _scenario(
            name,
            [each for each in outcomes if each.scenario == name],
            [each for each in failures if each["scenario"] == name],
            order,
            base,
            every,
        )
        for name in names
    ]
    return {
        "format": FORMAT,
        "baseline": base,
        "level": LEVEL,
        "margin": MARGIN,
        "resamples": RESAMPLES,
        "agents": order,
        "measures": [asdict(each) for each in every],
        "scenarios": scenarios,
        "ranks": _ranked(scenarios, order),
    }


def mean_of(values: Sequence[float | None], reasons: Sequence[str] = ()) -> dict[str, Any]:
    """Average a number over seeds.

    Args:
        values: One per seed; None where it is undefined.
        reasons: Why, for those that are.

    Returns:
        n, mean, low and high, and a note: why there is no mean, no interval, or how many seeds are left out.
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    interval = mean_interval(known)
    low, high = interval or (None, None)
    why = ", ".join(dict.fromkeys(reasons)) or "no run is finished"
    note = None
    if not known:
        note = why
    elif len(known) < len(values):
        note = f"n/a for {len(values) - len(known)} of {len(values)} seeds: {why}"
    elif interval is None:
        note = ONE_SEED
    mean = math.fsum(known) / len(known) if known else None
    return {"n": len(known), "mean": mean, "low": low, "high": high, "note": note}


def differences(
    agent: Sequence[Outcome], baseline: Sequence[Outcome], key: str = MAIN
) -> tuple[list[int], list[float]]:
    """Subtract the baseline's number from the agent's, seed by seed.

    Args:
        agent: Runs of one agent on one scenario.
        baseline: Runs of another.
        key: Of the number.

    Returns:
        The seeds for which both have it, in ascending order, and the differences.
    """
    others = {each.seed: each.values.get(key) for each in baseline}
    pairs: list[tuple[int, float]] = []
    for each in agent:
        mine, theirs = each.values.get(key), others.get(each.seed)
        if mine is not None and theirs is not None:
            pairs.append((each.seed, mine - theirs))
    pairs.sort()
    return [seed for seed, _ in pairs], [difference for _, difference in pairs]


def _scenario(
    name: str,
    outcomes: Sequence[Outcome],
    failures: Sequence[Failure],
    order: Sequence[str],
    baseline: str | None,
    every: Sequence[Quantity],
) -> dict[str, Any]:
    check_data(name, outcomes)
    by_agent: dict[str, list[Outcome]] = {agent: [] for agent in order}
    for each in sorted(outcomes, key=lambda each: each.seed):
        by_agent[each.agent].append(each)
    finished = {agent: [each for each in runs if each.status == "finished"] for agent, runs in by_agent.items()}
    present = [agent for agent in order if by_agent[agent] or any(each["agent"] == agent for each in failures)]
    agents = []
    for agent in present:
        runs = finished[agent]
        means = {}
        for key in (quantity.key for quantity in every):
            reasons = [run.reasons[key] for run in runs if run.values.get(key) is None]
            means[key] = mean_of([run.values.get(key) for run in runs], reasons)
        agents.append(
            {
                "agent": agent,
                "seeds": [run.seed for run in runs],
                "unfinished": [run.seed for run in by_agent[agent] if run.status != "finished"],
                "failures": [dict(each) for each in failures if each["agent"] == agent],
                "means": means,
                "runs": [{"seed": run.seed, "path": run.path, "values": dict(run.values)} for run in runs],
            }
        )
    return {
        "scenario": name,
        "stream": outcomes[0].stream if outcomes else None,
        "regression": any(each.regression for each in outcomes),
        "tasks": max((each.tasks for each in outcomes), default=0),
        "seeds": sorted({each.seed for each in outcomes}),
        "agents": agents,
        "paired": [] if baseline is None else _paired(finished, present, baseline),
        "common": _common(agents, MAIN),
        "pareto": {cost: _pareto(agents, cost) for cost in COSTS},
    }


def _paired(finished: Mapping[str, Sequence[Outcome]], present: Sequence[str], baseline: str) -> list[dict[str, Any]]:
    """Compare every agent with the baseline; one family for Holm's correction."""
    rows: list[dict[str, Any]] = []
    for agent in present:
        if agent == baseline:
            continue
        seeds, d = differences(finished[agent], finished[baseline])
        interval = mean_interval(d)
        note = None
        if not seeds:
            note = "no seed is finished for both"
        elif len(seeds) == 1:
            note = ONE_SEED
        elif smallest_p(len(seeds)) > ALPHA:
            note = f"{len(seeds)} seeds cannot reach p < {ALPHA}: the smallest possible is {smallest_p(len(seeds)):.3g}"
        rows.append(
            {
                "agent": agent,
                "baseline": baseline,
                "seeds": seeds,
                "differences": d,
                "mean": math.fsum(d) / len(d) if d else None,
                "interval": interval,
                "bootstrap": bootstrap_interval(d),
                "wilcoxon": signed_rank(d) if len(d) > 1 else None,
                "verdict": verdict(interval),
                "largest_loss": largest_loss(d),
                "not_worse": not_worse(d),
                "note": note,
            }
        )
    for row, adjusted in zip(rows, holm([row["wilcoxon"] for row in rows]), strict=True):
        row["holm"] = adjusted
    return rows


def _common(agents: Sequence[Mapping[str, Any]], *keys: str) -> dict[str, Any]:
    """Average numbers over the seeds for which every agent that has them at all has them: ranks are about nothing else.

    Returns:
        These seeds; by agent the means, by key; and a note where seeds are left out, or where none is left.
    """
    known: dict[str, dict[int, Mapping[str, float]]] = {}
    for each in agents:
        runs = {run["seed"]: run["values"] for run in each["runs"]}
        whole = {seed: of for seed, of in runs.items() if all(_known(of.get(key)) for key in keys)}
        if whole:
            known[str(each["agent"])] = whole
    every = {seed for runs in known.values() for seed in runs}
    seeds = sorted(every.intersection(*known.values()))
    note = None
    if known and not seeds:
        note = "not ranked: there is no seed that all agents have"
    elif len(seeds) < len(every):
        note = f"ranked over the seeds that all agents have: {', '.join(map(str, seeds))}"
    means = {
        agent: {key: mean_of([runs[seed][key] for seed in seeds]) for key in keys}
        for agent, runs in known.items()
        if seeds
    }
    return {"seeds": seeds, "means": means, "note": note}


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _pareto(agents: Sequence[Mapping[str, Any]], cost: str) -> list[str]:
    means = _common(agents, MAIN, cost)["means"]
    points = [(of[MAIN]["mean"], of[cost]["mean"]) for of in means.values()]
    return [list(means)[position] for position in pareto(points)]


def _ranked(scenarios: Sequence[Mapping[str, Any]], order: Sequence[str]) -> dict[str, Any]:
    """Rank the agents by their mean accuracy over the scenarios on which all of them have one of the same seeds."""
    means = [{agent: of[MAIN]["mean"] for agent, of in scenario["common"]["means"].items()} for scenario in scenarios]
    every = [each for scenario in scenarios for each in scenario["agents"]]
    able = {each["agent"] for each in every if each["means"][MAIN]["mean"] is not None}
    alive = [agent for agent in order if agent in able]
    used = [i for i, row in enumerate(means) if all(row.get(agent) is not None for agent in alive)]
    found: dict[str, Any] = {
        "scenarios": [scenarios[i]["scenario"] for i in used],
        "left_out": [scenarios[i]["scenario"] for i in range(len(scenarios)) if i not in used],
        "agents_left_out": [agent for agent in order if agent not in alive],
        "agents": [],
        "friedman": None,
        "critical_difference": None,
        "groups": [],
        "note": None,
    }
    if len(alive) < 2 or not used:
        found["note"] = "two agents with results of the same seeds on the same scenario are needed"
        return found
    average = ranks([[means[i][agent] for agent in alive] for i in used]).mean(axis=0).tolist()
    best_first = sorted(zip(alive, average, strict=True), key=lambda pair: pair[1])
    found["agents"] = [{"agent": agent, "rank": rank} for agent, rank in best_first]
    if len(used) < 2:
        found["note"] = "one scenario only: no critical difference"
        return found
    found["friedman"] = asdict(friedman(average, len(used)))
    found["critical_difference"] = critical_difference(len(alive), len(used))
    found["groups"] = [
        [alive[position] for position in group] for group in groups(average, found["critical_difference"])
    ]
    return found
