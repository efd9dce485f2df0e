"""The six streams of CTrL, written out as single tasks.

Veniat, Denoyer & Ranzato 2021, "Efficient Continual Learning with Modular Networks and Task-Driven Priors", arXiv
2012.12631: streams on which what helps is known. Every task has all classes of its source, but in S-long.

| stream | its defining property |
| --- | --- |
| S- | the last task is the first one with a tenth of the data: what was learned is to be used again |
| S+ | the last task is the first one with ten times the data: what was learned is to be improved |
| Sin | the last task is the first one in other colours, with few samples: inputs differ, labels do not |
| Sout | the last task is the first one under permuted labels: labels differ, inputs do not |
| Spl | every task is new: plasticity, without anything to transfer |
| Slong | a hundred tasks of five classes, ever fewer of them large |

In Slong a task is large with probability ½ up to a third of the stream; the probability then falls linearly to 0 at
two thirds. Where a source has fewer samples than a large task asks for, the task has all there are, in the same
proportion of training to validation.
"""

from __future__ import annotations

import random

from .seeds import derive
from .source import Sizes
from .spec import CtrlSpec, Pair, TaskSpec, Transforms

Written = list[tuple[TaskSpec, str]]

_CIFAR10, _MNIST, _DTD, _FASHION, _SVHN = range(5)


def write_ctrl(spec: CtrlSpec, seed: int, sizes: Sizes) -> Written:
    """Write out one of the six streams.

    Args:
        spec: Which, on which sources, with which sizes.
        seed: Decides what is drawn in "Slong".
        sizes: What the sources hold.

    Returns:
        The tasks, each with the field that an error about its size names.
    """
    if spec.stream == "Slong":
        return _long(spec, seed, sizes)
    between = [_task(spec, role, "small") for role in (_MNIST, _DTD, _FASHION, _SVHN)]
    if spec.stream == "Spl":
        return [*between, _task(spec, _CIFAR10, "large")]
    if spec.stream == "Sin":
        first = _task(spec, _MNIST, "large", name="in first colours", transforms=Transforms(colour=1))
        between = [_task(spec, role, "small") for role in (_CIFAR10, _DTD, _FASHION, _SVHN)]
        return [first, *between, _task(spec, _MNIST, "few", name="in other colours", transforms=Transforms(colour=2))]
    first = _task(spec, _CIFAR10, "small" if spec.stream == "S+" else "large")
    name = first[0].name
    if spec.stream == "Sout":
        return [first, *between, _task(spec, _CIFAR10, "small", name="relabelled", classes=name, relabel=True)]
    size = "large" if spec.stream == "S+" else "small"
    train, query = _sizes(spec, size)
    last = TaskSpec(name=f"{name} again", returns=name, train=train, query=query)
    return [first, *between, (last, f"stream.{size}")]


def _task(
    spec: CtrlSpec,
    role: int,
    size: str,
    *,
    name: str = "",
    classes: str = "all",
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


def _long(spec: CtrlSpec, seed: int, sizes: Sizes) -> Written:
    written: Written = []
    least = {name: min(member.split(spec.test_share)[0]) for name, member in sizes.members}
    for i in range(spec.tasks):
        rng = random.Random(derive(seed, "task", i, "ctrl"))
        source = spec.roles[rng.randrange(len(spec.roles))]
        size = "long_large" if rng.random() < large_probability(i, spec.tasks) else "few"
        train, query = _sizes(spec, size)
        there = least.get(source, min(sizes.split(spec.test_share)[0]))
        if size == "long_large" and train + query > there:
            train = max(1, round(there * train / (train + query)))
            query = there - train
        task = TaskSpec(name=f"{i + 1}: {source}", source=source, classes=spec.ways, train=train, query=query)
        written.append((task, f"stream.{size}"))
    return written


def large_probability(i: int, tasks: int) -> float:
    """Return the probability that task `i` (from 0) of `tasks` in "Slong" is a large one."""
    return 0.5 * min(1.0, max(0.0, 2 - 3 * i / tasks))


def _sizes(spec: CtrlSpec, size: str) -> Pair:
    pair: Pair = getattr(spec, size)
    return pair
