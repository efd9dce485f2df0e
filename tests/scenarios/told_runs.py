"""Outcomes and records of runs that never happened, with numbers that are given."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from evermap.scenarios.manifest import ended, new_manifest
from evermap.scenarios.metrics import AccuracyMatrix
from evermap.scenarios.outcomes import Outcome, outcome, quantities
from evermap.scenarios.record import RunFolder, read_record

STREAM = 'evaluate_every = 1\n[stream]\nlayout = "split"\n'


def told(
    agent: str,
    seed: int,
    accuracy: float | None,
    scenario: str = "two",
    flops: float = 1e6,
    status: str = "finished",
    recipe: Mapping[str, object] | None = None,
    stream: str = "",
    data: str = "d",
) -> Outcome:
    """An outcome with this accuracy."""
    values: dict[str, float | None] = {each.key: 0.0 for each in quantities()}
    values |= {"accuracy": accuracy, "flops": flops, "bytes_kept": 10.0, "cpu_seconds": 2.0}
    reasons = {} if accuracy is not None else {"accuracy": "it diverged"}
    return Outcome(
        f"runs/{scenario}-{agent}-{seed}",
        scenario,
        stream or scenario,
        data,
        agent,
        recipe or {},
        seed,
        status,
        False,
        2,
        values,
        reasons,
    )


def write_run(
    folder: Path,
    agent: str = "fixed:scratch",
    seed: int = 0,
    values: list[list[float]] | None = None,
    scenario: str = "two",
    recipe: str = STREAM,
    status: str = "finished",
) -> Path:
    """The record of a run of two tasks, or of as many as there are columns."""
    R = np.array([[0.5, 0.5], [0.9, 0.6], [0.8, 0.7]] if values is None else values)
    tasks = R.shape[1] if R.ndim == 2 else 0
    matrix = AccuracyMatrix(
        R,
        tuple(f"task {j}" for j in range(tasks)),
        (None, *range(len(R) - 1)) if len(R) else (),
        tuple(range(1, tasks + 1)),
        tuple((2 * j, 2 * j + 1) for j in range(tasks)),
        (False,) * tasks,
    )
    folder.mkdir(parents=True)
    writer = RunFolder(folder)
    writer.write_scenario(recipe + f'\n[agent]\nselector = {json.dumps(agent)}\nencoder = "mlp"\n')
    manifest = new_manifest(
        run_id=folder.name, scenario=scenario, agent=agent, seed=seed, recipe="", data_hash="d" * 64
    )
    writer.write_manifest(ended(manifest, status, f"{tasks} of {tasks} tasks"))
    writer.write_events(
        event
        for j in range(tasks)
        for event in (
            {"event": "Learned", "task": j, "total_flops": 1e6 * (j + 1), "seconds": 0.5},
            {"event": "Remembered", "task": j, "store_bytes": 100 * (j + 1)},
        )
    )
    writer.write_matrix(matrix)
    return folder


def read_outcome(folder: Path) -> Outcome:
    """The outcome of a record."""
    return outcome(read_record(folder))
