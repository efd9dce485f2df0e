"""MAML: a start that a few gradient steps turn into a good model, meta-trained on the tasks met so far.

Model-agnostic meta-learning (Finn 2017, arXiv 1703.03400), in a stream: after every task `consolidate` goes on
meta-training on the episode memory, and `learn` adapts a new task from the start it left. The head starts with the same
row for every output (UnicornMAML, Ye & Chao 2022, arXiv 2111.10040), so one start serves any number of outputs in any
order. In classification this row stays zero: softmax does not see what all rows have in common.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..agent.encoder import restore_encoder
from ..agent.known import Episode, Known, Meta, Source
from ..agent.model import LinearHead, Model, state
from ..agent.settings import positive, setting
from ..agent.strategy import Solution, Strategy
from ..errors import RecipeError
from ..streams.task import Task
from .meta_gradient import Loss, Parameters, Split, inner_step, meta_gradient, meta_gradients

_HEAD = ("head.weight", "head.bias")
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class Maml(Strategy):
    """Adapts a meta-trained start to the task by a few steps of gradient descent on its whole support set."""

    name: ClassVar[str] = "maml"
    uses_knowledge: ClassVar[bool] = False  # of stored encoders: what probing would find is not asked for
    consolidates: ClassVar[bool] = True

    @dataclass(frozen=True)
    class Settings:
        """How it is meta-trained and how it adapts."""

        inner_lr: float = setting(0.3, "Step size of the inner loop, in meta-training and in adaptation.", "per step")
        inner_steps: int = setting(1, "Steps of the inner loop in meta-training.", "steps")
        adapt_steps: int = setting(50, "Steps of the inner loop on a new task.", "steps")
        meta_lr: float = setting(0.01, "Learning rate of Adam in the outer loop.", "per meta-step")
        meta_batch: int = setting(4, "Episodes of a meta-step; fewer while fewer are known.", "episodes")
        meta_steps: int = setting(200, "Meta-steps after a task, at most; the budget may allow fewer.", "meta-steps")
        order: Literal["second", "first"] = setting(
            "second", "Whether the meta-gradient is exact or leaves second derivatives out (half the FLOPs)."
        )
        anil: bool = setting(False, "Whether the inner loop adapts the head alone (Raghu 2020).")
        shots: int = setting(5, "Support samples of a class in meta-training, at most.", "samples")
        queries: int = setting(10, "Query samples of a class in meta-training, at most.", "samples")
        clamp: float = setting(10.0, "Bound of every entry of the meta-gradient.")
        min_tasks: int = setting(3, "Tasks it must have been meta-trained on before it adapts to one.", "tasks")
        backend: Literal["loop", "vmap"] = setting(
            "loop", "`vmap` takes episodes of the same sizes at once: faster for small networks without convolutions."
        )

        def __post_init__(self) -> None:
            numbers = {n: v for n, v in vars(self).items() if n not in ("order", "anil", "backend")}
            positive("strategies.maml", **numbers)
            for name, value in numbers.items():
                if not math.isfinite(value):
                    raise RecipeError("strategies.maml", name, value, "must be finite")

    def applies(self, task: Task, known: Known) -> str | None:
        """Needs a start that was meta-trained on enough tasks of this shape and kind."""
        if not len(task.support):
            return "the task has no samples to adapt on"
        meta = known.metas.get(self.name)
        if meta is None:
            return (
                f"nothing is meta-trained yet for inputs of shape {task.input_shape} "
                "(the recipe's agent.episode_memory and budget.consolidate must be above 0)"
            )
        if meta.spec["kind"] != task.kind:
            return f"what is meta-trained for inputs of this shape is for {meta.spec['kind']}, the task is {task.kind}"
        if meta.spec["tasks"] < self.settings.min_tasks:
            return f"meta-trained on too few tasks of this shape: {meta.spec['tasks']} of {self.settings.min_tasks}"
        return None

    def sources(self, task: Task, known: Known) -> Sequence[Source]:
        """The meta-trained start."""
        meta = known.metas[self.name]
        return (Source(meta.id, False, None, (), lambda: _restored(meta, task).encoder, _no_model),)

    def units(self, task: Task) -> int:
        """One unit is one step of the inner loop."""
        return int(self.settings.adapt_steps)

    def learn(self, task: Task, known: Known, rng: torch.Generator) -> Iterator[Solution]:
        """Adapt the start to the task."""
        meta = known.metas[self.name]
        start = _restored(meta, task)
        model = Model(start.encoder, LinearHead(start.encoder.feature_size, task.outputs).to(task.support.x.device))
        _put(model, _spread(dict(start.named_parameters()), task.outputs))
        loss = _loss(model, task.kind)
        for _ in range(self.settings.adapt_steps):
            before = dict(model.named_parameters())
            _put(model, inner_step(loss, before, task.support.x, task.support.y, self.settings.inner_lr, self._moved()))
            if not all(bool(p.isfinite().all()) for p in model.parameters()):
                raise FloatingPointError("a weight is NaN or infinite after a step of the inner loop")
            yield Solution(model, helper=meta.id)

    def consolidate(self, task: Task, known: Known, rng: torch.Generator) -> Iterator[Meta]:
        """Meta-train on the episodes of the task's kind; one unit is one meta-step."""
        meta = known.metas.get(self.name)
        if meta is not None and meta.spec["kind"] != task.kind:
            return  # the start of this shape is for the other kind
        episodes = [e for e in known.episodes if e.kind == task.kind and _teaches(e)]
        if not episodes:
            return
        network = _fresh(task, known, rng) if meta is None else _restored(meta, task)
        tasks = 1 if meta is None else meta.spec["tasks"] + 1
        spec = {"encoder": network.encoder.spec, "kind": task.kind, "tasks": tasks}
        adam = torch.optim.Adam(network.parameters(), lr=self.settings.meta_lr)
        _restore_moments(adam, network, meta.moments if meta is not None else {})
        for _ in range(self.settings.meta_steps):
            order = torch.randperm(len(episodes), generator=rng)[: self.settings.meta_batch]
            self._meta_step(network, adam, [episodes[i] for i in order.tolist()], rng)
            weights = {n: t for n, t in state(network).items() if n != "head.temperature"}
            yield Meta(spec, weights, _moments(adam, network))

    def _meta_step(
        self, network: Model, adam: torch.optim.Optimizer, episodes: Sequence[Episode], rng: torch.Generator
    ) -> None:
        """Move the start against the mean meta-gradient of some episodes."""
        s, kind = self.settings, episodes[0].kind
        device = next(network.parameters()).device
        start = dict(network.named_parameters())
        total = {n: torch.zeros_like(p) for n, p in start.items()}
        alike: dict[tuple[Any, ...], list[Split]] = {}
        for episode in episodes:
            drawn = _draw(episode, s.shots, s.queries, rng)
            split = drawn[0].to(device), drawn[1].to(device), drawn[2].to(device), drawn[3].to(device)
            alike.setdefault((episode.outputs, split[1].shape, split[3].shape), []).append(split)
        options = {"steps": s.inner_steps, "lr": s.inner_lr, "adapted": self._moved(kind), "order": s.order}
        for (outputs, *_), splits in alike.items():
            begin, loss = _spread(start, outputs), _loss(network, kind)
            if s.backend == "vmap":
                each = [(len(splits), *meta_gradients(loss, begin, splits, **options))]
            else:
                each = [(1, *meta_gradient(loss, begin, split, **options)) for split in splits]
            for count, value, gradient in each:
                if not bool(value.isfinite()):
                    raise FloatingPointError(f"the query loss after adaptation is {value.item()}")
                for n, g in gradient.items():
                    total[n] += count / len(episodes) * (g.sum(dim=0, keepdim=True) if n in _HEAD else g)
        for n, p in start.items():
            still = n in _HEAD and kind == "classification"  # exactly no gradient; rounding would still move Adam
            p.grad = torch.zeros_like(p) if still else total[n].clamp_(-s.clamp, s.clamp)
            if bool(p.grad.isnan().any()):
                raise FloatingPointError(f"the meta-gradient of {n} is NaN")
        adam.step()

    def _moved(self, kind: str | None = None) -> tuple[str, ...] | None:
        """Names of what the inner loop moves; None for all.

        From a head of equal rows the first step of classification moves the head alone, whatever it may move: with one
        step in meta-training there is nothing else to differentiate.
        """
        alone = kind == "classification" and self.settings.inner_steps == 1
        return _HEAD if self.settings.anil or alone else None


