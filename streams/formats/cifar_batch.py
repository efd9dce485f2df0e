"""CIFAR's batches: Python 2 pickles of one dictionary, read by an unpickler that admits nothing else.

A pickle is a program: the ordinary reader calls whatever function a file names. This one knows the three names that the
publisher's files hold and refuses every other, so that a file remains data.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError


def read_batch(content: bytes, path: Path) -> Mapping[str, Any]:
    """Read one batch, or the file with the names of the classes.

    Args:
        content: The file's bytes.
        path: Where they are from, for messages.

    Returns:
        The dictionary: texts as keys; texts, whole numbers, lists of them, and arrays as values.

    Raises:
        DataError: If it is no such file, or asks for anything but an array.
    """
    try:
        found = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle may raise anything
        raise DataError(f"{path}: is no batch of CIFAR, or damaged: {type(error).__name__}: {error}.") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: holds {type(found).__name__}; a batch of CIFAR is a dictionary.")
    return found


class _ArraysOnly(pickle.Unpickler):
    """Finds what numpy's arrays of bytes and numbers need, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return _array
        if module == "numpy" and name in ("ndarray", "dtype"):
            return {"ndarray": np.ndarray, "dtype": _dtype}[name]
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes for Python 2
            return _latin1
        raise DataError(f"asks for {module}.{name}; a batch of CIFAR holds texts, numbers and arrays.")


def _array(kind: object, shape: tuple[int, ...], code: object) -> np.ndarray[Any, Any]:
    """Make the empty array that the file then fills."""
    if kind is not np.ndarray:
        raise DataError(f"makes an array of {kind!r}.")
    return np.ndarray(shape, np.int8)


def _dtype(code: str, align: object = False, copy: object = True) -> np.dtype[Any]:
    if str(code).lstrip("<>|=") not in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"):
        raise DataError(f"holds an array of {code!r}; valid are whole numbers and floats.")
    return np.dtype(code)


def _latin1(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise DataError(f"holds bytes in the encoding {encoding!r}.")
    return text.encode("latin1")
