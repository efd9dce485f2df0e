"""The idx format of the MNIST family: a header that says the shape, then unsigned bytes; gzipped or not.

The format is described at the end of http://yann.lecun.com/exdb/mnist (LeCun, Cortes & Burges 1998).
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO

from ...errors import DataError

UNSIGNED_BYTES = 0x08


def read_shape(path: Path, dimensions: int) -> tuple[int, ...]:
    """Read the header alone.

    Args:
        path: The file; gzipped if its name ends in ".gz".
        dimensions: How many the file must have: 1 for labels, 3 for images.

    Returns:
        The shape.

    Raises:
        DataError: If the file is no such file.
    """
    return _read(path, dimensions, values=False)[0]


def read_idx(path: Path, dimensions: int) -> tuple[tuple[int, ...], bytes]:
    """Read a whole file.

    Args:
        path: The file; gzipped if its name ends in ".gz".
        dimensions: How many the file must have: 1 for labels, 3 for images.

    Returns:
        The shape, and the values in C order.

    Raises:
        DataError: If the file is no such file, or holds more or less than its header says.
    """
    shape, values = _read(path, dimensions, values=True)
    if len(values) != math.prod(shape):
        raise DataError(f"{path}: holds {len(values)} values; its header says {math.prod(shape)} ({shape}).")
    return shape, values


def _read(path: Path, dimensions: int, values: bool) -> tuple[tuple[int, ...], bytes]:
    try:
        with _open(path) as file:
            head = file.read(4 + 4 * dimensions)
            magic = head[:4]
            if magic != bytes((0, 0, UNSIGNED_BYTES, dimensions)) or len(head) < 4 + 4 * dimensions:
                raise DataError(
                    f"{path}: is no idx file of unsigned bytes in {dimensions} dimensions: it begins with "
                    f"{magic.hex(' ')}, not with 00 00 08 {dimensions:02x}."
                )
            return struct.unpack(f">{dimensions}I", head[4:]), file.read() if values else b""
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}.") from error


def _open(path: Path) -> IO[bytes] | gzip.GzipFile:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
