"""What decides a run's results, as plain data: kept with the store, and compared when a run is to go on."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from .. import registry
from ..streams.stream import Stream
from .manifest import hardware, text_hash, versions

Facts = Mapping[str, Any]
# Fields of a recipe that are words for people.
_WORDS = frozenset({"name", "description", "shows", "expected"})


def facts_of(recipe: str, stream: Stream, device: str, strategies: Iterable[str]) -> dict[str, Any]:
    """Gather what decides the results of a run.

    Args:
        recipe: Text of the resolved recipe.
        stream: The stream.
        device: Where networks run, resolved.
        strategies: Names of all strategies.

    Returns:
        Plain data.
    """
    concepts = [stream.concepts[stream.concept_of(i)] for i in range(len(stream))]
    return {
        "recipe": recipe,
        "data_sha256": stream.data_hash,
        "versions": versions(),
        "device": device,
        "strategies": sorted(strategies),
        "plugins": registry.plugin_files(),
        "processor": hardware()["cpu"],
        "input_kind": stream.kind,
        "input_shape": list(stream.input_shape),
        "n_classes": stream.n_classes,
        "class_names": _class_names(stream),
        "table": stream.table,
        "own_labels": [i for i, concept in enumerate(concepts) if concept.own_labels],
    }


def _class_names(stream: Stream) -> list[str]:
    """Readable names of the class ids; the id itself stands for one that only tasks with labels of their own use."""
    names = [str(k) for k in range(stream.n_classes)]
    for made in stream.plans():
        for drawn, label in () if made.own_labels else made.meaning.items():
            names[label] = stream.class_names[drawn]
    return names


def from_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Gather the same, as far as it is known, from the manifest of a run that was cut off before it kept its facts."""
    known = {key: manifest[key] for key in ("data_sha256", "versions", "recipe_sha256") if key in manifest}
    return {**known, "plugins": dict.fromkeys(_plugins(manifest.get("command") or ()), "")}


def missing_plugins(former: Facts) -> list[str]:
    """Name the plug-in files that a run was made with and that are not loaded now."""
    return [name for name in former.get("plugins", {}) if name not in registry.plugin_files()]


def differences(former: Facts, now: Facts) -> list[str]:
    """Say what has changed that decides the results.

    Args:
        former: The facts of the run as it began, complete or as far as they are known.
        now: What they would be now.

    Returns:
        One remark for each difference; empty where a run can go on as if it had not been cut off.
    """
    found = []
    if "recipe" in former:
        found += _fields(former["recipe"], now["recipe"])
    elif former.get("recipe_sha256") not in (None, text_hash(now["recipe"])):
        found.append("the recipe, scenario.toml")
    if former.get("data_sha256") not in (None, now["data_sha256"]):
        found.append("the data: the source's samples are others")
    found += _changed(former.get("versions") or {}, now["versions"], "")
    if "device" in former and former["device"] != now["device"]:
        found.append(f"device: {former['device']} → {now['device']}")
    for name, digest in former.get("plugins", {}).items():
        if digest and now["plugins"].get(name) not in (None, digest):
            found.append(f"the plug-in {name}: its code is another")
    before, after = set(former.get("strategies", now["strategies"])), set(now["strategies"])
    found += [f"strategy {name}: was not there" for name in sorted(after - before)]
    found += [f"strategy {name}: is not there" for name in sorted(before - after)]
    return found


def cautions(former: Facts, now: Facts) -> list[str]:
    """Say what has changed that may show in the last bits only."""
    return _changed({"processor": former.get("processor", now["processor"])}, {"processor": now["processor"]}, "")


def _fields(before: str, after: str) -> list[str]:
    old, new = (dict(_flat(tomllib.loads(text))) for text in (before, after))
    return _changed(old, new, "recipe, ")


def _flat(value: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if path or key not in _WORDS:
                yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        for position, inner in enumerate(value):
            yield from _flat(inner, f"{path}.{position}")
    else:
        yield path, value


def _changed(before: Mapping[str, Any], after: Mapping[str, Any], kind: str) -> list[str]:
    def said(where: Mapping[str, Any], key: str) -> str:
        return str(where[key]) if where.get(key) is not None else "nothing"

    keys = [key for key in (*before, *(k for k in after if k not in before)) if before.get(key) != after.get(key)]
    return [f"{kind}{key}: {said(before, key)} → {said(after, key)}" for key in keys]


def _plugins(command: Iterable[str]) -> list[str]:
    words = list(command)
    return [
        word.replace("\\", "/").rpartition("/")[2] for option, word in itertools.pairwise(words) if option == "--plugin"
    ]
