"""What the store holds, as networks: stems, sources, models of tasks and anchors, built when they are asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..streams.seeds import derive, generator
from ..streams.task import Samples, Task
from .anchors import Anchors
from .asked import through_frozen
from .delta import whole_weights
from .encoder import Encoder, build_encoder, restore_encoder
from .entries import BankEntry, EncoderBrief, TaskRecord
from .events import ProbeScore
from .gatekeeper import Gatekeeper
from .known import Episode, Known, Meta, Source
from .memory import Memory
from .model import Model, restore_head, state
from .signature import sign
from .store import KnowledgeStore
from .transaction import Transaction

if TYPE_CHECKING:
    from .agent_settings import AgentSettings
    from .meta_anchor import Weighed
    from .workbench import Workbench

Shape = tuple[int, ...]

# Models of tasks that are kept ready to answer.
READY = 64
# Random features that are offered beside the stem as a fixed representation.
RANDOM_FEATURES = 256
# Stored encoders, and closed-form heads on one fixed representation, that are thought of for a task: where there are
# more, those of the tasks that are nearest by their signatures.
RECALLED, HEADS = 64, 256
# Slots of the banks that hold episodes.
EPISODE = "episode "
# Samples of a class (regression: of a task) that an episode holds, of its support and of its query part each.
EPISODE_SAMPLES = 20


class Library:
    """Turns entries of the store into networks and back.

    Attributes:
        anchors: Statistics of every class that was seen.
        gatekeeper: What answers without a task label.
    """

    def __init__(self, store: KnowledgeStore, settings: AgentSettings) -> None:
        """Read nothing yet.

        Args:
            store: The store.
            settings: What the agent is made of.
        """
        self._store, self._settings = store, settings
        self._stems: dict[Shape, tuple[str | None, Encoder]] = {}
        self.anchors = Anchors(store, settings, self.view)
        self.gatekeeper = Gatekeeper(store, settings, self.anchors, self.ready, self.view)
        self._ready: OrderedDict[tuple[str, str], Model] = OrderedDict()
        self._newest: tuple[str, Encoder] | None = None  # a lineage, and what is read in its place for a while
        self._records: dict[int, TaskRecord] = {}
        self._memory = Memory(store)

    # The stem

    def view(self, x: Tensor) -> Tensor:
        """Send inputs, shape `(n, *input_shape)`, through the stem of their shape, where there is one."""
        stem = self._stem(tuple(x.shape[1:]))
        return x if stem is None else _encode(stem[1], x)

    def view_asked(self, x: Tensor) -> Tensor:
        """Send the inputs of a question through the stem as `view` does; where it was asked before, recall them."""
        stem = self._stem(tuple(x.shape[1:]))
        return x if stem is None else through_frozen(stem[1], self.view, x)

    def view_task(self, task: Task) -> Task:
        """Return the task as strategies see it: on the agent's device, through the stem.

        Args:
            task: The task; the first one of its shape decides the stem's filters.
        """
        device = self._settings.device
        if self._settings.stem != "none" and self._stem(task.input_shape) is None:
            self._stems[task.input_shape] = None, self._new_stem(task)

        def seen(samples: Samples) -> Samples:
            return Samples(self.view(samples.x.to(device)), samples.y.to(device))

        return replace(
            task,
            support=seen(task.support),
            query=seen(task.query) if task.query is not None else None,
            unlabelled=self.view(task.unlabelled.to(device)) if task.unlabelled is not None else None,
        )

    def store_stem(self, t: Transaction, task: Task) -> str | None:
        """Store the stem of a task's shape of input, if it is new.

        Args:
            t: The transaction.
            task: The task, as it came.

        Returns:
            The stem's id; None where there is none.
        """
        if self._settings.stem == "none":
            return None
        name, stem = self._stems[task.input_shape]
        if name is None:
            name = t.add_encoder(stem.spec, state(stem), task=task.index, strategy="stem", parent=None, flops=0.0)
            self._stems[task.input_shape] = name, stem
        return name

    def _stem(self, shape: Shape) -> tuple[str | None, Encoder] | None:
        if self._settings.stem == "none":
            return None
        if shape not in self._stems:
            entry = self._memory.stem(shape)
            if entry is not None:
                self._stems[shape] = entry.id, self.encoder(entry.id).eval().requires_grad_(False)
        return self._stems.get(shape)

    def _new_stem(self, task: Task) -> Encoder:
        settings, seed = self._settings, self._settings.seed
        stem = build_encoder(settings.stem, task.input_shape, settings.stem_settings, derive(seed, "stem"))
        fit: Callable[[Tensor, torch.Generator], None] | None = getattr(stem, "fit", None)
        if fit is not None:
            fit(task.support.x, generator(seed, "stem patches"))
        return stem.to(settings.device).eval().requires_grad_(False)

    # What is known for a task

    def known_for(self, task: Task) -> Known:
        """Lay out what the store offers for a task, the newest first, not probed.

        Args:
            task: The task as strategies see it.
        """
        in_place = self._settings.sharing == "in-place"
        fitting, others = self._memory.trained(task.input_shape, newest=in_place)
        key = None if in_place else ("trained", task.input_shape)  # in place, newer versions push older ones out
        recalled = self._memory.recall(fitting, lambda entry: entry.task, task, RECALLED, key)
        self._memory.tasks_on([entry.id for entry in recalled])  # read at once
        sources = [self._source(entry) for entry in reversed(recalled)]
        base = "raw" if self._settings.stem == "none" else "stem"
        fixed = [
            self._fixed_source(base, "raw", task),
            self._fixed_source("random", "random", task),
        ]
        architecture = {"name": self._settings.encoder, "settings": dict(self._settings.encoder_settings)}
        return Known(
            tuple(sources),
            tuple(fixed),
            others,
            architecture,
            metas=self._metas(task.input_shape),
            episodes=self._episodes(task.input_shape),
        )

    @staticmethod
    def ranked(known: Known, scores: Mapping[str, ProbeScore]) -> Known:
        """Order what is known by what it is worth.

        Args:
            known: What the store offers.
            scores: Scores by source; one without a score comes last.
        """

        def order(sources: tuple[Source, ...]) -> tuple[Source, ...]:
            scored = [replace(source, score=scores.get(source.id)) for source in sources]
            return tuple(sorted(scored, key=lambda s: s.score.ridge_mse if s.score is not None else float("inf")))

        return replace(known, sources=order(known.sources), fixed=order(known.fixed), prepared=order(known.prepared))

    def made_at(self, encoder: str) -> int:
        """Return the position of the task after which a stored encoder was made."""
        return self._store.encoder(encoder).task

    def is_stored(self, source: str | None) -> bool:
        """Tell whether a source is an entry of the store."""
        return source is not None and self._store.has_encoder(source)

    def _source(self, entry: EncoderBrief) -> Source:
        users = [entry.id]
        if self._settings.sharing == "in-place":
            users = [other.id for other in self._memory.lineage(entry)]
        records = tuple(self._memory.tasks_on(users))
        return Source(entry.id, True, None, records, partial(self.encoder, entry.id), self.model, entry.strategy)

    def _fixed_source(self, source: str, name: str, task: Task) -> Source:
        """A fixed representation, with the tasks whose closed-form heads stand on it."""
        shape = task.input_shape
        same = [entry.id for entry in self._memory.called(name, shape)]
        key = ("on", *same) if len(same) == 1 else None
        records = self._memory.recall(self._memory.tasks_on(same), lambda record: record.index, task, HEADS, key)
        return Source(source, False, None, tuple(records), partial(self._fixed, name, shape), self.model)

    def _fixed(self, name: str, shape: Shape) -> Encoder:
        settings: Mapping[str, Any] = {} if name == "raw" else {"features": RANDOM_FEATURES}
        seed = derive(self._settings.seed, "fixed representation", name)
        return build_encoder(name, shape, settings, seed).to(self._settings.device)

    def encoder(self, entry: str) -> Encoder:
        """Return a fresh copy of a stored encoder.

        Args:
            entry: Its id.
        """
        spec = {key: value for key, value in self._store.encoder(entry).spec.items() if key != "stem"}
        return restore_encoder(spec, whole_weights(self._store, entry)).to(self._settings.device)

    def model(self, record: TaskRecord) -> Model:
        """Return a fresh copy of the model that answers for a task.

        Args:
            record: The task's record.

        Raises:
            LookupError: If the task has no model of its own.
        """
        encoder, head = self._parts(record)
        restored = restore_head(self._store.head(head).kind, self._store.weights(head))
        return Model(self.encoder(encoder), restored.to(self._settings.device))

    def classes_of(self, task: int) -> tuple[int, ...]:
        """Return the global class ids of a task that is in the store, by its position."""
        return self._store.task(task).classes

    def _parts(self, record: TaskRecord) -> tuple[str, str]:
        """Ids of the encoder and the head that answer for a task now."""
        if record.encoder is None or record.head is None:
            raise LookupError(f"task {record.name!r} has no model of its own")
        if self._settings.sharing == "versions":
            return record.encoder, record.head
        return self._store.newest(self._store.encoder(record.encoder).lineage).id, record.head

    def forget(self) -> None:
        """Read everything anew: entries have left the store, or tasks answer with others."""
        self._ready.clear()
        self._records.clear()
        self._memory = Memory(self._store)
        self.gatekeeper.forget()

    # What strategies keep for later tasks

    def store_metas(self, t: Transaction, task: int, shape: Shape, metas: Mapping[str, Meta]) -> list[str]:
        """Store what strategies keep for later tasks, each as a new version.

        Args:
            t: The transaction.
            task: Position of the task after which it was made.
            shape: Shape of one input as strategies see it.
            metas: What is kept, by strategy.

        Returns:
            The ids.
        """
        before, ids = self._metas(shape), []
        for name, meta in metas.items():
            spec = {
                "strategy": name,
                "input_shape": list(shape),
                "spec": dict(meta.spec),
                "unit_flops": meta.unit_flops,
            }
            parent = before[name].id if name in before else None
            met = list(meta.met) if meta.met is not None else None
            ids.append(t.add_meta({**spec, "met": met}, meta.weights, task=task, strategy=name, parent=parent))
            if meta.moments:
                t.add_bank(spec, meta.moments, encoder=None, task=task, slot=_moments(name, shape))
        return ids

    def episode(self, came: Task, bench: Workbench) -> Episode | None:
        """Make an episode of the task at hand; None where the recipe keeps none, or nothing could be its query.

        At most `EPISODE_SAMPLES` of each class are kept, of the support and of the query part.

        Args:
            came: The task as it came.
            bench: The same as it was laid out.
        """
        query = bench.held_out
        if not self._settings.episode_memory or query is None:
            return None
        task = bench.task
        support, asked = (_at_most(part, task) for part in (task.support, query))
        held_out = len(bench.whole.support) > len(task.support)
        shape = came.input_shape if self._counts(came) else None
        return Episode(task.index, support, asked, task.outputs, task.kind, held_out, shape)

    def _counts(self, came: Task) -> bool:
        """Whether an anchor takes in a task; ids that mean something in it only would put what is apart into one."""
        return came.kind == "classification" and self._settings.anchor != "none" and not came.own_labels

    def _metas(self, shape: Shape) -> dict[str, Meta]:
        found: dict[str, Meta] = {}
        for (name, of), entry in self._memory.metas().items():
            if of == shape:
                bank = self._store.bank_in(_moments(name, shape))
                moments = self._store.weights(bank.id) if bank is not None else {}
                met = entry.spec.get("met")
                found[name] = Meta(
                    entry.spec["spec"],
                    self._store.weights(entry.id),
                    moments,
                    entry.id,
                    entry.spec.get("unit_flops", 0.0),
                    tuple(met) if met is not None else None,
                )
        return found

    def _episodes(self, shape: Shape) -> tuple[Episode, ...]:
        found = []
        for bank in self.kept_samples():
            if tuple(bank.spec["input_shape"]) == shape:
                w, spec = self._store.weights(bank.id), bank.spec
                support, query = Samples(w["support_x"], w["support_y"]), Samples(w["query_x"], w["query_y"])
                held_out, counted = spec.get("held_out", False), spec.get("anchor")
                anchor = tuple(counted) if counted is not None else None
                found.append(Episode(spec["episode"], support, query, spec["outputs"], spec["kind"], held_out, anchor))
        return tuple(sorted(found, key=lambda episode: episode.task))

    def kept_samples(self) -> list[BankEntry]:
        """List the banks that hold samples of tasks: the episode memory."""
        return self._store.banks_in(EPISODE)

    def _remember_episode(self, t: Transaction, came: Task, bench: Workbench) -> None:
        episode = self.episode(came, bench)
        if episode is None:
            return
        spec = {
            "episode": episode.task,
            "outputs": episode.outputs,
            "kind": episode.kind,
            "held_out": episode.held_out,
            "anchor": list(episode.anchor) if episode.anchor is not None else None,
            "input_shape": list(bench.task.input_shape),
        }
        tensors = {
            "support_x": episode.support.x.cpu(),
            "support_y": episode.support.y.cpu(),
            "query_x": episode.query.x.cpu(),
            "query_y": episode.query.y.cpu(),
        }
        slot = f"{EPISODE}{episode.task % self._settings.episode_memory}"
        t.add_bank(spec, tensors, encoder=None, task=episode.task, slot=slot)

    # Answering

    def model_of(self, label: int, shape: Shape) -> tuple[TaskRecord, Model] | None:
        """Return the model that answers for a task label, ready for use; it must not be changed.

        Args:
            label: The task label.
            shape: Shape of one input as it comes.

        Returns:
            The task's record and model; None if the task was not learned.
        """
        record = self._records.get(label) or self._store.task_labelled(label)
        if record is None:
            return None
        self._records[label] = record
        return record, self.ready(record)

    def ready(self, record: TaskRecord) -> Model:
        """Return the model that answers for a task, ready for use; it must not be changed.

        Args:
            record: The task's record.

        Raises:
            LookupError: If the task has no model of its own.
        """
        key = self._parts(record)
        model = self._ready.pop(key, None)
        if model is None:
            model = self.model(record).eval().requires_grad_(False)
        self._ready[key] = model
        while len(self._ready) > READY:
            self._ready.popitem(last=False)
        if self._newest is not None and self._store.encoder(key[0]).lineage == self._newest[0]:
            return Model(self._newest[1], model.head)
        return model

    @contextmanager
    def reading(self, source: str, encoder: Encoder) -> Iterator[None]:
        """Answer for the length of a block as if an encoder were the newest version of a stored one.

        Args:
            source: Id of the stored encoder.
            encoder: What is read in its place; it is not changed.
        """
        self._newest = self._store.encoder(source).lineage, encoder
        try:
            yield
        finally:
            self._newest = None

    def remember(
        self, t: Transaction, came: Task, bench: Workbench, record: TaskRecord, accuracy: float | None
    ) -> None:
        """Add a task to what answers: its record, its samples' statistics, itself to the episodes.

        Args:
            t: The transaction.
            came: The task as it came.
            bench: The task as it was laid out.
            record: Its record.
            accuracy: Of its model on held-out samples; None where there are none.
        """
        task = bench.whole
        if record.label is not None:
            self._records[record.label] = record
        self._memory.learned(record)
        stem = self._stem(came.input_shape)
        t.add_signature(sign(came, task, stem[0] if stem else None))
        self._remember_episode(t, came, bench)
        if self._counts(came):
            self.gatekeeper.remember(t, came, task, record, accuracy)

    def weighed(self, t: Transaction, came: Task, bench: Workbench, said: Weighed) -> None:
        """Note what a task that is about to be remembered said of an encoder that could become the anchor.

        Args:
            t: The transaction.
            came: The task as it came.
            bench: The task as it was laid out.
            said: What it said.
        """
        self.anchors.weighed(came, bench.whole, said.tally, said.anchor)
        if said.anchor is not None:
            counted = bench.known.counted(came.input_shape)
            self.gatekeeper.reencoded(t, came.input_shape, said.anchor.encoder, counted)


def _at_most(samples: Samples, task: Task) -> Samples:
    """Keep the first samples of every class, up to the number that an episode may hold."""
    if task.kind != "classification":
        return samples.pick(torch.arange(min(len(samples), EPISODE_SAMPLES)))
    index = torch.cat([torch.nonzero(samples.y == c).flatten()[:EPISODE_SAMPLES] for c in range(task.outputs)])
    return samples.pick(index.sort().values)


def _moments(strategy: str, shape: Shape) -> str:
    return f"moments of {strategy} " + "x".join(map(str, shape))


@torch.no_grad()
def _encode(encoder: Encoder, x: Tensor) -> Tensor:
    parts = [encoder(x[start : start + 1024]) for start in range(0, len(x), 1024)]
    return torch.cat(parts) if parts else encoder(x)
