"""What learning a task gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .events import Chosen, Learned
from .known import Meta
from .meta_anchor import Weighed
from .model import Model
from .selector import Option


@dataclass(frozen=True)
class Extra:
    """A model that was trained but does not answer; its encoder is kept for later tasks.

    Attributes:
        model: The model.
        option: What trained it, and from what.
        flops: What it cost.
        accuracy: Held-out accuracy (regression: R²); None where nothing is held out.
    """

    model: Model
    option: Option
    flops: float
    accuracy: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What learning a task gave.

    Attributes:
        model: What answers for the task, calibrated.
        option: What learned it, and from what.
        choice: What was chosen (the same, unless something stood in).
        learned: Its account.
        extras: What was trained beside it.
        metas: What strategies keep for later tasks, by strategy.
        weighed: What the task said of an encoder that could become the anchor; None where there is none.
    """

    model: Model
    option: Option
    choice: Chosen
    learned: Learned
    extras: tuple[Extra, ...] = ()
    metas: Mapping[str, Meta] = field(default_factory=dict)
    weighed: Weighed | None = None
