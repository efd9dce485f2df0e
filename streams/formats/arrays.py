"""NumPy's .npz files: arrays by name, read one by one, of which those that hold Python objects are refused."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError

T = TypeVar("T")


class Arrays:
    """The arrays of one file.

    Attributes:
        path: The file.
        names: Names of the arrays.
    """

    def __init__(self, path: Path) -> None:
        """List the arrays.

        Args:
            path: The file.

        Raises:
            DataError: If it is no such file.
        """
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                self.names = tuple(name.removesuffix(".npy") for name in archive.namelist())
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: is no .npz file, or damaged: {error}.") from error

    def read(self, name: str) -> NDArray[Any]:
        """Read one array.

        Args:
            name: Its name.

        Raises:
            DataError: If there is none of this name, it is damaged, or it holds Python objects, which are pickles.
        """
        return self._open(name, lambda file: np.lib.format.read_array(file, allow_pickle=False))

    def shape(self, name: str) -> tuple[int, ...]:
        """Read the shape of one array, without the array; errors as in `read`."""
        return self._open(name, _header)

    def _open(self, name: str, read: Callable[[IO[bytes]], T]) -> T:
        if name not in self.names:
            held = ", ".join(self.names) or "nothing"
            raise DataError(f"{self.path}: there is no array {name!r} in it; it holds {held}.")
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as file:
                return read(file)
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{self.path}: {name}: cannot be read: {error}.") from error


def _header(file: IO[bytes]) -> tuple[int, ...]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return tuple(read(file)[0])
