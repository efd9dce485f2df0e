"""A table of the user's own: a CSV file with a header and a column of labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..formats.rows import described, encode, numbers_of
from ..formats.table import Cells, Column, find_columns, read_cells
from ..source import Sizes, Source, SourceData, source_setting
from ..source_files import find_path
from .labels import Labels, number_labels


@dataclass(frozen=True)
class Csv(Source):
    """Your own table: a CSV file with a header, where one column is the label.

    Numbers are brought to mean 0 and deviation 1 by the training samples alone, and a missing one takes their mean;
    categories become one input per category; texts become hashed character n-grams. With `target = "number"` the label
    is a number to be predicted (regression). A column `task` says which task a row belongs to: its classes are then
    called "task/label" and are a family, and a label that several tasks have means the same in all of them; in
    regression every task is a function of its own.
    """

    name: ClassVar[str] = "csv"
    paths: ClassVar[tuple[str, ...]] = ("path",)

    path: str = source_setting(..., "The file, relative to the recipe's file or to the data root.")
    label: str = source_setting("label", "Name of the column that is to be predicted.")
    target: Literal["class", "number"] = source_setting("class", 'Whether the label is a "class" or a "number".')
    task: str = source_setting("", "Name of the column with the task of every row; empty for none.")
    split: str = source_setting("", 'Name of the column that says "train" or "test"; empty to have the split drawn.')
    ignore: tuple[str, ...] = source_setting((), "Columns that are left out, such as an identifier.")
    numbers: tuple[str, ...] = source_setting((), "Columns that are numbers; others are if all their cells are.")
    categories: tuple[str, ...] = source_setting(
        (), "Columns that are categories; others are up to 50 different cells."
    )
    texts: tuple[str, ...] = source_setting((), "Columns that are texts; others are above 50 different cells.")
    text_features: Annotated[int, Field(ge=2)] = source_setting(
        1024, "Inputs that every column of texts becomes.", "features"
    )
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = source_setting(",", "What stands between two cells.")

    def load(self, root: Path | None) -> SourceData:
        """Load the table; `x` has shape `(n, inputs)`.

        Args:
            root: Folder that holds the user's data sets.

        Returns:
            The samples; of the kind "text" where all inputs are texts, else "table".

        Raises:
            DataMissing: If there is no such file.
            DataError: If a row or a cell is not what it should be.
        """
        import numpy as np
        import torch

        cells, columns, labels = self._read(root)
        x = encode(cells, columns, self.text_features)
        starts = np.cumsum([0, *(column.width(self.text_features) for column in columns)]).tolist()
        test = None if labels.test is None else torch.tensor(labels.test)
        return SourceData(
            torch.from_numpy(x),
            torch.tensor(labels.y),
            labels.classes,
            _kind(columns),
            None if test is None else (torch.nonzero(~test).flatten(), torch.nonzero(test).flatten()),
            labels.families,
            labels.ids,
            torch.tensor(self._targets(cells), dtype=torch.float32)[:, None] if self.target == "number" else None,
            tuple(start for start, column in zip(starts, columns, strict=False) if column.kind == "number"),
            table=described(columns, self.text_features, self.delimiter),
        )

    def sizes(self, root: Path | None) -> Sizes:
        """Say how much there is; the table is read, and its texts are not hashed.

        Args:
            root: As in `load`.
        """
        _, columns, labels = self._read(root)
        width = sum(column.width(self.text_features) for column in columns)
        return labels.sizes((width,), _kind(columns), int(self.target == "number"))

    def _read(self, root: Path | None) -> tuple[Cells, tuple[Column, ...], Labels]:
        """Read and check everything: the cells, what becomes inputs, and the classes."""
        path = find_path(self.name, self.path, root)
        cells = read_cells(path, self.delimiter)
        others = [self.label, *(name for name in (self.task, self.split) if name), *self.ignore]
        columns = find_columns(cells, others, self.numbers, self.categories, self.texts)
        for column in columns:
            if column.kind == "number":
                numbers_of(cells, column.name)
        words = {name: self._words(cells, name) for name in (self.label, self.task, self.split) if name}
        tasks, split = words.get(self.task), words.get(self.split)
        if self.target == "number":
            self._targets(cells)
            return cells, columns, number_labels(None, tasks or ["all"] * len(cells.rows), split, str(path), ("row", 2))
        return cells, columns, number_labels(words[self.label], tasks, split, str(path), ("row", 2))

    @staticmethod
    def _words(cells: Cells, name: str) -> list[str]:
        """Return a column in which every cell has to say something."""
        column = cells.column(name)
        for row, cell in enumerate(column):
            if not cell:
                raise cells.error(row, name, cell, "this column may not be empty")
        return column

    def _targets(self, cells: Cells) -> list[float]:
        """Return the targets of regression."""
        targets = numbers_of(cells, self.label, 'a number is needed (target = "number")')
        for row, target in enumerate(targets):
            if math.isnan(target):
                raise cells.error(row, self.label, cells.column(self.label)[row], "a target may not be missing")
        return targets


def _kind(columns: tuple[Column, ...]) -> str:
    return "text" if all(column.kind == "text" for column in columns) else "table"
