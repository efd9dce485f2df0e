"""The anchors of an agent: one per shape of input, made with its first task and rebuilt from the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import RecipeError
from ..streams.seeds import derive
from ..streams.task import Task
from .agent_settings import AgentSettings
from .anchor import Anchor
from .arm import BATCH
from .asked import through_frozen
from .encoder import Encoder, build_encoder, restore_encoder
from .gate import Tally
from .model import state
from .store import KnowledgeStore
from .transaction import Transaction

Shape = tuple[int, ...]

# Cells of a side of the grid that patch features are averaged over, and the side from which an image counts as large.
GRID, LARGE_GRID, LARGE = 4, 6, 16
# Correlation below which a patch does not count, and the distance in pixels over which its filter varies.
THRESHOLD, SMOOTH = 0.1, 2.0
# What the names of an encoder's weights begin with among the statistics' names.
_ENCODER = "encoder."


@dataclass(frozen=True)
class _Kept:
    """An anchor, and how it came about.

    Attributes:
        anchor: The anchor.
        as_they_come: Whether it reads inputs as they come, or what the stem makes of them.
        seed: What draws its encoder.
        provisional: Whether an encoder that was trained on episodes may still take its encoder's place.
        tally: What tasks said of such encoders so far.
    """

    anchor: Anchor
    as_they_come: bool
    seed: int
    provisional: bool = False
    tally: Tally = field(default_factory=Tally)


class Anchors:
    """Anchors by the shape of inputs as they come."""

    def __init__(self, store: KnowledgeStore, settings: AgentSettings, view: Callable[[Tensor], Tensor]) -> None:
        """Read nothing yet.

        Args:
            store: Where the statistics are kept.
            settings: What the agent is made of.
            view: Sends inputs through the stem.
        """
        self._store, self._settings, self._view = store, settings, view
        self._kept: dict[Shape, _Kept] = {}

    def classes(self, shape: Shape) -> tuple[int, ...]:
        """Return the classes that the anchor for inputs of a shape has seen; none where there is no anchor."""
        kept = self._find(shape)
        return kept.anchor.classes if kept is not None else ()

    def log_probs(self, x: Tensor) -> Tensor:
        """Answer among all classes seen.

        Args:
            x: Inputs as they come, shape `(n, *input_shape)`, of a shape that has an anchor.

        Returns:
            Log-probabilities, shape `(n, len(classes))`.
        """
        return self.log_probs_of(tuple(x.shape[1:]), self.features_asked(x))

    def log_probs_of(self, shape: Shape, features: Tensor) -> Tensor:
        """Answer for features of inputs of a shape, shape `(n, d)`, as `log_probs` does for the inputs."""
        anchor = self._at(shape).anchor
        return torch.cat([anchor.log_probs_of(part) for part in features.split(BATCH)])

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Encode inputs as they come, shape `(n, *input_shape)`, as the anchor's features, shape `(n, d)`."""
        kept = self._at(tuple(x.shape[1:]))
        parts = (part if kept.as_they_come else self._view(part) for part in x.split(BATCH))
        return torch.cat([kept.anchor.encoder(part) for part in parts])

    def features_asked(self, x: Tensor) -> Tensor:
        """Encode the inputs of a question as `features` does; where it was asked before, recall them."""
        return through_frozen(self._at(tuple(x.shape[1:])).anchor.encoder, self.features, x)

    def add(self, task: Task, view: Task) -> None:
        """Take a task's samples into the statistics, here but not in the store.

        Args:
            task: A classification task as it came.
            view: The same through the stem, on the agent's device.
        """
        kept = self._kept[task.input_shape] = self._find(task.input_shape) or self._new(task, view)
        x = task.support.x.to(view.support.x.device) if kept.as_they_come else view.support.x
        kept.anchor.add(x, torch.tensor(task.classes)[task.support.y.cpu()])

    def begun(self, task: Task, view: Task) -> Anchor:
        """Return the anchor for a task's inputs; a new one, which is not kept, where there is none."""
        return (self._find(task.input_shape) or self._new(task, view)).anchor

    def is_provisional(self, shape: Shape) -> bool:
        """Whether an encoder that was trained on episodes may still take the place of an anchor's for such inputs."""
        kept = self._find(shape) if self._settings.anchor == "meta" else None
        return self._settings.anchor == "meta" and (kept is None or kept.provisional)

    def tally(self, shape: Shape) -> Tally:
        """Return what tasks said of encoders that were trained on episodes, so far."""
        kept = self._find(shape)
        return kept.tally if kept is not None else Tally()

    def weighed(self, task: Task, view: Task, tally: Tally, anchor: Anchor | None) -> None:
        """Note what a task said of an encoder that was trained on episodes, here but not in the store.

        Args:
            task: A classification task as it came, not yet added.
            view: The same through the stem.
            tally: Right answers on the encoder's features and on the anchor's.
            anchor: What takes the anchor's place for good; None where nothing does.
        """
        kept = self._find(task.input_shape) or self._new(task, view)
        new = kept if anchor is None else replace(kept, anchor=anchor, provisional=False)
        self._kept[task.input_shape] = replace(new, tally=kept.tally.plus(tally))

    def keep(self, t: Transaction, shape: Shape, task: int) -> None:
        """Store the statistics for a shape of input in place of the former ones.

        Args:
            t: The transaction.
            shape: Shape of one input as it comes.
            task: Position of the task after which they are put.
        """
        kept = self._at(shape)
        spec = {**kept.anchor.encoder.spec, "as_they_come": kept.as_they_come, "seed": kept.seed}
        tensors = kept.anchor.state()
        if kept.provisional or kept.tally.asked:
            spec |= {"provisional": kept.provisional, "tally": asdict(kept.tally)}
        if kept.tally.asked and not kept.provisional:  # no seed draws what was trained
            tensors |= {_ENCODER + name: value for name, value in state(kept.anchor.encoder).items()}
        t.add_bank(spec, tensors, encoder=None, task=task, slot=slot(shape))

    def _find(self, shape: Shape) -> _Kept | None:
        if shape not in self._kept:
            bank = self._store.bank_in(slot(shape))
            if bank is None:
                return None
            # What the statistics are of is written beside them: the agent that goes on may have another recipe.
            spec = bank.spec
            tensors = self._store.weights(bank.id)
            trained = {n.removeprefix(_ENCODER): tensors.pop(n) for n in list(tensors) if n.startswith(_ENCODER)}
            if trained:
                anchor = Anchor(restore_encoder(spec, trained).to(self._settings.device))
            else:
                anchor = self._anchor(spec["name"], tuple(spec["input_shape"]), spec["settings"], spec["seed"])
            anchor.restore(tensors)
            tally = Tally(**spec.get("tally", {}))
            kept = _Kept(anchor, spec["as_they_come"], spec["seed"], spec.get("provisional", False), tally)
            self._kept[shape] = kept
        return self._kept[shape]

    def _at(self, shape: Shape) -> _Kept:
        kept = self._find(shape)
        if kept is None:
            raise LookupError(f"no anchor knows inputs of shape {shape}")
        return kept

    def _new(self, task: Task, view: Task) -> _Kept:
        name, features = self._settings.anchor, self._settings.anchor_features
        seed = derive(self._settings.seed, "anchor")
        if name == "patches":
            settings = patch_settings(task.input_shape, features)
            return _Kept(self._anchor(name, task.input_shape, settings, seed), True, seed)
        if name == "raw":
            return _Kept(self._anchor(name, view.input_shape, {}, seed), False, seed)
        anchor = self._anchor("random", view.input_shape, {"features": features}, seed)
        return _Kept(anchor, False, seed, provisional=name == "meta")

    def _anchor(self, name: str, shape: Shape, settings: dict[str, Any], seed: int) -> Anchor:
        encoder: Encoder = build_encoder(name, shape, settings, seed).to(self._settings.device)
        return Anchor(encoder)


def patch_settings(shape: Shape, features: int) -> dict[str, Any]:
    """Choose patch filters that give about so many features.

    They are drawn and see no data, so that what stands on them depends on no order of tasks.

    Args:
        shape: Shape of one input.
        features: Features wanted; there is at least one filter.

    Returns:
        Settings of the encoder "patches".

    Raises:
        RecipeError: If inputs of this shape are no images.
    """
    if len(shape) != 3:
        valid = f"inputs of shape {shape} are no images (channels, height, width): random or raw"
        raise RecipeError("recipe", "agent.anchor", "patches", valid)
    grid = GRID if min(shape[1:]) < LARGE else LARGE_GRID
    filters = max(1, features // (2 * grid * grid))
    return {"filters": filters, "grid": grid, "threshold": THRESHOLD, "smooth": SMOOTH}


def slot(shape: Shape) -> str:
    """Name the store's slot that holds the anchor for inputs of a shape as they come."""
    return "anchor " + "x".join(map(str, shape))
