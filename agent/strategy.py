"""A strategy: one way to learn a task from what is known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from .. import registry
from ..errors import RecipeError
from ..streams.task import Task
from .encoder import Encoder
from .model import Model
from .settings import configure

if TYPE_CHECKING:
    from .known import Known, Meta, Source


@dataclass(frozen=True)
class Solution:
    """A model that brings more for the store.

    Attributes:
        model: What answers for the task.
        loss: Training loss of the unit, where there is one: a NaN or an infinite one stops the arm.
        helper: Id of the stored model that helped ("model-3"), for the account; empty for none.
    """

    model: Model
    loss: Tensor | None = None
    helper: str = ""


class Strategy(ABC):
    """One way to learn a task.

    `learn` is a generator: it yields its model after each unit of work (a gradient step, one closed-form solve): a
    point where learning may pause, be scored, or stop for good. The driver (`Arm`) decides which, keeps the best model
    on held-out samples, counts FLOPs and looks after the random state. The yielded model may be changed in place
    afterwards; the driver copies what it wants to keep.

    Attributes:
        name: The name it is chosen by.
        keep: "best" keeps the model with the smallest held-out loss, "last" the last one.
        closed_form: True if one unit fits the whole support: the driver scores it on held-out samples and then fits it
            again on all of them.
        uses_knowledge: False if `learn` never looks at the store, so that probing it would be wasted.
        joint: True if `learn_jointly` is there: tasks that arrive together can be learned as one.
        consolidates: True if `consolidate` is there: it works for the store after each task.
        continues_source: True if the encoder that it leaves is a new version of the one it started from.
        Settings: Frozen dataclass of hyperparameters, made with `setting(default, help, unit)`.
    """

    registry_kind: ClassVar[str] = "strategy"
    name: ClassVar[str]
    keep: ClassVar[Literal["best", "last"]] = "best"
    closed_form: ClassVar[bool] = False
    uses_knowledge: ClassVar[bool] = True
    joint: ClassVar[bool] = False
    consolidates: ClassVar[bool] = False
    embeds: ClassVar[bool] = False
    continues_source: ClassVar[bool] = False

    @dataclass(frozen=True)
    class Settings:
        """Has no settings."""

    def __init__(self, **settings: Any) -> None:
        """Check and keep the hyperparameters.

        Args:
            **settings: Fields of `Settings`.

        Raises:
            RecipeError: If one is unknown, of the wrong type or out of range.
        """
        where = f"strategies.{self.name}"
        try:
            self.settings: Any = configure(type(self).Settings, settings, where=where)
        except RecipeError as error:  # settings that several strategies have in common do not know whose they are
            raise error.at(where) from None

    def applies(self, task: Task, known: Known) -> str | None:
        """Tell why the task cannot be learned this way.

        Args:
            task: The task.
            known: What the store offers for it.

        Returns:
            The reason in words, shown to the user; None if it can.
        """
        return None

    def sources(self, task: Task, known: Known) -> Sequence[Source]:
        """List what the strategy can start from, best first; asked only where it applies.

        Args:
            task: The task.
            known: What the store offers for it.

        Returns:
            By default every stored encoder; empty for a strategy that does not look at the store.
        """
        return known.sources if self.uses_knowledge else ()

    def units(self, task: Task) -> int | None:
        """Tell how many units a full run takes, where that is known beforehand.

        Args:
            task: The task.

        Returns:
            The number of yields of a run that nobody stops; None if it is not known.
        """
        return None

    def settle(self, encoder: Encoder) -> Mapping[str, Any]:
        """Settle what the recipe leaves to the network's shape, so that the record can say what was done.

        Args:
            encoder: The network that the agent trains, for the inputs that strategies see; its weights say nothing.

        Returns:
            Settings by name, as they will be used; by default none.

        Raises:
            RecipeError: If a setting does not fit the network.
        """
        return {}

    @abstractmethod
    def learn(self, task: Task, known: Known, rng: torch.Generator) -> Iterator[Model | Solution]:
        """Learn the task; called only where `applies` gives None.

        Args:
            task: The task without its held-out part. `task.support.x` has shape `(n, *input_shape)`; `task.support.y`
                holds positions in `task.classes`.
            known: What the store offers for it, read-only; every model it gives is a fresh copy.
            rng: The only source of randomness to use.

        Yields:
            The model after each unit of work. Stopping early is the driver's business; returning means finished.
        """

    def learn_jointly(self, tasks: Sequence[Task], known: Known, rng: torch.Generator) -> Iterator[Sequence[Model]]:
        """Learn tasks that arrive together; called only where `joint` is set, before `learn` of each of them.

        Args:
            tasks: The tasks without their held-out parts, all with inputs of one shape.
            known: What the store offers, read-only.
            rng: The only source of randomness to use.

        Yields:
            One model per task after each unit of work; they may share an encoder.
        """
        raise NotImplementedError(f"{self.name} sets `joint` but has no learn_jointly")

    def consolidate(self, task: Task, known: Known, rng: torch.Generator) -> Iterator[Meta]:
        """Work for later tasks after one was learned; called only where `consolidates` is set.

        Args:
            task: The task that was learned, without its held-out part.
            known: What the store offers; the task itself is the last of `known.episodes`.
            rng: The only source of randomness to use.

        Yields:
            What to keep, after each unit of work; the last one enters the store as a new version.
        """
        raise NotImplementedError(f"{self.name} sets `consolidates` but has no consolidate")

    def price(self, task: Task, known: Known) -> float:
        """Tell what a unit of `consolidate` takes, before one is done, so that none passes the budget.

        Args:
            task: As in `consolidate`.
            known: As in `consolidate`.

        Returns:
            FLOPs, at the most; 0 where that is not known: a first unit is then done whatever it takes.
        """
        return 0.0

    def embedding(self, meta: Meta) -> Encoder | None:
        """Return an encoder in whose features classes lie apart that it never met; asked only where `embeds` is set.

        Args:
            meta: What `consolidate` kept.

        Returns:
            A fresh copy; None where it was trained on too little.
        """
        raise NotImplementedError(f"{self.name} sets `embeds` but has no embedding")


def make_strategies(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Strategy]:
    """Make every registered strategy with its settings.

    Args:
        settings: Hyperparameters by strategy; a strategy that is not named has its defaults.

    Returns:
        The strategies by name.

    Raises:
        RecipeError: If settings are given for a strategy that does not exist, or are wrong.
        PluginError: If a strategy cannot be imported.
    """
    known = registry.registered("strategy")
    for name in settings:
        if name not in known:
            raise RecipeError("recipe", f"strategies.{name}", settings[name], f"strategies are {', '.join(known)}")
    return {name: entry.load()(**settings.get(name, {})) for name, entry in known.items()}
