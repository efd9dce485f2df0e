"""Worker processes that do tasks: started when they are needed, replaced when they fail, stopped in good order."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

Task = Mapping[str, Any]
Message = dict[str, Any]

WORKER = (sys.executable, "-P", "-m", "evermap.scenarios.worker")
_TICK = 0.25  # seconds after which whoever waits is told that nothing has happened
_PATIENCE = 60.0  # seconds that an interrupted worker may take to close its record


class Pool:
    """Some worker processes with one torch thread each; torch is imported once in each of them.

    A context manager: when it ends, however it ends, no process is left.
    """

    def __init__(self, jobs: int, logs: Path, command: Sequence[str] = WORKER) -> None:
        """Start nothing yet.

        Args:
            jobs: How many processes may work at a time.
            logs: Folder for what they print; a log that stays empty is removed.
            command: What a worker is.
        """
        self._jobs, self._logs, self._command = jobs, logs, command
        self._workers: list[_Worker] = []
        self._inbox: queue.Queue[tuple[_Worker, Message | None]] = queue.Queue()

    def do(self, tasks: Sequence[Task]) -> Generator[tuple[int, Message] | None]:
        """Have tasks done, as many at a time as there are workers.

        Args:
            tasks: Plain data, as `worker` understands it.

        Yields:
            The position of a task and what its worker says about it; the last message about each has "state" "done",
            or "failed" with the reason under "why". None where nothing has happened for a moment.
        """
        waiting = deque(enumerate(tasks))
        busy: dict[_Worker, int] = {}
        while waiting or busy:
            while waiting and len(busy) < self._jobs:
                position, task = waiting.popleft()
                worker = next((each for each in self._workers if each not in busy), None) or self._start()
                busy[worker] = position
                worker.send(task)
                yield position, {"state": "started"}
            try:
                worker, message = self._inbox.get(timeout=_TICK)
            except queue.Empty:
                yield None
                continue
            if worker not in busy:
                continue  # it ended after its work was done
            if message is None:
                message = {"state": "failed", "why": worker.last_words()}
            position = busy[worker]
            if message["state"] in ("done", "failed"):
                del busy[worker]
            if message["state"] == "failed":  # whatever went wrong there does not touch the next task
                self._workers.remove(worker)
                worker.stop()
            yield position, message

    def _start(self) -> _Worker:
        taken = {each.number for each in self._workers}
        number = next(i for i in range(1, self._jobs + 1) if i not in taken)
        worker = _Worker(number, self._logs / f"worker-{number}.log", self._inbox, self._command)
        self._workers.append(worker)
        return worker

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.ask_to_stop()
        for worker in self._workers:
            worker.stop()


class _Worker:
    """One process, and a thread that reads what it says."""

    def __init__(
        self, number: int, log: Path, inbox: queue.Queue[tuple[_Worker, Message | None]], command: Sequence[str]
    ) -> None:
        self.number, self._log = number, log
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
                env=environment,
            )
        self._reader = threading.Thread(target=self._read, args=(inbox,), daemon=True)
        self._reader.start()

    def send(self, task: Task) -> None:
        """Give it something to do; where it is gone, its end tells."""
        pipe = self._pipe(self._process.stdin)
        with contextlib.suppress(OSError):
            pipe.write(json.dumps(task) + "\n")
            pipe.flush()

    def ask_to_stop(self) -> None:
        """Interrupt what it does."""
        self._process.terminate()

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        self.ask_to_stop()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what was still to be said has no listener
                self._pipe(pipe).close()
        if self._log.exists() and not self._log.stat().st_size:
            self._log.unlink()

    def last_words(self) -> str:
        """Say how a process ended that should not have."""
        code = self._process.wait()
        how = f"exit code {code}"
        if code < 0:
            how = f"killed by {signal.Signals(-code).name}"
        return f"the worker process ended ({how}); {self._log} has what it printed"

    def _read(self, inbox: queue.Queue[tuple[_Worker, Message | None]]) -> None:
        for line in self._pipe(self._process.stdout):
            inbox.put((self, json.loads(line)))
        inbox.put((self, None))

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        if pipe is None:
            raise ValueError("the process was started without this pipe")
        return pipe
