"""A comparison while it runs: on a terminal one table that grows, elsewhere a line for every cell that ends."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from . import units

_MARKS = {"waiting": "○", "running": "◐", "done": "●", "kept": "●", "failed": "✗"}
_STYLES = {"waiting": "dim", "running": "yellow", "done": "green", "kept": "cyan", "failed": "red"}
_PAUSE = 0.2  # seconds between two pictures

Key = tuple[str, str, int]  # scenario, agent, seed


class Progress(Protocol):
    """Shows what happens to cells; a context manager, so that the terminal is always left in order."""

    def feed(
        self, key: Key, state: str, task: int = 0, tasks: int = 0, accuracy: float | None = None, why: str = ""
    ) -> None:
        """Take in what has happened to a cell."""

    def tick(self) -> None:
        """Nothing has happened for a moment."""

    def __enter__(self) -> Progress: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def progress(console: Console, keys: Sequence[Key], jobs: int) -> Progress:
    """Choose how to show a comparison on this console.

    Args:
        console: Where to show it.
        keys: Its cells.
        jobs: How many run at a time.

    Returns:
        A table on a terminal, plain lines elsewhere.
    """
    live = console.is_terminal and not console.is_dumb_terminal
    return Growing(console, keys, jobs) if live else Lines(console, keys, jobs)


class Lines:
    """A line for every cell that ends."""

    def __init__(self, console: Console, keys: Sequence[Key], jobs: int) -> None:
        """Get ready; nothing is printed before something has happened.

        Args:
            console: Where to print.
            keys: The cells.
            jobs: How many run at a time.
        """
        self.console, self.jobs = console, jobs
        self.states: dict[Key, str] = dict.fromkeys(keys, "waiting")
        self.accuracies: dict[Key, float] = {}
        self.at_work: dict[Key, tuple[int, int]] = {}
        self.started: dict[Key, float] = {}
        self.took: list[float] = []

    def feed(
        self, key: Key, state: str, task: int = 0, tasks: int = 0, accuracy: float | None = None, why: str = ""
    ) -> None:
        """Take in what has happened to a cell.

        Args:
            key: Its scenario, agent and seed; one that is not known yet is another cell.
            state: "kept", "started", "at work", "done" or "failed".
            task: The task that has begun, from 0.
            tasks: How many tasks there are; 0 where that is not known yet.
            accuracy: What it came to.
            why: Why it failed.
        """
        self.states[key] = {"started": "running", "at work": "running"}.get(state, state)
        if state == "started":
            self.started[key] = time.monotonic()
        if accuracy is not None:
            self.accuracies[key] = accuracy
        if state == "at work":
            self.at_work[key] = task, tasks
        elif state != "started":
            self.at_work.pop(key, None)
        if state in ("done", "failed") and key in self.started:
            self.took.append(time.monotonic() - self.started[key])
        self.show(key, state, why)

    def show(self, key: Key, state: str, why: str) -> None:
        """Print a line for a cell that has ended."""
        if state not in ("kept", "done", "failed"):
            return
        scenario, agent, seed = key
        ended = sum(each in ("kept", "done", "failed") for each in self.states.values())
        said = f"failed: {why}" if state == "failed" else f"{units.percent(self.accuracies.get(key))} %"
        if state == "kept":
            said += ", kept from before"
        elif state == "done" and key in self.started:
            said += f", {units.seconds(self.took[-1])}"
        line = units.plain(f"[{ended}/{len(self.states)}] {scenario}  {agent}  seed {seed}: {said}")
        encoding = self.console.encoding or "ascii"
        self.console.print(Text(line.encode(encoding, "replace").decode(encoding)), soft_wrap=True)

    def tick(self) -> None:
        """Nothing has happened for a moment."""

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class Growing(Lines):
    """One table: a row for every scenario and agent, a mark for every seed."""

    def __init__(self, console: Console, keys: Sequence[Key], jobs: int) -> None:
        """Prepare the table.

        Args:
            console: A terminal.
            keys: The cells.
            jobs: How many run at a time.
        """
        super().__init__(console, keys, jobs)
        self._live = Live(self, console=console, auto_refresh=False, transient=True, vertical_overflow="crop")
        self._drawn = 0.0

    def __rich__(self) -> RenderableType:
        """Draw the table as it is now."""
        return Group(self._table(), self._foot())

    def show(self, key: Key, state: str, why: str) -> None:
        """Draw anew; a failure is a line that stays."""
        if state == "failed":
            scenario, agent, seed = key
            line = units.plain(f"{scenario}  {agent}  seed {seed} failed: {why}")
            self.console.print(Text(line, style="red"), soft_wrap=True)
        self.tick()

    def tick(self) -> None:
        """Draw anew if the last picture is old enough."""
        if time.monotonic() - self._drawn >= _PAUSE:
            self._drawn = time.monotonic()
            self._live.refresh()

    def __enter__(self) -> Growing:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
        table.add_column("scenario", no_wrap=True, overflow="ellipsis")
        table.add_column("agent", no_wrap=True, overflow="ellipsis", style="cyan")
        table.add_column("seeds", overflow="fold")
        table.add_column("accuracy", justify="right", no_wrap=True)
        rows: dict[tuple[str, str], list[Key]] = {}
        for key in self.states:
            rows.setdefault(key[:2], []).append(key)
        for (scenario, agent), keys in rows.items():
            marks = Text()
            for key in keys:
                marks.append(_MARKS[self.states[key]], style=_STYLES[self.states[key]])
            known = [self.accuracies[key] for key in keys if key in self.accuracies]
            mean = units.percent(sum(known) / len(known)) if known else ""
            table.add_row(Text(units.plain(scenario)), Text(units.plain(agent)), marks, mean)
        return table

    def _foot(self) -> Text:
        ended = sum(each in ("kept", "done", "failed") for each in self.states.values())
        said = f"{ended} of {units.count(len(self.states), 'run')}"
        left = len(self.states) - ended
        if not self.started and left:
            said += ", looking at recipes and data"
        elif self.started and not self.at_work and not self.took:
            said += ", workers load torch"
        if self.took and left:
            said += f", about {units.seconds(left * sum(self.took) / len(self.took) / self.jobs)} left"
        for (scenario, agent, seed), (task, tasks) in self.at_work.items():
            said += f"\n{units.plain(f'{scenario}  {agent}  seed {seed}')}: task {task + 1} of {tasks}"
        return Text(said, style="dim")
