"""A scenario for reading: its words, its stream task by task, its recipe; and whether it can be run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..streams.plan import TaskPlan, plan
from ..streams.supply import sizes_of
from .scenario import SHORT, Scenario, has_short, load_scenario, recipe_hash

WORDS = ("name", "description", "shows", "expected")


def outline(scenario: Scenario, where: str, data_root: Path | None = None) -> dict[str, Any]:
    """Describe a scenario with every task of its stream.

    Args:
        scenario: The recipe.
        where: Its name or file.
        data_root: Folder of the user's data sets.

    Returns:
        "kind", "origin", the recipe's words, "recipe" (nested tables), "shape" of one input, "label" (whether a task
        label is given when asked) and "tasks". Data are loaded only where a source cannot say what it holds without.

    Raises:
        RecipeError: If the stream cannot be planned.
        DataMissing: If a source's files are not there.
    """
    sizes = sizes_of(scenario.stream, where, data_root)
    if sizes is None:
        from ..streams.stream import build_stream  # loads torch

        stream = build_stream(scenario.stream, scenario.seed, data_root)
        plans, sizes = stream.plans(), stream.sizes
    else:
        plans = plan(scenario.stream, scenario.seed, sizes, where)
    test = sizes.split(scenario.stream.test_share)[1]
    cap = scenario.stream.test_per_class
    return {
        "kind": "scenario",
        "origin": "a file" if where.endswith(".toml") else "evermap",
        **{field: getattr(scenario, field) for field in WORDS},
        "shape": list(sizes.input_shape),
        "label": scenario.stream.setting.label_when_asked,
        "tasks": _tasks(plans, test, cap, scenario.stream.experience_size),
        "recipe": scenario.model_dump(mode="json"),
    }


def validate(name_or_path: str, data_root: Path | None = None) -> dict[str, Any]:
    """Check a recipe in every size it has, as far as that is possible without learning.

    Args:
        name_or_path: Name of a scenario of the library, or a file.
        data_root: Folder of the user's data sets.

    Returns:
        "scenario", "valid" (true) and "sizes": for each, its name, the number of tasks and of concepts, and the hashes
        of recipe and data.

    Raises:
        UserError: If something is wrong; says where, which field, what was found and what is valid.
    """
    from ..streams.stream import build_stream  # loads torch
    from .run import check_agent

    found = {}
    for size in ("default", SHORT) if has_short(name_or_path) else ("default",):
        scenario = load_scenario(name_or_path, data_root=data_root, size=size)
        stream = build_stream(scenario.stream, scenario.seed, data_root)
        check_agent(scenario, stream)
        found[size] = {
            "name": scenario.name,
            "tasks": len(stream),
            "concepts": len(stream.concepts),
            "recipe_sha256": recipe_hash(scenario),
            "data_sha256": stream.data_hash,
        }
    return {"scenario": name_or_path, "valid": True, "sizes": found}


def measured(scenario: Scenario, data_root: Path | None = None) -> dict[str, float]:
    """Estimate what a run will take, as plain data (see `estimate.Estimate`)."""
    from ..streams.stream import build_stream  # loads torch
    from .estimate import estimate

    return asdict(estimate(scenario, build_stream(scenario.stream, scenario.seed, data_root)))


def _tasks(plans: Sequence[TaskPlan], test: Sequence[int], cap: int | None, piece: int) -> list[dict[str, Any]]:
    several = len({each.source for each in plans}) > 1
    rows, seen = [], set[int]()
    for each in plans:
        changed = each.transforms.model_dump(exclude_defaults=True).items()
        special = [f"from {each.source}"] if several else []
        special += [f"{change} {value}" for change, value in changed]
        special += [f"label noise {each.label_noise:g}"] if each.label_noise else []
        returns = "returns, hidden" if each.hidden else "returns"
        special += [returns] if each.concept in seen and each.piece is None else []
        special += [f"phase {each.phase}"] if each.phase else []
        seen.add(each.concept)
        samples = sum(each.support)
        if each.piece is not None:
            samples = min(piece, samples - each.piece[0] * piece)
        rows.append(
            {
                "name": each.name,
                "concept": each.concept,
                "classes": list(each.classes),
                "samples": samples,
                "query": each.query * len(each.drawn),
                "test": sum(test[k] if cap is None else min(cap, test[k]) for k in each.drawn),
                "special": special,
            }
        )
    return rows
