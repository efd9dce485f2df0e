"""What is chosen for a single task: its pool, its classes, their labels, its number of samples."""

from __future__ import annotations

import difflib
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ..errors import RecipeError
from .layouts import check_classes
from .seeds import derive
from .setting import Setting
from .source import Sizes
from .spec import TaskSpec, Transforms

# What only images have.
_OF_IMAGES = ("rotate", "blur", "colour")
# What presumes inputs between 0 and 1.
_IN_RANGE = ("invert", "noise")
# Kinds of inputs that may have any value.
_WITHOUT_RANGE = ("table", "function")


class Planned(Protocol):
    """What later tasks may refer to in an earlier one."""

    @property
    def source(self) -> str:
        """Name of its source."""

    @property
    def drawn(self) -> tuple[int, ...]:
        """Its classes."""

    @property
    def positions(self) -> tuple[int, ...]:
        """The output that stands for each of them."""

    @property
    def classes(self) -> tuple[int, ...]:
        """Global class id of every output."""

    @property
    def own_labels(self) -> bool:
        """Whether its ids have a meaning of their own."""

    @property
    def phase(self) -> str | None:
        """The phase it belongs to."""


@dataclass(frozen=True)
class Place:
    """Where in a recipe a task comes from: a table of its own, or one field of a layout that stands for all."""

    where: str
    field: str

    def error(self, name: str, found: object, valid: str) -> RecipeError:
        """Make the error for a field of the task.

        Args:
            name: The field.
            found: What stands there.
            valid: What may stand there.
        """
        own_table = self.field.startswith("stream.tasks.")
        few_shot = {"query": "stream.query", "families": "stream.families"} if self.field == "stream.shots" else {}
        field = f"{self.field}.{name}" if own_table else few_shot.get(name, self.field)
        return RecipeError(self.where, field, found, valid)


@dataclass(frozen=True)
class Pool:
    """The classes of one source, as they are numbered in the stream.

    Attributes:
        name: The source's name in the recipe.
        sizes: What it holds.
        offset: Number of its first class in the stream: sources stand side by side.
    """

    name: str
    sizes: Sizes
    offset: int

    def __len__(self) -> int:
        return len(self.sizes.samples)

    def global_id(self, k: int) -> int:
        """Return the global class id of a class: its number in the stream, or what its source says it is."""
        return self.offset + self.sizes.ids[k - self.offset] if self.sizes.ids else k

    def own(self, k: int) -> int:
        """Give a class the number that it has in its source."""
        return k - self.offset


def pool_of(name: str, only: str, sizes: Sizes, at: Place) -> Pool:
    """Find the classes of a source.

    Args:
        name: The source's name.
        only: Name of the source where there is a single one.
        sizes: What the stream draws from.
        at: Where the task stands.

    Raises:
        RecipeError: If the stream does not draw from it.
    """
    if not sizes.members:
        if name != only:
            raise at.error("source", name, f"the stream draws from {only!r} alone")
        return Pool(name, sizes, 0)
    offset = 0
    for each, member in sizes.members:
        if each == name:
            return Pool(name, member, offset)
        offset += len(member.samples)
    raise at.error("source", name, f"the stream draws from {', '.join(each for each, _ in sizes.members)}")


