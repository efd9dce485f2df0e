"""Measures what answering without a task label rests on: borders of the classifiers, the gate, a meta-trained anchor.

Each cell is written to a file when it is done, and a second call goes on where the first one stopped.

    python -P benchmarks/answering.py --help
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evermap.agent.agent import AgentSettings, LifelongAgent
from evermap.agent.anchors import patch_settings
from evermap.agent.encoder import build_encoder
from evermap.agent.moments import Moments, lda, nearest_mean, ridge_from
from evermap.agent.selector import make_selector
from evermap.agent.store import KnowledgeStore
from evermap.agent.strategy import make_strategies
from evermap.streams.source import SourceData, make_source
from evermap.streams.spec import stream_spec
from evermap.streams.stream import Stream

sys.path.insert(0, str(Path(__file__).parent))  # `python -P` leaves it out
from class_incremental import load

PER_CLASS = (1, 2, 3, 5, 10, 20, 30, 50, 100)
CLASSIFIERS: dict[str, Callable[[Moments], tuple[Tensor, Tensor]]] = {
    "nearest mean": nearest_mean,
    "LDA": lda,
    "ridge": ridge_from,
}
# Data, and features that the borders are measured on: kind and, about, number.
BORDERS = (("digits", "random", 512), ("digits", "patches", 1024), ("fashion-mnist", "patches", 1152))
SMALL = {"train_per_class": 200, "test_per_class": 100}
ANGLES = (0, 60, 120, 180, 240, 300)
# Data, layout and further fields of the stream, and what the anchor's features are.
STREAMS: dict[str, tuple[str, dict[str, Any], str]] = {
    "digits, rotations": ("digits", {"layout": "rotations", "angles": ANGLES}, "random"),
    "digits, rotations by 5°": ("digits", {"layout": "rotations", "angles": (0, 5, 10, 15), **SMALL}, "random"),
    "digits, permutations": ("digits", {"layout": "permutations", "tasks": 5}, "random"),
    "digits, classes": ("digits", {"layout": "split"}, "random"),
    "digits, classes, patches": ("digits", {"layout": "split"}, "patches"),
    "Fashion-MNIST, rotations": ("fashion-mnist", {"layout": "rotations", "angles": ANGLES, **SMALL}, "random"),
    "Fashion-MNIST, classes": ("fashion-mnist", {"layout": "split", **SMALL}, "random"),
}
# The meta-trained anchor: source and its settings, classes of a task, characters in all and samples of each to learn
# from; encoder and stem; FLOPs of a task; settings of `protonet`, which trains the encoder.
CHARACTERS: dict[str, dict[str, Any]] = {
    "drawn characters, 10 × 6": {
        "source": ("glyphs", {"alphabets": 3, "characters": 20, "samples": 60}),
        "tasks": (6, 60, 40),
        "agent": {"stem": "patches", "flops": 6e11},
        "protonet": {"min_tasks": 5},
    },
    "Omniglot, 20 × 20": {
        "source": ("omniglot", {}),
        "tasks": (20, 400, 10),
        "agent": {"encoder": "conv4", "flops": 4e12},
        "protonet": {"min_tasks": 10, "ways": 20, "queries": 5, "meta_batch": 2, "meta_steps": 40},
    },
}
ANCHORS = ("random", "patches", "raw", "raw on the stem", "meta")
SELECTORS = ("probe", "fixed:scratch")


def borders(data: SourceData, kind: str, features: int, per_class: int, seed: int) -> list[float]:
    """Accuracy of each classifier on an anchor's features, patches or random, of so many samples per class."""
    spec = stream_spec(layout="split", setting="class-incremental", classes_per_task=10, test_per_class=200)
    stream = Stream(spec, seed, data)
    task, test = stream.task(0), stream.test(0)
    keep = torch.cat([torch.nonzero(task.support.y == c).flatten()[:per_class] for c in range(10)])
    shape = stream.input_shape
    settings = patch_settings(shape, features) if kind == "patches" else {"features": features}
    encoder = build_encoder(kind, shape, settings, seed).eval()
    moments = Moments.of(encoder(task.support.x[keep]), task.support.y[keep], 10)
    asked, y = encoder(test.x).double(), torch.searchsorted(torch.tensor(task.classes), test.y)
    found = []
    for classifier in CLASSIFIERS.values():
        weight, bias = classifier(moments)
        found.append(float(((asked @ weight.T + bias).argmax(dim=1) == y).double().mean()))
    return found


