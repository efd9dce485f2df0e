"""Prototypical networks: an encoder trained on episodes of earlier tasks, in which new classes are told apart by means.

Snell 2017 (arXiv 1703.05175), in a stream: after every task `consolidate` goes on training on the episode memory, with
ways and shots of its own; `learn` takes the encoder as it is and fits prototypes to the new task, without a gradient
step.

Many ways at once teach more than few (the paper, §3.1), and encoding is what an episode costs. So a task of many
classes teaches by *wide* episodes: a few samples of each of many classes, every one of them the support in its turn and
a query otherwise. Where the memory holds such tasks, training steps are of them alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..agent.encoder import Encoder, restore_encoder
from ..agent.known import Episode, Known, Meta, Source
from ..agent.model import Model, state
from ..agent.probe import features_of
from ..agent.settings import positive, setting
from ..agent.strategy import Solution, Strategy
from ..errors import RecipeError
from ..streams.task import Task
from .episodes import counts_of, draw_wide, encoding, is_wide
from .episodic import Distance, episode_loss, rotated_episodes_loss
from .prototype import Nearest, nearest_head

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
# Support inputs and labels, query inputs and labels, number of classes.
Drawn = tuple[Tensor, Tensor, Tensor, Tensor, int]


class ProtoNet(Strategy):
    """Fits nearest prototypes on an encoder that was trained on episodes of the tasks met so far."""

    name: ClassVar[str] = "protonet"
    closed_form: ClassVar[bool] = True
    uses_knowledge: ClassVar[bool] = False  # of stored encoders: what probing would find is not asked for
    consolidates: ClassVar[bool] = True
    embeds: ClassVar[bool] = True

    @dataclass(frozen=True)
    class Settings(Nearest):
        """How the encoder is trained, and how a new task is told apart on it."""

        ways: int = setting(10, "Classes of a training episode, at most; more than a task has cannot be.", "classes")
        shots: int = setting(5, "Support samples of a class in a training episode, at most.", "samples")
        queries: int = setting(10, "Query samples of a class in a training episode, at most.", "samples")
        meta_batch: int = setting(4, "Episodes of a training step; fewer while fewer are known.", "episodes")
        meta_steps: int = setting(200, "Training steps after a task, at most; the budget may allow fewer.", "steps")
        meta_lr: float = setting(0.003, "Learning rate of Adam.", "per step")
        wide_from: int = setting(20, "Classes from which on a task teaches by wide episodes, one a step.", "classes")
        wide_ways: int = setting(60, "Classes of a wide episode, at most.", "classes")
        wide_samples: int = setting(
            5, "Samples of a class in a wide episode, each of them the support in its turn; two at least.", "samples"
        )
        min_tasks: int = setting(3, "Tasks the encoder must have been trained on before it is used.", "tasks")

        def __post_init__(self) -> None:
            numbers = {n: v for n, v in vars(self).items() if n not in ("distance", "prototypes")}
            positive("strategies.protonet", **numbers)
            for name in ("ways", "wide_from", "wide_ways"):
                if numbers[name] < 2:
                    valid = "must be 2 or more: one class is no choice"
                    raise RecipeError("strategies.protonet", name, numbers[name], valid)
            if self.wide_samples < 2:
                valid = "must be 2 or more: one sample leaves none to ask for"
                raise RecipeError("strategies.protonet", "wide_samples", self.wide_samples, valid)
            if not math.isfinite(self.meta_lr):
                raise RecipeError("strategies.protonet", "meta_lr", self.meta_lr, "must be finite")

    def applies(self, task: Task, known: Known) -> str | None:
        """Needs classes, and an encoder that was trained on enough tasks of this shape."""
        if task.kind == "regression":
            return "the task is a regression: it has no classes to have prototypes of"
        meta = known.metas.get(self.name)
        if meta is None:
            return (
                f"no encoder is trained on episodes yet for inputs of shape {task.input_shape} "
                "(the recipe's agent.episode_memory and budget.consolidate must be above 0)"
            )
        if meta.spec["tasks"] < self.settings.min_tasks:
            return f"trained on too few tasks of this shape: {meta.spec['tasks']} of {self.settings.min_tasks}"
        return None

    def sources(self, task: Task, known: Known) -> Sequence[Source]:
        """The encoder that was trained on episodes."""
        meta = known.metas[self.name]
        return (Source(meta.id, False, None, (), lambda: _restored(meta, task), _no_model),)

    def learn(self, task: Task, known: Known, rng: torch.Generator) -> Iterator[Solution]:
        """Fit the prototypes; one unit."""
        meta, x = known.metas[self.name], task.support.x
        encoder = _restored(meta, task)
        encoder.requires_grad_(False)
        with torch.no_grad():
            head = nearest_head(features_of(encoder, x), task.support.y, task.outputs, self.settings)
        yield Solution(Model(encoder, head).to(x.device), helper=meta.id)

    def consolidate(self, task: Task, known: Known, rng: torch.Generator) -> Iterator[Meta]:
        """Train the encoder on episodes of the tasks in the memory; one unit is one step of Adam."""
        episodes = [e for e in known.episodes if _teaches(e)]
        if task.kind == "regression" or not episodes:
            return
        meta, s = known.metas.get(self.name), self.settings
        encoder = known.fresh(task, rng).encoder if meta is None else _restored(meta, task)
        spec = {"encoder": encoder.spec, "tasks": 1 if meta is None else meta.spec["tasks"] + 1}
        adam = torch.optim.Adam(encoder.parameters(), lr=s.meta_lr)
        _restore_moments(adam, encoder, meta.moments if meta is not None else {})
        device = task.support.x.device
        distance: Distance = "cosine" if s.distance == "cosine" else "euclidean"
        wide = [e for e in episodes if is_wide(e, s.wide_from, s.wide_samples)]
        encoder.train()
        for _ in range(s.meta_steps):
            if wide:
                one = wide[int(torch.randint(len(wide), (), generator=rng))]
                x = draw_wide(one, s.wide_ways, s.wide_samples, rng, device)
                loss = rotated_episodes_loss(encoder(x).view(-1, s.wide_samples, encoder.feature_size), 1, distance)
            else:
                order = torch.randperm(len(episodes), generator=rng)[: s.meta_batch].tolist()
                drawn = [draw_episode(episodes[i], s.ways, s.shots, s.queries, rng) for i in order]
                loss = torch.stack([_loss(encoder, each, distance, device) for each in drawn]).mean()
            if not bool(loss.isfinite()):
                raise FloatingPointError(f"the loss of an episode is {loss.item()}")
            adam.zero_grad()
            loss.backward()
            adam.step()
            yield Meta(spec, state(encoder), _moments(adam, encoder))

    def embedding(self, meta: Meta) -> Encoder | None:
        """The encoder, once it was trained on enough tasks."""
        if meta.spec["tasks"] < self.settings.min_tasks:
            return None
        return restore_encoder(meta.spec["encoder"], {n: t.clone() for n, t in meta.weights.items()})

    def price(self, task: Task, known: Known) -> float:
        """Three passes over the samples of a step, and their distances, forth and back."""
        s = self.settings
        episodes = [e for e in known.episodes if _teaches(e)]
        if task.kind == "regression" or not episodes:
            return 0.0
        once, d = encoding(known, task)
        wide = [e for e in episodes if is_wide(e, s.wide_from, s.wide_samples)]
        if wide:
            n = s.wide_samples * min(s.wide_ways, max(e.outputs for e in wide))
            return 3 * n * once + 6 * n * n * d
        sizes = []
        for each in episodes:
            support, query = counts_of(each)
            most = (support + query).clamp(max=s.shots + s.queries).sort(descending=True).values[: s.ways]
            sizes.append((int(most.sum()), len(most)))
        drawn = sorted(sizes, reverse=True)[: s.meta_batch]
        return float(sum(3 * n * once + 6 * n * classes * d for n, classes in drawn))


def draw_episode(episode: Episode, ways: int, shots: int, queries: int, rng: torch.Generator) -> Drawn:
    """Draw a training episode from the samples of a task, support and query part put together and dealt out anew.

    Args:
        episode: The task's samples; two of its classes at least have two samples.
        ways: Classes, at most.
        shots: Support samples of a class, at most; every class leaves at least one for its queries.
        queries: Query samples of a class, at most.
        rng: Draws classes and samples.

    Returns:
        Support inputs, shape `(n, *input_shape)`, and labels from 0; query inputs and labels; number of classes.
    """
    x = torch.cat([episode.support.x, episode.query.x])
    y = torch.cat([episode.support.y, episode.query.y])
    usable = (y.bincount(minlength=episode.outputs) > 1).nonzero().flatten()
    drawn = usable[torch.randperm(len(usable), generator=rng)[:ways].to(usable.device)]
    support, asked = list[Tensor](), list[Tensor]()
    for c in drawn.tolist():
        own = (y == c).nonzero().flatten()
        own = own[torch.randperm(len(own), generator=rng).to(own.device)]
        n = min(shots, len(own) - 1)
        support.append(own[:n])
        asked.append(own[n : n + queries])
    s, q = torch.cat(support), torch.cat(asked)
    label = torch.full((episode.outputs,), -1, device=y.device)
    label[drawn] = torch.arange(len(drawn), device=y.device)
    return x[s], label[y[s]], x[q], label[y[q]], len(drawn)


def _loss(encoder: Encoder, drawn: Drawn, distance: Distance, device: torch.device) -> Tensor:
    """Encode support and queries in one go and judge the encoder by them."""
    x, y, x_query, y_query, classes = drawn
    features = encoder(torch.cat([x, x_query]).to(device))
    support, queries = features[: len(x)], features[len(x) :]
    return episode_loss(support, y.to(device), queries, y_query.to(device), classes, distance)


def _teaches(episode: Episode) -> bool:
    """Whether two classes of an episode have a sample to represent them and one to ask for."""
    if episode.kind == "regression":
        return False
    y = torch.cat([episode.support.y, episode.query.y])
    return int((y.bincount(minlength=episode.outputs) > 1).sum()) > 1


def _restored(meta: Meta, task: Task) -> Encoder:
    """The encoder that is kept, as a fresh copy."""
    device = task.support.x.device
    return restore_encoder(meta.spec["encoder"], {n: t.to(device, copy=True) for n, t in meta.weights.items()})


def _moments(adam: torch.optim.Optimizer, encoder: Encoder) -> dict[str, Tensor]:
    """Copy Adam's state, by name of the moment and of the parameter."""
    return {f"{key} {n}": adam.state[p][key].clone() for n, p in encoder.named_parameters() for key in _MOMENTS}


def _restore_moments(adam: torch.optim.Optimizer, encoder: Encoder, moments: Mapping[str, Tensor]) -> None:
    for n, p in encoder.named_parameters():
        if moments:
            on = {"step": torch.device("cpu")}  # where Adam keeps its count
            adam.state[p] = {key: moments[f"{key} {n}"].to(on.get(key, p.device), copy=True) for key in _MOMENTS}


def _no_model(record: object) -> Model:
    raise LookupError("an encoder that was trained on episodes has no task's model")
