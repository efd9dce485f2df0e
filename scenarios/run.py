"""A run: the main loop, and the record that it leaves."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from ..agent.agent import LifelongAgent
from ..agent.agent_settings import AgentSettings
from ..agent.encoder import build_encoder
from ..agent.events import Evaluated, Event, Resumed, TaskStarted
from ..agent.resident import Peak
from ..agent.selector import Selector, make_selector
from ..agent.settings import configure
from ..agent.store import KnowledgeStore
from ..agent.strategy import Strategy, make_strategies
from ..errors import UserError
from ..registry import load
from ..streams.setting import Setting
from ..streams.stream import Stream, build_stream
from .baseline_run import contest
from .begin import begin_on
from .competitor import INDEPENDENT, is_competitor, parse
from .contender import contender
from .experience import carry
from .export import Export, commit_row, restored
from .facts import Facts, facts_of
from .independent import Independent, Told
from .manifest import ended, new_manifest
from .measures import Measures
from .run_folder import RunFolder, check_writable
from .run_lock import locked
from .scenario import Scenario, check_competitor, to_toml
from .settle import settled
from .started import started

Parts = tuple[Mapping[str, Strategy], Selector, AgentSettings]
Loop = Callable[[LifelongAgent, Stream, Measures], Generator[Event]]

# Without a task label, but with boundaries: models of tasks may answer. Everywhere else the anchor does.
GATED = (Setting.DOMAIN_INCREMENTAL, Setting.CLASS_INCREMENTAL)


def lifelong(agent: LifelongAgent, stream: Stream, measures: Measures) -> Generator[Event]:
    """Send an agent through a stream: the one loop of the program.

    Args:
        agent: What learns; it may have learned the first tasks already.
        stream: What arrives.
        measures: What tests it; it holds the rows of what was evaluated already.

    Yields:
        Everything that happens, in order.
    """
    if not measures.rows:
        yield from measures.start(agent)  # row 0: before any learning
    for phase in stream.phases(measures.counted):  # one task, or several that arrive together
        new = [task for task in phase if not agent.has_learned(task)]  # all, but where a run goes on
        if len(new) == len(phase):
            yield from agent.learn_together(phase)
        for task in new:
            yield agent.note(started(task, stream, agent.budget(task)))
            profile = agent.profile(task)  # what is known about it, what each stored encoder is worth here
            yield profile
            choice = yield from agent.select(task, profile)  # which strategy, from which source, and why
            learning = agent.learn(task, choice)  # within the budget
            outcome = yield from measures.during(learning, task, agent)  # looks on, where the recipe asks for it
            yield agent.remember(task, outcome)  # one transaction in the store
            yield from agent.made_room  # what was merged or evicted in it, where the recipe bounds the store
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
    return LifelongAgent(store, *parts_of(scenario))


def parts_of(scenario: Scenario) -> Parts:
    """Make what an agent is made of, so that what cannot be made is found before a store is opened.

    Sets torch to one thread: small networks are fastest with it, and results must not depend on their number.

    Args:
        scenario: The recipe.

    Returns:
        Strategies, selector and settings.

    Raises:
        UserError: As in `make_agent`.
    """
    torch.set_num_threads(1)
    spec, budget = scenario.agent, scenario.budget
    competes = is_competitor(spec.selector)
    configure(load("encoder", spec.encoder).Settings, spec.encoder_settings, "agent.encoder_settings")
    strategies = make_strategies(scenario.strategies)
    settings = AgentSettings(
        **spec.model_dump(exclude={"selector", "gate"}),
        gate=spec.gate and scenario.stream.setting in GATED,
        scratch=budget.scratch,
        flops=budget.flops,
        pause_every=scenario.evaluate_units,
        probe_share=budget.probe,
        consolidate_share=budget.consolidate,
        store_bytes=budget.bytes,
        store_encoders=budget.encoders,
        seed=scenario.seed,
        device=_device(scenario.device),
    )
    if competes:  # nothing is asked of it without the task; what competes brings its own answers
        settings = replace(settings, gate=False, anchor="none")
    return strategies, make_selector("fixed:scratch" if competes else spec.selector, strategies), settings


def check_agent(scenario: Scenario, shape: tuple[int, ...]) -> Parts:
    """Check that the agent of a recipe can be made, and that its networks take the stream's inputs.

    Stem and encoder are built without weights, so that this costs next to nothing.

    Args:
        scenario: The recipe.
        shape: Shape of one input of its stream.

    Returns:
        What the agent is made of.

    Raises:
        UserError: If it cannot; says which setting is in the way.
    """
    parts, spec = parts_of(scenario), scenario.agent
    with torch.device("meta"):
        if spec.stem != "none":
            shape = (build_encoder(spec.stem, shape, {}, seed=0).feature_size,)
        build_encoder(spec.encoder, shape, spec.encoder_settings, seed=0)
    return parts


def run(
    scenario: Scenario,
    out: Path,
    *,
    store: Path | None = None,
    priors: Sequence[Path] = (),
    data_root: Path | None = None,
    command: Sequence[str] = (),
    loop: Loop = lifelong,
) -> Generator[Event]:
    """Run a scenario and leave its record.

    After every finished task the folder holds a complete record of the run so far, however it ends.

    Args:
        scenario: The recipe.
        out: An empty folder.
        store: The folder of a run, or of a store, whose knowledge the agent begins with. It is copied: the other
            store stays as it is.
        priors: Folders of runs whose selectors' experience the new one begins with, added up.
        data_root: Folder of the user's data sets.
        command: The command that makes the run again; left out: running the record's own recipe.
        loop: What sends the agent through the stream: the main loop, or one that looks on while it runs.

    Yields:
        Everything that happens, in order.

    Raises:
        UserError: If the recipe cannot be run, or a strategy breaks; the record up to there is kept.
    """
    check_writable(out)
    stream = build_stream(scenario.stream, scenario.seed, data_root)
    parts = strategies, _, settings = check_agent(scenario, stream.input_shape)
    check_competitor(scenario, stream.plans(), "--agent")
    recipe = to_toml(settled(scenario, strategies, settings, stream.input_shape))
    folder = RunFolder(out)
    manifest = new_manifest(
        run_id=out.resolve().name,
        scenario=scenario.name,
        agent=scenario.agent.selector,
        seed=scenario.seed,
        recipe=recipe,
        data_hash=stream.data_hash,
        command=command or _again(out, data_root),
    )
    if is_competitor(scenario.agent.selector) and parse(scenario.agent.selector).name != INDEPENDENT:
        for option, given in (("--store", store), ("--prior", priors[0] if priors else None)):
            if given is not None:
                raise UserError(
                    f"{option} {given}: {scenario.agent.selector} begins with nothing; leave the option out."
                )
        with locked(out):
            folder.write_scenario(recipe)
            yield from _contest(scenario, parts, stream, folder, manifest)
        return
    with locked(out):
        facts = facts_of(recipe, stream, parts[2].device, parts[0])
        if store is not None:
            facts["earlier"], manifest["continues"] = begin_on(store, out / "store", scenario, facts)
        if priors:
            facts["priors"] = manifest["priors"] = carry(priors, out / "store", parts[1])
        folder.write_scenario(recipe)
        yield from session(scenario, parts, stream, folder, manifest, facts, loop=loop)


def session(
    scenario: Scenario,
    parts: Parts,
    stream: Stream,
    folder: RunFolder,
    manifest: Mapping[str, Any],
    facts: Facts,
    resumed: tuple[str, ...] | None = None,
    loop: Loop = lifelong,
) -> Generator[Event]:
    """Send the agent through what is left of the stream.

    Args:
        scenario: The recipe.
        parts: What the agent is made of.
        stream: The stream.
        folder: Where the record is; its lock is held.
        manifest: What the run is; it is written when the run begins and when it ends.
        facts: What decides the results, to be kept with the store.
        resumed: Where a run goes on, what has changed; None where it begins.
        loop: As in `run`.

    Yields:
        Everything that happens from here on; what happened before is in the record.
    """
    status, kept, peak = "failed", "", Peak()
    folder.write_manifest(manifest)
    try:
        with KnowledgeStore.open(folder.path / "store") as store:
            if not facts.items() <= store.manifest().items():
                with store.transaction() as t:
                    for key, value in facts.items():
                        t.set_manifest(key, value)
            if resumed is not None:
                store.collect_garbage()  # what a killed process wrote and did not commit
            agent, measures = LifelongAgent(store, *parts), restored(scenario, stream, store)
            if scenario.agent.selector == INDEPENDENT:  # a reference: it is told what it is asked about
                agent = Independent(store, *parts, stream)
                measures = restored(scenario, cast(Stream, Told(stream)), store)
            export = Export(folder, store, measures)
            try:
                export()
                if resumed is not None:
                    yield Resumed(store.learned(), len(stream), measures.rows, resumed)
                for event in loop(agent, stream, measures):
                    if isinstance(event, TaskStarted):
                        peak.begin_task()
                    if isinstance(event, Evaluated):
                        commit_row(store, measures, event)
                        export()
                    yield event
                status = "finished"
            finally:
                export()
                kept = f"{store.learned()} of {len(stream)} tasks, {measures.rows} rows of the accuracy matrix"
    except (KeyboardInterrupt, GeneratorExit):
        status = "interrupted"
        raise
    finally:
        folder.write_manifest(ended(manifest, status, kept, peak_bytes=peak.most))


def _contest(
    scenario: Scenario, parts: Parts, stream: Stream, folder: RunFolder, manifest: Mapping[str, Any]
) -> Generator[Event]:
    """Send a competitor through the stream in the agent's place."""
    competitor = parse(scenario.agent.selector)
    with KnowledgeStore.in_memory() as store:
        agent = LifelongAgent(store, *parts)
        made = contender(competitor, stream, parts[2], parts[0]["scratch"].settings)
        yield from contest(scenario, agent, stream, made, folder, manifest)


def _again(out: Path, data_root: Path | None) -> tuple[str, ...]:
    """Return the command that runs the record's own recipe on the same data."""
    where = () if data_root is None else ("--data-root", str(data_root.absolute()))
    return ("evermap", "run", str(out / "scenario.toml"), *where)


def _device(wanted: str) -> str:
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device here; use --device cpu or auto.")
    return wanted
