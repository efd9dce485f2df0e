"""What a store holds, as plain data: for tables, for JSON, and for comparing two stores."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from ..errors import StoreError, UserError, task_number
from .entries import BankEntry, EncoderEntry, Entry, HeadEntry, Json, MetaEntry, TaskRecord
from .library import EPISODE
from .signature import distances
from .store_reader import StoreReader

T = TypeVar("T")
_KINDS: dict[type[Entry], str] = {EncoderEntry: "encoder", HeadEntry: "head", BankEntry: "bank", MetaEntry: "meta"}


def listed(store: StoreReader) -> dict[str, Any]:
    """List everything that a store holds.

    Args:
        store: The store.

    Returns:
        "counts" (rows by table), "bytes", "replay" (bytes of stored samples, and of how many tasks), and "tasks",
        "encoders", "heads", "banks", "metas", "bounded" (what was done to stay within the recipe's bytes): a table of
        plain values each. Positions of tasks count from 0 ("index", "task", "answers_for"), a task's "number" from 1.
    """
    tasks, banks = store.tasks(), store.banks()
    users: dict[str | None, list[int]] = {}
    for record in tasks:
        users.setdefault(record.encoder, []).append(record.index)
    samples = [bank for bank in banks if _has_samples(bank)]
    return {
        "counts": store.counts(),
        "bytes": store.bytes_kept(),
        "replay": {"tasks": len(samples), "bytes": sum(bank.bytes for bank in samples)},
        "tasks": [_task(record) for record in tasks],
        "encoders": [
            {
                **_brief(entry),
                "name": entry.spec.get("name"),
                "strategy": entry.strategy,
                "parent": entry.parent,
                "delta": entry.delta,
                "flops": entry.flops,
                "answers_for": users.get(entry.id, []),
            }
            for entry in store.encoders()
        ],
        "heads": [{**_brief(entry), "kind": entry.kind, "encoder": entry.encoder} for entry in store.heads()],
        "banks": [{**_brief(bank), "slot": bank.slot, "samples": _has_samples(bank)} for bank in banks],
        "metas": [
            {**_brief(entry), "strategy": entry.spec.get("strategy"), "parent": entry.parent} for entry in store.metas()
        ],
        "bounded": [asdict(each) for each in store.bounded()],
    }


def shown(store: StoreReader, name: str) -> dict[str, Any]:
    """Describe one entry or one task.

    Args:
        store: The store.
        name: Id of an entry ("encoder-3"), or a task as `task_called` takes it.

    Returns:
        "kind" and everything known of it; of an encoder also its "lineage" as a tree ("id", "task", "strategy",
        "children", ...), what it was "made_from", the "heads" on it, and whom it "helped". "bounded" says what was
        done to stay within the recipe's bytes: with the task, or with an entry that is gone.

    Raises:
        UserError: If there is nothing of this name.
        StoreError: If its weights cannot be read.
    """
    kind, _, number = name.rpartition("-")
    if kind in _KINDS.values() and number.isdecimal():
        gone = [asdict(each) for each in store.bounded() if each.entry == name]
        if gone and not store.has_entry(name):
            return {"kind": kind, "id": name, "made_from": _made_from(store, name), "bounded": gone}
        return _entry(store, store.entry(name))
    record = task_called(store, name)
    helpers = [asdict(each) for each in store.helps() if each.task == record.index]
    return {
        "kind": "task",
        **_task(record),
        "choice": record.choice,
        "outcome": record.outcome,
        "helped_by": [{"entry": each["entry"], "gain": each["gain"], "how": each["how"]} for each in helpers],
        "bounded": [asdict(each) for each in store.bounded() if record.index in each.tasks],
    }


def similar(store: StoreReader, name: str, most: int | None = None) -> dict[str, Any]:
    """Find the known tasks that are nearest to one.

    Args:
        store: The store.
        name: The task, as `task_called` takes it.
        most: How many to list; None for all.

    Returns:
        The "task", and the "nearest", each with its distances in "input", "label" and "feature" space (None where
        they cannot be compared); see `signature.distances`.

    Raises:
        UserError: If there is no such task.
        StoreError: If it was learned before signatures were kept.
    """
    record = task_called(store, name)
    signatures = {each.task: each for each in store.signatures()}
    if record.index not in signatures:
        raise StoreError(f"{record.name!r} was learned by an evermap that kept no signatures of tasks.")
    records = {each.index: each for each in store.tasks()}
    others = [each for index, each in signatures.items() if index != record.index]
    near = distances(signatures[record.index], others)[:most]
    return {"task": _task(record), "nearest": [{**_task(records[each.task]), **_only_distances(each)} for each in near]}


def compared(one: StoreReader, other: StoreReader) -> dict[str, Any]:
    """Say how two stores differ, by content: neither ids nor positions count.

    Args:
        one: A store.
        other: Another one.

    Returns:
        By "tasks", "encoders", "heads", "banks" and "metas": what is "only_here", "only_there", the number that is
        in "both"; for entries also what was "made_otherwise" (the same weights, made from or by something else), for
        tasks what is "changed" (the same name, with another model; of several of one name the first is compared with
        the first). "equal" says whether nothing differs.
    """
    found: dict[str, Any] = {}
    pairs: list[tuple[str, Sequence[Entry], Sequence[Entry]]] = [
        ("encoders", one.encoders(), other.encoders()),
        ("heads", one.heads(), other.heads()),
        ("banks", one.banks(), other.banks()),
        ("metas", one.metas(), other.metas()),
    ]
    origins = [_origins(store) for store in (one, other)]
    for kind, ours, theirs in pairs:
        mine, yours = (_told_apart((entry.blob, entry) for entry in entries) for entries in (ours, theirs))
        both = mine.keys() & yours.keys()
        found[kind] = {
            "only_here": [_brief(mine[key]) for key in mine if key not in yours],
            "only_there": [_brief(yours[key]) for key in yours if key not in mine],
            "made_otherwise": [
                _brief(mine[key])
                for key in mine
                if key in both and origins[0].get(mine[key].id) != origins[1].get(yours[key].id)
            ],
            "both": len(both),
        }
    here, there = (_told_apart((record.name, record) for record in store.tasks()) for store in (one, other))
    models = [_models(store) for store in (one, other)]
    found["tasks"] = {
        "only_here": [_task(here[key]) for key in here if key not in there],
        "only_there": [_task(there[key]) for key in there if key not in here],
        "changed": [
            _task(here[key])
            for key in here
            if key in there and models[0][here[key].index] != models[1][there[key].index]
        ],
        "both": len(here.keys() & there.keys()),
    }
    equal = not any(part for table in found.values() for key, part in table.items() if key != "both")
    return {"equal": equal, **found}


def _told_apart(things: Iterable[tuple[str, T]]) -> dict[tuple[str, int], T]:
    """Key things by what they are called or hold; several of one key are the first, the second and so on."""
    seen: Counter[str] = Counter()
    found: dict[tuple[str, int], T] = {}
    for key, thing in things:
        found[key, seen[key]] = thing
        seen[key] += 1
    return found


def _origins(store: StoreReader) -> dict[str, list[tuple[str, str]]]:
    """What every entry was made from and by what, by content; ids and positions do not matter."""
    blobs = _blobs(store)
    found: dict[str, list[tuple[str, str]]] = {}
    for each in store.provenance():
        found.setdefault(each.entry, []).append((blobs.get(each.made_from, each.made_from or ""), each.strategy))
    return {entry: sorted(made) for entry, made in found.items()}


def task_called(store: StoreReader, name: str) -> TaskRecord:
    """Find a task by its name, or by its number as every command prints it.

    Args:
        store: The store.
        name: Its name (of several of this name the newest is meant; a name goes before a number), its number in the
            stream, from 1, or "before-N": the N-th before the stream, "before-1" being the newest of them.

    Returns:
        Its record.

    Raises:
        UserError: If there is none; suggests the nearest name, and says which numbers there are.
    """
    records = store.tasks()
    named = [record for record in records if record.name == name]
    named = named or [record for record in records if task_number(record.index) == name]
    if named:
        return named[-1]
    if not records:
        raise UserError(f"There is no task {name!r}: the store knows none.")
    near = difflib.get_close_matches(name, [record.name for record in records], n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    numbers = [
        f"{task_number(part[0].index)} to {task_number(part[-1].index)}"
        if len(part) > 1
        else task_number(part[0].index)
        for part in ([r for r in records if r.index >= 0], [r for r in records if r.index < 0][::-1])
        if part
    ]
    raise UserError(f"There is no task {name!r}.{hint} Give a name, or a number: {' or '.join(numbers)}.")


def _entry(store: StoreReader, entry: Entry) -> dict[str, Any]:
    tensors = {name: list(tensor.shape) for name, tensor in store.weights(entry.id).items()}
    found: dict[str, Any] = {"kind": _KINDS[type(entry)], **asdict(entry), "tensors": tensors}
    found["made_from"] = _made_from(store, entry.id)
    found["helped"] = _helped(store, {entry.id})
    if isinstance(entry, EncoderEntry):
        users = [record for record in store.tasks() if record.encoder == entry.id]
        found["answers_for"] = [_task(record) for record in users]
        found["heads"] = [{**_brief(head), "kind": head.kind} for head in store.heads(entry.id)]
        found["helped"] = _helped(store, {entry.id, *(record.model for record in users)})
        found["lineage"] = _lineage(store, entry)
    return found


def _made_from(store: StoreReader, entry: str) -> list[Json]:
    return [
        {"entry": each.made_from, "strategy": each.strategy, "task": each.task, "flops": each.flops}
        for each in store.provenance(entry)
    ]


def _lineage(store: StoreReader, entry: EncoderEntry) -> dict[str, Any]:
    """The tree of versions that descend from the first one, the children of each in their order."""
    names = {record.index: record.name for record in store.tasks()}
    versions = store.lineage(entry.lineage)
    nodes: dict[str | None, dict[str, Any]] = {
        each.id: {
            "id": each.id,
            "task": each.task,
            "task_name": names.get(each.task),
            "strategy": each.strategy,
            "delta": each.delta,
            "bytes": each.bytes,
            "children": [],
        }
        for each in versions
    }
    for each in versions:
        if each.parent in nodes:
            nodes[each.parent]["children"].append(nodes[each.id])
    return nodes[store.ancestry(entry.id)[0].id]  # the first version, or the first that is left of its branch


def _helped(store: StoreReader, entries: set[str]) -> list[dict[str, Any]]:
    names = {record.index: record.name for record in store.tasks()}
    found = [each for entry in sorted(entries) for each in store.helps(entry)]
    return [
        {"task": each.task, "name": names.get(each.task), "gain": each.gain, "how": each.how, "entry": each.entry}
        for each in sorted(found, key=lambda each: each.task)
    ]


def _models(store: StoreReader) -> dict[int, tuple[str | None, str | None]]:
    """What answers for every task, by content; by the position of the task."""
    blobs = _blobs(store)
    return {r.index: (blobs.get(r.encoder), blobs.get(r.head)) for r in store.tasks()}


def _blobs(store: StoreReader) -> dict[str | None, str]:
    """The blob of every entry, by its id."""
    kinds: tuple[Sequence[Entry], ...] = (store.encoders(), store.heads(), store.banks(), store.metas())
    return {entry.id: entry.blob for entries in kinds for entry in entries}


def _task(record: TaskRecord) -> dict[str, Any]:
    return {
        "index": record.index,
        "number": task_number(record.index),
        "name": record.name,
        "kind_of_task": record.kind,
        "classes": list(record.classes),
        "strategy": record.strategy,
        "source": record.source,
        "model": record.model,
        "encoder": record.encoder,
        "head": record.head,
    }


def _brief(entry: Entry) -> Json:
    return {"id": entry.id, "task": entry.task, "bytes": entry.bytes, "blob": entry.blob}


def _has_samples(bank: BankEntry) -> bool:
    return bank.slot is not None and bank.slot.startswith(EPISODE)


def _only_distances(near: Any) -> dict[str, float | None]:
    return {"input": near.input, "label": near.label, "feature": near.feature}
