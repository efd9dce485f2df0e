"""Kills runs, lets them go on, and compares what they leave: `killed_run.py FOLDER FIRST_SEED KILLS`.

Even seeds die at a step (half of a write, before an fsync or a rename, at any SQL statement, COMMIT among them), odd
ones at a moment. A run is killed again and again until it ends; then the next one begins, until there were enough.
"""

import itertools
import json
import os
import random
import shutil
import signal
import sys
import time
import warnings
from pathlib import Path

import torch

warnings.filterwarnings("ignore", "no QP solver found", UserWarning)
sys.path.insert(0, str(Path(__file__).parent))

from small_run import leavings, recipe  # noqa: E402 - beside this file

from evermap.agent.store import KnowledgeStore  # noqa: E402 - after the filter
from evermap.scenarios.resume import resume  # noqa: E402
from evermap.scenarios.run import run  # noqa: E402

COMMAND = ("evermap", "run", "small")


def go(folder: Path) -> None:
    """Begin the run, or go on with it; one that was killed before it was a run begins anew."""
    out = folder / "run"
    if (out / "manifest.json").exists():
        list(resume(out))
    else:
        shutil.rmtree(out, ignore_errors=True)
        list(run(recipe(folder), out, command=COMMAND))


def die_at(number: int, said: Path) -> None:
    """Make this process kill itself at the nth step, and say where that was."""
    steps = itertools.count(1)

    def step(where: str) -> None:
        if next(steps) == number:
            said.write_text(where)
            os.kill(os.getpid(), signal.SIGKILL)

    def around(call, where):
        def stepped(*args, **named):
            step(where)
            return call(*args, **named)

        return stepped

    write, opened = os.write, KnowledgeStore.open.__func__

    def half(file, data):
        done = write(file, data[: len(data) // 2 + 1])
        step("half a write")
        return done

    def open_(cls, *args, **named):
        store = opened(cls, *args, **named)
        store._db.set_trace_callback(lambda _: step("SQL"))
        return store

    os.write, os.fsync, os.replace = half, around(os.fsync, "fsync"), around(os.replace, "rename")
    KnowledgeStore.open = classmethod(open_)


def child(work) -> int:
    """Do some work in a process of its own; return its id."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    return process


def main(folder: Path, first: int, kills: int) -> None:
    torch.set_num_threads(1)
    reference = folder / "reference"
    reference.mkdir(parents=True)
    began = time.monotonic()
    go(reference)
    seconds = time.monotonic() - began
    expected = leavings(reference / "run")
    found, runs, seed = [], 0, first
    while len(found) < kills:
        here = folder / f"run{runs}"
        here.mkdir()
        while True:
            if len(found) == kills:
                process = child(lambda here=here: go(here))
                assert os.waitpid(process, 0)[1] == 0
                break
            rng = random.Random(seed)
            seed += 1
            if seed % 2:
                said = here / "where"
                number = rng.randint(1, 500)

                def work(number=number, said=said, here=here) -> None:
                    die_at(number, said)
                    go(here)

                process = child(work)
            else:
                process = child(lambda here=here: go(here))
                time.sleep(rng.uniform(0, 0.7 * seconds))
                os.kill(process, signal.SIGKILL)
            status = os.waitpid(process, 0)[1]
            if os.WIFSIGNALED(status):
                where = (here / "where").read_text() if seed % 2 else "a moment"
                found.append({"seed": seed - 1, "where": where, "run": runs})
                continue
            assert status == 0, f"seed {seed - 1}: the run failed"
            break
        left = leavings(here / "run")
        assert left.keys() == expected.keys(), set(left) ^ set(expected)
        for part, content in expected.items():
            assert left[part] == content, f"run {runs}, {part}: {left[part]!r:.2000} is not {content!r:.2000}"
        manifest = json.loads((here / "run" / "manifest.json").read_text())
        assert len(manifest["interruptions"]) <= sum(kill["run"] == runs for kill in found)
        runs += 1
    print(json.dumps({"kills": found, "runs": runs}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
