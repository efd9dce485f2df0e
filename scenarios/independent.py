"""The bound `independent`: a fresh model for every task, asked with the task known, whatever the setting.

Every task is learned by the strategy `scratch` with the whole budget, as evermap's agent does it. In settings without a
task label that makes it a reference and no competitor: it is told which test set it is asked about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ..agent.agent import LifelongAgent
from ..agent.agent_settings import AgentSettings
from ..agent.answer import Answer
from ..agent.arm import outputs_of
from ..agent.selector import Selector
from ..agent.store import KnowledgeStore
from ..agent.strategy import Strategy
from ..streams.setting import Setting
from ..streams.stream import Concept, Stream, TestSet


class Told:
    """A stream whose test sets come with their column as the task label; for whoever measures."""

    setting = Setting.TASK_INCREMENTAL

    def __init__(self, stream: Stream) -> None:
        """Look at a stream.

        Args:
            stream: The stream; it stays as it is.
        """
        self._stream = stream
        self.n_classes = stream.n_classes
        self.concepts: tuple[Concept, ...] = tuple(replace(each, label=each.index) for each in stream.concepts)

    def __len__(self) -> int:
        return len(self._stream)

    def concept_of(self, i: int) -> int:
        """Return the column of task `i`."""
        return self._stream.concept_of(i)

    def label_of(self, i: int) -> int:
        """Return the label under which task `i` is asked about: its column."""
        return self._stream.concept_of(i)

    def test(self, c: int) -> TestSet:
        """Build the test set of a column."""
        return replace(self._stream.test(c), label=c)


class Independent(LifelongAgent):
    """Learns every task from scratch, and answers for a column with the model of the last task that brought it."""

    def __init__(
        self,
        store: KnowledgeStore,
        strategies: Mapping[str, Strategy],
        selector: Selector,
        settings: AgentSettings,
        stream: Stream,
    ) -> None:
        """Take up what a store holds.

        Args:
            store: Where knowledge is kept.
            strategies: As for any agent.
            selector: Chooses `scratch`.
            settings: What the agent is made of.
            stream: Says which task brings which column.
        """
        super().__init__(store, strategies, selector, settings)
        self._tasks: dict[int, list[int]] = {}
        for i in range(len(stream)):
            self._tasks.setdefault(stream.concept_of(i), []).append(i)

    @torch.no_grad()
    def answer(self, x: Tensor, label: int | None) -> Answer:
        """Answer for inputs of shape `(n, *input_shape)` of the column that the label names."""
        done = [] if label is None else [i for i in self._tasks[label] if self.store.has_task(i)]
        if not done:
            return Answer.nothing(len(x))
        record = self.store.task(done[-1])
        model = self.library.ready(record)
        outputs = outputs_of(model, self.library.view_asked(x.to(self.settings.device)))
        if record.kind == "regression":
            return Answer.of_values(outputs.cpu())
        log_probs = (outputs / model.head.temperature).log_softmax(dim=1).cpu()
        return Answer(log_probs, record.classes, torch.zeros(len(x), dtype=torch.bool))
