"""What the store holds, as frozen rows: entries with weights, the record of every task, and where things come from."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from ..errors import StoreError

Json = dict[str, Any]


@dataclass(frozen=True)
class EncoderEntry:
    """One version of an encoder. Its weights never change; a changed encoder is a new version with a parent.

    Attributes:
        id: "encoder-1".
        number: The number in the id; grows with time.
        spec: What builds the network, as plain JSON.
        blob: SHA-256 of the weights' file.
        memory_format: Strides of the tensors that are not contiguous in memory (channels last), by name.
        parent: The version it was made from; None for a first version.
        lineage: Id of the first version that it descends from, its own for a first version.
        delta: What the blob holds: "whole", or the difference to the parent as "low-rank" or "bias".
        task: Index of the task it was learned on.
        strategy: Registered name of what made it.
        flops: What making it cost.
        bytes: Size of the blob.
    """

    id: str
    number: int
    spec: Json
    blob: str
    memory_format: dict[str, list[int]]
    parent: str | None
    lineage: str
    delta: str
    task: int
    strategy: str
    flops: float
    bytes: int


@dataclass(frozen=True)
class HeadEntry:
    """One task's head on an encoder.

    Attributes:
        id: "head-1".
        number: The number in the id.
        kind: What the head is ("linear", "ridge", ...), in the words of its maker.
        spec: What builds it, as plain JSON.
        blob: SHA-256 of the weights' file.
        memory_format: Strides of the tensors that are not contiguous in memory, by name.
        encoder: The encoder whose features it maps.
        task: Index of the task it was learned on.
        bytes: Size of the blob.
    """

    id: str
    number: int
    kind: str
    spec: Json
    blob: str
    memory_format: dict[str, list[int]]
    encoder: str
    task: int
    bytes: int


@dataclass(frozen=True)
class BankEntry:
    """Statistics per class over an encoder's features (or other tensors that are no network).

    Attributes:
        id: "bank-1".
        number: The number in the id.
        spec: What is in it, as plain JSON.
        blob: SHA-256 of the tensors' file.
        memory_format: Strides of the tensors that are not contiguous in memory, by name.
        encoder: The encoder whose features they describe; None where there is none.
        task: Index of the task after which it was put.
        slot: A name that only the newest bank put there holds ("anchor"); None for a bank that stays.
        bytes: Size of the blob.
    """

    id: str
    number: int
    spec: Json
    blob: str
    memory_format: dict[str, list[int]]
    encoder: str | None
    task: int
    slot: str | None
    bytes: int


@dataclass(frozen=True)
class MetaEntry:
    """One version of a meta-initialisation, its optimiser's moments included where its maker stores them.

    Attributes:
        id: "meta-1".
        number: The number in the id.
        spec: What builds it, as plain JSON.
        blob: SHA-256 of the tensors' file.
        memory_format: Strides of the tensors that are not contiguous in memory, by name.
        parent: The version it was made from; None for a first version.
        task: Index of the task after which it was made.
        bytes: Size of the blob.
    """

    id: str
    number: int
    spec: Json
    blob: str
    memory_format: dict[str, list[int]]
    parent: str | None
    task: int
    bytes: int


Entry = EncoderEntry | HeadEntry | BankEntry | MetaEntry


@dataclass(frozen=True)
class TaskRecord:
    """What is remembered of a task.

    Attributes:
        index: Position in the stream, from 0.
        name: Its readable name.
        label: The task label; None where the setting gives none.
        classes: Global class id of every output; empty for regression.
        kind: "classification" or "regression".
        encoder: Id of its encoder; None where no encoder of the store answers.
        head: Id of its head; None likewise.
        strategy: What learned it.
        source: Id of the entry it started from; None for none.
        choice: Why it was learned so, as plain JSON.
        outcome: What came of it and what it cost, as plain JSON.
        model: "model-1"; tasks with the same encoder and head have the same model. Left empty, the store fills it in.
    """

    index: int
    name: str
    label: int | None
    classes: tuple[int, ...]
    kind: str
    encoder: str | None
    head: str | None
    strategy: str
    source: str | None = None
    choice: Json = field(default_factory=dict)
    outcome: Json = field(default_factory=dict)
    model: str = ""


@dataclass(frozen=True)
class EncoderBrief:
    """One version of an encoder, as far as it is needed to choose among many; fields as in `EncoderEntry`.

    `name`, `input_shape` and `stem` (the entry of the fixed front under it, None for none) come from its spec.
    """

    id: str
    number: int
    lineage: str
    task: int
    strategy: str
    name: str | None
    input_shape: tuple[int, ...]
    stem: str | None


@dataclass(frozen=True)
class SignatureRecord:
    """What a task looked like; see `signature.py` for what the numbers are.

    Attributes:
        task: Index of the task.
        space: What its numbers can be compared within: shape of the inputs, and the fixed front under it.
        classes: Number of support samples by global class id, as text; empty for regression.
        inputs: Means, then standard deviations of the inputs, float32 in the byte order of the disk (little).
        features: Likewise of their features.
    """

    task: int
    space: str
    classes: dict[str, int]
    inputs: bytes
    features: bytes


@dataclass(frozen=True)
class ProvenanceRecord:
    """Which entry was made from which (None: from nothing), by what, on which task, at what cost in FLOPs."""

    entry: str
    made_from: str | None
    strategy: str
    task: int
    flops: float


@dataclass(frozen=True)
class HelpRecord:
    """Which entry helped which later task, by how much (None: not measured), and how ("started from", "teacher")."""

    entry: str
    task: int
    gain: float | None
    how: str


@dataclass(frozen=True)
class BoundedRecord:
    """What was done so that the store stays within the bytes that the recipe grants.

    Attributes:
        entry: What it was done to; it may be gone. "new" for an encoder that was never added.
        task: Index of the task that needed the room.
        how: "left out", "delta", "merged" or "evicted".
        into: What took its place; None where nothing had to.
        tasks: Indices of the tasks that answer otherwise than before.
        freed: Bytes that were freed or not taken.
        cost: Accuracy that it costs these tasks, their mean, estimated at the time; None where nobody knows.
    """

    entry: str
    task: int
    how: str
    into: str | None
    tasks: tuple[int, ...]
    freed: int
    cost: float | None


@dataclass(frozen=True)
class EventRecord:
    """One event, in the order of `seq`; `task` is None for what belongs to no task."""

    seq: int
    task: int | None
    body: Json


@dataclass(frozen=True)
class RowRecord:
    """One row of the accuracy matrix; `task` is None for row 0."""

    row: int
    task: int | None
    body: Json


Record = TaskRecord | SignatureRecord | ProvenanceRecord | HelpRecord | BoundedRecord | EventRecord | RowRecord
Kind = TypeVar("Kind", bound=Entry | Record)
_JSON = frozenset({"spec", "memory_format", "classes", "tasks", "choice", "outcome", "body"})


def to_json(value: Any, where: str) -> str:
    """Write plain data as JSON, the same text for the same content.

    Args:
        value: Dictionaries, lists, strings, finite numbers, booleans and None.
        where: What it belongs to, for the message.

    Returns:
        JSON with sorted keys.

    Raises:
        StoreError: If something else is in it, NaN and infinity among them.
    """
    try:
        return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise StoreError(f"{where} is not plain JSON with finite numbers: {error}.") from error


def columns(kind: type[Any]) -> tuple[str, ...]:
    """Name the columns of a row's table, which are the fields of its dataclass."""
    return tuple(each.name for each in fields(kind))


def to_columns(row: Entry | Record) -> dict[str, Any]:
    """Turn a row into what SQLite stores, with JSON as text."""
    return {
        name: to_json(getattr(row, name), f"{type(row).__name__}.{name}") if name in _JSON else getattr(row, name)
        for name in columns(type(row))
    }


def from_columns(kind: type[Kind], row: sqlite3.Row) -> Kind:
    """Turn what SQLite stores into a row of the given dataclass; raise StoreError where a cell is damaged."""
    try:
        values = {name: json.loads(row[name]) if name in _JSON else row[name] for name in columns(kind)}
    except (TypeError, ValueError) as error:
        what = kind.__name__.removesuffix("Entry").removesuffix("Record").lower()
        raise StoreError(f"A row about a {what} ({row[0]}) is damaged: it is no JSON; see `store verify`.") from error
    for name in ("classes", "tasks"):
        if isinstance(values.get(name), list):
            values[name] = tuple(values[name])
    return kind(**values)