def _loss(model: Model, kind: str) -> Loss:
    """The task's loss as a function of the model's parameters; the head's may have any number of rows."""
    measure = nn.functional.mse_loss if kind == "regression" else nn.functional.cross_entropy

    def loss(parameters: Parameters, x: Tensor, y: Tensor) -> Tensor:
        outputs: Tensor = functional_call(model, dict(parameters), (x,))
        return measure(outputs, y)

    return loss


def _spread(parameters: Parameters, outputs: int) -> dict[str, Tensor]:
    """Give every output the one row of the head."""
    return {n: p.expand(outputs, *p.shape[1:]).clone() if n in _HEAD else p for n, p in parameters.items()}


@torch.no_grad()
def _put(model: Model, parameters: Parameters) -> None:
    for n, p in model.named_parameters():
        p.copy_(parameters[n])


def _fresh(task: Task, known: Known, rng: torch.Generator) -> Model:
    """A new start: the agent's architecture with one row for a head, zero for classification."""
    encoder = known.fresh(task, rng).encoder
    head = LinearHead(encoder.feature_size, 1, rng if task.kind == "regression" else None)
    return Model(encoder, head).to(task.support.x.device)


def _restored(meta: Meta, task: Task) -> Model:
    """The start that is kept, as a fresh copy."""
    weights = {n: t.to(task.support.x.device, copy=True) for n, t in meta.weights.items()}
    prefix = "encoder."
    encoder = restore_encoder(
        meta.spec["encoder"], {n.removeprefix(prefix): t for n, t in weights.items() if n.startswith(prefix)}
    )
    model = Model(encoder, LinearHead(encoder.feature_size, 1)).to(task.support.x.device)
    _put(model, {**dict(model.named_parameters()), **{n: weights[n] for n in _HEAD}})
    return model


