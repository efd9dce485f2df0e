import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from evermap.errors import DataError, DataMissing
from evermap.streams.source import make_source
from evermap.streams.torchvision_guard import guard

LISTS = {
    "train": ["banded/banded_0001.jpg", "zigzagged/zigzagged_0001.jpg"],
    "val": ["zigzagged/zigzagged_0002.jpg", "banded/banded_0003.jpg"],
    "test": ["banded/banded_0002.jpg", "zigzagged/zigzagged_0003.jpg"],
}


def write(root: Path, **lists: list[str]) -> Path:
    """The publisher's layout: images of all sizes in a folder per class, and three lists for each of ten splits."""
    top = root / "dtd" / "dtd"
    (top / "labels").mkdir(parents=True)
    for part, names in {**LISTS, **lists}.items():
        (top / "labels" / f"{part}1.txt").write_text("".join(f"{name}\n" for name in names))
        for i, name in enumerate(names):
            path = top / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.new("RGB", (40, 20), (255, 0, 0))
            image.paste((0, 0, 40 + 10 * i), (10, 0, 30, 20))  # the centred square
            image.save(path, quality=100, subsampling=0)
    return top


def source(**settings: Any) -> Any:
    return make_source("dtd", settings, "my.toml")


def test_training_has_the_validation_images_and_the_split_is_the_publishers(tmp_path: Path) -> None:
    top = write(tmp_path)
    data = source(size=8).load(tmp_path)
    assert data.classes == ("banded", "zigzagged")
    assert data.y.tolist() == [0, 1, 1, 0, 0, 1]
    assert [part.tolist() for part in data.parts] == [[0, 1, 2, 3], [4, 5]]
    assert (data.x.dtype, data.x.shape) == (torch.uint8, (6, 3, 8, 8))
    assert int(data.x[0, 0].max()) < 40  # cropped: nothing of the red margins
    assert int(source(size=8, crop=False).load(tmp_path).x[0, 0].max()) > 200
    assert source(size=8).sizes(tmp_path) == data.sizes
    shutil.move(top, tmp_path / "unpacked" / "dtd")
    assert source(size=8).load(tmp_path / "unpacked").sha256() == data.sha256()  # by hand: one folder less


def test_the_images_are_those_that_torchvision_lists(tmp_path: Path) -> None:
    write(tmp_path)
    guard()
    from torchvision.datasets import DTD

    data = source(size=20).load(tmp_path)
    for part, names in (("train", (0, 1)), ("val", (2, 3)), ("test", (4, 5))):
        theirs = DTD(str(tmp_path), split=part)
        for at, (image, label) in zip(names, theirs, strict=True):
            assert label == int(data.y[at])
            assert image.getpixel((20, 10))[2] == int(data.x[at, 2, 10, 10])


def test_what_is_missing_or_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match=r"dtd: labels/train1\.txt is missing; it was looked for in \S+/dtd/dtd or "):
        source().sizes(tmp_path)
    top = write(tmp_path)
    with pytest.raises(DataMissing, match=r"labels/train2\.txt is missing"):
        source(partition=2).sizes(tmp_path)
    (top / "images" / "banded" / "banded_0002.jpg").unlink()
    with pytest.raises(DataMissing, match=r"images/banded/banded_0002\.jpg is missing"):
        source().load(tmp_path)
    for found, said in (
        ("banded/banded_0001.jpg", r"test1\.txt: banded/banded_0001\.jpg is a training image as well"),
        ("dotted/dotted_0001.jpg", r"test1\.txt: dotted/dotted_0001\.jpg: no training image is of this class"),
        ("../secret.jpg", r"test1\.txt: found '\.\./secret\.jpg'; every line names an image as CLASS/FILE"),
        ("", r"test1\.txt: found 'nothing'; every line"),
    ):
        (top / "labels" / "test1.txt").write_text(found + "\n")
        with pytest.raises(DataError, match=said):
            source().sizes(tmp_path)
