"""Arrays of the user's own in one NumPy file: `x`, `y`, and optionally `task` and `split`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ...errors import DataError
from ..source import Sizes, Source, SourceData, source_setting
from ..source_files import find_path
from .labels import Labels, number_labels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..formats.arrays import Arrays


@dataclass(frozen=True)
class Npz(Source):
    """Your own arrays, as `numpy.savez` writes them: inputs `x`, labels `y`, optionally `task` and `split`.

    `x` holds rows `(n, d)` of a table, grey images `(n, height, width)`, or images with a last or a second axis of one
    or three channels; images are whole numbers from 0 to 255 or floats from 0 to 1. `y` holds labels, whole numbers or
    texts; with `target = "number"` it is what is to be predicted (regression), `(n,)` or `(n, outputs)`. `task` says
    which task a sample belongs to: its classes are then called "task/label" and are a family, and a label that several
    tasks have means the same in all of them; in regression every task is a function of its own. `split` says "train" or
    "test" (or 0 and 1).
    """

    name: ClassVar[str] = "npz"
    paths: ClassVar[tuple[str, ...]] = ("path",)

    path: str = source_setting(..., "The .npz file, relative to the recipe's file or to the data root.")
    target: Literal["class", "number"] = source_setting("class", 'Whether y holds a "class" or a "number" to predict.')
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

        arrays, labels, targets = self._read(root)
        x = arrays.read("x")
        kind = self._kind(x.shape, arrays.path)
        x = _as_images(x, arrays.path) if kind == "image" else _as_rows(x, kind, arrays.path)
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
        arrays, labels, targets = self._read(root)
        shape = arrays.shape("x")
        kind = self._kind(shape, arrays.path)
        inner = _channels_first(shape, arrays.path)[1:] if kind == "image" else shape[1:]
        return labels.sizes(inner, kind, 0 if targets is None else targets.shape[1])

    def _kind(self, shape: tuple[int, ...], path: Path) -> str:
        kind = self.kind if self.kind != "auto" else "image" if len(shape) > 2 else "table"
        if (kind == "image" and len(shape) not in (3, 4)) or (kind != "image" and len(shape) != 2) or 0 in shape:
            valid = "images have three or four axes, tables and texts two, none of them empty"
            raise DataError(f"{path}: x: found the shape {shape} for the kind {kind!r}; {valid}.")
        return kind

    def _read(self, root: Path | None) -> tuple[Arrays, Labels, NDArray[np.float32] | None]:
        """Read everything but `x`: the classes, and the targets of regression, shape `(n, outputs)`."""
        from ..formats.arrays import Arrays

        arrays = Arrays(find_path(self.name, self.path, root))
        count = next(iter(arrays.shape("x")), 0)
        wanted = ("y", *(name for name in ("task", "split") if name in arrays.names))
        found = {name: arrays.read(name) for name in wanted}
        for name, values in found.items():
            if values.ndim == 0 or len(values) != count:
                raise DataError(f"{arrays.path}: {name} has {values.size} entries; x has {count} samples.")
        words = {name: _words(values, arrays.path, name) for name, values in found.items() if name != "y"}
        if self.target == "number":
            tasks = words.get("task") or ["all"] * count
            labels = number_labels(None, tasks, words.get("split"), str(arrays.path))
            return arrays, labels, _targets(found["y"], arrays.path)
        labels = number_labels(
            _words(found["y"], arrays.path, "y"), words.get("task"), words.get("split"), str(arrays.path)
        )
        return arrays, labels, None


def _words(values: NDArray[Any], path: Path, name: str) -> list[str]:
    """Read labels: texts, or whole numbers, which may be stored as floats."""
    import numpy as np

    if values.ndim == 1 and values.dtype.kind == "f" and (np.isfinite(values) & (values == np.floor(values))).all():
        values = values.astype(np.int64)
    if values.ndim != 1 or values.dtype.kind not in "biuUS":
        hint = ' (target = "number" takes any numbers)' if name == "y" and values.dtype.kind == "f" else ""
        valid = f"one whole number or text per sample is needed{hint}"
        raise DataError(f"{path}: {name}: found {values.dtype} {values.shape}; {valid}.")
    if values.dtype.kind == "b":
        values = values.astype(np.int64)
    return [each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in values.tolist()]


def _targets(y: NDArray[Any], path: Path) -> NDArray[np.float32]:
    """Read the targets of regression, shape `(n, outputs)`."""
    import numpy as np

    if y.dtype.kind not in "biuf" or y.ndim not in (1, 2) or not np.isfinite(y).all():
        found = f"{y.dtype} {y.shape}"
        raise DataError(f"{path}: y: found {found}; finite targets of shape (n,) or (n, outputs) are needed.")
    return y.reshape(len(y), -1).astype(np.float32)


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
