"""What a task looked like, in a few hundred numbers: how near one task is to another, without keeping samples.

A signature holds mean and standard deviation of every input (averaged down to 256 values) and of 64 random features of
it, the same for every run, and how many samples each class had. Means of few samples can leak what these samples
were: signatures are not anonymous.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..streams.seeds import derive
from ..streams.task import Task
from .encoder import build_encoder
from .entries import SignatureRecord

INPUTS, FEATURES = 256, 64
# Samples from which mean and standard deviation are taken, evenly spaced; more make them no better.
MOST_SAMPLES = 1000
_DISK = np.dtype("<f4")


@dataclass(frozen=True)
class Near:
    """How far a known task is from the one that was asked about; None where the two cannot be compared.

    Attributes:
        task: Its index.
        input: Distance of the inputs.
        label: Distance of the classes.
        feature: Distance of the features.
    """

    task: int
    input: float | None
    label: float | None
    feature: float | None


@torch.no_grad()
def sign(task: Task, view: Task, stem: str | None) -> SignatureRecord:
    """Take a task's signature.

    Args:
        task: The task as it came.
        view: The task as strategies see it, through the stem.
        stem: Id of the stem; None for none.

    Returns:
        Its signature, of its support set.
    """
    step = max(1, len(task.support) // MOST_SAMPLES)
    x, seen = task.support.x[::step].float(), view.support.x[::step]
    encoder = build_encoder("random", view.input_shape, {"features": FEATURES}, derive(0, "signature")).to(seen.device)
    found = task.support.y.bincount(minlength=task.outputs).tolist() if task.kind == "classification" else []
    counts = {str(c): int(n) for c, n in zip(task.classes, found, strict=True)} if any(found) else {}
    return SignatureRecord(
        task.index, space(task.input_shape, stem), counts, _moments(_small(x)), _moments(encoder(seen.float()))
    )


def space(shape: tuple[int, ...], stem: str | None) -> str:
    """Name what signatures can be compared within.

    Args:
        shape: Shape of one input as it comes.
        stem: Id of the stem; None for none.
    """
    return "x".join(map(str, shape)) + (f" on {stem}" if stem else "")


def distances(of: SignatureRecord, others: Sequence[SignatureRecord]) -> list[Near]:
    """Measure how far tasks are from one.

    In input and feature space it is the Wasserstein-2 distance of normal distributions with independent values (Dowson
    & Landau 1982), per value: √(mean((μ − μ')² + (σ − σ')²)). In label space it is the total variation of the shares of
    classes: 0 for the same classes in the same proportion, 1 for none in common; class ids are compared within one
    stream, so a task of a stream before this one has none.

    Args:
        of: The signature of the task.
        others: Signatures of the others.

    Returns:
        One for each of the others, the nearest first: by features, then by inputs, then by labels.
    """
    found = []
    for other in others:
        same = of.space == other.space
        comparable = bool(of.classes) and bool(other.classes) and (of.task < 0) == (other.task < 0)
        found.append(
            Near(
                other.task,
                _apart(of.inputs, other.inputs) if same else None,
                _varied(of.classes, other.classes) if comparable else None,
                _apart(of.features, other.features) if same else None,
            )
        )

    def order(near: Near) -> tuple[float, ...]:
        each = (near.feature, near.input, near.label)
        return (*(math.inf if value is None else value for value in each), near.task)

    return sorted(found, key=order)


def nearest(apart: np.ndarray, rows: np.ndarray, most: int) -> list[int]:
    """Find the least of many distances; of equals the first ones.

    Args:
        apart: Distances, shape `(n,)`.
        rows: Which of them are asked about, shape `(m,)`; may count from the end.
        most: How many to find.

    Returns:
        Positions in `rows`, in ascending order.
    """
    picked = apart[rows]
    if len(picked) <= most:
        return list(range(len(picked)))
    last = np.partition(picked, most - 1)[most - 1]
    nearer, equal = np.flatnonzero(picked < last), np.flatnonzero(picked == last)
    return np.sort(np.concatenate([nearer, equal[: most - len(nearer)]])).tolist()


def numbers(kept: bytes) -> np.ndarray:
    """Read what a signature keeps: means, then standard deviations, float32, shape `(values,)`."""
    return np.frombuffer(kept, dtype=_DISK)


def _small(x: Tensor) -> Tensor:
    """Average inputs, shape `(n, *input_shape)`, down to at most `INPUTS` values each, neighbours together."""
    flat = x.flatten(1)
    if flat.shape[1] <= INPUTS:
        return flat
    if x.dim() == 4:
        side = max(1, math.isqrt(INPUTS // x.shape[1]))
        if x.shape[1] <= INPUTS:
            size = (min(side, x.shape[2]), min(side, x.shape[3]))
            return torch.nn.functional.adaptive_avg_pool2d(x, size).flatten(1)
    return torch.nn.functional.adaptive_avg_pool1d(flat[:, None], INPUTS).flatten(1)


def _moments(values: Tensor) -> bytes:
    both = torch.cat([values.mean(dim=0), values.std(dim=0, correction=0)])
    return both.cpu().numpy().astype(_DISK).tobytes()


def _apart(one: bytes, other: bytes) -> float:
    difference = numbers(one).astype(np.float64) - numbers(other)
    return float(np.sqrt((difference**2).sum() / (len(difference) / 2)))


def _varied(one: dict[str, int], other: dict[str, int]) -> float:
    p, q = ({c: n / sum(counts.values()) for c, n in counts.items()} for counts in (one, other))
    return sum(abs(p.get(c, 0.0) - q.get(c, 0.0)) for c in {*p, *q}) / 2
