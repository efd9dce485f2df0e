"""Merging two stored encoders without samples: one learns to do what the other does, on inputs drawn from statistics.

First by least squares alone: the heads of one are fitted anew on the features of the other, which stays as it is. If
that costs a task too much, a copy is distilled from both (Hinton 2015, arXiv 1503.02531; matching of features, Romero
2015, arXiv 1412.6550) as long as the budget lasts, and the heads of both are fitted on its features.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import flop_count
from .arm import outputs_of
from .budget import counted
from .closed_form import ridge
from .encoder import Encoder
from .model import LinearHead, Model
from .stand_in import StandIn

# Accuracy that no task may lose more of, on inputs drawn anew.
MARGIN = 0.02
# Inputs of every class that heads are fitted on, and that they are judged by.
FITTED, JUDGED = 64, 32
# Gradient steps at most and at least, inputs of each, and their rate of learning.
STEPS, FEWEST, BATCH, RATE = 200, 20, 64, 1e-3
# Inputs of the tasks on an encoder that likeness is measured on.
LIKENESS = 16


@dataclass(frozen=True)
class Member:
    """A task on one of the two encoders: its position, its model as it is, and what is known of its inputs."""

    task: int
    model: Model
    stand_in: StandIn


@dataclass(frozen=True)
class Merged:
    """What came of it.

    Attributes:
        encoder: What all members stand on now.
        heads: Heads on it, in the order of the members that need one.
        cost: Accuracy that the members lose on inputs drawn anew, their mean.
        trained: Whether the encoder is a new one.
    """

    encoder: Encoder
    heads: tuple[LinearHead, ...]
    cost: float
    trained: bool


@torch.no_grad()
def likeness(encoders: Sequence[Encoder], members: Sequence[Sequence[Member]], rng: torch.Generator) -> Tensor:
    """Measure how alike encoders' features are: linear CKA (Kornblith 2019, arXiv 1905.00414).

    Args:
        encoders: Encoders of one shape of input.
        members: The tasks on each.
        rng: Draws inputs of all these tasks, on which all encoders are compared.

    Returns:
        0 to 1, shape `(encoders, encoders)`.
    """
    drawn = []
    for tasks in members:
        classes = sum(len(m.stand_in.means) for m in tasks)
        x = torch.cat([m.stand_in.draw(encoders[0].input_shape, -(-LIKENESS // classes), rng)[0] for m in tasks])
        drawn.append(x[torch.randperm(len(x), generator=rng)[:LIKENESS]])
    features = [_features(encoder, torch.cat(drawn)) for encoder in encoders]
    grams = [(f - f.mean(dim=0)) @ (f - f.mean(dim=0)).T for f in features]
    flat = torch.stack([(g / g.norm().clamp_min(1e-12)).flatten() for g in grams])
    return flat @ flat.T


def likeness_flops(encoders: Sequence[Encoder]) -> float:
    """Tell what `likeness` of encoders of one kind takes, before it is measured.

    Args:
        encoders: The encoders, e of them; they differ in their weights only.

    Returns:
        FLOPs: e n passes, with n = e · `LIKENESS` inputs; for the products of their d features with one another
        2 e n² d, and for those of the products 2 e² n².
    """
    _, once = counted(lambda: _features(encoders[0], torch.zeros(1, *encoders[0].input_shape)))
    e, n = len(encoders), LIKENESS * len(encoders)
    return e * n * once + e * 2 * n * n * encoders[0].feature_size + 2 * e * e * n * n


def merge(
    keeps: Sequence[Member], joins: Sequence[Member], flops: float, rng: torch.Generator
) -> tuple[Merged | None, str]:
    """Let tasks on one encoder stand on another.

    Args:
        keeps: Tasks on the encoder that stays, or that the new one begins as; at least one.
        joins: Tasks on the other one.
        flops: What it may cost.
        rng: Draws inputs.

    Returns:
        The merged encoder with a head for every one of `joins`, before them for `keeps` where it is a new one; None
        where a task would lose more than `MARGIN`. And why, in words.
    """
    encoder = keeps[0].model.encoder
    _, each = counted(lambda: _features(encoder, torch.zeros(1, *encoder.input_shape)))
    price = [sum(2 * each * (FITTED + JUDGED) * len(m.stand_in.means) for m in part) for part in (keeps, joins)]
    if price[1] > flops:
        return None, f"looking takes {flop_count(price[1])}, and {flop_count(max(0.0, flops))} are left"
    found, worst = _judged(encoder, keeps, joins, rng, trained=False)
    if found is not None:
        return found, "heads fitted anew"
    student = _distilled(encoder, [*keeps, *joins], flops - 2 * price[1] - price[0], rng)
    if student is None:
        return None, f"a task would lose {worst:.3f}, and the budget has nothing left for distillation"
    found, worst = _judged(student, keeps, joins, rng, trained=True)
    return found, "distilled" if found is not None else f"a task would lose {worst:.3f} after distillation"


def _judged(
    encoder: Encoder, keeps: Sequence[Member], joins: Sequence[Member], rng: torch.Generator, trained: bool
) -> tuple[Merged | None, float]:
    """Fit the heads, and compare every task before and after; the merged encoder, and what the worst-off task loses."""
    heads, losses = [], []
    for member in (*keeps, *joins) if trained else joins:
        head = _fitted(encoder, member, rng)
        x, y = member.stand_in.draw(encoder.input_shape, JUDGED, rng)
        before, after = (_right(model, x, y) for model in (member.model, Model(encoder, head)))
        if before - after > MARGIN:
            return None, before - after
        heads.append(head)
        losses.append(before - after)
    return Merged(encoder, tuple(heads), sum(losses) / len(losses), trained), max(losses)


@torch.no_grad()
def _fitted(encoder: Encoder, member: Member, rng: torch.Generator) -> LinearHead:
    """Fit a head that says on the encoder's features what the member's own model says, in calibrated log-odds."""
    x, _ = member.stand_in.draw(encoder.input_shape, FITTED, rng)
    said = outputs_of(member.model, x.to(_device(encoder))) / member.model.head.temperature
    fit = ridge(_features(encoder, x), said - said.mean(dim=1, keepdim=True))
    head = LinearHead(encoder.feature_size, said.shape[1]).to(said.device)
    head.weight.copy_(fit.weight)
    head.bias.copy_(fit.bias)
    return head


def _distilled(start: Encoder, members: Sequence[Member], flops: float, rng: torch.Generator) -> Encoder | None:
    """Train a copy to give every member's inputs the features that its own encoder gives them; None if it cannot pay.

    Features of two encoders have one size and nothing else in common: which ones are to be given is told by the inputs.
    """
    student = copy.deepcopy(start).train().requires_grad_(True)
    optimiser = torch.optim.Adam(student.parameters(), RATE)
    device = _device(start)

    def step() -> None:
        member = members[int(torch.randint(len(members), (), generator=rng))]
        per_class = max(1, BATCH // len(member.stand_in.means))
        x = member.stand_in.draw(start.input_shape, per_class, rng)[0].to(device)
        with torch.no_grad():
            wanted = member.model.encoder(x)
        loss = torch.nn.functional.mse_loss(student(x), wanted) / wanted.var().clamp_min(1e-6)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    _, each = counted(step)
    steps = min(STEPS, int(flops / each)) if each else STEPS
    if steps < FEWEST:
        return None
    for _ in range(steps - 1):
        step()
    return student.eval().requires_grad_(False)


@torch.no_grad()
def _features(encoder: Encoder, x: Tensor) -> Tensor:
    features: Tensor = encoder(x.to(_device(encoder)))
    return features


def _right(model: Model, x: Tensor, y: Tensor) -> float:
    said = outputs_of(model, x.to(_device(model.encoder)))
    return float((said.argmax(dim=1).cpu() == y).float().mean())


def _device(encoder: Encoder) -> torch.device:
    return next((t.device for t in encoder.state_dict().values()), torch.device("cpu"))
