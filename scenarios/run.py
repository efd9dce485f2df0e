"""A run: the main loop, and the record that it leaves."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from ..agent.agent import LifelongAgent
from ..agent.agent_settings import AgentSettings
from ..agent.events import Evaluated, Event, TaskStarted
from ..agent.selector import Selector, make_selector
from ..agent.store import KnowledgeStore
from ..agent.strategy import Strategy, make_strategies
from ..errors import UserError
from ..streams.stream import Stream, build_stream
from ..streams.task import Task
from .manifest import ended, new_manifest
from .measures import Measures
from .run_folder import RunFolder, check_writable
from .scenario import Scenario, to_toml


def lifelong(agent: LifelongAgent, stream: Stream, measures: Measures) -> Generator[Event]:
    """Send an agent through a stream: the one loop of the program.

    Args:
        agent: What learns.
        stream: What arrives.
        measures: What tests it.

    Yields:
        Everything that happens, in order.
    """
    yield from measures.start(agent)  # row 0: before any learning
    for phase in stream.phases():  # one task, or several that arrive together
        yield from agent.learn_together(phase)
        for task in phase:
            yield agent.note(_started(task, stream, agent))
            profile = agent.profile(task)  # what is known about it, what each stored encoder is worth here
            yield profile
            choice = yield from agent.select(task, profile)  # which strategy, from which source, and why
            outcome = yield from agent.learn(task, choice)  # within the budget
            yield agent.remember(task, outcome)  # one transaction in the store
        yield from measures.after(phase[-1], agent)  # Avalanche, over the whole test stream


def make_agent(scenario: Scenario, store: KnowledgeStore) -> LifelongAgent:
    """Make the agent that a recipe describes.

    Args:
        scenario: The recipe.
        store: What it knows already, or an empty store.

    Returns:
        The agent.

    Raises:
        UserError: If the recipe asks for a device or for settings that there are not.
    """
    return LifelongAgent(store, *_parts(scenario))


def check_agent(scenario: Scenario, stream: Stream) -> None:
    """Check that the agent of a recipe can be made, and that its networks take the stream's inputs.

    Args:
        scenario: The recipe.
        stream: Its stream.

    Raises:
        UserError: If it cannot; says which setting is in the way.
    """
    with KnowledgeStore.in_memory() as store:
        LifelongAgent(store, *_parts(scenario)).budget(stream.task(0))


def _parts(scenario: Scenario) -> tuple[Mapping[str, Strategy], Selector, AgentSettings]:
    """Make what an agent is made of, so that what cannot be made is found before a store is opened."""
    spec, budget = scenario.agent, scenario.budget
    strategies = make_strategies(scenario.strategies)
    settings = AgentSettings(
        **spec.model_dump(exclude={"selector"}),
        scratch=budget.scratch,
        flops=budget.flops,
        probe_share=budget.probe,
        consolidate_share=budget.consolidate,
        seed=scenario.seed,
        device=_device(scenario.device),
    )
    return strategies, make_selector(spec.selector, strategies), settings


def run(
    scenario: Scenario, out: Path, *, data_root: Path | None = None, command: Sequence[str] = ()
) -> Generator[Event]:
    """Run a scenario and leave its record.

    After every finished task the folder holds a complete record of the run so far, however it ends.

    Args:
        scenario: The recipe.
        out: An empty folder.
        data_root: Folder of the user's data sets.
        command: The command that makes the run again; left out: running the record's own recipe.

    Yields:
        Everything that happens, in order.

    Raises:
        UserError: If the recipe cannot be run, or a strategy breaks; the record up to there is kept.
    """
    parts = _parts(scenario)
    check_writable(out)
    stream = build_stream(scenario.stream, scenario.seed, data_root)
    folder, recipe = RunFolder(out), to_toml(scenario)
    manifest = new_manifest(
        run_id=out.resolve().name,
        scenario=scenario.name,
        agent=scenario.agent.selector,
        seed=scenario.seed,
        recipe=recipe,
        data_hash=stream.data_hash,
        command=command or ("evermap", "run", str(out / "scenario.toml")),
    )
    with KnowledgeStore.open(out / "store") as store:
        agent = LifelongAgent(store, *parts)
        folder.write_scenario(recipe)
        folder.write_manifest(manifest)
        measures = Measures(stream, evaluate_every=scenario.evaluate_every)
        status = "failed"
        try:
            for event in lifelong(agent, stream, measures):
                if isinstance(event, Evaluated):
                    _commit_row(store, measures, event)
                    _export(folder, store, measures)
                yield event
            status = "finished"
        except (KeyboardInterrupt, GeneratorExit):
            status = "interrupted"
            raise
        finally:
            _export(folder, store, measures)
            kept = f"{len(store.tasks())} of {len(stream)} tasks, {len(store.rows())} rows of the accuracy matrix"
            folder.write_manifest(ended(manifest, status, kept))


def _started(task: Task, stream: Stream, agent: LifelongAgent) -> TaskStarted:
    return TaskStarted(
        task=task.index,
        name=task.name,
        concept=stream.concept_of(task.index),
        tasks=len(stream),
        classes=task.classes,
        samples=len(task.support),
        query=len(task.query) if task.query is not None else 0,
        input_shape=task.input_shape,
        budget=agent.budget(task),
    )


def _commit_row(store: KnowledgeStore, measures: Measures, event: Evaluated) -> None:
    """The second transaction of a task: its row, with Avalanche's values of it."""
    values = [[name, value] for row, name, value in measures.avalanche_values() if row == event.row]
    store.add_row(event.row, event.task, {**asdict(event), "avalanche": values}, [event.to_json()])


def _export(folder: RunFolder, store: KnowledgeStore, measures: Measures) -> None:
    """Write what the catalog holds beside it, for whoever reads files."""
    folder.write_events(event.body for event in store.events())
    if store.rows():
        folder.write_matrix(measures.matrix())
        folder.write_avalanche(measures.avalanche_values())


def _device(wanted: str) -> str:
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device here; use --device cpu or auto.")
    return wanted
