"""Measures class-incremental accuracy without a task label, beside joint training and Avalanche's own strategies.

Five steps of two classes; after the last one every test sample is answered among all ten. CLINC150, texts, comes in
fifteen steps of ten intents, which are answered among all 150. Each cell (data, method, seed) is written to a file
when it is done, and a second call goes on where the first one stopped.

    python -P benchmarks/class_incremental.py --help
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from evermap.agent.agent import AgentSettings, LifelongAgent
from evermap.agent.anchors import patch_settings
from evermap.agent.encoder import build_encoder
from evermap.agent.events import Evaluated
from evermap.agent.selector import make_selector
from evermap.agent.store import KnowledgeStore
from evermap.agent.strategy import make_strategies
from evermap.errors import DataMissing
from evermap.scenarios.baselines import Baseline, Materials
from evermap.scenarios.baselines_methods import build
from evermap.scenarios.measures import Measures
from evermap.scenarios.run import lifelong
from evermap.streams.source import SourceData, make_source
from evermap.streams.spec import stream_spec
from evermap.streams.stream import Stream
from evermap.streams.torchvision_guard import guard

guard()  # before Avalanche, which imports torchvision
from avalanche.benchmarks import benchmark_from_datasets  # noqa: E402
from avalanche.benchmarks.utils import AvalancheDataset  # noqa: E402
from avalanche.benchmarks.utils.data_attribute import DataAttribute  # noqa: E402
from avalanche.logging import BaseLogger  # noqa: E402
from avalanche.training import ER_ACE, EWC, GDumb, JointTraining, Naive, Replay, StreamingLDA  # noqa: E402
from avalanche.training.plugins import EvaluationPlugin  # noqa: E402


@dataclass(frozen=True)
class Setup:
    """What one data set needs.

    Attributes:
        features: Patch features of evermap's anchor, about; of texts, n-grams' hashes, which are what the anchor keeps.
        slda: Patch features of `StreamingLDA`, about: it updates their covariance sample by sample; 0 leaves it out.
        epochs: Passes over a step's samples that Avalanche's trained strategies make.
        batch: Samples of a gradient step.
        classes: Classes of a step, and of all steps together.
        anchor: What evermap's statistics are kept of.
        passes: Passes of methods that a pilot on seed 100 found better with another number; `GDumb` makes them over the
            samples that it keeps.
    """

    features: int
    slda: int
    epochs: int
    batch: int
    classes: tuple[int, int] = (2, 10)
    anchor: str = "patches"
    passes: Mapping[str, int] = field(default_factory=dict)


SETUPS = {
    "digits": Setup(1024, 1024, 60, 32),
    "fashion-mnist": Setup(2304, 1152, 5, 64, passes={"Replay 500": 2, "Replay 200": 2, "GDumb 500": 100}),
    "clinc150": Setup(2560, 0, 5, 32, (10, 150), "raw"),
}


def load(name: str, root: Path) -> SourceData | None:
    """Load a data set; None where its files are not there."""
    if name == "digits":
        return make_source("digits", {}, where="benchmark").load(None)
    if name == "clinc150":
        with suppress(DataMissing):
            settings = {"features": SETUPS[name].features}
            return make_source("clinc150", settings, where="benchmark").load(root)
        return None
    sys.path.insert(0, str(Path(__file__).parent))  # `python -P` leaves it out
    from speed import fashion_mnist

    return fashion_mnist(root)


def stream_of(data: SourceData, seed: int, classes: int) -> Stream:
    """Make steps of so many classes, their order drawn from the seed."""
    return Stream(stream_spec(layout="split", setting="class-incremental", classes_per_task=classes), seed, data)


# ---- evermap ----


def evermap(data: SourceData, setup: Setup, seed: int, joint: bool = False, **settings: Any) -> tuple[float, float]:
    """Send an agent through the steps.

    Args:
        data: What to learn.
        setup: Sizes.
        seed: Decides everything that is drawn.
        joint: Whether all classes come at once: joint training of the same model.
        **settings: Further settings of the agent.

    Returns:
        Accuracy over all test samples after the last step, and bytes kept.
    """
    stream = stream_of(data, seed, setup.classes[joint])
    strategies = make_strategies({})
    selector = make_selector("fixed:prototype", strategies)
    given = {"anchor": setup.anchor, "anchor_features": setup.features, "probe_share": 0.0, "seed": seed, **settings}
    with KnowledgeStore.in_memory() as store:
        agent = LifelongAgent(store, strategies, selector, AgentSettings(**given))
        events = lifelong(agent, stream, Measures(stream, evaluate_every=len(stream)))
        last = [event for event in events if isinstance(event, Evaluated)][-1]
        right = sum(value * n for value, n in zip(last.values, last.samples, strict=True))
        return right / sum(last.samples), float(store.bytes_kept())


# ---- Avalanche ----


class Mlp(nn.Module):
    """The network of evermap's default recipe, with one head for all classes."""

    def __init__(self, shape: tuple[int, ...], classes: int, seed: int) -> None:
        super().__init__()
        self.encoder = build_encoder("mlp", shape, {"hidden": (256, 128)}, seed)
        self.head = nn.Linear(self.encoder.feature_size, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))


