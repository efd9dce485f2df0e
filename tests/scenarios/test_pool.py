"""Worker processes: what they are told, what they say, how they end."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from evermap.scenarios.pool import Pool

# Does what its task says, in a line of Python each; it is no evermap, so that it starts at once.
FAKE = """
import json, os, signal, sys, time
def stop(*_):
    open("stopped", "a").write("x")
    sys.exit(130)
signal.signal(signal.SIGTERM, stop)
for line in sys.stdin:
    task = json.loads(line)
    exec(task["do"])
    print(json.dumps({"state": "done", "pid": os.getpid()}), flush=True)
"""
COMMAND = (sys.executable, "-c", FAKE)


@pytest.fixture(autouse=True)
def _away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers write where the test is."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def done(pool: Pool, *tasks: str) -> list[tuple[int, dict]]:
    return [each for each in pool.do([{"do": task} for task in tasks]) if each is not None]


def test_one_worker_does_one_task_after_another(tmp_path: Path):
    with Pool(1, tmp_path, COMMAND) as pool:
        told = done(pool, "pass", "print(json.dumps({'state': 'at work'}), flush=True)")
        again = done(pool, "pass")
    assert [(position, message["state"]) for position, message in told] == [
        (0, "started"),
        (0, "done"),
        (1, "started"),
        (1, "at work"),
        (1, "done"),
    ]
    assert told[1][1]["pid"] == told[4][1]["pid"] == again[1][1]["pid"]
    assert not list(tmp_path.glob("*.log"))  # an empty log is no log


def test_several_work_at_a_time_and_not_more(tmp_path: Path):
    with Pool(2, tmp_path, COMMAND) as pool:
        pids = {message["pid"] for _, message in done(pool, *["time.sleep(0.2)"] * 6) if "pid" in message}
    assert len(pids) == 2


def test_a_worker_that_dies_fails_its_task_and_is_replaced(tmp_path: Path):
    with Pool(1, tmp_path, COMMAND) as pool:
        kill = "print('last words', file=sys.stderr, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
        told = done(pool, kill, "sys.exit(7)", "pass")
    failed = [message["why"] for _, message in told if message["state"] == "failed"]
    assert failed[0] == f"the worker process ended (killed by SIGKILL); {tmp_path / 'worker-1.log'} has what it printed"
    assert "(exit code 7)" in failed[1]
    assert told[-1][1]["state"] == "done"
    assert "last words" in (tmp_path / "worker-1.log").read_text()


def test_no_process_is_left_when_the_caller_gives_up(tmp_path: Path):
    pids = []
    start = time.monotonic()
    with Pool(2, tmp_path, COMMAND) as pool:
        say = "print(json.dumps({'state': 'at work', 'pid': os.getpid()}), flush=True); time.sleep(60)"
        for told in pool.do([{"do": say}] * 5):
            if told is not None and told[1]["state"] == "at work":
                pids.append(told[1]["pid"])
            if len(pids) == 2:
                break
    assert time.monotonic() - start < 30
    assert Path("stopped").read_text() == "xx"  # they were asked, not killed
    for pid in pids:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            continue
        raise AssertionError(f"process {pid} is still there")


def test_whoever_waits_is_told_that_nothing_happens(tmp_path: Path):
    with Pool(1, tmp_path, COMMAND) as pool:
        assert None in list(pool.do([{"do": "time.sleep(0.8)"}]))
