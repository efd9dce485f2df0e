"""Measures evermap's speed beside Avalanche's own `Naive` and a plain torch loop, paired in one process.

All three learn the same five tasks of two classes with the same network, optimiser, batch size and number of steps, one
pass over 60,000 samples, and answer for the whole test stream before learning and after every task:

- evermap: the agent, its store on disk and the main loop of `scenarios/run.py`, with `fixed:finetune` in place, once
  confined to that work (nothing probed, no anchor) and once as it comes: before a task it measures what stored encoders
  are worth there, after it takes the task's samples into the statistics that answer without a task label;
- avalanche: `Naive` with a multi-head network and the metrics that evermap asks it for;
- plain: two loops in torch, which count right answers and nothing else.

    python -P benchmarks/speed.py --help
"""

from __future__ import annotations

import argparse
import gc
import gzip
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from evermap.agent.agent import AgentSettings, LifelongAgent
from evermap.agent.encoder import build_encoder
from evermap.agent.events import Chosen, Evaluated, Learned
from evermap.agent.selector import make_selector
from evermap.agent.store import KnowledgeStore
from evermap.agent.strategy import make_strategies
from evermap.scenarios.measures import Measures
from evermap.scenarios.run import lifelong
from evermap.streams.source import SourceData, make_source
from evermap.streams.spec import stream_spec
from evermap.streams.stream import Stream
from evermap.streams.torchvision_guard import guard

guard()  # before Avalanche, which imports torchvision
from avalanche.benchmarks import benchmark_from_datasets, with_task_labels  # noqa: E402
from avalanche.benchmarks.scenarios.supervised import with_classes_timeline  # noqa: E402
from avalanche.benchmarks.utils import AvalancheDataset, ConstantSequence, TaskLabels  # noqa: E402
from avalanche.benchmarks.utils.data_attribute import DataAttribute  # noqa: E402
from avalanche.evaluation.metrics import (  # noqa: E402
    accuracy_metrics,
    bwt_metrics,
    forgetting_metrics,
    forward_transfer_metrics,
    loss_metrics,
)
from avalanche.logging import BaseLogger  # noqa: E402
from avalanche.models import MultiHeadClassifier, MultiTaskModule  # noqa: E402
from avalanche.training import Naive  # noqa: E402
from avalanche.training.plugins import EvaluationPlugin  # noqa: E402

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"

# What is aimed at: evermap's time as a multiple of the other's, at most.
AIMS = {("train", "avalanche"): 1 / 2, ("evaluate", "avalanche"): 1 / 3, ("train", "plain"): 1.3}


