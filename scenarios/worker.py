"""A worker process: runs one cell after another and says on its standard output, line by line, what becomes of them.

It is told what to do on its standard input, one JSON object a line. It ends when that ends, when it is terminated, and
when the process that started it is gone; a run that it works at is then interrupted in good order.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..agent.events import Event
    from .scenario import Scenario

Say = Callable[[Mapping[str, Any]], None]


def main() -> None:
    """Do what comes until nothing comes any more."""
    # What strategies print must not be taken for what the worker says: it goes to the log.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the process that started this one
    signal.signal(signal.SIGTERM, _interrupt)

    def say(thing: Mapping[str, Any]) -> None:
        channel.write(json.dumps(thing) + "\n")
        channel.flush()

    try:
        for line in sys.stdin:
            task = json.loads(line)
            try:
                say({"state": "done", **(_check(task) if task["do"] == "check" else _run(task, say))})
            except BrokenPipeError:
                raise KeyboardInterrupt from None
            except Exception as error:
                traceback.print_exc()
                say({"state": "failed", "why": _said(error)})
    except KeyboardInterrupt:
        # Whoever reads the other end is gone, or wants no more: there is nothing to flush.
        os._exit(130)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End in good order, and let nothing disturb that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _check(task: Mapping[str, Any]) -> dict[str, Any]:
    """Find what is wrong with agents on a scenario, before any of them starts, and which data they would see."""
    import torch

    from ..errors import EvermapError, RecipeError
    from ..streams.stream import build_stream
    from .override import blamed
    from .run import check_agent
    from .scenario import load_scenario

    torch.set_num_threads(1)
    _prepare(task)
    root = _path(task["data_root"])
    wrong = []
    stream = None
    for agent, sets in task["agents"]:
        try:
            recipe = load_scenario(task["scenario"], sets, root, size=task["size"])
            stream = stream or build_stream(recipe.stream, recipe.seed, root)
            check_agent(recipe, stream.input_shape)
        except RecipeError as error:
            wrong.append([agent, str(blamed(error, task["scenario"], sets))])
        except EvermapError as error:
            wrong.append([agent, str(error)])
    return {"wrong": wrong, "data": None if stream is None else stream.data_hash}


def _run(task: Mapping[str, Any], say: Say) -> dict[str, Any]:
    """Run a cell to its end, from where an earlier call was cut off."""
    import torch

    from .scenario import load_scenario

    torch.set_num_threads(1)
    _prepare(task)
    root, folder, parent = _path(task["data_root"]), Path(task["folder"]), os.getppid()
    recipe = load_scenario(task["scenario"], task["sets"], root, size=task["size"])
    with closing(_events(recipe, folder, root, task["plugins"])) as events:
        for event in events:
            if os.getppid() != parent:
                raise KeyboardInterrupt  # nobody waits for it
            told = event.to_json()
            if told["event"] == "TaskStarted":
                say({"state": "at work", "task": told["task"], "tasks": told["tasks"]})
    return {}


def _events(recipe: Scenario, folder: Path, root: Path | None, plugins: list[str]) -> Generator[Event]:
    """Go on with what is in the folder where that is possible; else begin again."""
    from ..errors import UserError
    from .resume import resume
    from .run import run
    from .run_folder import MANIFEST
    from .run_lock import locked

    if folder.exists():
        with locked(folder):
            pass  # another process may be at work in it
        if (folder / MANIFEST).is_file():
            events = resume(folder, data_root=root)
            try:
                first = next(events, None)
            except UserError:
                first = None  # it cannot go on: its store is damaged, or this kind of run never can
            if first is not None:
                yield first
                yield from events
                return
            # Else it has ended and is wanted all the same: then its record is damaged.
        shutil.rmtree(folder)
    again = ["evermap", "run", str(folder / "scenario.toml")]
    again += [] if root is None else ["--data-root", str(root)]
    for file in plugins:
        again += ["--plugin", file]
    yield from run(recipe, folder, data_root=root, command=again)


def _prepare(task: Mapping[str, Any]) -> None:
    from .. import registry

    warnings.filterwarnings("ignore", "no QP solver found", UserWarning)  # qpsolvers, which Avalanche imports
    if not registry.plugin_files():
        for file in task["plugins"]:
            registry.add_file(Path(file))


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _said(error: Exception) -> str:
    from ..errors import EvermapError

    return str(error) if isinstance(error, EvermapError) else f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
