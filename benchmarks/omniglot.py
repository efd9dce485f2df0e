"""Few-shot learning on real Omniglot: prototypical networks and MAML at a known number of CPU seconds.

    python -P benchmarks/omniglot.py protonet --seeds 1 2 3      # all four cells of one split
    python -P benchmarks/omniglot.py protonet --split alphabet
    python -P benchmarks/omniglot.py maml --seeds 1 2 3
    python -P benchmarks/omniglot.py table --write               # docs/omniglot.md from what is finished

Protocol. Images are resized to 28x28 once and kept in memory; every character turned by 0, 90, 180 and 270 degrees
makes four classes. The split "random" draws 1,200 characters to train on from all 1,623, always the same (seed 0); the
split "alphabet" trains on the 964 characters of the background set and tests on the 659 of the evaluation set, whose
alphabets are others. A test episode draws its classes, then 15 queries of each, evenly. Finished runs stay in a JSON
file, so that the table can be completed over several sittings. One torch thread; seconds are CPU seconds of training,
evaluation left out.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import platform
import re
import statistics
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from evermap.errors import DataMissing, EvermapError, UserError
from evermap.strategies.episodic import rotated_episodes_loss, similarity
from evermap.strategies.meta_gradient import inner_step
from evermap.strategies.one_step import one_step_loss

ROOT = Path(__file__).resolve().parent.parent
BESIDE = ROOT.parent / "shared" / "data"
CELLS = ((5, 1), (5, 5), (20, 1), (20, 5))
QUERIES = 15
SPLIT_SEED, TRAINING_CHARACTERS = 0, 1200
PUBLISHED = {"protonet": (98.8, 99.7, 96.0, 98.9), "maml": (98.7, 99.9, 95.8, 98.9)}
TRANSDUCTIVE = ("maml",)  # as published: batch norm by the statistics of the queries; nothing here is
AIMS = {("protonet", 5, 1): 98.7, ("protonet", 20, 1): 95.8, ("maml", 5, 1): 98.0}
POINTS = 8  # of the curve


# Data


@dataclass(frozen=True)
class Omniglot:
    """All drawings.

    Attributes:
        images: Ink as 255, uint8, shape `(characters, drawings, 28, 28)`, sorted by alphabet and character.
        names: "alphabet/character" of every character.
        background: How many of them, the first, are of the background set.
    """

    images: Tensor
    names: tuple[str, ...]
    background: int

    def split(self, name: str) -> tuple[Tensor, Tensor]:
        """Return the classes to train on and to test on, each of shape `(4 * characters, drawings, 28, 28)`."""
        order = torch.arange(len(self.names))
        border = self.background
        if name == "random":
            order = torch.randperm(len(order), generator=torch.Generator().manual_seed(SPLIT_SEED))
            border = round(len(order) * TRAINING_CHARACTERS / 1623)
        return _turned(self.images[order[:border]]), _turned(self.images[order[border:]])


def load(folder: Path) -> Omniglot:
    """Read both archives of `folder/omniglot-py`, straight from the zip files.

    Raises:
        DataMissing: If one is not there; says where it comes from.
        UserError: If one cannot be read, or characters have different numbers of drawings.
    """
    parts = [_archive(folder / "omniglot-py" / f"images_{name}.zip") for name in ("background", "evaluation")]
    names = [*parts[0], *parts[1]]
    drawings = [*parts[0].values(), *parts[1].values()]
    counts = {len(each) for each in drawings}
    if len(counts) != 1:
        odd = next(n for n, each in zip(names, drawings, strict=True) if len(each) != len(drawings[0]))
        raise UserError(f"{folder}: {odd} has another number of drawings than {names[0]}; Omniglot has 20 of each.")
    return Omniglot(torch.from_numpy(np.stack([np.stack(each) for each in drawings])), tuple(names), len(parts[0]))


def _archive(path: Path) -> dict[str, list[np.ndarray]]:
    """Read one archive: "alphabet/character" to its drawings, both sorted by name."""
    from PIL import Image

    if not path.is_file():
        raise DataMissing(
            f"{path}: there is no such file. It comes from https://github.com/brendenlake/omniglot (python/); "
            "--data or EVERMAP_DATA names the folder that holds omniglot-py/."
        )
    found: dict[str, list[np.ndarray]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(each for each in archive.namelist() if each.endswith(".png")):
                with Image.open(io.BytesIO(archive.read(name))) as image:
                    small = image.convert("L").resize((28, 28), Image.Resampling.BILINEAR)
                found.setdefault("/".join(Path(name).parts[-3:-1]), []).append(255 - np.asarray(small))
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path}: the archive cannot be read: {error}.") from None
    if not found:
        raise UserError(f"{path}: the archive holds no drawing (images_…/alphabet/character/….png).")
    return found


def _turned(images: Tensor) -> Tensor:
    """Return the images turned by 0, 90, 180 and 270 degrees, as classes of their own."""
    return torch.cat([torch.rot90(images, turn, dims=(2, 3)) for turn in range(4)]).contiguous()


def draw(images: Tensor, ways: int, each: int, rng: torch.Generator) -> Tensor:
    """Draw an episode: `each` drawings of `ways` classes, uint8, shape `(ways, each, 28, 28)`."""
    classes = torch.randperm(len(images), generator=rng)[:ways]
    samples = torch.rand(ways, images.shape[1], generator=rng).argsort(dim=1)[:, :each]
    return images[classes[:, None], samples]


def normalised(images: Tensor) -> Tensor:
    """Bring ink, shape `(..., 28, 28)`, to about zero mean and unit variance, as float32 `(n, 1, 28, 28)`."""
    return (images.reshape(-1, 1, 28, 28).float() / 255 - 0.08) / 0.25


def shifted(x: Tensor, most: int, rng: torch.Generator) -> Tensor:
    """Move every image of `x`, shape `(n, 1, 28, 28)`, by up to `most` pixels either way; paper comes in."""
    if not most:
        return x
    n, _, height, width = x.shape
    padded = F.pad(x, (most,) * 4, value=float(normalised(torch.zeros(1, 28, 28, dtype=torch.uint8))[0, 0, 0, 0]))
    by = torch.randint(0, 2 * most + 1, (n, 2), generator=rng)
    rows = by[:, 0, None] + torch.arange(height)
    columns = by[:, 1, None] + torch.arange(width)
    return padded[torch.arange(n)[:, None, None], 0, rows[:, :, None], columns[:, None, :]].unsqueeze(1)


# Networks


def network(down: str, filters: int, running: bool) -> nn.Sequential:
    """The four blocks of the papers, with batch norm: of running statistics when tested, or always of the batch."""
    layers: list[nn.Module] = []
    channels = 1
    for _ in range(4):
        layers.append(nn.Conv2d(channels, filters, 3, 2 if down == "stride" else 1, padding=1, bias=False))
        layers += [nn.MaxPool2d(2)] if down == "pool" else []  # before ReLU: the same values, a quarter of the work
        layers += [nn.BatchNorm2d(filters, track_running_stats=running), nn.ReLU()]
        channels = filters
    return nn.Sequential(*layers, nn.Flatten())


# What is run


@dataclass(frozen=True)
class ProtoNet:
    """How prototypical networks are trained; one run serves all four cells."""

    steps: int = 5000
    ways: int = 60
    shots: int = 1
    samples: int = 5
    filters: int = 64
    down: str = "stride"
    lr: float = 2e-3
    warm_up: float = 0.05
    shift: int = 2
    precision: str = "bfloat16"

    def train(self, images: Tensor, rng: torch.Generator) -> Iterator[tuple[int, Callable[..., list[float]]]]:
        """Train; after every step yield its number and a function that gives the accuracies of test episodes."""
        model = network(self.down, self.filters, running=True).to(memory_format=torch.channels_last)
        adam = torch.optim.Adam(model.parameters(), lr=self.lr, fused=True)
        low = self.precision == "bfloat16"
        for step in range(1, self.steps + 1):
            drawn = draw(images, self.ways, self.samples, rng)
            x = shifted(normalised(drawn), self.shift, rng).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                features = model(x).float()
            loss = rotated_episodes_loss(features.view(self.ways, self.samples, -1), self.shots)
            _descend(loss, adam, self.lr * one_cycle(step / self.steps, self.warm_up))
            yield step, lambda test, ways, shots, episodes, rng: _nearest(model, test, ways, shots, episodes, rng)


@dataclass(frozen=True)
class Maml:
    """How MAML is trained, exact in second order; one run serves all four cells.

    The head starts with equal rows (Ye & Chao 2022, arXiv 2111.10040) and the inner loop of training takes one step:
    it moves the head alone, whatever it may move, so the features of an episode are those before adaptation, and many
    episodes share what was encoded. Their meta-gradient is exact; the step's size is learned. In testing the inner loop
    moves all weights, in `test_steps` steps. Batch norm's statistics are those of training: an answer does not depend
    on the other queries.
    """

    steps: int = 5000
    classes: int = 60
    ways: int = 20
    shots: int = 1
    samples: int = 5
    inner_lr: float = 0.02
    body_lr: float = 0.02
    test_steps: int = 3
    first: float = 0.3
    later: float = 0.1
    filters: int = 64
    down: str = "stride"
    lr: float = 2e-3
    warm_up: float = 0.05
    shift: int = 2
    precision: str = "bfloat16"

    def train(self, images: Tensor, rng: torch.Generator) -> Iterator[tuple[int, Callable[..., list[float]]]]:
        """Meta-train; after every meta-step yield its number and a function that tests what was learned."""
        body = network(self.down, self.filters, running=True).to(memory_format=torch.channels_last)
        size = nn.Parameter(torch.tensor(self.inner_lr))  # of the head's inner step, times the number of classes
        groups = [{"params": list(body.parameters()), "lr": 1.0}, {"params": [size], "lr": self.inner_lr}]
        adam = torch.optim.Adam(groups, fused=True)
        for step in range(1, self.steps + 1):
            drawn = draw(images, self.classes, self.samples, rng)
            x = shifted(normalised(drawn), self.shift, rng).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
                features = body(x).float()
            features = features.view(self.classes, self.samples, -1)
            loss = one_step_loss(features, self.shots, self.ways, size, rng)
            factor = self.lr * one_cycle(step / self.steps, self.warm_up)
            _descend(loss, adam, factor, (1.0, self.inner_lr))
            yield step, self._tester(body, size.item())

    def _tester(self, body: nn.Module, size: float) -> Callable[..., list[float]]:
        """Make the function that tests: every episode adapts anew, beginning with a head of zeros."""

        def test(images: Tensor, ways: int, shots: int, episodes: int, rng: torch.Generator) -> list[float]:
            body.eval()
            found = []
            for _ in range(episodes):
                drawn, y = draw(images, ways, shots + QUERIES, rng), torch.arange(ways)
                x, xq = normalised(drawn[:, :shots]), normalised(drawn[:, shots:])
                theta = self.adapted(body, size, x, y.repeat_interleave(shots), ways)
                with torch.no_grad():
                    said = self._outputs(body, theta, xq).argmax(dim=1)
                found.append(float((said == y.repeat_interleave(QUERIES)).float().mean()))
            body.train()
            return found

        return test

    def adapted(self, body: nn.Module, size: float, x: Tensor, y: Tensor, ways: int) -> dict[str, Tensor]:
        """Adapt all weights to a support set.

        Args:
            body: The network that was meta-trained, in evaluation mode.
            size: The learned size of the head's step, divided by the number of classes.
            x: Images of the support set, shape `(n, 1, 28, 28)`.
            y: Their labels, shape `(n,)`.
            ways: Number of classes.

        Returns:
            The weights after `test_steps` steps: "body." with the network's names, "head.weight" and "head.bias".
        """
        theta = {f"body.{n}": p.detach() for n, p in body.named_parameters()}
        with torch.no_grad():
            features = body(x[:1]).shape[1]
        theta |= {"head.weight": torch.zeros(ways, features), "head.bias": torch.zeros(ways)}
        head = size * ways * torch.tensor([self.first, self.later])
        lrs = {n: head if n.startswith("head.") else torch.tensor([self.body_lr]) for n in theta}
        for step in range(self.test_steps):
            theta = inner_step(self._loss(body), theta, x, y, lrs, step=step)
        return theta

    def _outputs(self, body: nn.Module, theta: Any, x: Tensor) -> Tensor:
        own = {n.removeprefix("body."): p for n, p in theta.items() if n.startswith("body.")}
        return F.linear(functional_call(body, own, (x,)), theta["head.weight"], theta["head.bias"])

    def _loss(self, body: nn.Module) -> Callable[[Any, Tensor, Tensor], Tensor]:
        return lambda theta, x, y: F.cross_entropy(self._outputs(body, theta, x), y)


Recipe = ProtoNet | Maml


def one_cycle(done: float, warm_up: float) -> float:
    """Factor of the learning rate: up in a straight line, down along a cosine (Smith & Topin 2018)."""
    if done < warm_up:
        return done / warm_up
    return 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))


def _descend(loss: Tensor, adam: torch.optim.Optimizer, lr: float, relative: tuple[float, ...] = (1.0,)) -> None:
    if not math.isfinite(value := loss.item()):
        raise UserError(f"the training loss is {value}; a smaller learning rate may help.")
    for group, factor in zip(adam.param_groups, relative, strict=True):
        group["lr"] = lr * factor
    adam.zero_grad()
    loss.backward()
    adam.step()


@torch.no_grad()
def _nearest(
    model: nn.Module, images: Tensor, ways: int, shots: int, episodes: int, rng: torch.Generator
) -> list[float]:
    """Test by nearest prototypes, in float32, with running statistics: an answer does not depend on its batch."""
    model.eval()
    parts = normalised(images).split(1000)
    features = torch.cat([model(part.contiguous(memory_format=torch.channels_last)) for part in parts])
    model.train()
    features, found = features.view(len(images), images.shape[1], -1), []
    right = torch.arange(ways).repeat_interleave(QUERIES)
    for _ in range(episodes):
        drawn = draw(features, ways, shots + QUERIES, rng)
        said = similarity(drawn[:, shots:].flatten(0, 1), drawn[:, :shots].mean(dim=1)).argmax(dim=1)
        found.append(float((said == right).float().mean()))
    return found


def run(
    recipe: Recipe,
    data: Omniglot,
    split: str,
    seed: int,
    episodes: int,
    tell: Callable[[str], None],
    cells: Sequence[tuple[int, int]] = (),
) -> dict[str, Any]:
    """Train with one seed, testing along the way and at the end: the first cell and `cells`; all where there are none.

    Returns:
        CPU seconds of training, the curve (CPU seconds, accuracy of the first cell in %, episodes), and for every cell
        accuracy and half the 95 % interval over its test episodes, both in %.
    """
    training, test = data.split(split)
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    asked = [cell for cell in CELLS if cell == CELLS[0] or not cells or cell in cells]
    looks = {round(recipe.steps * 2.0 ** (i - POINTS)) for i in range(1, POINTS)} - {0}
    spent, curve, result = 0.0, [], {}
    start = time.process_time()
    for step, answers in recipe.train(training, rng):
        if step in looks or step == recipe.steps:
            spent += time.process_time() - start
            last = step == recipe.steps
            for ways, shots in asked if last else CELLS[:1]:
                count = episodes if last else min(episodes, 200)
                drawn = torch.Generator().manual_seed(1000 + 100 * ways + shots)
                accuracy, half = interval(answers(test, ways, shots, count, drawn))
                if (ways, shots) == CELLS[0]:
                    curve.append([round(spent, 1), accuracy, count])
                if last:
                    result[f"{ways}w{shots}s"] = {"accuracy": accuracy, "half": half, "episodes": count}
                tell(
                    f"seed {seed}, step {step}, {spent:.0f} CPU s: {ways}-way {shots}-shot {accuracy:.2f} ± {half:.2f}"
                )
            start = time.process_time()
    return {"cpu_seconds": round(spent, 1), "curve": curve, "cells": result}


def interval(accuracies: list[float]) -> tuple[float, float]:
    """Return the mean and half its 95 % interval (normal), in per cent with three digits."""
    spread = statistics.stdev(accuracies) / len(accuracies) ** 0.5 if len(accuracies) > 1 else math.nan
    return round(100 * statistics.fmean(accuracies), 3), round(196 * spread, 3)


# What is kept, and the table


def key(recipe: Recipe, split: str, seed: int) -> str:
    """Name a run in the file of results."""
    return f"{'maml' if isinstance(recipe, Maml) else 'protonet'} {split} {seed}"


def table(results: dict[str, Any]) -> str:
    """Write what is finished as Markdown, one row a recipe; what is not is "not run yet"."""
    recipes = lettered(results)
    heads = ["method, split", "recipe", "seeds", "CPU s a run", *(f"{w}-way {s}-shot" for w, s in CELLS)]
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for method, what in (("protonet", "ProtoNet"), ("maml", "MAML")):
        for split in ("random", "alphabet"):
            runs = {k: r for k, r in results.items() if k.startswith(method) and k.split()[-2] == split}
            for letter in sorted({recipes[k] for k in runs}) or ["–"]:
                mine = {k: r for k, r in runs.items() if recipes[k] == letter}
                seconds = [r["cpu_seconds"] for r in mine.values()]
                taken = " – ".join(dict.fromkeys(f"{f(seconds):.0f}" for f in (min, max))) if seconds else "–"
                seeds = ", ".join(sorted({k.split()[-1] for k in mine})) or "–"
                named = [f"{w}w{s}s" for w, s in CELLS]
                texts = [_cell([r["cells"][n] for r in mine.values() if n in r["cells"]]) for n in named]
                lines.append(f"| {what}, {split} | {letter} | {seeds} | {taken} | {' | '.join(texts)} |")
        published = " | ".join(str(each) for each in PUBLISHED[method])
        marked = " (transductive)" if method in TRANSDUCTIVE else ""
        lines.append(f"| {what}, as published{marked} | | | | {published} |")
    lines += ["", "Aims, within 1,800 CPU seconds a run, random split:", ""]
    for (method, ways, shots), aim in AIMS.items():
        name = f"{ways}w{shots}s"
        got = [
            r["cells"][name]
            for k, r in results.items()
            if k.startswith(method) and "random" in k and name in r["cells"]
        ]
        verdict = "not run yet"
        if got:
            mean = statistics.fmean(each["accuracy"] for each in got)
            verdict = f"{mean:.2f}: {'met' if mean >= aim else f'missed by {aim - mean:.2f} points'}"
        lines.append(f"- {method}, {ways}-way {shots}-shot, {aim} or more: {verdict}")
    lines += [
        "",
        "Accuracy of the first cell against CPU seconds of training (200 test episodes but for the last):",
        "",
    ]
    for name, result in sorted(results.items()):
        points = ", ".join(f"{accuracy:.1f} at {seconds:.0f} s" for seconds, accuracy, _ in result["curve"])
        lines.append(f"- {name}: {points}")
    used = {recipes[k]: f"{k.split()[0]}: `{json.dumps(r['recipe'], sort_keys=True)}`" for k, r in results.items()}
    lines += ["", "Recipes, as they ran:", ""] + [f"- {letter}, {used[letter]}" for letter in sorted(used)]
    machines = sorted({f"{r['machine']}, torch {r['torch']}, {r['date']}" for r in results.values()})
    return "\n".join([*lines, "", *(f"Measured on {each}." for each in machines)])


def lettered(results: dict[str, Any]) -> dict[str, str]:
    """Give every recipe a letter, in the order of the runs' names; return each run's."""
    letters: dict[str, str] = {}
    for _, result in sorted(results.items()):
        letters.setdefault(json.dumps(result["recipe"], sort_keys=True), chr(ord("A") + len(letters)))
    return {name: letters[json.dumps(result["recipe"], sort_keys=True)] for name, result in results.items()}


def _cell(found: list[dict[str, Any]]) -> str:
    """Write a cell: the mean, half the interval over episodes, and over training seeds where there are several."""
    if not found:
        return "not run yet"
    n, mean = len(found), statistics.fmean(each["accuracy"] for each in found)
    over_episodes = sum(each["half"] ** 2 for each in found) ** 0.5 / n
    if n == 1:
        return f"{mean:.2f} ± {over_episodes:.2f} (one seed)"
    from scipy.stats import t

    spread = statistics.stdev(each["accuracy"] for each in found) / n**0.5 * float(t.ppf(0.975, n - 1))
    return f"{mean:.2f} ± {over_episodes:.2f} (episodes) ± {spread:.2f} ({n} seeds)"


def figure(results: dict[str, Any], path: Path) -> None:
    """Draw every run's accuracy in 5-way 1-shot over its CPU seconds of training, on logarithmic axes of error."""
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    rcParams["svg.hashsalt"] = "evermap"
    shown = Figure(figsize=(6.4, 3.8))
    axis = shown.subplots()
    colours = {"protonet random": "C0", "protonet alphabet": "C9", "maml random": "C3", "maml alphabet": "C1"}
    for name, result in sorted(results.items()):
        kind = name.rpartition(" ")[0]
        # Nothing that is drawn on a logarithmic axis may be zero: a run of a few steps takes "0.0 seconds".
        points = [(max(seconds, 0.1), max(100 - accuracy, 0.1)) for seconds, accuracy, _ in result["curve"]]
        axis.plot(*zip(*points, strict=True), "o-", ms=3, lw=1, color=colours[kind], label=kind)
    axis.set(xscale="log", yscale="log", xlabel="CPU seconds of training", ylabel="5-way 1-shot error in %")
    ticks = (1, 2, 5, 10, 20, 50)
    axis.set_yticks(ticks, [str(tick) for tick in ticks])
    once = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    axis.legend(once.values(), once.keys(), fontsize=8)
    axis.grid(alpha=0.3)
    shown.tight_layout()
    shown.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def processor() -> str:
    """Name the processor, as far as the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.is_file() else []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{named or platform.machine()}, {os.cpu_count()} cores"


def into_page(page: str, text: str) -> str:
    """Put the table between the two marks of a page."""
    begin, end = "<!-- table: made by benchmarks/omniglot.py table --write -->", "<!-- end of the table -->"
    if begin not in page or end not in page:
        raise UserError(f"docs/omniglot.md: the marks {begin!r} and {end!r} are missing.")
    return re.sub(f"{re.escape(begin)}.*{re.escape(end)}", lambda _: f"{begin}\n{text}\n{end}", page, flags=re.DOTALL)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="method", required=True)
    for name, kind in (("protonet", ProtoNet), ("maml", Maml)):
        made = kinds.add_parser(name, help=kind.__doc__)
        for field, default in asdict(kind()).items():
            option = "--" + field.replace("_", "-")
            choices = {"down": ("stride", "pool"), "precision": ("bfloat16", "float32")}.get(field)
            made.add_argument(option, dest=field, type=type(default), default=default, choices=choices)
        made.add_argument("--seeds", type=int, nargs="+", default=[1])
        made.add_argument("--split", choices=("random", "alphabet"), default="random")
        made.add_argument("--episodes", type=int, default=1000, help="test episodes of a cell")
        named = [f"{w}w{s}s" for w, s in CELLS]
        made.add_argument("--cells", nargs="+", choices=named, default=[], help="what is tested beside 5w1s (all)")
        made.add_argument("--again", action="store_true", help="run anew what is finished")
        default = Path(os.environ.get("EVERMAP_DATA") or BESIDE)
        made.add_argument(
            "--data",
            type=Path,
            default=default,
            help="folder of data sets; default: EVERMAP_DATA, or ../shared/data beside the checkout",
        )
    shown = kinds.add_parser("table", help="print the table of what is finished")
    shown.add_argument("--write", action="store_true", help="put it into docs/omniglot.md")
    shown.add_argument("--figure", type=Path, help="draw accuracy over CPU seconds into this file (.svg, .png, .pdf)")
    for each in kinds.choices.values():
        each.add_argument("--results", type=Path, default=ROOT / "docs" / "omniglot.json", help="file of finished runs")
    return parser.parse_args(given)


def finished(path: Path) -> dict[str, Any]:
    """Read the file of finished runs; none where there is no file."""
    try:
        found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise UserError(f"{path}: this is no file of finished runs: {error}.") from None
    return dict(found)


def play(given: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    results = finished(given.results)
    if given.method == "table":
        text = table(results)
        print(text)
        if given.write:
            page = ROOT / "docs" / "omniglot.md"
            page.write_text(into_page(page.read_text("utf-8"), text), "utf-8")
        if given.figure and results:
            figure(results, given.figure)
        return
    kind = {"protonet": ProtoNet, "maml": Maml}[given.method]
    settings = {name: getattr(given, name) for name in asdict(kind())}
    for name, value in settings.items():
        if not isinstance(value, str) and value <= 0 and name not in ("shift", "warm_up"):
            raise UserError(f"--{name.replace('_', '-')} {value}: it must be greater than 0.")
    recipe: Recipe = kind(**settings)
    if recipe.shots >= recipe.samples:
        raise UserError(f"--shots {recipe.shots}: it must be below --samples {recipe.samples}; the others are queries.")
    if isinstance(recipe, Maml) and recipe.ways > recipe.classes:
        raise UserError(f"--ways {recipe.ways}: it must be at most --classes {recipe.classes}.")
    data = load(given.data)
    most = 4 * min(data.background, round(len(data.names) * (1 - TRAINING_CHARACTERS / 1623)))
    for name in ("ways", "classes"):
        if (wanted := settings.get(name, 0)) > most:
            raise UserError(f"--{name} {wanted}: there are {most} classes.")
    torch.set_num_threads(1)
    for seed in given.seeds:
        name = key(recipe, given.split, seed)
        if name in results and not given.again:
            same = results[name]["recipe"] == asdict(recipe)
            print(f"{name} is finished{'' if same else ' with another recipe'}; --again runs it anew", flush=True)
            continue
        cells = [cell for cell in CELLS if f"{cell[0]}w{cell[1]}s" in given.cells]
        made = run(recipe, data, given.split, seed, given.episodes, lambda text: print(text, flush=True), cells)
        about = {"recipe": asdict(recipe), "machine": processor()}
        results = finished(given.results)  # again: another process may have added to it meanwhile
        results[name] = {**made, **about, "torch": torch.__version__, "date": date.today().isoformat()}
        waiting = given.results.with_suffix(".part")
        waiting.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
        waiting.replace(given.results)


def main(given: list[str] | None = None) -> int:
    """Run the command line; a user's mistake is one sentence and exit code 2."""
    try:
        play(arguments(given))
    except EvermapError as error:
        print(f"omniglot: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
