"""Meta-training: Adam moves a start, and learned step sizes, against the mean meta-gradient of some episodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import functional_call

from ..agent.known import Meta
from ..agent.model import Model, state
from .anil import head_meta_gradient
from .backend import Backend, in_channels_last, losses_of, mean_gradients, mean_reptile_gradients, settled_layout
from .episodes import deal_batches
from .meta_gradient import MetaGradient, Parameters, Split
from .meta_start import HEAD, SIZE, moments, restore_moments, restored_sizes, spread
from .one_step import one_step_loss
from .step_sizes import StepSizes, equal_sizes

if TYPE_CHECKING:
    from .maml import Maml


class MetaTraining:
    """A start under meta-training.

    Attributes:
        network: The start; its head has one row. Changed in place.
        sizes: Learned step sizes, by parameter; empty where they are fixed. Changed in place.
    """

    def __init__(
        self, network: Model, kind: str, settings: Maml.Settings, backend: Backend, meta: Meta | None = None
    ) -> None:
        """Take over a start.

        Args:
            network: The start.
            kind: "classification" or "regression".
            settings: How it is trained.
            backend: How meta-gradients are computed.
            meta: What is kept of the start: step sizes and Adam's moments; None for a new one.
        """
        self.network, self._kind, self._settings, self._backend = network, kind, settings, backend
        self.sizes = sizes_of(network, settings, meta)
        self._losses = losses_of(network, kind)
        self._channels_last = settled_layout(settings.channels_last, network)
        start = dict(network.named_parameters())
        groups: list[dict[str, Any]] = [{"params": list(start.values())}]
        if self.sizes:  # in units of where they began: a step of Adam is as large as its learning rate
            groups.append({"params": list(self.sizes.values()), "lr": settings.meta_lr * settings.inner_lr})
        self._learned = start | {SIZE + n: t for n, t in self.sizes.items()}
        self._adam = torch.optim.Adam(groups, lr=settings.meta_lr)
        restore_moments(self._adam, self._learned, meta.moments if meta is not None else {})

    def step(self, episodes: Sequence[tuple[int, Split]], rng: torch.Generator) -> float:
        """Take one meta-step.

        Args:
            episodes: Of every episode the number of outputs, and its samples.
            rng: Deals samples out to the steps of Reptile.

        Returns:
            The mean query loss after adaptation (Reptile: the mean loss before the last inner step).

        Raises:
            FloatingPointError: If a loss or a meta-gradient is not finite.
        """
        alike: dict[tuple[Any, ...], list[Split]] = {}
        for outputs, split in episodes:
            alike.setdefault((outputs, split[1].shape, split[3].shape), []).append(split)
        loss, total = 0.0, {n: torch.zeros_like(p) for n, p in self._learned.items()}
        for (outputs, *_), splits in alike.items():
            for count, found in self._gradients(spread(dict(self.network.named_parameters()), outputs), splits, rng):
                if not bool(found.loss.isfinite()):
                    raise FloatingPointError(f"the query loss after adaptation is {found.loss.item()}")
                share = count / len(episodes)
                loss += share * found.loss.item()
                for n, g in found.start.items():
                    total[n] += share * (g.sum(dim=0, keepdim=True) if n in HEAD else g)
                for n, g in found.sizes.items():
                    total[SIZE + n] += share * g
        self._descend(total)
        return loss

    def wide_step(self, x: Tensor, rng: torch.Generator) -> float:
        """Take one meta-step on many episodes that share what is encoded (`one_step.one_step_loss`).

        Args:
            x: Samples of many classes, class by class, shape `(classes * wide_samples, *input_shape)`.
            rng: Deals the classes out to episodes.

        Returns:
            The mean query loss after adaptation.

        Raises:
            FloatingPointError: If it or a meta-gradient is not finite.
        """
        s, encoder = self._settings, self.network.encoder
        encoder.train()
        if self._channels_last and x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        features = encoder(x).view(-1, s.wide_samples, encoder.feature_size)
        loss = one_step_loss(features, 1, s.wide_ways, s.inner_lr / s.wide_ways, rng)
        if not bool(loss.isfinite()):
            raise FloatingPointError(f"the query loss after adaptation is {loss.item()}")
        moving = {n: p for n, p in self._learned.items() if n not in HEAD}
        found = torch.autograd.grad(loss, list(moving.values()))
        total = {n: torch.zeros_like(p) for n, p in self._learned.items()}
        self._descend(total | dict(zip(moving, found, strict=True)))
        return loss.item()

    def _descend(self, gradients: Mapping[str, Tensor]) -> None:
        """Let Adam take a step against clamped meta-gradients."""
        for n, p in self._learned.items():
            still = n in HEAD and self._kind == "classification"  # exactly no gradient; rounding would still move Adam
            bound = self._settings.clamp
            p.grad = torch.zeros_like(p) if still else gradients[n].clamp(-bound, bound)
            if bool(p.grad.isnan().any()):
                raise FloatingPointError(f"the meta-gradient of {n} is NaN")
        self._adam.step()

    def kept(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Copy what is to be kept: weights with step sizes, and Adam's moments."""
        weights = {n: t for n, t in state(self.network).items() if n != "head.temperature"}
        sizes = {SIZE + n: t.clone() for n, t in self.sizes.items()}
        return weights | sizes, moments(self._adam, self._learned)

    def _gradients(
        self, start: Parameters, splits: Sequence[Split], rng: torch.Generator
    ) -> Iterator[tuple[int, MetaGradient]]:
        """Meta-gradients of splits of the same shapes: how many, and the mean over them."""
        s = self._settings
        if self._channels_last:
            start, splits = in_channels_last(start, splits)
        if s.order == "reptile":
            dealt = [deal_batches(split, s.inner_steps, rng) for split in splits]
            yield from mean_reptile_gradients(self._backend, self._losses, start, dealt, s.task_chunk, s.inner_lr)
            return
        lr: StepSizes = self.sizes or s.inner_lr
        options: dict[str, Any] = {"steps": s.inner_steps, "lr": lr, "adapted": moved(s, self._kind), "order": s.order}
        if s.anil and self._backend == "loop":
            for split in splits:
                yield 1, head_meta_gradient(self._encode, self._head_loss, start, split, **options)
        else:
            yield from mean_gradients(self._backend, self._losses, start, splits, s.task_chunk, **options)

    def _encode(self, parameters: Parameters, x: Tensor) -> Tensor:
        own = {n.removeprefix("encoder."): p for n, p in parameters.items() if n.startswith("encoder.")}
        features: Tensor = functional_call(self.network.encoder, own, (x,))
        return features

    def _head_loss(self, parameters: Parameters, features: Tensor, y: Tensor) -> Tensor:
        own = {n.removeprefix("head."): parameters[n] for n in HEAD}
        return self._losses.measure(functional_call(self.network.head, own, (features,)), y)


def moved(settings: Maml.Settings, kind: str | None = None) -> tuple[str, ...] | None:
    """Name what the inner loop moves; None for all.

    From a head of equal rows the first step of classification moves the head alone, whatever it may move: with one step
    in meta-training there is nothing else to differentiate.

    Args:
        settings: The strategy's.
        kind: "classification" or "regression" in meta-training; None in adaptation, which takes more steps.
    """
    alone = kind == "classification" and settings.inner_steps == 1
    return HEAD if settings.anil or alone else None


def sizes_of(network: Model, settings: Maml.Settings, meta: Meta | None) -> dict[str, Tensor]:
    """Make the learned step sizes of a start: as they were kept, else all `inner_lr`; empty where they are fixed."""
    adapted = moved(settings)
    moving = {n: p.detach() for n, p in network.named_parameters() if adapted is None or n in adapted}
    return restored_sizes(meta, equal_sizes(settings.step_sizes, moving, settings.inner_steps, settings.inner_lr))
