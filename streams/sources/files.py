"""Where the files of a published data set are looked for, what is said where one is missing, and how to fetch them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import DataError, DataMissing, UserError


@dataclass(frozen=True)
class DataSet:
    """Where one data set lies under a data root.

    Attributes:
        source: Name of the source, for messages.
        folders: Folders under the root where its files may be, best first ("" for the root itself).
        size: What `--download` fetches, in words ("30 MB").
    """

    source: str
    folders: tuple[str, ...]
    size: str

    def find(self, root: Path | None, *names: str) -> Path:
        """Find one of its files.

        Args:
            root: Folder that holds the user's data sets; None where none was given.
            *names: Names that the file (or a folder in its place) may have, best first.

        Returns:
            The first that is there: every name in the best folder, then in the next.

        Raises:
            DataMissing: If none is; says which file, where it was looked for and how to get it.
        """
        here = " or ".join(dict.fromkeys(f"{folder.partition('/')[0]}/" for folder in self.folders if folder))
        way = f"the folder that holds {here or names[0]}"
        if root is None:
            raise DataMissing(
                f"{self.source} is read from files, and no data root was given: name {way} by --data-root DIR or "
                f"EVERMAP_DATA; with --download the files ({self.size}) are fetched there."
            )
        for folder in self.folders:
            for name in names:
                if (root / folder / name).exists():
                    return root / folder / name
        places = " or ".join(str(root / folder) for folder in self.folders)
        raise DataMissing(
            f"{self.source}: {' or '.join(names)} is missing; it was looked for in {places}. Name {way} by --data-root "
            f"DIR or EVERMAP_DATA; with --download the files ({self.size}) are fetched there."
        )


def read_bytes(path: Path) -> bytes:
    """Read a whole file.

    Args:
        path: The file.

    Raises:
        DataError: If it cannot be read; says why.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error


def by_torchvision(source: str, root: Path, dataset: str, **arguments: Any) -> None:
    """Fetch a data set with torchvision, which knows where it lies and checks what it gets.

    Args:
        source: Name of the source, for messages.
        root: Folder that holds the user's data sets; made where it is missing.
        dataset: Name of torchvision's class.
        **arguments: More arguments of that class.

    Raises:
        UserError: If it cannot be fetched.
    """
    from ..torchvision_guard import guard

    guard()
    import torchvision.datasets

    fetched(source, root, lambda: getattr(torchvision.datasets, dataset)(str(root), download=True, **arguments))


def by_url(source: str, root: Path, folder: str, files: Sequence[tuple[str, str, str | None]]) -> None:
    """Fetch files from their publisher.

    Args:
        source: Name of the source, for messages.
        root: Folder that holds the user's data sets; made where it is missing.
        folder: Where the files go below it.
        files: Address, name and MD5 (None: not checked) of each; one that is there is left alone.

    Raises:
        UserError: If one cannot be fetched, or is not what it should be.
    """
    from ..torchvision_guard import guard

    guard()
    from torchvision.datasets.utils import download_url

    for url, name, md5 in files:
        if (root / folder / name).exists():
            continue
        try:
            fetched(source, root, partial(download_url, url, root / folder, name, md5))
        except UserError:
            (root / folder / name).unlink(missing_ok=True)  # what is not what it should be must not be found next time
            raise


def fetched(source: str, root: Path, get: Callable[[], object]) -> None:
    """Let something be downloaded; what it prints goes to standard error, and what goes wrong is one sentence.

    Args:
        source: Name of the source, for messages.
        root: Where the files go.
        get: Downloads them.

    Raises:
        UserError: If that fails.
    """
    try:
        os.makedirs(root, exist_ok=True)
        with contextlib.redirect_stdout(sys.stderr):
            get()
    except (OSError, RuntimeError, ValueError) as error:  # ValueError: an address or a file that torchvision refuses
        raise UserError(
            f"--download: {source} cannot be fetched into {root}: {type(error).__name__}: {error}"
        ) from error
