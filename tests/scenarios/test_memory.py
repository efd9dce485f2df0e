import os
from pathlib import Path

import pytest

from evermap.scenarios import memory


def test_the_peak_grows_with_what_is_held():
    memory.forget_peak()
    before = memory.peak_bytes()
    held = bytearray(64_000_000)
    held[::4096] = b"x" * len(held[::4096])  # touched, so that it is resident
    more = 50_000_000 if os.access("/proc/self/clear_refs", os.W_OK) else 0  # else it is that of the whole process
    assert memory.peak_bytes() >= max(before + more, len(held))
    del held
    assert memory.peak_bytes() >= before + more  # a peak stays


def test_where_linux_does_not_tell_the_process_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "none" / "either")
    memory.forget_peak()
    assert memory.peak_bytes() > 1_000_000
