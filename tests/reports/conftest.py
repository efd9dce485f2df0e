"""Runs that never happened, told in the events of `evermap.agent.events`, for tests of what shows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from evermap.agent.events import (
    Chosen,
    Considered,
    Evaluated,
    Event,
    Learned,
    LearnedTogether,
    ProbeScore,
    Profiled,
    Progress,
    Remembered,
    TaskStarted,
)
from evermap.scenarios.manifest import ended, new_manifest
from evermap.scenarios.metrics import AccuracyMatrix
from evermap.scenarios.record import RunFolder

# name, classes, concept, support samples, strategy, index of the task whose encoder it starts from
_TASKS = [
    ("0–4", (0, 1, 2, 3, 4), 0, 400, "scratch", None),
    ("5–9", (5, 6, 7, 8, 9), 1, 400, "finetune", 0),
    ("0 and 8, few-shot", (0, 8), 2, 10, "prototype", None),
    ("0–4 rotated by 90°", (0, 1, 2, 3, 4), 3, 300, "finetune", 0),
    ("0–4 again", (0, 1, 2, 3, 4), 0, 400, "reuse", 0),
    ("5–9, labels shuffled", (5, 6, 7, 8, 9), 4, 200, "reuse", 1),
    ("3, 5 and 8, few-shot", (3, 5, 8), 5, 15, "prototype", None),
    ("0–9 with permuted pixels", tuple(range(10)), 6, 600, "scratch", None),
    ("0–4 rotated by 45°", (0, 1, 2, 3, 4), 7, 60, "finetune", 3),
    ("odd against even, noisy", (0, 1), 8, 250, "finetune", 7),
    ("0–4 rotated by 90° again", (0, 1, 2, 3, 4), 3, 300, "reuse", 3),
    ("all ten", tuple(range(10)), 9, 800, "finetune", 1),
]


@dataclass(frozen=True)
class Told:
    """A run that never happened: its events and the matrix that they lead to."""

    events: list[Event]
    matrix: AccuracyMatrix | None

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The events as JSON."""
        return [event.to_json() for event in self.events]


