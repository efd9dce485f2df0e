"""Labels as users write them, turned into numbered classes, tasks into families, and words for the split into parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import DataError
from ..source import Sizes

_WORDS = {"train": 0, "training": 0, "0": 0, "false": 0, "test": 1, "testing": 1, "1": 1, "true": 1}


@dataclass(frozen=True)
class Labels:
    """Classes of the user's samples.

    Attributes:
        classes: Name of every class: numbers in their order, otherwise in that of the alphabet.
        y: Class of every sample, from 0.
        families: Number of classes of every task, in the order of the classes; empty where there are no tasks.
        ids: Number of every class's label among all labels, where a label occurs in several tasks; else empty.
        test: For every sample, whether it belongs to the test part; None where nothing says so.
    """

    classes: tuple[str, ...]
    y: tuple[int, ...]
    families: tuple[int, ...]
    ids: tuple[int, ...]
    test: tuple[bool, ...] | None

    def sizes(self, input_shape: tuple[int, ...], kind: str, outputs: int = 0) -> Sizes:
        """Count the samples.

        Args:
            input_shape: Shape of one input.
            kind: What the inputs are.
            outputs: Targets per sample in regression.
        """
        train, test = [0] * len(self.classes), [0] * len(self.classes)
        for k, held in zip(self.y, self.test or [False] * len(self.y), strict=True):
            (test if held else train)[k] += 1
        own = tuple(test) if self.test is not None else None
        return Sizes(tuple(train), input_shape, own, kind, self.families, outputs, self.ids)


def number_labels(
    labels: Sequence[str] | None,
    tasks: Sequence[str] | None,
    split: Sequence[str] | None,
    where: str,
    first: tuple[str, int] = ("sample", 0),
) -> Labels:
    """Number the classes.

    Where tasks are given, classes are called "task/label", those of a task stand side by side, and every task is a
    family; a label that occurs in several tasks means the same in all of them, and `ids` says so. Without labels
    (regression) every task is a class, a function.

    Args:
        labels: The label of every sample; None in regression.
        tasks: The task of every sample; None where there are none.
        split: The part of every sample, in words; None where nothing says so.
        where: The file, for messages.
        first: What messages call a sample, and the number of the first one.

    Returns:
        The classes.

    Raises:
        DataError: If the split names another part than train and test, or leaves either empty.
    """
    count = len(labels if labels is not None else tasks or split or ())
    order_tasks = _rank(tasks) if tasks is not None else {"": 0}
    order_labels = _rank(labels) if labels is not None else {"": 0}
    pairs = list(zip(tasks or [""] * count, labels or [""] * count, strict=True))
    ordered = sorted(set(pairs), key=lambda pair: (order_tasks[pair[0]], order_labels[pair[1]]))
    number = {pair: k for k, pair in enumerate(ordered)}
    names = tuple("/".join(each for each in pair if each) or "all" for pair in ordered)
    families: tuple[int, ...] = ()
    ids: tuple[int, ...] = ()
    if tasks is not None and labels is not None:
        families = tuple(Counter(task for task, _ in ordered).values())
        if len(ordered) > len(order_labels):
            ids = tuple(order_labels[label] for _, label in ordered)
    return Labels(names, tuple(number[pair] for pair in pairs), families, ids, _parts(split, where, first))


def _rank(values: Sequence[str]) -> dict[str, int]:
    """Order different values: by number where all are whole numbers, else by text."""
    different = set(values)
    whole = all(value.removeprefix("-").isdecimal() for value in different)
    return {value: i for i, value in enumerate(sorted(different, key=lambda v: (int(v) if whole else 0, v)))}


def _parts(split: Sequence[str] | None, where: str, first: tuple[str, int]) -> tuple[bool, ...] | None:
    if split is None:
        return None
    for i, word in enumerate(split):
        if word.strip().lower() not in _WORDS:
            place = f"{first[0]} {first[1] + i}"
            raise DataError(f'{where}: split: {place} has {word!r}; valid are "train" (or 0) and "test" (or 1).')
    test = tuple(bool(_WORDS[word.strip().lower()]) for word in split)
    if all(test) or not any(test):
        missing = "train" if all(test) else "test"
        raise DataError(f"{where}: split: no sample is in the {missing} part; leave split out to have it drawn.")
    return test
