"""SVHN: digits of house numbers photographed in streets, 32×32 in colour."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import DataError
from ..source import Sizes, Source, SourceData, source_setting
from .files import DataSet, by_torchvision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Svhn(Source):
    """Digits of house numbers photographed in streets, 32×32 in colour, cropped (Netzer et al. 2011)."""

    name: ClassVar[str] = "svhn"
    extra: bool = source_setting(False, "Whether the 531,131 easier extra images are added to the training part.")

    def load(self, root: Path | None) -> SourceData:
        """Load the images; `x` has shape `(n, 3, 32, 32)`, uint8, training images first.

        Args:
            root: Folder that holds the user's data sets.

        Returns:
            The samples, with the publisher's own split; the label 10 of the files is the digit 0.

        Raises:
            DataMissing: If a file is missing.
            DataError: If one is damaged.
        """
        import numpy as np
        import torch

        images, labels = [], []
        for part in self._parts():
            path = self._find(root, part)
            x = _read(path, "X")
            labels.append(_labels(path))
            if x.ndim != 4 or x.shape[2] != 3 or x.dtype != np.uint8 or x.shape[3] != len(labels[-1]):
                found = f"{x.dtype} {x.shape} and {len(labels[-1])} labels"
                raise DataError(f"{path}: X: found {found}; unsigned bytes of shape (height, width, 3, n) are needed.")
            images.append(x.transpose(3, 2, 0, 1))
        joined = torch.from_numpy(np.ascontiguousarray(np.concatenate(images)))
        y = torch.from_numpy(np.concatenate(labels))
        count = len(y) - len(labels[-1])
        parts = torch.arange(count), torch.arange(count, len(y))
        return SourceData(joined, y, tuple("0123456789"), parts=parts)

    def sizes(self, root: Path | None) -> Sizes:
        """Say how much there is, from the labels alone.

        Args:
            root: As in `load`.
        """
        import numpy as np

        *train, test = (np.bincount(_labels(self._find(root, part)), minlength=10) for part in self._parts())
        return Sizes(tuple(np.sum(train, axis=0).tolist()), (3, 32, 32), tuple(test.tolist()))

    def download(self, root: Path) -> None:
        """Fetch the files with torchvision.

        Args:
            root: Folder that holds the user's data sets.
        """
        for part in self._parts():
            by_torchvision(self.name, root, "SVHN", split=part)

    def _parts(self) -> tuple[str, ...]:
        """Return the files that are read, the test part last."""
        return ("train", "extra", "test") if self.extra else ("train", "test")

    def _find(self, root: Path | None, part: str) -> Path:
        size = "1.6 GB" if self.extra else "250 MB"
        return DataSet(self.name, ("SVHN", "svhn", ""), size).find(root, f"{part}_32x32.mat")


def _read(path: Path, name: str) -> NDArray[Any]:
    """Read one variable of a MATLAB file."""
    from scipy.io import loadmat

    try:
        found: NDArray[Any] = loadmat(path, variable_names=[name])[name]
    except KeyError:
        raise DataError(f"{path}: there is no variable {name!r} in it.") from None
    except Exception as error:  # a damaged file may raise anything
        raise DataError(f"{path}: is no MATLAB file, or damaged: {type(error).__name__}: {error}.") from error
    return found


def _labels(path: Path) -> NDArray[np.int64]:
    """Read the labels as digits, shape `(n,)`."""
    import numpy as np

    labels = _read(path, "y").reshape(-1).astype(np.int64)
    wrong = labels[(labels < 1) | (labels > 10)]
    if len(wrong):
        raise DataError(f"{path}: y: found {wrong[0]}; valid are 1 to 10, and 10 is the digit 0.")
    return labels % 10
