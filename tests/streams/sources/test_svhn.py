from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat

from evermap.errors import DataError, DataMissing
from evermap.streams.source import make_source


def write(root: Path, part: str, labels: list[int]) -> np.ndarray:
    """The publisher's layout: images along the last axis, the digit 0 as 10."""
    root.mkdir(exist_ok=True)
    images = np.random.default_rng(len(labels)).integers(0, 256, (32, 32, 3, len(labels)), dtype=np.uint8)
    savemat(root / f"{part}_32x32.mat", {"X": images, "y": np.array(labels, np.uint8)[:, None]}, do_compression=True)
    return images


def source(**settings: Any) -> Any:
    return make_source("svhn", settings, "my.toml")


@pytest.mark.parametrize("below", ["", "SVHN"])
def test_images_and_digits(tmp_path: Path, below: str) -> None:
    train, test = write(tmp_path / below, "train", [10, 1, 9]), write(tmp_path / below, "test", [10, 2])
    data = source().load(tmp_path)
    assert data.x.dtype == torch.uint8
    assert data.x.shape == (5, 3, 32, 32)
    assert int(data.x[1, 2, 4, 7]) == train[4, 7, 2, 1]
    assert int(data.x[4, 0, 31, 0]) == test[31, 0, 0, 1]
    assert data.y.tolist() == [0, 1, 9, 0, 2]
    assert [part.tolist() for part in data.parts] == [[0, 1, 2], [3, 4]]
    assert source().sizes(tmp_path) == data.sizes


def test_extra_images_are_for_training(tmp_path: Path) -> None:
    for part, labels in (("train", [1]), ("extra", [2, 3]), ("test", [4])):
        write(tmp_path, part, labels)
    data = source(extra=True).load(tmp_path)
    assert data.y[data.parts[0]].tolist() == [1, 2, 3]
    assert source(extra=True).sizes(tmp_path) == data.sizes


def test_what_is_missing_or_wrong_is_named(tmp_path: Path) -> None:
    write(tmp_path, "train", [1, 11])
    with pytest.raises(DataMissing, match=r"svhn: test_32x32\.mat is missing; it was looked for in \S+/SVHN or "):
        source().sizes(tmp_path) if write(tmp_path, "train", [1]).size else None
    write(tmp_path, "test", [0])
    with pytest.raises(DataError, match=r"test_32x32\.mat: y: found 0; valid are 1 to 10"):
        source().sizes(tmp_path)
    savemat(tmp_path / "test_32x32.mat", {"y": np.array([[1]])})
    with pytest.raises(DataError, match=r"test_32x32\.mat: there is no variable 'X' in it"):
        source().load(tmp_path)
    (tmp_path / "test_32x32.mat").write_bytes(b"MATLAB, but not really")
    with pytest.raises(DataError, match=r"test_32x32\.mat: is no MATLAB file, or damaged"):
        source().load(tmp_path)
