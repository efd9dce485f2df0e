"""CIFAR-10 and CIFAR-100: 32×32 colour photographs, in the publisher's batches for Python."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ...errors import DataError
from ..source import Sizes, Source, SourceData, source_setting
from .files import DataSet, by_torchvision, read_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PIXELS = 3 * 32 * 32


class _Batches(Source):
    """What both have in common: a folder of batches under the data root, or the archive that it comes in."""

    folder: ClassVar[str]
    archive: ClassVar[str]
    size: ClassVar[str]
    dataset: ClassVar[str]
    # Names of the files of the training and of the test part, and of the file that names the classes.
    files: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]]
    meta: ClassVar[str]

    @property
    def keys(self) -> tuple[str, str]:
        """The keys of the labels in a batch, and of the classes' names."""
        return "labels", "label_names"

    def load(self, root: Path | None) -> SourceData:
        """Load the images; `x` has shape `(n, 3, 32, 32)`, uint8, training images first.

        Args:
            root: Folder that holds the user's data sets.

        Returns:
            The samples, with the publisher's own split.

        Raises:
            DataMissing: If a file is missing.
            DataError: If one is damaged.
        """
        import numpy as np
        import torch

        batches, classes = self._read(root)
        x = torch.from_numpy(np.concatenate([images for part in batches for images, _ in part]).reshape(-1, 3, 32, 32))
        y = torch.from_numpy(np.concatenate([labels for part in batches for _, labels in part]))
        count = sum(len(labels) for _, labels in batches[0])
        return SourceData(x, y, classes, parts=(torch.arange(count), torch.arange(count, len(y))))

    def sizes(self, root: Path | None) -> Sizes:
        """Say how much there is; the labels stand in the same files as the images, so all of them are read.

        Args:
            root: As in `load`.
        """
        import numpy as np

        batches, classes = self._read(root)
        train, test = (
            tuple(np.bincount(np.concatenate([labels for _, labels in part]), minlength=len(classes)).tolist())
            for part in batches
        )
        return Sizes(train, (3, 32, 32), test)

    def download(self, root: Path) -> None:
        """Fetch the archive with torchvision, and unpack it.

        Args:
            root: Folder that holds the user's data sets.
        """
        by_torchvision(self.name, root, self.dataset)

    def _read(
        self, root: Path | None
    ) -> tuple[list[list[tuple[NDArray[np.uint8], NDArray[np.int64]]]], tuple[str, ...]]:
        """Read images, shape `(n, 3072)`, and labels of every batch of both parts, and the names of the classes."""
        from ..formats.cifar_batch import read_batch

        place = DataSet(self.name, ("",), self.size).find(root, self.folder, self.archive)
        wanted = [*self.files[0], *self.files[1], self.meta]
        contents = {name: (place / self.folder / name, content) for name, content in self._contents(place, wanted)}
        path, content = contents[self.meta]
        classes = tuple(str(each) for each in _value(read_batch(content, path), self.keys[1], path))
        batches = [
            [
                self._batch(read_batch(contents[name][1], contents[name][0]), len(classes), contents[name][0])
                for name in part
            ]
            for part in self.files
        ]
        return batches, classes

    def _contents(self, place: Path, wanted: Sequence[str]) -> list[tuple[str, bytes]]:
        """Read the files from the folder, or from the archive."""
        if place.is_dir():
            files = DataSet(self.name, (self.folder,), self.size)
            return [(name, read_bytes(files.find(place.parent, name))) for name in wanted]
        try:
            with tarfile.open(place) as archive:
                found = []
                for name in wanted:
                    member = archive.extractfile(f"{self.folder}/{name}")
                    if member is None:
                        raise KeyError(name)
                    found.append((name, member.read()))
                return found
        except (tarfile.TarError, OSError, EOFError, zlib.error, KeyError) as error:
            raise DataError(f"{place}: is no archive of {self.name}, or damaged: {error}.") from error

    def _batch(self, batch: Any, classes: int, path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Take images and labels from a batch, and check that they fit."""
        import numpy as np

        images, labels = _value(batch, "data", path), np.asarray(_value(batch, self.keys[0], path))
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (_PIXELS,):
            shape = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
            raise DataError(f"{path}: data: found {shape}; unsigned bytes of shape (n, {_PIXELS}) are needed.")
        if labels.shape != images.shape[:1]:
            raise DataError(f"{path}: {self.keys[0]}: found {labels.size} labels; there are {len(images)} images.")
        wrong = labels[(labels < 0) | (labels >= classes)]
        if len(wrong):
            raise DataError(f"{path}: {self.keys[0]}: found {wrong[0]}; there are {classes} classes, from 0.")
        return images, labels.astype(np.int64)


class Cifar10(_Batches):
    """Photographs of ten kinds of things, 32×32 in colour (Krizhevsky 2009)."""

    name: ClassVar[str] = "cifar10"
    folder: ClassVar[str] = "cifar-10-batches-py"
    archive: ClassVar[str] = "cifar-10-python.tar.gz"
    size: ClassVar[str] = "170 MB"
    dataset: ClassVar[str] = "CIFAR10"
    files: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]] = (
        ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"),
        ("test_batch",),
    )
    meta: ClassVar[str] = "batches.meta"


@dataclass(frozen=True)
class Cifar100(_Batches):
    """Photographs of a hundred kinds of things, or of their twenty superclasses, 32×32 in colour (Krizhevsky 2009)."""

    name: ClassVar[str] = "cifar100"
    folder: ClassVar[str] = "cifar-100-python"
    archive: ClassVar[str] = "cifar-100-python.tar.gz"
    size: ClassVar[str] = "170 MB"
    dataset: ClassVar[str] = "CIFAR100"
    files: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]] = (("train",), ("test",))
    meta: ClassVar[str] = "meta"

    labels: Literal["fine", "coarse"] = source_setting(
        "fine", 'Which labels: the hundred "fine" ones, or the twenty "coarse" ones.'
    )

    @property
    def keys(self) -> tuple[str, str]:
        """The keys of the labels in a batch, and of the classes' names."""
        return f"{self.labels}_labels", f"{self.labels}_label_names"


def _value(batch: Any, key: str, path: Path) -> Any:
    if key not in batch:
        raise DataError(f"{path}: there is no {key!r} in it; it holds {', '.join(map(str, batch))}.")
    return batch[key]
