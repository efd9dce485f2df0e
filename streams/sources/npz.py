"""Arrays of the user's own in one NumPy file: `x`, `y`, and optionally `task` and `split`."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ...errors import DataError
from ..source import Sizes, Source, SourceData, find_path, source_setting
from .labels import Labels, number_labels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Npz(Source):
    """Your own arrays, as `numpy.savez` writes them: inputs `x`, labels `y`, optionally `task` and `split`.

    `x` holds rows `(n, d)` of a table, grey images `(n, height, width)`, or images with a last or a second axis of one
    or three channels; images are whole numbers from 0 to 255 or floats from 0 to 1. `y` holds labels, whole numbers or
    texts; floats make it regression, with one or more targets `(n,)` or `(n, outputs)`. `task` says which task a sample
    belongs to: its classes are then called "task/label" and are a family, and a label that several tasks have means the
    same in all of them; in regression every task is a function of its own. `split` says "train" or "test" (or 0 and 1).
    """

    name: ClassVar[str] = "npz"
    paths: ClassVar[tuple[str, ...]] = ("path",)

    path: str = source_setting(..., "The .npz file, relative to the recipe's file or to the data root.")
    kind: Literal["auto", "image", "table", "text"] = source_setting(
        "auto",
        'What x holds: "image" or "table", by its shape ("auto"); "text" for texts as vectors in [0, 1].',
    )
    standardise: bool = source_setting(
        True, "Whether the columns of a table are brought to mean 0 and deviation 1 by the training samples."
    )

    def load(self, root: Path | None) -> SourceData:
        """Load the arrays.

        Args:
            root: Folder that holds the user's data sets.

        Returns:
            The samples.

        Raises:
            DataMissing: If there is no such file.
            DataError: If an array is missing, or not what it should be.
        """
        import numpy as np
        import torch

        path, labels, targets = self._read(root)
        x = _array(path, "x")
        kind = self._kind(x.shape, path)
        x = _as_images(x, path) if kind == "image" else _as_rows(x, kind, path)
        test = None if labels.test is None else torch.tensor(labels.test)
        return SourceData(
            torch.from_numpy(np.ascontiguousarray(x)),
            torch.tensor(labels.y),
            labels.classes,
            kind,
            None if test is None else (torch.nonzero(~test).flatten(), torch.nonzero(test).flatten()),
            labels.families,
            labels.ids,
            None if targets is None else torch.from_numpy(targets),
            tuple(range(x.shape[1])) if kind == "table" and self.standardise else (),
        )

    def sizes(self, root: Path | None) -> Sizes:
        """Say how much there is, from the labels and the header of `x`.

        Args:
            root: As in `load`.
        """
        path, labels, targets = self._read(root)
        shape = _shape(path, "x")
        kind = self._kind(shape, path)
        if len(labels.y) != shape[0]:
            raise DataError(f"{path}: x has {shape[0]} samples, and y {len(labels.y)}.")
        inner = _channels_first(shape, path)[1:] if kind == "image" else shape[1:]
        return labels.sizes(inner, kind, 0 if targets is None else targets.shape[1])

    def _kind(self, shape: tuple[int, ...], path: Path) -> str:
        kind = self.kind if self.kind != "auto" else "image" if len(shape) > 2 else "table"
        if (kind == "image" and len(shape) not in (3, 4)) or (kind != "image" and len(shape) != 2) or 0 in shape:
            valid = "images have three or four axes, tables and texts two, none of them empty"
            raise DataError(f"{path}: x: found the shape {shape} for the kind {kind!r}; {valid}.")
        return kind

    def _read(self, root: Path | None) -> tuple[Path, Labels, NDArray[np.float32] | None]:
        """Read everything but `x`: the path, the classes, and the targets of regression, shape `(n, outputs)`."""
        import numpy as np

        path = find_path(self.name, self.path, root)
        y, targets = _array(path, "y"), None
        count = _shape(path, "x")[0] if _shape(path, "x") else 0
        if np.issubdtype(y.dtype, np.floating):
            if y.ndim not in (1, 2) or not np.isfinite(y).all():
                raise DataError(
                    f"{path}: y: found the shape {y.shape}; finite targets (n,) or (n, outputs) are needed."
                )
            targets = y.reshape(len(y), -1).astype(np.float32)
        elif y.ndim != 1 or y.dtype.kind not in "biuUS":
            raise DataError(f"{path}: y: found {y.dtype} {y.shape}; one whole number or text per sample is needed.")
        words = {}
        for name in ("task", "split"):
            found = _array(path, name) if name in _names(path) else None
            if found is not None and (found.ndim != 1 or found.dtype.kind not in "biuUS"):
                raise DataError(f"{path}: {name}: found {found.dtype} {found.shape}; one word or number per sample.")
            words[name] = None if found is None else _texts(found)
        for name, values in (("y", y), *words.items()):
            if values is not None and len(values) != count:
                raise DataError(f"{path}: {name} has {len(values)} entries; x has {count} samples.")
        labels = _texts(y) if targets is None else None
        tasks = words["task"] if labels or words["task"] else ["all"] * count
        return path, number_labels(labels, tasks, words["split"], str(path)), targets


def _texts(values: NDArray[Any]) -> list[str]:
    return [
        str(each.decode() if isinstance(each, bytes) else int(each) if each is True or each is False else each)
        for each in values.tolist()
    ]


def _as_images(x: NDArray[Any], path: Path) -> NDArray[Any]:
    """Bring images to shape `(n, channels, height, width)`: bytes, or float32 in [0, 1]."""
    import numpy as np

    whole = np.issubdtype(x.dtype, np.integer) or x.dtype == np.bool_
    low, high = (float(x.min()), float(x.max())) if x.dtype.kind in "biuf" else (np.nan, np.nan)
    if not (low >= 0 and high <= (255 if whole else 1)):  # NaN is neither
        raise DataError(
            f"{path}: x: found {x.dtype} from {low:g} to {high:g}; images are whole numbers from 0 to 255 or floats "
            'from 0 to 1 (kind = "table" takes any numbers, in rows).'
        )
    x = x * np.uint8(255) if x.dtype == np.bool_ else x.astype(np.uint8 if whole else np.float32)
    shape = _channels_first(x.shape, path)
    return x.transpose(0, 3, 1, 2) if x.ndim == 4 and shape != x.shape else x.reshape(shape)


def _as_rows(x: NDArray[Any], kind: str, path: Path) -> NDArray[Any]:
    """Check rows of numbers, and bring them to float32."""
    import numpy as np

    if x.dtype.kind not in "biuf":
        raise DataError(f"{path}: x: found {x.dtype}; numbers are needed.")
    rows = x.astype(np.float32)
    wrong = np.argwhere(~np.isfinite(rows) if kind == "text" else np.isinf(rows))
    if kind == "text":
        wrong = np.concatenate([wrong, np.argwhere((rows < 0) | (rows > 1))])
    if len(wrong):
        row, column = wrong[0]
        valid = "finite numbers are needed (NaN stands for a missing one)" if kind == "table" else "0 to 1 is valid"
        raise DataError(f"{path}: x: found {rows[row, column]} in row {row}, column {column}; {valid}.")
    return rows


def _channels_first(shape: tuple[int, ...], path: Path) -> tuple[int, ...]:
    """Return the shape of images with their channels in front."""
    if len(shape) == 3:
        return (shape[0], 1, *shape[1:])
    if shape[1] in (1, 3):
        return shape
    if shape[3] in (1, 3):
        return (shape[0], shape[3], shape[1], shape[2])
    raise DataError(f"{path}: x: found the shape {shape}; images have one or three channels, second or last.")


def _names(path: Path) -> list[str]:
    return [name.removesuffix(".npy") for name in _opened(path, lambda archive: archive.namelist())]


def _array(path: Path, name: str) -> NDArray[Any]:
    """Read one array; one that holds Python objects is refused."""
    import numpy as np

    _check_there(path, name)

    def read(archive: zipfile.ZipFile) -> Any:
        with archive.open(f"{name}.npy") as file:
            return np.lib.format.read_array(file, allow_pickle=False)

    found: NDArray[Any] = _opened(path, read, name)
    return found


def _shape(path: Path, name: str) -> tuple[int, ...]:
    """Read the shape of an array without the array."""
    import numpy as np

    _check_there(path, name)

    def read(archive: zipfile.ZipFile) -> Any:
        with archive.open(f"{name}.npy") as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            return header(file)[0]

    return tuple(_opened(path, read, name))


def _check_there(path: Path, name: str) -> None:
    if name not in _names(path):
        raise DataError(f"{path}: there is no array {name!r} in it; it holds {', '.join(_names(path)) or 'nothing'}.")


def _opened(path: Path, read: Any, name: str = "") -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            return read(archive)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        what = f"{name}: cannot be read" if name else "is no .npz file, or damaged"
        raise DataError(f"{path}: {what}: {error}.") from error
