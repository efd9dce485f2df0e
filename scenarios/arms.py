"""Every arm of a task, run from the agent's own store before anything of the task is stored, and valued on test data.

This is the one place that holds the agent and the test sets together while tasks are still to be learned. Nothing of it
reaches the agent: what is laid out here is laid out anew, with a ledger of its own, the store is only read, and the
agent does afterwards what it would have done without (a test compares the two runs byte for byte).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from ..agent.agent import LifelongAgent
from ..agent.answer import Answer
from ..agent.arm import outputs_of
from ..agent.asked import Asked
from ..agent.blobs import digest, pack
from ..agent.budget import Ledger
from ..agent.delta import stored_form
from ..agent.events import Chosen, Learned, Profiled, Remembered
from ..agent.features import FEATURES, circumstances, features
from ..agent.learning import Learning
from ..agent.model import Model, state
from ..agent.outcome import Outcome
from ..agent.selector import Option
from ..agent.workbench import Workbench
from ..errors import StrategyError
from ..streams.seeds import generator
from ..streams.stream import Stream, TestSet
from ..streams.task import Task
from .arm_table import AnswerLine, ArmLine, Facts
from .full_width import full_values, full_width
from .metrics import r_squared
from .oracle import Worth

# Stored encoders of which every strategy is tried from: those that are probed, at most.
SOURCES = 8
T = TypeVar("T")
_NOT_CHOSEN = "every arm is run"


class Arms:
    """Runs and values the arms of one task after another, beside an agent."""

    def __init__(self, agent: LifelongAgent, stream: Stream, sources: int = SOURCES) -> None:
        """Nothing is run yet.

        Args:
            agent: Whose store, strategies and budget are used.
            stream: Whose test sets are used.
            sources: Stored encoders from which each strategy is tried at most, best first by the agent's retrieval.
        """
        self._agent, self._stream, self._sources = agent, stream, sources
        self._bench: Workbench | None = None
        self._facts: Facts | None = None
        self._ran: list[ArmLine] = []
        self._asked = Asked()

    def run(self, task: Task) -> Iterator[ArmLine]:
        """Run every arm of a task; call it after the task was profiled, before anything of it is stored.

        Args:
            task: The task.

        Yields:
            Each arm's outcome.
        """
        bench, profile = self._lay_out(task)
        options = bench.options()
        applying = {option.strategy for option in options if option.why_not is None}
        self._bench, self._ran = bench, []
        self._facts = Facts(
            task=task.index,
            name=task.name,
            tasks=len(self._stream),
            regression=task.kind == "regression",
            features=dict(zip(FEATURES, features(profile, circumstances(bench)), strict=True)),
            mask={name: name in applying for name in bench.strategies},
            budget=self._agent.budget(task),
            before=bench.ledger.spent,
            task_bytes=task.support.x.nbytes + task.support.y.nbytes,
        )
        test = self._stream.test(self._stream.concept_of(task.index))
        ranks: dict[str, int] = {}
        taken: dict[str, int] = {}
        for option in options:
            if option.why_not is not None:
                continue
            rank = ranks.get(option.strategy, 0)
            ranks[option.strategy] = rank + 1
            if self._agent.library.is_stored(option.source):
                taken[option.strategy] = taken.get(option.strategy, 0) + 1
                if taken[option.strategy] > self._sources:
                    continue
            yield self._arm(task, option, rank, test)

    def missing(self, task: Task, learned: Learned) -> Iterator[ArmLine]:
        """Run the arm that answers, where it is none of those that were run: its source was not among the best.

        Args:
            task: The task, learned and not yet remembered.
            learned: Its account.

        Yields:
            Its outcome, or nothing.
        """
        way = learned.strategy, learned.source
        if self._bench is not None and all(line.way != way for line in self._ran):
            options = [o for o in self._bench.options() if o.strategy == learned.strategy and o.why_not is None]
            for rank, option in enumerate(options):
                if option.source == learned.source:
                    yield self._arm(task, option, rank, self._stream.test(self._stream.concept_of(task.index)))

    def answer(self, task: Task, learned: Learned, remembered: Remembered) -> AnswerLine:
        """Value what the agent answers for a task that it has just remembered.

        Args:
            task: The task.
            learned: Its account.
            remembered: What the store gained.
        """
        test = self._stream.test(self._stream.concept_of(task.index))
        worth = self._worth(self._agent.answer(test.x, self._stream.label_of(task.index)), test)
        return AnswerLine(
            task=task.index,
            strategy=learned.strategy,
            source=learned.source,
            accuracy=worth.whole,
            half_a=worth.a,
            half_b=worth.b,
            flops=learned.total_flops - learned.consolidation,
            seconds=learned.seconds,
            bytes=bytes_added(self._agent, task, remembered),
        )

    def _lay_out(self, task: Task) -> tuple[Workbench, Profiled]:
        """Lay out a task as the agent does, and measure it whether or not its selector wants that."""
        ledger = Ledger(self._agent.budget(task))
        bench = self._agent.layout.lay_out(task, ledger, probing=True)
        return bench, self._agent.profile_of(task, bench, probed=True)

    def _arm(self, task: Task, option: Option, rank: int, test: TestSet) -> ArmLine:
        """Let an option learn alone, exactly as the agent would if it had chosen it at once, without a guard."""
        if self._bench is None or self._facts is None:
            raise RuntimeError("run() must be called first")
        settings = self._agent.settings
        ledger = Ledger((1 - settings.consolidate_share) * self._bench.ledger.limit)
        ledger.flops.update(self._bench.ledger.flops)
        ledger.seconds.update(self._bench.ledger.seconds)
        bench = replace(self._bench, ledger=ledger, choice=None, trials={}, heard=[])
        line = ArmLine(
            facts=self._facts,
            strategy=option.strategy,
            source=option.source,
            stored=self._agent.library.is_stored(option.source),
            rank=rank,
            forgetting=0.0 if settings.sharing == "versions" else None,
        )
        alone = replace(settings, consolidate_share=0.0)  # work for later tasks is no arm's
        learning = Learning(bench, self._agent.library, self._agent.selector, alone)
        steps = learning.run(task, Chosen(task.index, option.strategy, option.source, _NOT_CHOSEN))
        try:
            outcome = result_of(steps)
        except StrategyError as error:
            line = replace(line, failed=str(error))
        else:
            line = self._valued(line, outcome, task, test)
        self._ran.append(line)
        return line

    def _valued(self, line: ArmLine, outcome: Outcome, task: Task, test: TestSet) -> ArmLine:
        learned = outcome.learned
        if (learned.strategy, learned.source) != line.way:  # it diverged, and something else took over
            return replace(line, failed=learned.warnings[0] if learned.warnings else "it gave no model")
        worth = self._worth(self._said(outcome.model, task, test.x), test)
        return replace(
            line,
            accuracy=worth.whole,
            half_a=worth.a,
            half_b=worth.b,
            held_out=learned.held_out,
            held_out_loss=learned.loss,
            held_out_accuracy=learned.accuracy,
            flops=learned.total_flops,
            seconds=learned.seconds,
            bytes=self._bytes(outcome.model, outcome.option),
            units=learned.units,
            stopped=learned.stopped,
        )

    @torch.no_grad()
    def _said(self, model: Model, task: Task, x: Tensor) -> Answer:
        """What a model says, in the way in which `LifelongAgent.answer` would say it for it."""
        with self._asked.at_hand():
            view = self._agent.library.view_asked(x.to(self._agent.settings.device))
        outputs = outputs_of(model, view)
        if task.kind == "regression":
            return Answer.of_values(outputs.cpu())
        log_probs = torch.log_softmax(outputs / model.head.temperature, dim=1).cpu()
        return Answer(log_probs, task.classes, torch.zeros(len(x), dtype=torch.bool))

    def _worth(self, said: Answer, test: TestSet) -> Worth:
        return worth_of(said, test, self._stream.n_classes, self._agent.settings.seed)

    def _bytes(self, model: Model, option: Option) -> int:
        """Bytes that a model would add to the store; what the store holds already adds none."""
        on_parent = self._agent.library.is_stored(option.source)
        on_parent = on_parent and self._agent.strategies[option.strategy].continues_source
        parts = [pack(stored_form(model.encoder, on_parent)[1])[0], pack(state(model.head))[0]]
        return sum(len(part) for part in parts if not self._agent.store.has_blob(digest(part)))


def bytes_added(agent: LifelongAgent, task: Task, remembered: Remembered) -> int:
    """Bytes of the encoder and the head of a task, and of encoders trained beside them, that are new in the store.

    Args:
        agent: The agent.
        task: The task, which was just remembered.
        remembered: What the store gained.
    """
    store, record = agent.store, agent.store.task(task.index)
    encoders = {record.encoder, *(entry for entry in remembered.kept if store.has_encoder(entry))}
    new = [(entry.task, entry.bytes) for entry in map(store.encoder, filter(None, encoders))]
    if record.head is not None:
        head = store.head(record.head)
        new.append((head.task, head.bytes))
    return sum(size for made, size in new if made == task.index)


def worth_of(said: Answer, test: TestSet, width: int, seed: int) -> Worth:
    """Value an answer on a test set and on its halves.

    Args:
        said: The answer to all of the test set.
        test: The test set.
        width: Number of classes in all.
        seed: Seed of the run, which decides the halves.

    Returns:
        Share of right answers. Regression: R², on a half 1 − mean squared error there / variance of all test targets,
        so that two even halves have the whole's R² as their mean; None on a half without a sample.
    """
    in_a = halves(test.y, seed)
    if test.y.is_floating_point():
        values, targets = full_values(said, test.y.double().mean(dim=0)), test.y.double()
        whole = r_squared(values.numpy(), test.y.numpy()).value
        if whole is None:
            raise ValueError("R² is undefined on a test set")
        error, variance = (values - targets).square().mean(dim=1), targets.var(dim=0, correction=0).mean()
        a, b = (1 - float(error[part].mean() / variance) if bool(part.any()) else None for part in (in_a, ~in_a))
        return Worth(whole, a, b)
    guess = torch.full((len(test.y),), test.classes[0])  # where nothing is known, which is never so after learning
    among = test.classes if test.label is not None else ()
    right = full_width(said, width, guess, among).argmax(dim=1) == test.y
    return Worth(_share(right), _share(right[in_a]), _share(right[~in_a]))


def halves(y: Tensor, seed: int) -> Tensor:
    """Split a test set into two fixed halves, class by class.

    Args:
        y: Class ids, shape `(n,)`, or targets, shape `(n, outputs)`.
        seed: Seed of the run.

    Returns:
        Which samples are in the first half, bool, shape `(n,)`; of an odd number the first half has one more.
    """
    order = torch.randperm(len(y), generator=generator(seed, "halves of a test set", len(y)))
    if not y.is_floating_point():
        order = order[torch.sort(y[order], stable=True).indices]
    first = torch.zeros(len(y), dtype=torch.bool)
    first[order[::2]] = True
    return first


def _share(right: Tensor) -> float:
    return int(right.sum()) / len(right)


def result_of(steps: Generator[object, None, T]) -> T:
    """Let an agent's generator run to its end.

    Args:
        steps: The generator; what it yields is dropped.

    Returns:
        What it returns.
    """
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: T = end.value
            return found
