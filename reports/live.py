"""The live display: events on a terminal as one picture that grows, elsewhere as plain lines."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from .lines import resumed, told
from .panels import account, guard_account, joint_account, picture
from .story import Story
from .units import plain

_PAUSE = 0.08  # seconds between two pictures: more often only flickers


class Display(Protocol):
    """Shows events while they happen; a context manager, so that the terminal is always left in order."""

    story: Story

    def recall(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Take in what happened before a run was cut off, without telling it again."""

    def feed(self, event: Mapping[str, Any]) -> None:
        """Take in the next event, as JSON."""

    def __enter__(self) -> Display: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def display(console: Console, title: str) -> Display:
    """Choose how to show a run on this console.

    Args:
        console: Where to show it.
        title: Scenario, selector and seed, in one line.

    Returns:
        A picture on a terminal, plain lines elsewhere.
    """
    return Picture(console, title) if console.is_terminal and not console.is_dumb_terminal else Lines(console, title)


class Picture:
    """The run as one picture below the lines of the tasks that are done; nothing is drawn between events.

    Attributes:
        story: What has happened so far.
    """

    def __init__(self, console: Console, title: str) -> None:
        """Prepare the picture.

        Args:
            console: A terminal.
            title: Scenario, selector and seed, in one line.
        """
        self.story = Story()
        self._title = plain(title)
        self._console = console
        self._live = Live(self, console=console, auto_refresh=False, transient=True, vertical_overflow="crop")
        self._drawn = 0.0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the picture for the size that the terminal has now."""
        yield picture(self.story, self._title, options.max_width, console.size.height - 1)

    def recall(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Take in what happened before a run was cut off, without telling it again.

        Args:
            events: The events as JSON.
        """
        for event in events:
            self.story.add(event)

    def feed(self, event: Mapping[str, Any]) -> None:
        """Take in the next event.

        Args:
            event: The event as JSON.
        """
        self.story.add(event)
        if event.get("event") == "Resumed":
            self._console.print(Text(plain(resumed(event)), style="yellow"))
        if event.get("event") == "Evaluated":
            for task in self.story.covered:
                self._console.print(account(task), no_wrap=True, overflow="ellipsis", crop=True)
                if guarded := guard_account(task):
                    self._console.print(guarded)
        elif event.get("event") == "LearnedTogether":
            self._console.print(
                joint_account(event, self.story.regression), no_wrap=True, overflow="ellipsis", crop=True
            )
        now = time.monotonic()
        if event.get("event") != "Progress" or now - self._drawn >= _PAUSE:
            self._drawn = now
            self._live.refresh()

    def __enter__(self) -> Picture:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


class Lines:
    """The run as plain lines, one per event of note, for logs and pipes.

    Attributes:
        story: What has happened so far.
    """

    def __init__(self, console: Console, title: str) -> None:
        """Get ready; nothing is printed before the first event.

        Args:
            console: Where to print.
            title: Scenario, selector and seed, in one line.
        """
        self.story = Story()
        self._console = console
        self._title: str | None = title

    def recall(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Take in what happened before a run was cut off, without telling it again.

        Args:
            events: The events as JSON.
        """
        for event in events:
            self.story.add(event)

    def feed(self, event: Mapping[str, Any]) -> None:
        """Take in the next event.

        Args:
            event: The event as JSON.
        """
        if self._title is not None:
            self._say(f"evermap: {self._title}")
            self._title = None
        if event.get("event") == "Resumed":
            self._say(resumed(event))
        self.story.add(event)
        line = told(self.story, event)
        if line:
            self._say(line)

    def _say(self, line: str) -> None:
        encoding = self._console.encoding or "ascii"
        safe = plain(line).encode(encoding, "replace").decode(encoding)
        self._console.print(Text(safe), soft_wrap=True)

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
