"""A scenario for reading: its words, its stream task by task, its recipe; and whether it can be run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import DataMissing, RecipeError
from ..streams.plan import TaskPlan, plan
from ..streams.source import Sizes
from ..streams.supply import sizes_of
from .scenario import SHORT, Scenario, has_short, load_scenario, recipe_hash

WORDS = ("name", "description", "shows", "expected")


def describe(
    name_or_path: str,
    size: str = "default",
    data_root: Path | None = None,
    download: bool = False,
    figure: Path | None = None,
) -> dict[str, Any]:
    """Describe a scenario, what a run of it will take, and draw samples of it if asked to.

    Args:
        name_or_path: Name of a scenario of the library, or a file.
        size: "default" or "short".
        data_root: Folder of the user's data sets.
        download: Whether files of published data sets that are missing are fetched.
        figure: Where to draw samples of every task; None for nowhere.

    Returns:
        As `outline`, with "estimate" (see `estimate.Estimate`), and with "figure" (its path and the tasks it shows)
        where one was drawn. Where data are missing, "missing" says which, and what needs them is left out.

    Raises:
        UserError: If the recipe is wrong, or the figure cannot be drawn.
        DataMissing: If a figure is wanted and data are missing.
    """
    try:
        scenario = load_scenario(name_or_path, data_root=data_root, download=download, size=size)
        plans, sizes = planned(scenario, name_or_path, data_root)
    except DataMissing as error:
        if figure is not None:
            raise
        scenario = load_scenario(name_or_path, check_names=False, size=size)
        return _page(scenario, name_or_path, missing=str(error))
    from .estimate import estimate  # loads torch

    page = _outlined(scenario, name_or_path, plans, sizes)
    page["estimate"] = asdict(estimate(scenario, plans, sizes))
    if figure is not None:
        from ..streams.stream import build_stream
        from .sample_sheet import sample_sheet

        stream = build_stream(scenario.stream, scenario.seed, data_root)
        page["figure"] = {"path": str(figure), "tasks": sample_sheet(stream, figure)}
    return page


def outline(scenario: Scenario, where: str, data_root: Path | None = None) -> dict[str, Any]:
    """Describe a scenario with every task of its stream.

    Args:
        scenario: The recipe.
        where: Its name or file.
        data_root: Folder of the user's data sets.

    Returns:
        "kind", "origin", the recipe's words, "recipe" (nested tables), "label" (whether a task label is given when
        asked), "shape" of one input, "tasks", and "missing" (None). Data are loaded only where a source cannot say what
        it holds without.

    Raises:
        RecipeError: If the stream cannot be planned.
        DataMissing: If a source's files are not there.
    """
    return _outlined(scenario, where, *planned(scenario, where, data_root))


def planned(scenario: Scenario, where: str, data_root: Path | None = None) -> tuple[tuple[TaskPlan, ...], Sizes]:
    """Plan every task of a scenario.

    Args:
        scenario: The recipe.
        where: Its name or file.
        data_root: Folder of the user's data sets.

    Returns:
        The plans, and what the stream draws from. Data are loaded only where a source cannot say what it holds without.
        An order that is measured on data is then left as it is written.

    Raises:
        RecipeError: If the stream cannot be planned.
        DataMissing: If a source's files are not there.
    """
    sizes = sizes_of(scenario.stream, where, data_root)
    if sizes is not None:
        return plan(scenario.stream, scenario.seed, sizes, where), sizes
    from ..streams.stream import build_stream  # loads torch

    stream = build_stream(scenario.stream, scenario.seed, data_root)
    return stream.plans(), stream.sizes


def _outlined(scenario: Scenario, where: str, plans: Sequence[TaskPlan], sizes: Sizes) -> dict[str, Any]:
    """Describe a scenario with its plans."""
    test = sizes.split(scenario.stream.test_share)[1]
    tasks = _tasks(plans, test, scenario.stream.test_per_class, scenario.stream.experience_size)
    return {**_page(scenario, where), "shape": list(sizes.input_shape), "tasks": tasks}


def _page(scenario: Scenario, where: str, missing: str | None = None) -> dict[str, Any]:
    """Say of a scenario what is known without its data."""
    return {
        "kind": "scenario",
        "origin": "a file" if where.endswith(".toml") else "evermap",
        **{field: getattr(scenario, field) for field in WORDS},
        "label": scenario.stream.setting.label_when_asked,
        "shape": None,
        "tasks": None,
        "missing": missing,
        "recipe": scenario.model_dump(mode="json"),
    }


def validate(name_or_path: str, data_root: Path | None = None, download: bool = False) -> dict[str, Any]:
    """Check a recipe in every size it has, as far as that is possible without learning.

    Args:
        name_or_path: Name of a scenario of the library, or a file.
        data_root: Folder of the user's data sets.
        download: Whether files of published data sets that are missing are fetched.

    Returns:
        "scenario", "valid" (true) and "sizes": for each, its name, the number of tasks and of concepts, and the hashes
        of recipe and data.

    Raises:
        UserError: If something is wrong; says where, which field, what was found and what is valid.
        DataMissing: If a source's files are not there.
    """
    sizes = ("default", SHORT) if has_short(name_or_path) else ("default",)
    scenarios = [load_scenario(name_or_path, data_root=data_root, download=download, size=size) for size in sizes]
    # What is wrong in a file or missing has been said by now; only what is left needs torch and Avalanche.
    import torch

    from ..streams.stream import build_stream
    from .run import check_agent

    torch.set_num_threads(1)
    found = {}
    for size, scenario in zip(sizes, scenarios, strict=True):
        stream = build_stream(scenario.stream, scenario.seed, data_root)
        try:
            check_agent(scenario, stream.input_shape)
        except RecipeError as error:  # settings know their table, and not the file
            raise error.at(name_or_path, f"{error.where}.{error.field}") from None
        found[size] = {
            "name": scenario.name,
            "tasks": len(stream),
            "concepts": len(stream.concepts),
            "recipe_sha256": recipe_hash(scenario),
            "data_sha256": stream.data_hash,
        }
    return {"scenario": name_or_path, "valid": True, "sizes": found}


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
        special += ["labels of its own"] if each.own_labels else []
        special += [f"jointly ({each.phase})"] if each.phase else []
        seen.add(each.concept)
        special += [f"{sum(each.unlabelled)} more without label"] if each.unlabelled else []
        rows.append(
            {
                "name": each.name,
                "concept": each.concept,
                "classes": list(each.classes),
                "drawn": _drawn(each),
                "samples": each.samples(piece),
                "query": each.query * len(each.drawn),
                "test": each.tested(test, cap),
                "special": special,
            }
        )
    return rows


def _drawn(made: TaskPlan) -> list[list[int]]:
    """List the source's classes behind every output; several where classes are grouped."""
    behind: list[list[int]] = [[] for _ in range(max(len(made.classes), 1))]
    for k, position in zip(made.drawn, made.positions, strict=True):
        behind[position].append(k)
    return behind
