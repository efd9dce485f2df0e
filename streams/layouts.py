"""Every layout of a stream written out as single tasks."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ..errors import RecipeError
from .ctrl import write_ctrl
from .seeds import derive
from .setting import Setting
from .source import Sizes
from .spec import (
    AnyStreamSpec,
    CtrlSpec,
    FamiliesSpec,
    FewShotSpec,
    PermutationsSpec,
    RecurringSpec,
    RegressionSpec,
    RotationsSpec,
    SplitSpec,
    TaskSpec,
    TasksSpec,
    Transforms,
)
from .spec_parts import names_of

# What an error names: the field in the recipe that a written-out task comes from.
Written = list[tuple[TaskSpec, str]]

_TASK, _DOMAIN, _CLASS = Setting.TASK_INCREMENTAL, Setting.DOMAIN_INCREMENTAL, Setting.CLASS_INCREMENTAL
_BLURRY, _ONLINE = Setting.BLURRY, Setting.ONLINE
_FITS: dict[str, tuple[tuple[Setting, ...], str]] = {
    "split": ((_TASK, _CLASS, _BLURRY, _ONLINE), "its tasks have different classes"),
    "rotations": ((_TASK, _DOMAIN, _ONLINE), "its tasks have the same classes"),
    "permutations": ((_TASK, _DOMAIN, _ONLINE), "its tasks have the same classes"),
    "few-shot": ((_TASK,), "its labels mean something else in every task"),
    "recurring": ((_TASK, _CLASS, _ONLINE), "its concepts have different classes"),
    "regression": ((_TASK,), "only a task label says which function is meant"),
    "ctrl": ((_TASK,), "its tasks are told apart by their label"),
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
    if isinstance(spec, SplitSpec) and spec.overlap and spec.setting not in (_BLURRY, _ONLINE):
        valid = f"classes go over boundaries in the settings {_BLURRY.value} and {_ONLINE.value} only"
        raise RecipeError(where, "stream.overlap", spec.overlap, valid)
    if spec.labelled < 1 and spec.setting is _ONLINE:
        valid = f"must be 1 in the setting {_ONLINE.value}: every sample comes once, with its label"
        raise RecipeError(where, "stream.labelled", spec.labelled, valid)


def write_out(spec: AnyStreamSpec, seed: int, sizes: Sizes, where: str) -> Written:
    """Turn a layout into single tasks.

    Args:
        spec: What the stream is.
        seed: Decides the order of classes where the recipe leaves it open.
        sizes: What the source holds.
        where: The file, or what else an error names as the place.

    Returns:
        The tasks in order, each with the field that an error about it names.

    Raises:
        RecipeError: If there are fewer classes than the layout asks for.
    """
    n = len(sizes.samples)
    if isinstance(spec, TasksSpec):
        return [(each, f"stream.tasks.{i}") for i, task in enumerate(spec.tasks) for each in _repeated(task)]
    if isinstance(spec, CtrlSpec):
        return write_ctrl(spec, seed, sizes, where)
    if isinstance(spec, SplitSpec):
        return _split(spec, seed, n, where)
    if isinstance(spec, FamiliesSpec):
        return _families(spec, sizes, where)
    if isinstance(spec, RecurringSpec):
        return _recurring(spec, seed, n, where)
    if isinstance(spec, RegressionSpec):
        return _regression(spec, sizes, where)
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
    return _few_shot(spec, n, where)


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


def _repeated(task: TaskSpec) -> list[TaskSpec]:
    return [task.model_copy(update={"name": name, "repeat": 1}) for name in names_of(task)]


def _few_shot(spec: FewShotSpec, n: int, where: str) -> Written:
    if spec.ways > n:
        raise RecipeError(where, "stream.ways", spec.ways, f"the source has {n} classes")
    plain = TaskSpec(
        name="few-shot",
        classes=spec.ways,
        families=spec.families,
        one_family=spec.one_family,
        train=spec.shots,
        query=spec.query,
        labels="local",
    )
    return [(plain.model_copy(update={"name": f"few-shot {i + 1}"}), "stream.shots") for i in range(spec.tasks)]


def _split(spec: SplitSpec, seed: int, n: int, where: str) -> Written:
    order = spec.class_order
    if order is None:
        order = tuple(random.Random(derive(seed, "class order")).sample(range(n), n))
    check_classes(order, n, where, "stream.class_order")
    size = spec.classes_per_task
    if size > len(order):
        raise RecipeError(where, "stream.classes_per_task", size, f"there are {len(order)} classes")
    groups = [order[i : i + size] for i in range(0, len(order), size)]
    shared = max(1, round(spec.overlap * size)) if spec.overlap else 0
    # The last classes of a group go on in the next one, beside its own.
    blurred = [(*before[len(before) - shared :], *group) for before, group in zip([(), *groups], groups, strict=False)]
    return [
        (TaskSpec(name="classes " + ", ".join(map(str, sorted(group))), classes=group), "stream.classes_per_task")
        for group in blurred
    ]


def _families(spec: FamiliesSpec, sizes: Sizes, where: str) -> Written:
    n = len(sizes.families)
    if not n:
        raise RecipeError(where, "stream.layout", spec.layout, f"the classes of {spec.source!r} have no families")
    field = "stream.layout" if spec.families is None else "stream.families"
    wanted = tuple(range(n)) if spec.families is None else spec.families
    for i, family in enumerate(wanted):
        if family in wanted[:i]:
            raise RecipeError(where, field, family, "every family may stand there once")
    return [(TaskSpec(name=f"family {f}", families=(f,)), field) for f in wanted]


def _recurring(spec: RecurringSpec, seed: int, n: int, where: str) -> Written:
    """Every round has all concepts in a new order, none twice in a row: gaps vary, and none is 0."""
    if spec.concepts * spec.ways > n:
        found = f"{spec.concepts} concepts of {spec.ways} classes"
        raise RecipeError(where, "stream.concepts", found, f"the source has {n} classes")
    rng = random.Random(derive(seed, "recurring"))
    classes = rng.sample(range(n), spec.concepts * spec.ways)
    written: Written = []
    last = None
    for visit in range(spec.visits):
        order = list(range(spec.concepts))
        rng.shuffle(order)
        if order[0] == last:
            order[0], order[-1] = order[-1], order[0]
        last = order[-1]
        for c in order:
            if visit == 0:
                own = tuple(classes[c * spec.ways : (c + 1) * spec.ways])
                task = TaskSpec(name=f"concept {c}", classes=own, train=spec.first)
                written.append((task, "stream.first"))
            else:
                name, hidden = f"concept {c}, visit {visit + 1}", spec.hidden and spec.setting.label_when_asked
                task = TaskSpec(name=name, returns=f"concept {c}", train=spec.later, hidden=hidden)
                written.append((task, "stream.later"))
    return written


def _regression(spec: RegressionSpec, sizes: Sizes, where: str) -> Written:
    if not sizes.outputs:
        raise RecipeError(where, "stream.source", spec.source, "its samples have classes, not values (try 'sinusoids')")
    if len(spec.tasks) != len(spec.families):
        valid = f"one number for each of the {len(spec.families)} families"
        raise RecipeError(where, "stream.tasks", list(spec.tasks), valid)
    return [
        (
            TaskSpec(name=f"family {f}, {i + 1}", classes=1, families=(f,), train=spec.shots, query=spec.query),
            "stream.shots",
        )
        for f, count in zip(spec.families, spec.tasks, strict=True)
        for i in range(count)
    ]
