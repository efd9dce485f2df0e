"""A strategy of Avalanche's that the user builds in Python, run like a competitor that evermap knows by name."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from ..agent.agent import LifelongAgent
from ..agent.events import Event
from ..agent.store import KnowledgeStore
from ..streams.stream import build_stream
from .baseline_run import contest
from .baselines import Build
from .competitor import PREFIX
from .contender import own_contender
from .manifest import new_manifest
from .run import parts_of
from .run_folder import RunFolder, check_writable
from .run_lock import locked
from .scenario import Scenario, to_toml


def run_strategy(
    make: Build,
    scenario: Scenario,
    out: Path,
    *,
    name: str = "mine",
    passes_after: float = 0.0,
    data_root: Path | None = None,
    **settings: Any,
) -> Generator[Event]:
    """Run a strategy of the user's on a scenario and leave a record, as `run` does.

    The strategy may be any subclass of Avalanche's `SupervisedTemplate` (or of `SupervisedMetaLearningTemplate`). Its
    number of epochs should be out of reach, as in `materials.common`: the budget ends its training.

    Args:
        make: Builds it: `lambda m: Naive(**m.common(m.network()), plugins=[MyPlugin()])`. It is given `Materials`: a
            network, an optimiser, the constructor's usual arguments, the shape of inputs, the number of classes.
        scenario: The recipe; classification only. Who learns in it (`agent.selector`) is replaced by the strategy.
        out: An empty folder.
        name: What it is called in reports.
        passes_after: Work that it does after a task, in passes over the task's samples at a training step's cost;
            so much of the budget is kept back at first, and what it took afterwards.
        data_root: Folder of the user's data sets.
        **settings: Those that all methods have: `lr`, `optimiser`, `momentum`, `batch_size`, `epochs`, `shuffle`.

    Yields:
        Everything that happens, in order.

    Raises:
        UserError: If the recipe cannot be run, or the strategy breaks; the record up to there is kept.
    """
    check_writable(out)
    text = f"{PREFIX}:{name}"
    agent_spec = scenario.agent.model_copy(update={"selector": f"{PREFIX}:Naive"})
    scenario = scenario.model_copy(update={"agent": agent_spec})
    stream = build_stream(scenario.stream, scenario.seed, data_root)
    parts = parts_of(scenario)
    recipe = to_toml(scenario.model_copy(update={"agent": agent_spec.model_copy(update={"selector": text})}))
    manifest = new_manifest(
        run_id=out.resolve().name,
        scenario=scenario.name,
        agent=text,
        seed=scenario.seed,
        recipe=recipe,
        data_hash=stream.data_hash,
    )
    with locked(out), KnowledgeStore.in_memory() as store:
        folder = RunFolder(out)
        folder.write_scenario(recipe)
        made = own_contender(make, text, stream, parts[2], settings, passes_after)
        yield from contest(scenario, LifelongAgent(store, *parts), stream, made, folder, manifest)
