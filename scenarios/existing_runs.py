"""Runs that are there already, found again by what they ran: so that a fixed strategy need not be run twice."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import RecordError
from .record import read_manifest
from .run_folder import MANIFEST, SCENARIO

# Fields of a recipe that are words for people.
_WORDS = ("name", "description", "shows", "expected")


class ExistingRuns:
    """Finished runs below a folder."""

    def __init__(self, folder: Path) -> None:
        """Look through a folder; what is no run, is damaged or did not finish is passed over.

        Args:
            folder: The folder.

        Raises:
            RecordError: If there is no such folder.
        """
        if not folder.is_dir():
            raise RecordError(f"--runs {folder}: there is no such folder.")
        self._runs: list[tuple[dict[str, Any], Path]] = []
        for manifest in sorted(folder.rglob(MANIFEST)):
            try:
                found = read_manifest(manifest.parent)
            except RecordError:
                continue
            if found["status"] == "finished":
                self._runs.append((found, manifest.parent))

    def like(self, run: Path, agent: str) -> Path | None:
        """Find the run of another agent on the same stream, with the same budget, settings, seed and data.

        Args:
            run: A finished run.
            agent: The other agent.

        Returns:
            Its folder; None where there is none.
        """
        manifest, wanted = read_manifest(run), _recipe(run)
        for found, folder in self._runs:
            same = all(found.get(key) == manifest.get(key) for key in ("seed", "data_sha256"))
            if found["agent"] == agent and same and "continues" not in found and _recipe(folder) == wanted:
                return folder
        return None


def _recipe(run: Path) -> Mapping[str, Any] | None:
    """A run's recipe without its agent's name and without words; None where it cannot be read."""
    try:
        recipe = tomllib.loads((run / SCENARIO).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None
    agent = {key: value for key, value in recipe.get("agent", {}).items() if key != "selector"}
    return {**{key: value for key, value in recipe.items() if key not in _WORDS}, "agent": agent}
