"""One model of a store as a pair of files that plain torch can load, and a store that begins with such a pair."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from ..errors import OutputError, StoreError
from .blobs import pack, unpack
from .delta import whole_weights
from .encoder import Encoder, restore_encoder
from .entries import Json, TaskRecord
from .model import Model, restore_head
from .overview import task_called
from .plain import written_out
from .store import KnowledgeStore
from .store_reader import StoreReader

FORMAT = 1
# Parts of the tensors' names that say whose they are; "plain" are those of the calls.
_PARTS = ("stem", "encoder", "head")


def export(store: StoreReader, name: str, out: Path, facts: Json | None = None) -> tuple[Path, Path]:
    """Write what answers for a task as `<out>.safetensors` and `<out>.json`.

    The JSON has the model as plain torch calls (see `plain.py`), what evermap needs to build it again, and where it
    comes from; the weights of both stand in the safetensors file, those of the calls as "plain.NAME".

    Args:
        store: The store.
        name: The task's name or number, as `task_called` takes it.
        out: Where to write, without suffix.
        facts: What the store knows of its run, for the names of classes.

    Returns:
        The two files.

    Raises:
        UserError: If there is no such task.
        StoreError: If it has no model of its own, weights are damaged, or plain torch cannot say what it does.
        OutputError: If the files are there already or cannot be written.
    """
    record = task_called(store, name)
    if record.encoder is None or record.head is None:
        raise StoreError(f"Task {record.name!r} has no model of its own that could be written.")
    entry, head = store.encoder(record.encoder), store.head(record.head)
    if _in_place(facts or {}):
        entry = store.newest(entry.lineage)
    spec = {key: value for key, value in entry.spec.items() if key != "stem"}
    stem_id = entry.spec.get("stem")
    weights = {"encoder": whole_weights(store, entry.id), "head": store.weights(head.id)}
    stem: Encoder | None = None
    if stem_id is not None:
        weights["stem"] = store.weights(stem_id)
        stem = restore_encoder({k: v for k, v in store.encoder(stem_id).spec.items() if k != "stem"}, weights["stem"])
    model = Model(restore_encoder(spec, weights["encoder"]), restore_head(head.kind, weights["head"]))
    shape = tuple(stem.input_shape if stem is not None else model.encoder.input_shape)
    steps, plain = written_out(stem, model, shape)
    tensors = plain | {f"{part}.{key}": tensor for part in _PARTS for key, tensor in weights.get(part, {}).items()}
    names = (facts or {}).get("class_names") or []
    own = record.index in ((facts or {}).get("own_labels") or []) or record.index < 0
    said = {
        "format": FORMAT,
        "made_by": "evermap",
        "task": record.name,
        "kind": record.kind,
        "classes": list(record.classes),
        "class_names": [str(c) if own or c >= len(names) else names[c] for c in record.classes],
        "input_shape": list(shape),
        "input": "float32 in [0, 1], shape (n, *input_shape)",
        "outputs": "logits; softmax gives probabilities" if record.kind == "classification" else "values",
        "strategy": record.strategy,
        "steps": steps,
        "stem": stem.spec if stem is not None else None,
        "encoder": spec,
        "head": head.kind,
        "encoder_strategy": entry.strategy,
        "flops": entry.flops,
        "lineage": [each.id for each in store.ancestry(entry.id)],
    }
    data, _ = pack(tensors)
    files = out.with_name(out.name + ".safetensors"), out.with_name(out.name + ".json")
    _write(files[0], data)
    _write(files[1], (json.dumps(said, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
    return files


def import_export(path: Path, target: Path) -> str:
    """Begin a store with an exported model: its task stands before every new stream, at −1.

    Args:
        path: One of the two files of `export`, or their path without suffix.
        target: The folder of the new store.

    Returns:
        The task's name.

    Raises:
        StoreError: If the files are no export, or the store cannot be written.
    """
    base = path.with_suffix("") if path.suffix in (".json", ".safetensors") else path
    said, weights = _read(base)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StoreError(f"{target} holds something already; give a new or an empty folder for the store.")
    with KnowledgeStore.open(target) as store, store.transaction() as t:
        stem = None
        if said["stem"] is not None:
            stem = t.add_encoder(said["stem"], weights["stem"], task=-1, strategy="stem", parent=None, flops=0.0)
        maker, spec = said["encoder_strategy"], {**said["encoder"], "stem": stem}
        encoder = t.add_encoder(spec, weights["encoder"], task=-1, strategy=maker, parent=None, flops=said["flops"])
        head = t.add_head(said["head"], {}, weights["head"], encoder=encoder, task=-1)
        classes = tuple(said["classes"])
        t.add_task(TaskRecord(-1, said["task"], None, classes, said["kind"], encoder, head, said["strategy"]))
    return str(said["task"])


def is_export(path: Path) -> bool:
    """Tell whether a path is, or names without suffix, an exported model."""
    base = path.with_suffix("") if path.suffix in (".json", ".safetensors") else path
    return not path.is_dir() and base.with_name(base.name + ".json").is_file()


def _read(base: Path) -> tuple[Json, dict[str, dict[str, Any]]]:
    files = base.with_name(base.name + ".json"), base.with_name(base.name + ".safetensors")
    try:
        said = json.loads(files[0].read_text("utf-8"))
        tensors = unpack(files[1].read_bytes(), {})
        if said["format"] != FORMAT:
            raise StoreError(f"{files[0]}: has format {said['format']!r}; this evermap reads {FORMAT}.")
        parts: dict[str, dict[str, Any]] = {part: {} for part in (*_PARTS, "plain")}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        needed = ("stem", "encoder", "head", "encoder_strategy", "flops", "classes", "task", "kind", "strategy")
        missing = [key for key in needed if key not in said]
        if missing:
            raise StoreError(f"{files[0]}: is no exported model, {missing[0]!r} is missing.")
    except OSError as error:
        raise StoreError(f"{error.filename}: cannot be read ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise StoreError(f"{base}: is no exported model ({type(error).__name__}: {error}).") from error
    return said, parts


def _in_place(facts: Json) -> bool:
    """Whether heads read the newest version of their encoder."""
    return bool(tomllib.loads(facts.get("recipe", "")).get("agent", {}).get("sharing") == "in-place")


def _write(file: Path, data: bytes) -> None:
    try:
        if file.exists():
            raise OutputError(f"{file}: is there already; give another name.")
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(data)
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{file}: cannot be written ({error.strerror}).") from error