def check_task(task: TaskSpec, made: Mapping[str, Planned], pool: Pool, setting: Setting, at: Place) -> None:
    """Check what can be said of a task from what stands before it.

    Raises:
        RecipeError: If it contradicts itself, its source or the setting.
    """
    if task.name in made:
        raise at.error("name", task.name, "every task has a name of its own")
    plain = TaskSpec(name=task.name)
    if task.returns is not None:
        if task.returns not in made:
            raise at.error("returns", task.returns, _earlier(task.returns, made))
        for name in ("classes", "groups", "transforms", "relabel", "labels", "source", "families", "one_family"):
            found = getattr(task, name)
            if found != getattr(plain, name):
                shown = found.model_dump(exclude_defaults=True) if isinstance(found, Transforms) else found
                raise at.error(name, shown, f"leave it out: it is that of {task.returns!r}, which returns")
    elif task.hidden:
        raise at.error("hidden", True, "only of a task that returns can it be kept that it does")
    if task.hidden and not setting.label_when_asked:
        raise at.error("hidden", True, f"leave it out: the {setting.value} setting gives no task label")
    if setting is Setting.ONLINE and task.query:
        raise at.error("query", task.query, "in the online setting a batch is all there is: leave it out")
    kind, transforms = pool.sizes.kind, task.transforms
    for name in (*_OF_IMAGES, *_IN_RANGE):
        found = getattr(transforms, name)
        if found and name in _OF_IMAGES and kind != "image":
            raise at.error(f"transforms.{name}", found, f"only images, not {kind}, have it")
        if found and name in _IN_RANGE and kind in _WITHOUT_RANGE:
            valid = "only images and texts, whose inputs are in [0, 1], have it"
            raise at.error(f"transforms.{name}", found, valid)
    if pool.sizes.outputs:
        if not setting.label_when_asked:
            raise RecipeError(
                at.where, "stream.setting", setting.value, f"functions are {Setting.TASK_INCREMENTAL.value}"
            )
        for name in ("groups", "relabel", "labels", "label_noise"):
            if getattr(task, name) != getattr(plain, name):
                raise at.error(name, getattr(task, name), f"{pool.name!r} has functions, and only classes have labels")
    phases = [each.phase for each in made.values()]
    if task.phase is not None and task.phase in phases and phases[-1] != task.phase:
        raise at.error("phase", task.phase, "the tasks of one phase follow one another")


def choose(
    task: TaskSpec, index: int, made: Mapping[str, Planned], seed: int, pool: Pool, at: Place
) -> tuple[int, ...]:
    """Decide the classes of a task that does not return.

    Args:
        task: The task.
        index: Its position as written: seeds what is drawn.
        made: The tasks before it.
        seed: The stream's seed.
        pool: Its source.
        at: Where it stands.

    Returns:
        Classes as they are numbered in the stream.

    Raises:
        RecipeError: If there are no such classes, or not as many.
    """
    wanted, n = task.classes, len(pool)
    explicit = not isinstance(wanted, int) and wanted != "all"
    if task.groups:
        if wanted != "all":
            raise at.error("classes", wanted, "leave it out: groups says which classes there are")
        if len(task.groups) < 2:
            raise at.error("groups", task.groups, "give at least two lists, one per output")
        flat = tuple(k for group in task.groups for k in group)
        check_classes(flat, n, at.where, at.error("groups", flat, "").field)
        drawn = tuple(pool.offset + k for k in flat)
    elif isinstance(wanted, str) and wanted != "all":
        if wanted not in made:
            raise at.error(
                "classes", wanted, f'ids, how many to draw or "all" may stand here, or {_earlier(wanted, made)}'
            )
        if made[wanted].source != pool.name:
            raise at.error("source", task.source, f"the classes of {wanted!r} are of {made[wanted].source!r}")
        drawn = made[wanted].drawn
    elif isinstance(wanted, tuple):
        check_classes(wanted, n, at.where, at.error("classes", wanted, "").field)
        drawn = tuple(pool.offset + k for k in wanted)
    else:
        among, whose = _members(task, index, seed, pool, at)
        if isinstance(wanted, int) and wanted > len(among):
            raise at.error("classes", wanted, f"{whose} {len(among)} classes")
        if isinstance(wanted, int):
            among = random.Random(derive(seed, "task", index, "classes")).sample(among, wanted)
        drawn = tuple(among)
    if _narrowed(task) and (explicit or task.groups):
        raise at.error(_narrowed(task), _narrowing(task), "leave it out: the classes are given")
    if pool.sizes.outputs and len(drawn) != 1:
        raise at.error("classes", wanted, f"a task is one function of {pool.name!r}: write 1, or the id of one")
    return drawn


