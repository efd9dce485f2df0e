"""DTD: textures that people describe with one of 47 words, photographs of many sizes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from ...errors import DataError
from ..source import Sizes, Source, SourceData, source_setting
from .files import DataSet, by_torchvision, read_bytes


@dataclass(frozen=True)
class Dtd(Source):
    """Photographs of textures in 47 classes of 120, the Describable Textures Dataset (Cimpoi et al. 2014).

    The publisher splits it ten times into thirds for training, validation and testing; here validation images are for
    training too, as in CTrL (Veniat 2021).
    """

    name: ClassVar[str] = "dtd"
    partition: Annotated[int, Field(ge=1, le=10)] = source_setting(1, "Which of the publisher's ten splits.")
    size: Annotated[int, Field(ge=8, le=300)] = source_setting(32, "Side that all images are resized to.", "pixels")
    crop: bool = source_setting(
        True, "Whether the largest square about the centre is taken; without it, images are stretched to a square."
    )

    def load(self, root: Path | None) -> SourceData:
        """Load the images; `x` has shape `(n, 3, size, size)`, uint8, training images first.

        Args:
            root: Folder that holds the user's data sets.

        Returns:
            The samples, in the order of the publisher's lists, with the publisher's split.

        Raises:
            DataMissing: If a file is missing.
            DataError: If one is damaged, or a list names what is none of its images.
        """
        import numpy as np
        import torch

        from ..formats.pictures import read_picture

        train, test, classes = self._listed(root)
        images, labels = [], []
        for name in (*train, *test):
            picture = self._data_set().find(root, f"images/{name}")
            images.append(read_picture(picture, (self.size, self.size), grey=False, crop=self.crop))
            labels.append(classes.index(name.partition("/")[0]))
        parts = torch.arange(len(train)), torch.arange(len(train), len(labels))
        return SourceData(torch.from_numpy(np.stack(images)), torch.tensor(labels), classes, parts=parts)

    def sizes(self, root: Path | None) -> Sizes:
        """Say how much there is, from the lists alone.

        Args:
            root: As in `load`.
        """
        train, test, classes = self._listed(root)
        counts = [[name.partition("/")[0] for name in part] for part in (train, test)]
        samples, tested = (tuple(map(each.count, classes)) for each in counts)
        return Sizes(samples, (3, self.size, self.size), tested)

    def download(self, root: Path) -> None:
        """Fetch the files with torchvision.

        Args:
            root: Folder that holds the user's data sets.
        """
        by_torchvision(self.name, root, "DTD", partition=self.partition)

    def _data_set(self) -> DataSet:
        return DataSet(self.name, ("dtd/dtd", "dtd"), "630 MB")

    def _listed(self, root: Path | None) -> tuple[list[str], list[str], tuple[str, ...]]:
        """Read the names of the training and of the test images ("banded/banded_0002.jpg"), and the classes, sorted."""
        train = [name for part in ("train", "val") for name in _names(self._list(root, part))]
        test, known = _names(self._list(root, "test")), set(train)
        classes = tuple(sorted({name.partition("/")[0] for name in train}))
        for name in test:
            if name in known:
                raise DataError(f"{self._list(root, 'test')}: {name} is a training image as well.")
            if name.partition("/")[0] not in classes:
                raise DataError(f"{self._list(root, 'test')}: {name}: no training image is of this class.")
        return train, test, classes

    def _list(self, root: Path | None, part: str) -> Path:
        return self._data_set().find(root, f"labels/{part}{self.partition}.txt")


def _names(path: Path) -> list[str]:
    """Read a list of images, one CLASS/FILE a line."""
    names = read_bytes(path).decode("utf-8", "replace").split()
    wrong = next(
        (name for name in names if len(parts := name.split("/")) != 2 or not all(parts) or ".." in parts), None
    )
    if wrong is not None or not names:
        raise DataError(f"{path}: found {wrong or 'nothing'!r}; every line names an image as CLASS/FILE.")
    return names
