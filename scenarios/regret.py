"""Regret: an agent's run with every arm run beside it, and the runs of the fixed strategies that it is held against.

This module and `arms` hold the agent and the test sets together; nothing of it reaches the agent. A *cell* is one
(scenario, agent, seed): the folder of an ordinary run, `DIR/<scenario>/<agent>/seed<seed>`, with `arms.jsonl` and
`answers.jsonl` beside it where every arm was run. A cell that is finished is kept and not run again.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ..agent.agent import LifelongAgent
from ..agent.events import Event, Learned, Profiled, Remembered
from ..errors import EvermapError, OutputError, UnknownName, UserError
from ..registry import add_file, registered
from ..streams.stream import Stream
from .arm_table import ANSWERS, ARMS, append
from .arms import SOURCES, Arms
from .existing_runs import ExistingRuns as ExistingRuns  # whoever plans may take runs from there
from .measures import Measures
from .regret_summary import NO_LABEL, Part
from .run import Loop, lifelong, run
from .run_folder import write_atomically
from .scenario import Scenario, recipe_hash

# Says that a cell is finished, and what it is the cell of.
CELL = "cell.json"
FORMAT = 1


@dataclass(frozen=True)
class Cell:
    """One run of a comparison.

    Attributes:
        scenario: The recipe, with its agent and its seed.
        folder: Where it is recorded.
        arms: Whether every arm is run beside the agent.
        sources: Stored encoders from which each strategy is tried at most.
        data_root: Folder of the user's data sets.
    """

    scenario: Scenario
    folder: Path
    arms: bool
    sources: int = SOURCES
    data_root: Path | None = None

    @property
    def title(self) -> str:
        """Scenario, agent and seed, in words."""
        return f"{self.scenario.name}, {self.scenario.agent.selector}, seed {self.scenario.seed}"


@dataclass(frozen=True)
class Done:
    """A cell that is there.

    Attributes:
        cell: The cell.
        kept: Whether it was there before.
    """

    cell: Cell
    kept: bool


def looking_on(folder: Path, sources: int) -> Loop:
    """Make a main loop that runs every arm beside the agent and records it.

    Args:
        folder: Where the tables are written.
        sources: Stored encoders from which each strategy is tried at most.

    Returns:
        A loop for `run`; what it yields is what `lifelong` yields.
    """

    def loop(agent: LifelongAgent, stream: Stream, measures: Measures) -> Generator[Event]:
        arms = Arms(agent, stream, sources)
        learned: Learned | None = None
        for event in lifelong(agent, stream, measures):
            if isinstance(event, Profiled):  # nothing of the task is stored, and nothing is chosen
                append(folder / ARMS, arms.run(stream.task(event.task)))
            elif isinstance(event, Learned):
                learned = event
                append(folder / ARMS, arms.missing(stream.task(event.task), event))
            elif isinstance(event, Remembered) and learned is not None:
                append(folder / ANSWERS, [arms.answer(stream.task(event.task), learned, event)])
            yield event

    return loop


def run_cell(cell: Cell) -> Done:
    """Run a cell, unless it is finished; one that was cut off begins anew.

    Args:
        cell: The cell.

    Returns:
        What is there now.

    Raises:
        OutputError: If its folder holds something else.
        UserError: As in `run`.
    """
    if is_finished(cell):
        return Done(cell, kept=True)
    if cell.folder.exists():
        _clear(cell)
    cell.folder.parent.mkdir(parents=True, exist_ok=True)
    loop = looking_on(cell.folder, cell.sources) if cell.arms else lifelong
    for _ in run(cell.scenario, cell.folder, data_root=cell.data_root, loop=loop):
        pass
    write_atomically(cell.folder / CELL, json.dumps(_facts(cell), indent=2) + "\n")
    return Done(cell, kept=False)


def run_cells(cells: Sequence[Cell], jobs: int = 1, plugins: Sequence[Path] = ()) -> Iterator[Done]:
    """Run cells, several at a time; each worker process runs one after another.

    Args:
        cells: The cells.
        jobs: Worker processes; with 1 everything happens in this process.
        plugins: Files of plug-ins that are loaded in each of them.

    Yields:
        Each cell as it is done.

    Raises:
        UserError: As in `run_cell`; what was finished before is kept.
    """
    there = [(cell, is_finished(cell)) for cell in cells]
    yield from (Done(cell, kept=True) for cell, finished in there if finished)
    missing = [cell for cell, finished in there if not finished]
    if jobs <= 1 or len(missing) < 2:
        yield from map(run_cell, missing)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), _begin, (tuple(plugins),)) as pool:
        running = [pool.submit(_in_worker, cell) for cell in missing]
        try:
            for each in as_completed(running):
                yield each.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def planned(
    recipes: Sequence[Scenario],
    seeds: Sequence[int],
    fixed: Sequence[str],
    out: Path,
    *,
    sources: int = SOURCES,
    data_root: Path | None = None,
) -> tuple[list[Part], list[Cell]]:
    """Plan the cells that the regret of an agent needs.

    Args:
        recipes: The scenarios, with the agent; their seeds are replaced.
        seeds: The seeds.
        fixed: Strategies that it is held against.
        out: Where everything is kept.
        sources: Stored encoders from which each strategy is tried at most.
        data_root: Folder of the user's data sets.

    Returns:
        What there will be of each scenario, and the cells: per seed the agent's own, with every arm, then those of the
        fixed strategies. A scenario whose setting gives no task label is left out and has no cells.

    Raises:
        UserError: If the agent is none that chooses, a strategy is unknown, or two scenarios have one name.
    """
    known = registered("strategy")
    for name in fixed:
        if name not in known:
            raise UnknownName("strategy", name, known)
    names = [recipe.name for recipe in recipes]
    for recipe in recipes:
        if recipe.agent.selector.partition(":")[0] not in registered("selector"):
            raise UserError(
                f"--agent {recipe.agent.selector}: regret is that of an agent that chooses; this one does not."
            )
        if names.count(recipe.name) > 1:
            raise UserError(f"Two scenarios are called {recipe.name!r}; each is kept under its name.")
    parts, cells = [], []
    for recipe in recipes:
        if not recipe.stream.setting.label_when_asked:
            parts.append(Part(recipe.name, tuple(seeds), left_out=NO_LABEL))
            continue

        def cell(agent: str, seed: int, arms: bool, recipe: Scenario = recipe) -> Cell:
            spec = recipe.agent.model_copy(update={"selector": agent})
            folder = cell_folder(out, recipe.name, agent, seed, arms)
            one = recipe.model_copy(update={"agent": spec, "seed": seed})
            return Cell(one, folder, arms, sources if arms else 0, data_root)

        mine = [cell(recipe.agent.selector, seed, True) for seed in seeds]
        others = {name: [cell(f"fixed:{name}", seed, False) for seed in seeds] for name in fixed}
        folders = {name: tuple(each.folder for each in those) for name, those in others.items()}
        parts.append(Part(recipe.name, tuple(seeds), tuple(each.folder for each in mine), folders))
        cells += [each for several in zip(mine, *others.values(), strict=True) for each in several]
    return parts, cells


def taken_from(
    runs: ExistingRuns, parts: Sequence[Part], cells: Sequence[Cell]
) -> tuple[list[Part], list[Cell], list[Path]]:
    """Take fixed strategies from runs that are there already; the agent's own cells must be finished.

    Args:
        runs: The runs.
        parts: What there will be of each scenario.
        cells: The cells of fixed strategies.

    Returns:
        The parts with the folders of those runs, the cells that are still needed, and the folders.
    """
    instead: dict[Path, Path] = {}
    for part in parts:
        for name, folders in (part.fixed or {}).items():
            for mine, folder in zip(part.agents, folders, strict=True):
                found = None if (folder / CELL).is_file() else runs.like(mine, f"fixed:{name}")
                if found is not None:
                    instead[folder] = found
    changed = [
        part
        if part.fixed is None
        else replace(part, fixed={n: tuple(instead.get(f, f) for f in each) for n, each in part.fixed.items()})
        for part in parts
    ]
    return changed, [cell for cell in cells if cell.folder not in instead], list(instead.values())


def cell_folder(out: Path, scenario: str, agent: str, seed: int, arms: bool = False) -> Path:
    """Say where a cell is kept.

    Args:
        out: Where all are kept.
        scenario: Name of the scenario.
        agent: The agent.
        seed: The seed.
        arms: Whether every arm is run beside it; such a cell has a folder of its own.
    """
    names = [re.sub(r"[^\w.+-]+", "-", each).strip("-.") or "unnamed" for each in (scenario, agent)]
    return out / names[0] / (f"{names[1]}+arms" if arms else names[1]) / f"seed{seed}"


def _facts(cell: Cell) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "recipe_sha256": recipe_hash(cell.scenario),
        "arms": cell.arms,
        "sources": cell.sources,
    }


def is_finished(cell: Cell) -> bool:
    """Tell whether a cell is there, whole, and of the recipe that is asked for.

    Args:
        cell: The cell.
    """
    path = cell.folder / CELL
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot be read ({error}); remove the folder to run it again.") from None
    if found != _facts(cell):
        raise OutputError(
            f"{cell.folder}: holds {cell.title} with other settings; give another --out, or remove the folder."
        )
    return True


def _clear(cell: Cell) -> None:
    """Remove what a cell that was cut off has left, and nothing else."""
    held = {path.name for path in cell.folder.iterdir()} if cell.folder.is_dir() else {""}
    if held and "manifest.json" not in held:
        raise OutputError(f"--out {cell.folder}: holds something that is no run; give another --out.")
    shutil.rmtree(cell.folder)


def _in_worker(cell: Cell) -> Done:
    """Run a cell in a worker process; an error comes back as its sentence, for not every one survives the journey."""
    try:
        return run_cell(cell)
    except EvermapError as error:
        kind = UserError if isinstance(error, UserError) else EvermapError
        raise kind(f"{cell.title}: {error}") from None


def _begin(plugins: Sequence[Path]) -> None:
    """Get a worker process ready."""
    import warnings

    warnings.filterwarnings("ignore", "no QP solver found", UserWarning)
    for file in plugins:
        add_file(file)