def tell(
    tasks: int = 12, seed: int = 0, label_given: bool = False, names: dict[int, str] | None = None, columns: int = 0
) -> Told:
    """Tell a run.

    Args:
        tasks: How many tasks, at most 12.
        seed: Decides the numbers.
        label_given: Whether the setting gives a task label when asked; every task then has labels of its own.
        names: Names for some of the tasks, instead of the usual ones.
        columns: If not 0, so many tasks instead, each with a test set of its own.
    """
    rng = np.random.default_rng(seed)
    plan = [((names or {}).get(i, task[0]), *task[1:]) for i, task in enumerate(_TASKS[:tasks])]
    if columns:
        plan = [
            (f"{i + 1}", (0, 1), i, 50, "finetune" if i else "scratch", i - 1 if i else None) for i in range(columns)
        ]
    named: dict[int, str] = {}
    for name, _, concept, *_ in plan:
        named.setdefault(concept, name)
    order = list(named)
    chance = {order.index(concept): 1 / len(classes) for _, classes, concept, *_ in plan}
    now = np.array([chance[j] for j in range(len(order))]) + rng.normal(0, 0.02, len(order))
    events: list[Event] = []
    rows: list[list[float]] = []

    def evaluate(task: int | None) -> None:
        rows.append([round(float(v), 4) for v in np.clip(now, 0, 1)])
        events.append(
            Evaluated(
                row=len(rows) - 1,
                task=task,
                values=tuple(rows[-1]),
                columns=tuple(named.values()),
                samples=(180,) * len(order),
                anchor_share=() if label_given else (0.25,) * len(order),
                seconds=0.11,
            )
        )

    learned_at: dict[int, int] = {}
    kept = 0
    if plan:
        evaluate(None)
    for i, (name, classes, concept, samples, strategy, parent) in enumerate(plan):
        source = None if parent is None else f"encoder-{parent}"
        column = order.index(concept)
        events.append(
            TaskStarted(i, name, column, len(plan), tuple(classes), samples, 10 if samples < 20 else 0, (1, 8, 8), 2e9)
        )
        scores = tuple(
            ProbeScore(
                c, float(0.05 + 0.02 * k), None if samples < 5 else 0.9 - 0.05 * k, 0.88 - 0.04 * k, 0.5 if k else None
            )
            for k, c in enumerate([*([source] if source else []), "stem", "raw", "random"])
        )
        events.append(Profiled(i, samples, len(classes), samples // len(classes), scores, 3.1e7, 0.05))
        score = float(round(0.85 + 0.1 * rng.random(), 4))
        others = {"finetune", "prototype", "reuse", "scratch"} - {strategy}
        considered = [Considered(strategy, source, score)]
        for k, other in enumerate(sorted(others)):
            why = None
            if other == "reuse":
                why = "no stored model has the labels of this task" if i else "the store is empty"
            elif other == "finetune" and not i:
                why = "the store is empty"
            considered.append(Considered(other, None, None if why else round(score - 0.04 * (k + 1), 4), why))
        reason = {
            "scratch": "Nothing stored does better here than raw pixels in leave-one-out, so it starts afresh.",
            "finetune": f"{source} separates these classes best in leave-one-out, 4.2 points ahead of the stem.",
            "prototype": "With five samples per class, nearest class means on the stem do as well as training.",
            "reuse": f"The model on {source} answers {samples} samples right after matching labels: the task is known.",
        }[strategy]
        events.append(Chosen(i, strategy, source, reason, tuple(considered), None, 1.2e6, 0.01))
        top = min(0.995, now[column] + (0.97 - now[column]) * (0.85 + 0.15 * rng.random()))
        units = {"scratch": 240, "finetune": 160, "prototype": 1, "reuse": 1}[strategy]
        held = samples >= 20
        for step in range(1, 13) if units > 1 else range(1, 2):
            share = step / 12 if units > 1 else 0.01
            accuracy = top - (top - chance[column]) * float(np.exp(-5 * share)) + float(rng.normal(0, 0.008))
            accuracy = top if units == 1 else min(accuracy, 1.0)
            events.append(
                Progress(
                    i,
                    strategy,
                    source,
                    max(round(units * share), 1),
                    1.6e9 * share,
                    float(-np.log(max(accuracy, 1e-3))) + 0.02 if held else None,
                    float(accuracy) if held else None,
                    0.8 * share,
                )
            )
        learning = 1.6e9 if units > 1 else 2.4e6
        warnings = ("The loss of distill was not finite after unit 3; finetune went on instead.",) if i == 9 else ()
        events.append(
            Learned(
                i,
                strategy,
                source,
                units,
                max(units - 20, 1),
                "patience" if units > 1 else "finished",
                0.11 if held else None,
                float(top) if held else None,
                samples // 5 if held else 0,
                learning,
                learning + 3.22e7,
                0.9 if units > 1 else 0.07,
                warnings,
            )
        )
        added = 41_000 if units > 1 else 2_560
        kept += added
        made = source if strategy == "reuse" and source else f"encoder-{i}"
        events.append(Remembered(i, f"model-{i}", made, source if units > 1 else None, added, kept, min(i + 1, 6)))
        now *= 1 - np.clip(rng.normal(0.015, 0.012, len(order)), 0, 0.05)
        now[column] = max(top, 0)
        learned_at.setdefault(column, len(rows))
        evaluate(i)
    matrix = AccuracyMatrix(
        values=np.array(rows).reshape(len(rows), len(order)),
        columns=tuple(named.values()),
        row_tasks=tuple([None, *range(len(plan))][: len(rows)]),
        learned_at=tuple(learned_at.get(j) for j in range(len(order))),
        class_sets=tuple(next(tuple(c) for _, c, k, *_ in plan if k == concept) for concept in order),
        own_labels=(label_given,) * len(order),
    )
    return Told(events, matrix if rows else None)


RECIPE: dict[str, Any] = {
    "name": "demo",
    "description": "Real digit tasks: large, few-shot, returning, relabelled, unrelated.",
    "seed": 0,
    "device": "cpu",
    "stream": {"layout": "tasks", "source": "digits", "setting": "domain-incremental", "tasks": [{"name": "0–4"}]},
    "agent": {"selector": "probe", "encoder": "mlp", "sharing": "versions"},
    "budget": {"scratch": 1.0, "probe": 0.1},
}


def write(
    told: Told,
    path: Path,
    status: str = "finished",
    seed: int = 0,
    selector: str = "probe",
    data: str = "",
    **recipe: Any,
) -> Path:
    """Write the record of a run that never happened."""
    path.mkdir(parents=True)
    folder = RunFolder(path)
    fields = {**RECIPE, **recipe}
    fields |= {"seed": seed, "agent": {**fields["agent"], "selector": selector}}
    text = tomli_w.dumps(fields)
    manifest = new_manifest(
        run_id=f"demo_probe_seed{seed}_20260102-030405",
        scenario=str(recipe.get("name", "demo")),
        agent=selector,
        seed=seed,
        recipe=text,
        data_hash=data or None,
        command=["evermap", "run", "demo", "--seed", str(seed)],
        now=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )
    manifest["hardware"] = {"cpu": "a processor", "cores": 2, "platform": "Linux"}
    manifest["versions"] = {"python": "3.11.0", "evermap": "0.1.0", "torch": "2.13.0"}
    folder.write_manifest(manifest if status == "running" else ended(manifest, status, "the record"))
    folder.write_scenario(text)
    folder.write_events(told.lines)
    if told.matrix is not None:
        folder.write_matrix(told.matrix)
    return path


@pytest.fixture(name="tell")
def _tell() -> Callable[..., Told]:
    """Tell a run: `tell(tasks=12, seed=0, label_given=False, names=None)`."""
    return tell


@pytest.fixture(name="joint")
def _joint() -> Callable[..., list[dict[str, Any]]]:
    """Tell how the first three tasks were learned together, or why not: `joint(strategy="multitask", stopped=…)`."""

    def told(strategy: str | None = "multitask", stopped: str = "patience") -> list[dict[str, Any]]:
        if strategy is None:
            return [LearnedTogether((0, 1, 2), None, "the selector leaves them to themselves").to_json()]
        progress = [Progress(0, strategy, None, 20 * k, 1e8 * k, 0.3, 0.8 + 0.05 * k, 0.3 * k) for k in (1, 2, 3)]
        reason = f"3 tasks arrived together; {strategy} learned them as one"
        if stopped == "diverged":
            reason = f"{strategy}: the loss is not finite"
        end = LearnedTogether((0, 1, 2), strategy, reason, 60, 60, stopped, 0.95, 3e8, 1.5)
        return [event.to_json() for event in (*progress, end)]

    return told


@pytest.fixture(name="write")
def _write() -> Callable[..., Path]:
    """Write its record: `write(told, path, status="finished", seed=0, selector="probe", data="", **recipe)`."""
    return write
