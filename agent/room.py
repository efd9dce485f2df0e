"""Making room in a store: the ways in which bytes are not taken or given back, and the tasks' answers with them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .. import registry
from ..streams.seeds import generator
from .agent_settings import AgentSettings
from .arm import outputs_of, score
from .budget import counted
from .delta import truncated, truncation_flops, whole_weights
from .encoder import Encoder, build_encoder, restore_encoder
from .entries import BankEntry, BoundedRecord, EncoderEntry, TaskRecord
from .events import BoundStep
from .holding import Holding, gain, holdings, mean, restored, stand_ins
from .library import Library
from .merging import Member, likeness, likeness_flops, merge
from .model import Head, Model, state
from .outcome import Outcome
from .probe import Price, features_of
from .stand_in import StandIn, fitted
from .store import KnowledgeStore
from .transaction import Transaction
from .workbench import Workbench

# Held-out accuracy below which an encoder gains too little to be added.
GAIN = 0.02
# Columns of low-rank deltas that are tried, and nats of held-out loss that one may cost.
RANKS, LOSS = (4, 16), 0.02
# Encoders that are thought of for merging, the least valuable.
PAIRED = 4


class Room:
    """Makes room in one task's transaction, as long as the store is beyond its bytes.

    Attributes:
        steps: What was done, in order.
        limit: Bytes that the store may hold.
    """

    def __init__(
        self,
        store: KnowledgeStore,
        library: Library,
        settings: AgentSettings,
        t: Transaction,
        bench: Workbench,
        stem: str | None,
        limit: int,
    ) -> None:
        """Get ready.

        Args:
            store: The store, in the transaction of the task.
            library: Turns its entries into networks.
            settings: What the agent is made of.
            t: The transaction.
            bench: The task as it was laid out.
            stem: Id of the stem; None where there is none.
            limit: Bytes that the store may hold.
        """
        self._store, self._library, self._settings, self._t = store, library, settings, t
        self._bench, self._stem = bench, stem
        self._task = bench.whole
        self._rng = generator(settings.seed, self._task.index, "bound")
        self._banks: dict[int, BankEntry] = {}
        self.steps: list[BoundStep] = []
        self.limit = limit

    def lacking(self) -> bool:
        """Whether the store holds more than it may."""
        return self._store.bytes_kept() > self.limit

    def stand_in(self, record: TaskRecord, model: Model) -> None:
        """Store what will stand in for the task's model, unless the model stands on the input itself."""
        if model.encoder.name == "raw":
            return
        held, ledger = self._bench.held_out, self._bench.ledger
        with ledger.counting("consolidate"):
            made = StandIn.of(self._bench.task, self._task, held, model)
        with ledger.counting("consolidate"):
            made = made.scaled(self._task, len(held or ()), model, self._rng, ledger.left)
        spec, tensors = made.stored()
        self._t.add_bank(spec, tensors, encoder=None, task=record.index)

    def leave_out(self, record: TaskRecord, outcome: Outcome, beside: Sequence[str]) -> None:
        """Leave out encoders of this task that gain too little, first those that do not answer."""
        answers = outcome.learned.accuracy
        for entry, extra in zip(beside, outcome.extras, strict=True):
            more = extra.accuracy - answers if extra.accuracy is not None and answers is not None else 0.0
            if self.lacking() and more < GAIN and self._is_new(entry) and entry != record.encoder:
                self._leave("left out", entry, (), 0.0)
        own = self._own(record)
        if not self.lacking() or own is None or own.accuracy is None or not self._is_new(str(record.encoder)):
            return
        head: Head = own.head()
        encoder, best = "", own.own or 0.0
        source = outcome.option.source
        if source is not None and self._store.has_encoder(source) and source != record.encoder:
            found = self._closed_form(self._library.encoder(source))
            if found is not None and found[1] > best:
                head, encoder, best = found[0], source, found[1]
        if own.accuracy - best < GAIN:
            self._answer(record, encoder or self._raw(), head)
            self._leave("left out", str(record.encoder), (record.index,), own.accuracy - best, encoder or None)

    def shrink(self, task: int, head: Head) -> None:
        """Store an encoder that was made from a stored one as a low-rank difference, if it still answers as well."""
        record = self._store.task(task)
        entry = self._store.encoder(str(record.encoder))
        if not self._is_new(entry.id) or entry.delta != "whole" or entry.parent is None:
            return
        parent, weights = whole_weights(self._store, entry.parent), self._store.weights(entry.id)
        samples = self._bench.held_out or self._task.support
        left, price = self._bench.ledger.left, truncation_flops(weights)
        _, each = counted(lambda: outputs_of(self._model(entry, weights, head), samples.x[:1]))
        if price + 2 * len(samples) * each > left:
            return
        whole = score(outputs_of(self._model(entry, weights, head), samples.x), samples.y, self._task.kind)
        for tried, rank in enumerate(RANKS, start=1):
            if tried * (price + len(samples) * each) + len(samples) * each > left:
                return
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

    def let_go(self) -> None:
        """Let go of what answers for no task: replaced meta-initialisations, then encoders, the least helpful first."""
        newest = {(m.spec.get("strategy"), str(m.spec.get("input_shape"))): m.id for m in self._store.metas()}
        for meta in self._store.metas():
            if self.lacking() and meta.id not in newest.values():
                self._leave("evicted", meta.id, (), 0.0)
        for holding in self._holdings():
            if self.lacking() and not holding.tasks and self._store.has_encoder(holding.id):
                for entry in reversed(holding.encoders):
                    self._leave("evicted", entry.id, (), 0.0)

    def merge(self) -> None:
        """Merge the two encoders that are most alike, if no task loses more than the margin."""
        ledger = self._bench.ledger
        share = self._settings.consolidate_share * ledger.limit - ledger.flops.get("consolidate", 0.0)
        share = min(share, ledger.left)
        able = [h for h in self._holdings() if self._can_merge(h)]
        able = [h for h in able if h.encoders[0].spec == able[0].encoders[0].spec][:PAIRED]
        if len(able) < 2 or share <= 0:
            return
        members = [[self._member(r) for r in h.tasks] for h in able]
        encoders = [m[0].model.encoder for m in members]
        share -= likeness_flops(encoders)
        if share <= 0:
            return
        alike = likeness(encoders, members, self._rng).triu(1)
        joining, keeping = divmod(int(alike.argmax()), len(able))
        joins, keeps = able[joining], able[keeping]
        made, why = merge(members[keeping], members[joining], share, self._rng)
        if made is None:
            self.steps.append(BoundStep(joins.id, "kept apart", keeps.id, (), 0, None, why))
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

    def evict(self) -> None:
        """Evict what is worth least per byte; heads on the input stand in for the models of its tasks."""
        for holding in self._holdings():
            if not self.lacking() or not all(r.index in self._banks for r in holding.tasks):
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
    def _closed_form(self, encoder: Encoder) -> tuple[Head, float] | None:
        """Fit a head on an encoder's features; with its held-out accuracy when it has not seen the held-out samples.

        None where the task's budget does not pay for it.
        """
        task, held_out = self._bench.task, self._bench.held_out
        _, once = counted(lambda: features_of(encoder, self._task.support.x[:1]))
        price = Price(once, encoder.feature_size, task.outputs)
        samples = [len(task.support)] if held_out is not None else []
        cost = sum(map(price.of, [*samples, len(self._task.support)])) + len(held_out or ()) * once
        if cost > self._bench.ledger.left:
            return None
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
        drawn = all(each is not None and each.spec["stand_in"]["scale"] is not None for each in known)
        return alone and trained and classes and drawn

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
        self.steps.append(BoundStep(entry, how, into, tasks, freed, cost, why))