def avalanche(data: SourceData, setup: Setup, seed: int, make: Callable[..., Any], **more: Any) -> tuple[float, float]:
    """Let one of Avalanche's strategies go through the same steps.

    Args:
        data: What to learn.
        setup: Sizes.
        seed: Decides everything that is drawn.
        make: The strategy's class.
        **more: Its own arguments.

    Returns:
        Accuracy over all test samples after the last step, and bytes of the samples that it keeps.
    """
    stream = stream_of(data, seed, setup.classes[0])
    torch.manual_seed(seed)

    def dataset(x: Tensor, y: Tensor) -> Any:
        return AvalancheDataset([TensorDataset(x, y)], data_attributes=[DataAttribute(y.tolist(), "targets")])

    train = [dataset(task.support.x, torch.tensor(task.classes)[task.support.y]) for task in stream]
    tests = [stream.test(c) for c in range(len(stream.concepts))]
    test = [dataset(each.x, each.y) for each in tests]
    prepared = benchmark_from_datasets(train=train, test=test)
    common: dict[str, Any] = {
        "criterion": nn.CrossEntropyLoss(),
        "train_mb_size": setup.batch,
        "train_epochs": setup.epochs,
        "eval_mb_size": 1024,
        "evaluator": EvaluationPlugin(loggers=[BaseLogger()]),  # one that writes nothing
        **more,
    }
    if make is StreamingLDA:
        encoder = build_encoder("patches", stream.input_shape, patch_settings(stream.input_shape, setup.slda), seed)
        sizes = {"input_size": encoder.feature_size, "num_classes": stream.n_classes}
        # A step as one batch: it fits sample by sample all the same, and inverts its covariance once per batch.
        once = {"train_epochs": 1, "train_mb_size": max(map(len, train))}
        strategy = make(**{**common, **once}, slda_model=encoder, **sizes)
    else:
        model = Mlp(stream.input_shape, stream.n_classes, seed)
        strategy = make(model=model, optimizer=torch.optim.Adam(model.parameters(), 1e-3), **common)
    if make is JointTraining:
        strategy.train(prepared.train_stream, eval_streams=[])
    else:
        for experience in prepared.train_stream:
            strategy.train(experience, eval_streams=[])
    right, total = 0, 0
    strategy.model.eval()
    with torch.no_grad():
        for each in tests:
            for part in range(0, len(each.y), 1024):
                x, y = each.x[part : part + 1024], each.y[part : part + 1024]
                said = strategy.model(x)
                said = strategy.predict(said) if make is StreamingLDA else said
                right, total = right + int((said.argmax(dim=1) == y).sum()), total + len(y)
    return right / total, float(more.get("mem_size", 0) * tests[0].x[0].numel() * 4)


def icarl(data: SourceData, setup: Setup, seed: int, memory: int) -> tuple[float, float]:
    """Let Avalanche's `ICaRL` go through the same steps, as `avalanche:ICaRL` runs in evermap, without a budget.

    Args:
        data: What to learn.
        setup: Sizes.
        seed: Decides everything that is drawn.
        memory: Samples that it keeps.

    Returns:
        Accuracy over all test samples after the last step, and bytes of the samples that it keeps.
    """
    stream = stream_of(data, seed, setup.classes[0])
    encoder = Mlp(stream.input_shape, stream.n_classes, seed).encoder
    common = {"lr": 1e-3, "optimiser": "adam", "batch_size": setup.batch, "epochs": setup.epochs, "shuffle": True}
    materials = Materials(encoder, stream.input_shape, stream.n_classes, label=False, device="cpu", settings=common)
    own = {"memory_size": memory, **common}
    made = Baseline(lambda m: build("ICaRL", own, m), materials, name="avalanche:ICaRL", seed=seed)
    for task in stream:
        made.learn(task, float("inf"))
    right, total = 0, 0
    for each in (stream.test(c) for c in range(len(stream.concepts))):
        for part in range(0, len(each.y), 1024):
            said, y = made.answer(each.x[part : part + 1024], None), each.y[part : part + 1024]
            chosen = torch.tensor(said.classes)[said.log_probs.argmax(dim=1)]
            right, total = right + int((chosen == y).sum()), total + len(y)
    return right / total, float(memory * stream.test(0).x[0].numel() * 4)


