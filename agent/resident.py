"""How much memory this process held at most."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def forget_peak() -> None:
    """Begin to watch from here on, where the system can (Linux); elsewhere the peak stays that of the whole process."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")


def peak_bytes() -> int | None:
    """Return the most resident memory since `forget_peak`, in bytes; None where the system does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most) if sys.platform == "darwin" else 1024 * int(most)


class Peak:
    """The most memory of a run, where that of each of its tasks is taken in between."""

    def __init__(self) -> None:
        """Watch from here on."""
        self._before: int | None = None
        forget_peak()

    def begin_task(self) -> None:
        """Take note of what there was, and watch anew: what `peak_bytes` says from here on is about the task."""
        self._before = self.most
        forget_peak()

    @property
    def most(self) -> int | None:
        """The most resident memory since this was made, in bytes; None where the system does not tell."""
        known = [each for each in (self._before, peak_bytes()) if each is not None]
        return max(known, default=None)
