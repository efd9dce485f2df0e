"""The cells of a comparison: one run per scenario, agent and seed, each in a folder that its recipe names."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import registry
from ..errors import RecipeError, RecordError, UserError
from .manifest import versions
from .outcomes import Outcome
from .record import read_record
from .scenario import Scenario, load_scenario, recipe_hash

FOLDER = "cells"


@dataclass(frozen=True)
class Grid:
    """What is compared with what.

    Attributes:
        scenarios: Names or files, as typed.
        agents: Agent strings, as `evermap run` takes them.
        seeds: In ascending order.
        sets: Changes of every recipe, each "path=value".
        size: "default" or "short".
        data_root: Folder of the user's data sets.
        download: Whether published data sets that are missing are fetched into it.
        plugins: Plug-in files, which are loaded already.
    """

    scenarios: tuple[str, ...]
    agents: tuple[str, ...]
    seeds: tuple[int, ...]
    sets: tuple[str, ...] = ()
    size: str = "default"
    data_root: Path | None = None
    download: bool = False
    plugins: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One run of a comparison.

    Attributes:
        scenario: As typed.
        label: The scenario's name in tables: that of its recipe, or as typed where two recipes share theirs.
        agent: The agent string.
        seed: The seed.
        sets: Changes of the recipe, those of agent and seed among them.
        folder: Where its record is or will be.
        name: The agent's name in tables.
    """

    scenario: str
    label: str
    agent: str
    seed: int
    sets: tuple[str, ...]
    folder: Path
    name: str


def cells_of(grid: Grid, out: Path) -> list[Cell]:
    """List the cells of a comparison, seed by seed, so that what is done first can be paired.

    Args:
        grid: What is compared.
        out: Folder of the comparison.

    Returns:
        The cells; the folder of each is named for its scenario, agent, seed, and what else decides its results.

    Raises:
        UserError: If a scenario or an agent is named twice, or one of the recipes is wrong.
    """
    for option, words in (("scenario", grid.scenarios), ("--with", grid.agents)):
        for word in words:
            if words.count(word) > 1:
                raise UserError(f"{option} {word}: is given twice; once is enough.")
    recipes: dict[tuple[str, str], Scenario] = {}
    for scenario in grid.scenarios:
        for agent in grid.agents:
            recipes[scenario, agent] = _recipe(grid, scenario, agent, grid.seeds[0])
    names = [recipes[scenario, grid.agents[0]].name for scenario in grid.scenarios]
    found = []
    for scenario, name in zip(grid.scenarios, names, strict=True):
        label = name if names.count(name) == 1 else scenario
        for seed in grid.seeds:
            for agent in grid.agents:
                recipe = recipes[scenario, agent].model_copy(update={"seed": seed})
                sets = _sets(grid.sets, agent, seed)
                found.append(Cell(scenario, label, agent, seed, sets, _folder(out, recipe, agent), agent))
    return found


def bounded_cell(grid: Grid, cell: Cell, stored: int, name: str, out: Path) -> Cell:
    """Make the cell of the same agent with its store bounded.

    Args:
        grid: What is compared.
        cell: The agent without a bound.
        stored: Bytes that its store may hold.
        name: What the bounded agent is called.
        out: Folder of the comparison.

    Returns:
        Another cell, of the same scenario, agent and seed.

    Raises:
        UserError: If the recipe does not take such a bound.
    """
    sets = _sets((*grid.sets, f"budget.bytes={stored}"), cell.agent, cell.seed)
    recipe = load_scenario(cell.scenario, sets, grid.data_root, size=grid.size)
    return replace(cell, sets=sets, folder=_folder(out, recipe, cell.agent), name=name)


def finished(cell: Cell, data: str | None = None) -> bool:
    """Tell whether a cell has been run to its end and its record can be read whole.

    Args:
        cell: The cell.
        data: Hash of the samples that a run of it would see now; a run on other ones does not count. None where it is
            not known.
    """
    try:
        record = read_record(cell.folder)
    except RecordError:
        return False
    if data is not None and record.manifest.get("data_sha256") != data:
        return False
    return record.manifest["status"] == "finished" and record.matrix is not None and not record.problems


def named(cell: Cell, outcome: Outcome) -> Outcome:
    """Call what a run came to by the names of its cell."""
    return replace(outcome, scenario=cell.label, agent=cell.name)


def _recipe(grid: Grid, scenario: str, agent: str, seed: int) -> Scenario:
    """Read a recipe; what `--with` has set is not blamed on `--set`."""
    for text in grid.sets:
        field = text.partition("=")[0].strip()
        if field in ("seed", "agent.selector"):
            option = "--seeds" if field == "seed" else "--with"
            raise RecipeError("--set", field, text.partition("=")[2], f"{option} decides it in a comparison")
    try:
        sets = _sets(grid.sets, agent, seed)
        return load_scenario(scenario, sets, grid.data_root, download=grid.download, size=grid.size)
    except RecipeError as error:
        raise error.at("--with") if error.field == "agent.selector" else error from None


def _sets(sets: Sequence[str], agent: str, seed: int) -> tuple[str, ...]:
    return (*sets, f"agent.selector={json.dumps(agent)}", f"seed={seed}")


def _folder(out: Path, recipe: Scenario, agent: str) -> Path:
    decides: dict[str, Any] = {
        "recipe": recipe_hash(recipe),
        "versions": versions(),
        "plugins": registry.plugin_files(),
    }
    key = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    words = [re.sub(r"[^\w.+-]+", "-", each).strip("-.") or "unnamed" for each in (recipe.name, agent)]
    return out / FOLDER / f"{words[0][:50]}_{words[1][:50]}_seed{recipe.seed}_{key[:12]}"
