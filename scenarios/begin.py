"""Beginning a run on what another one has learned."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from ..agent.inherit import inherit, store_folder
from ..agent.store import KnowledgeStore
from .facts import Facts
from .scenario import Scenario

# What class ids and the features behind an anchor's statistics depend on.
_SAME = ("seed", "stream.setting", "agent.anchor", "agent.anchor_features", "agent.stem")


def begin_on(source: Path, target: Path, scenario: Scenario, facts: Facts) -> tuple[list[Facts], dict[str, Any]]:
    """Copy a store for a new run; what does not mean the same in its stream stays behind.

    The anchors' statistics, which answer without a task label, are taken along where class ids and features mean the
    same: the same data, seed, setting, anchor and stem, and no class that the new stream does not know. What a selector
    has learned is taken along by the same selector, samples as far as the new recipe's episode memory reaches.

    Args:
        source: The folder of a run, or of a store.
        target: The folder of the new store.
        scenario: The new run's recipe.
        facts: What decides the new run's results.

    Returns:
        What is known of the runs before, the last one first, for whoever reads the store; and a note for the manifest.

    Raises:
        StoreError: If there is no store, it is damaged, or the copy cannot be written.
    """
    folder = store_folder(source)
    with KnowledgeStore.open(folder, read_only=True, any_schema=True) as store:
        former = store.manifest()
        classes = {c for record in store.tasks() for c in record.classes}
    recipe = tomllib.loads(former["recipe"]) if "recipe" in former else {}
    known = inherit(
        folder,
        target,
        keep_classes=_same_classes(former, recipe, scenario, facts, classes),
        keep_selector=_at(recipe, "agent.selector") == scenario.agent.selector,
        episodes=scenario.agent.episode_memory,
    )
    words: dict[str, Any] = {key: former[key] for key in ("class_names", "own_labels", "n_classes") if key in former}
    earlier: list[Facts] = [{"tasks": known - sum(each["tasks"] for each in former.get("earlier", ())), **words}]
    return [*earlier, *former.get("earlier", ())], {"store": str(source), "tasks": known}


def _same_classes(former: Facts, recipe: dict[str, Any], scenario: Scenario, facts: Facts, classes: set[int]) -> bool:
    new = scenario.model_dump(mode="json")
    return (
        former.get("data_sha256") == facts["data_sha256"]
        and not scenario.stream.setting.label_when_asked
        and all(_at(recipe, path) == _at(new, path) for path in _SAME)
        and all(c < facts["n_classes"] for c in classes)
    )


def _at(recipe: dict[str, Any], path: str) -> Any:
    found: Any = recipe
    for piece in path.split("."):
        found = found.get(piece) if isinstance(found, dict) else None
    return found