Method = Callable[[SourceData, Setup, int], tuple[float, float]]
METHODS: dict[str, Method] = {
    "evermap": evermap,
    "evermap, joint": partial(evermap, joint=True),
    "evermap, random features": partial(evermap, anchor="random"),
    "evermap, fewer features": lambda data, setup, seed: evermap(data, replace(setup, features=setup.slda), seed),
    "StreamingLDA": partial(avalanche, make=StreamingLDA),
    "joint network": partial(avalanche, make=JointTraining),
    "GDumb 500": partial(avalanche, make=GDumb, mem_size=500),
    "Replay 500": partial(avalanche, make=Replay, mem_size=500),
    "Replay 200": partial(avalanche, make=Replay, mem_size=200),
    "ICaRL 500": partial(icarl, memory=500),
    "ER-ACE 500": partial(avalanche, make=ER_ACE, mem_size=500),
    "EWC": partial(avalanche, make=EWC, ewc_lambda=100.0),
    "fine-tuning": partial(avalanche, make=Naive),
}


def applies(method: str, setup: Setup) -> bool:
    """Whether a method makes sense on a data set: `StreamingLDA` where it has features, ours with as many as it has."""
    if method == "evermap, fewer features":
        return 0 < setup.slda < setup.features
    return method != "StreamingLDA" or setup.slda > 0


def is_done(cells: dict[str, list[float]], key: str, passes: int) -> bool:
    """Tell whether a cell is there, made with as many passes; those of former files do not say how many."""
    return key in cells and cells[key][3:] in ([], [passes])


def table(cells: dict[str, list[float]], name: str) -> list[str]:
    """Lay the cells of one data set out as a Markdown table."""
    lines = [
        f"| {name} | accuracy | lowest – highest | seeds | bytes | CPU seconds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for method in METHODS:
        found = [value for key, value in cells.items() if key.startswith(f"{name}/{method}/")]
        if found:
            accuracies, kept, seconds = zip(*(value[:3] for value in found), strict=True)
            mean, spread = statistics.fmean(accuracies), statistics.stdev(accuracies) if len(found) > 1 else 0.0
            lines.append(
                f"| {method} | {mean:.4f} ± {spread:.4f} | {min(accuracies):.4f} – {max(accuracies):.4f} "
                f"| {len(found)} | {statistics.fmean(kept):,.0f} | {statistics.fmean(seconds):.1f} |"
            )
    return lines


def parser() -> argparse.ArgumentParser:
    """Describe the options."""
    made = argparse.ArgumentParser(description="Measure class-incremental accuracy beside Avalanche's strategies.")
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    default = Path(os.environ.get("EVERMAP_DATA") or beside)
    made.add_argument("--data", type=Path, default=default, help="folder of data sets; default: EVERMAP_DATA, or "
                      "shared/data beside the checkout")  # fmt: skip
    made.add_argument("--sets", nargs="+", choices=list(SETUPS), default=list(SETUPS), help="data sets (all)")
    made.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), help="methods (all)")
    made.add_argument("--seeds", type=int, default=5, help="seeds, from --first on (5)")
    made.add_argument("--first", type=int, default=0, help="first seed (0; passes were chosen on 100)")
    made.add_argument("--passes", type=int, help="passes of what is trained (those of the data set)")
    made.add_argument("--cells", type=Path, default=Path("runs/class_incremental.json"),
                      help="file of finished cells (runs/class_incremental.json)")  # fmt: skip
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is not measured yet, and print."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)
    cells: dict[str, list[float]] = json.loads(options.cells.read_text()) if options.cells.is_file() else {}
    options.cells.parent.mkdir(parents=True, exist_ok=True)
    for name in options.sets:
        data = load(name, options.data)
        if data is None:
            print(f"{name}: its files are not in {options.data}; left out")
            continue
        setup = SETUPS[name]
        if options.passes:
            setup = replace(setup, epochs=options.passes, passes={})
        for seed in range(options.first, options.first + options.seeds):
            for method in options.methods:
                key = f"{name}/{method}/{seed}"
                chosen = replace(setup, epochs=setup.passes.get(method, setup.epochs))
                if is_done(cells, key, chosen.epochs) or not applies(method, setup):
                    continue
                began = time.process_time()
                accuracy, kept = METHODS[method](data, chosen, seed)
                cells[key] = [accuracy, kept, time.process_time() - began, chosen.epochs]
                new = options.cells.with_suffix(".new")
                new.write_text(json.dumps(cells, indent=0))
                new.replace(options.cells)
                print(f"{key}: {accuracy:.4f} in {cells[key][2]:.0f} CPU seconds", flush=True)
        print("\n" + "\n".join(table(cells, name)) + "\n", flush=True)


if __name__ == "__main__":
    main()
