"""The truth about a stream: which tasks share inputs, labels and concepts; for who measures, never for the agent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .plan import TaskPlan

Table = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Similarity:
    """Similarity of every two tasks, each from 0 to 1; what CTrL's streams vary (Veniat 2021, arXiv 2012.12631, §4).

    Attributes:
        input: Whether they show the same: shared classes as a share of the classes of either, where the transforms
            are the same; 0 where they differ.
        label: Whether the same is called the same: of the classes of either, the share that both have at the same
            output.
        concept: Whether the same is to be told apart, in whatever guise and under whatever labels: shared classes as a
            share of the classes of either, where classes are grouped alike.
    """

    input: Table
    label: Table
    concept: Table


def similarity(plans: Sequence[TaskPlan]) -> Similarity:
    """Compare every two tasks as they were planned.

    Args:
        plans: The plans of all tasks.

    Returns:
        Three symmetric tables with ones on the diagonal.
    """

    def table(measure: Callable[[TaskPlan, TaskPlan], float]) -> Table:
        return tuple(tuple(measure(a, b) for b in plans) for a in plans)

    return Similarity(table(_input), table(_label), table(_concept))


def _shared(a: TaskPlan, b: TaskPlan) -> float:
    one, other = set(a.drawn), set(b.drawn)
    return len(one & other) / len(one | other)


def _input(a: TaskPlan, b: TaskPlan) -> float:
    return _shared(a, b) if a.transforms == b.transforms else 0.0


def _label(a: TaskPlan, b: TaskPlan) -> float:
    one, other = (dict(zip(each.drawn, each.positions, strict=True)) for each in (a, b))
    same = sum(one[k] == other[k] for k in one.keys() & other.keys())
    return same / len(one.keys() | other.keys())


def _concept(a: TaskPlan, b: TaskPlan) -> float:
    both = set(a.drawn) & set(b.drawn)
    return _shared(a, b) if _groups(a, both) == _groups(b, both) else 0.0


def _groups(made: TaskPlan, among: set[int]) -> set[frozenset[int]]:
    """Sets of classes that share an output, whatever that output is."""
    outputs: dict[int, set[int]] = {}
    for k, position in zip(made.drawn, made.positions, strict=True):
        if k in among:
            outputs.setdefault(position, set()).add(k)
    return {frozenset(group) for group in outputs.values()}
