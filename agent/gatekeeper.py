"""The gatekeeper: decides who answers without a task label, a task's model or the anchor, by stored statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce

import torch
from torch import Tensor

from ..streams.seeds import generator
from ..streams.task import Samples, Task
from .agent_settings import AgentSettings
from .anchors import Anchors, Shape
from .answer import Answer
from .arm import outputs_of
from .encoder import Encoder
from .entries import TaskRecord
from .gate import Signature, Tally, pick
from .holdout import hold_out
from .known import Episode
from .model import Model
from .probe import features_of
from .store import KnowledgeStore
from .transaction import Transaction


@dataclass(frozen=True)
class _Known:
    """A task whose model may answer: its record, its signature, and what its held-out samples said of the gate."""

    record: TaskRecord
    signature: Signature
    tally: Tally


class Gatekeeper:
    """Answers without a task label.

    The gate is open where the models that it picks were right more often than the anchor about held-out samples of the
    tasks that came so far (`Tally.opens`); otherwise, and for inputs that fit no task, the anchor answers.

    Attributes:
        model: Gives a task's model, ready for use.
    """

    def __init__(
        self,
        store: KnowledgeStore,
        settings: AgentSettings,
        anchors: Anchors,
        model: Callable[[TaskRecord], Model],
        view: Callable[[Tensor], Tensor],
    ) -> None:
        """Read nothing yet.

        Args:
            store: Where signatures are kept.
            settings: What the agent is made of.
            anchors: The anchors.
            model: Gives a task's model, ready for use.
            view: Sends inputs through the stem.
        """
        self._store, self._settings, self._anchors = store, settings, anchors
        self.model, self._view = model, view
        self._known: dict[Shape, list[_Known]] = {}

    @torch.no_grad()
    def answer(self, x: Tensor) -> Answer:
        """Answer for inputs as they come, shape `(n, *input_shape)`, among all classes seen."""
        shape = tuple(x.shape[1:])
        classes = self._anchors.classes(shape)
        if not classes:
            return Answer.nothing(len(x))
        features = self._anchors.features_asked(x)
        log_probs = self._anchors.log_probs_of(shape, features).cpu()
        picked = torch.full((len(x),), -1)
        known = self._at(shape) if self._settings.gate else []
        if self.is_open(shape):
            picked = pick(features, [each.signature for each in known])
            for i in picked.unique().tolist():
                if i >= 0:
                    log_probs[picked == i] = self._said(known[i].record, x[(picked == i).to(x.device)], classes)
        return Answer(log_probs, classes, picked < 0)

    def is_open(self, shape: Shape) -> bool:
        """Whether models of tasks may answer for inputs of a shape."""
        known = self._at(shape) if self._settings.gate else []
        same = len({frozenset(each.record.classes) for each in known}) == 1
        return reduce(Tally.plus, (each.tally for each in known), Tally()).opens(same)

    def forget(self) -> None:
        """Read everything anew when it is asked for: tasks answer with other models."""
        self._known.clear()

    def reencoded(self, t: Transaction, shape: Shape, encoder: Encoder, episodes: Sequence[Episode]) -> None:
        """Make signatures anew in the features of another encoder; tasks without kept samples have none any more.

        Args:
            t: The transaction.
            shape: Shape of one input as it comes.
            encoder: The anchor's new encoder.
            episodes: Samples of tasks that the anchor has counted, through the stem.
        """
        if not self._settings.gate:
            return
        for bank in self._store.banks_with("gate"):
            if tuple(bank.spec["input_shape"]) == shape:
                t.remove(bank.id)
        self._known[shape] = []
        for episode in episodes:
            parts = (episode.support, episode.query)[: 1 + episode.held_out]
            x, y = (torch.cat(each) for each in zip(*((part.x, part.y) for part in parts), strict=True))
            signature = Signature.of(features_of(encoder, x.to(self._settings.device)), y, episode.outputs)
            if signature is not None:
                self._know(t, shape, self._store.task(episode.task), signature, Tally())

    def remember(self, t: Transaction, task: Task, view: Task, record: TaskRecord, accuracy: float | None) -> None:
        """Take a task into the anchor's statistics and, where there is a gate, its signature; put both into the store.

        What the gate and the anchor would have answered for held-out samples is counted before the anchor sees them.

        Args:
            t: The transaction.
            task: A classification task as it came.
            view: The same through the stem, without a query part.
            record: Its record.
            accuracy: Of its model on held-out samples that it was not trained on; None where there are none.
        """
        shape, part = task.input_shape, replace(view, query=task.query)
        if not self._settings.gate:
            self._anchors.add(task, view)
            self._anchors.keep(t, shape, task.index)
            return
        known = self._at(shape)
        (seen, held), (seen_view, held_view) = (self._parted(each) for each in (task, part))
        self._anchors.add(seen, seen_view)
        tally = Tally()
        if held is not None and held_view is not None and accuracy is not None and known:
            tally = self._tally(task, seen, held, accuracy)
        if held is not None and held_view is not None and task.query is None:
            self._anchors.add(replace(task, support=held), replace(view, support=held_view))
        self._anchors.keep(t, shape, task.index)
        signature = self._signature(task)
        if signature is not None:
            self._know(t, shape, record, signature, tally)

    def _know(self, t: Transaction, shape: Shape, record: TaskRecord, signature: Signature, tally: Tally) -> None:
        known = self._at(shape)  # before the bank is there: else it would be read as well
        spec = {"gate": record.index, "input_shape": list(shape), "tally": asdict(tally)}
        t.add_bank(spec, signature.tensors(), encoder=None, task=record.index)
        known.append(_Known(record, signature, tally))

    def _tally(self, task: Task, seen: Task, held: Samples, accuracy: float) -> Tally:
        """Count right answers about held-out samples, the anchor and the task's signature without them."""
        known, shape = self._at(task.input_shape), task.input_shape
        own = self._signature(seen)
        if own is None:
            return Tally()
        x, y = held.x.to(self._settings.device), torch.tensor(task.classes)[held.y.cpu()]
        features, classes = self._anchors.features(x), torch.tensor(self._anchors.classes(shape))
        said = classes[self._anchors.log_probs_of(shape, features).cpu().argmax(dim=1)]
        right = (said == y).double()
        models, picked = right.clone(), pick(features, [own, *(each.signature for each in known)])
        models[picked == 0] = accuracy  # its model may have been fitted again on these samples
        for i, each in enumerate(known, start=1):
            mine = picked == i
            if bool(mine.any()):
                answer = self._said(each.record, x[mine.to(x.device)], tuple(classes.tolist()))
                models[mine] = (classes[answer.argmax(dim=1)] == y[mine]).double()
        return Tally(float(models.sum()), float(right.sum()), len(y))

    def _signature(self, task: Task) -> Signature | None:
        features = self._anchors.features(task.support.x.to(self._settings.device))
        return Signature.of(features, task.support.y, task.outputs)

    def _parted(self, task: Task) -> tuple[Task, Samples | None]:
        """The split that the strategies saw."""
        return hold_out(task, self._settings.held_out, generator(self._settings.seed, task.index, "held-out"))

    @torch.no_grad()
    def _said(self, record: TaskRecord, x: Tensor, classes: tuple[int, ...]) -> Tensor:
        """What a task's model says, as log-probabilities among all classes, shape `(n, len(classes))`."""
        model = self.model(record)
        outputs = outputs_of(model, self._view(x)) / model.head.temperature
        log_probs = torch.full((len(x), len(classes)), -float("inf"))
        log_probs[:, [classes.index(c) for c in record.classes]] = torch.log_softmax(outputs, dim=1).cpu()
        return log_probs

    def _at(self, shape: Shape) -> list[_Known]:
        if shape not in self._known:
            records = {record.index: record for record in self._store.tasks()}
            self._known[shape] = [
                _Known(
                    records[bank.spec["gate"]],
                    Signature.restored(self._store.weights(bank.id)),
                    Tally(**bank.spec["tally"]),
                )
                for bank in self._store.banks()
                if bank.spec.get("gate") is not None and tuple(bank.spec["input_shape"]) == shape
            ]
        return self._known[shape]
