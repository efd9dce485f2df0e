"""A folder of the user's own images, one folder per class."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from ...errors import DataError
from ..source import Sizes, Source, SourceData, source_setting
from ..source_files import find_path

_ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_PARTS = ("train", "test")
# Files that are opened before anything is loaded, to see whether they are pictures.
_LOOKED_AT = 1000


@dataclass(frozen=True)
class Folder(Source):
    """Your own images: one folder per class, named as the class.

    With the folders `train` and `test` at the top, each of which then holds the folders of the classes, the split is
    yours; without them it is drawn from the seed. Classes stand in the order of their names.
    """

    name: ClassVar[str] = "folder"
    paths: ClassVar[tuple[str, ...]] = ("path",)

    path: str = source_setting(..., "The folder, relative to the recipe's file or to the data root.")
    size: Annotated[int, Field(ge=2)] = source_setting(32, "Side that all images are resized to.", "pixels")
    grey: bool = source_setting(False, "Whether colours become grey levels: one channel in place of three.")
    crop: bool = source_setting(
        False, "Whether the largest square about the centre is taken; without it, images are stretched to a square."
    )

    def load(self, root: Path | None) -> SourceData:
        """Load the images; `x` has shape `(n, channels, size, size)`, uint8.

        Args:
            root: Folder that holds the user's data sets.

        Returns:
            The samples, in the order of parts, classes and names of files.

        Raises:
            DataMissing: If there is no such folder.
            DataError: If it holds no classes, or an image is damaged.
        """
        import numpy as np
        import torch

        from ..formats.pictures import read_picture

        parts, classes = self._files(root)
        images, labels = [], []
        for part in parts:
            for k, name in enumerate(classes):
                for file in part.get(name, ()):
                    images.append(read_picture(file, (self.size, self.size), self.grey, self.crop))
                    labels.append(k)
        x, y = torch.from_numpy(np.stack(images)), torch.tensor(labels)
        if len(parts) == 1:
            return SourceData(x, y, classes)
        count = sum(len(files) for files in parts[0].values())
        return SourceData(x, y, classes, parts=(torch.arange(count), torch.arange(count, len(y))))

    def sizes(self, root: Path | None) -> Sizes:
        """Say how much there is, from the names of the files, and look whether the first of them are pictures.

        Args:
            root: As in `load`.

        Raises:
            DataMissing: As `load`.
            DataError: As `load`; also if this machine has not the memory for so many images of this size.
        """
        parts, classes = self._files(root)
        files = [file for part in parts for name in classes for file in part.get(name, ())]
        self._fit_into_memory(len(files))
        from ..formats.pictures import check_picture

        for file in files[:_LOOKED_AT]:
            check_picture(file)
        train, *test = (tuple(len(part.get(name, ())) for name in classes) for part in parts)
        return Sizes(train, (1 if self.grey else 3, self.size, self.size), test[0] if test else None)

    def _fit_into_memory(self, images: int) -> None:
        """Refuse what could only fill the machine's memory for a minute and then fail."""
        channels = 1 if self.grey else 3
        needed, there = images * channels * self.size**2, _memory()
        if there is not None and needed > there // 2:
            what = f"{images} images of {channels} × {self.size} × {self.size} pixels take {needed / 1e9:,.1f} GB"
            raise DataError(
                f"{self.path}: size: found {self.size}; {what}, and half of this machine's memory is "
                f"{there / 2e9:,.1f} GB."
            )

    def _files(self, root: Path | None) -> tuple[list[dict[str, list[Path]]], tuple[str, ...]]:
        """List the images of every class, for each part, and the classes of the training part."""
        top = find_path(self.name, self.path, root)
        folders = _folders(top)
        split = [name for name in _PARTS if name in folders]
        if not split:
            parts = [_classes(top)]
        elif len(split) == 1 or len(folders) > 2:
            valid = "train/ and test/ stand together and alone, or neither is there"
            raise DataError(f"{top}: holds the folders {', '.join(folders)}; {valid}.")
        else:
            parts = [_classes(top / name) for name in _PARTS]
            unknown = [name for name in parts[1] if name not in parts[0]]
            if unknown:
                raise DataError(f"{top / 'test' / unknown[0]}: this class is not in {top / 'train'}.")
        return parts, tuple(parts[0])


def _memory() -> int | None:
    """Bytes of memory that this machine has; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _classes(folder: Path) -> dict[str, list[Path]]:
    """List the images of every class in a folder, both sorted."""
    found = {name: _images(folder / name) for name in _folders(folder)}
    if not found:
        raise DataError(f"{folder}: holds no folders; one folder of images per class is needed.")
    for name, images in found.items():
        if not images:
            raise DataError(f"{folder / name}: holds no image ({', '.join(each[1:] for each in _ENDINGS)}).")
    return found


def _folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DataError(f"{folder}: is no folder; one folder of images per class is needed.")
    return sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    return sorted(
        each for each in folder.iterdir() if each.suffix.lower() in _ENDINGS and not each.name.startswith(".")
    )