@dataclass(frozen=True)
class Job:
    """What all three do.

    Attributes:
        batch_size: Training samples of a step.
        eval_batch: Test samples of a forward pass.
        lr: Learning rate of AdamW.
        weight_decay: Its decay.
        hidden: Layers of the network.
        seed: Decides initial weights and order of samples.
        steps: Gradient steps of a task, one pass.
        fused: Whether Avalanche and the plain loop use torch's fused AdamW, as evermap does; False: what torch takes on
            a CPU unless told otherwise.
    """

    batch_size: int = 32
    eval_batch: int = 1024
    lr: float = 0.001
    weight_decay: float = 1e-4
    hidden: tuple[int, ...] = (256, 128)
    seed: int = 0
    steps: int = 0
    fused: bool = False

    def optimiser(self, weights: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Make the optimiser of Avalanche and the plain loop."""
        return torch.optim.AdamW(weights, lr=self.lr, weight_decay=self.weight_decay, fused=self.fused)


@dataclass
class Took:
    """Seconds that one of them took, and what came out.

    Attributes:
        wall: Seconds by part: "train", "evaluate" (all rows) and "last row".
        cpu: The same in CPU seconds of the process.
        steps: Gradient steps.
        accuracy: Average accuracy after the last task.
    """

    wall: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    accuracy: float = 0.0

    @contextmanager
    def timed(self, *parts: str) -> Iterator[None]:
        """Add the time of a block to some parts."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.add(time.perf_counter() - wall, time.process_time() - cpu, *parts)

    def add(self, wall: float, cpu: float, *parts: str) -> None:
        """Add seconds to some parts."""
        for part in parts:
            self.wall[part] = self.wall.get(part, 0.0) + wall
            self.cpu[part] = self.cpu.get(part, 0.0) + cpu


def evaluations(tasks: int, row: int) -> tuple[str, ...]:
    """Name the parts that a row's time belongs to: in the last one every system runs a model on every sample."""
    return ("evaluate", "last row") if row == tasks else ("evaluate",)


# ---- the data ----


def fashion_mnist(root: Path) -> SourceData | None:
    """Read Fashion-MNIST as published, 60,000 samples to train and 10,000 to test; None where it is not there."""
    folder = root / "FashionMNIST" / "raw"
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    files = [folder / f"{name}-ubyte.gz" for name in names]
    if not all(file.is_file() for file in files):
        return None
    raw = [gzip.decompress(file.read_bytes()) for file in files]
    x = np.concatenate([np.frombuffer(raw[i], np.uint8, offset=16).reshape(-1, 1, 28, 28) for i in (0, 2)])
    y = np.concatenate([np.frombuffer(raw[i], np.uint8, offset=8) for i in (1, 3)])
    first = len(raw[1]) - 8
    parts = (torch.arange(first), torch.arange(first, len(y)))
    return SourceData(torch.tensor(x).float() / 255, torch.tensor(y).long(), tuple("0123456789"), parts=parts)


def repeated_digits(train: int, test: int) -> SourceData:
    """Repeat scikit-learn's digits until every class has so many samples to train on and to test on."""
    digits = make_source("digits", {}, where="benchmark").load(None)
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    for k in range(10):
        own = (digits.y == k).nonzero().flatten()
        cut = len(own) * 7 // 10
        for part, some, wanted in zip(parts, (own[:cut], own[cut:]), (train, test), strict=True):
            part.append(some.repeat(-(-wanted // len(some)))[:wanted])
    return SourceData(digits.x, digits.y, digits.classes, parts=(torch.cat(parts[0]), torch.cat(parts[1])))


def split_stream(data: SourceData, seed: int, train: int | None, test: int | None) -> Stream:
    """Make five task-incremental tasks of two classes each."""
    spec = stream_spec(layout="split", setting="task-incremental", train_per_class=train, test_per_class=test)
    return Stream(spec, seed, data)


# ---- evermap ----


def evermap(stream: Stream, job: Job, confined: bool) -> Took:
    """Let the agent go through the stream; everything but the evaluations counts as training.

    Args:
        stream: What to learn; it is built as the agent goes along, within the time of training.
        job: How.
        confined: Whether it leaves out what the others do not do either.
    """
    took = Took()
    common = {"steps": job.steps, "batch_size": job.batch_size, "optimiser": "adam"}
    common |= {"lr": job.lr, "weight_decay": job.weight_decay}
    strategies = make_strategies({"scratch": common, "finetune": {**common, "head_first": 0.0}})
    settings = AgentSettings(
        encoder_settings={"hidden": job.hidden},
        sharing="in-place",
        held_out=0.0,
        scratch=2.0,
        seed=job.seed,
        **({"anchor": "none", "probe_share": 0.0} if confined else {}),
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        KnowledgeStore.open(Path(folder) / "store") as store,
        took.timed("all"),
    ):
        selector = make_selector("fixed:finetune", strategies)
        agent = LifelongAgent(store, strategies, selector, settings)
        events = lifelong(agent, stream, Measures(stream, batch_size=job.eval_batch))
        while True:
            wall, cpu = time.perf_counter(), time.process_time()
            event = next(events, None)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if isinstance(event, Evaluated):
                took.add(wall, cpu, *evaluations(len(stream), event.row))
                took.accuracy = statistics.fmean(event.values)
            else:
                took.add(wall, cpu, "train")
            if isinstance(event, Learned):
                assert event.stopped == "finished", f"the budget was in the way: {event.stopped}"
                took.steps += event.units
            if isinstance(event, Chosen):
                assert event.strategy == ("finetune" if event.task else "scratch")
            if event is None:
                return took


# ---- Avalanche ----


class MultiHead(MultiTaskModule):
    """The same network, with a head per task in Avalanche's way."""

    def __init__(self, encoder: nn.Module, features: int, outputs: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = MultiHeadClassifier(features, outputs, masking=False)

    def forward(self, x: Tensor, task_labels: Tensor) -> Tensor:
        return self.heads(self.encoder(x), task_labels)


def benchmark(stream: Stream) -> Any:
    """Make an Avalanche benchmark of the stream in which every task's classes are 0 and 1: its cheapest form."""

    def dataset(x: Tensor, y: Tensor, label: int) -> Any:
        made = AvalancheDataset([TensorDataset(x, y)], data_attributes=[DataAttribute(y.tolist(), "targets")])
        return made.update_data_attribute("targets_task_labels", TaskLabels(ConstantSequence(label, len(y))))

    train = [dataset(task.support.x, task.support.y, task.index) for task in stream]
    tests = [stream.test(c) for c in range(len(stream.concepts))]
    test = [dataset(t.x, torch.searchsorted(torch.tensor(t.classes), t.y), c) for c, t in enumerate(tests)]
    return with_classes_timeline(with_task_labels(benchmark_from_datasets(train=train, test=test)))


def avalanche(prepared: Any, shape: tuple[int, ...], job: Job) -> Took:
    """Let `Naive` go through the benchmark, with the metrics that evermap asks for."""
    took = Took()
    torch.manual_seed(job.seed)
    encoder = build_encoder("mlp", shape, {"hidden": job.hidden}, job.seed)
    model = MultiHead(encoder, encoder.feature_size, 2)
    with took.timed("all"):
        strategy = Naive(
            model=model,
            optimizer=job.optimiser(model.parameters()),
            criterion=nn.CrossEntropyLoss(),
            train_mb_size=job.batch_size,
            train_epochs=1,
            eval_mb_size=job.eval_batch,
            eval_every=0,  # the forward-transfer metric asserts it; `eval_streams=[]` leaves nothing to evaluate
            evaluator=EvaluationPlugin(
                accuracy_metrics(experience=True, stream=True),
                loss_metrics(experience=True, stream=True),
                forgetting_metrics(experience=True, stream=True),
                bwt_metrics(experience=True, stream=True),
                forward_transfer_metrics(experience=True, stream=True),
                loggers=[BaseLogger()],  # given everything, as evermap's; writes nothing
                collect_all=False,
            ),
        )
        tasks = len(prepared.train_stream)
        with took.timed("evaluate"):
            strategy.eval(prepared.test_stream)
        for i, experience in enumerate(prepared.train_stream):
            with took.timed("train"):
                strategy.train(experience, eval_streams=[])
            assert strategy.clock.train_exp_iterations == job.steps, "Avalanche took another number of steps"
            with took.timed(*evaluations(tasks, i + 1)):
                given = strategy.eval(prepared.test_stream)
    took.steps = job.steps * tasks
    took.accuracy = next(v for name, v in given.items() if name.startswith("Top1_Acc_Stream/eval_phase/test_stream"))
    return took


# ---- plain torch ----


def plain(parts: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]], job: Job) -> Took:
    """Train and test in two loops, as one would write them by hand for this one purpose.

    Args:
        parts: Of every task: inputs, targets, test inputs, test targets; targets are 0 and 1.
        job: What to do.
    """
    took = Took()
    torch.manual_seed(job.seed)
    encoder = build_encoder("mlp", tuple(parts[0][0].shape[1:]), {"hidden": job.hidden}, job.seed)
    heads = [nn.Linear(encoder.feature_size, 2) for _ in parts]

    @torch.no_grad()
    def evaluate() -> list[float]:
        row = []
        for head, (_, _, x, y) in zip(heads, parts, strict=True):
            right = 0
            for start in range(0, len(y), job.eval_batch):
                end = start + job.eval_batch
                right += int((head(encoder(x[start:end])).argmax(dim=1) == y[start:end]).sum())
            row.append(right / len(y))
        return row

    with took.timed("all"):
        with took.timed("evaluate"):
            evaluate()
        for i, (head, (x, y, _, _)) in enumerate(zip(heads, parts, strict=True)):
            with took.timed("train"):
                optimiser = job.optimiser([*encoder.parameters(), *head.parameters()])
                for index in torch.randperm(len(y)).split(job.batch_size):
                    loss = nn.functional.cross_entropy(head(encoder(x[index])), y[index])
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                    took.steps += 1
            with took.timed(*evaluations(len(parts), i + 1)):
                row = evaluate()
    took.accuracy = statistics.fmean(row)
    return took


# ---- the comparison ----


def compare(stream: Stream, job: Job, repeats: int, say: Callable[[str], None]) -> dict[str, list[Took]]:
    """Run all of them in an order that changes with every round; a first round, to warm up, is thrown away.

    Args:
        stream: What to learn.
        job: How; every round has the next seed.
        repeats: Rounds that count.
        say: Is told how it goes.

    Returns:
        What each took, by name, one per round.
    """
    prepared, parts = benchmark(stream), []
    for task in stream:
        test = stream.test(task.index)
        classes = torch.tensor(task.classes)
        parts.append((task.support.x, task.support.y, test.x, torch.searchsorted(classes, test.y)))
    systems: dict[str, Callable[[Job], Took]] = {
        "evermap": lambda job: evermap(stream, job, confined=True),
        "evermap as it comes": lambda job: evermap(stream, job, confined=False),
        "avalanche": lambda job: avalanche(prepared, stream.input_shape, job),
        "plain": lambda job: plain(parts, job),
    }
    names = list(systems)
    rounds: dict[str, list[Took]] = {name: [] for name in names}
    for number in range(repeats + 1):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            gc.collect()
            took = systems[name](replace(job, seed=job.seed + number))
            assert took.steps == job.steps * len(stream), f"{name} took {took.steps} steps"
            if number:
                rounds[name].append(took)
                say(f"round {number}: {name} trained {took.cpu['train']:.2f} s, evaluated {took.cpu['evaluate']:.2f} s")
    return rounds


def ratio(rounds: dict[str, list[Took]], ours: str, theirs: str, clock: str, part: str) -> list[float]:
    """Divide one's seconds by another's, round by round."""
    pairs = zip(rounds[ours], rounds[theirs], strict=True)
    return [getattr(a, clock)[part] / getattr(b, clock)[part] for a, b in pairs]


def table(rounds: dict[str, list[Took]]) -> list[str]:
    """Lay the ratios out as a Markdown table, medians with their range."""
    lines = ["| time of | over that of | part | CPU | wall | aim |", "| --- | --- | --- | --- | --- | --- |"]
    for ours in ("evermap", "evermap as it comes"):
        for theirs in ("avalanche", "plain"):
            for part in ("train", "evaluate", "last row", "all"):
                cells = []
                for clock in ("cpu", "wall"):
                    values = ratio(rounds, ours, theirs, clock, part)
                    cells.append(f"{statistics.median(values):.2f} ({min(values):.2f} – {max(values):.2f})")
                aim = AIMS.get((part, theirs))
                cells.append("" if aim is None else f"≤ {aim:.2f}")
                lines.append(f"| {ours} | {theirs} | {part} | {' | '.join(cells)} |")
    return lines


def processor() -> str:
    """Name the processor as the system does."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def parser() -> argparse.ArgumentParser:
    """Describe the options."""
    made = argparse.ArgumentParser(description="Measure evermap's speed beside Avalanche's and a plain loop's.")
    default = Path(os.environ.get("EVERMAP_DATA") or BESIDE)
    made.add_argument("--data", type=Path, default=default, help="folder of data sets; default: EVERMAP_DATA, or "
                      "shared/data beside the checkout; digits are repeated where it has no Fashion-MNIST")  # fmt: skip
    made.add_argument("--repeats", type=int, default=5, help="rounds, each of all of them (5)")
    made.add_argument("--batch-size", type=int, nargs="+", default=[32], help="training samples of a step (32)")
    made.add_argument(
        "--eval-batch", type=int, nargs="+", default=[128, 1024], help="test samples of a pass (128 1024)"
    )
    made.add_argument("--train", type=int, default=6000, help="training samples per class, at most (6000)")
    made.add_argument("--test", type=int, default=1000, help="test samples per class, at most (1000)")
    made.add_argument("--seed", type=int, default=0, help="decides weights and order of samples (0)")
    made.add_argument("--fused", action="store_true", help="give the others torch's fused optimiser as well")
    made.add_argument("--json", type=Path, help="also write all seconds into this file")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)
    data, name = fashion_mnist(options.data), "Fashion-MNIST"
    if data is None:
        data, name = repeated_digits(options.train, options.test), "scikit-learn's digits, repeated"
    stream = split_stream(data, options.seed, options.train, options.test)
    samples = sum(len(task.support) for task in stream)
    print(f"{date.today()}, {platform.machine()}, {processor()}, {os.cpu_count()} cores, one torch thread, torch "
          f"{torch.__version__}, Python {platform.python_version()}")  # fmt: skip
    print(f"{name}: {samples:,} training samples in {len(stream)} tasks, seeds from {options.seed + 1} on")
    kept = []
    for batch_size in options.batch_size:
        for eval_batch in options.eval_batch:
            steps = -(-samples // len(stream) // batch_size)
            job = Job(batch_size=batch_size, eval_batch=eval_batch, seed=options.seed, steps=steps, fused=options.fused)
            rounds = compare(stream, job, options.repeats, lambda line: print(f"  {line}", flush=True))
            steps = rounds["plain"][0].steps
            form = "fused for all" if options.fused else "fused for evermap alone"
            print(f"\nBatches of {batch_size} to train ({steps:,} steps), of {eval_batch} to test; "
                  f"AdamW {form}; medians of {options.repeats} rounds (range)\n")  # fmt: skip
            print("\n".join(table(rounds)))
            accuracies = (f"{each} {statistics.median(took.accuracy for took in rounds[each]):.3f}" for each in rounds)
            print(f"\nAverage accuracy after the last task: {', '.join(accuracies)}\n", flush=True)
            kept.append({"job": asdict(job), "rounds": {each: [asdict(t) for t in rounds[each]] for each in rounds}})
    if options.json:
        options.json.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
