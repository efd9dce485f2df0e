"""Regression on sinusoids (Finn 2017, §5.1): MAML beside baselines, two of which the paper omits.

A task is a sine wave of amplitude 0.1 to 5 and phase 0 to π on [−5, 5]; five or ten of its points are given. Measured
is the mean squared error on other points of new tasks, after 0 to 10 steps of gradient descent:

- MAML, as evermap's strategy trains it (`strategies/meta_training.py`), with a fixed step size and with learned ones;
- pre-training: the same network trained on points of all tasks, then fine-tuned at the step size that does best on
  other tasks;
- ridge on random Fourier features, whose length scale, number and penalty are those that do best on other tasks;
- a Gaussian process fitted to the given points alone, its kernel's parameters by marginal likelihood.

    python -P benchmarks/sinusoid.py --help
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from torch import Tensor, nn

from evermap.agent.encoder import build_encoder
from evermap.agent.model import LinearHead, Model
from evermap.strategies.backend import choose, losses_of
from evermap.strategies.maml import Maml
from evermap.strategies.meta_gradient import inner_step
from evermap.strategies.meta_training import MetaTraining
from evermap.strategies.step_sizes import StepSizes
from evermap.streams.seeds import generator

STEPS = 10  # of adaptation
HIDDEN = (40, 40)
MAML = {"MAML": "fixed", "MAML, sizes per weight": "weight"}


@dataclass(frozen=True)
class Tasks:
    """Points of several sine waves; every part has shape `(tasks, points, 1)`."""

    x: Tensor
    y: Tensor
    x_query: Tensor
    y_query: Tensor


def draw(tasks: int, shots: int, queries: int, rng: torch.Generator) -> Tasks:
    """Draw tasks as the paper does: amplitude in [0.1, 5], phase in [0, π], points in [−5, 5]."""
    amplitude = 0.1 + 4.9 * torch.rand(tasks, 1, 1, generator=rng)
    phase = math.pi * torch.rand(tasks, 1, 1, generator=rng)
    x = 10 * torch.rand(tasks, shots + queries, 1, generator=rng) - 5
    y = amplitude * torch.sin(x - phase)
    return Tasks(x[:, :shots], y[:, :shots], x[:, shots:], y[:, shots:])


def network(seed: int) -> Model:
    """The paper's network: two layers of 40 units with ReLU."""
    encoder = build_encoder("mlp", (1,), {"hidden": HIDDEN}, seed)
    return Model(encoder, LinearHead(HIDDEN[-1], 1, generator(seed, "head")))


def errors(model: Model, tasks: Tasks, lr: StepSizes) -> Tensor:
    """Adapt to every task; squared error after 0 to 10 steps, shape `(STEPS + 1, tasks)`."""
    summed = losses_of(model, "regression").summed
    assert summed is not None  # a plain MLP
    forward = {n: p.detach().expand(len(tasks.x), *p.shape) for n, p in model.named_parameters()}
    rows = []
    for step in range(STEPS + 1):
        each = torch.func.vmap(losses_of(model, "regression").one)
        rows.append(each(forward, tasks.x_query, tasks.y_query).detach())
        forward = inner_step(summed, forward, tasks.x, tasks.y, lr, step=step)
    return torch.stack(rows)


def meta_trained(shots: int, meta_steps: int, seed: int, sizes: str) -> tuple[Model, StepSizes]:
    """Meta-train by one inner step of size 0.01 on 25 tasks at a time, Adam at 0.001, as the paper does."""
    settings = Maml.Settings(inner_lr=0.01, inner_steps=1, meta_lr=0.001, step_sizes=sizes)  # type: ignore[arg-type]
    model, rng = network(seed), generator(seed, "tasks", shots)
    training = MetaTraining(model, "regression", settings, choose(model))
    for _ in range(meta_steps):
        tasks = draw(25, shots, shots, rng)
        splits = zip(tasks.x, tasks.y, tasks.x_query, tasks.y_query, strict=True)
        training.step([(1, split) for split in splits], rng)
    return model, training.sizes or settings.inner_lr


