"""Measures what choosing is worth: the selector against every fixed strategy, other selectors and an oracle.

    python -P benchmarks/selection.py --jobs 2 --page docs/selection.md            # the first form (make selection)
    python -P benchmarks/selection.py --full --seeds 10 --jobs 2 --page docs/selection.md

Scenarios, agents and aims are written down in docs/selection.md. Every scenario, agent and seed is a cell: an ordinary
run in a folder of `--out`, kept when it is finished, so that the table can be completed over several sittings;
`--minutes` ends one, `--table-only` runs nothing. The selector's own runs have every arm run beside them (`evermap
regret`), whose outcomes serve the oracle and what trying everything would have picked.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from evermap.errors import RecordError
from evermap.scenarios import regret
from evermap.scenarios.cells import Cell, Grid, cells_of, finished
from evermap.scenarios.compare import Sitting
from evermap.scenarios.gap import Gap, Values, gap_closed, picked_crosswise
from evermap.scenarios.paired import holm, largest_loss, mean_interval, not_worse, signed_rank, smallest_p
from evermap.scenarios.record import Record, read_record
from evermap.scenarios.regret_summary import Part, learned_values, summarise
from evermap.scenarios.run import run
from evermap.scenarios.run_folder import write_atomically
from evermap.scenarios.scenario import load_scenario
from evermap.scenarios.seed_list import seeds_of

# The six of the first form, named before anything was run on their reported seeds.
FIRST = (
    "composite",
    "few-shot-glyphs",
    "ctrl-s-minus-embedded",
    "ctrl-s-out-embedded",
    "label-noise",
    "control-homogeneous",
)
# Every scenario of the library in which choosing can matter: a task label is given when asked, or values are.
FULL = (
    *FIRST,
    "compression",
    "control-random",
    "ctrl-s-in-embedded",
    "ctrl-s-long-embedded",
    "ctrl-s-pl-embedded",
    "ctrl-s-plus-embedded",
    "demo",
    "digits-fewshot",
    "digits-permutations-tasks",
    "digits-split",
    "long-glyphs",
    "recurring-hidden",
    "related-large",
    "sinusoids-shift",
    "unrelated",
)
STRATEGIES = ("scratch", "finetune", "prototype", "reuse", "distill", "multitask", "maml", "protonet")
OURS = "auto"
OTHERS = ("probe", "rules", "bandit", "mntdp", "random", "always-try-all")
ABLATIONS = ("auto:no-probe", "auto:no-try", "auto:no-guard", "auto:no-prior", "auto:logme", "auto:shuffled")
# Paired seeds from which seeds are the unit of the test: fewer cannot give p < .05.
FEWEST_SEEDS = 6
START, END = "<!-- table -->", "<!-- end of table -->"


@dataclass(frozen=True)
class Measured:
    """What is there of one scenario.

    Attributes:
        name: The scenario.
        seeds: The seeds of which everything is there.
        tasks: Number of its tasks.
        values: Agent to its mean accuracy over tasks right after each was learned, per seed.
        naive: Of the oracle that picks on the whole test set.
        split: Of the oracle that picks on one half and is valued on the other.
        choosing: Per task of all seeds, share of the budget that choosing took.
        whole: Per task, share of the budget that was spent.
        flops: Agent to FLOPs per run, as a multiple of `fixed:scratch`.
        seconds: Agent to CPU seconds per run, likewise.
    """

    name: str
    seeds: tuple[int, ...]
    tasks: int
    values: Mapping[str, tuple[float, ...]]
    naive: tuple[float, ...]
    split: tuple[float, ...] | None
    choosing: tuple[float, ...]
    whole: tuple[float, ...]
    flops: Mapping[str, float]
    seconds: Mapping[str, float]

    def fixed(self) -> dict[str, tuple[float, ...]]:
        """Values of the fixed strategies."""
        return {name: each for name, each in self.values.items() if name.startswith("fixed:")}

    def over_best_fixed(self) -> tuple[float, ...]:
        """What the selector gained on the best fixed strategy, which was picked on the other half of the seeds."""
        best, _ = picked_crosswise(self.fixed())
        return tuple(ours - theirs for ours, theirs in zip(self.values[OURS], best, strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="all scenarios in their default size")
    parser.add_argument("--scenario", action="append", help="another scenario; may be repeated")
    parser.add_argument("--ablations", action="store_true", help="the selector without each of its parts as well")
    parser.add_argument("--transfer", action="store_true", help="and with the experience of all other scenarios")
    parser.add_argument("--other", action="append", help="another selector, in place of all of them; may be repeated")
    parser.add_argument("--size", choices=["default", "short"], help="left out: short, or default with --full")
    parser.add_argument("--seeds", default="3")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing after so many minutes")
    parser.add_argument("--out", type=Path, default=Path("runs/selection"))
    parser.add_argument("--page", type=Path, help="the page whose table is written anew")
    parser.add_argument("--table-only", action="store_true")
    given = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    size = given.size or ("default" if given.full else "short")
    names = tuple(given.scenario or (FULL if given.full else FIRST))
    others = (*(given.other or OTHERS), *(ABLATIONS if given.ablations else ()))
    agents = (*(f"fixed:{name}" for name in STRATEGIES), *others)
    seeds = seeds_of(given.seeds)
    measured = []
    end = time.monotonic() + 60 * given.minutes
    for name in names:
        if not given.table_only and time.monotonic() < end:
            carry_out(name, agents, seeds, size, given.out, given.jobs, end)
        found = read(name, agents, seeds, size, given.out)
        if found is not None:
            measured.append(found)
            print(f"{name}: {len(found.seeds)} of {len(seeds)} seeds", flush=True)
    command = "python -P benchmarks/selection.py " + " ".join(_again(given, size))
    text = page(measured, names, agents, seeds, size, command)
    if given.transfer:
        text += "\n" + "\n".join(transfer(measured, size, given.out, given.table_only, end))
    if given.page is None:
        print(text)
    else:
        _write(given.page, text)
    return 0


def carry_out(
    name: str, agents: Sequence[str], seeds: Sequence[int], size: str, out: Path, jobs: int, end: float
) -> None:
    """Run the cells of a scenario that are missing."""
    grid = Grid((name,), tuple(agents), tuple(seeds), size=size)
    sitting = Sitting(grid, out / "cells", jobs)
    with closing(sitting.work()) as steps:
        for step in steps:
            if step is not None and step.state in ("done", "failed"):
                print(f"{name}, {step.cell.agent}, seed {step.cell.seed}: {step.state} {step.why}", flush=True)
            if time.monotonic() > end:
                return
    _, cells = _own(name, seeds, size, out)
    for done in regret.run_cells(cells, jobs):
        print(f"{done.cell.title}: {'kept' if done.kept else 'done'}", flush=True)
        if time.monotonic() > end:
            return


def _own(name: str, seeds: Sequence[int], size: str, out: Path) -> tuple[list[Part], list[regret.Cell]]:
    """The selector's own cells, with every arm."""
    recipe = load_scenario(name, [f'agent.selector="{OURS}"'], size=size)
    return regret.planned([recipe], seeds, (), out / "regret")


