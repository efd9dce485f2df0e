"""Inputs from files, brought into the form in which a stream's inputs come: float32 in [0, 1], of one shape."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, InputError
from ..streams.formats.rows import columns_of, encode
from ..streams.formats.table import read_cells
from ..streams.scaling import Scaling

IMAGES = (".png", ".jpg", ".jpeg")
ARRAYS = (".npy", ".npz")
# What full brightness is where whole numbers are stored.
_FULL = {"uint8": 255.0, "uint16": 65535.0, "bool": 1.0}


def read_inputs(
    path: Path,
    shape: Sequence[int],
    *,
    resize: bool = False,
    scale: float | None = None,
    table: Mapping[str, Any] | None = None,
) -> tuple[Tensor, list[str]]:
    """Read inputs: an image, a folder of images, an array, or rows of numbers.

    Images are read as grey or colour, by the number of channels, and divided by 255. Arrays of 8-bit or 16-bit whole
    numbers are divided by the greatest of them; other numbers must lie in [0, 1], or `scale` says what 1 is.

    Args:
        path: A `.png` or `.jpg`, a folder of them, a `.npy` or `.npz` (its array "x", or its only one), or a `.csv`
            of numbers, one input a line; for a run on a table, rows with its header.
        shape: Shape of one input, as the run had them.
        resize: Whether images of another size are resized.
        scale: What arrays and rows are divided by.
        table: How rows of the run's table became inputs, as its record has it (`Stream.table`); None where it had none.

    Returns:
        Inputs, float32, shape `(n, *shape)`, in [0, 1] but for the numbers of a table; and a name for each.

    Raises:
        InputError: If there is nothing to read, or it is of another shape or out of range.
    """
    shape = tuple(shape)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGES)
        if not files:
            raise InputError(f"{path}: holds no images; valid are {', '.join(IMAGES)}.")
        return torch.cat([_image(file, shape, resize) for file in files]), [file.name for file in files]
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder.")
    suffix = path.suffix.lower()
    if suffix in IMAGES:
        return _image(path, shape, resize), [path.name]
    if suffix in ARRAYS:
        found = _scaled(path, _array(path), scale)
        x = _shaped(path, found, shape)
    elif table is not None and suffix in (".csv", ".tsv"):
        return _rows_of(path, table)
    elif suffix == ".csv":
        found = _scaled(path, _rows(path), scale)
        if found.shape[1] != math.prod(shape):
            raise InputError(f"{path}: has rows of {found.shape[1]} numbers; an input has {_said(shape)}.")
        x = found.reshape(-1, *shape)
    else:
        valid = ", ".join((*IMAGES, *ARRAYS, ".csv"))
        raise InputError(f"{path}: cannot be read as inputs; valid are {valid}, and folders of images.")
    return torch.from_numpy(np.ascontiguousarray(x)), [f"{path.name} {number}" for number in range(1, len(x) + 1)]


def _rows_of(path: Path, table: Mapping[str, Any]) -> tuple[Tensor, list[str]]:
    """Read rows of the user's table by the names of its columns; others, the label among them, are not looked at."""
    columns = columns_of(table)
    try:
        cells = read_cells(path, table["delimiter"])
        missing = [column.name for column in columns if column.name not in cells.header]
        if missing:
            needed = ", ".join(column.name for column in columns)
            raise InputError(f"{path}: there is no column {missing[0]!r}; the run's rows have {needed}.")
        x = torch.from_numpy(encode(cells, columns, table["text_features"]))
    except DataError as error:
        raise InputError(str(error)) from None
    if table["scaling"] is not None:
        mean, sd = (torch.tensor(table["scaling"][key], dtype=torch.float64) for key in ("mean", "sd"))
        x = Scaling(torch.tensor(table["numbers"]), mean, sd).apply(x)
    return x, [f"{path.name} row {number}" for number in range(2, len(x) + 2)]


def _image(path: Path, shape: tuple[int, ...], resize: bool) -> Tensor:
    from PIL import Image, UnidentifiedImageError

    if len(shape) != 3 or shape[0] not in (1, 3):
        raise InputError(f"{path}: is an image; the run's inputs have the shape {_said(shape)}: give an array or rows.")
    channels, height, width = shape
    try:
        with Image.open(path) as opened:
            deep = opened.mode.startswith("I")
            image = opened if deep and channels == 1 else opened.convert("L" if channels == 1 else "RGB")
            if image.size != (width, height):
                if not resize:
                    found = f"{image.size[1]} × {image.size[0]} pixels"
                    raise InputError(
                        f"{path}: has {found}; the run's images have {height} × {width}: resize it, or give --resize."
                    )
                image = image.resize((width, height), Image.Resampling.BILINEAR)
            pixels = np.asarray(image, dtype=np.float32) / (_FULL["uint16"] if deep and channels == 1 else 255.0)
    except UnidentifiedImageError:
        raise InputError(f"{path}: is no image.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read as an image ({error}).") from error
    x = torch.from_numpy(pixels.copy())
    return (x[None] if channels == 1 else x.permute(2, 0, 1)).contiguous()[None]


def _array(path: Path) -> np.ndarray[Any, Any]:
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            names = list(found.files)
            if "x" not in names and len(names) != 1:
                raise InputError(
                    f'{path}: has the arrays {", ".join(names) or "none"}; one of them must be called "x".'
                )
            array: np.ndarray[Any, Any] = found["x" if "x" in names else names[0]]
            return array
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as an array ({error}).") from error


def _rows(path: Path) -> np.ndarray[Any, Any]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = [(number, line) for number, line in enumerate(csv.reader(file), start=1) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as rows of numbers ({error}).") from error
    rows: list[list[float]] = []
    for position, (number, line) in enumerate(lines):
        try:
            row = [float(cell) for cell in line]
        except ValueError:
            if position == 0:
                continue  # a line of headings
            raise InputError(f"{path}: line {number} is no row of numbers: {', '.join(line)[:60]}.") from None
        if rows and len(row) != len(rows[0]):
            raise InputError(f"{path}: line {number} has {len(row)} numbers, the first row has {len(rows[0])}.")
        rows.append(row)
    if not rows:
        raise InputError(f"{path}: holds no rows of numbers.")
    return np.array(rows, dtype=np.float64)


def _scaled(path: Path, found: np.ndarray[Any, Any], scale: float | None) -> np.ndarray[Any, Any]:
    if found.dtype.kind not in "fiub":
        raise InputError(f"{path}: holds {found.dtype}, not numbers.")
    if not found.size:
        raise InputError(f"{path}: is empty.")
    x = found.astype(np.float64) / (scale or _FULL.get(str(found.dtype), 1.0))
    low, high = float(x.min()), float(x.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"{path}: holds NaN or infinity.")
    if low < 0 or high > 1:
        raise InputError(
            f"{path}: has values from {low:g} to {high:g}; inputs lie between 0 and 1. "
            "--scale NUMBER divides by what 1 is."
        )
    return x.astype(np.float32)


def _shaped(path: Path, x: np.ndarray[Any, Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    accepted = [shape] + ([shape[1:]] if len(shape) == 3 and shape[0] == 1 else [])
    for each in accepted:
        if x.shape == each or x.shape[1:] == each:
            return x.reshape(-1, *shape)
    raise InputError(
        f"{path}: has the shape {_said(x.shape)}; it must be {_said(shape)}, or n × {_said(shape)} for n inputs."
    )


def _said(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape)) or "a single number"
