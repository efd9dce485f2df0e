import os
from pathlib import Path

import pytest

from evermap.agent import resident as memory


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


def test_a_run_remembers_its_peak_while_every_task_begins_anew(monkeypatch: pytest.MonkeyPatch):
    now = {"peak": 0}
    monkeypatch.setattr(memory, "forget_peak", lambda: now.update(peak=10))
    monkeypatch.setattr(memory, "peak_bytes", lambda: now["peak"])
    peak = memory.Peak()
    assert peak.most == 10
    tasks = []
    for held in (70, 40):
        peak.begin_task()
        now["peak"] = max(now["peak"], held)
        tasks.append(memory.peak_bytes())
    assert tasks == [70, 40]
    assert peak.most == 70


def test_a_system_that_tells_nothing_has_no_peak(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "peak_bytes", lambda: None)
    peak = memory.Peak()
    peak.begin_task()
    assert peak.most is None
