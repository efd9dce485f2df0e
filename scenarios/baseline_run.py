"""A run of a competitor: the same tasks, budget and measurement as an agent's, and the same kind of record."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from ..agent.agent import LifelongAgent
from ..agent.answer import Answer
from ..agent.budget import Ledger
from ..agent.encoder import Encoder
from ..agent.events import Chosen, Evaluated, EvaluatedDuring, Event, Learned, Paused, Remembered, TaskStarted
from ..agent.resident import Peak, peak_bytes
from ..errors import flop_count
from ..streams.seeds import derive
from ..streams.stream import Stream
from ..streams.task import Samples, Task
from .bytes_kept import Kept
from .manifest import ended
from .measures import Measures
from .onlooker import Midway, Pause, Says
from .run_folder import RunFolder
from .scenario import Scenario
from .started import started

# What its one network stands under where a record names stored entries.
MODEL, NETWORK = "model", "network"
WAITING = "it learns once, when the last task has come"


class Learner(Protocol):
    """What learns tasks within budgets, and answers; inputs come through the agent's stem."""

    def learn(self, task: Task, limit: float, due: bool, pause: Pause | None) -> None:
        """Learn a task within so many FLOPs; `due` says whether it is evaluated next, `pause` who looks on."""

    def answer(self, x: Tensor, label: int | None) -> Answer:
        """Answer for inputs, shape `(n, *shape)`; `label` is the task label where the setting gives one."""

    def kept(self, task: int) -> Kept:
        """Add up the bytes that it keeps after a task."""

    @property
    def spent(self) -> tuple[float, float, int, str]:
        """FLOPs, CPU seconds and steps that the last task took, and why it ended."""


class Contestant:
    """A learner in an agent's place: with the agent's stem, budget and device."""

    def __init__(self, agent: LifelongAgent, make: Callable[[Encoder, Task], Learner], stream: Stream) -> None:
        """Make the learner.

        Args:
            agent: Lends stem, budget and the weights to begin with; it learns nothing.
            make: Makes the learner of the network that `scratch` begins with and of the first task.
            stream: Its first task decides the stem's filters and the shape of the network's inputs.
        """
        self._agent = agent
        first = agent.library.view_task(stream.task(0))
        rng = torch.Generator().manual_seed(derive(agent.settings.seed, first.index, "arm", "scratch", ""))
        self.learner = make(agent.library.known_for(first).fresh(first, rng).encoder, first)

    def budget(self, task: Task) -> float:
        """Tell what may be spent on a task, in FLOPs: what an agent may."""
        return self._agent.budget(task)

    def learn(self, task: Task, limit: float, due: bool, pause: Pause | None = None) -> Learned:
        """Learn a task as it came, with its query part where an agent would meta-train on that as well.

        Args:
            task: The task.
            limit: What may be spent on it in all.
            due: Whether it is evaluated next.
            pause: Who looks on while it learns; None for nobody.

        Returns:
            The account.
        """
        ledger = Ledger(limit)
        with ledger.counting("profile"):
            seen = self._agent.library.view_task(task)
        if self._agent.settings.episode_memory:
            seen = _with_query(seen)
        self.learner.learn(seen, ledger.left, due, pause)
        flops, seconds, steps, stopped = self.learner.spent
        ledger.pay("learn", flops, seconds)
        return Learned(
            task=task.index,
            strategy="",
            source=None,
            units=steps,
            best_unit=steps,
            stopped=stopped,
            loss=None,
            accuracy=None,
            held_out=0,
            flops=flops,
            total_flops=ledger.spent,
            seconds=sum(ledger.seconds.values()),
            peak_bytes=peak_bytes(),
        )

    def answer(self, x: Tensor, label: int | None) -> Answer:
        """Answer for inputs as they come, shape `(n, *input_shape)`."""
        return self.learner.answer(self.view(x), label)

    @torch.no_grad()
    def view(self, x: Tensor) -> Tensor:
        """Send the inputs of a question through the agent's stem."""
        return self._agent.library.view_asked(x.to(self._agent.settings.device))


@dataclass(frozen=True)
class Contender:
    """What competes.

    Attributes:
        name: Its name, in the place of a strategy's.
        reason: One sentence on what it is and how it is set.
        make: Makes the learner of the network that `scratch` begins with and of the first task.
        sums: Whether a training may cost what all tasks so far may.
        waits: Whether it learns once, when the last task has come.
    """

    name: str
    reason: str
    make: Callable[[Encoder, Task], Learner]
    sums: bool = False
    waits: bool = False


