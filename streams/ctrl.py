"""The six streams of CTrL, written out as single tasks.

Veniat, Denoyer & Ranzato 2021, "Efficient Continual Learning with Modular Networks and Task-Driven Priors", arXiv
2012.12631: streams on which what helps is known. A task has ten classes of its source, drawn where that has more (of
DTD's 47, say), and five in S-long. Sizes and draws are those of the authors' code (CTrLBenchmark, `ctrl/streams`); the
classes and images themselves come from the recipe's seed, so no stream is theirs image by image, and colours are pairs
of `Transforms.colour` where theirs are red, green and blue behind the digit.

| stream | its defining property |
| --- | --- |
| S- | the last task is the first one with a tenth of the data: what was learned is to be used again |
| S+ | the last task is the first one with ten times the data: what was learned is to be improved |
| Sin | the last task is the first one in other colours, with few samples: inputs differ, labels do not |
| Sout | the last task is the first one under permuted labels: labels differ, inputs do not |
| Spl | every task is new: plasticity, without anything to transfer |
| Slong | a hundred tasks of five classes, ever fewer of them large |

In Slong a task is large with probability ½ among the first 33 of a hundred, ¼ among the next 33, and never after. Where
a source has fewer samples than a large task asks for, the task has all there are, in the same proportion of training to
validation.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from ..errors import RecipeError
from .seeds import derive
from .source import Sizes
from .spec import CtrlSpec, Pair, TaskSpec, Transforms

Written = list[tuple[TaskSpec, str]]

_CIFAR10, _MNIST, _DTD, _FASHION, _SVHN = range(5)


def write_ctrl(spec: CtrlSpec, seed: int, sizes: Sizes, where: str) -> Written:
    """Write out one of the six streams.

    Args:
        spec: Which, on which sources, with which sizes.
        seed: Decides what is drawn in "Slong".
        sizes: What the sources hold.
        where: The file, or what else an error names as the place.

    Returns:
        The tasks, each with the field that an error about its size names.

    Raises:
        RecipeError: If a source has fewer classes than the recipe asks for.
    """
    drawn = [_drawn(spec, name, sizes, where) for name in spec.roles]
    if spec.stream == "Slong":
        return _long(spec, seed, sizes, drawn)
    between = [_task(spec, role, "small", drawn[role]) for role in (_MNIST, _DTD, _FASHION, _SVHN)]
    if spec.stream == "Spl":
        return [*between, _task(spec, _CIFAR10, "large", drawn[_CIFAR10])]
    if spec.stream == "Sin":
        one, other = Transforms(colour=1), Transforms(colour=2)
        first = _task(spec, _MNIST, "large", drawn[_MNIST], name="in first colours", transforms=one)
        last = _task(spec, _MNIST, "few", first[0].name, name="in other colours", transforms=other)
        return [first, _task(spec, _CIFAR10, "small", drawn[_CIFAR10]), *between[1:], last]
    first = _task(spec, _CIFAR10, "small" if spec.stream == "S+" else "large", drawn[_CIFAR10])
    name = first[0].name
    if spec.stream == "Sout":
        return [first, *between, _task(spec, _CIFAR10, "small", name, name="relabelled", relabel=True)]
    size = "large" if spec.stream == "S+" else "small"
    train, query = _sizes(spec, size)
    again = TaskSpec(name=f"{name} again", returns=name, train=train, query=query)
    return [first, *between, (again, f"stream.{size}")]


def _drawn(spec: CtrlSpec, name: str, sizes: Sizes, where: str) -> int | str:
    """Say how many classes of a source are drawn; all of them where it has no more."""
    there = len(dict(sizes.members).get(name, sizes).samples)
    wanted = spec.ways or min(5 if spec.stream == "Slong" else 10, there)
    if wanted > there:
        raise RecipeError(where, "stream.ways", wanted, f"{name!r} has {there} classes")
    return "all" if wanted == there else wanted


def _task(
    spec: CtrlSpec,
    role: int,
    size: str,
    classes: int | str,
    *,
    name: str = "",
    transforms: Transforms | None = None,
    relabel: bool = False,
) -> tuple[TaskSpec, str]:
    source = spec.roles[role]
    train, query = _sizes(spec, size)
    made = TaskSpec(
        name=f"{source} {name}".strip(),
        source=source,
        classes=classes,
        train=train,
        query=query,
        transforms=transforms or Transforms(),
        relabel=relabel,
    )
    return made, f"stream.{size}"


def _long(spec: CtrlSpec, seed: int, sizes: Sizes, drawn: Sequence[int | str]) -> Written:
    written: Written = []
    least = {name: min(member.split(spec.test_share)[0]) for name, member in sizes.members}
    for i in range(spec.tasks):
        rng = random.Random(derive(seed, "task", i, "ctrl"))
        role = rng.randrange(len(spec.roles))
        source = spec.roles[role]
        size = "long_large" if rng.random() < large_probability(i, spec.tasks) else "few"
        train, query = _sizes(spec, size)
        there = least.get(source, min(sizes.split(spec.test_share)[0]))
        if size == "long_large" and train + query > there:
            train = max(1, round(there * train / (train + query)))
            query = there - train
        task = TaskSpec(name=f"{i + 1}: {source}", source=source, classes=drawn[role], train=train, query=query)
        written.append((task, f"stream.{size}"))
    return written


def large_probability(i: int, tasks: int) -> float:
    """Return the probability that task `i` (from 0) of `tasks` in "Slong" is a large one."""
    return 0.5 if 100 * i < 33 * tasks else 0.25 if 100 * i < 66 * tasks else 0.0


def _sizes(spec: CtrlSpec, size: str) -> Pair:
    pair: Pair = getattr(spec, size)
    return pair
