"""Measures what is lost when the encoder to fine-tune is picked by each score, with fine-tuning as the truth.

    python -P benchmarks/scores.py --seeds 100-102 --page docs/selection.md
    EVERMAP_DATA=~/datasets python -P benchmarks/scores.py --seeds 5 --page docs/selection.md

A task of five classes is given with 20, 50 or 200 samples. Seven encoders are candidates: raw input, random weights,
and networks trained on five other classes, on permuted inputs, on shuffled labels, on little data, and on the same
classes seen before (other samples). Each is fine-tuned on the task and tested: the truth. The regret of a score is the
accuracy of the best candidate less that of the one the score prefers, in points. Images are digits, and Fashion-MNIST
where it is found; text is CLINC150 as hashed n-grams, where it is found.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evermap.agent.arm import Arm, outputs_of
from evermap.agent.closed_form import knn_leave_one_out, ncm_leave_one_out, one_hot, ridge
from evermap.agent.encoder import Encoder, build_encoder, restore_encoder
from evermap.agent.known import Known, Source
from evermap.agent.model import state
from evermap.agent.probe import features_of
from evermap.agent.strategy import make_strategies
from evermap.agent.transferability import h_score, logme
from evermap.errors import UserError
from evermap.scenarios.run_folder import write_atomically
from evermap.scenarios.seed_list import seeds_of
from evermap.streams.spec import stream_spec
from evermap.streams.stream import build_stream
from evermap.streams.task import Samples, Task

SIZES = (20, 50, 200)
STEPS = 200
START, END = "<!-- scores -->", "<!-- end of scores -->"


def of_score(features: Tensor, y: Tensor, classes: int) -> dict[str, float]:
    """Score a candidate: the higher, the better it is thought to be."""
    fit = ridge(features, one_hot(y, classes))
    return {
        "NCM-LOO": ncm_leave_one_out(features, y, classes) or 0.0,
        "ridge-LOO MSE": -fit.loo_mse,
        "ridge-LOO accuracy": float((fit.loo.argmax(dim=1) == y).float().mean()),
        "kNN": knn_leave_one_out(features, y, classes) or 0.0,
        "LogME": logme(features, y, classes),
        "H-score": h_score(features, y, classes),
    }


def pools(name: str, seed: int, root: Path | None) -> tuple[Samples, Samples]:
    """Ten classes of a source: samples to learn from, shuffled, and samples to test on, labels 0 to 9."""
    first = {"digits": 120, "fashion-mnist": 300, "clinc150": 100}[name]
    spec = stream_spec(
        source=name,
        layout="tasks",
        setting="task-incremental",
        train_per_class=first,
        test_per_class=50 if name == "digits" else 30,
        tasks=[{"name": "all", "classes": list(range(10)), "train": first}],
    )
    stream = build_stream(spec, seed, root)
    task, test = stream.task(0), stream.test(0)
    position = {c: i for i, c in enumerate(task.classes)}
    return task.support, Samples(test.x, torch.tensor([position[int(c)] for c in test.y]))


def part(samples: Samples, classes: Sequence[int], start: int, per_class: int) -> Samples:
    """Take some samples of some classes, `per_class` of each from position `start` of its own on; labels count up."""
    found = [torch.nonzero(samples.y == c).flatten()[start : start + per_class] for c in classes]
    y = torch.cat([torch.full((len(each),), i) for i, each in enumerate(found)])
    return Samples(samples.x[torch.cat(found)].clone(), y)


def trained(samples: Samples, seed: int) -> Encoder:
    """Train a network from scratch on some samples, and take its encoder."""
    task = Task("candidate", 0, samples, None, tuple(range(int(samples.y.max()) + 1)))
    arm = Arm(make_strategies({"scratch": {"steps": STEPS}})["scratch"], task, nothing(()), seed=seed)
    for _ in arm.run(float("inf")):
        pass
    if arm.best is None:
        raise RuntimeError("nothing was trained")
    return arm.best.encoder


def nothing(sources: tuple[Source, ...], chosen: str | None = None) -> Known:
    """What a store offers that holds these sources and nothing else."""
    return Known(sources, (), 0, {"name": "mlp", "settings": {}}, chosen=chosen)


def source_of(name: str, encoder: Encoder) -> Source:
    """Offer an encoder as an entry of a store; every copy is fresh."""
    spec, weights = encoder.spec, state(encoder)

    def fresh() -> Encoder:
        return restore_encoder(spec, {key: tensor.clone() for key, tensor in weights.items()})

    def no_model(_: Any) -> Any:
        raise LookupError("it has no head")

    return Source(name, True, None, (), fresh, no_model, "scratch")


def candidates(pool: Samples, seed: int) -> dict[str, Encoder]:
    """Make the seven candidates; what they are trained on is no sample of the task that they are scored for."""
    ours, others = range(5), range(5, 10)
    rng = torch.Generator().manual_seed(seed)
    shape = tuple(pool.x.shape[1:])
    same = part(pool, ours, 40, 60)
    order = torch.randperm(same.x[0].numel(), generator=rng)
    permuted = Samples(same.x.flatten(1)[:, order].reshape(same.x.shape), same.y)
    shuffled = Samples(same.x, same.y[torch.randperm(len(same.y), generator=rng)])
    return {
        "raw": build_encoder("raw", shape, {}, seed),
        "random": build_encoder("mlp", shape, {}, seed),
        "others": trained(part(pool, others, 0, 60), seed + 1),
        "permuted": trained(permuted, seed + 2),
        "shuffled labels": trained(shuffled, seed + 3),
        "little": trained(part(pool, ours, 40, 3), seed + 4),
        "the same before": trained(same, seed + 5),
    }


def cell(name: str, seed: int, root: Path | None) -> dict[int, dict[str, float]]:
    """Regret of every score in points, by number of samples."""
    pool, test = pools(name, seed, root)
    made = candidates(pool, seed)
    tested = part(test, range(5), 0, len(test))
    found = {}
    for n in SIZES:
        support = part(pool, range(5), 0, n // 5)
        task = Task("task", 1, support, None, tuple(range(5)))
        truth, scores = {}, {}
        for candidate, encoder in made.items():
            source = source_of(candidate, encoder)
            arm = Arm(
                make_strategies({"finetune": {"steps": STEPS}})["finetune"],
                task,
                nothing((source,), candidate),
                seed=seed,
            )
            for _ in arm.run(float("inf")):
                pass
            if arm.best is None:
                raise RuntimeError("nothing was fine-tuned")
            right = outputs_of(arm.best, tested.x).argmax(dim=1) == tested.y
            truth[candidate] = 100 * float(right.float().mean())
            scores[candidate] = of_score(features_of(source.encoder(), support.x), support.y, 5)
        best = max(truth.values())
        regret = {"random pick": best - float(np.mean(list(truth.values())))}
        for score in next(iter(scores.values())):
            regret[score] = best - truth[max(scores, key=lambda c: scores[c][score])]
        found[n] = regret
    return found


def page(cells: Mapping[str, Mapping[int, dict[int, dict[str, float]]]], command: str) -> str:
    """Write the table: mean regret and its standard error, by data and number of samples."""
    lines = [f"`{command}`; {', '.join(f'{name}: {len(each)} seeds' for name, each in cells.items())}.", ""]
    columns = [(name, n) for name in cells for n in SIZES]
    first = next(iter(next(iter(cells.values())).values()))[SIZES[0]]
    lines.append("| picked by | " + " | ".join(f"{name}, n = {n}" for name, n in columns) + " |")
    lines.append("| --- |" + " ---: |" * len(columns))
    for score in first:
        said = []
        for name, n in columns:
            values = np.array([each[n][score] for each in cells[name].values()])
            error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
            said.append(f"{values.mean():.1f} ± {error:.1f}" if len(values) > 1 else f"{values.mean():.1f}")
        lines.append(f"| {score} | " + " | ".join(said) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="5")
    parser.add_argument("--data", action="append", choices=["digits", "fashion-mnist", "clinc150"])
    parser.add_argument("--page", type=Path)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    root = Path(os.environ["EVERMAP_DATA"]).absolute() if os.environ.get("EVERMAP_DATA") else None
    cells: dict[str, dict[int, dict[int, dict[str, float]]]] = {}
    for name in given.data or ("digits", "fashion-mnist", "clinc150"):
        for seed in seeds_of(given.seeds):
            try:
                cells.setdefault(name, {})[seed] = cell(name, seed, root)
            except UserError as error:
                cells.pop(name, None)
                print(f"{name} is left out: {error}", file=sys.stderr)
                break
            print(f"{name}, seed {seed}: done", file=sys.stderr, flush=True)
    text = page(cells, f"python -P benchmarks/scores.py --seeds {given.seeds}")
    if given.page is None:
        print(text)
        return 0
    old = given.page.read_text(encoding="utf-8")
    new = re.sub(f"{START}.*{END}", lambda _: f"{START}\n\n{text}\n\n{END}", old, flags=re.DOTALL)
    write_atomically(given.page, new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