def read(name: str, agents: Sequence[str], seeds: Sequence[int], size: str, out: Path) -> Measured | None:
    """Read what is finished of a scenario: the seeds of which every agent is there; None where there is none."""
    cells: dict[tuple[str, int], Cell] = {}
    for cell in cells_of(Grid((name,), tuple(agents), tuple(seeds), size=size), out / "cells"):
        if finished(cell):
            cells[cell.agent, cell.seed] = cell
    _, own = _own(name, seeds, size, out)
    ours = {cell.scenario.seed: cell for cell in own if regret.is_finished(cell)}
    whole = tuple(s for s in seeds if s in ours and all((agent, s) in cells for agent in agents))
    if not whole:
        return None
    records = {OURS: [read_record(ours[s].folder) for s in whole]}
    records |= {agent: [read_record(cells[agent, s].folder) for s in whole] for agent in agents}
    values = {agent: tuple(float(np.mean(learned_values(r))) for r in each) for agent, each in records.items()}
    parts = [Part(name, whole, tuple(ours[s].folder for s in whole))]
    runs = summarise(OURS, parts)["scenarios"][0]["runs"]
    split = [[task["split"] for task in run["tasks"]] for run in runs]
    spent = {agent: [_spent(record) for record in each] for agent, each in records.items()}
    scratch = spent["fixed:scratch"]
    shares = [share for record in records[OURS] for share in _shares(record)]
    return Measured(
        name=name,
        seeds=whole,
        tasks=len(runs[0]["tasks"]),
        values=values,
        naive=tuple(float(np.mean([task["naive"] for task in run["tasks"]])) for run in runs),
        split=None if any(s is None for each in split for s in each) else tuple(float(np.mean(s)) for s in split),
        choosing=tuple(share[0] for share in shares),
        whole=tuple(share[1] for share in shares),
        flops={a: float(np.mean([x[0] for x in s]) / np.mean([x[0] for x in scratch])) for a, s in spent.items()},
        seconds={a: float(np.mean([x[1] for x in s]) / np.mean([x[1] for x in scratch])) for a, s in spent.items()},
    )