def gate(data: SourceData, fields: dict[str, Any], anchor: str, selector: str, seed: int) -> list[float]:
    """Accuracy of the anchor alone, with the gate, with task labels; the anchor's share; whether the gate is open."""
    setting = "class-incremental" if fields["layout"] == "split" else "domain-incremental"
    stream = Stream(stream_spec(setting=setting, **fields), seed, data)
    strategies = make_strategies({})
    settings = AgentSettings(gate=True, anchor=anchor, anchor_features=1024 if anchor == "patches" else 512, seed=seed)
    with KnowledgeStore.in_memory() as store:
        agent = LifelongAgent(store, strategies, make_selector(selector, strategies), settings)
        for task in stream:
            profile = agent.profile(task)
            choice = _result(agent.select(task, profile))
            agent.remember(task, _result(agent.learn(task, choice)))
        tests = [stream.test(c) for c in range(len(stream.concepts))]
        x, y = torch.cat([test.x for test in tests]), torch.cat([test.y for test in tests])
        classes = torch.tensor(agent.library.anchors.classes(stream.input_shape))
        said = agent.answer(x, None)
        labelled, start = 0, 0
        for task, test in zip(stream, tests, strict=True):
            model = agent.library.gatekeeper.model(store.task(task.index))
            own = torch.tensor(task.classes)[model(test.x).argmax(dim=1)]
            labelled, start = labelled + int((own == test.y).sum()), start + len(test.y)
        answers = (agent.library.anchors.log_probs(x), said.log_probs)
        right = [(classes[each.argmax(dim=1)] == y).double().mean() for each in answers]
        opened = float(agent.library.gatekeeper.is_open(stream.input_shape))
        return [*map(float, right), labelled / start, float(said.by_anchor.double().mean()), opened]


def characters(data: SourceData, setup: dict[str, Any], anchor: str, seed: int) -> list[float]:
    """Accuracy of an anchor on all classes after the last task; tasks after which it was frozen; CPU seconds."""
    ways, classes, train = setup["tasks"]
    order = torch.randperm(len(data.classes), generator=torch.Generator().manual_seed(seed))[:classes].tolist()
    fields = {"classes_per_task": ways, "class_order": tuple(order), "train_per_class": train, "test_per_class": 10}
    stream = Stream(stream_spec(layout="split", setting="class-incremental", **fields), seed, data)
    strategies = make_strategies({"protonet": setup["protonet"]})
    given = {"anchor": anchor.partition(" ")[0], "anchor_features": 1024 if anchor == "patches" else 512, "seed": seed}
    given |= {"stem": "patches"} if "stem" in anchor else {}
    given |= {"episode_memory": 20, "consolidate_share": 0.5} if anchor == "meta" else {}
    began, frozen = time.process_time(), -1.0
    with KnowledgeStore.in_memory() as store:
        settings = AgentSettings(**{**setup["agent"], **given, "probe_share": 0.0})
        agent = LifelongAgent(store, strategies, make_selector("fixed:prototype", strategies), settings)
        for task in stream:
            outcome = _result(agent.learn(task, _result(agent.select(task, agent.profile(task)))))
            agent.remember(task, outcome)
            if outcome.weighed is not None and outcome.weighed.anchor is not None:
                frozen = float(task.index)
        tests = [stream.test(c) for c in range(len(stream.concepts))]
        x, y = torch.cat([test.x for test in tests]), torch.cat([test.y for test in tests])
        known = torch.tensor(agent.library.anchors.classes(stream.input_shape))
        right = float((known[agent.library.anchors.log_probs(x).argmax(dim=1)] == y).double().mean())
    return [right, frozen, time.process_time() - began]


def _result(generator: Any) -> Any:
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def _characters(
    source: str, settings: dict[str, Any], root: Path, setup: dict[str, Any], anchor: str, seed: int
) -> Any:
    return characters(make_source(source, settings, where="benchmark").load(root), setup, anchor, seed)


