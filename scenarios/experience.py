"""Beginning a run with what a selector has learned in others: its experience, and nothing else that they know."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..agent.inherit import store_folder
from ..agent.selector import Selector
from ..agent.store import KnowledgeStore
from ..errors import StoreError


def carry(priors: Sequence[Path], target: Path, selector: Selector) -> list[dict[str, Any]]:
    """Give a new run's selector what it has learned in other runs.

    Args:
        priors: Folders of runs, or of stores; the experience of several adds up.
        target: The folder of the new run's store; what its selector knows already is added to.
        selector: One of the new run's kind; it is left as it is, and what it is to begin with is in the store.

    Returns:
        What was taken from where, for the manifest.

    Raises:
        StoreError: If a folder holds no experience of such a selector, several are given to one that cannot add them
            up, or the new store cannot be written.
    """
    if len(priors) > 1 and not selector.adds_up:
        raise StoreError(
            f"--prior: the experience of several runs cannot be added up for selector {selector.name!r}; give one."
        )
    states = [_learned(each, selector) for each in priors]
    hashes = [_hash(state) for state in states]
    for each, own in zip(priors, hashes, strict=True):
        if hashes.count(own) > 1 or own in {h for other in priors if other != each for h in _begun_with(other)}:
            raise StoreError(
                f"--prior {each}: another run that is given has the same experience; it would count twice."
            )
    with KnowledgeStore.open(target) as store:
        before = store.state("selector")
        gathered = type(selector)()
        for state in ([before] if before and selector.adds_up else []) + states:
            gathered.restore(state)
        with store.transaction() as t:
            t.set_state("selector", gathered.state())
    return [{"run": str(each), "sha256": own} for each, own in zip(priors, hashes, strict=True)]


def _learned(folder: Path, selector: Selector) -> dict[str, Any]:
    """What a run's selector has learned; it must be one of the same kind."""
    with KnowledgeStore.open(store_folder(folder), read_only=True, any_schema=True) as store:
        state, recipe = store.state("selector"), str(store.manifest().get("recipe", ""))
    chosen = _selector(recipe).partition(":")[0]
    if chosen and chosen != selector.name:
        raise StoreError(
            f"--prior {folder}: there {chosen!r} chose, whose experience means nothing to {selector.name!r}."
        )
    if not state:
        raise StoreError(f"--prior {folder}: its selector has learned nothing that could be carried on.")
    return dict(state)


def _begun_with(folder: Path) -> list[str]:
    """Hashes of the experience that a run began with."""
    with KnowledgeStore.open(store_folder(folder), read_only=True, any_schema=True) as store:
        return [str(each["sha256"]) for each in store.manifest().get("priors", ())]


def _selector(recipe: str) -> str:
    found = tomllib.loads(recipe).get("agent", {}) if recipe else {}
    return str(found.get("selector", "")) if isinstance(found, dict) else ""


def _hash(state: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
