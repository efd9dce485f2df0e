"""Runs that another one is held against: a fresh expert for every task, or joint training on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RecordError
from ..scenarios.against import same_tests
from ..scenarios.record import Record, read_record

# Agents by what a run of theirs tells: S_j, what is reached on a task alone, or J_k, on all tasks so far together.
EXPERTS = ("independent", "fixed:scratch", "avalanche:FromScratchTraining")
JOINT = ("joint", "avalanche:Cumulative")
# Settings in which the task label is given with a test sample.
LABELLED = ("task-incremental",)
# What an expert must share with the run, lest the difference be one of means; it is said where it does not.
_MEANS = ("agent.encoder", "agent.encoder_settings", "agent.stem", "agent.held_out", "budget")


@dataclass(frozen=True)
class References:
    """Reference runs on the same stream, each None where it was not given.

    Attributes:
        expert: A run in which nothing is carried from task to task.
        joint: A run that trains on all tasks so far together.
        differs: What a reference does not share with the run, in words.
    """

    expert: Record | None = None
    joint: Record | None = None
    differs: tuple[str, ...] = ()

    def told(self) -> list[dict[str, Any]]:
        """Say which runs they are, as plain data."""
        given = (("expert", self.expert), ("joint", self.joint))
        return [
            {"role": role, "id": str(record.manifest["id"]), "agent": str(record.manifest["agent"])}
            for role, record in given
            if record is not None
        ]


def references_of(record: Record, folders: Sequence[Path]) -> References:
    """Read reference runs and see what each can serve for.

    Args:
        record: The run.
        folders: Folders of the reference runs.

    Returns:
        Them by what they tell.

    Raises:
        RecordError: If one is no record, is of another stream or seed, of an agent that is no reference, or tells what
            another one tells already.
    """
    found: dict[str, Record] = {}
    differs: list[str] = []
    for folder in folders:
        other = read_record(folder)
        agent = str(other.manifest["agent"])
        name = agent.partition("(")[0]
        role = "expert" if name in EXPERTS else "joint" if name in JOINT else None
        if role is None:
            valid = ", ".join((*EXPERTS, *JOINT))
            raise RecordError(f"--against {folder}: a run of {agent!r} is no reference; valid are runs of {valid}.")
        if role in found:
            other_id = found[role].manifest["id"]
            raise RecordError(f"--against {folder}: {other_id} tells the same already; give one of the two.")
        _check(record, other, folder, role)
        found[role] = other
        differs += [f"{other.manifest['id']} has another {field}" for field in _MEANS if _differs(record, other, field)]
        if name == "independent" and not _told(record):
            differs.append(f"{other.manifest['id']} is told the task when it is asked; the run is not")
    return References(found.get("expert"), found.get("joint"), tuple(differs))


def _check(record: Record, other: Record, folder: Path, role: str) -> None:
    """Make sure that two runs met the same stream; joint training also that it was asked after the same tasks."""
    if other.matrix is None:
        raise RecordError(f"--against {folder}: it ended before anything was evaluated.")
    what = [key for key in ("seed", "data_sha256") if record.manifest.get(key) != other.manifest.get(key)]
    mine, theirs = record.scenario.get("stream", {}), other.scenario.get("stream", {})
    what += [f"stream.{key}" for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
    if role == "joint" and _differs(record, other, "evaluate_every"):
        what.append("evaluate_every")
    if not what and record.matrix is not None and not same_tests(record.matrix, other.matrix):
        what = ["the test sets"]
    if what:
        raise RecordError(
            f"--against {folder}: it is about another stream than {record.path}; what differs: {', '.join(what)}."
        )


def _told(record: Record) -> bool:
    """Whether the run's agent is told the task when it is asked; `independent` always is."""
    agent = str(record.manifest["agent"])
    return agent == "independent" or _at(record.scenario, "stream.setting") in (None, *LABELLED)


def _differs(record: Record, other: Record, field: str) -> bool:
    return _at(record.scenario, field) != _at(other.scenario, field)


def _at(recipe: Any, path: str) -> Any:
    for piece in path.split("."):
        recipe = recipe.get(piece) if isinstance(recipe, dict) else None
    return recipe
