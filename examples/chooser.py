"""A selector that was trained elsewhere: a small network from a task's profile to a preference for every strategy.

`examples/train_chooser.py` trains one and puts a copy of this file beside what was trained:

    evermap run composite --agent chooser --plugin chooser/chooser.py

It needs nothing but evermap: the network is a few matrices in `chooser.safetensors`, its names stand in `chooser.json`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

from evermap.agent.events import Profiled
from evermap.agent.features import FEATURES, circumstances, features
from evermap.agent.selector import Choice, Option, Selector
from evermap.agent.workbench import Workbench
from evermap.errors import UserError
from evermap.streams.task import Task

HERE = Path(__file__).parent


class Chooser(Selector):
    """Takes the strategy that a trained network prefers among those that apply, from the source that stands first."""

    name = "chooser"

    def __init__(self, argument: str = "") -> None:
        """Load the network that lies beside this file.

        Args:
            argument: Nothing.

        Raises:
            UserError: If there is none, or it was trained on other features.
        """
        super().__init__(argument)
        if not (HERE / "chooser.json").is_file():
            raise UserError(f"{HERE / 'chooser.json'}: is missing; examples/train_chooser.py makes it.")
        names = json.loads((HERE / "chooser.json").read_text("utf-8"))
        if tuple(names["features"]) != FEATURES:
            raise UserError(f"{HERE / 'chooser.json'}: it was trained on other features; train it again.")
        self.actions: list[str] = names["actions"]
        self.layers = load_file(HERE / "chooser.safetensors")

    def preferences(self, profile: Sequence[float]) -> dict[str, float]:
        """Say how much each strategy is preferred.

        Args:
            profile: The numbers of `FEATURES`.

        Returns:
            Strategy to logit.
        """
        x = torch.tensor(profile, dtype=torch.float32)
        last = len(self.layers) // 2 - 1
        for k in range(last + 1):
            x = self.layers[f"{k}.weight"] @ x + self.layers[f"{k}.bias"]
            x = x if k == last else torch.tanh(x)
        return dict(zip(self.actions, x.tolist(), strict=True))

    def select(
        self, task: Task, profile: Profiled, options: Sequence[Option], bench: Workbench, rng: torch.Generator
    ) -> Choice:
        """Take the most preferred strategy that applies; one that was not trained on comes last."""
        preferred = self.preferences(features(profile, circumstances(bench)))
        open_to = [option for option in options if option.why_not is None]
        scores = {option: preferred.get(option.strategy, -1e9) for option in open_to}
        best = max(open_to, key=lambda option: scores[option])  # of one strategy the first: the best source
        return Choice(best.strategy, best.source, f"the trained chooser prefers {best.strategy}", scores)
