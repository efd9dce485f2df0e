"""What an agent is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class AgentSettings:
    """What an agent is made of.

    Attributes:
        encoder: Registered name of the encoder that it trains.
        encoder_settings: Its settings.
        stem: Registered name of the fixed front under everything, or "none".
        stem_settings: Its settings.
        sharing: "versions" keeps every encoder as it was; with "in-place" the heads of earlier tasks read the newest
            version of their encoder.
        held_out: Share of a support set that is held back to score what is learned.
        anchor: What the statistics that answer without a task label are kept of: "random" features, "patches" (features
            of random patch filters, for images), "raw" inputs, or "meta": random features until an encoder that was
            trained on episodes proves better; "none" keeps no such statistics.
        anchor_features: Number of random features, or of patch features, about.
        gate: Whether models of tasks may answer without a task label where they are right more often than the
            statistics.
        scratch: Budget of a task, as a multiple of what `scratch` takes on it.
        flops: Budget of a task in FLOPs; replaces `scratch` where it is given.
        probe_share: Share of the budget that may go into probing.
        consolidate_share: Share of the budget that may go into work for later tasks.
        episode_memory: Tasks whose samples are kept for it, the newest; 0 for none.
        store_bytes: Most bytes that the store may hold after a task; None for any number.
        store_encoders: The same as a multiple of an encoder's size; the smaller of the two holds.
        score_every: Units between two scores.
        patience: Scores without a better one after which an arm stops.
        pause_every: Units after which learning pauses for whoever measures; 0 for never. Changes nothing else.
        seed: Seed of the run.
        device: Where networks run.
    """

    encoder: str = "mlp"
    encoder_settings: Mapping[str, Any] = None  # type: ignore[assignment]  # replaced in __post_init__
    stem: str = "none"
    stem_settings: Mapping[str, Any] = None  # type: ignore[assignment]  # replaced in __post_init__
    sharing: Literal["versions", "in-place"] = "versions"
    held_out: float = 0.2
    anchor: Literal["random", "patches", "raw", "meta", "none"] = "random"
    anchor_features: int = 512
    gate: bool = False
    scratch: float = 1.0
    flops: float | None = None
    probe_share: float = 0.1
    consolidate_share: float = 0.0
    episode_memory: int = 0
    store_bytes: int | None = None
    store_encoders: int | None = None
    score_every: int = 20
    patience: int = 10
    pause_every: int = 0
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("encoder_settings", "stem_settings"):
            object.__setattr__(self, name, dict(getattr(self, name) or {}))
