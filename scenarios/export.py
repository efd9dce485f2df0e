"""What a process takes up from the store when it begins, and what it writes beside it while a run goes on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..agent.events import Evaluated
from ..agent.store import KnowledgeStore
from ..streams.stream import Stream
from .measures import Measures
from .run_folder import RunFolder
from .scenario import Scenario


def commit_row(store: KnowledgeStore, measures: Measures, event: Evaluated) -> None:
    """Make a row part of the store: the second transaction of a task, with Avalanche's values of it.

    Args:
        store: The store.
        measures: What took the row.
        event: The row.
    """
    values = [[name, value] for row, name, value in measures.avalanche_values() if row == event.row]
    store.add_row(event.row, event.task, {**asdict(event), "avalanche": values}, [event.to_json()])


def restored(scenario: Scenario, stream: Stream, store: KnowledgeStore) -> Measures:
    """Make what measures, with every row that the store holds.

    Args:
        scenario: The recipe.
        stream: The stream.
        store: The store; empty where the run begins.
    """
    measures = Measures(stream, evaluate_every=scenario.evaluate_every)
    rows: list[Evaluated] = []
    values: list[tuple[int, str, float]] = []
    for record in store.rows():
        body: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in record.body.items()}
        values += [(record.row, name, value) for name, value in body.pop("avalanche")]
        rows.append(Evaluated(**body))
    measures.restore(rows, values)
    return measures


class Export:
    """Writes what the catalog holds beside it, for whoever reads files; called after every row."""

    def __init__(self, folder: RunFolder, store: KnowledgeStore, measures: Measures) -> None:
        """Write nothing yet.

        Args:
            folder: Where to write.
            store: The catalog, which is the truth.
            measures: Holds the rows.
        """
        self._folder, self._store, self._measures = folder, store, measures
        self._during: list[dict[str, Any]] = []
        self._events: int | None = None  # the last one that is written; None before the file is written whole

    def __call__(self) -> None:
        """Write what is new: the first time everything, so that nothing stays of what was not committed."""
        new = self._store.events(self._events or 0)
        bodies = [event.body for event in new]
        if self._events is None:
            self._folder.write_events(bodies)
        elif bodies:
            self._folder.append_events(bodies)
        during = [body for body in bodies if body.get("event") == "EvaluatedDuring"]
        self._during += during
        if during:
            self._folder.write_during(self._measures.columns, self._during)
        self._events = new[-1].seq if new else self._events or 0
        if self._measures.rows:
            self._folder.write_matrix(self._measures.matrix())
            self._folder.write_avalanche(self._measures.avalanche_values())
