"""Every task of a stream decided in advance: classes, labels, sizes. Planning also checks a recipe's sizes."""

from __future__ import annotations

import difflib
import random
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import RecipeError
from .layouts import check_classes, check_setting, write_out
from .seeds import derive
from .setting import Setting
from .source import Sizes
from .spec import AnyStreamSpec, TaskSpec, Transforms


@dataclass(frozen=True)
class TaskPlan:
    """One task, decided but not built.

    Attributes:
        name: Unique in the stream.
        concept: Column of the accuracy matrix; a task that returns has its first visit's.
        drawn: Classes of the source.
        positions: For every drawn class, the output that stands for it.
        classes: Global class id of every output.
        own_labels: Whether the ids mean something in this task that they do not mean elsewhere: local, grouped or
            relabelled classes, where a task label tells tasks apart.
        support: Training samples of every drawn class.
        query: Validation samples per class.
        start: For every drawn class, how many training images were dealt to earlier tasks.
        transforms: What is done to the inputs.
        label_noise: Share of wrong labels in support and query.
        phase: Consecutive tasks of one phase arrive together.
    """

    name: str
    concept: int
    drawn: tuple[int, ...]
    positions: tuple[int, ...]
    classes: tuple[int, ...]
    own_labels: bool
    support: tuple[int, ...]
    query: int
    start: tuple[int, ...]
    transforms: Transforms
    label_noise: float
    phase: str | None

    @property
    def meaning(self) -> dict[int, int]:
        """From every drawn class of the source to the global class id it is labelled with."""
        return {k: self.classes[position] for k, position in zip(self.drawn, self.positions, strict=True)}


def plan(spec: AnyStreamSpec, seed: int, sizes: Sizes, where: str = "stream") -> tuple[TaskPlan, ...]:
    """Decide every task of a stream.

    The training images of a class are dealt like cards: every task takes the next ones, and only when all were used do
    they come again. So a task that returns brings other samples as long as there are any.

    Args:
        spec: What the stream is.
        seed: Decides all that is drawn.
        sizes: What the source holds.
        where: The file, or what else an error names as the place.

    Returns:
        One plan per task.

    Raises:
        RecipeError: If parts of the description contradict each other, or ask for more than the source holds.
    """
    check_setting(spec, where)
    train, test = sizes.split(spec.test_share)
    written = write_out(spec, seed, len(train), where)
    made: dict[str, TaskPlan] = {}
    dealt = [0] * len(train)
    concepts = 0
    for index, (task, field) in enumerate(written):
        at = _Place(where, field)
        _check_task(task, made, sizes, at)
        base = made[task.returns] if task.returns is not None else None
        drawn = base.drawn if base else _draw(task, index, made, seed, len(train), at)
        for k in drawn:
            if not train[k] or not test[k]:
                found = f"{train[k]} to train and {test[k]} to test"
                raise at.error("classes", found, f"class {k} needs at least one sample of each")
        support = tuple(_samples(task, spec.train_per_class, train[k], k, at) for k in drawn)
        positions, classes = (base.positions, base.classes) if base else _labels(task, drawn, index, made, seed)
        made[task.name] = TaskPlan(
            name=task.name,
            concept=base.concept if base else concepts,
            drawn=drawn,
            positions=positions,
            classes=classes,
            own_labels=spec.setting.label_when_asked and _own_labels(task, classes, made),
            support=support,
            query=task.query,
            start=tuple(dealt[k] for k in drawn),
            transforms=base.transforms if base else task.transforms,
            label_noise=task.label_noise,
            phase=task.phase,
        )
        concepts += base is None
        for k, n in zip(drawn, support, strict=True):
            dealt[k] += n + task.query
    plans = tuple(made.values())
    if not spec.setting.label_when_asked:
        _check_meanings(plans, spec.setting, [_Place(where, field) for _, field in written])
    return plans


@dataclass(frozen=True)
class _Place:
    """Where in a recipe a task comes from: a table of its own, or one field of a layout that stands for all."""

    where: str
    field: str

    def error(self, name: str, found: object, valid: str) -> RecipeError:
        own_table = self.field.startswith("stream.tasks.")
        few_shot = {"query": "stream.query"} if self.field == "stream.shots" else {}
        field = f"{self.field}.{name}" if own_table else few_shot.get(name, self.field)
        return RecipeError(self.where, field, found, valid)


def _check_task(task: TaskSpec, made: dict[str, TaskPlan], sizes: Sizes, at: _Place) -> None:
    """Check what can be said of a task from what stands before it."""
    if task.name in made:
        raise at.error("name", task.name, "every task has a name of its own")
    if task.returns is not None:
        if task.returns not in made:
            raise at.error("returns", task.returns, _earlier(task.returns, made))
        plain = TaskSpec(name=task.name)
        for name in ("classes", "groups", "transforms", "relabel", "labels"):
            found = getattr(task, name)
            if found != getattr(plain, name):
                shown = found.model_dump(exclude_defaults=True) if isinstance(found, Transforms) else found
                raise at.error(name, shown, f"leave it out: it is that of {task.returns!r}, which returns")
    if sizes.kind != "image":
        for name in ("rotate", "blur"):
            if getattr(task.transforms, name):
                raise at.error(
                    f"transforms.{name}", getattr(task.transforms, name), f"only images, not {sizes.kind}, have it"
                )
    if sizes.kind == "table":
        for name in ("invert", "noise"):
            if found := getattr(task.transforms, name):
                raise at.error(
                    f"transforms.{name}", found, "only images and texts, whose inputs are in [0, 1], have it"
                )
    phases = [each.phase for each in made.values()]
    if task.phase is not None and task.phase in phases and phases[-1] != task.phase:
        raise at.error("phase", task.phase, "the tasks of one phase follow one another")