def _spent(record: Record) -> tuple[float, float]:
    """FLOPs and CPU seconds of everything that was done for the tasks of a run."""
    learned = [event for event in record.events if event["event"] == "Learned"]
    return sum(e["total_flops"] for e in learned), sum(e["seconds"] for e in learned)


def _shares(record: Record) -> list[tuple[float, float]]:
    """Per task: share of the budget for choosing, and share that was spent in all.

    Choosing is the profile and everything in the try-outs (losers, heads that were compared, the default's fit, arms
    that diverged) but for the winner's own part.
    """
    found, at = [], dict[int, dict[str, Any]]()
    for event in record.events:
        at.setdefault(event.get("task"), {})[event["event"]] = event
    for events in at.values():
        if "Learned" not in events or not events["TaskStarted"]["budget"]:
            continue
        budget, chosen = events["TaskStarted"]["budget"], events["Chosen"]
        own = sum(
            each["flops"]
            for each in chosen["tried"]
            if (each["strategy"], each["source"]) == (chosen["strategy"], chosen["source"])
        )
        choosing = events["Profiled"]["flops"] + chosen["flops"] - own
        found.append((choosing / budget, events["Learned"]["total_flops"] / budget))
    return found


# The page


def page(
    measured: Sequence[Measured],
    names: Sequence[str],
    agents: Sequence[str],
    seeds: Sequence[int],
    size: str,
    command: str,
) -> str:
    """Write the tables."""
    there = sum(len(each.seeds) for each in measured)
    lines = [
        f"`{command}`, commit {_commit()}, {datetime.now(UTC):%Y-%m-%d}. Size `{size}`; {there} of "
        f"{len(names) * len(seeds)} pairs of scenario and seed are there. Accuracy (R² for regression) right after a "
        "task was learned, mean over tasks and seeds, in points.",
        "",
    ]
    if not measured:
        return "\n".join([*lines, "Nothing is finished yet."])
    order = sorted(measured, key=lambda each: float(np.mean(each.over_best_fixed())))
    lines += _gaps(order) + _everybody(order, agents) + _pairs(order, agents) + _costs(order)
    return "\n".join(lines)


