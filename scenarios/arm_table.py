"""The recorded table of a run in which every arm was run: `arms.jsonl` and `answers.jsonl`, written and read back.

`arms.jsonl` has one line per task and arm, in the order in which they ran; what belongs to the task (its features,
which strategies apply, its size, its budget) stands on each of its lines. `answers.jsonl` has one line per task: what
the agent itself answered with, valued in the same way. Plain data, so that whoever replays or reports needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from ..errors import RecordError
from .run_folder import plain

ARMS, ANSWERS = "arms.jsonl", "answers.jsonl"
FORMAT = 1

T = TypeVar("T", "ArmLine", "AnswerLine")


@dataclass(frozen=True)
class Facts:
    """What is known of a task before it is chosen for, and what costs are measured against.

    Attributes:
        task: Position in the stream, from 0.
        name: Its readable name.
        tasks: How many tasks the stream has.
        regression: Whether its scores are R².
        features: The profile by the names of `agent.features.FEATURES`.
        mask: Every strategy, and whether it applies.
        budget: FLOPs that may be spent on it.
        before: FLOPs that are spent before anything is chosen: profiling, and its part of learning together.
        task_bytes: Bytes of its support set.
    """

    task: int
    name: str
    tasks: int
    regression: bool
    features: Mapping[str, float]
    mask: Mapping[str, bool]
    budget: float
    before: float
    task_bytes: int


@dataclass(frozen=True)
class ArmLine:
    """One arm at full budget from the store as it was before its task, valued on the test set.

    Attributes:
        facts: What belongs to the task.
        strategy: Registered name.
        source: What it started from; None for none.
        stored: Whether that is an entry of the store that was trained.
        rank: Position of the source among those of its strategy, as the agent's retrieval orders them: 0 is the one
            that the agent would take.
        accuracy: On the whole test set (regression: R²); None where the arm failed.
        half_a: On one half of it.
        half_b: On the other half.
        held_out: Number of held-out samples.
        held_out_loss: Calibrated log-loss on them in nats (regression: squared error); None where nothing is held out.
        held_out_accuracy: Share of right answers on them (regression: R²); None likewise.
        flops: FLOPs of everything had it been chosen at once: what was spent before, and the arm.
        seconds: CPU seconds of the same.
        bytes: Bytes that its encoder and its head would add to the store.
        units: Units of work done.
        stopped: Why it ended.
        forgetting: By how much earlier test sets lose through it, mean over them; 0 where stored weights are never
            written again, None where that was not measured.
        failed: Why there is no outcome; None where there is one.
    """

    facts: Facts
    strategy: str
    source: str | None
    stored: bool
    rank: int
    accuracy: float | None = None
    half_a: float | None = None
    half_b: float | None = None
    held_out: int = 0
    held_out_loss: float | None = None
    held_out_accuracy: float | None = None
    flops: float = 0.0
    seconds: float = 0.0
    bytes: int = 0
    units: int = 0
    stopped: str = ""
    forgetting: float | None = 0.0
    failed: str | None = None

    @property
    def way(self) -> tuple[str, str | None]:
        """Strategy and source."""
        return self.strategy, self.source


@dataclass(frozen=True)
class AnswerLine:
    """What the agent answered with after it had learned a task, valued like an arm.

    Attributes:
        task: Position in the stream.
        strategy: What answers: the guard's or a stand-in's, if it is not what was chosen.
        source: What that started from.
        accuracy: On the whole test set (regression: R²).
        half_a: On one half.
        half_b: On the other half.
        flops: FLOPs of everything done for the task but the work for later tasks.
        seconds: CPU seconds of everything done for the task.
        bytes: Bytes that the task's encoder and head, and the encoders trained beside them, have added to the store.
    """

    task: int
    strategy: str
    source: str | None
    accuracy: float
    half_a: float | None
    half_b: float | None
    flops: float
    seconds: float
    bytes: int

    @property
    def way(self) -> tuple[str, str | None]:
        """Strategy and source."""
        return self.strategy, self.source


@dataclass(frozen=True)
class Table:
    """All that was recorded of one run.

    Attributes:
        arms: The arms of every task, by its position, in the order in which they ran.
        answers: What the agent answered with, by the task's position.
    """

    arms: Mapping[int, tuple[ArmLine, ...]]
    answers: Mapping[int, AnswerLine]


def append(path: Path, lines: Iterable[ArmLine | AnswerLine]) -> None:
    """Add lines to a table.

    Args:
        path: Its file; made where it is missing.
        lines: What to add.
    """
    with path.open("a", encoding="utf-8") as file:
        for line in lines:
            data = asdict(line)
            flat = {"format": FORMAT, **data.pop("facts", {}), **data}
            file.write(json.dumps(plain(flat), ensure_ascii=False, allow_nan=False) + "\n")


def read_table(folder: Path) -> Table:
    """Read what was recorded of a run.

    Args:
        folder: The run's folder.

    Returns:
        The table.

    Raises:
        RecordError: If there is none, or a line of it is damaged.
    """
    arms: dict[int, list[ArmLine]] = {}
    for arm in _read(folder / ARMS, ArmLine):
        arms.setdefault(arm.facts.task, []).append(arm)
    answers = {answer.task: answer for answer in _read(folder / ANSWERS, AnswerLine)}
    return Table({task: tuple(lines) for task, lines in arms.items()}, answers)


def has_table(folder: Path) -> bool:
    """Tell whether every arm was run beside the run of a folder."""
    return (folder / ARMS).is_file()


def _read(path: Path, kind: type[T]) -> list[T]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise RecordError(f"{path}: is missing; `evermap regret` records it.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: cannot be read: {error}.") from error
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            data = json.loads(line)
            if data.pop("format") != FORMAT:
                raise ValueError(f"it is of another format; this evermap reads {FORMAT}")
            found.append(_line(kind, data))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RecordError(f"{path}: line {number} is damaged: {error}.") from error
    return found


def _line(kind: type[T], data: dict[str, Any]) -> T:
    if kind is ArmLine:
        data["facts"] = Facts(**{each.name: data.pop(each.name) for each in fields(Facts)})
    return kind(**data)