def _draw(task: TaskSpec, index: int, made: dict[str, TaskPlan], seed: int, n: int, at: _Place) -> tuple[int, ...]:
    """Decide the classes of a task that does not return."""
    wanted = task.classes
    if task.groups:
        if wanted != "all":
            raise at.error("classes", wanted, "leave it out: groups says which classes there are")
        if len(task.groups) < 2:
            raise at.error("groups", task.groups, "give at least two lists, one per output")
        flat = tuple(k for group in task.groups for k in group)
        check_classes(flat, n, at.where, at.error("groups", flat, "").field)
        return flat
    if wanted == "all":
        return tuple(range(n))
    if isinstance(wanted, str):
        if wanted not in made:
            raise at.error("classes", wanted, f'ids, how many to draw, "all", or {_earlier(wanted, made)}')
        return made[wanted].drawn
    if isinstance(wanted, int):
        if wanted > n:
            raise at.error("classes", wanted, f"the source has {n} classes")
        return tuple(random.Random(derive(seed, "task", index, "classes")).sample(range(n), wanted))
    check_classes(wanted, n, at.where, at.error("classes", wanted, "").field)
    return wanted


def _labels(
    task: TaskSpec, drawn: tuple[int, ...], index: int, made: dict[str, TaskPlan], seed: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Decide the output that stands for every drawn class, and the global class id of every output."""
    local = task.labels == "local"
    if task.groups:
        of = {k: output for output, group in enumerate(task.groups) for k in group}
        positions = tuple(of[k] for k in drawn)
        cycle = _cycle(len(task.groups), derive(seed, "task", index, "relabel"))
        return tuple(cycle[p] if task.relabel else p for p in positions), tuple(range(len(task.groups)))
    classes = tuple(range(len(drawn))) if local else tuple(sorted(drawn))
    named = made.get(task.classes) if isinstance(task.classes, str) else None
    if named is not None and named.classes == classes:
        positions = named.positions  # labels mean what they mean there
    else:
        positions = tuple(range(len(drawn))) if local else tuple(classes.index(k) for k in drawn)
    if task.relabel:
        cycle = _cycle(len(drawn), derive(seed, "task", index, "relabel"))
        positions = tuple(cycle[position] for position in positions)
    return positions, classes


def _own_labels(task: TaskSpec, classes: tuple[int, ...], made: dict[str, TaskPlan]) -> bool:
    """Tell whether a task's class ids have a meaning of their own, by itself or from the task it takes them from."""
    if task.returns is not None:
        return made[task.returns].own_labels
    named = made.get(task.classes) if isinstance(task.classes, str) else None
    taken = named is not None and named.own_labels and named.classes == classes
    return task.labels == "local" or bool(task.groups) or task.relabel or taken


def _cycle(n: int, seed: int) -> list[int]:
    """Draw a permutation that is one cycle through all `n` places, so that none stays (Sattolo 1986)."""
    rng, order = random.Random(seed), list(range(n))
    for i in range(n - 1, 0, -1):
        j = rng.randrange(i)
        order[i], order[j] = order[j], order[i]
    return order


def _samples(task: TaskSpec, cap: int | None, available: int, k: int, at: _Place) -> int:
    """Decide how many training samples of class `k` a task has."""
    left = available - task.query
    if left < 1:
        raise at.error("query", task.query, f"class {k} has {available} training samples, and one must be left")
    if task.train == "all":
        return left if cap is None else min(left, cap)
    if task.train > left:
        beside = f", {task.query} of them for the query part" if task.query else ""
        raise at.error("train", task.train, f"class {k} has {available} training samples{beside}")
    return task.train


def _check_meanings(plans: tuple[TaskPlan, ...], setting: Setting, places: list[_Place]) -> None:
    """Check that a class has one label in the whole stream, where no task label says which is meant."""
    label_of: dict[int, int] = {}
    class_of: dict[int, int] = {}
    for made, at in zip(plans, places, strict=True):
        for k, label in made.meaning.items():
            if label_of.setdefault(k, label) != label or class_of.setdefault(label, k) != k:
                valid = f"in the {setting.value} setting a class has one label in all tasks, which is its own"
                raise at.error("labels", f"class {k} as {label}", valid)
        if setting.shared_classes and made.meaning.keys() != plans[0].meaning.keys():
            valid = f"in the {setting.value} setting every task has the classes of {plans[0].name!r}"
            raise at.error("classes", sorted(made.drawn), valid)


def _earlier(name: str, made: Iterable[str]) -> str:
    known = list(made)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"the name of an earlier task{hint}; before it there are {', '.join(map(repr, known)) or 'none'}"
