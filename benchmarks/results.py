"""Compares agents on the class-, task- and domain-incremental scenarios of the library, and writes docs/results.md.

    EVERMAP_DATA=~/datasets python -P benchmarks/results.py --seeds 5 --jobs 2 --page docs/results.md

Every scenario, agent and seed is a cell, as in `evermap compare`: an ordinary run in a folder of `--out`, kept when it
is finished. So the page can be completed over several sittings: `--minutes` ends one, after which the cells in flight
are cut off and taken up by the next call; `--table-only` runs nothing. Pairs that are impossible are left out and
listed. The page says how many cells are there. `--equal-bytes-to AGENT` runs every agent that has a store once more
within the bytes that AGENT keeps, and adds that table.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from evermap.errors import UserError
from evermap.reports.comparison_cells import mean
from evermap.reports.comparison_text import Table, markdown, tables
from evermap.scenarios.cells import Grid, named
from evermap.scenarios.compare import Sitting
from evermap.scenarios.comparison import compare
from evermap.scenarios.outcomes import outcome
from evermap.scenarios.record import read_record
from evermap.scenarios.scenario import load_scenario
from evermap.scenarios.seed_list import seeds_of

SCENARIOS = (
    # task-incremental
    "digits-split",
    "digits-permutations-tasks",
    "composite",
    "unrelated",
    "few-shot-omniglot",
    # class-incremental
    "digits-class",
    "class-incremental-glyphs",
    "class-incremental-fashion",
    # domain-incremental
    "digits-permutations",
    "digits-rotations",
)
OURS = ("auto", "probe", *(f"fixed:{name}" for name in ("scratch", "finetune", "prototype", "distill", "maml")))
COMPETITORS = (
    "Naive",
    "Cumulative",
    "Replay",
    "GDumb",
    "EWC",
    "SynapticIntelligence",
    "MAS",
    "LwF",
    "AGEM",
    "DER",
    "ER_ACE",
    "MIR",
    "PackNet",
    "PNN",
    "CWRStar",
    "SCR",
    "StreamingLDA",
    "ICaRL",
)
AGENTS = (*OURS, "independent", "joint", *(f"avalanche:{name}" for name in COMPETITORS))
PUBLISHED = Path(__file__).with_name("published.toml")
DATA = Path(os.environ["EVERMAP_DATA"]).absolute() if os.environ.get("EVERMAP_DATA") else None


def sittings(
    scenarios: Sequence[str],
    agents: Sequence[str],
    seeds: Sequence[int],
    size: str,
    out: Path,
    jobs: int,
    equal_to: str | None = None,
) -> tuple[list[Sitting], list[str]]:
    """One sitting per scenario, with the agents that are possible there; and what is left out, with the reason."""
    found, left_out = [], []
    for scenario in scenarios:
        possible, wrong = [], {}
        for agent in agents:
            try:
                load_scenario(scenario, [f"agent.selector={agent!r}"], DATA, size=size)
            except UserError as error:
                wrong.setdefault(str(error).replace(repr(agent), "…"), []).append(agent)
            else:
                possible.append(agent)
        left_out += [f"{scenario} with {', '.join(each)}: {why}" for why, each in wrong.items()]
        if possible:
            grid = Grid((scenario,), tuple(possible), tuple(seeds), size=size, data_root=DATA)
            found.append(Sitting(grid, out, jobs, equal_to=equal_to if equal_to in possible else None))
    return found, left_out


def work(sitting: Sitting, until: float) -> None:
    """Run what is missing, as long as there is time; say what ends."""
    with closing(sitting.work()) as steps:
        for step in steps:
            if step is not None and step.state in ("done", "failed"):
                said = step.why or f"{step.outcome.values['accuracy']}"
                print(f"{step.cell.label} {step.cell.agent} seed {step.cell.seed}: {step.state} {said}", flush=True)
            if time.monotonic() > until:
                return


def page(
    all_of: Sequence[Sitting],
    left_out: Sequence[str],
    agents: Sequence[str],
    command: str,
    equal_to: str | None = None,
) -> str:
    """The page of results from the cells that are finished."""
    cells = [(sitting, cell) for sitting in all_of for cell in sitting.cells]
    there = [cell for sitting, cell in cells if sitting.finished(cell)]
    failures = [failure for sitting in all_of for failure in sitting.failures.values()]
    outcomes = [named(cell, outcome(read_record(cell.folder))) for cell in there]
    found: dict[str, Any] = compare(outcomes, agents[0] if any(c.agent == agents[0] for c in there) else None, failures)
    if equal_to is not None:
        found["equal_bytes"] = at_equal_bytes(all_of)
    missing = len(cells) - len(there)
    state = "all of them" if not missing else f"{missing} are missing, and the numbers are about the others"
    text = (
        "# Results\n\n"
        "Agents side by side, paired by seed: the same data, order and initialisation for all, the same budget in "
        "FLOPs per task. [compare.md](compare.md) defines every column.\n\n"
        f"**{len(there)} of {len(cells)} cells** (scenario, agent, seed) are there: {state}. "
        "Made by this command, which keeps finished cells and runs what is missing:\n\n"
        f"```console\n$ {command}\n```\n\n"
    )
    if there:
        first, *others = map(markdown, tables(found))
        text += "\n".join(part for part in (first, published(found), *others) if part)
    if left_out:
        text += "\nLeft out:\n\n" + "".join(f"- {each}\n" for each in left_out)
    return text


def at_equal_bytes(all_of: Sequence[Sitting]) -> dict[str, Any] | None:
    """Gather what was run within the bytes of one agent on every scenario; None where nothing was."""
    each = [part for sitting in all_of if (part := sitting.comparison()["equal_bytes"]) and part["scenarios"]]
    if not each:
        return None
    return {
        **each[0],
        "agents": list(dict.fromkeys(agent for part in each for agent in part["agents"])),
        "scenarios": [scenario for part in each for scenario in part["scenarios"]],
        "ranks": {"agents": [], "scenarios": [], "critical_difference": None},
    }


def published(found: Mapping[str, Any]) -> str:
    """Set figures that others report beside those of the nearest scenarios that were run; nothing where none was."""
    data = tomllib.loads(PUBLISHED.read_text("utf-8"))
    ours = {(s["scenario"], a["agent"]): a["means"]["accuracy"] for s in found["scenarios"] for a in s["agents"]}
    rows, differs = [], dict[str, str]()
    for each in data["figures"]:
        benchmark = data["benchmarks"][each["benchmark"]]
        near = {
            name: mean(value, "share")
            for (name, agent), value in ours.items()
            if agent == each["method"] and name.removesuffix("-short") in benchmark["nearest"]
        }
        if near:
            differs[each["benchmark"]] = benchmark["differs"]
            theirs = ["–" if each.get(who) is None else f"{100 * each[who]:.0f}" for who in ("published", "avalanche")]
            said = "; ".join(f"{value} ({name})" for name, value in near.items())
            what = "; ".join(filter(None, (each.get("setup"), f"as for {each['benchmark']}")))
            rows.append([each["method"], each["benchmark"], *theirs, said, what, each["source"]])
    if not rows:
        return ""
    head = ["agent", "published on", "published", "Avalanche’s baselines", "here (%)", "what differs", "source"]
    remarks = [f"{name} differs from what was run here: {what}." for name, what in differs.items()]
    remarks.append("Avalanche’s baselines: the table in the README of ContinualAI/continual-learning-baselines.")
    return markdown(Table("Beside published figures: average accuracy at the end, in %", head, rows, remarks))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", help="names or files; the ones of the page when left out")
    parser.add_argument(
        "--with", dest="agents", action="append", metavar="AGENT", help="agents; the page's when left out"
    )
    parser.add_argument("--seeds", default="5", help="how many, or which: 5, 0-4, 0,3")
    parser.add_argument("--size", choices=("short", "default"), default="short")
    parser.add_argument("--out", type=Path, default=Path("runs/results"), help="folder of the cells")
    parser.add_argument("--page", type=Path, help="where to write the page; printed when left out")
    parser.add_argument("--equal-bytes-to", metavar="AGENT", help="one more table, in which stores are bounded")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="how long this sitting may last")
    parser.add_argument("--table-only", action="store_true", help="run nothing; write what is finished")
    given = parser.parse_args()
    agents = tuple(given.agents or AGENTS)
    names = tuple(given.scenarios or SCENARIOS)
    all_of, left_out = sittings(
        names, agents, seeds_of(given.seeds), given.size, given.out, given.jobs, given.equal_bytes_to
    )
    until = time.monotonic() + 60 * given.minutes
    try:
        for sitting in () if given.table_only else all_of:
            if time.monotonic() <= until:
                try:
                    work(sitting, until)
                except UserError as error:
                    left_out.append(f"{sitting.grid.scenarios[0]}: {error}")
    except KeyboardInterrupt:
        print("interrupted: finished cells are kept", file=sys.stderr)
    words = [*given.scenarios, *(f"--with {agent!r}" for agent in given.agents or ()), f"--seeds {given.seeds}"]
    words += [f"--equal-bytes-to {given.equal_bytes_to!r}"] if given.equal_bytes_to else []
    command = " ".join(["python -P benchmarks/results.py", *words, f"--size {given.size}", "--page docs/results.md"])
    text = page(all_of, left_out, agents, command, given.equal_bytes_to)
    if given.page:
        given.page.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
