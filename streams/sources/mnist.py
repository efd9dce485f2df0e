"""MNIST and its family: 28×28 grey images in idx files, as torchvision and the publishers lay them out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ...errors import DataError
from ..formats.idx import read_idx, read_shape
from ..source import Sizes, Source, SourceData, source_setting
from .files import DataSet, by_torchvision

_PARTS = ("train", "test")
_DIGITS = tuple("0123456789")
_CAPITALS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_SMALL = tuple("abcdefghijklmnopqrstuvwxyz")


class _IdxFiles(Source):
    """What the family has in common: four files under `FOLDER/raw`, or `FOLDER`, of the data root, gzipped or not."""

    folder: ClassVar[str]
    size: ClassVar[str]

    def classes(self) -> tuple[str, ...]:
        """Return the name of every class."""
        return _DIGITS

    def stem(self, part: str) -> str:
        """Return how the names of a part's files begin; `part` is "train" or "test"."""
        return {"train": "train", "test": "t10k"}[part]

    @property
    def first_label(self) -> int:
        """The label that stands for the first class."""
        return 0

    @property
    def transposed(self) -> bool:
        """Whether the files hold the images mirrored at the diagonal."""
        return False

    def load(self, root: Path | None) -> SourceData:
        """Load the images; `x` has shape `(n, 1, 28, 28)`, uint8, training images first.

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

        images, labels = [], []
        for part in _PARTS:
            shape, values = read_idx(self._images(root, part), 3)
            labels.append(np.frombuffer(self._labels(root, part), np.uint8))
            if len(labels[-1]) != shape[0]:
                raise DataError(
                    f"{self._images(root, part)}: holds {shape[0]} images, and there are {len(labels[-1])} labels."
                )
            images.append(np.frombuffer(values, np.uint8).reshape(shape))
        x = torch.from_numpy(np.concatenate(images)).unsqueeze(1)
        y = torch.from_numpy(np.concatenate(labels).astype(np.int64)) - self.first_label
        count = len(labels[0])
        parts = torch.arange(count), torch.arange(count, len(y))
        return SourceData(x.mT.contiguous() if self.transposed else x, y, self.classes(), parts=parts)

    def sizes(self, root: Path | None) -> Sizes:
        """Say how much there is, from the labels and the header of the images.

        Args:
            root: As in `load`.
        """
        shapes = [read_shape(self._images(root, part), 3) for part in _PARTS]
        counts = [Counter(self._labels(root, part)) for part in _PARTS]
        labels = range(self.first_label, self.first_label + len(self.classes()))
        train, test = (tuple(count[label] for label in labels) for count in counts)
        return Sizes(train, (1, *shapes[0][1:]), test)

    def download(self, root: Path) -> None:
        """Fetch the files with torchvision.

        Args:
            root: Folder that holds the user's data sets.
        """
        by_torchvision(self.name, root, self.folder)

    def _find(self, root: Path | None, part: str, rest: str) -> Path:
        name = f"{self.stem(part)}-{rest}"
        data_set = DataSet(self.name, (f"{self.folder}/raw", self.folder), self.size)
        return data_set.find(root, name, f"{name}.gz")

    def _images(self, root: Path | None, part: str) -> Path:
        return self._find(root, part, "images-idx3-ubyte")

    def _labels(self, root: Path | None, part: str) -> bytes:
        path = self._find(root, part, "labels-idx1-ubyte")
        labels = read_idx(path, 1)[1]
        valid = range(self.first_label, self.first_label + len(self.classes()))
        for label in set(labels):
            if label not in valid:
                where = f"sample {labels.index(label)} has the label {label}"
                raise DataError(f"{path}: {where}; {self.name} has {valid.start} to {valid.stop - 1}.")
        return labels


class Mnist(_IdxFiles):
    """Handwritten digits, 28×28 grey (LeCun, Cortes & Burges 1998)."""

    name: ClassVar[str] = "mnist"
    folder: ClassVar[str] = "MNIST"
    size: ClassVar[str] = "11 MB"


class FashionMnist(_IdxFiles):
    """Pieces of clothing from a shop's catalogue, 28×28 grey (Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747)."""

    name: ClassVar[str] = "fashion-mnist"
    folder: ClassVar[str] = "FashionMNIST"
    size: ClassVar[str] = "30 MB"

    def classes(self) -> tuple[str, ...]:
        """Return the name of every class."""
        clothes = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat")
        return (*clothes, "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


class Kmnist(_IdxFiles):
    """Handwritten Japanese characters, 28×28 grey, ten classes (Clanuwat et al. 2018, arXiv 1812.01718)."""

    name: ClassVar[str] = "kmnist"
    folder: ClassVar[str] = "KMNIST"
    size: ClassVar[str] = "20 MB"

    def classes(self) -> tuple[str, ...]:
        """Return the name of every class."""
        return ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


@dataclass(frozen=True)
class Emnist(_IdxFiles):
    """Handwritten letters and digits of NIST's special database 19, 28×28 grey (Cohen et al. 2017, arXiv 1702.05373).

    The files hold the images transposed; here they stand upright.
    """

    name: ClassVar[str] = "emnist"
    folder: ClassVar[str] = "EMNIST"
    size: ClassVar[str] = "560 MB"

    split: Literal["balanced", "byclass", "bymerge", "letters", "digits", "mnist"] = source_setting(
        "balanced",
        'Which of the six data sets: "balanced" (47 classes), "byclass" (62), "bymerge" (47), "letters" (26), "digits" '
        'or "mnist" (10 each).',
    )

    def classes(self) -> tuple[str, ...]:
        """Return the name of every class."""
        if self.split == "letters":
            return _SMALL
        if self.split == "byclass":
            return (*_DIGITS, *_CAPITALS, *_SMALL)
        # Small letters that look like their capitals are merged with them.
        return _DIGITS if self.split in ("digits", "mnist") else (*_DIGITS, *_CAPITALS, *"abdefghnqrt")

    def stem(self, part: str) -> str:
        """Return how the names of a part's files begin; `part` is "train" or "test"."""
        return f"emnist-{self.split}-{part}"

    @property
    def first_label(self) -> int:
        """The label that stands for the first class: the letters' begin at 1."""
        return int(self.split == "letters")

    @property
    def transposed(self) -> bool:
        """Whether the files hold the images mirrored at the diagonal: they do."""
        return True

    def download(self, root: Path) -> None:
        """Fetch the files with torchvision.

        Args:
            root: Folder that holds the user's data sets.
        """
        by_torchvision(self.name, root, self.folder, split=self.split)