def compete(
    contestant: Contestant, contender: Contender, stream: Stream, measures: Measures, every: int, units: int = 0
) -> Generator[Event]:
    """Send a competitor through a stream.

    Tasks that arrive together are learned one after another, and evaluated when all of them are.

    Args:
        contestant: What learns.
        contender: What it is.
        stream: What arrives.
        measures: What tests it.
        every: Tasks between two rows.
        units: Units of work between two evaluations while a task is learned; 0: there are none.

    Yields:
        Everything that happens, in order; what was evaluated while a task was learned, once it is.
    """
    yield from measures.start(contestant)
    total, kept_before = 0.0, 0
    for phase in stream.phases():
        for task in phase:
            budget, final = contestant.budget(task), task.index == len(stream) - 1
            total += budget
            yield started(task, stream, budget)
            yield Chosen(task=task.index, strategy=contender.name, source=None, reason=contender.reason)
            due = final or (task is phase[-1] and task.index + 1 - measures.counted >= every)
            whole, looks = total if contender.sums else budget, list[EvaluatedDuring]()
            pause = Pause(units, _look(contestant, contender, measures, task, whole, looks)) if units else None
            learned = contestant.learn(task, total if contender.waits else budget, due, pause)
            yield from looks
            notes = _notes(learned.total_flops, whole)
            notes += (WAITING,) if contender.waits and not final else ()
            yield replace(learned, strategy=contender.name, warnings=notes)
            kept = contestant.learner.kept(task.index)
            yield kept
            yield Remembered(
                task=task.index,
                model=MODEL,
                encoder=NETWORK,
                parent=None,
                new_bytes=kept.total - kept_before,
                store_bytes=kept.total,
                encoders=1,
                sample_bytes=kept.samples,
            )
            kept_before = kept.total
        yield from measures.after(phase[-1], contestant)


def contest(
    scenario: Scenario,
    agent: LifelongAgent,
    stream: Stream,
    contender: Contender,
    folder: RunFolder,
    manifest: Mapping[str, Any],
) -> Generator[Event]:
    """Run a competitor and leave its record, complete after every row however it ends.

    Args:
        scenario: The recipe.
        agent: As in `Contestant`.
        stream: The stream.
        contender: What competes.
        folder: Where the record is; its lock is held.
        manifest: What the run is.

    Yields:
        Everything that happens.

    Raises:
        UserError: If the competitor cannot be built, which leaves no record, or breaks.
    """
    contestant = Contestant(agent, contender.make, stream)
    every = len(stream) if contender.waits else scenario.evaluate_every
    measures = Measures(stream, evaluate_every=every)
    status, waiting, during = "failed", list[Event](), list[dict[str, Any]]()
    peak = Peak()
    folder.write_manifest(manifest)
    folder.write_events(())
    try:
        for event in compete(contestant, contender, stream, measures, every, scenario.evaluate_units):
            waiting.append(event)
            if isinstance(event, TaskStarted):
                peak.begin_task()
            during += [event.to_json()] if isinstance(event, EvaluatedDuring) else []
            if isinstance(event, Evaluated):
                folder.append_events(each.to_json() for each in waiting)
                waiting.clear()
                folder.write_matrix(measures.matrix())
                folder.write_avalanche(measures.avalanche_values())
                if during:
                    folder.write_during(measures.columns, during)
            yield event
        status = "finished"
    except (KeyboardInterrupt, GeneratorExit):
        status = "interrupted"
        raise
    finally:
        said = f"{measures.counted} of {len(stream)} tasks, {measures.rows} rows of the accuracy matrix"
        folder.write_manifest(ended(manifest, status, said, peak_bytes=peak.most))


def _look(
    contestant: Contestant,
    contender: Contender,
    measures: Measures,
    task: Task,
    limit: float,
    to: list[EvaluatedDuring],
) -> Callable[[int, float, Says], None]:
    """Make what evaluates a learner in the middle of a task, and puts down what was found."""

    def look(done: int, flops: float, says: Says) -> None:
        paused = Paused(task.index, contender.name, None, done, flops, min(1.0, flops / limit))
        to.append(measures.look(paused, Midway(contestant.view, says, task.classes)))

    return look


def _with_query(task: Task) -> Task:
    """Put the query part among what is learned from: an agent that keeps episodes trains on both parts of them."""
    if task.query is None:
        return task
    parts = task.support, task.query
    together = Samples(torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts]))
    return replace(task, support=together, query=None)


def _notes(spent: float, limit: float) -> tuple[str, ...]:
    if spent <= limit:
        return ()
    return (
        f"the budget was passed: {flop_count(spent)} were spent of {flop_count(limit)}; "
        "a first unit is done whatever it costs",
    )
