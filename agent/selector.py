"""A selector: chooses strategy and source for a task, then observes the outcome."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from .. import registry
from ..errors import UnknownName, UserError
from ..streams.task import Task
from .events import JudgedArm, Learned, Profiled
from .verdict import Gain

if TYPE_CHECKING:
    from .workbench import Workbench


@dataclass(frozen=True)
class Option:
    """One way that a task could be learned: a strategy and what it would start from.

    Attributes:
        strategy: Registered name.
        source: Id of a stored encoder or a fixed representation; None where the strategy starts from nothing.
        why_not: Why it does not apply; None if it does.
    """

    strategy: str
    source: str | None = None
    why_not: str | None = None


@dataclass(frozen=True)
class Choice:
    """What a selector decides.

    Attributes:
        strategy: Registered name.
        source: What to start from; None for none.
        reason: One sentence for a person.
        scores: What it thought of the options, higher is better; only those that it scored.
        guard: A closed form that answers instead, unless what was chosen is better on held-out samples; None for none.
        background: What trains an encoder for the store with what is left of the budget; it never answers. None for
            none.
        expected: The gain over the guard that experience expects, which its verdict is joined with; None where the
            verdict is to be measured alone.
        tried: Arms that were tried out, for the record.
    """

    strategy: str
    source: str | None
    reason: str
    scores: Mapping[Option, float] = field(default_factory=dict)
    guard: Option | None = None
    background: Option | None = None
    expected: Gain | None = None
    tried: tuple[JudgedArm, ...] = ()


class Selector(ABC):
    """Chooses how to learn a task.

    Attributes:
        name: The name it is chosen by; what stands behind a colon ("fixed:finetune") is given to the constructor.
        keeps_budget: False for a reference that spends more than a task's budget on choosing.
        adds_up: Whether `restore` adds to what was learned, so that the experience of several runs can be joined.
        asks_logme: Whether candidates are to be scored by LogME as well, paid like every score.
    """

    registry_kind: ClassVar[str] = "selector"
    name: ClassVar[str]
    keeps_budget: ClassVar[bool] = True
    adds_up: ClassVar[bool] = False
    asks_logme: bool = False

    def __init__(self, argument: str = "") -> None:
        """Keep what stood behind the colon.

        Args:
            argument: Empty for none.

        Raises:
            UserError: If the selector takes no argument and one was given, or the reverse.
        """
        if argument:
            raise UserError(f"selector {self.name!r} takes nothing behind a colon; found {argument!r}.")

    def needs_profile(self, strategies: Mapping[str, Any]) -> bool:
        """Tell whether scores of stored encoders are wanted; probing is paid from the budget.

        Args:
            strategies: The agent's strategies by name.
        """
        return True

    @abstractmethod
    def select(
        self, task: Task, profile: Profiled, options: Sequence[Option], bench: Workbench, rng: torch.Generator
    ) -> Choice:
        """Choose; `learn` is called next with the result, then `observe`.

        Args:
            task: The task; its `support` is what a strategy would see.
            profile: What was measured about it.
            options: Every way, those that do not apply with the reason; at least one applies.
            bench: Runs try-outs.
            rng: The only source of randomness to use.

        Returns:
            One of the options that apply, with a reason.
        """

    def together(self, strategies: Sequence[str], rng: torch.Generator) -> str | None:
        """Choose how tasks that arrive together are learned as one, before each of them is selected for.

        Args:
            strategies: Those that can; at least one.
            rng: The only source of randomness to use.

        Returns:
            One of them; None leaves every task to itself.
        """
        return strategies[0]

    def consolidates(self, strategies: Sequence[str]) -> Sequence[str]:
        """Choose which strategies work for later tasks after each one; they share what the recipe grants for it.

        Args:
            strategies: Those that can.

        Returns:
            Some of them.
        """
        return strategies

    def observe(self, profile: Profiled, outcome: Learned) -> None:
        """Learn from how the choice turned out.

        Args:
            profile: What was measured before.
            outcome: What learning gave.
        """
        return  # a selector that learns nothing

    def state(self) -> dict[str, Any]:
        """Return what the selector has learned, as plain data; it is kept in the store."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up again what `state` returned.

        Args:
            state: Plain data.
        """
        return  # nothing was kept


def make_selector(text: str, strategies: Mapping[str, Any]) -> Selector:
    """Make a selector from its name, with what stands behind a colon.

    Args:
        text: "probe", "fixed:finetune".
        strategies: The agent's strategies by name, which an argument may have to be one of.

    Returns:
        The selector.

    Raises:
        UnknownName: If there is no such selector, or `fixed` is given no strategy that exists.
        UserError: If it does not take the argument.
    """
    name, _, argument = text.partition(":")
    kind = registry.load("selector", name)
    if name == "fixed" and not argument:
        raise UserError(f"selector 'fixed' needs a strategy, as in fixed:scratch; there are {', '.join(strategies)}.")
    if name == "fixed" and argument not in strategies:
        raise UnknownName("strategy", argument, strategies)
    selector: Selector = kind(argument)
    return selector
