"""The workbench: everything about the task at hand — its split, what is known for it, its budget, its arms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..errors import Diverged, StrategyError
from ..streams.seeds import derive
from ..streams.task import Samples, Task
from .arm import Arm, Point
from .budget import Ledger
from .events import Paused, Progress
from .known import Known, Source
from .probe import Price
from .selector import Choice, Option
from .strategy import Strategy
from .work import place_of


@dataclass
class Workbench:
    """What the agent has laid out for one task.

    Attributes:
        task: The task as strategies see it: through the stem, without query part and held-out samples.
        whole: The same with the held-out samples of the support set put back (a query part never belongs to it).
        held_out: What arms are scored on; None for none.
        known: What the store offers.
        ledger: What was spent and may be spent.
        strategies: All strategies by name.
        prices: What it takes to put a closed-form head on a representation, by its id; empty where nothing was probed.
        seed: Seed of the run.
        score_every: Units between two scores of an arm.
        patience: Scores without a better one after which an arm stops.
        choice: What the selector decided; None before.
        trials: Arms that were tried, by option.
        heard: Progress of try-outs that nobody has been told of yet.
    """

    task: Task
    whole: Task
    held_out: Samples | None
    known: Known
    ledger: Ledger
    strategies: Mapping[str, Strategy]
    seed: int
    score_every: int
    patience: int
    choice: Choice | None = None
    trials: dict[Option, Arm] = field(default_factory=dict)
    heard: list[Progress] = field(default_factory=list)
    prices: Mapping[str, Price] = field(default_factory=dict)

    def options(self) -> list[Option]:
        """List every way to learn the task: each strategy with each source, or why it does not apply."""
        found = []
        for name, strategy in self.strategies.items():
            why_not, sources = open_to(strategy, self.task, self.known)
            if why_not is not None:
                found.append(Option(name, None, why_not))
                continue
            found += [Option(name, source.id) for source in sources] or [Option(name)]
        return found

    def arm(self, option: Option, whole: bool = False) -> Arm:
        """Get the arm of an option: the one that was tried, or a new one.

        Args:
            option: One that applies.
            whole: A new arm on all samples, scored on none.
        """
        if option in self.trials and not whole:
            return self.trials[option]
        return Arm(
            self.strategies[option.strategy],
            self.whole if whole else self.task,
            replace(self.known, chosen=option.source),
            seed=derive(self.seed, self.task.index, "arm", option.strategy, option.source or ""),
            held_out=None if whole else self.held_out,
            score_every=self.score_every,
            patience=self.patience,
        )

    def head_price(self, option: Option, again: bool = False) -> float:
        """Price a closed-form head before it is fitted, and scored on the held-out samples.

        Args:
            option: Such a head.
            again: For fitting it again on all samples, the held-out ones among them; 0 where there are no more.

        Returns:
            FLOPs, at the most; 0 where nothing is known of its representation.
        """
        price = self.prices.get(option.source or "")
        if price is None or (again and len(self.whole.support) == len(self.task.support)):
            return 0.0
        if again:
            return price.head(len(self.whole.support), 0)
        return price.head(len(self.task.support), len(self.held_out or ()))

    def drive(
        self, option: Option, arm: Arm, limit: float, purpose: str = "learn", pause_every: int = 0
    ) -> Iterator[Progress | Paused]:
        """Let an arm work and pay for it.

        Args:
            option: Its option.
            arm: The arm.
            limit: FLOPs that it may have spent in all.
            purpose: What the ledger enters it under.
            pause_every: Units between two pauses; 0 for none.

        Yields:
            Its progress, and its pauses.

        Raises:
            StrategyError: If the strategy breaks.
        """
        before, seconds = arm.flops, arm.seconds
        try:
            for point in arm.run(limit, pause_every=pause_every):
                told = self._paused if point.pause else self._progress
                yield told(option, point, self.ledger.spent + arm.flops - before)
        finally:
            self.ledger.pay(purpose, arm.flops - before, arm.seconds - seconds)

    def try_out(self, option: Option, flops: float) -> Arm | None:
        """Let an option's arm work for a while; it goes on from there if it is chosen.

        Args:
            option: One that applies.
            flops: FLOPs it may spend now.

        Returns:
            The arm, scored; None if it diverged.
        """
        arm = self.trials[option] = self.arm(option)  # the one that was tried before, if it was
        try:
            for progress in self.drive(option, arm, arm.flops + flops, purpose="select"):
                if isinstance(progress, Progress):
                    self.heard.append(progress)
        except Diverged:
            del self.trials[option]
            return None
        return arm

    def _paused(self, option: Option, point: Point, spent: float) -> Paused:
        where = (self.task.index, option.strategy, option.source, point.unit, point.flops)
        return Paused(*where, self._fraction(spent))

    def _fraction(self, spent: float) -> float:
        return min(1.0, spent / self.ledger.limit) if self.ledger.limit else 1.0

    def _progress(self, option: Option, point: Point, spent: float) -> Progress:
        return Progress(
            task=self.task.index,
            strategy=option.strategy,
            source=option.source,
            unit=point.unit,
            flops=point.flops,
            loss=point.score.loss if point.score else None,
            accuracy=point.score.accuracy if point.score else None,
            fraction=self._fraction(spent),
        )


def open_to(strategy: Strategy, task: Task, known: Known) -> tuple[str | None, Sequence[Source]]:
    """Ask a strategy whether it applies, and what it can start from.

    Args:
        strategy: The strategy.
        task: The task as strategies see it.
        known: What the store offers for it.

    Returns:
        Why it does not apply, None if it does; and its sources, best first.

    Raises:
        StrategyError: If it breaks.
    """
    try:
        why_not = strategy.applies(task, known)
        return why_not, () if why_not is not None else strategy.sources(task, known)
    except StrategyError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}{place_of(error)}"
        raise StrategyError(strategy.name, task.name, 0, what) from error
