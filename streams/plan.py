"""Every task of a stream decided in advance: classes, labels, sizes. Planning also checks a recipe's sizes."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import RecipeError
from .choices import Place, check_task, choose, labels_of, pool_of, samples_of
from .layouts import Written, check_setting, write_out
from .order import given_order
from .setting import Setting
from .source import Sizes
from .spec import AnyStreamSpec, Transforms
from .supply import used_sources


@dataclass(frozen=True)
class TaskPlan:
    """One task, decided but not built.

    Attributes:
        name: Unique in the stream.
        concept: Column of the accuracy matrix; a task that returns has its first visit's.
        source: Name of the source its data come from.
        drawn: Classes of the source; where several sources stand side by side, numbered through all of them.
        positions: For every drawn class, the output that stands for it.
        classes: Global class id of every output; empty for regression.
        own_labels: Whether the ids mean something in this task that they do not mean elsewhere: local, grouped or
            relabelled classes, and functions, where a task label tells tasks apart.
        support: Training samples of every drawn class that come with their label.
        query: Validation samples per class.
        start: For every drawn class, how many training images were dealt to earlier tasks.
        transforms: What is done to the inputs.
        label_noise: Share of wrong labels in support and query.
        phase: Consecutive tasks of one phase arrive together.
        hidden: Whether it is kept from the learner that the task returns.
        written: Position in the order in which tasks were written; seeds what is drawn for the task.
        piece: Online: which piece of how many of the task's samples an experience holds; None for all of them.
        unlabelled: Training samples of every drawn class whose label is not told.
    """

    name: str
    concept: int
    source: str
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
    hidden: bool
    written: int
    piece: tuple[int, int] | None = None
    unlabelled: tuple[int, ...] = ()

    @property
    def trained(self) -> tuple[int, ...]:
        """Training samples of every drawn class, with their label or without."""
        return tuple(map(sum, zip(self.support, self.unlabelled, strict=True))) if self.unlabelled else self.support

    @property
    def meaning(self) -> dict[int, int]:
        """From every drawn class of the source to the global class id it is labelled with; empty for regression."""
        if not self.classes:
            return {}
        return {k: self.classes[position] for k, position in zip(self.drawn, self.positions, strict=True)}

    def samples(self, experience_size: int) -> int:
        """Count the training samples; online, those of the experience, of which `experience_size` is the most."""
        whole = sum(self.support)
        return whole if self.piece is None else min(experience_size, whole - self.piece[0] * experience_size)

    def tested(self, test: Sequence[int], cap: int | None) -> int:
        """Count the test samples of its concept, where every class has so many (`test`) and at most `cap` are used."""
        return sum(test[k] if cap is None else min(cap, test[k]) for k in self.drawn)


def plan(
    spec: AnyStreamSpec, seed: int, sizes: Sizes, where: str = "stream", order: Sequence[int] | None = None
) -> tuple[TaskPlan, ...]:
    """Decide every task of a stream.

    The training images of a class are dealt like cards: every task takes the next ones, and only when all were used do
    they come again. So a task that returns brings other samples as long as there are any.

    Args:
        spec: What the stream is.
        seed: Decides all that is drawn.
        sizes: What the source holds.
        where: The file, or what else an error names as the place.
        order: The tasks' written positions in the order in which they come; left out: what `spec.order` says, or as
            written where that is measured on data.

    Returns:
        One plan per task; in the online setting, per experience.

    Raises:
        RecipeError: If parts of the description contradict each other, or ask for more than the source holds.
    """
    check_setting(spec, where)
    written = write_out(spec, seed, sizes, where)
    if order is None:
        order = given_order(spec.order, [task for task, _ in written], seed)
    plans = _decide(spec, seed, sizes, where, written, order, {})
    if spec.setting.one_pass:
        visits = Counter(k for each in plans for k in each.drawn)
        plans = _decide(spec, seed, sizes, where, written, order, visits)
    if spec.labelled < 1 and not any(each.unlabelled for each in plans):
        valid = f"must be lower: of {max(n for each in plans for n in each.support)} training samples none is left over"
        raise RecipeError(where, "stream.labelled", spec.labelled, valid)
    if not spec.setting.label_when_asked:
        _check_meanings(plans, spec.setting, [Place(where, written[each.written][1]) for each in plans], sizes.ids)
    if spec.setting is Setting.ONLINE:
        plans = [piece for each in plans for piece in _pieces(each, spec.experience_size)]
    return tuple(plans)


def _decide(
    spec: AnyStreamSpec,
    seed: int,
    sizes: Sizes,
    where: str,
    written: Written,
    order: Sequence[int],
    visits: Mapping[int, int],
) -> list[TaskPlan]:
    train, test = sizes.split(spec.test_share)
    only = used_sources(spec)[0]
    made: dict[str, TaskPlan] = {}
    dealt = [0] * len(train)
    concepts = 0
    for index in order:
        task, field = written[index]
        at = Place(where, field)
        base = made.get(task.returns or "")
        named = base or (made.get(task.classes) if isinstance(task.classes, str) and task.classes != "all" else None)
        whose = task.source or (named.source if named else spec.source)
        pool = pool_of(whose, only, sizes, at)
        check_task(task, made, pool, spec.setting, at)
        drawn = base.drawn if base else choose(task, index, made, seed, pool, at)
        for k in drawn:
            if not train[k] or not test[k]:
                found = f"{train[k]} to train and {test[k]} to test"
                raise at.error("classes", found, f"class {pool.own(k)} needs at least one sample of each")
        available = [train[k] // max(visits.get(k, 1), 1) for k in drawn]
        cap = spec.train_per_class
        samples = tuple(samples_of(task, cap, n, pool.own(k), at) for k, n in zip(drawn, available, strict=True))
        support = tuple(max(1, round(spec.labelled * n)) for n in samples)
        positions, classes, own = (base.positions, base.classes, base.own_labels) if base else ((), (), False)
        if not base:
            positions, classes, own = labels_of(task, drawn, index, made, seed, pool, at)
        made[task.name] = TaskPlan(
            name=task.name,
            concept=base.concept if base else concepts,
            source=pool.name,
            drawn=drawn,
            positions=positions,
            classes=classes,
            own_labels=own and spec.setting.label_when_asked,
            support=support,
            query=task.query,
            start=tuple(dealt[k] for k in drawn),
            transforms=base.transforms if base else task.transforms,
            label_noise=task.label_noise,
            phase=task.phase,
            hidden=task.hidden,
            written=index,
            unlabelled=tuple(map(operator.sub, samples, support)) if samples != support else (),
        )
        concepts += base is None
        for k, n in zip(drawn, samples, strict=True):
            dealt[k] += n + task.query
    return list(made.values())


def _pieces(whole: TaskPlan, size: int) -> list[TaskPlan]:
    """Cut a task into experiences of so many samples; the last one has what is left."""
    count = -(-sum(whole.support) // size)
    if count == 1:
        return [replace(whole, piece=(0, 1))]
    return [replace(whole, name=f"{whole.name}, part {i + 1}", piece=(i, count)) for i in range(count)]


def _check_meanings(plans: Sequence[TaskPlan], setting: Setting, places: Sequence[Place], ids: tuple[int, ...]) -> None:
    """Check that a class has one label in the whole stream, where no task label says which is meant."""
    if ids:  # the source says which class is which
        meanings = [{ids[k]: label for k, label in made.meaning.items()} for made in plans]
    else:
        meanings = [made.meaning for made in plans]
    label_of: dict[int, int] = {}
    class_of: dict[int, int] = {}
    for made, meaning, at in zip(plans, meanings, places, strict=True):
        for k, label in meaning.items():
            if label_of.setdefault(k, label) != label or class_of.setdefault(label, k) != k:
                valid = f"in the {setting.value} setting a class has one label in all tasks, which is its own"
                raise at.error("labels", f"class {k} as {label}", valid)
        if setting.shared_classes and meaning.keys() != meanings[0].keys():
            valid = f"in the {setting.value} setting every task has the classes of {plans[0].name!r}"
            raise at.error("classes", sorted(made.drawn), valid)
