"""One process at a time works on a run: a lock that ends with its process, however that ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ResumeError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's folder for the length of a block; nothing is written for it.

    Where the system has no such locks the store's own still keeps two writers apart.

    Args:
        folder: The folder, which exists.

    Raises:
        ResumeError: If another process holds it.
    """
    if os.name != "posix":
        yield
        return
    import fcntl

    file = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ResumeError(f"{folder}: another process is working on this run; wait until it ends.") from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(file)
