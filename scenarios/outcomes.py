"""What one run came to, as a few numbers: read from its record, so that many runs can be set side by side."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .costs import paid
from .matrix import AccuracyMatrix
from .metrics import all_measures, evaluated_once
from .record import Record

MAIN = "accuracy"
"""What agents are ranked by."""
# The measures of a matrix whose names are long have a key that can be typed; every other one is keyed by its name.
_KEYS = {
    "average accuracy": MAIN,
    "average incremental accuracy": "incremental_accuracy",
    "forward transfer (zero-shot)": "forward_transfer",
}
_DIFFERENCES = ("forgetting", "transfer", "intransigence")
_NOTHING = AccuracyMatrix(np.empty((0, 0)), (), (), (), (), ())
# Fields of a recipe that name a run and do not make the agent.
_NOT_THE_AGENT = ("name", "description", "shows", "expected", "seed", "stream", "evaluate_every")


@dataclass(frozen=True)
class Quantity:
    """A number that every run has.

    Attributes:
        key: Its name in files and on the command line ("backward_transfer").
        title: Its name for people.
        unit: "share" (0 to 1; R² for regression), "difference" of shares, "bytes", "flops" or "seconds".
        better: "higher" or "lower".
        convention: Its definition, with the source.
    """

    key: str
    title: str
    unit: str
    better: str
    convention: str


@dataclass(frozen=True)
class Outcome:
    """What one run came to.

    Attributes:
        path: The folder of its record.
        scenario: Name of the scenario.
        stream: Hash of what arrives and when it is tested, without the seed: runs that differ in it are of different
            scenarios, whatever they are called.
        data: Hash of the source's samples; None where the record does not know it.
        agent: What chose ("fixed:finetune").
        recipe: What else makes the agent, as dotted fields.
        seed: The run's seed.
        status: "finished", "interrupted", "failed", or "running" where it runs or was killed.
        regression: Whether R² stands where accuracy does.
        tasks: How many tasks were learned.
        values: By `Quantity.key`; None where it is undefined or was not measured.
        reasons: Why, for every value that is None.
    """

    path: str
    scenario: str
    stream: str
    data: str | None
    agent: str
    recipe: Mapping[str, Any]
    seed: int
    status: str
    regression: bool
    tasks: int
    values: Mapping[str, float | None]
    reasons: Mapping[str, str]


def quantities() -> tuple[Quantity, ...]:
    """List every number of an outcome, in the order of a table.

    Returns:
        The measures of the accuracy matrix, then what the run kept and cost.
    """
    found = [
        Quantity(
            key=key_of(measure.name),
            title=measure.name,
            unit="difference" if any(word in measure.name for word in _DIFFERENCES) else "share",
            better="lower" if measure.name in ("forgetting", "intransigence") else "higher",
            convention=measure.convention,
        )
        for measure in all_measures(_NOTHING)
    ]
    return (
        *found,
        Quantity(
            "bytes_kept", "bytes kept", "bytes", "lower", "weights, statistics and samples kept after the last task"
        ),
        Quantity("flops", "FLOPs", "flops", "lower", "of everything done for the tasks, from measuring to making room"),
        Quantity("cpu_seconds", "CPU seconds", "seconds", "lower", "of the same, on this machine; evaluation apart"),
        Quantity(
            "peak_memory",
            "peak memory",
            "bytes",
            "lower",
            "most resident memory of the process while a task was learned, the program and what it ran before included",
        ),
    )


def key_of(name: str) -> str:
    """Turn the name of a measure into its key: "learning accuracy" is `learning_accuracy`."""
    return _KEYS.get(name) or re.sub(r"\W+", "_", name).strip("_").lower()


def outcome(record: Record) -> Outcome:
    """Read what a run came to.

    Args:
        record: Its record, whole or up to where it was cut off.

    Returns:
        The numbers; a run that ended early has them as they stood then, and its `status` says so.
    """
    manifest, recipe, matrix = record.manifest, record.scenario, record.matrix
    values: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    together = [event["tasks"] for event in record.events if event.get("event") == "LearnedTogether"]
    once = matrix is not None and evaluated_once(matrix, together)
    for measure in all_measures(matrix or _NOTHING, once):
        key = key_of(measure.name)
        values[key] = measure.value
        if measure.value is None:
            reasons[key] = measure.reason if matrix is not None and measure.reason else "nothing was evaluated"
    for key, value in _costs(record.events):
        values[key] = value
        if value is None:
            reasons[key] = "the record does not tell it"
    stream = {key: recipe.get(key) for key in ("stream", "evaluate_every")}
    agent = {key: value for key, value in recipe.items() if key not in _NOT_THE_AGENT}
    return Outcome(
        path=str(record.path),
        scenario=str(manifest["scenario"]),
        stream=hashlib.sha256(json.dumps(stream, sort_keys=True, default=str).encode()).hexdigest(),
        data=manifest.get("data_sha256"),
        agent=str(manifest["agent"]),
        recipe=dict(pair for pair in flat(agent) if pair[0] != "agent.selector"),
        seed=int(manifest["seed"]),
        status=str(manifest["status"]),
        regression=matrix is not None and bool(matrix.columns) and not any(matrix.class_sets),
        tasks=sum(event.get("event") == "Learned" for event in record.events),
        values=values,
        reasons=reasons,
    )


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Walk through nested tables: every value that is no table, with its dotted path."""
    if isinstance(value, Mapping) and (value or not path):
        for key, inner in value.items():
            yield from flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _costs(events: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, float | None]]:
    """Sum what the tasks cost; what the store holds is told by the last of them."""
    told = list(events)
    lacking = {"total_flops": None, "flops": None, "seconds": None}  # a damaged record has no cost, and is no fault
    learned = [{**lacking, **event} for event in told if event.get("event") == "Learned"]
    bounded = {event.get("task"): {**lacking, **event} for event in told if event.get("event") == "Bounded"}
    kept = [event.get("store_bytes") for event in told if event.get("event") == "Remembered"]
    yield "bytes_kept", _finite(kept[-1]) if kept else None
    for key, what in (("flops", "flops"), ("cpu_seconds", "seconds")):
        parts = [paid(event, bounded.get(event.get("task")), what) for event in learned]
        known = [part for part in parts if part is not None]
        yield key, math.fsum(known) if known and len(known) == len(parts) else None
    peaks = [peak for event in learned if (peak := _finite(event.get("peak_bytes"))) is not None]
    yield "peak_memory", max(peaks) if peaks and len(peaks) == len(learned) else None


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
