"""The start that meta-training leaves: an encoder, one row for a head, learned step sizes, an optimiser's moments.

The head starts with the same row for every output (UnicornMAML, Ye & Chao 2022, arXiv 2111.10040), so one start serves
any number of outputs in any order.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..agent.encoder import restore_encoder
from ..agent.known import Known, Meta
from ..agent.model import LinearHead, Model
from ..streams.task import Task
from .meta_gradient import Parameters

HEAD = ("head.weight", "head.bias")
# Under which names a start keeps its learned step sizes.
SIZE = "step_size."
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def spread(parameters: Parameters, outputs: int) -> dict[str, Tensor]:
    """Give every output the one row of the head."""
    return {n: p.expand(outputs, *p.shape[1:]).clone() if n in HEAD else p for n, p in parameters.items()}


@torch.no_grad()
def put(model: Model, parameters: Parameters) -> None:
    """Write parameters into a model, in place."""
    for n, p in model.named_parameters():
        p.copy_(parameters[n])


def fresh(task: Task, known: Known, rng: torch.Generator) -> Model:
    """Make a new start: the agent's architecture with one row for a head, zero for classification.

    Softmax does not see what all rows have in common, so in classification the row stays zero.
    """
    encoder = known.fresh(task, rng).encoder
    head = LinearHead(encoder.feature_size, 1, rng if task.kind == "regression" else None)
    return Model(encoder, head).to(task.support.x.device)


def restored(meta: Meta, task: Task) -> Model:
    """Restore the start that is kept, as a fresh copy."""
    weights = {n: t.to(task.support.x.device, copy=True) for n, t in meta.weights.items()}
    prefix = "encoder."
    encoder = restore_encoder(
        meta.spec["encoder"], {n.removeprefix(prefix): t for n, t in weights.items() if n.startswith(prefix)}
    )
    model = Model(encoder, LinearHead(encoder.feature_size, 1)).to(task.support.x.device)
    put(model, {**dict(model.named_parameters()), **{n: weights[n] for n in HEAD}})
    return model


def restored_sizes(meta: Meta | None, sizes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Restore learned step sizes.

    Args:
        meta: The start that is kept; None for a new one.
        sizes: Where step sizes begin.

    Returns:
        Those that are kept with the start; where it has none of this shape, as it was trained under another setting,
        those that were given.
    """
    kept = meta.weights if meta is not None else {}

    def of(name: str, begin: Tensor) -> Tensor:
        there = kept.get(SIZE + name)
        return begin if there is None or there.shape != begin.shape else there.to(begin.device, copy=True)

    return {n: of(n, t) for n, t in sizes.items()}


def moments(adam: torch.optim.Optimizer, learned: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy Adam's state, by name of the moment and of the parameter."""
    return {f"{key} {n}": adam.state[p][key].clone() for n, p in learned.items() for key in _MOMENTS}


def restore_moments(adam: torch.optim.Optimizer, learned: Mapping[str, Tensor], kept: Mapping[str, Tensor]) -> None:
    """Give Adam its state back, for every parameter whose moments are kept and fit."""
    for n, p in learned.items():
        there = kept.get(f"exp_avg {n}")
        if there is not None and there.shape == p.shape:
            on = {"step": torch.device("cpu")}  # where Adam keeps its count
            adam.state[p] = {key: kept[f"{key} {n}"].to(on.get(key, p.device), copy=True) for key in _MOMENTS}
