import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evermap.errors import DataError, DataMissing
from evermap.streams.source import make_source

RNG = np.random.default_rng(0)


def write(path: Path, **content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


def cifar10(root: Path) -> np.ndarray:
    """Five batches of two images and a test batch of three, in the publisher's layout."""
    folder, images = root / "cifar-10-batches-py", RNG.integers(0, 256, (13, 3072), dtype=np.uint8)
    for i in range(5):
        labels = [i, 9 - i]
        write(folder / f"data_batch_{i + 1}", data=images[2 * i : 2 * i + 2], labels=labels, filenames=["a", "b"])
    write(folder / "test_batch", data=images[10:], labels=[7, 7, 0])
    write(folder / "batches.meta", label_names=[f"thing {i}" for i in range(10)], num_vis=3072)
    return images


def cifar100(root: Path) -> None:
    folder = root / "cifar-100-python"
    for name, n in (("train", 4), ("test", 2)):
        fine, coarse = [99 - i for i in range(n)], [i % 2 for i in range(n)]
        write(folder / name, data=np.zeros((n, 3072), np.uint8), fine_labels=fine, coarse_labels=coarse)
    names = {"fine_label_names": [f"f{i}" for i in range(100)], "coarse_label_names": [f"c{i}" for i in range(20)]}
    write(folder / "meta", **names)


def source(name: str, **settings: Any) -> Any:
    return make_source(name, settings, "my.toml")


def test_images_are_red_green_and_blue_planes_in_the_batches_order(tmp_path: Path) -> None:
    images = cifar10(tmp_path)
    data = source("cifar10").load(tmp_path)
    assert data.x.dtype == torch.uint8
    assert data.x.shape == (13, 3, 32, 32)
    assert int(data.x[4, 2, 1, 5]) == images[4, 2 * 1024 + 1 * 32 + 5]  # the publisher's description of a row
    assert data.y.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5, 7, 7, 0]
    assert [part.tolist() for part in data.parts] == [list(range(10)), [10, 11, 12]]
    assert data.classes[3] == "thing 3"
    assert source("cifar10").sizes(tmp_path) == data.sizes
    assert data.sizes.test == (1, 0, 0, 0, 0, 0, 0, 2, 0, 0)


def test_the_archive_is_read_where_it_was_not_unpacked(tmp_path: Path) -> None:
    cifar10(tmp_path / "unpacked")
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "unpacked" / "cifar-10-batches-py", "cifar-10-batches-py")
    packed, unpacked = (source("cifar10").load(root) for root in (tmp_path, tmp_path / "unpacked"))
    assert packed.sha256() == unpacked.sha256()
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"half an archive")
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz: is no archive of cifar10, or damaged"):
        source("cifar10").load(tmp_path)


def test_a_hundred_fine_or_twenty_coarse_labels(tmp_path: Path) -> None:
    cifar100(tmp_path)
    fine, coarse = source("cifar100").load(tmp_path), source("cifar100", labels="coarse").load(tmp_path)
    assert (fine.y.tolist(), len(fine.classes)) == ([99, 98, 97, 96, 99, 98], 100)
    assert (coarse.y.tolist(), len(coarse.classes)) == ([0, 1, 0, 1, 0, 1], 20)
    assert source("cifar100", labels="coarse").sizes(tmp_path) == coarse.sizes


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "test_batch").unlink()
    (tmp_path / "cifar-10-batches-py" / "test_batch").mkdir()
    with pytest.raises(DataError, match=r"test_batch: cannot be read: Is a directory"):
        source("cifar10").sizes(tmp_path)


def test_what_is_missing_or_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match=r"cifar-10-batches-py or cifar-10-python\.tar\.gz is missing; .* in "):
        source("cifar10").sizes(tmp_path)
    cifar10(tmp_path)
    folder = tmp_path / "cifar-10-batches-py"
    (folder / "data_batch_4").unlink()
    with pytest.raises(DataMissing, match=r"cifar10: data_batch_4 is missing; it was looked for in \S+batches-py"):
        source("cifar10").sizes(tmp_path)
    for changed, said in (
        ({"data": np.zeros((2, 3072), np.uint8)}, "there is no 'labels' in it; it holds data"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}, "labels: found 1 labels; there are 2 images"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1, 10]}, "labels: found 10; there are 10 classes, from 0"),
        (
            {"data": np.zeros((2, 7), np.uint8), "labels": [1, 2]},
            r"data: found uint8 \(2, 7\); unsigned bytes of shape",
        ),
        ({"data": [[1]], "labels": [1]}, "data: found list; unsigned bytes"),
    ):
        write(folder / "data_batch_4", **changed)
        with pytest.raises(DataError, match=rf"data_batch_4: {said}"):
            source("cifar10").load(tmp_path)