def tables(cells: dict[str, list[float]]) -> list[str]:
    """Lay the cells out as Markdown tables, means over seeds."""

    def means(prefix: str) -> list[float]:
        found = [value for key, value in cells.items() if key.startswith(prefix)]
        return [statistics.fmean(column) for column in zip(*found, strict=True)]

    lines = ["| data, features | samples per class | " + " | ".join(CLASSIFIERS) + " |", "| --- " * 5 + "|"]
    for key in dict.fromkeys(key.rpartition("/")[0] for key in cells if key.startswith("borders/")):
        _, name, n = key.split("/")
        lines.append(f"| {name} | {n} | " + " | ".join(f"{value:.3f}" for value in means(key + "/")) + " |")
    columns = ("stream", "selector", "anchor alone", "gate", "task labels", "by the anchor", "open", "seeds")
    lines += ["", f"| {' | '.join(columns)} |", "| --- " * 8 + "|"]
    for key in dict.fromkeys(key.rpartition("/")[0] for key in cells if key.startswith("gate/")):
        _, name, selector = key.split("/")
        alone, decided, labelled, share, opened = means(key + "/")
        seeds = sum(each.startswith(key + "/") for each in cells)
        figures = f"{alone:.4f} | {decided:.4f} | {labelled:.4f} | {share:.0%} | {opened:.0%}"
        lines.append(f"| {name} | {selector} | {figures} | {seeds} |")
    lines += ["", "| stream | anchor | accuracy | frozen after tasks | CPU seconds | seeds |", "| --- " * 6 + "|"]
    for key in dict.fromkeys(key.rpartition("/")[0] for key in cells if key.startswith("meta/")):
        _, name, anchor = key.split("/")
        found = [value for each, value in cells.items() if each.startswith(key + "/")]
        accuracy, seconds = (statistics.fmean(value[i] for value in found) for i in (0, 2))
        frozen = ", ".join("never" if value[1] < 0 else f"{value[1]:.0f}" for value in found)
        figures = f"{accuracy:.4f} | {frozen if anchor == 'meta' else '–'} | {seconds:.0f}"
        lines.append(f"| {name} | {anchor} | {figures} | {len(found)} |")
    return lines


def parser() -> argparse.ArgumentParser:
    """Describe the options."""
    made = argparse.ArgumentParser(description="Measure the rules of answering without a task label.")
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    default = Path(os.environ.get("EVERMAP_DATA") or beside)
    made.add_argument("--data", type=Path, default=default, help="folder of data sets; default: EVERMAP_DATA, or "
                      "shared/data beside the checkout")  # fmt: skip
    made.add_argument("--seeds", type=int, default=5, help="seeds, from --first on (5)")
    made.add_argument("--first", type=int, default=0, help="first seed (0; the rules were tuned on 100 and above)")
    made.add_argument(
        "--only", default="", help="cells whose name begins so: borders/digits, gate/digits, rotations, …"
    )
    made.add_argument("--cells", type=Path, default=Path("runs/answering.json"),
                      help="file of finished cells (runs/answering.json)")  # fmt: skip
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is not measured yet, and print."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)
    cells: dict[str, list[float]] = json.loads(options.cells.read_text()) if options.cells.is_file() else {}
    options.cells.parent.mkdir(parents=True, exist_ok=True)
    data = {name: load(name, options.data) for name in ("digits", "fashion-mnist")}
    work: dict[str, Callable[[int], list[float]]] = {}
    for name, kind, features in BORDERS:
        for n in PER_CLASS:
            given = (data[name], kind, features, n)
            work[f"borders/{name}, {features:,} {kind}/{n}"] = lambda seed, given=given: borders(*given, seed)
    for name, (source, fields, anchor) in STREAMS.items():
        for selector in SELECTORS:
            work[f"gate/{name}/{selector}"] = lambda seed, a=(data[source], fields, anchor, selector): gate(*a, seed)
    for name, setup in CHARACTERS.items():
        source, settings = setup["source"]
        for anchor in ANCHORS:
            given = (source, settings, options.data, setup, anchor)
            work[f"meta/{name}/{anchor}"] = lambda seed, given=given: _characters(*given, seed)
    absent = [name for name, found in data.items() if found is None]
    for seed in range(options.first, options.first + options.seeds):
        for key, measure in work.items():
            cell = f"{key}/{seed}"
            lacking = any(name in key.lower() for name in absent)
            if cell in cells or lacking or not key.startswith(options.only):
                continue
            began = time.process_time()
            cells[cell] = measure(seed)
            new = options.cells.with_suffix(".new")
            new.write_text(json.dumps(cells, indent=0))
            new.replace(options.cells)
            print(f"{cell}: {[round(v, 4) for v in cells[cell]]} in {time.process_time() - began:.0f} s", flush=True)
    print("\n" + "\n".join(tables(cells)))


if __name__ == "__main__":
    main()
