"""A recipe settled: every setting is decided and written out before a run begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from ..agent.agent_settings import AgentSettings
from ..agent.encoder import Encoder, build_encoder
from ..agent.settings import configure
from ..agent.strategy import Strategy
from ..errors import RecipeError
from ..registry import load
from .scenario import Scenario


def settled(
    scenario: Scenario, strategies: Mapping[str, Strategy], settings: AgentSettings, shape: tuple[int, ...]
) -> Scenario:
    """Write every setting of strategies, encoder and source into a recipe, also what depends on the network's shape.

    Args:
        scenario: The recipe.
        strategies: Its strategies.
        settings: What its agent is made of.
        shape: Shape of one input, as it comes.

    Returns:
        The recipe with every default written out, so that it means the same when a default changes.

    Raises:
        RecipeError: If a setting does not fit the network.
    """
    try:
        encoder = _encoder(settings, shape)
    except RecipeError:
        encoder = None  # nothing will train it, or the agent says so when it comes to that
    made = {}
    for name, strategy in strategies.items():
        chosen = {} if encoder is None else strategy.settle(encoder)
        made[name] = {**written(strategy.settings), **scenario.strategies.get(name, {}), **chosen}
    kind = load("encoder", scenario.agent.encoder).Settings
    network = written(configure(kind, scenario.agent.encoder_settings, "agent.encoder_settings"))
    agent = scenario.agent.model_copy(update={"encoder_settings": network})
    return scenario.model_copy(update={"strategies": made, "agent": agent})


def written(settings: Any) -> dict[str, Any]:
    """Write a frozen dataclass of settings as plain data, as TOML can hold it: without fields that are None."""
    return {name: _plain(value) for name, value in asdict(settings).items() if value is not None}


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def _encoder(settings: AgentSettings, shape: tuple[int, ...]) -> Encoder:
    """Build the network for what comes through the stem, without drawing weights."""
    with torch.device("meta"):
        if settings.stem != "none":
            shape = (build_encoder(settings.stem, shape, settings.stem_settings, 0).feature_size,)
        return build_encoder(settings.encoder, shape, settings.encoder_settings, 0)
