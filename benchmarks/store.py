"""What the knowledge store costs as it grows: `python benchmarks/store.py [--tasks 10 100 1000 10000] [--json FILE]`.

For every number of stored tasks, on disk:

- remember: one task's transaction as the agent makes it (encoder, head, anchor, signature, record, 20 events) and its
  row, the median of the last 50;
- recall: what the store offers for a new task (`Library.known_for`: at most 64 encoders and 256 heads), the median;
- answer: one batch of 100 inputs by a task's model that is not kept ready, the median;
- open: opening the store in a process of its own, up to the first answer to `known_for`;
- bytes per task: of blobs, and of the catalog.

Milliseconds are of CPU time, which does not depend on what else the machine does; for remember, which waits for the
disk (a dozen fsyncs), also of the clock.

Every task has an encoder of its own (64 → 32 → 32, as a real one is small here) and a linear head: the worst case.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from evermap.agent.agent_settings import AgentSettings
from evermap.agent.encoder import build_encoder
from evermap.agent.entries import TaskRecord
from evermap.agent.library import Library
from evermap.agent.model import LinearHead, state
from evermap.agent.signature import sign
from evermap.agent.store import KnowledgeStore
from evermap.agent.transaction import Transaction
from evermap.streams.task import Samples, Task

SHAPE, CLASSES, SAMPLES = (1, 8, 8), 2, 40
SETTINGS = AgentSettings(anchor_features=128)
# Tasks that are remembered one by one, and measured, before every size; and how many of the others at once.
MEASURED, AT_ONCE = 50, 200


@dataclass(frozen=True)
class Cost:
    """Milliseconds and bytes at one number of stored tasks."""

    tasks: int
    remember_clock_ms: float
    remember_ms: float
    recall_ms: float
    answer_ms: float
    open_ms: float
    blob_bytes_per_task: float
    catalog_bytes_per_task: float


def task(i: int) -> Task:
    """A task of random images about a mean of its own."""
    rng = torch.Generator().manual_seed(i)
    x = torch.rand(1, *SHAPE, generator=rng) * 0.5 + 0.5 * torch.rand(SAMPLES, *SHAPE, generator=rng)
    y = torch.arange(SAMPLES) % CLASSES
    return Task(f"task {i}", i, Samples(x, y), None, (2 * i, 2 * i + 1), "classification", i)


def remember(store: KnowledgeStore, i: int) -> None:
    """What the agent writes for a task, with weights drawn at random."""
    with store.transaction() as t:
        write(t, i)
        rng = torch.Generator().manual_seed(i)
        anchor = {"sums": torch.rand(20, 128, generator=rng), "moment": torch.rand(128, 128, generator=rng)}
        t.add_bank({"view_shape": list(SHAPE)}, anchor, encoder=None, task=i, slot="anchor 1x8x8")
        store.bytes_kept()
    store.add_row(i + 1, i, {"values": [0.5] * 10})


def write(t: Transaction, i: int) -> None:
    """What stays of a task in any case: encoder, head, record, signature, events."""
    made, rng = task(i), torch.Generator().manual_seed(i)
    encoder = build_encoder("mlp", SHAPE, {"hidden": (32, 32)}, i)
    head = LinearHead(encoder.feature_size, CLASSES, rng)
    spec = {**encoder.spec, "stem": None}
    entry = t.add_encoder(spec, state(encoder), task=i, strategy="scratch", parent=None, flops=1e6)
    placed = t.add_head(head.kind, {}, state(head), encoder=entry, task=i)
    why = {"reason": "a benchmark", "considered": [{"strategy": "scratch", "score": 0.5}] * 20}
    t.add_task(
        TaskRecord(i, made.name, i, made.classes, made.kind, entry, placed, "scratch", None, why, {"units": 100})
    )
    t.add_signature(sign(made, made, None))
    for unit in range(20):
        t.add_event(i, {"event": "Progress", "unit": unit, "loss": 0.5, "accuracy": 0.5, "fraction": 0.1})
    t.set_state("selector", {})


def timed(work: Callable[[int], object], times: int) -> float:
    """Median milliseconds of CPU time of some work."""
    taken = []
    for i in range(times):
        start = time.process_time()
        work(i)
        taken.append(1000 * (time.process_time() - start))
    return statistics.median(taken)


def measure(folder: Path, sizes: Sequence[int]) -> list[Cost]:
    """Grow one store and measure at every size."""
    found = []
    with KnowledgeStore.open(folder) as store:
        for size in sizes:
            last: list[tuple[float, float]] = []
            measured = range(max(store.learned(), size - MEASURED), size)
            for start in range(store.learned(), measured.start, AT_ONCE):
                with store.transaction() as t:  # those before the measured ones together: it is quicker, and the same
                    for i in range(start, min(start + AT_ONCE, measured.start)):
                        write(t, i)
                        t.add_row(i + 1, i, {"values": [0.5] * 10})
            for i in measured:
                began = time.perf_counter(), time.process_time()
                remember(store, i)
                end = time.perf_counter(), time.process_time()
                last += [(1000 * (end[0] - began[0]), 1000 * (end[1] - began[1]))]
            library = Library(store, SETTINGS)
            library.known_for(task(size))  # reads what an agent that runs has read already
            recall = timed(lambda i, size=size, library=library: offered(library, task(size + i)), 20)
            x = torch.rand(100, *SHAPE)

            def answer(i: int, size: int = size, x: torch.Tensor = x) -> object:
                fresh = Library(store, SETTINGS)
                found = fresh.model_of(i * size // 20, SHAPE)
                assert found is not None
                with torch.no_grad():
                    return found[1](x)

            answered = timed(answer, 20)
            store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            catalog = (folder / "catalog.sqlite").stat().st_size
            found.append(
                Cost(
                    tasks=size,
                    remember_clock_ms=statistics.median(clock for clock, _ in last),
                    remember_ms=statistics.median(cpu for _, cpu in last),
                    recall_ms=recall,
                    answer_ms=answered,
                    open_ms=opening(folder),
                    blob_bytes_per_task=store.bytes_kept() / size,
                    catalog_bytes_per_task=catalog / size,
                )
            )
            print(row(found[-1]), flush=True)
    return found


def offered(library: Library, new: Task) -> int:
    """Recall: what is known for a task, and the records of everything that it offers."""
    known = library.known_for(new)
    return sum(len(source.tasks) for source in known.representations())


def opening(folder: Path) -> float:
    """Milliseconds of CPU time to open a store and to recall for the first time, with everything imported."""
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[2]); import store as b; from pathlib import Path\n"
        "new = b.task(10**6); b.sign(new, new, None); start = time.process_time()\n"
        "with b.KnowledgeStore.open(Path(sys.argv[1]), read_only=True) as opened:\n"
        "    b.offered(b.Library(opened, b.SETTINGS), new)\n"
        "    print(1000 * (time.process_time() - start))"
    )
    command = [sys.executable, "-P", "-c", code, str(folder), str(Path(__file__).parent)]
    taken = [float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(3)]
    return statistics.median(taken)


def row(cost: Cost) -> str:
    """One line of the table."""
    times = (cost.remember_clock_ms, cost.remember_ms, cost.recall_ms, cost.answer_ms, cost.open_ms)
    sizes = (cost.blob_bytes_per_task / 1000, cost.catalog_bytes_per_task / 1000)
    return f"| {cost.tasks:,} | {' | '.join(f'{number:.1f}' for number in (*times, *sizes))} |"


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, nargs="+", default=[10, 100, 1_000, 10_000])
    parser.add_argument("--out", type=Path, help="where to build the store; left out: a temporary folder")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| tasks | remember, clock ms | remember | recall | answer | open | blobs, kB/task | catalog, kB/task |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        found = measure((arguments.out or Path(folder)) / "store", sorted(arguments.tasks))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(cost) for cost in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