def _members(task: TaskSpec, index: int, seed: int, pool: Pool, at: Place) -> tuple[list[int], str]:
    """List the classes out of which a task's are drawn, with the words that say whose they are."""
    families = pool.sizes.families
    if not task.families and not task.one_family:
        return list(range(pool.offset, pool.offset + len(pool))), "the source has"
    if not families:
        raise at.error(_narrowed(task), _narrowing(task), f"{pool.name!r} has no families of classes")
    wanted = task.families or tuple(range(len(families)))
    for family in wanted:
        if family >= len(families):
            raise at.error("families", family, f"the source has the families 0 to {len(families) - 1}")
    if task.one_family:
        enough = [f for f in wanted if not isinstance(task.classes, int) or families[f] >= task.classes]
        wanted = (random.Random(derive(seed, "task", index, "family")).choice(enough or list(wanted)),)
    first = [pool.offset + sum(families[:f]) for f in range(len(families))]
    return [k for f in sorted(set(wanted)) for k in range(first[f], first[f] + families[f])], "these families have"


def labels_of(
    task: TaskSpec, drawn: tuple[int, ...], index: int, made: Mapping[str, Planned], seed: int, pool: Pool, at: Place
) -> tuple[tuple[int, ...], tuple[int, ...], bool]:
    """Decide the labels of a task that does not return.

    Returns:
        The output that stands for every drawn class, the global class id of every output, and whether these ids have a
        meaning of their own, by themselves or from the task that the classes are taken from.
    """
    if pool.sizes.outputs:
        return (0,), (), True
    local = task.labels == "local"
    own = local or bool(task.groups) or task.relabel
    if task.groups:
        of = {pool.offset + k: output for output, group in enumerate(task.groups) for k in group}
        positions = tuple(of[k] for k in drawn)
        cycle = _cycle(len(task.groups), derive(seed, "task", index, "relabel"))
        return tuple(cycle[p] if task.relabel else p for p in positions), tuple(range(len(task.groups))), own
    ids = {k: pool.global_id(k) for k in drawn}
    if len(set(ids.values())) < len(ids):
        raise at.error("classes", len(drawn), f"some of these classes of {pool.name!r} are one and the same")
    classes = tuple(range(len(drawn))) if local else tuple(sorted(ids.values()))
    named = made.get(task.classes) if isinstance(task.classes, str) else None
    if named is not None and named.classes == classes:
        positions = named.positions  # labels mean what they mean there
        own = own or named.own_labels
    else:
        positions = tuple(range(len(drawn))) if local else tuple(classes.index(ids[k]) for k in drawn)
    if task.relabel:
        cycle = _cycle(len(drawn), derive(seed, "task", index, "relabel"))
        positions = tuple(cycle[position] for position in positions)
    return positions, classes, own


def samples_of(task: TaskSpec, cap: int | None, available: int, k: int, at: Place) -> int:
    """Decide how many training samples of one class a task has.

    Args:
        task: The task.
        cap: The stream's limit.
        available: What there is of the class.
        k: The class, for an error's sake.
        at: Where the task stands.

    Raises:
        RecipeError: If there are fewer than the task asks for.
    """
    left = available - task.query
    if left < 1:
        raise at.error("query", task.query, f"class {k} has {available} training samples, and one must be left")
    if task.train == "all":
        return left if cap is None else min(left, cap)
    if task.train > left:
        beside = f", {task.query} of them for the query part" if task.query else ""
        raise at.error("train", task.train, f"class {k} has {available} training samples{beside}")
    return task.train


def _narrowed(task: TaskSpec) -> str:
    """Name the field that says out of which families classes come; empty where none does."""
    return "families" if task.families else "one_family" if task.one_family else ""


def _narrowing(task: TaskSpec) -> object:
    return list(task.families) or task.one_family


def _cycle(n: int, seed: int) -> list[int]:
    """Draw a permutation that is one cycle through all `n` places, so that none stays (Sattolo 1986)."""
    rng, order = random.Random(seed), list(range(n))
    for i in range(n - 1, 0, -1):
        j = rng.randrange(i)
        order[i], order[j] = order[j], order[i]
    return order


def _earlier(name: str, made: Iterable[str]) -> str:
    known = list(made)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    before = f"before it there are {', '.join(map(repr, known))}" if known else "before it there is none"
    return f"the name of an earlier task is needed{hint}; {before}"
