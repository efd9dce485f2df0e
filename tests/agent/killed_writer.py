"""Kills processes that write to a store, and looks at what they leave: `killed_writer.py FOLDER FIRST_SEED SEEDS`.

Even seeds die at a step (a half-written blob, before or after fsync, rename, any SQL statement, COMMIT among them),
odd ones at a moment. One store survives them all, so that every writer starts from what a killed one left.
"""

import itertools
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from evermap.agent.entries import TaskRecord
from evermap.agent.store import KnowledgeStore

STEPS = 150  # of about 60 a task
SECONDS = 0.12


def weights(task: int, salt: int, size: int) -> dict[str, torch.Tensor]:
    return {"w": torch.randn(size, generator=torch.Generator().manual_seed(1000 * task + salt))}


def write_task(store: KnowledgeStore, i: int) -> None:
    with store.transaction() as t:
        t.add_event(i, {"event": "Learned"})
        parent = f"encoder-{i}" if i % 3 else None
        encoder = t.add_encoder({"i": i}, weights(i, 0, 60_000), task=i, strategy="finetune", parent=parent, flops=1.0)
        head = t.add_head("linear", {}, weights(i, 1, 100), encoder=encoder, task=i)
        t.add_bank({"seen": i}, weights(i, 2, 90_000), encoder=None, task=i, slot="anchor")
        t.set_state("seen", i)
        t.add_task(TaskRecord(i, f"task {i}", i, (0, 1), "classification", encoder, head, "finetune"))
        t.add_event(i, {"event": "Remembered"})
    store.add_row(i + 1, i, {"values": [0.5]}, [{"event": "Evaluated"}])


def check(folder: Path) -> int:
    """Assert that the store stands before or after a task, whole; return how many it has."""
    with KnowledgeStore.open(folder) as store:
        tasks = store.tasks()
        n = len(tasks)
        assert store.verify() == []
        assert [task.index for task in tasks] == list(range(n))
        assert [task.encoder for task in tasks] == [f"encoder-{i + 1}" for i in range(n)]
        counts = store.counts()
        assert (counts["encoders"], counts["heads"], counts["banks"]) == (n, n, min(n, 1)), counts
        assert store.state("seen") == (n - 1 if n else None)
        # The row of the last task is a transaction of its own.
        assert len(store.rows()) in {n, n - 1}
        assert len(store.events()) == 2 * n + len(store.rows())
        for i, task in enumerate(tasks[-3:], start=max(0, n - 3)):
            assert task.encoder is not None
            assert torch.equal(store.weights(task.encoder)["w"], weights(i, 0, 60_000)["w"])
        anchor = store.bank_in("anchor")
        assert (anchor is None) == (n == 0)
        if anchor is not None:
            assert torch.equal(store.weights(anchor.id)["w"], weights(n - 1, 2, 90_000)["w"])
        store.collect_garbage()
        assert store.verify() == []
        live = 2 * n + min(n, 1)
        assert len(list((folder / "blobs").iterdir())) == live
        if len(store.rows()) < n:
            store.add_row(n, n - 1, {"values": [0.5]}, [{"event": "Evaluated"}])
    return n


def write_until_killed(folder: Path, dies_at: int | None) -> None:
    steps = itertools.count(1)

    def step(*_: object) -> None:
        if next(steps) == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(call: Callable[..., object]) -> Callable[..., object]:
        def stepped(*args: object, **named: object) -> object:
            step()
            return call(*args, **named)

        return stepped

    write = os.write
    with KnowledgeStore.open(folder) as store:
        if dies_at is not None:
            os.write = lambda file, data: (step(), write(file, data[: len(data) // 2 + 1]))[1]
            os.fsync, os.replace = around(os.fsync), around(os.replace)
            store._db.set_trace_callback(step)
        for i in itertools.count(len(store.tasks())):
            write_task(store, i)


def main(folder: Path, seeds: range) -> None:
    found = []
    before = check(folder)
    for seed in seeds:
        rng = random.Random(seed)
        dies_at = rng.randint(1, STEPS) if seed % 2 == 0 else None
        child = os.fork()
        if child == 0:
            try:
                write_until_killed(folder, dies_at)
            finally:
                os._exit(1)
        if dies_at is None:
            time.sleep(rng.uniform(0, SECONDS))
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status), f"seed {seed}: the writer ended by itself"
        assert os.WTERMSIG(status) == signal.SIGKILL
        left_over = len(list((folder / "blobs").iterdir()))
        after = check(folder)
        assert after >= before, f"seed {seed}: tasks were lost"
        found.append({"seed": seed, "tasks": after, "between": left_over != 2 * after + min(after, 1)})
        before = after
    print(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    first = int(sys.argv[2])
    main(Path(sys.argv[1]), range(first, first + int(sys.argv[3])))
