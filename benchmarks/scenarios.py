"""Runs every scenario of the library with scratch, finetune and prototype, and writes the tables of docs/scenarios.md.

    python benchmarks/scenarios.py --size short --seeds 3 --page docs/scenarios.md --figure docs/scenarios.png
    python benchmarks/scenarios.py --agents fixed:scratch probe --first-seed 100 --seeds 1 --show seconds
    python benchmarks/scenarios.py NAME --agents fixed:scratch fixed:reuse --first-seed 100 --seeds 3 --show accuracy
    python benchmarks/scenarios.py NAME --agents fixed:scratch fixed:reuse --first-seed 100 --seeds 3 --show expected

Without `--show` the table says what every scenario is as well; with it, the given agents' accuracies or CPU seconds
alone, or whether what was expected came out, in the page's part of the name `--part`. Seconds are CPU seconds of a
process, for loading data, learning and evaluating; imports are not in them. A finished cell (scenario, size, agent,
seed) is a line of the file `--cells`: a second call goes on where the first one stopped, and makes a cell again whose
recipe has changed. Scenarios whose data are not below EVERMAP_DATA are left out, and the page says so. `--figure` draws
samples of every stream. Accuracy is that of the last row, averaged over the matrix's columns; R² for regression.

What is expected are the strategies that the first sentence of a scenario's `expected` names. It held where the best of
them is ahead of the best other strategy by more than the 95 % interval of their difference, paired by seed (Student's
t), failed where it is behind by more, and is undecided between. A strategy that learned no task itself, so that
`scratch` stood in throughout, is none of the others.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

# Where published data sets are.
DATA = Path(os.environ["EVERMAP_DATA"]) if os.environ.get("EVERMAP_DATA") else None
AGENTS = ("fixed:scratch", "fixed:finetune", "fixed:prototype")


Cells = dict[tuple[str, str, int], Any]


def cell(job: tuple[str, str, str, int]) -> dict[str, Any]:
    """Run one agent with one seed through one scenario."""
    name, size, agent, seed = job
    import torch

    from evermap.scenarios.run import run  # Avalanche with it, before the clock starts
    from evermap.scenarios.scenario import load_scenario, recipe_hash

    torch.set_num_threads(1)
    scenario = load_scenario(name, [f"agent.selector={agent}", f"seed={seed}"], DATA, size=size)
    began, values, learned = time.process_time(), (float("nan"),), []
    with tempfile.TemporaryDirectory() as folder:
        for event in run(scenario, Path(folder), data_root=DATA):
            body = event.to_json()
            if body["event"] == "Evaluated":
                values = body["values"]
            elif body["event"] == "Learned":
                learned.append(body["strategy"])
    return {
        "scenario": name,
        "size": size,
        "agent": agent,
        "seed": seed,
        "recipe": recipe_hash(scenario),
        "accuracy": statistics.fmean(values),
        "seconds": round(time.process_time() - began, 2),
        "own": learned.count(agent.removeprefix("fixed:")),
    }


def wanted(
    names: list[str], size: str, seeds: Iterable[int], agents: Sequence[str] = AGENTS
) -> tuple[dict[tuple[str, str, int], str], dict[str, str]]:
    """List the cells with the hash of their recipe, and why scenarios are left out."""
    from evermap.errors import UserError
    from evermap.scenarios.scenario import load_scenario, recipe_hash
    from evermap.streams.stream import build_stream

    cells, left_out = {}, {}
    for name in names:
        try:
            scenario = load_scenario(name, data_root=DATA, size=size)
            build_stream(scenario.stream, scenario.seed, DATA)
        except UserError as error:
            left_out[name] = str(error).removeprefix(f"{name}: ").replace(str(DATA), "EVERMAP_DATA")
            continue
        for agent in agents:
            for seed in seeds:
                changed = load_scenario(name, [f"agent.selector={agent}", f"seed={seed}"], DATA, size=size)
                cells[name, agent, seed] = recipe_hash(changed)
    return cells, left_out


def reasons(left_out: Mapping[str, str]) -> list[str]:
    """Say why scenarios are left out, those of one reason together."""
    together: dict[str, list[str]] = {}
    for name, why in left_out.items():
        together.setdefault(why, []).append(f"`{name}`")
    return [f"{', '.join(names)} ({why.rstrip('.')})" for why, names in together.items()]


def finished(path: Path, size: str) -> Cells:
    """Read the finished cells of a size; of two with the same name, the last counts."""
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return {(row["scenario"], row["agent"], row["seed"]): row for row in rows if row["size"] == size}


def table(cells: Cells, done: Cells, size: str) -> str:
    """Write the Markdown table of all cells with what their scenarios are; the best of a scenario is bold."""
    from evermap.scenarios.scenario import load_scenario
    from evermap.streams.stream import build_stream

    agents = list(dict.fromkeys(each[1] for each in cells))
    heads = " | ".join(agent.removeprefix("fixed:") for agent in agents)
    lines = [
        f"| scenario | setting | tasks | shape | {heads} | what it shows |",
        "| --- | --- | ---: | --- |" + " ---: |" * len(agents) + " --- |",
    ]
    for name in dict.fromkeys(each[0] for each in cells):
        scenario = load_scenario(name, data_root=DATA, size=size)
        stream = build_stream(scenario.stream, scenario.seed, DATA)
        texts = " | ".join(entries(cells, done, name, agents, "accuracy"))
        shape = "×".join(map(str, stream.input_shape))
        shows = scenario.shows.partition(": ")[0].partition(". ")[0].rstrip(".")
        lines.append(f"| {name} | {scenario.stream.setting.value} | {len(stream)} | {shape} | {texts} | {shows} |")
    return "\n".join(lines)


def narrow_table(cells: Cells, done: Cells, value: str) -> str:
    """Write the Markdown table of one value ("accuracy" or "seconds") of every scenario and agent, and no more."""
    agents = list(dict.fromkeys(each[1] for each in cells))
    lines = [f"| scenario | {' | '.join(agents)} |", "| --- |" + " ---: |" * len(agents)]
    for name in dict.fromkeys(each[0] for each in cells):
        lines.append(f"| {name} | {' | '.join(entries(cells, done, name, agents, value))} |")
    return "\n".join(lines)


def expected_of(text: str) -> list[str]:
    """Name the strategies of the first sentence of an expectation."""
    from evermap import registry

    words = re.findall(r"[a-z]+", re.split("[:.]", text)[0])
    return [name for name in registry.registered("strategy") if name in words]


def verdict(name: str, expected: Sequence[str], cells: Cells, done: Cells) -> list[str]:
    """Say whether a scenario's expectation held.

    Args:
        name: The scenario.
        expected: Strategies of which one is expected to win.
        cells: All cells that are wanted.
        done: Those that are finished.

    Returns:
        The best expected strategy, the best other one, their difference with its 95 % interval, and the verdict.
    """
    from scipy.stats import t

    runs: dict[str, dict[int, Any]] = {}
    for (scenario, agent, seed), row in done.items():
        if scenario == name and (scenario, agent, seed) in cells:
            runs.setdefault(agent.removeprefix("fixed:"), {})[seed] = row
    scores = {
        agent: {seed: row["accuracy"] for seed, row in rows.items()}
        for agent, rows in runs.items()
        if any(row["own"] for row in rows.values())
    }
    ahead = sorted(scores, key=lambda agent: -statistics.fmean(scores[agent].values()))
    ours, others = [a for a in ahead if a in expected], [a for a in ahead if a not in expected]
    if not ours or not others:
        return [*(each[0] if each else "n/a" for each in (ours, others)), "n/a", "n/a (nothing to compare)"]
    first, second = scores[ours[0]], scores[others[0]]
    seeds = sorted(first.keys() & second.keys())
    apart = [100 * (first[seed] - second[seed]) for seed in seeds]
    if len(apart) < 2:
        return [ours[0], others[0], "n/a", "n/a (one seed)"]
    mean = statistics.fmean(apart)
    half = float(t.ppf(0.975, len(apart) - 1)) * statistics.stdev(apart) / len(apart) ** 0.5
    said = "held" if mean > half else "failed" if mean < -half else "undecided"
    return [ours[0], others[0], f"{mean:+.1f} ± {half:.1f}", said]


def expectations(cells: Cells, done: Cells, size: str) -> str:
    """Write the Markdown table of what was expected of every scenario, and what came out."""
    from evermap.scenarios.scenario import load_scenario

    lines = [
        "| scenario | expected | best of these | best other | points apart | |",
        "| --- | --- | --- | --- | ---: | --- |",
    ]
    for name in dict.fromkeys(each[0] for each in cells):
        expected = expected_of(load_scenario(name, data_root=DATA, size=size).expected)
        told = verdict(name, expected, cells, done)
        lines.append(f"| {name} | {', '.join(expected) or 'none'} | {' | '.join(told)} |")
    return "\n".join(lines)


def entries(cells: Cells, done: Cells, name: str, agents: Sequence[str], value: str) -> list[str]:
    """Write the mean over seeds with its standard error for each agent; the highest accuracy is bold."""
    digits, texts = {"accuracy": 3, "seconds": 1}[value], []
    measured = [[done[c][value] for c in cells if c[:2] == (name, agent) and c in done] for agent in agents]
    means = [statistics.fmean(values) if values else float("-inf") for values in measured]
    for values, mean in zip(measured, means, strict=True):
        error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
        spread = f" ± {error:.{digits}f}" if error is not None else ""
        text = f"{mean:.{digits}f}{spread}" if values else "n/a (not run)"
        texts.append(f"**{text}**" if values and value == "accuracy" and mean == max(means) else text)
    return texts


def figure(names: list[str], size: str, path: Path) -> None:
    """Draw a row for every stream of images: samples of five of its tasks, from the first to the last."""
    from matplotlib.figure import Figure

    from evermap.scenarios.sample_sheet import strip
    from evermap.scenarios.scenario import load_scenario
    from evermap.streams.stream import build_stream

    rows = []
    for name in names:
        scenario = load_scenario(name, data_root=DATA, size=size)
        stream = build_stream(scenario.stream, scenario.seed, DATA)
        if stream.kind == "image":
            picked = sorted({round(k * (len(stream) - 1) / 4) for k in range(5)})
            rows.append((name, [strip(stream.task(i)) for i in picked]))
    shown = Figure(figsize=(12, 0.36 * len(rows)))
    axes = shown.subplots(len(rows), 5, squeeze=False)
    for (name, strips), line in zip(rows, axes, strict=True):
        for axis in line:
            axis.axis("off")
        for axis, each in zip(line, strips, strict=False):
            axis.imshow(each.numpy(), cmap="gray", vmin=0, vmax=1)
        line[0].text(-0.03, 0.5, name, transform=line[0].transAxes, ha="right", va="center", fontsize=7)
    shown.subplots_adjust(left=0.17, right=0.995, top=0.995, bottom=0.005, wspace=0.03, hspace=0.12)
    shown.savefig(path, dpi=100, metadata={"Software": None})


def main() -> None:
    """Read the command line, run what is missing, write the page."""
    from evermap.scenarios.scenario import library

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", help="names; all of the library when left out")
    parser.add_argument("--size", choices=("short", "default"), default="short")
    parser.add_argument("--agents", nargs="+", default=AGENTS, help="values of the recipe's agent.selector")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them; pilots begin at 100")
    parser.add_argument("--show", choices=("accuracy", "seconds", "expected"), help="this alone")
    parser.add_argument("--cells", type=Path, default=Path("runs/scenarios.jsonl"), help="file of finished cells")
    parser.add_argument("--page", type=Path, help="page whose table is replaced; printed when left out")
    parser.add_argument(
        "--part", default="table", help="which table of the page: the one between comments of this name"
    )
    parser.add_argument("--figure", type=Path, help="where to draw samples of every stream")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--table-only", action="store_true", help="run nothing; write what is finished")
    given = parser.parse_args()
    names = given.scenarios or list(library())
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    cells, left_out = wanted(names, given.size, seeds, given.agents)
    done = finished(given.cells, given.size)
    done = {key: row for key, row in done.items() if cells.get(key) == row["recipe"]}
    missing = [] if given.table_only else [c for c in cells if c not in done]
    missing.sort(key=lambda c: c[2])  # seed by seed, so that a table of fewer seeds is there early
    if missing:
        given.cells.parent.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(given.jobs) as pool, given.cells.open("a") as file:
            for row in pool.map(cell, [(name, given.size, agent, seed) for name, agent, seed in missing]):
                file.write(json.dumps(row) + "\n")
                file.flush()
                done[row["scenario"], row["agent"], row["seed"]] = row
    if given.show == "expected":
        text = expectations(cells, done, given.size)
    else:
        text = narrow_table(cells, done, given.show) if given.show else table(cells, done, given.size)
    said = "".join(f"\nLeft out here: {each}." for each in reasons(left_out))
    until = f"s {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f" {seeds[0]}"
    text = f"Size `{given.size}`, seed{until}, {len(done)} of {len(cells)} cells.\n\n{text}\n{said}"
    if given.figure:
        figure([name for name in names if name not in left_out], given.size, given.figure)
    if given.page:
        start, end = f"<!-- {given.part} -->", f"<!-- end of {given.part} -->"
        before, found, rest = given.page.read_text().partition(start)
        if not found or end not in rest:
            raise SystemExit(f"{given.page}: the lines {start} and {end} are needed around the table.")
        given.page.write_text(f"{before}{start}\n\n{text}\n{end}{rest.partition(end)[2]}")
    else:
        print(text)


if __name__ == "__main__":
    main()
