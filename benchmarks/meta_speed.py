"""Measures what a meta-gradient costs beside TorchOpt, higher and a plain loop, paired in one process on one thread.

Every system computes the mean meta-gradient of the same tasks from the same weights, and its answer is compared with
the plain loop's, in float64 on the first task, before it is timed:

- sinusoid: MLP 1-40-40-1, ten points given and ten asked for, one inner step;
- 4-conv: the network of the few-shot papers with batch norm (statistics of the batch), 28 × 28 images, 5-way 1-shot
  with 15 queries a class, one inner step and five;
- ANIL: the same, only the head adapts. All run the encoder once over the support set, as a careful user would.

TorchOpt (`MetaSGD`) and higher (`innerloop_ctx`) go backward after every task, which is their least memory. They come
with the extra: `pip install 'evermap[bench]'`; one that is not installed is left out.

    python -P benchmarks/meta_speed.py --help
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import gc
import importlib
import importlib.util
import json
import os
import platform
import statistics
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from evermap.agent.budget import counted
from evermap.agent.encoder import Encoder, build_encoder
from evermap.agent.model import LinearHead, Model
from evermap.strategies.anil import head_meta_gradient
from evermap.strategies.backend import Backend, Losses, choose, in_channels_last, losses_of, mean_gradients
from evermap.strategies.meta_gradient import Split

HEAD = ("head.weight", "head.bias")
Gradient = dict[str, Tensor]
LAST = "channels last"
BORDER = ((32, 32), (64, 64), (128, 128), (256, 128), (256, 256), (512, 256), (512, 512))  # hidden layers


class BatchConv4(Encoder):
    """Four blocks of 3 × 3 convolution, batch norm by the batch's own statistics, ReLU and 2 × 2 max-pooling."""

    name = "conv4 with batch norm"

    @dataclass(frozen=True)
    class Settings:
        """Width."""

        filters: int = 64

    def build(self) -> int:
        """Create the blocks."""
        channels, filters, layers = self.input_shape[0], self.settings.filters, list[nn.Module]()
        for _ in range(4):
            layers += [nn.Conv2d(channels, filters, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(filters, track_running_stats=False), nn.ReLU(), nn.MaxPool2d(2)]
            channels = filters
        self.layers = nn.Sequential(*layers, nn.Flatten())
        return filters * (self.input_shape[1] // 16) * (self.input_shape[2] // 16)

    def forward(self, x: Tensor) -> Tensor:
        """Encode images of shape `(n, channels, height, width)` as features of shape `(n, feature_size)`."""
        return self.layers(x)


@dataclass(frozen=True)
class Job:
    """What is computed.

    Attributes:
        name: Its name.
        model: The network.
        kind: "classification" or "regression".
        splits: The tasks.
        steps: Inner steps.
        lr: Their size.
        anil: Whether only the head adapts.
    """

    name: str
    model: Model
    kind: str
    splits: Sequence[Split]
    steps: int
    lr: float
    anil: bool = False

    @cached_property
    def losses(self) -> Losses:
        """The loss as evermap makes it, once for a whole meta-training."""
        return losses_of(self.model, self.kind)

    @cached_property
    def backend(self) -> Backend:
        """What evermap's `auto` settles on, likewise."""
        return choose(self.model)

    def exact(self) -> Job:
        """The first task in float64: in float32 a rounding error may move a maximum, and with it the gradient."""
        x, y, x_query, y_query = self.splits[0]
        y, y_query = (t.double() if t.is_floating_point() else t for t in (y, y_query))
        split = x.double(), y, x_query.double(), y_query
        return replace(self, model=copy.deepcopy(self.model).double(), splits=[split])

    @property
    def adapted(self) -> tuple[str, ...] | None:
        """Names of what the inner loop moves; None for all."""
        return HEAD if self.anil else None

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Mean loss."""
        return (
            nn.functional.mse_loss(outputs, y) if self.kind == "regression" else nn.functional.cross_entropy(outputs, y)
        )


# ---- the systems: each returns the mean meta-gradient, by name ----


def evermap(job: Job, backend: Backend | None = None, channels_last: bool = False) -> Gradient:
    """evermap, by the backend that `auto` takes unless another is named."""
    start, losses, backend = dict(job.model.named_parameters()), job.losses, backend or job.backend
    splits = job.splits
    if channels_last:
        start, splits = in_channels_last(start, splits)
    options: dict[str, Any] = {"steps": job.steps, "lr": job.lr, "adapted": job.adapted}
    if job.anil and backend == "loop":
        parts = [(1, head_meta_gradient(encode(job), head_loss(job), start, s, **options)) for s in splits]
    else:
        parts = list(mean_gradients(backend, losses, start, splits, 32, **options))
    total = {n: torch.zeros_like(p) for n, p in start.items()}
    for count, found in parts:
        for n, g in found.start.items():
            total[n] += g * (count / len(job.splits))
    return total


def encode(job: Job) -> Callable[[Any, Tensor], Tensor]:
    """The encoder as a function of all parameters."""

    def forward(parameters: Any, x: Tensor) -> Tensor:
        own = {n.removeprefix("encoder."): p for n, p in parameters.items() if n.startswith("encoder.")}
        return functional_call(job.model.encoder, own, (x,))

    return forward


def head_loss(job: Job) -> Callable[[Any, Tensor, Tensor], Tensor]:
    """The loss of the head on features."""
    return lambda p, f, y: job.loss(nn.functional.linear(f, p["head.weight"], p["head.bias"]), y)


def plain(job: Job, channels_last: bool = False) -> Gradient:
    """A plain loop: one graph through all steps of a task, backward after every task."""
    model, begin, splits = job.model, dict(job.model.named_parameters()), job.splits
    if channels_last:
        begin, splits = in_channels_last(begin, splits)
    total = {n: torch.zeros_like(p) for n, p in begin.items()}
    for x, y, x_query, y_query in splits:
        theta, features = dict(begin), encode(job)(begin, x) if job.anil else None
        for _ in range(job.steps):
            if features is not None:
                loss, names = head_loss(job)(theta, features, y), list(HEAD)
            else:
                loss, names = job.loss(functional_call(model, theta, (x,)), y), list(theta)
            gradient = torch.autograd.grad(loss, [theta[n] for n in names], create_graph=True)
            theta |= {n: theta[n] - job.lr * g for n, g in zip(names, gradient, strict=True)}
        judged = job.loss(functional_call(model, theta, (x_query,)), y_query) / len(job.splits)
        for n, g in zip(begin, torch.autograd.grad(judged, list(begin.values())), strict=True):
            total[n] += g
    return total


def torchopt(job: Job) -> Gradient:
    """TorchOpt's `MetaSGD`, as in its examples, but backward after every task."""
    library, net = importlib.import_module("torchopt"), bare(job.model)
    moving = net.head if job.anil else net
    inner = library.MetaSGD(moving, lr=job.lr)
    before = library.extract_state_dict(moving, by="reference"), library.extract_state_dict(inner, by="reference")
    for x, y, x_query, y_query in job.splits:
        features = net.encoder(x) if job.anil else None
        for _ in range(job.steps):
            inner.step(job.loss(net(x) if features is None else net.head(features), y))
        (job.loss(net(x_query), y_query) / len(job.splits)).backward()
        library.recover_state_dict(moving, before[0])
        library.recover_state_dict(inner, before[1])
    return gathered(job.model)


def higher(job: Job) -> Gradient:
    """higher's `innerloop_ctx`, backward after every task."""
    library, net = importlib.import_module("higher"), bare(job.model)
    moving = net.head if job.anil else net
    sgd = torch.optim.SGD(moving.parameters(), lr=job.lr)
    for x, y, x_query, y_query in job.splits:
        with library.innerloop_ctx(moving, sgd, copy_initial_weights=False) as (functional, inner):
            given, asked = (net.encoder(x), net.encoder(x_query)) if job.anil else (x, x_query)
            for _ in range(job.steps):
                inner.step(job.loss(functional(given), y))
            (job.loss(functional(asked), y_query) / len(job.splits)).backward()
    return gathered(job.model)


def bare(model: Model) -> nn.Sequential:
    """The same parameters in torch's own modules, without gradients: higher patches classes, and cannot patch ours."""
    head = nn.Linear(1, 1)
    head.weight, head.bias = model.head.weight, model.head.bias
    net = nn.Sequential(OrderedDict(encoder=model.encoder.layers, head=head))
    net.zero_grad()
    return net


def gathered(model: Model) -> Gradient:
    """The gradients that a backward pass has left."""
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


PEERS = {"TorchOpt": ("torchopt", torchopt), "higher": ("higher", higher)}  # name -> package, system


# ---- what is computed ----


def sinusoid(tasks: int) -> Job:
    """The regression of Finn 2017."""
    rng = torch.Generator().manual_seed(0)
    encoder = build_encoder("mlp", (1,), {"hidden": (40, 40)}, 0)
    model = Model(encoder, LinearHead(40, 1, rng))

    def split() -> Split:
        x = 10 * torch.rand(20, 1, generator=rng) - 5
        y = (0.1 + 4.9 * torch.rand((), generator=rng)) * torch.sin(x - torch.pi * torch.rand((), generator=rng))
        return x[:10], y[:10], x[10:], y[10:]

    return Job("sinusoid", model, "regression", [split() for _ in range(tasks)], 1, 0.01)


def convolutional(tasks: int, steps: int, anil: bool, filters: int, side: int) -> Job:
    """5-way 1-shot with 15 queries a class, on noise: images cost the same whatever they show."""
    rng = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = BatchConv4((1, side, side), filters=filters)
    model = Model(encoder, LinearHead(encoder.feature_size, 5, rng))
    y, y_query = torch.arange(5), torch.arange(5).repeat(15)

    def split() -> Split:
        classes = torch.randn(5, 1, side, side, generator=rng)
        noisy = classes[y_query] + 0.3 * torch.randn(75, 1, side, side, generator=rng)
        return classes, y, noisy, y_query

    name = f"{'ANIL' if anil else '4-conv'}, {steps} step{'s' if steps > 1 else ''}"
    return Job(name, model, "classification", [split() for _ in range(tasks)], steps, 0.1, anil)


def perceptron(hidden: tuple[int, ...], tasks: int) -> Job:
    """Digits-sized inputs, 5-way 5-shot with ten queries a class."""
    rng = torch.Generator().manual_seed(0)
    encoder = build_encoder("mlp", (64,), {"hidden": hidden}, 0)
    model = Model(encoder, LinearHead(hidden[-1], 5, rng))

    def split() -> Split:
        return (*_part(5, rng), *_part(10, rng))

    return Job("perceptron", model, "classification", [split() for _ in range(tasks)], 1, 0.1)


def _part(each: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(5 * each, 64, generator=rng), torch.arange(5).repeat(each)


# ---- measuring ----


def agree(one: Gradient, other: Gradient) -> float:
    """Norm of the difference of two gradients, as a share of the second one's norm."""
    away = sum(float(((one[n] - other[n]) ** 2).sum()) for n in other)
    return (away / sum(float((g**2).sum()) for g in other.values())) ** 0.5


def seconds(work: Callable[[], object], times: int) -> float:
    """CPU seconds of one call, the mean of several."""
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times


def peak(work: Callable[[], object]) -> float | None:
    """Most memory that a call holds beyond what the process held before, in MiB; None where Linux does not say."""
    status, refs = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        refs.write_text("5")  # forget the highest level so far
        before = _level(status, "VmRSS")
        work()
        return (_level(status, "VmHWM") - before) / 1024
    except (OSError, AttributeError):
        return None


def _level(status: Path, field: str) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(field))


def rate() -> float:
    """FLOPs a CPU second that a large matrix product reaches: the floor's denominator."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    torch.mm(a, b)
    return 2 * 1024**3 / min(seconds(lambda: torch.mm(a, b), 5) for _ in range(5))


def systems(job: Job) -> dict[str, Callable[[Job], Gradient]]:
    """What there is for a job: layouts differ only where there are images, and a peer may not be installed."""
    made: dict[str, Callable[[Job], Gradient]] = {"evermap": evermap, "plain": plain}
    if job.splits[0][0].dim() == 4:
        made |= {f"{n}, {LAST}": partial(made[n], channels_last=True) for n in ("evermap", "plain")}
    return made | {name: peer for name, (module, peer) in PEERS.items() if importlib.util.find_spec(module) is not None}


def compare(job: Job, rounds: int, times: int, say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Time all systems on a job in an order that changes from round to round, after a round that is thrown away.

    Returns:
        By system: CPU seconds of every round, peak memory in MiB, and how far its gradient is from the plain loop's.
    """
    found, exact = systems(job), job.exact()
    reference = plain(exact)
    took: dict[str, dict[str, Any]] = {}
    for name, system in found.items():
        away = agree(system(exact), reference)
        assert away < 1e-9, f"{name} computes something else: {away:.2g} of the norm away"
        took[name] = {"seconds": [], "peak": peak(lambda system=system: system(job)), "away": away}
    names = list(found)
    for number in range(rounds):
        for name in (*names[number % len(names) :], *names[: number % len(names)]):
            took[name]["seconds"].append(seconds(lambda name=name: found[name](job), times))
    say(f"{job.name}: " + ", ".join(f"{n} {1e3 * statistics.median(t['seconds']):.1f} ms" for n, t in took.items()))
    return took


def ratio(took: dict[str, dict[str, Any]], ours: str, theirs: str) -> str:
    """Median and range over rounds of one's seconds over another's."""
    if theirs not in took:
        return "–"
    values = [a / b for a, b in zip(took[ours]["seconds"], took[theirs]["seconds"], strict=True)]
    return f"{statistics.median(values):.3f} ({min(values):.3f} – {max(values):.3f})"


def border(rounds: int, tasks: int) -> list[str]:
    """Show where the backends are equal: CPU seconds over the loop's, by size of the network."""
    lines = ["| hidden layers | parameters | axis / loop | vmap / loop | `auto` |", "| --- | --- | --- | --- | --- |"]
    for hidden in BORDER:
        job = perceptron(hidden, tasks)
        took: dict[str, dict[str, Any]] = {b: {"seconds": []} for b in ("loop", "axis", "vmap")}
        for number in range(rounds + 1):
            for backend, each in took.items():
                spent = seconds(lambda backend=backend, job=job: evermap(job, backend), 5)
                if number:
                    each["seconds"].append(spent)
        size, chosen = sum(p.numel() for p in job.model.parameters()), job.backend
        cells = (ratio(took, "axis", "loop"), ratio(took, "vmap", "loop"))
        lines.append(f"| {'-'.join(map(str, hidden))} | {size:,} | {' | '.join(cells)} | {chosen} |")
    return lines


def table(jobs: dict[str, tuple[dict[str, dict[str, Any]], float]]) -> list[str]:
    """Lay out evermap's seconds over the others', and over the floor."""
    others = ["plain", f"plain, {LAST}", *PEERS]
    lines = [f"| job | system | {' | '.join(f'over {o}' for o in others)} | over the FLOP floor |"]
    lines.append("| --- | --- |" + " --- |" * (len(others) + 1))
    for job, (took, floor) in jobs.items():
        for ours in [name for name in took if name.startswith("evermap")]:
            over = statistics.median(took[ours]["seconds"]) / floor
            cells = [ratio(took, ours, other) for other in others]
            lines.append(f"| {job} | {ours} | {' | '.join(cells)} | {over:.1f} |")
    return lines


def anil_over_exact(jobs: dict[str, tuple[dict[str, dict[str, Any]], float]], steps: str) -> list[str]:
    """Lay out how much faster evermap's ANIL is than everyone's exact MAML."""
    exact, anil = jobs[f"4-conv, {steps}"][0], jobs[f"ANIL, {steps}"][0]
    lines = []
    for ours in [name for name in anil if name.startswith("evermap")]:
        both = {"ours": anil[ours], **exact}
        lines.append(f"| {steps} | {ours} | {' | '.join(ratio(both, name, 'ours') for name in exact)} |")
    return lines


def memory(jobs: dict[str, tuple[dict[str, dict[str, Any]], float]]) -> list[str]:
    """Lay out peak memory."""
    names = list(dict.fromkeys(name for took, _ in jobs.values() for name in took))
    lines = ["| job | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for job, (took, _) in jobs.items():
        cells = [_mib(took[n]["peak"]) if n in took else "–" for n in names]
        lines.append(f"| {job} | {' | '.join(cells)} |")
    return lines


def _mib(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.0f}"


def parser() -> argparse.ArgumentParser:
    """Describe the options."""
    made = argparse.ArgumentParser(description="Measure what a meta-gradient costs beside other libraries.")
    made.add_argument("--rounds", type=int, default=5, help="rounds, each of all systems (5)")
    made.add_argument("--tasks", type=int, default=8, help="tasks of a meta-step of 4-conv; the sinusoid has 25 (8)")
    made.add_argument("--filters", type=int, default=64, help="filters of the convolutions (64)")
    made.add_argument("--side", type=int, default=28, help="side of the images in pixels (28)")
    made.add_argument("--growth", type=int, nargs="+", default=[4, 16], help="tasks to compare the memory of (4 16)")
    made.add_argument("--json", type=Path, help="also write all figures into this file")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, one torch thread, torch {torch.__version__}, "
          f"Python {platform.python_version()}")  # fmt: skip
    for name, (module, _) in PEERS.items():
        if importlib.util.find_spec(module) is None:
            print(f"{name} is left out: it is not installed (pip install 'evermap[bench]')")

    def conv(steps: int, anil: bool = False, tasks: int = options.tasks) -> Job:
        return convolutional(tasks, steps, anil, options.filters, options.side)

    speed = rate()
    print(f"a large matrix product reaches {speed / 1e9:.0f} GFLOP a CPU second", flush=True)
    jobs: dict[str, tuple[dict[str, dict[str, Any]], float]] = {}
    for job in (sinusoid(25), conv(1), conv(5), conv(1, True), conv(5, True)):
        _, flops = counted(lambda job=job: evermap(job))
        took = compare(
            job, options.rounds, 20 if job.name == "sinusoid" else 1, lambda line: print(f"  {line}", flush=True)
        )
        jobs[job.name] = took, flops / speed
    print(f"\nevermap's CPU seconds over the others', medians of {options.rounds} rounds (range)\n")
    print("\n".join(table(jobs)))
    names = list(jobs["4-conv, 1 step"][0])
    print("\nHow many times as fast evermap's ANIL is as exact MAML of everyone\n")
    print(f"| inner steps | system | {' | '.join(names)} |\n| --- | --- |{' --- |' * len(names)}")
    print("\n".join(anil_over_exact(jobs, "1 step") + anil_over_exact(jobs, "5 steps")))
    print("\nPeak memory of a meta-step beyond what was held before, in MiB\n")
    print("\n".join(memory(jobs)))
    grown = {n: peak(lambda n=n: evermap(conv(5, tasks=n))) for n in options.growth}
    print(f"\n4-conv, 5 steps, peak by number of tasks: {', '.join(f'{n}: {_mib(m)} MiB' for n, m in grown.items())}")
    print("\nWhere the border of `auto` lies (4 tasks, 25 and 50 samples of 64 values, one step)\n")
    print("\n".join(border(options.rounds, 4)), flush=True)
    if options.json:
        kept = {name: {"systems": took, "floor": floor} for name, (took, floor) in jobs.items()}
        options.json.write_text(json.dumps({"rate": speed, "jobs": kept, "memory": grown}, indent=1))


if __name__ == "__main__":
    main()
