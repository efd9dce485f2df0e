"""What a run was: versions, hardware, hashes, seed, times and how it ended; plain data for `manifest.json`."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FORMAT = 1
STATUSES = ("running", "finished", "interrupted", "failed")
_PACKAGES = {"evermap": "evermap", "torch": "torch", "numpy": "numpy", "avalanche": "avalanche-lib"}


def new_manifest(
    *,
    run_id: str,
    scenario: str,
    agent: str,
    seed: int,
    recipe: str,
    data_hash: str | None = None,
    command: Sequence[str] = (),
    now: datetime | None = None,
) -> dict[str, Any]:
    """Describe a run that starts.

    Args:
        run_id: Name of its folder.
        scenario: Name of the scenario.
        agent: What chose ("probe", "fixed:finetune").
        seed: Decides all that is random.
        recipe: Text of the resolved recipe, as in `scenario.toml`.
        data_hash: SHA-256 of the source's samples; None where it is unknown.
        command: The command line that makes the run again.
        now: When it starts; left out: now.

    Returns:
        The manifest, with status "running".
    """
    return {
        "format": FORMAT,
        "id": run_id,
        "scenario": scenario,
        "agent": agent,
        "seed": seed,
        "command": list(command),
        "recipe_sha256": text_hash(recipe),
        "data_sha256": data_hash,
        "versions": versions(),
        "hardware": hardware(),
        "started": _moment(now),
        "ended": None,
        "status": "running",
        "kept": None,
        "peak_bytes": None,
        "interruptions": [],
    }


def taken_up(
    manifest: Mapping[str, Any], facts: Mapping[str, Any], changed: Sequence[str], now: datetime | None = None
) -> dict[str, Any]:
    """Describe a run that goes on after it was cut off.

    Args:
        manifest: As it was; its status is "running" where the process was killed.
        facts: What decides the results from here on.
        changed: What differs from before, in words.
        now: When it goes on; left out: now.

    Returns:
        The manifest, with status "running" and one more interruption.
    """
    interruption = {
        "status": "killed" if manifest["status"] == "running" else manifest["status"],
        "ended": manifest["ended"],
        "kept": manifest["kept"],
        "resumed": _moment(now),
        "changed": list(changed),
    }
    return {
        **manifest,
        "recipe_sha256": text_hash(facts["recipe"]),
        "data_sha256": facts["data_sha256"],
        "versions": dict(facts["versions"]),
        "ended": None,
        "status": "running",
        "kept": None,
        "interruptions": [*manifest.get("interruptions", ()), interruption],
    }


def ended(
    manifest: Mapping[str, Any], status: str, kept: str, now: datetime | None = None, peak_bytes: int | None = None
) -> dict[str, Any]:
    """Describe the same run when it ends.

    Args:
        manifest: As it was.
        status: "finished", "interrupted" or "failed".
        kept: What the folder holds now, in words ("4 of 10 tasks; …").
        now: When it ended; left out: now.
        peak_bytes: Most memory that the process held at once; None where it is not known. Of a run that went on after
            an interruption the greatest is kept.

    Raises:
        ValueError: If the status is none of these.
    """
    if status not in STATUSES[1:]:
        raise ValueError(f"a run ends as {' or '.join(STATUSES[1:])}; found {status!r}")
    peaks = [peak for peak in (manifest.get("peak_bytes"), peak_bytes) if peak is not None]
    known = {"peak_bytes": max(peaks, default=None)}
    return {**manifest, "status": status, "kept": kept, **known, "ended": _moment(now)}


def text_hash(text: str) -> str:
    """SHA-256 of a text in UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of what decides the numbers, without importing it; None: not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name, package in _PACKAGES.items():
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            found[name] = None
    return found


def hardware() -> dict[str, Any]:
    """Return the processor's model, the cores that this process may use, and the platform; never the host's name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": _cpu_model(), "cores": cores, "platform": platform.platform()}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _moment(now: datetime | None) -> str:
    return (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
