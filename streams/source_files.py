"""The files of sources: paths in settings found and made absolute, and what is missing fetched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .. import registry
from ..errors import DataMissing, UserError
from .source import Source


def find_path(name: str, path: str, root: Path | None) -> Path:
    """Find a file or folder of the user's own that a setting names.

    Args:
        name: The source's name, for messages.
        path: As the setting has it; a recipe's are absolute already (see `anchor_paths`).
        root: Folder that holds the user's data sets; None where none was given.

    Returns:
        The path: as it stands, or below the data root.

    Raises:
        DataMissing: If it is in neither place.
    """
    given = Path(path).expanduser()
    tried = [given.absolute(), *([(root / given).absolute()] if root is not None else [])]
    for each in tried:
        if each.exists():
            return each
    places = " or ".join(map(str, dict.fromkeys(tried)))
    raise DataMissing(f"{name}: there is no {places}; give the path of your data in source_settings.path.")


def fetch(source: Source, root: Path | None) -> None:
    """Download what a source needs and does not find.

    A source that knows what it holds only after loading is asked to download in any case, and sees to it what is there.

    Args:
        source: The source.
        root: Folder that holds the user's data sets; None where none was given.

    Raises:
        UserError: If there is no such folder, or the files cannot be fetched.
    """
    if type(source).download is Source.download:
        return  # there is nothing to fetch
    reason = ""
    try:
        if source.sizes(root) is not None:
            return
    except DataMissing as missing:
        reason = f" {missing}"
    if root is None:
        raise UserError(f"--download needs a folder to write to: --data-root DIR or EVERMAP_DATA.{reason}")
    source.download(root)


def anchor_paths(
    name: str, settings: Mapping[str, Any], folders: Iterable[Path | None], where: str, field: str
) -> dict[str, Any]:
    """Make the paths among a source's settings absolute, so that a recipe means the same files from anywhere.

    Args:
        name: The source's registered name; nothing is done for one that is not registered.
        settings: Its settings.
        folders: What a relative path may be relative to, in this order; None is passed over.
        where: The file, or what else an error names as the place.
        field: Dotted path of the settings in the recipe.

    Returns:
        The settings, with paths that exist made absolute.

    Raises:
        DataMissing: If there is no such file or folder in any of them.
    """
    known, made = registry.registered("source"), dict(settings)
    for key in known[name].load().paths if name in known else ():
        given = made.get(key)
        if not isinstance(given, str) or not given:
            continue  # left out, or of a wrong type: checked with the other settings
        tried = list(dict.fromkeys((folder / Path(given).expanduser()).absolute() for folder in folders if folder))
        found = next((path for path in tried if path.exists()), None)
        if found is None:
            places = " or ".join(map(str, tried))
            raise DataMissing(
                f"{where}: {field}.{key}: found {given!r}; there is no {places} (a path is relative to the recipe's "
                "file, else to the data root: --data-root DIR or EVERMAP_DATA)."
            )
        made[key] = str(found)
    return made
