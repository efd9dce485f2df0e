"""Paths of data in a recipe: made absolute when it is read, so that its record means the same files from anywhere."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..streams.source_files import anchor_paths

# Where a table that names a source has the source's settings.
_SETTINGS = ("source_settings", "settings")


def anchored(data: dict[str, Any], folders: Sequence[Path | None], where: str) -> dict[str, Any]:
    """Make the paths among the settings of every source in a recipe absolute.

    Args:
        data: The recipe as read, not validated; left as it is.
        folders: What a relative path may be relative to, in this order; None is passed over.
        where: The file, or what else an error names as the place.

    Returns:
        The recipe with absolute paths.

    Raises:
        DataMissing: If there is no such file or folder in any of them.
    """
    made = copy.deepcopy(data)
    for table, field in _tables(made, ""):
        for key in _SETTINGS:
            if isinstance(table.get(key), dict):
                table[key] = anchor_paths(table["source"], table[key], folders, where, f"{field}{key}")
    return made


def sources_of(data: dict[str, Any]) -> list[tuple[str, Any]]:
    """List what decides which data a recipe needs.

    Args:
        data: The recipe as read, not validated.

    Returns:
        Name and settings of each source, and the roles that sources have in a stream.
    """
    found = [(table["source"], [table.get(key) for key in _SETTINGS]) for table, _ in _tables(data, "")]
    stream = data.get("stream")
    return [*found, ("roles", stream.get("roles"))] if isinstance(stream, dict) else found


def _tables(value: Any, path: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Find every table that names a source, with its path."""
    if isinstance(value, dict):
        if isinstance(value.get("source"), str):
            yield value, path
        for key, inner in value.items():
            yield from _tables(inner, f"{path}{key}.")
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _tables(inner, f"{path}{position}.")
