from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from evermap.errors import DataError, DataMissing
from evermap.streams.source import make_source


def picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (10, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def source(path: Path, **settings: Any) -> Any:
    return make_source("folder", {"path": str(path), **settings}, "my.toml")


def test_one_folder_per_class_in_the_order_of_names(tmp_path: Path) -> None:
    picture(tmp_path / "dog" / "b.JPG", (0, 255, 0))
    picture(tmp_path / "cat" / "2.png", (255, 0, 0))
    picture(tmp_path / "cat" / "1.bmp", (0, 0, 255), (3, 3))
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "cat" / ".hidden.png").write_text("no image")
    (tmp_path / ".git").mkdir()
    data = source(tmp_path, size=4).load(None)
    assert data.classes == ("cat", "dog")
    assert data.y.tolist() == [0, 0, 1]
    assert data.parts is None
    assert data.x.shape == (3, 3, 4, 4)
    assert data.x.dtype == torch.uint8
    assert data.x[0].flatten(1).unique(dim=1).flatten().tolist() == [0, 0, 255]
    assert data.x[1].flatten(1).unique(dim=1).flatten().tolist() == [255, 0, 0]
    assert source(tmp_path, size=4).sizes(None) == data.sizes


def test_grey_and_the_default_size(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png", (255, 255, 255))
    data = source(tmp_path, grey=True).load(None)
    assert data.x.shape == (1, 1, 32, 32)
    assert int(data.x.min()) == 255
    assert source(tmp_path, grey=True).sizes(None) == data.sizes


def test_cropping(tmp_path: Path) -> None:
    pixels = np.zeros((6, 12, 3), np.uint8)
    pixels[:, :3] = 255  # outside the middle square
    (tmp_path / "a").mkdir()
    Image.fromarray(pixels).save(tmp_path / "a" / "1.png")
    assert int(source(tmp_path, size=6, crop=True).load(None).x.max()) == 0
    assert int(source(tmp_path, size=6).load(None).x[0, 0, 0, 0]) == 255


def test_a_split_of_ones_own(tmp_path: Path) -> None:
    for i in range(3):
        picture(tmp_path / "train" / "a" / f"{i}.png", (i, 0, 0))
        picture(tmp_path / "train" / "b" / f"{i}.png", (i, 9, 0))
    picture(tmp_path / "test" / "b" / "0.png", (77, 9, 0))
    data = source(tmp_path).load(None)
    assert data.classes == ("a", "b")
    assert [part.tolist() for part in data.parts] == [[0, 1, 2, 3, 4, 5], [6]]
    assert data.y.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert int(data.x[6, 0, 0, 0]) == 77
    assert data.sizes.test == (0, 1)
    assert source(tmp_path).sizes(None) == data.sizes


def test_what_is_missing_or_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match=r"folder: there is no \S+/none; give the path of your data"):
        source(tmp_path / "none").sizes(None)
    (tmp_path / "a.png").touch()
    for wrong in (tmp_path, tmp_path / "a.png"):
        with pytest.raises(DataError, match=r"one folder of images per class is needed"):
            source(wrong).sizes(None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"/empty: holds no image \(bmp, gif, jpeg"):
        source(tmp_path).sizes(None)
    picture(tmp_path / "empty" / "1.png", (0, 0, 0))
    (tmp_path / "empty" / "2.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"/empty/2\.png: is no picture, or damaged"):
        source(tmp_path).load(None)
    for name in ("train/a", "val/a"):
        picture(tmp_path / name / "1.png", (0, 0, 0))
    with pytest.raises(DataError, match=r"holds the folders empty, train, val; train/ and test/ stand together"):
        source(tmp_path).sizes(None)


def test_a_test_class_that_is_never_learned_is_refused(tmp_path: Path) -> None:
    for name in ("train/a", "test/a", "test/b"):
        picture(tmp_path / name / "1.png", (0, 0, 0))
    with pytest.raises(DataError, match=r"/test/b: this class is not in \S+/train"):
        source(tmp_path).sizes(None)


def test_what_is_no_picture_or_too_large_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png", (255, 255, 255))
    picture(tmp_path / "a" / "2.png", (255, 255, 255))
    with pytest.raises(DataError, match=r"size: found 100000000; 2 images of 3 × .* take 60,000,000.0 GB, and half of"):
        source(tmp_path, size=10**8).sizes(None)
    (tmp_path / "a" / "2.png").write_text("no image")
    with pytest.raises(DataError, match=r"2\.png: is no picture, or damaged"):
        source(tmp_path).sizes(None)
