"""A stream that is really learned, one task at a time, with somebody else choosing the strategy.

Holds the agent and the test sets together, as every measurement does; the chooser is given rewards, which come from
test sets, and profiles, which do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..agent.agent import LifelongAgent
from ..agent.events import Profiled
from ..agent.features import circumstances, features
from ..agent.selector import Choice, Option, Selector
from ..agent.store import KnowledgeStore
from ..agent.workbench import Workbench
from ..streams.stream import build_stream
from ..streams.task import Task
from .arms import bytes_added, result_of, worth_of
from .run import parts_of
from .scenario import Scenario


@dataclass(frozen=True)
class Situation:
    """A task before it is chosen for.

    Attributes:
        task: Position in the stream.
        features: The profile as numbers.
        applying: The strategies that apply.
    """

    task: int
    features: tuple[float, ...]
    applying: frozenset[str]


@dataclass(frozen=True)
class Consequence:
    """What came of a choice.

    Attributes:
        strategy: What answers: a stand-in where the strategy did not apply or failed.
        accuracy: On the task's test set (regression: R²).
        flops: FLOPs of everything done for the task but the work for later tasks.
        size: Bytes that its encoder and head have added to the store.
        forgetting: By how much the test sets of earlier tasks have lost, mean over them.
        budget: FLOPs that might be spent on it.
        task_bytes: Bytes of its support set.
    """

    strategy: str
    accuracy: float
    flops: float
    size: int
    forgetting: float
    budget: float
    task_bytes: int


class Driven(Selector):
    """Takes the strategy that it is told, from the source that stands first."""

    name = "driven"

    def __init__(self) -> None:
        """Nothing is told yet."""
        super().__init__()
        self.strategy = ""

    def select(
        self, task: Task, profile: Profiled, options: Sequence[Option], bench: Workbench, rng: torch.Generator
    ) -> Choice:
        """Do as told."""
        option = next(option for option in options if option.strategy == self.strategy)
        return Choice(self.strategy, option.source, "it was told to")


class Live:
    """One pass of an agent through a stream.

    Attributes:
        situation: The task at hand; None when the stream is over.
    """

    def __init__(self, scenario: Scenario, data_root: Path | None = None) -> None:
        """Begin with an empty store and profile the first task.

        Args:
            scenario: The recipe, with the seed of this pass; its selector is not asked.
            data_root: Folder of the user's data sets.

        Raises:
            UserError: If the recipe cannot be run.
        """
        strategies, _, settings = parts_of(scenario)
        self._stream = build_stream(scenario.stream, scenario.seed, data_root)
        self._driver = Driven()
        self._agent = LifelongAgent(KnowledgeStore.in_memory(), strategies, self._driver, settings)
        self._seen: dict[int, tuple[int | None, float]] = {}  # per concept its task label and its last value
        self._tasks = self._arriving()
        self.situation: Situation | None = None
        self._next()

    def act(self, strategy: str) -> Consequence:
        """Learn the task at hand; `situation` is the next one afterwards.

        Args:
            strategy: Registered name.

        Returns:
            What came of it.

        Raises:
            ValueError: If the stream is over.
            StrategyError: If the strategy breaks.
        """
        if self.situation is None:
            raise ValueError("the stream is over: reset it")
        agent, task = self._agent, self._task
        self._driver.strategy = strategy
        choice = result_of(agent.select(task, self._profile))
        outcome = result_of(agent.learn(task, choice))
        remembered = agent.remember(task, outcome)
        concept, label, learned = *self._where(task), outcome.learned
        accuracy = self._value(concept, label)
        consequence = Consequence(
            strategy=learned.strategy,
            accuracy=accuracy,
            flops=learned.total_flops - learned.consolidation,
            size=bytes_added(agent, task, remembered),
            forgetting=self._forgotten(concept),
            budget=agent.budget(task),
            task_bytes=task.support.x.nbytes + task.support.y.nbytes,
        )
        self._seen[concept] = label, accuracy
        self._next()
        return consequence

    def _arriving(self) -> Iterator[Task]:
        for phase in self._stream.phases():
            for _ in self._agent.learn_together(phase):
                pass
            yield from phase

    def _next(self) -> None:
        """Profile the next task, if there is one."""
        task = next(self._tasks, None)
        if task is None:
            self.situation = None
            return
        self._task, self._profile = task, self._agent.profile(task)
        bench = self._agent.workbench(task)
        applying = frozenset(option.strategy for option in bench.options() if option.why_not is None)
        self.situation = Situation(task.index, features(self._profile, circumstances(bench)), applying)

    def _where(self, task: Task) -> tuple[int, int | None]:
        return self._stream.concept_of(task.index), self._stream.label_of(task.index)

    def _value(self, concept: int, label: int | None) -> float:
        test = self._stream.test(concept)
        return worth_of(
            self._agent.answer(test.x, label), test, self._stream.n_classes, self._agent.settings.seed
        ).whole

    def _forgotten(self, learned: int) -> float:
        """Ask about every earlier concept again, unless nothing can have been forgotten."""
        if self._agent.settings.sharing == "versions" and self._stream.setting.label_when_asked:
            return 0.0
        lost = []
        for concept, (label, before) in self._seen.items():
            if concept != learned:
                now = self._value(concept, label)
                self._seen[concept] = label, now
                lost.append(before - now)
        return sum(lost) / len(lost) if lost else 0.0
