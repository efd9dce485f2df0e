"""Events for tools that people watch runs with: TensorBoard, and Weights & Biases by its own environment variables."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError

_LOW, _HIGH = np.array([246, 248, 249]), np.array([20, 81, 143])  # the ends of the heat map's colours
_CELL = 16  # pixels of a cell of the matrix

Json = Mapping[str, Any]


class Sink(Protocol):
    """Where scalars, words and pictures go."""

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Take in a number.

        Args:
            tag: Its name; what stands before the first "/" groups it.
            value: The number, finite.
            step: Where it stands in its curve.
        """

    def text(self, tag: str, words: str, step: int) -> None:
        """Take in words; arguments as of `scalar`."""

    def picture(self, tag: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Take in a picture of shape `(height, width, 3)`; arguments as of `scalar`."""

    def close(self) -> None:
        """Write what is left; nothing follows."""


class TensorBoard:
    """Writes to a folder for `tensorboard --logdir`; it is made when the first event comes."""

    def __init__(self, folder: Path) -> None:
        """Check that the tool is there.

        Args:
            folder: Where its files go.

        Raises:
            UserError: If it is not installed.
        """
        self._folder = folder
        self._make = _module("torch.utils.tensorboard", "--tensorboard", "evermap[tensorboard]").SummaryWriter
        self._writer: Any = None

    @property
    def _out(self) -> Any:
        self._writer = self._writer or self._make(str(self._folder))
        return self._writer

    def scalar(self, tag: str, value: float, step: int) -> None:
        """See `Sink`."""
        self._out.add_scalar(tag, value, step)

    def text(self, tag: str, words: str, step: int) -> None:
        """See `Sink`; what Markdown would obey is shown as it is."""
        self._out.add_text(tag, "".join(f"\\{c}" if c in "\\`*_{}[]<>#|!" else c for c in words), step)

    def picture(self, tag: str, pixels: NDArray[np.uint8], step: int) -> None:
        """See `Sink`."""
        self._out.add_image(tag, pixels, step, dataformats="HWC")

    def close(self) -> None:
        """See `Sink`."""
        if self._writer is not None:
            self._writer.close()


class WeightsAndBiases:
    """Sends to Weights & Biases; project, mode, key and the rest are what its own WANDB_… variables say."""

    def __init__(self, name: str, recipe: Json) -> None:
        """Begin a run there.

        Args:
            name: What the run is called.
            recipe: Shown as its configuration.

        Raises:
            UserError: If wandb is not installed, or cannot begin.
        """
        self._wandb = _module("wandb", "--wandb", "wandb")
        try:
            self._run = self._wandb.init(name=name, config=dict(recipe))
        except Exception as error:
            raise UserError(
                f"--wandb: cannot begin a run there ({error}); WANDB_MODE=offline needs no network."
            ) from None

    def scalar(self, tag: str, value: float, step: int) -> None:
        """See `Sink`; steps of different curves differ, so each is sent beside its value."""
        self._run.log({tag: value, f"{tag.partition('/')[0]}/step": step})

    def text(self, tag: str, words: str, step: int) -> None:
        """See `Sink`."""
        self._run.summary[f"{tag}/{step}"] = words

    def picture(self, tag: str, pixels: NDArray[np.uint8], step: int) -> None:
        """See `Sink`."""
        self._run.log({tag: self._wandb.Image(pixels)})

    def close(self) -> None:
        """See `Sink`."""
        self._run.finish()


class Tracker:
    """Turns events into scalars, words and pictures; where a sink fails, the run goes on without it.

    Attributes:
        problems: What failed, in words.
    """

    def __init__(self, sinks: Iterable[Sink]) -> None:
        """Get ready.

        Args:
            sinks: Where everything goes.
        """
        self.problems: list[str] = []
        self._sinks = list(sinks)
        self._names: dict[int, str] = {}
        self._concepts: dict[int, int] = {}
        self._learned: set[int] = set()
        self._rows: list[list[float | None]] = []
        self._during = 0

    def recall(self, events: Iterable[Json]) -> None:
        """Take in what happened before a run was cut off, without telling it again.

        Args:
            events: The events as JSON.
        """
        sinks, self._sinks = self._sinks, []
        for event in events:
            self.feed(event)
        self._sinks = sinks

    def feed(self, event: Json) -> None:
        """Take in the next event.

        Args:
            event: The event as JSON; a kind that is not known is passed over.
        """
        kind, task = event.get("event"), event.get("task")
        if kind == "TaskStarted":
            self._names[event["task"]] = f"{event['task'] + 1} {event['name']}"
            self._concepts[event["task"]] = event["concept"]
        elif kind == "Progress":
            tag = f"learning/{self._name(task)}/{_way(event)}"
            self._scalar(f"{tag}/accuracy", event["accuracy"], event["unit"])
            self._scalar(f"{tag}/loss", event["loss"], event["unit"])
        elif kind == "Chosen":
            self._text("choices/chosen", f"{self._name(task)}: {_way(event)}. {event['reason']}", event["task"] + 1)
        elif kind == "LearnedTogether":
            self._text("choices/together", str(event["reason"]), event["tasks"][0] + 1)
        elif kind == "Learned":
            self._learned_one(event)
        elif kind == "Remembered":
            for key in ("store_bytes", "encoders"):
                self._scalar(f"store/{key.removeprefix('store_')}", event[key], event["task"] + 1)
        elif kind == "Evaluated":
            self._evaluated(event)
        elif kind == "EvaluatedDuring":
            self._during += 1
            for column, value in enumerate(event["values"]):
                self._scalar(f"while learning/{column + 1}", value, self._during)

    def close(self) -> None:
        """Write what is left."""
        self._tell("close")

    def _learned_one(self, event: Json) -> None:
        step = event["task"] + 1
        self._learned.add(event["task"])
        for key, tag in (("total_flops", "flops"), ("seconds", "seconds"), ("consolidation", "flops for later tasks")):
            self._scalar(f"cost/{tag}", event.get(key), step)
        said = [event.get("verdict"), *(event.get("warnings") or ())]
        for words in filter(None, said):
            self._text("choices/guard and warnings", f"{self._name(event['task'])}: {words}", step)

    def _evaluated(self, event: Json) -> None:
        self._rows.append(list(event["values"]))
        done = {self._concepts[task] for task in self._learned if task in self._concepts}
        for column, (name, value) in enumerate(zip(event["columns"], event["values"], strict=True)):
            self._scalar(f"test sets/{column + 1} {name}", value, event["row"])
        seen = [event["values"][column] for column in sorted(done)]
        if seen and None not in seen:
            self._scalar("accuracy/mean over what was learned", math.fsum(seen) / len(seen), event["row"])
        self._tell("picture", "accuracy matrix", heat(self._rows), event["row"])

    def _name(self, task: Any) -> str:
        return self._names.get(task, f"{int(task) + 1}")

    def _scalar(self, tag: str, value: float | None, step: int) -> None:
        if value is not None and math.isfinite(value):
            self._tell("scalar", tag, float(value), step)

    def _text(self, tag: str, words: str, step: int) -> None:
        self._tell("text", tag, words, step)

    def _tell(self, what: str, *about: Any) -> None:
        for sink in list(self._sinks):
            try:
                getattr(sink, what)(*about)
            except Exception as error:
                self._sinks.remove(sink)
                self.problems.append(f"{type(sink).__name__} stopped, the run did not: {type(error).__name__}: {error}")


def heat(rows: list[list[float | None]]) -> NDArray[np.uint8]:
    """Draw an accuracy matrix.

    Args:
        rows: Values of every row, 0 to 1 (what lies outside is clipped); None where one is undefined.

    Returns:
        Pixels, shape `(16 rows, 16 columns, 3)`: pale for 0, dark blue for 1, grey for undefined.
    """
    values = np.array([[math.nan if v is None else v for v in row] for row in rows], dtype=np.float64)
    share = np.clip(values, 0, 1)[..., None]
    cells = np.where(np.isnan(share), 128, _LOW + (_HIGH - _LOW) * np.nan_to_num(share))
    return np.kron(cells, np.ones((_CELL, _CELL, 1))).round().astype(np.uint8)


def _way(event: Json) -> str:
    return f"{event['strategy']} from {event['source']}" if event.get("source") else str(event["strategy"])


def _module(name: str, option: str, package: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{option}: {error}; `pip install '{package}'` brings what it needs.") from None
