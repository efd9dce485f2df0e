import gzip
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evermap.errors import DataError, DataMissing
from evermap.streams.source import make_source

FAMILY = {"mnist": ("MNIST", {}), "fashion-mnist": ("FashionMNIST", {}), "kmnist": ("KMNIST", {})}
TRAIN, TEST = [3, 0, 9, 3], [9, 0]


def idx(values: np.ndarray) -> bytes:
    """The official layout: two zero bytes, the type, the number of dimensions, the sizes, the values."""
    return struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def images(n: int, first: int = 0) -> np.ndarray:
    return (np.arange(n * 28 * 28) * 7 + first).astype(np.uint8).reshape(n, 28, 28)


def write(
    folder: Path, train: Sequence[int], test: Sequence[int], packed: bool, names: tuple[str, str] = ("train", "t10k")
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, labels, first in ((names[0], train, 0), (names[1], test, 100)):
        for what, values in (("images-idx3", images(len(labels), first)), ("labels-idx1", np.array(labels, np.uint8))):
            content = idx(values)
            path = folder / f"{name}-{what}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(content) if packed else content)


def source(name: str, **settings: Any) -> Any:
    return make_source(name, settings, "my.toml")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("below", ["raw", ""])
@pytest.mark.parametrize("name", FAMILY)
def test_images_labels_and_the_publishers_split(name: str, below: str, packed: bool, tmp_path: Path) -> None:
    write(tmp_path / FAMILY[name][0] / below, TRAIN, TEST, packed)
    data = source(name).load(tmp_path)
    assert data.x.dtype == torch.uint8
    assert data.x.shape == (6, 1, 28, 28)
    assert (data.x[:4, 0].numpy() == images(4)).all()
    assert (data.x[4:, 0].numpy() == images(2, 100)).all()
    assert data.y.tolist() == TRAIN + TEST
    assert [part.tolist() for part in data.parts] == [[0, 1, 2, 3], [4, 5]]
    assert (len(data.classes), data.kind) == (10, "image")
    sizes = source(name).sizes(tmp_path)
    assert sizes == data.sizes
    assert sizes.samples == (1, 0, 0, 2, 0, 0, 0, 0, 0, 1)
    assert sizes.test == (1, 0, 0, 0, 0, 0, 0, 0, 0, 1)


def test_learners_get_levels_from_0_to_1(tmp_path: Path) -> None:
    write(tmp_path / "MNIST", TRAIN, TEST, packed=False)
    data = source("mnist").load(tmp_path)
    x = data.take(torch.tensor([1, 1, 5]))
    assert x.dtype == torch.float32
    torch.testing.assert_close(x, data.x[[1, 1, 5]].double().div(255).float())


@pytest.mark.parametrize(
    ("split", "classes", "first"),
    [
        ("balanced", 47, "0"),
        ("byclass", 62, "0"),
        ("bymerge", 47, "0"),
        ("digits", 10, "0"),
        ("mnist", 10, "0"),
        ("letters", 26, "a"),
    ],
)
def test_emnist_stands_upright_and_its_letters_begin_at_zero(
    split: str, classes: int, first: str, tmp_path: Path
) -> None:
    begin = int(split == "letters")
    train, test = [begin, begin + classes - 1], [begin + 1]
    write(tmp_path / "EMNIST" / "raw", train, test, False, (f"emnist-{split}-train", f"emnist-{split}-test"))
    data = source("emnist", split=split).load(tmp_path)
    assert (data.x[:2, 0].numpy() == images(2).transpose(0, 2, 1)).all()
    assert data.x.is_contiguous()
    assert data.y.tolist() == [0, classes - 1, 1]
    assert (len(data.classes), data.classes[0]) == (classes, first)
    assert len(set(data.classes)) == classes
    assert source("emnist", split=split).sizes(tmp_path) == data.sizes


def test_emnists_classes_are_torchvisions() -> None:
    from evermap.streams.torchvision_guard import guard

    guard()
    from torchvision.datasets import EMNIST

    for split in EMNIST.splits:
        theirs = [each for each in EMNIST.classes_split_dict[split] if each != "N/A"]
        assert list(source("emnist", split=split).classes()) == theirs


def test_fashion_and_kuzushiji_classes_are_torchvisions() -> None:
    from evermap.streams.torchvision_guard import guard

    guard()
    from torchvision.datasets import KMNIST, FashionMNIST

    assert list(source("fashion-mnist").classes()) == FashionMNIST.classes
    assert list(source("kmnist").classes()) == KMNIST.classes


def test_a_missing_file_says_which_where_and_how_to_get_it(tmp_path: Path) -> None:
    for act in (source("fashion-mnist").sizes, source("fashion-mnist").load):
        with pytest.raises(
            DataMissing, match=r"no data root was given: name the folder that holds FashionMNIST/ by --d"
        ):
            act(None)
    write(tmp_path / "FashionMNIST" / "raw", TRAIN, TEST, packed=True)
    (tmp_path / "FashionMNIST" / "raw" / "t10k-images-idx3-ubyte.gz").unlink()
    for act in (source("fashion-mnist").sizes, source("fashion-mnist").load):
        with pytest.raises(DataMissing) as missing:
            act(tmp_path)
        said = str(missing.value)
        assert "t10k-images-idx3-ubyte or t10k-images-idx3-ubyte.gz is missing" in said
        assert f"looked for in {tmp_path}/FashionMNIST/raw or {tmp_path}/FashionMNIST." in said
        assert "--data-root DIR or EVERMAP_DATA" in said
        assert "--download" in said
        assert missing.value.exit_code == 2


def test_damaged_files_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"
    write(folder, [3, 10], TEST, packed=False)
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte: sample 1 has the label 10; mnist has 0 to 9"):
        source("mnist").sizes(tmp_path)
    write(folder, TRAIN, TEST, packed=False)
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([1], np.uint8)))
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte: holds 2 images, and there are 1 labels"):
        source("mnist").load(tmp_path)
