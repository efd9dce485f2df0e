"""MAML: a start that a few gradient steps turn into a good model, meta-trained on the tasks met so far.

Model-agnostic meta-learning (Finn 2017, arXiv 1703.03400), in a stream: after every task `consolidate` goes on
meta-training on the episode memory, and `learn` adapts a new task from the start it left. Its relatives are settings:
first order (Finn 2017, §5.2), Reptile (Nichol 2018, arXiv 1803.02999), ANIL (Raghu 2020, arXiv 1909.09157), and step
sizes that are learned (MAML++, Antoniou 2019, arXiv 1810.09502; Meta-SGD, Li 2017, arXiv 1707.09835).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from ..agent.encoder import Encoder
from ..agent.known import Episode, Known, Meta, Source
from ..agent.model import LinearHead, Model
from ..agent.settings import positive, setting
from ..agent.strategy import Solution, Strategy
from ..errors import RecipeError
from ..streams.task import Task
from .backend import losses_of, settled, settled_layout
from .episodes import counts_of, deal, draw_wide, encoding, is_wide, teaches
from .meta_gradient import inner_step
from .meta_start import fresh, put, restored, spread
from .meta_training import MetaTraining, moved, sizes_of


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
        order: Literal["second", "first", "reptile"] = setting(
            "second",
            "Whether the meta-gradient is exact, leaves second derivatives out (half the FLOPs), or gives way to the "
            "path of the inner loop (Reptile: at least two inner steps).",
        )
        step_sizes: Literal["fixed", "layer", "layer-step", "weight"] = setting(
            "fixed",
            "Whether every step is of size `inner_lr`, or sizes that begin there are learned: for every layer, for "
            "every layer and inner step (MAML++; later steps take the last one's), or for every weight (Meta-SGD).",
        )
        anil: bool = setting(False, "Whether the inner loop adapts the head alone (Raghu 2020).")
        shots: int = setting(5, "Support samples of a class in meta-training, at most.", "samples")
        queries: int = setting(10, "Query samples of a class in meta-training, at most.", "samples")
        wide_from: int = setting(
            20,
            "Classes from which on a task teaches by wide meta-steps (exact order, one inner step of fixed size): many "
            "episodes share what is encoded once.",
            "classes",
        )
        wide_classes: int = setting(60, "Classes of a wide meta-step, at most.", "classes")
        wide_ways: int = setting(20, "Classes of each episode that they are dealt out to.", "classes")
        wide_samples: int = setting(
            5, "Samples of a class in a wide meta-step, each of them the support in its turn; two at least.", "samples"
        )
        clamp: float = setting(10.0, "Bound of every entry of the meta-gradient.")
        min_tasks: int = setting(3, "Tasks it must have been meta-trained on before it adapts to one.", "tasks")
        backend: Literal["loop", "vmap", "axis", "auto"] = setting(
            "auto",
            "One episode after the other, or several at once; `auto` goes by the shape of the network: at once "
            "where it is small and has no convolution.",
        )
        channels_last: bool | Literal["auto"] = setting(
            "auto",
            "Whether filters and images are laid out channels last in meta-training, which changes the last bits: "
            "faster with convolutions, and `auto` does it where there are some.",
        )
        task_chunk: int = setting(32, "Episodes at once, at most, which bounds memory.", "episodes")

        def __post_init__(self) -> None:
            where = "strategies.maml"
            numbers = {n: v for n, v in vars(self).items() if isinstance(v, int | float) and not isinstance(v, bool)}
            positive(where, **numbers)
            for name, value in numbers.items():
                if not math.isfinite(value):
                    raise RecipeError(where, name, value, "must be finite")
            for name in ("wide_from", "wide_classes", "wide_ways", "wide_samples"):
                if numbers[name] < 2:
                    raise RecipeError(where, name, numbers[name], "must be 2 or more")
            if self.wide_ways > min(self.wide_from, self.wide_classes):
                valid = "must be at most wide_from and wide_classes, lest there be no episode"
                raise RecipeError(where, "wide_ways", self.wide_ways, valid)
            if self.order == "reptile":
                if self.inner_steps < 2:
                    valid = 'must be at least 2 with order = "reptile": with one step it is plain joint training'
                    raise RecipeError(where, "inner_steps", self.inner_steps, valid)
                if self.step_sizes != "fixed":
                    valid = 'must be "fixed" with order = "reptile", which has no gradient for them'
                    raise RecipeError(where, "step_sizes", self.step_sizes, valid)
                if self.anil:
                    valid = 'must be false with order = "reptile": what the inner loop leaves alone would never learn'
                    raise RecipeError(where, "anil", self.anil, valid)

        @property
        def shares(self) -> bool:
            """Whether episodes can share what is encoded: the first step from equal rows moves the head alone."""
            return self.inner_steps == 1 and self.order == "second" and self.step_sizes == "fixed"

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
        return (Source(meta.id, False, None, (), lambda: restored(meta, task).encoder, _no_model),)

    def units(self, task: Task) -> int:
        """One unit is one step of the inner loop."""
        return int(self.settings.adapt_steps)

    def settle(self, encoder: Encoder) -> Mapping[str, Any]:
        """Settle on a backend and a layout."""
        network = Model(encoder, LinearHead(encoder.feature_size, 1))
        return {
            "backend": settled(self.settings.backend, network, f"strategies.{self.name}"),
            "channels_last": settled_layout(self.settings.channels_last, network),
        }

    def learn(self, task: Task, known: Known, rng: torch.Generator) -> Iterator[Solution]:
        """Adapt the start to the task."""
        s, meta = self.settings, known.metas[self.name]
        start = restored(meta, task)
        lr, adapted = sizes_of(start, s, meta) or s.inner_lr, moved(s)
        model = Model(start.encoder, LinearHead(start.encoder.feature_size, task.outputs).to(task.support.x.device))
        put(model, spread(dict(start.named_parameters()), task.outputs))
        loss = losses_of(model, task.kind).one
        for step in range(s.adapt_steps):
            before = dict(model.named_parameters())
            put(model, inner_step(loss, before, task.support.x, task.support.y, lr, adapted, step))
            if not all(bool(p.isfinite().all()) for p in model.parameters()):
                raise FloatingPointError("a weight is NaN or infinite after a step of the inner loop")
            yield Solution(model, helper=meta.id)

    def consolidate(self, task: Task, known: Known, rng: torch.Generator) -> Iterator[Meta]:
        """Meta-train on the episodes of the task's kind; one unit is one meta-step."""
        s, meta = self.settings, known.metas.get(self.name)
        if meta is not None and meta.spec["kind"] != task.kind:
            return  # the start of this shape is for the other kind
        episodes = [e for e in known.episodes if e.kind == task.kind and teaches(e)]
        if not episodes:
            return
        network = fresh(task, known, rng) if meta is None else restored(meta, task)
        backend = self.settle(network.encoder)["backend"]
        training = MetaTraining(network, task.kind, s, backend, meta)
        spec = {
            "encoder": network.encoder.spec,
            "kind": task.kind,
            "tasks": 1 if meta is None else meta.spec["tasks"] + 1,
            "backend": backend,
            "step_sizes": s.step_sizes,
        }
        device = task.support.x.device
        wide = [e for e in episodes if s.shares and is_wide(e, s.wide_from, s.wide_samples)]
        for _ in range(s.meta_steps):
            if wide:
                one = wide[int(torch.randint(len(wide), (), generator=rng))]
                training.wide_step(draw_wide(one, s.wide_classes, s.wide_samples, rng, device), rng)
            else:
                order = torch.randperm(len(episodes), generator=rng)[: s.meta_batch]
                drawn = [episodes[i] for i in order.tolist()]
                training.step([(e.outputs, deal(e, s.shots, s.queries, rng, device)) for e in drawn], rng)
            yield Meta(spec, *training.kept())

    def price(self, task: Task, known: Known) -> float:
        """Passes over the samples of a meta-step: three forth and back, and as many again for second derivatives."""
        s, meta = self.settings, known.metas.get(self.name)
        episodes = [e for e in known.episodes if e.kind == task.kind and teaches(e)]
        if not episodes or (meta is not None and meta.spec["kind"] != task.kind):
            return 0.0
        once, d = encoding(known, task)
        wide = [e for e in episodes if s.shares and is_wide(e, s.wide_from, s.wide_samples)]
        if wide:
            n, k = s.wide_samples * min(s.wide_classes, max(e.outputs for e in wide)), s.wide_samples
            return 3 * n * once + 6 * n * k * s.wide_ways * d
        return float(sum(sorted((_flops(e, s, once, d) for e in episodes), reverse=True)[: s.meta_batch]))


def _flops(episode: Episode, settings: Maml.Settings, once: float, features: int) -> float:
    """What a meta-gradient of an episode takes at the most: passes of samples through the encoder and the head."""
    n, m, steps, head = len(episode.support), len(episode.query), settings.inner_steps, 2 * features * episode.outputs
    if episode.kind == "classification":
        support, query = counts_of(episode)
        given = support.clamp(max=settings.shots)
        n, m = int(given.sum()), int((support + query - given).clamp(max=settings.queries).sum())
    if settings.order == "reptile":
        return 3 * max(n + m, steps) * (once + head)
    inner = (3 if settings.order == "first" else 9) * steps * n
    alone = settings.anil or (episode.kind == "classification" and steps == 1)
    return (3 * (n + m) if alone else inner + 3 * m) * once + (inner + 3 * m) * head


def _no_model(record: object) -> Model:
    raise LookupError("a meta-trained start has no task's model")
