"""The record of one run, read back from `runs/<id>/` with care; the writing is in `run_folder`."""

from __future__ import annotations

import csv
import io
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RecordError
from .manifest import FORMAT, STATUSES
from .matrix import AccuracyMatrix, from_csv
from .run_folder import AVALANCHE, EVENTS, MANIFEST, MATRIX, SCENARIO, AvalancheRow
from .run_folder import RunFolder as RunFolder  # whoever reads records may write them
from .run_folder import check_writable as check_writable
from .run_folder import new_run_dir as new_run_dir


@dataclass(frozen=True)
class Record:
    """What a run left.

    Attributes:
        path: Its folder.
        manifest: `manifest.json`.
        scenario: `scenario.toml`.
        events: The lines of `events.jsonl`; where NaN or infinity was, stands None.
        matrix: The accuracy matrix; None where the run ended before its first row.
        avalanche: Avalanche's values as it gave them: row, metric, value.
        problems: What is damaged but could be read around, in words.
    """

    path: Path
    manifest: dict[str, Any]
    scenario: dict[str, Any]
    events: list[dict[str, Any]]
    matrix: AccuracyMatrix | None
    avalanche: list[AvalancheRow]
    problems: tuple[str, ...] = ()


def read_record(path: Path) -> Record:
    """Read the record of a run, finished or not.

    Args:
        path: Its folder.

    Returns:
        The record; half a line at the end of `events.jsonl` is left out and named in its `problems`.

    Raises:
        RecordError: If the folder is no record, or a file of it is missing or damaged.
    """
    problems: list[str] = []
    manifest = read_manifest(path)
    try:
        scenario = tomllib.loads(_text(path / SCENARIO))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RecordError(f"{path / SCENARIO}: is not valid TOML: {error}.") from error
    return Record(
        path=path,
        manifest=manifest,
        scenario=scenario,
        events=_read_events(path / EVENTS, problems),
        matrix=_read_matrix(path / MATRIX),
        avalanche=_read_avalanche(path / AVALANCHE),
        problems=tuple(problems),
    )


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of a run.

    Args:
        path: The run's folder.

    Returns:
        What the run is and how it ended.

    Raises:
        RecordError: If the folder is no record, or its manifest is damaged.
    """
    if not path.is_dir():
        raise RecordError(f"{path}: there is no such folder; give the folder of a run (runs/<id>).")
    if not (path / MANIFEST).is_file():
        raise RecordError(
            f"{path}: is no run record, there is no {MANIFEST} in it; give the folder of a run (runs/<id>)."
        )
    manifest = _object(path / MANIFEST, _text(path / MANIFEST), "")
    if manifest.get("format") != FORMAT:
        raise RecordError(f"{path / MANIFEST}: format is {manifest.get('format')!r}; this evermap reads {FORMAT}.")
    if manifest.get("status") not in STATUSES:
        raise RecordError(f"{path / MANIFEST}: status is {manifest.get('status')!r}; valid: {', '.join(STATUSES)}.")
    return manifest


def _read_events(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    *lines, rest = _bytes(path).split(b"\n")  # after the last line's end stands nothing, unless writing was cut off
    if rest:
        problems.append(f"{path.name} ends in half a line ({len(rest)} bytes), which was left out")
    return [_object(path, _decoded(path, line), f"line {number}: ") for number, line in enumerate(lines, start=1)]


def _read_matrix(path: Path) -> AccuracyMatrix | None:
    if not path.exists():
        return None
    try:
        return from_csv(_text(path))
    except (ValueError, csv.Error) as error:
        raise RecordError(f"{path}: is no accuracy matrix: {error}.") from error


def _read_avalanche(path: Path) -> list[AvalancheRow]:
    if not path.exists():
        return []
    try:
        head, *rows = csv.reader(io.StringIO(_text(path), newline=""))
        if head != ["row", "metric", "value"]:
            raise ValueError(f"the head is {head}")
        return [(int(row), metric, float(value)) for row, metric, value in rows]
    except (ValueError, csv.Error) as error:
        raise RecordError(f"{path}: must hold lines of 'row,metric,value': {error}.") from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise RecordError(f"{path}: is missing; a record has {MANIFEST}, {SCENARIO} and {EVENTS}.") from None
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}).") from error


def _decoded(path: Path, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: is damaged, it is not text in UTF-8 ({error.reason}).") from error


def _text(path: Path) -> str:
    return _decoded(path, _bytes(path))


def _object(path: Path, text: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path}: {where}is damaged, it is not valid JSON: {error}.") from error
    if not isinstance(found, dict):
        raise RecordError(f"{path}: {where}must be a JSON object; found {type(found).__name__}.")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
