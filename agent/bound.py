"""Keeping a store within the bytes that a recipe grants, after every task, in the task's own transaction.

Only where a task would take the store past its bytes, and in this order: what gains too little is not added; what was
fine-tuned becomes a low-rank delta; what answers for no task leaves; encoders that are alike are merged; what is worth
least per byte leaves, and closed-form heads on the input itself stand in for the models of its tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .. import registry
from ..errors import BudgetError
from ..streams.seeds import generator
from .agent_settings import AgentSettings
from .arm import outputs_of, score
from .delta import truncated, whole_weights
from .encoder import Encoder, build_encoder, restore_encoder
from .entries import BankEntry, BoundedRecord, EncoderEntry, TaskRecord
from .events import Bounded, BoundStep
from .holding import Holding, gain, holdings, mean, restored, stand_ins
from .library import Library
from .merging import Member, likeness, merge
from .model import Head, Model, state
from .outcome import Outcome
from .probe import features_of
from .stand_in import StandIn, fitted
from .store import KnowledgeStore
from .transaction import Transaction
from .workbench import Workbench

Shape = tuple[int, ...]

# Held-out accuracy below which an encoder gains too little to be added.
GAIN = 0.02
# Columns of low-rank deltas that are tried, and nats of held-out loss that one may cost.
RANKS, LOSS = (4, 16), 0.02
# Encoders that are thought of for merging, the least valuable.
PAIRED = 4


def encoder_bytes(settings: AgentSettings, shape: Shape) -> int:
    """Size of an encoder as the agent trains them.

    Args:
        settings: What the agent is made of.
        shape: Shape of one input as strategies see it.
    """
    with torch.device("meta"):  # no weights are drawn
        encoder = build_encoder(settings.encoder, shape, settings.encoder_settings, 0)
    return sum(t.numel() * t.element_size() for t in encoder.state_dict().values())


class Bound:
    """Keeps one task's transaction within the bytes; made anew for every task."""

    def __init__(
        self,
        store: KnowledgeStore,
        library: Library,
        settings: AgentSettings,
        t: Transaction,
        bench: Workbench,
        stem: str | None,
    ) -> None:
        """Get ready.

        Args:
            store: The store, in the transaction of the task.
            library: Turns its entries into networks.
            settings: What the agent is made of.
            t: The transaction.
            bench: The task as it was laid out.
            stem: Id of the stem; None where there is none.
        """
        self._store, self._library, self._settings, self._t = store, library, settings, t
        self._bench, self._stem = bench, stem
        self._task = bench.whole
        self._rng = generator(settings.seed, self._task.index, "bound")
        self._steps: list[BoundStep] = []
        self._banks: dict[int, BankEntry] = {}
        self._limit = 0

    def limit(self) -> int | None:
        """Bytes that the store may hold; None where the recipe does not say."""
        of = self._settings
        given = [of.store_bytes] if of.store_bytes is not None else []
        if of.store_encoders is not None:
            given.append(of.store_encoders * encoder_bytes(of, self._task.input_shape))
        return min(given, default=None)

    def keep(self, record: TaskRecord, outcome: Outcome, beside: Sequence[str]) -> Bounded | None:
        """Make room, if the task took the store past its bytes.

        Args:
            record: The task's record.
            outcome: What learning it gave.
            beside: Ids of the encoders of `outcome.extras`, in their order.

        Returns:
            What was done and what it costs; None where the recipe grants any number of bytes.

        Raises:
            BudgetError: If nothing that may leave is left, and the store is still beyond its bytes.
        """
        limit = self.limit()
        if limit is None:
            return None
        ledger, before = self._bench.ledger, dict(self._bench.ledger.flops)
        seconds = ledger.seconds.get("consolidate", 0.0)
        with ledger.counting("consolidate"):
            self._stand_in(record, outcome.model)
            ways: list[Callable[[], None]] = [
                lambda: self._leave_out(record, outcome, beside),
                lambda: self._shrink(record.index, outcome.model.head),
                self._let_go,
                lambda: self._merge(before.get("consolidate", 0.0)),
                self._evict,
            ]
            self._limit = limit
            for way in ways:
                if self._over():
                    way()
        if self._over():
            raise BudgetError(
                f"task {record.name!r}: the store may hold {limit:,} bytes, and {self._store.bytes_kept():,} are taken "
                "by what nothing can stand in for: stem, statistics, heads, samples. Raise budget.bytes (or "
                "budget.encoders); everything up to the task before is kept."
            )
        if self._steps:
            self._library.forget()
        return Bounded(
            task=record.index,
            limit=limit,
            bytes=self._store.bytes_kept(),
            steps=tuple(self._steps),
            flops=ledger.flops.get("consolidate", 0.0) - before.get("consolidate", 0.0),
            seconds=ledger.seconds.get("consolidate", 0.0) - seconds,
        )

    # The ways, in their order

    def _stand_in(self, record: TaskRecord, model: Model) -> None:
        """Store what will stand in for the task's model, unless the model stands on the input itself."""
        if model.encoder.name != "raw":
            made = StandIn.of(self._bench.task, self._task, self._bench.held_out, model, self._rng)
            spec, tensors = made.stored()
            self._t.add_bank(spec, tensors, encoder=None, task=record.index)

    def _leave_out(self, record: TaskRecord, outcome: Outcome, beside: Sequence[str]) -> None:
        """Leave out encoders of this task that gain too little, first those that do not answer."""
        answers = outcome.learned.accuracy
        for entry, extra in zip(beside, outcome.extras, strict=True):
            more = extra.accuracy - answers if extra.accuracy is not None and answers is not None else 0.0
            if self._over() and more < GAIN and self._is_new(entry) and entry != record.encoder:
                self._leave("left out", entry, (), 0.0)
        own = self._own(record)
        if not self._over() or own is None or own.accuracy is None or not self._is_new(str(record.encoder)):
            return
        head: Head = own.head()
        encoder, best = "", own.own or 0.0
        source = outcome.option.source
        if source is not None and self._store.has_encoder(source) and source != record.encoder:
            on_source, accuracy = self._closed_form(self._library.encoder(source))
            if accuracy > best:
                head, encoder, best = on_source, source, accuracy
        if own.accuracy - best < GAIN:
            self._answer(record, encoder or self._raw(), head)
            self._leave("left out", str(record.encoder), (record.index,), own.accuracy - best, encoder or None)

    def _shrink(self, task: int, head: Head) -> None:
        """Store an encoder that was made from a stored one as a low-rank difference, if it still answers as well."""
        record = self._store.task(task)
        entry = self._store.encoder(str(record.encoder))
        if not self._is_new(entry.id) or entry.delta != "whole" or entry.parent is None:
            return
        parent, weights = whole_weights(self._store, entry.parent), self._store.weights(entry.id)
        samples = self._bench.held_out or self._task.support
        whole = score(outputs_of(self._model(entry, weights, head), samples.x), samples.y, self._task.kind)
        for rank in RANKS:
            delta = truncated(weights, parent, rank)
            if 2 * sum(t.nbytes for t in delta.values()) > entry.bytes:
                return
            made = self._t.add_encoder(
                entry.spec,
                delta,
                task=task,
                strategy=entry.strategy,
                parent=entry.parent,
                flops=entry.flops,
                delta="low-rank",
            )
            model = self._model(entry, whole_weights(self._store, made), head)
            found = score(outputs_of(model, samples.x), samples.y, self._task.kind)
            if found.loss <= whole.loss + LOSS and found.accuracy >= whole.accuracy:
                self._answer(record, made, head)
                self._leave("delta", entry.id, (task,), whole.accuracy - found.accuracy, made)
                return
            self._t.remove(made)

    def _let_go(self) -> None:
        """Let go of what answers for no task: replaced meta-initialisations, then encoders, the least helpful first."""
        newest = {(m.spec.get("strategy"), str(m.spec.get("input_shape"))): m.id for m in self._store.metas()}
        for meta in self._store.metas():
            if self._over() and meta.id not in newest.values():
                self._leave("evicted", meta.id, (), 0.0)
        for holding in self._holdings():
            if self._over() and not holding.tasks and self._store.has_encoder(holding.id):
                for entry in reversed(holding.encoders):
                    self._leave("evicted", entry.id, (), 0.0)

    def _merge(self, spent: float) -> None:
        """Merge the two encoders that are most alike, if no task loses more than the margin."""
        share = self._settings.consolidate_share * self._bench.ledger.limit - spent
        able = [h for h in self._holdings() if self._can_merge(h)]
        able = [h for h in able if h.encoders[0].spec == able[0].encoders[0].spec][:PAIRED]
        if len(able) < 2 or share <= 0:
            return
        members = [[self._member(r) for r in h.tasks] for h in able]
        alike = likeness([m[0].model.encoder for m in members], members, self._rng).triu(1)
        joining, keeping = divmod(int(alike.argmax()), len(able))
        joins, keeps = able[joining], able[keeping]
        made, why = merge(members[keeping], members[joining], share, self._rng)
        if made is None:
            self._steps.append(BoundStep(joins.id, "kept apart", keeps.id, (), 0, None, why))
            return
        target, task = keeps.id, self._task.index
        if made.trained:
            spec = keeps.encoders[0].spec
            target = self._t.add_encoder(
                spec, state(made.encoder), task=task, strategy="merge", parent=keeps.id, flops=0.0
            )
            self._t.made(target, joins.id, strategy="merge", task=task, flops=0.0)
        moved = (*keeps.tasks, *joins.tasks) if made.trained else joins.tasks
        for record, head in zip(moved, made.heads, strict=True):
            self._answer(record, target, head)
        for gone in (keeps, joins) if made.trained else (joins,):
            self._leave("merged", gone.id, tuple(r.index for r in gone.tasks), made.cost, target, why)

    def _evict(self) -> None:
        """Evict what is worth least per byte; heads on the input stand in for the models of its tasks."""
        for holding in self._holdings():
            if not self._over() or not all(r.index in self._banks for r in holding.tasks):
                continue
            if not self._store.has_encoder(holding.id):
                continue
            costs = []
            for record in holding.tasks:
                bank = self._banks[record.index]
                self._answer(record, self._raw(), restored(self._store, bank).head())
                costs.append(gain(bank))
                self._t.remove(bank.id)
            tasks = tuple(sorted(record.index for record in holding.tasks))
            for entry in reversed(holding.encoders):
                first = entry is holding.encoders[0]
                self._leave("evicted", entry.id, tasks if first else (), mean(costs) if first else 0.0)

    # What they have in common

    def _over(self) -> bool:
        return self._store.bytes_kept() > self._limit

    def _holdings(self) -> list[Holding]:
        self._banks = stand_ins(self._store)
        return holdings(self._store, self._banks)

    def _own(self, record: TaskRecord) -> StandIn | None:
        bank = stand_ins(self._store).get(record.index)
        return restored(self._store, bank) if bank else None

    def _is_new(self, entry: str) -> bool:
        return self._store.has_encoder(entry) and self._store.encoder(entry).task == self._task.index

    def _raw(self) -> str:
        """Id of the encoder that gives the input itself."""
        raw = build_encoder("raw", self._task.input_shape, {}, 0)
        return self._t.add_encoder(
            {**raw.spec, "stem": self._stem}, {}, task=self._task.index, strategy="prototype", parent=None, flops=0.0
        )

    @torch.no_grad()
    def _closed_form(self, encoder: Encoder) -> tuple[Head, float]:
        """Fit a head on an encoder's features; with its held-out accuracy when it has not seen the held-out samples."""
        task, held_out = self._bench.task, self._bench.held_out
        accuracy = -1.0
        if held_out is not None:
            head, _ = fitted(features_of(encoder, task.support.x), task)
            accuracy = score(head(features_of(encoder, held_out.x)), held_out.y, task.kind).accuracy
        return fitted(features_of(encoder, self._task.support.x), self._task)[0], accuracy

    def _can_merge(self, holding: Holding) -> bool:
        """Whether other weights could do for an encoder: it is trained, whole and alone, and its tasks are known."""
        known = [self._banks.get(record.index) for record in holding.tasks]
        first = holding.encoders[0]
        alone = len(holding.encoders) == 1 and first.delta == "whole" and bool(known)
        trained = bool(registry.load("encoder", first.spec["name"]).trainable)
        classes = all(record.kind == "classification" for record in holding.tasks)
        return alone and trained and classes and all(each is not None for each in known)

    def _member(self, record: TaskRecord) -> Member:
        return Member(
            record.index, self._library.model(record).eval(), restored(self._store, self._banks[record.index])
        )

    def _model(self, entry: EncoderEntry, weights: dict[str, Tensor], head: Head) -> Model:
        spec = {key: value for key, value in entry.spec.items() if key != "stem"}
        return Model(restore_encoder(spec, weights).to(self._settings.device), head)

    def _answer(self, record: TaskRecord, encoder: str, head: Head) -> None:
        """Let a task answer with another encoder and head."""
        new = self._t.add_head(head.kind, {}, state(head), encoder=encoder, task=record.index)
        self._t.answer_with(record.index, encoder, new)
        if record.head is not None and not self._store.is_used(record.head):
            self._t.remove(record.head)

    def _leave(
        self, how: str, entry: str, tasks: tuple[int, ...], cost: float | None, into: str | None = None, why: str = ""
    ) -> None:
        """Let an entry leave, and note why."""
        before = self._store.bytes_kept()
        self._t.remove(entry)
        freed = before - self._store.bytes_kept()
        self._t.bounded(BoundedRecord(entry, self._task.index, how, into, tasks, freed, cost))
        self._steps.append(BoundStep(entry, how, into, tasks, freed, cost, why))
