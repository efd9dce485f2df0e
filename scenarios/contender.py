"""From a competitor's name to what learns: made for one stream, with what it is called and how it is set."""

from __future__ import annotations

from typing import Any

from ..agent.agent_settings import AgentSettings
from ..agent.encoder import Encoder
from ..strategies.training import Sgd
from ..streams.stream import Stream
from ..streams.task import Task
from .baseline_run import Contender, Learner
from .baselines import Baseline, Build, Materials
from .baselines_methods import build
from .competitor import PREFIX, Competitor, table
from .joint import Joint

JOINTLY = "all tasks so far together, from the first weights, with the budgets of all"


def contender(competitor: Competitor, stream: Stream, settings: AgentSettings, scratch: Sgd) -> Contender:
    """Make what competes.

    Args:
        competitor: One of Avalanche's strategies, or `joint`.
        stream: What it will meet.
        settings: What an agent would be made of.
        scratch: How `scratch` trains, which is how `joint` does.

    Returns:
        It, with name and settings.
    """
    method = competitor.method
    if method is None:

        def jointly(encoder: Encoder, first: Task) -> Learner:
            return Joint(encoder.to(settings.device), stream.n_classes, scratch, settings.seed)

        return Contender(competitor.name, JOINTLY, jointly, sums=True)
    settled = method.settled(competitor.arguments, stream.setting.value)
    name = f"{PREFIX}:{method.name}"
    reason = f"Avalanche's {method.name}, {', '.join(f'{key} = {value}' for key, value in settled.items())}"
    waits = method.name == "JointTraining"

    def learner(encoder: Encoder, first: Task) -> Learner:
        materials = _materials(encoder, first, stream, settings, settled)
        made: Build = lambda m: build(method.name, settled, m)  # noqa: E731 - so that its type can be said
        return Baseline(made, materials, name=name, seed=settings.seed, passes_after=method.after)

    return Contender(name, reason, learner, sums=waits, waits=waits)


def own_contender(
    make: Build, name: str, stream: Stream, settings: AgentSettings, given: dict[str, Any], passes_after: float
) -> Contender:
    """Make a contender of a strategy that the user builds.

    Args:
        make: As in `own_strategy.run_strategy`.
        name: What it is called.
        stream: What it will meet.
        settings: What an agent would be made of.
        given: Settings that all methods have, where they differ from their defaults.
        passes_after: Its work after a task, in passes over the task's samples.
    """
    common = next(iter(table().values())).settled(given, stream.setting.value)

    def learner(encoder: Encoder, first: Task) -> Learner:
        materials = _materials(encoder, first, stream, settings, common)
        return Baseline(make, materials, name=name, seed=settings.seed, passes_after=passes_after)

    return Contender(name, f"a strategy of the user's, {name}", learner)


def _materials(
    encoder: Encoder, first: Task, stream: Stream, settings: AgentSettings, settled: dict[str, Any]
) -> Materials:
    known = {each.name for each in next(iter(table().values())).arguments}  # Naive's: those that all methods have
    return Materials(
        encoder=encoder.to(settings.device),
        shape=first.input_shape,
        n_classes=stream.n_classes,
        label=stream.setting.label_when_asked,
        device=settings.device,
        settings={key: value for key, value in settled.items() if key in known},
    )
