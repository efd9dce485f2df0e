"""Where a run is recorded, and the writing of it: every file appears whole or not at all.

JSON knows no NaN and no infinity: where an event or the manifest holds one, null is written. `matrix.csv` and
`avalanche.csv` keep them, as "nan" and "inf".
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OutputError
from .matrix import AccuracyMatrix, to_csv

MANIFEST, SCENARIO, EVENTS = "manifest.json", "scenario.toml", "events.jsonl"
MATRIX, AVALANCHE, DURING = "matrix.csv", "avalanche.csv", "during.csv"

AvalancheRow = tuple[int, str, float]


class RunFolder:
    """Writes a record: every file appears whole or not at all (temporary name, fsync, rename)."""

    def __init__(self, path: Path) -> None:
        """Use a folder.

        Args:
            path: An existing folder, as `new_run_dir` makes it.
        """
        self.path = path

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write `manifest.json`."""
        self._write(MANIFEST, json.dumps(plain(manifest), indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def write_scenario(self, text: str) -> None:
        """Write `scenario.toml`, the recipe as it was resolved."""
        self._write(SCENARIO, text)

    def write_events(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Write `events.jsonl` anew."""
        self._write(EVENTS, "".join(map(_line, events)))

    def append_events(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Add lines to `events.jsonl`: the one file that a crash can leave with half a line, which is dropped."""
        path = self.path / EVENTS
        with _explained(path), path.open("r+b" if path.exists() else "xb") as file:
            file.seek(_sound_length(path))
            file.truncate()
            file.write("".join(map(_line, events)).encode())
            file.flush()
            os.fsync(file.fileno())

    def write_matrix(self, matrix: AccuracyMatrix) -> None:
        """Write `matrix.csv`."""
        self._write(MATRIX, to_csv(matrix))

    def write_avalanche(self, rows: Sequence[AvalancheRow]) -> None:
        """Write `avalanche.csv`."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["row", "metric", "value"])
        writer.writerows([row, metric, repr(float(value))] for row, metric, value in rows)
        self._write(AVALANCHE, out.getvalue())

    def write_during(self, columns: Sequence[str], events: Sequence[Mapping[str, Any]]) -> None:
        """Write `during.csv`: the evaluations in the middle of learning, a line each; empty where nothing was asked.

        Args:
            columns: Names of the columns of the accuracy matrix.
            events: `EvaluatedDuring` events as JSON.
        """
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["task", "strategy", "source", "unit", "flops", "fraction", "own", *columns])
        for event in events:
            numbers = (event["unit"], event["flops"], event["fraction"], event["own"], *event["values"])
            cells = ("" if value is None else repr(value) for value in numbers)
            writer.writerow([event["task"], event["strategy"], event["source"] or "", *cells])
        self._write(DURING, out.getvalue())

    def _write(self, name: str, text: str) -> None:
        with _explained(self.path / name):
            write_atomically(self.path / name, text)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say that a disk failed; what the store holds is not touched by it."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); nothing that the store holds is lost, and "
            "`evermap resume` goes on from it when there is room again."
        ) from error


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that at every moment its name holds the old text or the new one, whole.

    Args:
        path: The file; its folder must exist.
        text: Written in UTF-8, as it is.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def plain(value: Any) -> Any:
    """Turn a value into what JSON can hold: tuples and arrays become lists, NaN and infinity become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return value


def new_run_dir(base: Path, scenario: str, agent: str, seed: int, now: datetime | None = None) -> Path:
    """Make the folder of a new run, with a readable name of its own.

    Args:
        base: Where runs are kept; made if it is not there.
        scenario: Name of the scenario.
        agent: What chooses ("fixed:finetune").
        seed: The run's seed.
        now: When it starts; left out: now.

    Returns:
        `<base>/<scenario>_<agent>_seed<seed>_<UTC time>`, with a number behind it where that name is taken.

    Raises:
        OutputError: If the folder cannot be made.
    """
    names = [re.sub(r"[^\w.+-]+", "-", each).strip("-.") or "unnamed" for each in (scenario, agent)]
    moment = (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y%m%d-%H%M%S")
    name = f"{names[0][:60]}_{names[1][:60]}_seed{seed}_{moment}"
    for attempt in range(1, 10_000):
        path = base / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            if base.exists() and not base.is_dir():
                raise OutputError(f"--out {base}: this is a file; give a folder.") from None
            continue
        except OSError as error:
            raise OutputError(f"--out {base}: cannot be written ({error.strerror}).") from error
        return path
    raise OutputError(f"--out {base}: every name from {name} to {name}-9999 is taken.")


def check_writable(out: Path) -> None:
    """Make sure that a run can be recorded in a folder, before anything is learned; makes it where it is missing.

    Raises:
        OutputError: If it cannot be written, is a file, or holds something.
    """
    try:
        if out.exists() and not out.is_dir():
            raise OutputError(f"--out {out}: this is a file; give a new or an empty folder.")
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise OutputError(f"--out {out}: this folder is not empty; give a new or an empty one.")
        with tempfile.TemporaryFile(dir=out) as file:
            file.write(b"evermap")
    except OSError as error:
        why = "no folder can be made there" if isinstance(error, FileNotFoundError) else error.strerror
        raise OutputError(f"--out {out}: cannot be written ({why}).") from error


def _line(event: Mapping[str, Any]) -> str:
    return json.dumps(plain(event), ensure_ascii=False, allow_nan=False) + "\n"


def _sound_length(path: Path) -> int:
    """Length in bytes without what follows the end of the last line; the file is read from its end."""
    end = path.stat().st_size
    with path.open("rb") as file:
        while end > 0:
            start = max(0, end - 2**16)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0