def _moments(adam: torch.optim.Optimizer, network: Model) -> dict[str, Tensor]:
    """Copy Adam's state, by name of the moment and of the parameter."""
    return {f"{key} {n}": adam.state[p][key].clone() for n, p in network.named_parameters() for key in _MOMENTS}


def _restore_moments(adam: torch.optim.Optimizer, network: Model, moments: Mapping[str, Tensor]) -> None:
    for n, p in network.named_parameters():
        if moments:
            on = {"step": torch.device("cpu")}  # where Adam keeps its count
            adam.state[p] = {key: moments[f"{key} {n}"].to(on.get(key, p.device), copy=True) for key in _MOMENTS}


def _teaches(episode: Episode) -> bool:
    """Whether an episode has something to tell apart, to adapt on and to be judged by."""
    several = episode.kind == "regression" or episode.outputs > 1
    return several and len(episode.support) > 0 and len(episode.query) > 0


def _draw(episode: Episode, shots: int, queries: int, rng: torch.Generator) -> Split:
    """Split an episode's samples anew, each class in the proportion in which they came.

    Args:
        episode: Support and query part are put together and dealt out again.
        shots: Support samples of a class, at most; a regression task keeps its number.
        queries: Query samples of a class, likewise.
        rng: Draws the split.

    Returns:
        Support inputs and targets, query inputs and targets.
    """
    x = torch.cat([episode.support.x, episode.query.x])
    y = torch.cat([episode.support.y, episode.query.y])
    if episode.kind == "regression":
        mixed, n = torch.randperm(len(y), generator=rng).to(y.device), len(episode.support)
        return x[mixed[:n]], y[mixed[:n]], x[mixed[n:]], y[mixed[n:]]
    mixed = torch.randperm(len(y), generator=rng).to(y.device)
    mixed = mixed[y[mixed].argsort(stable=True)]  # class by class, within a class at random
    c, counts = y[mixed], y.bincount(minlength=episode.outputs)
    rank = torch.arange(len(y), device=y.device) - (counts.cumsum(0) - counts)[c]
    given = episode.support.y.bincount(minlength=episode.outputs)[c]
    s, q = mixed[rank < given.clamp(max=shots)], mixed[(rank >= given) & (rank < given + queries)]
    return x[s], y[s], x[q], y[q]


def _no_model(record: object) -> Model:
    raise LookupError("a meta-trained start has no task's model")
