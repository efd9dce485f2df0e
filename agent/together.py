"""Learning tasks that arrive together as one, before each of them is selected for."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

from ..errors import Diverged, StrategyError
from ..streams.seeds import derive, generator
from ..streams.task import Task
from .agent_settings import AgentSettings
from .arm import Arm
from .budget import Ledger
from .events import Event, LearnedTogether
from .joint import Joint
from .layout import Layout
from .model import Model
from .selector import Option, Selector

# Share of every budget that is left for choosing, and for the closed-form head that guards what was learned.
RESERVED = 0.2


def learn_together(
    tasks: Sequence[Task], layout: Layout, selector: Selector, settings: AgentSettings
) -> Generator[Event, None, None]:
    """Learn tasks as one, where a strategy can and the selector wants it; what it gave is left in `layout.joint`.

    Args:
        tasks: At least two tasks.
        layout: Lays out each of them.
        selector: Chooses how.
        settings: What the agent is made of.

    Yields:
        Progress, then the account.
    """
    positions = tuple(task.index for task in tasks)
    benches = [layout.lay_out(task, Ledger(layout.budget(task)), probing=False) for task in tasks]
    first = benches[0]
    able = [name for name, strategy in first.strategies.items() if strategy.joint]
    name = selector.together(able, generator(settings.seed, positions[0], "together")) if able else None
    if name is None or len({bench.task.input_shape for bench in benches}) > 1:
        why = "the selector leaves them to themselves" if name is None else "their inputs differ in shape"
        yield LearnedTogether(positions, None, why)
        return
    arm = Arm(
        first.strategies[name],
        [bench.task for bench in benches],
        first.known,
        seed=derive(settings.seed, positions[0], "together", name),
        held_out=[bench.held_out for bench in benches],
        score_every=settings.score_every,
        patience=settings.patience,
    )
    share = 1 - RESERVED - settings.consolidate_share
    ledger = Ledger(sum(max(0.0, share * bench.ledger.limit - bench.ledger.spent) for bench in benches))
    reason = f"{len(tasks)} tasks arrived together; {name} learned them as one"
    try:
        yield from replace(first, ledger=ledger).drive(Option(name), arm, ledger.limit)
        stopped = arm.stopped
    except Diverged as error:
        stopped, reason = "diverged", str(error)
    seconds, whole = sum(ledger.seconds.values()), sum(bench.ledger.limit for bench in benches)
    models: Sequence[Model | None] = arm.best_models if stopped != "diverged" else [None] * len(benches)
    if len(models) != len(benches):
        what = "its learn_jointly ended without yielding models"
        raise StrategyError(name, ", ".join(task.name for task in tasks), arm.units, what)
    for bench, model in zip(benches, models, strict=True):  # a small task has a small budget: it pays less
        part = bench.ledger.limit / whole if whole else 1 / len(benches)
        layout.joint[bench.task.index] = Joint(name, model, part * ledger.spent, part * seconds)
    yield LearnedTogether(
        tasks=positions,
        strategy=name,
        reason=reason,
        units=arm.units,
        best_unit=arm.best_unit,
        stopped=stopped,
        accuracy=arm.best_score.accuracy if arm.best_score else None,
        flops=ledger.spent,
        seconds=seconds,
    )