def pretrained(shots: int, steps: int, seed: int, others: Tasks) -> tuple[Model, float]:
    """Train on as many points of as many tasks, without adaptation; choose the step size on other tasks."""
    model, rng = network(seed), generator(seed, "tasks", shots)
    adam = torch.optim.Adam(model.parameters(), lr=0.001)
    for _ in range(steps):
        tasks = draw(25, shots, shots, rng)
        x, y = torch.cat([tasks.x, tasks.x_query], dim=1), torch.cat([tasks.y, tasks.y_query], dim=1)
        loss = nn.functional.mse_loss(model(x.flatten(0, 1)), y.flatten(0, 1))
        adam.zero_grad()
        loss.backward()
        adam.step()
    return model, min((0.001, 0.003, 0.01, 0.02, 0.05), key=lambda lr: _score(errors(model, others, lr)[-1]))


def _score(errors: Tensor) -> float:
    return float(errors.mean().nan_to_num(math.inf))


def fourier_ridge(tasks: Tasks, others: Tasks, rng: torch.Generator) -> Tensor:
    """Ridge on random Fourier features (Rahimi & Recht 2007), its settings chosen on other tasks; shape `(tasks,)`."""
    grid = itertools.product((0.5, 1.0, 1.5, 2.0, 3.0), (64, 256), (1e-6, 1e-4, 1e-3, 1e-2, 1e-1))
    drawn = {
        (scale, number): (
            torch.randn(1, number, generator=rng) / scale,
            2 * math.pi * torch.rand(number, generator=rng),
        )
        for scale, number in itertools.product((0.5, 1.0, 1.5, 2.0, 3.0), (64, 256))
    }

    def fit(tasks: Tasks, scale: float, number: int, penalty: float) -> Tensor:
        W, b = drawn[scale, number]
        seen, asked = (math.sqrt(2 / number) * torch.cos(x @ W + b) for x in (tasks.x, tasks.x_query))
        gram = seen @ seen.mT + penalty * torch.eye(seen.shape[1])
        return ((asked @ seen.mT @ torch.linalg.solve(gram, tasks.y) - tasks.y_query) ** 2).mean(dim=(1, 2))

    best = min(grid, key=lambda at: _score(fit(others, *at)))
    return fit(tasks, *best)


def gaussian_process(tasks: Tasks, seed: int) -> Tensor:
    """A Gaussian process on the given points, its kernel by marginal likelihood; shape `(tasks,)`."""
    kernel = ConstantKernel(4.0, (1e-2, 1e2)) * RBF(1.5, (1e-1, 1e2))
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the best parameters may lie at a bound
        for x, y, x_query, y_query in zip(*(p.numpy() for p in vars(tasks).values()), strict=True):
            process = GaussianProcessRegressor(kernel, alpha=1e-6, n_restarts_optimizer=1, random_state=seed)
            answer = process.fit(x.astype(np.float64), y[:, 0].astype(np.float64)).predict(x_query)
            found.append(float(((answer - y_query[:, 0]) ** 2).mean()))
    return torch.tensor(found)


def measure(shots: int, options: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Tensor]:
    """Measure everything for a number of shots.

    Returns:
        By method the squared errors, shape `(seeds, STEPS + 1, tasks)`, or `(seeds, 1, tasks)` of what takes no steps.
    """
    tasks = draw(options.tasks, shots, options.queries, generator(options.seeds[0], "test", shots))
    others = draw(options.others, shots, options.queries, generator(options.seeds[0], "validation", shots))
    found: dict[str, list[Tensor]] = {}
    for seed in options.seeds:
        for name, sizes in MAML.items():
            start = time.process_time()
            model, lr = meta_trained(shots, options.steps, seed, sizes)
            found.setdefault(name, []).append(errors(model, tasks, lr))
            say(f"{shots} shots, seed {seed}: {name} took {time.process_time() - start:.0f} CPU seconds")
        model, lr = pretrained(shots, options.steps, seed, others)
        found.setdefault("pre-training", []).append(errors(model, tasks, lr))
        ridge = fourier_ridge(tasks, others, generator(seed, "features"))
        found.setdefault("Fourier ridge", []).append(ridge[None])
    found["Gaussian process"] = [gaussian_process(tasks, options.seeds[0])[None]]  # nothing of it is drawn
    return {name: torch.stack(each) for name, each in found.items()}


