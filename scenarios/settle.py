"""A recipe settled: what strategies leave to the network's shape is decided and written out before a run begins."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ..agent.agent_settings import AgentSettings
from ..agent.encoder import Encoder, build_encoder
from ..agent.strategy import Strategy
from ..errors import RecipeError
from .scenario import Scenario


def settled(
    scenario: Scenario, strategies: Mapping[str, Strategy], settings: AgentSettings, shape: tuple[int, ...]
) -> Scenario:
    """Write into a recipe what its strategies settle on for the network that it trains.

    Args:
        scenario: The recipe.
        strategies: Its strategies.
        settings: What its agent is made of.
        shape: Shape of one input, as it comes.

    Returns:
        The recipe; as it was where no strategy leaves anything open, or the network cannot be built for such inputs.

    Raises:
        RecipeError: If a setting does not fit the network.
    """
    try:
        encoder = _encoder(settings, shape)
    except RecipeError:
        return scenario  # nothing will train it, or the agent says so when it comes to that
    open_ones = {name: dict(strategy.settle(encoder)) for name, strategy in strategies.items()}
    made = {name: {**scenario.strategies.get(name, {}), **values} for name, values in open_ones.items() if values}
    return scenario.model_copy(update={"strategies": {**scenario.strategies, **made}})


def _encoder(settings: AgentSettings, shape: tuple[int, ...]) -> Encoder:
    """Build the network for what comes through the stem, without drawing weights."""
    with torch.device("meta"):
        if settings.stem != "none":
            shape = (build_encoder(settings.stem, shape, settings.stem_settings, 0).feature_size,)
        return build_encoder(settings.encoder, shape, settings.encoder_settings, 0)
