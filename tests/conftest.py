"""What holds in every test."""

import signal
import threading

import pytest
import torch

# Small networks on busy cores: more threads make them slower, and xdist already uses the cores.
torch.set_num_threads(1)

# A suite that is started in the background ignores Ctrl+C, and so would every process that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command line prints does not depend on the terminal that the tests run in."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