def _gaps(order: Sequence[Measured]) -> list[str]:
    """How far the selector gets from the best fixed strategy to the oracle; where it loses stands first."""
    lines = [
        "| scenario | tasks × seeds | best fixed | auto | difference | loss at most | not worse by > 1 | oracle, split "
        "| oracle, naive | gap closed, split | gap closed, naive |",
        "| --- | ---: | --- | ---: | ---: | ---: | --- | ---: | ---: | --- | --- |",
    ]
    for each in order:
        best, chosen = picked_crosswise(each.fixed())
        difference = each.over_best_fixed()
        loss, verdict = largest_loss(difference), not_worse(difference)
        gaps = {kind: _gap([each], kind) for kind in ("split", "naive")}
        cells = [
            each.name,
            f"{each.tasks} × {len(each.seeds)}",
            f"{100 * float(np.mean(best)):.1f} ({', '.join(sorted({c.removeprefix('fixed:') for c in chosen}))})",
            f"{100 * float(np.mean(each.values[OURS])):.1f}",
            f"{100 * float(np.mean(difference)):+.1f}",
            "n/a" if loss is None else f"{100 * loss:+.1f}",
            verdict or "n/a",
            "n/a" if each.split is None else f"{100 * float(np.mean(each.split)):.1f}",
            f"{100 * float(np.mean(each.naive)):.1f}",
            _said(gaps["split"]),
            _said(gaps["naive"]),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    pooled = {kind: _said(_gap(order, kind)) for kind in ("split", "naive")}
    lines += [
        "",
        f"Pooled over these scenarios gap closed is {pooled['split']} of the split-half oracle and {pooled['naive']} "
        "of the naive one (ratio of sums, percentile bootstrap over seeds).",
        "",
    ]
    return lines


def _gap(measured: Sequence[Measured], kind: str) -> Gap | None:
    parts = [
        Values(each.seeds, each.values[OURS], oracle, each.fixed())
        for each in measured
        if (oracle := each.split if kind == "split" else each.naive) is not None
    ]
    return gap_closed(parts) if parts else None


def _said(gap: Gap | None) -> str:
    if gap is None or gap.value is None:
        return "n/a"
    return f"{gap.value:.2f} ({gap.low:.2f} to {gap.high:.2f})"


def _everybody(order: Sequence[Measured], agents: Sequence[str]) -> list[str]:
    """Every agent on every scenario; the ranks are by accuracy."""
    lines = ["| agent | " + " | ".join(each.name for each in order) + " | mean | FLOPs | CPU s |"]
    lines.append("| --- |" + " ---: |" * (len(order) + 3))
    means = {agent: [float(np.mean(each.values[agent])) for each in order] for agent in (OURS, *agents)}
    for agent in sorted(means, key=lambda name: -float(np.mean(means[name]))):
        best = [max(means[other][k] for other in means) for k in range(len(order))]
        cells = [
            f"**{100 * v:.1f}**" if v == top else f"{100 * v:.1f}" for v, top in zip(means[agent], best, strict=True)
        ]
        flops, seconds = (float(np.mean([each[agent] for each in costs])) for costs in _cost_maps(order))
        lines.append(
            f"| {agent} | {' | '.join(cells)} | {100 * np.mean(means[agent]):.1f} | {flops:.2f} | {seconds:.2f} |"
        )
    lines += ["", "FLOPs and CPU seconds are of everything done for the tasks, as multiples of `fixed:scratch`.", ""]
    return lines


def _cost_maps(order: Sequence[Measured]) -> tuple[list[Mapping[str, float]], list[Mapping[str, float]]]:
    return [each.flops for each in order], [each.seconds for each in order]


def _pairs(order: Sequence[Measured], agents: Sequence[str]) -> list[str]:
    """The selector against every other agent, pooled.

    Seeds of one scenario are not independent of each other where scenarios differ more than seeds: one number for each
    seed is tested, the mean over scenarios, where there are six seeds or more of all; else one for each scenario.
    """
    seeds = sorted(set.intersection(*(set(each.seeds) for each in order)))
    by_seed = len(seeds) >= FEWEST_SEEDS
    differences = {}
    for agent in agents:
        table = {
            (each.name, seed): ours - theirs
            for each in order
            for seed, ours, theirs in zip(each.seeds, each.values[OURS], each.values[agent], strict=True)
        }
        if by_seed:
            differences[agent] = [float(np.mean([table[each.name, seed] for each in order])) for seed in seeds]
        else:
            differences[agent] = [float(np.mean([table[each.name, seed] for seed in each.seeds])) for each in order]
    p = dict(zip(agents, holm([signed_rank(differences[agent]) for agent in agents]), strict=True))
    n = len(seeds) if by_seed else len(order)
    pairs = "seeds (means over scenarios)" if by_seed else "scenarios (means over seeds)"
    least = smallest_p(n)
    lines = [
        f"Pairs are {pairs}: {n} of them cannot give a p below {least:.3f}, {min(1.0, len(agents) * least):.3f} after "
        "Holm's correction.",
        "",
        "| auto against | mean difference | pairs | p (Wilcoxon, Holm) |",
        "| --- | ---: | ---: | ---: |",
    ]
    for agent in sorted(agents, key=lambda name: float(np.mean(differences[name]))):
        value = p[agent]
        said = "n/a" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
        mean = 100 * float(np.mean(differences[agent]))
        lines.append(f"| {agent} | {mean:+.1f} | {len(differences[agent])} | {said} |")
    return [*lines, ""]


def _costs(order: Sequence[Measured]) -> list[str]:
    """What choosing took of the budget."""
    lines = [
        "Shares of a task's budget. Choosing is the profile and all try-outs but for the winner's own part.",
        "",
        "| scenario | choosing: mean, largest | whole: mean, largest | tasks above 0.20; 1.00 |",
        "| --- | --- | --- | --- |",
    ]
    for each in order:
        a, b = np.array(each.choosing), np.array(each.whole)
        lines.append(
            f"| {each.name} | {a.mean():.2f}, {a.max():.2f} | {b.mean():.2f}, {b.max():.2f} | "
            f"{int((a > 0.2).sum())}, {int((b > 1.0).sum())} of {len(a)} |"
        )
    return [*lines, ""]


def transfer(measured: Sequence[Measured], size: str, out: Path, table_only: bool, end: float) -> list[str]:
    """Leave one family out: the selector begins on a scenario with what it learned on those of other families."""
    lines = [
        "With the experience of all other families' scenarios, of the same seed (leave one family out), against none:",
        "",
        "| scenario | seeds | none | with | difference |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    own = {
        each.name: {c.scenario.seed: c.folder for c in _own(each.name, each.seeds, size, out)[1]} for each in measured
    }
    every: list[float] = []
    for each in measured:
        found = []
        for seed, without in zip(each.seeds, each.values[OURS], strict=True):
            folder = out / "transfer" / size / each.name / f"seed{seed}"
            others = [other for other in measured if family_of(other.name) != family_of(each.name)]
            priors = [own[other.name][seed] for other in others if seed in own[other.name]]
            if not _is_whole(folder):
                if table_only or not priors or time.monotonic() > end:
                    continue
                shutil.rmtree(folder, ignore_errors=True)
                recipe = load_scenario(each.name, [f'agent.selector="{OURS}"', f"seed={seed}"], size=size)
                for _ in run(recipe, folder, priors=priors):
                    pass
            found.append((without, float(np.mean(learned_values(read_record(folder))))))
        if found:
            a, b = (100 * float(np.mean(x)) for x in zip(*found, strict=True))
            every.append(b - a)
            lines.append(f"| {each.name} | {len(found)} | {a:.1f} | {b:.1f} | {b - a:+.1f} |")
    interval = mean_interval(every)
    if interval is not None:
        low, high = interval
        lines += ["", f"Mean difference {np.mean(every):+.2f} points (95 % interval {low:+.2f} to {high:+.2f})."]
    return [*lines, ""]


def family_of(name: str) -> str:
    """Name the family of a scenario: what tells of one of them tells of the others."""
    families = {"ctrl": "ctrl", "few-shot": "few shots", "digits-fewshot": "few shots", "composite": "few shots"}
    return next((family for start, family in families.items() if name.startswith(start)), name)


def _is_whole(folder: Path) -> bool:
    try:
        return read_record(folder).manifest["status"] == "finished"
    except RecordError:
        return False


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent, check=False
    )
    return done.stdout.strip() or "unknown"


def _again(given: argparse.Namespace, size: str) -> list[str]:
    words = ["--full"] if given.full else []
    words += [word for name in given.scenario or () for word in ("--scenario", name)]
    words += [word for name in given.other or () for word in ("--other", name)]
    words += ["--ablations"] if given.ablations else []
    words += ["--transfer"] if given.transfer else []
    return [*words, "--size", size, "--seeds", given.seeds]


def _write(path: Path, text: str) -> None:
    """Write the page's table anew; what stands around it stays."""
    old = path.read_text(encoding="utf-8") if path.exists() else f"{START}\n{END}\n"
    if START not in old or END not in old:
        sys.exit(f"{path}: has no lines {START!r} and {END!r}, between which the table would stand.")
    new = re.sub(f"{START}.*{END}", lambda _: f"{START}\n\n{text.rstrip()}\n\n{END}", old, flags=re.DOTALL)
    write_atomically(path, new)


if __name__ == "__main__":
    sys.exit(main())