def cell(errors: Tensor) -> str:
    """Mean, 95 % interval over tasks, and range over seeds, of errors of shape `(seeds, tasks)`."""
    of_tasks, of_seeds = errors.mean(dim=0), errors.mean(dim=1)
    half = 1.96 * float(of_tasks.std()) / math.sqrt(len(of_tasks))
    spread = f" ({float(of_seeds.min()):.3f} – {float(of_seeds.max()):.3f})" if len(of_seeds) > 1 else ""
    return f"{float(of_tasks.mean()):.3f} ± {half:.3f}{spread}"


def table(found: dict[str, Tensor]) -> list[str]:
    """Lay mean squared errors out as a Markdown table, one row a number of steps."""
    lines = ["| steps | " + " | ".join(found) + " |", "| --- |" + " --- |" * len(found)]
    for step in range(STEPS + 1):
        cells = [cell(e[:, step]) if step < e.shape[1] else "" for e in found.values()]
        lines.append(f"| {step} | {' | '.join(cells)} |")
    return lines


# By number of shots and method the mean errors, a row a seed: a value for every number of steps, or one.
Means = dict[str, dict[str, list[list[float]]]]


def figure(means: Means, path: Path) -> None:
    """Draw the errors over the steps, averaged over seeds, on a logarithmic scale."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "evermap"
    shape, axes = plt.subplots(1, len(means), figsize=(4.5 * len(means), 3.4), sharey=True, squeeze=False)
    for axis, shots in zip(axes[0], sorted(means, key=int), strict=True):
        for name, rows in means[shots].items():
            mean = np.asarray(rows).mean(axis=0).tolist()
            line, style = (mean, "-") if len(mean) > 1 else (mean * (STEPS + 1), "--")
            axis.plot(range(STEPS + 1), line, style, label=name)
        axis.set(yscale="log", xlabel="gradient steps", title=f"{shots} shots")
    axes[0][0].set_ylabel("mean squared error")
    axes[0][-1].legend(fontsize=8)
    shape.tight_layout()
    shape.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(shape)


def parser() -> argparse.ArgumentParser:
    """Describe the options."""
    made = argparse.ArgumentParser(description="Measure MAML and baselines on sinusoids.")
    made.add_argument(
        "--shots", type=int, nargs="*", default=[5, 10], help="given points of a task (5 10); may be none"
    )
    made.add_argument("--steps", type=int, default=70_000, help="meta-steps, as many as in the paper (70000)")
    made.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="training seeds (0 1 2)")
    made.add_argument("--tasks", type=int, default=600, help="new tasks to test on (600)")
    made.add_argument("--queries", type=int, default=100, help="points of a task that are asked for (100)")
    made.add_argument("--others", type=int, default=200, help="tasks on which baselines choose their settings (200)")
    made.add_argument("--figure", type=Path, help="also draw the errors into this file (.svg, .png, .pdf)")
    made.add_argument("--json", type=Path, help="add the mean errors to this file; the figure shows all that it holds")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)
    seeds = " ".join(map(str, options.seeds))
    print(f"{date.today()}, torch {torch.__version__}, Python {platform.python_version()}")
    print(f"{options.steps:,} meta-steps, {options.tasks:,} tasks, seeds {seeds}")
    means: Means = json.loads(options.json.read_text()) if options.json and options.json.is_file() else {}
    for shots in options.shots:
        found = measure(shots, options, lambda line: print(f"  {line}", flush=True))
        print(f"\n{shots} shots: mean squared error ± 95 % over tasks (range over seeds)\n")
        print("\n".join(table(found)), flush=True)
        medians = (f"{n} {statistics.median(e[:, -1].mean(dim=0).tolist()):.3f}" for n, e in found.items())
        print(f"\nMedian over tasks after the last step: {', '.join(medians)}\n", flush=True)
        means[str(shots)] = {name: e.mean(dim=2).tolist() for name, e in found.items()}
        if options.json:
            options.json.write_text(json.dumps(means, indent=1) + "\n")
    if options.figure and means:
        figure(means, options.figure)


if __name__ == "__main__":
    main()
