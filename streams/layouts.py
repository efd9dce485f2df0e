"""Every layout of a stream written out as single tasks."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ..errors import RecipeError
from .seeds import derive
from .setting import Setting
from .spec import (
    AnyStreamSpec,
    PermutationsSpec,
    RotationsSpec,
    SplitSpec,
    TaskSpec,
    TasksSpec,
    Transforms,
)

# What an error names: the field in the recipe that a written-out task comes from.
Written = list[tuple[TaskSpec, str]]

_FITS: dict[str, tuple[tuple[Setting, ...], str]] = {
    "split": ((Setting.TASK_INCREMENTAL, Setting.CLASS_INCREMENTAL), "its tasks have different classes"),
    "rotations": ((Setting.TASK_INCREMENTAL, Setting.DOMAIN_INCREMENTAL), "its tasks have the same classes"),
    "permutations": ((Setting.TASK_INCREMENTAL, Setting.DOMAIN_INCREMENTAL), "its tasks have the same classes"),
    "few-shot": ((Setting.TASK_INCREMENTAL,), "its labels mean something else in every task"),
}


def check_setting(spec: AnyStreamSpec, where: str) -> None:
    """Check that layout and setting fit together.

    Args:
        spec: What the stream is.
        where: The file, or what else an error names as the place.

    Raises:
        RecipeError: If they contradict each other.
    """
    fits, why = _FITS.get(spec.layout, (tuple(Setting), ""))
    if spec.setting not in fits:
        valid = " or ".join(each.value for each in fits)
        raise RecipeError(where, "stream.setting", spec.setting.value, f"layout {spec.layout!r} is {valid}: {why}")


def write_out(spec: AnyStreamSpec, seed: int, n: int, where: str) -> Written:
    """Turn a layout into single tasks.

    Args:
        spec: What the stream is.
        seed: Decides the order of classes where the recipe leaves it open.
        n: Classes of the source.
        where: The file, or what else an error names as the place.

    Returns:
        The tasks in order, each with the field that an error about it names.

    Raises:
        RecipeError: If there are fewer classes than the layout asks for.
    """
    if isinstance(spec, TasksSpec):
        return [(task, f"stream.tasks.{i}") for i, task in enumerate(spec.tasks)]
    if isinstance(spec, SplitSpec):
        return _split(spec, seed, n, where)
    if isinstance(spec, RotationsSpec):
        repeated = [angle for i, angle in enumerate(spec.angles) if angle in spec.angles[:i]]
        if repeated:
            valid = 'every angle may stand there once (tasks return in the layout "tasks")'
            raise RecipeError(where, "stream.angles", repeated[0], valid)
        return [
            (TaskSpec(name=f"rotated {angle:.15g}°", transforms=Transforms(rotate=angle)), f"stream.angles.{i}")
            for i, angle in enumerate(spec.angles)
        ]
    if isinstance(spec, PermutationsSpec):
        return [
            (TaskSpec(name=f"permuted {i}" if i else "as they are", transforms=Transforms(permute=i)), "stream.tasks")
            for i in range(spec.tasks)
        ]
    if spec.ways > n:
        raise RecipeError(where, "stream.ways", spec.ways, f"the source has {n} classes")
    return [
        (
            TaskSpec(name=f"few-shot {i + 1}", classes=spec.ways, train=spec.shots, query=spec.query, labels="local"),
            "stream.shots",
        )
        for i in range(spec.tasks)
    ]


def check_classes(classes: Sequence[int], n: int, where: str, field: str) -> None:
    """Check that class ids exist, and that each stands there once.

    Args:
        classes: The ids.
        n: Classes of the source.
        where: The file, or what else an error names as the place.
        field: The field they stand in.

    Raises:
        RecipeError: If one does not exist or stands there twice, or there is none.
    """
    if not classes:
        raise RecipeError(where, field, list(classes), "at least one class is needed")
    if len(set(classes)) < len(classes):
        raise RecipeError(where, field, list(classes), "every class may stand there once")
    for k in classes:
        if not 0 <= k < n:
            raise RecipeError(where, field, k, f"the source has the classes 0 to {n - 1}")


def _split(spec: SplitSpec, seed: int, n: int, where: str) -> Written:
    order = spec.class_order
    if order is None:
        order = tuple(random.Random(derive(seed, "class order")).sample(range(n), n))
    check_classes(order, n, where, "stream.class_order")
    size = spec.classes_per_task
    if size > len(order):
        raise RecipeError(where, "stream.classes_per_task", size, f"there are {len(order)} classes")
    groups = [order[i : i + size] for i in range(0, len(order), size)]
    return [
        (TaskSpec(name="classes " + ", ".join(map(str, sorted(group))), classes=group), "stream.classes_per_task")
        for group in groups
    ]
