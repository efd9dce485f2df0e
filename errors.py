"""Everything that can go wrong, as one small tree; a message says where, what was found and what is valid."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

BEFORE = "before-"


def task_number(index: int) -> str:
    """Write a task's position as every command takes and prints it: counted from 1.

    Files keep positions from 0, in fields called "index" or "task".

    Args:
        index: The position, from 0; below 0 for what came before the stream, −1 being the newest.

    Returns:
        "1" for the first task of the stream; "before-1" for the newest task of what came before it.
    """
    return str(index + 1) if index >= 0 else f"{BEFORE}{-index}"


def flop_count(value: float) -> str:
    """Write a number of floating-point operations as reports and messages do, with three significant digits.

    Args:
        value: FLOPs, finite.

    Returns:
        "1.24 GFLOP".
    """
    for factor, unit in ((1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1e3, "kFLOP")):
        if abs(value) >= 0.9995 * factor:
            return f"{three_digits(value / factor)} {unit}"
    return f"{value:.0f} FLOP"


def three_digits(value: float) -> str:
    """Write three significant digits without an exponent: "1.24", "12.4", "124"."""
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{digits}f}"


class EvermapError(Exception):
    """A failure that evermap can explain; `exit_code` is what the command line returns for it."""

    exit_code = 1


class UserError(EvermapError):
    """A mistake that the user can mend: one clear sentence, no traceback."""

    exit_code = 2


class UnknownName(UserError):
    """A name that nothing is registered under."""

    def __init__(self, kind: str, name: str, known: Iterable[str], listed_by: str = "") -> None:
        """Build the message.

        Args:
            kind: What was looked for, in the singular ("strategy").
            name: The name that was given.
            known: Every valid name.
            listed_by: The command that lists them, where there are too many for a message.
        """
        valid = sorted(known)
        near = difflib.get_close_matches(name, valid, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        listed = f"Known: {', '.join(valid) or 'none'}." if not listed_by else f"{listed_by} lists what there is."
        super().__init__(f"There is no {kind} called {name!r}. {hint}{listed}")
        self.name = name
        self.near = tuple(near)


class RecipeError(UserError):
    """A recipe that does not say what a recipe must say."""

    def __init__(self, where: str, field: str, found: object, valid: str) -> None:
        """Build the message.

        Args:
            where: The file, or "--set".
            field: The dotted path of the field ("stream.tasks").
            found: What stands there; None where nothing does, as TOML has no such value.
            valid: What may stand there.
        """
        stands = "it is not given" if found is None else f"found {found!r}"
        super().__init__(f"{where}: {field}: {stands}; {valid}.")
        self.where, self.field, self.found, self.valid = where, field, found, valid

    def at(self, where: str, field: str = "") -> RecipeError:
        """Say the same of another place.

        Args:
            where: The place.
            field: The field; left out: the same.
        """
        return RecipeError(where, field or self.field, self.found, self.valid)


class DataMissing(UserError):
    """A data set that is not where it was looked for."""


class DataError(UserError):
    """A file of data that does not hold what it must hold; names the file, the place in it, and what is valid."""


class OutputError(UserError):
    """A place that cannot be written, or that already holds something."""


class InputError(UserError):
    """A file of inputs that cannot be answered for: unreadable, of another shape, or not scaled."""


class RecordError(UserError):
    """A folder that is no run record, or a damaged one."""


class ResumeError(UserError):
    """A run that cannot go on as it began; says what differs, or what is missing."""


class PluginError(UserError):
    """A plug-in that cannot be imported, or that defines nothing evermap knows."""


class StrategyError(UserError):
    """A strategy that raised or broke its contract while learning; names the strategy, the task and the unit."""

    def __init__(self, strategy: str, task: str, unit: int, what: str) -> None:
        """Build the message.

        Args:
            strategy: Its registered name.
            task: The task it was learning.
            unit: How many units it had done.
            what: What happened.
        """
        super().__init__(f"Strategy {strategy!r} failed on task {task!r} in unit {unit}: {what}")
        self.strategy = strategy
        self.task = task
        self.unit = unit


class Diverged(StrategyError):
    """A strategy whose loss or weights are no longer finite."""


class NothingApplies(StrategyError):
    """No strategy could learn the task."""

    def __init__(self, task: str, reasons: dict[str, str]) -> None:
        """Build the message.

        Args:
            task: The task that nothing could learn.
            reasons: Why not, for every strategy.
        """
        said = "; ".join(f"{name}: {why}" for name, why in reasons.items()) or "no strategy is loaded"
        super().__init__("any", task, 0, f"none of the strategies applies ({said})")


class StoreError(UserError):
    """The knowledge store cannot be read or written: a place or a disk; says which entry and task it concerns."""


class BudgetError(UserError):
    """A budget under which nothing can be done."""
