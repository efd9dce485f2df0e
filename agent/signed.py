"""The signatures of all tasks as one matrix in memory, and which of them are nearest to a new task."""

from __future__ import annotations

import numpy as np

from ..streams.task import Task
from .signature import nearest, numbers, sign
from .store_reader import StoreReader


class Signed:
    """Features of signatures, read once; what is asked about one task is computed once."""

    def __init__(self) -> None:
        """Know none yet."""
        self._row_of: dict[int, int] = {}
        self._last: int | None = None
        # One row per signature, and its square; those at the end are not used yet.
        self._features, self._squares = np.zeros((0, 0), np.float32), np.zeros(0, np.float32)
        self._asked: tuple[Task, int, np.ndarray] | None = None

    def take(self, store: StoreReader) -> None:
        """Take in the signatures that are new.

        Args:
            store: The store.
        """
        new = store.features_after(self._last)
        if not new:
            return
        used, size = len(self._row_of), len(numbers(new[0][1]))
        if used + len(new) > len(self._features):  # twice as much room, so that it is seldom copied
            room = 2 * (used + len(new))
            features, squares = np.zeros((room, size), np.float32), np.zeros(room, np.float32)
            if used:
                features[:used], squares[:used] = self._features[:used], self._squares[:used]
            self._features, self._squares = features, squares
        for row, (task, kept) in enumerate(new, start=used):
            self._row_of[task], self._last = row, task
            self._features[row] = numbers(kept)
        fresh = self._features[used : used + len(new)]
        self._squares[used : used + len(new)] = np.einsum("ij,ij->i", fresh, fresh)

    def row_of(self, task: int) -> int:
        """Return the row of a task; −1 where it left no signature."""
        return self._row_of.get(task, -1)

    def nearest(self, task: Task, rows: np.ndarray, most: int) -> list[int]:
        """Find the nearest of some tasks.

        Args:
            task: The task that they are to be near, as strategies see it.
            rows: Rows of those that are asked about; −1 for one without a signature, which is as far as can be.
            most: How many to find.

        Returns:
            Positions in `rows`, in ascending order.
        """
        used = len(self._row_of)
        if self._asked is None or self._asked[0] is not task or self._asked[1] != used:
            mine = numbers(sign(task, task, None).features)
            # (o − m)² = o² − 2 o·m + m², of which the last is the same for all.
            apart = self._squares[:used] - 2 * (self._features[:used] @ mine)
            self._asked = task, used, np.append(apart, np.float32(np.inf))
        return nearest(self._asked[2], rows, most)
