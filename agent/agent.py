"""The lifelong agent: profiles a task, selects how to learn it, learns it, remembers it, and answers."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict
from typing import TypeVar

import torch
from torch import Tensor

from ..errors import NothingApplies
from ..streams.seeds import generator
from ..streams.task import Task
from .agent_settings import AgentSettings
from .answer import Answer
from .bound import Bound
from .budget import Ledger
from .delta import stored_form
from .entries import TaskRecord
from .events import Bounded, Chosen, Considered, Event, Paused, Profiled, Remembered
from .interim import Interim, spoken
from .joint import keep, kept
from .layout import Layout
from .learning import Learning
from .library import Library
from .model import Model, state
from .outcome import Outcome
from .selector import Choice, Option, Selector
from .store import KnowledgeStore
from .strategy import Strategy
from .together import learn_together
from .transaction import Transaction
from .workbench import Workbench

E = TypeVar("E", bound=Event)
T = TypeVar("T")


class LifelongAgent:
    """Meets tasks one after another and keeps what it learns.

    Per task `profile`, `select`, `learn` and `remember` are called in this order; `answer` may be called at any time
    and changes nothing.

    Attributes:
        made_room: What the last task took for the store to stay within its bytes; empty where these are not bounded.
    """

    def __init__(
        self,
        store: KnowledgeStore,
        strategies: Mapping[str, Strategy],
        selector: Selector,
        settings: AgentSettings,
    ) -> None:
        """Take up what a store holds.

        Args:
            store: Where knowledge is kept; need not be empty.
            strategies: Ways to learn, by name; `scratch` among them.
            selector: What chooses.
            settings: What the agent is made of.
        """
        self.store, self.strategies, self.selector, self.settings = store, dict(strategies), selector, settings
        self.library = Library(store, settings)
        self.layout = Layout(self.library, self.strategies, settings)
        self._bench: Workbench | None = None
        self._learning: Learning | None = None
        self._journal: list[Event] = []
        self.made_room: tuple[Bounded, ...] = ()
        self.layout.joint.update(kept(store, settings.device))
        learned = store.state("selector")
        if learned is not None:
            selector.restore(learned)

    def note(self, event: E) -> E:
        """Keep an event of the task at hand; it is committed together with the task.

        Args:
            event: The event.

        Returns:
            The event.
        """
        self._journal.append(event)
        return event

    def has_learned(self, task: Task) -> bool:
        """Tell whether the store holds a task of this stream already: a run goes on after the last one that it does."""
        return self.store.has_task(task.index)

    def budget(self, task: Task) -> float:
        """Tell what may be spent on a task, in FLOPs: the same for every strategy and every way to choose."""
        return self.layout.budget(task)

    def learn_together(self, tasks: Sequence[Task]) -> Generator[Event, None, None]:
        """Learn tasks that arrive together as one, where a strategy can and the selector wants it.

        Each of them is then profiled, selected for, learned and remembered by itself; what was learned here is one of
        the ways that are open to it.

        Args:
            tasks: The tasks; nothing is done for a single one.

        Yields:
            Progress, then the account.
        """
        self.layout.joint.clear()
        if len(tasks) > 1:
            yield from self._noted(learn_together(tasks, self.layout, self.selector, self.settings))

    def profile(self, task: Task) -> Profiled:
        """Measure what can be measured about a task before learning it.

        Args:
            task: The task.

        Returns:
            Its profile; what it cost is paid from the task's budget.
        """
        ledger = Ledger(self.budget(task))
        probing = self.selector.needs_profile(self.strategies)
        bench = self._bench = self.layout.lay_out(task, ledger, probing, self.selector.asks_logme)
        return self.note(self.profile_of(task, bench, probing))

    def profile_of(self, task: Task, bench: Workbench, probed: bool) -> Profiled:
        """Say what laying out a task has measured.

        Args:
            task: The task as it came.
            bench: How it was laid out.
            probed: Whether representations were to be scored.
        """
        per_class = (
            torch.bincount(bench.whole.support.y, minlength=task.outputs).min() if task.classes else len(task.support)
        )
        known = bench.known
        candidates = (*known.sources, *known.fixed, *known.prepared)
        scores = [source.score for source in candidates if source.score is not None]
        return Profiled(
            task=task.index,
            samples=len(task.support),
            classes=task.outputs,
            per_class=int(per_class),
            scores=tuple(sorted(scores, key=lambda score: score.ridge_mse)),
            flops=bench.ledger.flops.get("profile", 0.0),
            seconds=bench.ledger.seconds.get("profile", 0.0),
            unprobed=sum(source.score is None for source in bench.known.sources) if probed else 0,
        )

    def select(self, task: Task, profile: Profiled) -> Generator[Event, None, Chosen]:
        """Choose how to learn a task.

        Args:
            task: The task.
            profile: Its profile.

        Yields:
            Progress of try-outs, then the choice.

        Returns:
            The choice.

        Raises:
            NothingApplies: If no strategy can learn the task.
        """
        bench = self._at(task)
        options = bench.options()
        open_to = {option.strategy: option for option in reversed(options) if option.why_not is None}
        if not open_to:
            raise NothingApplies(task.name, {option.strategy: option.why_not or "" for option in options})
        spent, start = bench.ledger.flops.get("select", 0.0), time.process_time()
        rng = generator(self.settings.seed, task.index, "select")
        choice = self.selector.select(bench.task, profile, options, bench, rng)
        for progress in bench.heard:
            yield self.note(progress)
        bench.heard.clear()
        wanted, choice = choice.strategy, self._stand_in(choice, options, open_to)
        bench.choice = choice
        chosen = Chosen(
            task=task.index,
            strategy=choice.strategy,
            source=choice.source,
            reason=choice.reason,
            considered=tuple(
                Considered(option.strategy, option.source, choice.scores.get(option), option.why_not)
                for option in options
            ),
            wanted=wanted if wanted != choice.strategy else None,
            flops=bench.ledger.flops.get("select", 0.0) - spent,
            seconds=time.process_time() - start,
            tried=choice.tried,
            expected=choice.expected.nats if choice.expected else None,
            unsure=choice.expected.error if choice.expected else None,
        )
        yield self.note(chosen)
        return chosen

    def learn(self, task: Task, choice: Chosen) -> Generator[Event, None, Outcome]:
        """Learn a task as it was chosen, within its budget.

        Args:
            task: The task.
            choice: How.

        Yields:
            Progress, then the account; where the settings ask for pauses, `Paused` every so many units, at which
            `interim` may be asked.

        Returns:
            What was learned.

        Raises:
            StrategyError: If a strategy breaks, or everything diverged.
        """
        self._learning = Learning(self._at(task), self.library, self.selector, self.settings)
        try:
            return (yield from self._noted(self._learning.run(task, choice)))
        finally:
            self._learning = None

    def interim(self, task: Task) -> Interim:
        """Return what would be answered if learning ended here; it is good for the length of a pause.

        Args:
            task: The task that is being learned.

        Raises:
            RuntimeError: If no strategy is at work on it.
        """
        if self._learning is None or self._learning.at_work is None:
            raise RuntimeError(f"nothing is at work on {task.name!r}; ask while `learn` pauses")
        option, model = self._learning.at_work
        continued = self._continued(option) if self.settings.sharing == "in-place" else None
        return Interim(self.library, task, model, continued, self.answer, self.settings.device)

    def remember(self, task: Task, outcome: Outcome) -> Remembered:
        """Put a task, what it brought and everything noted about it into the store, in one transaction.

        Args:
            task: The task.
            outcome: What learning it gave.

        Returns:
            What the store gained.
        """
        bench, learned = self._at(task), outcome.learned
        before = self.store.bytes_kept()
        self.selector.observe(next(e for e in self._journal if isinstance(e, Profiled)), learned)
        with self.store.transaction() as t:
            stem = self.library.store_stem(t, task)
            encoder = self._store_encoder(t, task, stem, outcome.model, outcome.option, learned.total_flops)
            head = t.add_head(outcome.model.head.kind, {}, state(outcome.model.head), encoder=encoder, task=task.index)
            record = t.add_task(
                TaskRecord(
                    index=task.index,
                    name=task.name,
                    label=task.label,
                    classes=task.classes,
                    kind=task.kind,
                    encoder=encoder,
                    head=head,
                    strategy=outcome.option.strategy,
                    source=outcome.option.source,
                    choice=asdict(outcome.choice),
                    outcome=asdict(learned),
                )
            )
            for helper in (
                learned.helper,
                outcome.option.source if self.library.is_stored(outcome.option.source) else "",
            ):
                if helper:
                    t.helped(helper, task.index, learned.gain, outcome.option.strategy)
            # What does not answer must not become what earlier tasks' heads read: in place it starts a new lineage.
            alone = self.settings.sharing == "in-place"
            beside = [self._store_encoder(t, task, stem, e.model, e.option, e.flops, alone) for e in outcome.extras]
            beside += self.library.store_metas(t, task.index, bench.task.input_shape, outcome.metas)
            if outcome.weighed is not None:
                self.library.weighed(t, task, bench, outcome.weighed)
            self.library.remember(t, task, bench, record, learned.accuracy)
            keep(t, self.layout.joint, task.index)
            bound = Bound(self.store, self.library, self.settings, t, bench, stem)
            room = bound.keep(record, outcome, beside[: len(outcome.extras)])
            record = self.store.task(task.index)
            entry, samples = self.store.encoder(str(record.encoder)), self.library.kept_samples()
            remembered = self.note(
                Remembered(
                    task=task.index,
                    model=record.model,
                    encoder=entry.id,
                    parent=entry.parent,
                    new_bytes=self.store.bytes_kept() - before,
                    store_bytes=self.store.bytes_kept(),
                    encoders=self.store.encoder_count(),
                    kept=tuple(each for each in beside if self.store.has_entry(each)),
                    sampled=len(samples),
                    sample_bytes=sum(bank.bytes for bank in samples),
                )
            )
            self.made_room = () if room is None else (self.note(room),)
            for event in self._journal:
                t.add_event(task.index, event.to_json())
            t.set_state("selector", self.selector.state())
        self._journal.clear()
        self._bench = None
        return remembered

    @torch.no_grad()
    def answer(self, x: Tensor, label: int | None) -> Answer:
        """Answer for inputs: with a known task label by that task's model, else as the gatekeeper decides.

        Args:
            x: Inputs, shape `(n, *input_shape)`.
            label: The task label; None where none is given.

        Returns:
            Log-probabilities over the classes that are taken into account; for the label of a regression task, values.
        """
        x = x.to(self.settings.device)
        found = self.library.model_of(label, tuple(x.shape[1:])) if label is not None else None
        if found is not None:
            record, model = found
            return spoken(model, self.library.view_asked(x), record.classes, record.kind)
        return self.library.gatekeeper.answer(x)

    def _store_encoder(
        self,
        t: Transaction,
        task: Task,
        stem: str | None,
        model: Model,
        option: Option,
        flops: float,
        alone: bool = False,
    ) -> str:
        """Store a model's encoder; it is a new version of its source where its strategy says so, unless `alone`."""
        parent = None if alone else self._continued(option)
        delta, weights = stored_form(model.encoder, parent is not None)
        return t.add_encoder(
            {**model.encoder.spec, "stem": stem},
            weights,
            task=task.index,
            strategy=option.strategy,
            parent=parent,
            flops=flops,
            delta=delta,
        )

    def _continued(self, option: Option) -> str | None:
        """The stored encoder of which what an option trains is a new version; None for none."""
        stored = self.library.is_stored(option.source) and self.strategies[option.strategy].continues_source
        return option.source if stored else None

    def _noted(self, events: Generator[E, None, T]) -> Generator[E, None, T]:
        """Note every event on its way; a pause is no part of the record."""
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                return end.value
            yield event if isinstance(event, Paused) else self.note(event)

    def workbench(self, task: Task) -> Workbench:
        """Return the workbench of the task at hand, for whoever looks on; `profile` must have been called.

        Args:
            task: The task.
        """
        return self._at(task)

    def _at(self, task: Task) -> Workbench:
        if self._bench is None or self._bench.task.index != task.index:
            raise RuntimeError(f"profile({task.name!r}) must be called first")
        return self._bench

    def _stand_in(self, choice: Choice, options: list[Option], open_to: Mapping[str, Option]) -> Choice:
        """Replace a choice that does not apply by `scratch`, or by what applies at all, and say so."""
        wanted = Option(choice.strategy, choice.source)
        if any(o.strategy == wanted.strategy and o.source == wanted.source and o.why_not is None for o in options):
            return choice
        why_not = next((o.why_not for o in options if o.strategy == wanted.strategy and o.why_not), "no such source")
        name = "scratch" if "scratch" in open_to else next(iter(open_to))
        reason = f"{wanted.strategy} does not apply ({why_not}); {name} stands in"
        return Choice(name, open_to[name].source, reason, choice.scores)
