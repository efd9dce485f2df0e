"""What holds in every test."""

import pytest
import torch

# Small networks on busy cores: more threads make them slower, and xdist already uses the cores.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command line prints does not depend on the terminal that the tests run in."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
