"""What happened to every task, gathered from events one at a time: the live display and the report both read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..scenarios.costs import paid

Json = Mapping[str, Any]
# What a cost is made of, in the order in which it arises: measuring, choosing, learning the task alone or with others
# that arrived together, work for later tasks.
PARTS = ("profile", "choice", "together", "learning", "later")


@dataclass(frozen=True)
class Origin:
    """Where a stored entry came from.

    Attributes:
        entry: Its id.
        tasks: Positions of the tasks that brought it: one, or those that were learned together.
        kind: "answer" for what a task answers with, "kept" for what was stored beside it for later tasks, "together"
            for what tasks that arrived together left.
    """

    entry: str
    tasks: tuple[int, ...]
    kind: str


@dataclass
class TaskStory:
    """What happened to one task; each part is the event's JSON, None until it happened.

    Attributes:
        index: Position in the stream, from 0.
        started: `TaskStarted`.
        profiled: `Profiled`.
        chosen: `Chosen`.
        progress: Every `Progress` since it started, in order.
        joint: Every `Progress` before that: of tasks that are learned together, as it stands with the first of them.
        learned: `Learned`.
        remembered: `Remembered`.
        bounded: `Bounded`; None where the store's bytes are not bounded.
        evaluated: The first `Evaluated` after it.
    """

    index: int
    started: Json | None = None
    profiled: Json | None = None
    chosen: Json | None = None
    progress: list[Json] = field(default_factory=list)
    joint: list[Json] = field(default_factory=list)
    learned: Json | None = None
    remembered: Json | None = None
    bounded: Json | None = None
    evaluated: Json | None = None

    @property
    def name(self) -> str:
        """Its readable name."""
        return str(self.started["name"]) if self.started else f"task {self.index + 1}"

    @property
    def regression(self) -> bool:
        """Whether values are asked for, not classes: its scores are R² then."""
        return self.started is not None and not self.started["classes"]

    @property
    def overruled(self) -> bool:
        """Whether something else than what was chosen answers in the end."""
        if not (self.chosen and self.learned):
            return False
        return any(self.chosen.get(key) != self.learned.get(key) for key in ("strategy", "source"))

    @property
    def spent(self) -> float:
        """FLOPs spent on it so far: profile, choice and learning; its part of a joint phase once it was learned."""
        if self.learned:
            return paid(self.learned, self.bounded, "flops") or 0.0
        before = sum(float(part.get("flops") or 0.0) for part in (self.profiled, self.chosen) if part)
        return before + _at_work(self.progress)

    @property
    def warnings(self) -> list[str]:
        """What the user should know about learning it and about making room for it."""
        return [str(each) for event in (self.learned, self.bounded) for each in (event or {}).get("warnings") or ()]

    @property
    def seconds(self) -> float:
        """CPU seconds spent on it so far, as far as events say."""
        if self.learned:
            return paid(self.learned, self.bounded, "seconds") or 0.0
        return sum(float(part.get("seconds") or 0.0) for part in (self.profiled, self.chosen) if part)

    def arms(self) -> dict[tuple[str, str | None], list[Json]]:
        """Group the progress by what was at work.

        Returns:
            (strategy, source) to its `Progress` events, in the order in which they first appeared; of the joint
            learning while the task itself has not started.
        """
        found: dict[tuple[str, str | None], list[Json]] = {}
        for event in self.progress if self.started else self.joint:
            found.setdefault((event["strategy"], event["source"]), []).append(event)
        return found


@dataclass
class Story:
    """A run as far as it has been told.

    Attributes:
        tasks: Position in the stream to what happened there, in order of arrival.
        rows: Every `Evaluated`, in order.
        origins: Id of a stored entry to where it came from.
        expected: How many tasks the stream has; 0 until the first one starts.
        current: The task at hand, or the first of several that are learned together; None before the first.
        covered: The tasks that the last row was the first to test.
        together: Every `LearnedTogether`, in order.
        during: Every `EvaluatedDuring`, in order.
    """

    tasks: dict[int, TaskStory] = field(default_factory=dict)
    rows: list[Json] = field(default_factory=list)
    origins: dict[str, Origin] = field(default_factory=dict)
    expected: int = 0
    current: TaskStory | None = None
    covered: list[TaskStory] = field(default_factory=list)
    together: list[Json] = field(default_factory=list)
    during: list[Json] = field(default_factory=list)

    @classmethod
    def of(cls, events: Iterable[Json]) -> Story:
        """Read a whole record.

        Args:
            events: Events as JSON, in order.

        Returns:
            What they tell.
        """
        story = cls()
        for event in events:
            story.add(event)
        return story

    def add(self, event: Json) -> None:
        """Take in the next event; a kind that is not known is passed over.

        Args:
            event: The event as JSON, its class name under "event".
        """
        kind = event.get("event")
        if kind == "Evaluated":
            self.rows.append(event)
        elif kind == "LearnedTogether":
            self.together.append(event)
        elif kind == "EvaluatedDuring":
            self.during.append(event)
        if event.get("task") is None or kind not in _PARTS:
            return
        if kind == "Evaluated":  # of every task since the last row: after a joint phase, or every k tasks, there is one
            self.covered = [each for each in self.tasks.values() if each.learned and not each.evaluated]
            for each in self.covered:
                each.evaluated = event
            return
        task = self.tasks.setdefault(event["task"], TaskStory(event["task"]))
        if kind == "Progress":
            (task.progress if task.started else task.joint).append(event)
            if task.started is None:  # it is learned together with others, before each of them starts
                self.current = task
        else:
            setattr(task, _PARTS[kind], event)
        if kind == "TaskStarted":
            self.expected, self.current = int(event["tasks"]), task
        elif kind == "Remembered":
            self._note_origins(task, event)

    @property
    def flops(self) -> float:
        """FLOPs spent on all tasks so far."""
        alone = sum(task.spent for task in self.tasks.values())
        under_way = sum(_at_work(task.joint) for task in self.tasks.values() if self.phase(task.index) is None)
        return alone + under_way + self._unpaid("flops")

    @property
    def seconds(self) -> float:
        """CPU seconds so far, evaluation included."""
        learning = sum(task.seconds for task in self.tasks.values()) + self._unpaid("seconds")
        return learning + sum(float(row.get("seconds") or 0.0) for row in (*self.rows, *self.during))

    @property
    def store(self) -> Json | None:
        """The last `Remembered`: what the store holds by now."""
        last = [task.remembered for task in self.tasks.values() if task.remembered]
        return last[-1] if last else None

    @property
    def regression(self) -> bool:
        """Whether every task so far asks for values; before the first: if a score is below 0, as only R² can be."""
        begun = [task for task in self.tasks.values() if task.started]
        if begun:
            return all(task.regression for task in begun)
        return any(value is not None and value < 0 for row in self.rows for value in row["values"])

    def phase(self, task: int) -> Json | None:
        """Find the joint learning that a task was part of.

        Args:
            task: Position in the stream.

        Returns:
            Its `LearnedTogether`; None where nothing learned it together with others.
        """
        return next((event for event in self.together if task in event["tasks"] and event["strategy"]), None)

    def helper(self, task: TaskStory) -> Origin | None:
        """Find what an earlier task had left and this one answers with, or learned from.

        Args:
            task: The task.

        Returns:
            Where the stored model that was reused or taught, or else the source that it started from, came from; None
            where that was nothing that a task of this run had brought before.
        """
        done = task.learned or {}
        found = self.origins.get(str(done.get("helper") or done.get("source")))
        return None if found is None or found.tasks == (task.index,) else found

    def parts(self, task: TaskStory) -> dict[str, float]:
        """Take the cost of a task apart.

        Args:
            task: A task that was learned.

        Returns:
            FLOPs by part, in the order of `PARTS`; they add up to what was spent on it.
        """
        learned, joint = task.learned or {}, self.phase(task.index)
        found = {
            "profile": float((task.profiled or {}).get("flops") or 0.0),
            "choice": float((task.chosen or {}).get("flops") or 0.0),
            "together": 0.0,
            "learning": 0.0,
            "later": float(learned.get("consolidation") or 0.0) + float((task.bounded or {}).get("flops") or 0.0),
        }
        whole = task.spent
        rest = max(whole - sum(found.values()), 0.0)
        if joint is not None:  # one that diverged was paid as well
            found["together"] = min(self._share(joint, task) * float(joint["flops"]), rest)
        found["learning"] = rest - found["together"]
        return found

    def _share(self, joint: Json, task: TaskStory) -> float:
        """Tell which share of a joint phase a task pays: that of its budget; who did not start counts as the mean."""
        started = [self.tasks[i].started for i in joint["tasks"] if i in self.tasks]
        budgets = [float(start["budget"]) for start in started if start]
        if not task.started or not sum(budgets):
            return 1 / len(joint["tasks"])
        return float(task.started["budget"]) * len(budgets) / sum(budgets) / len(joint["tasks"])

    def _unpaid(self, what: str) -> float:
        """Add up what joint phases have cost and no task's account holds yet."""
        return sum(
            float(joint[what]) * max(0.0, 1.0 - sum(self._share(joint, task) for task in self._paid(joint)))
            for joint in self.together
        )

    def _paid(self, joint: Json) -> list[TaskStory]:
        found = [self.tasks.get(i) for i in joint["tasks"]]
        return [task for task in found if task is not None and task.learned]

    def _note_origins(self, task: TaskStory, event: Json) -> None:
        """Note what a task brought; what several tasks that were learned together share is theirs together."""
        joint = self.phase(task.index)
        for entry in dict.fromkeys((event["model"], event["encoder"], *event.get("kept", ()))):
            kind = "kept" if entry in event.get("kept", ()) else "answer"
            known = self.origins.setdefault(str(entry), Origin(str(entry), (task.index,), kind))
            strategy = (task.learned or {}).get("strategy")
            jointly = joint is not None and (kind == "kept" or strategy == joint["strategy"])
            if joint is not None and jointly and known.tasks[0] in joint["tasks"] and known.tasks != (task.index,):
                self.origins[known.entry] = Origin(known.entry, tuple(joint["tasks"]), "together")


def _at_work(progress: Iterable[Json]) -> float:
    """FLOPs that arms have spent, by their last `Progress` each."""
    return float(sum({(event["strategy"], event["source"]): float(event["flops"]) for event in progress}.values()))


_PARTS = {
    "TaskStarted": "started",
    "Profiled": "profiled",
    "Chosen": "chosen",
    "Progress": "progress",
    "Learned": "learned",
    "Remembered": "remembered",
    "Bounded": "bounded",
    "Evaluated": "",
}
