"""CTrL's published streams run on files in their publishers' layouts; here these hold noise."""

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from evermap.errors import RecipeError
from evermap.scenarios.outline import validate
from evermap.scenarios.run import run
from evermap.scenarios.scenario import load_scenario

STREAMS = ("minus", "plus", "in", "out", "pl", "long")
TEST = 5  # images per class


def write_all(root: Path, large: int, small: int) -> None:
    """Write all of them.

    Args:
        root: The data root.
        large: Training images per class of CIFAR-10 and MNIST, a multiple of 5.
        small: Those of the others.
    """
    rng = np.random.default_rng(0)
    _cifar(rng, root / "cifar-10-batches-py", large)
    _cifar100(rng, root / "cifar-100-python", small)
    _idx(rng, root / "MNIST" / "raw", large)
    _idx(rng, root / "FashionMNIST" / "raw", small)
    _svhn(rng, root, small)
    _dtd(rng, root / "dtd" / "dtd", small)


def _pickled(path: Path, **content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


def _cifar(rng: np.random.Generator, folder: Path, each: int) -> None:
    for name, n in (*((f"data_batch_{i + 1}", each // 5) for i in range(5)), ("test_batch", TEST)):
        images = rng.integers(0, 256, (10 * n, 3072), dtype=np.uint8)
        _pickled(folder / name, data=images, labels=list(range(10)) * n)
    _pickled(folder / "batches.meta", label_names=[f"thing {i}" for i in range(10)])


def _cifar100(rng: np.random.Generator, folder: Path, each: int) -> None:
    for name, n in (("train", each), ("test", TEST)):
        images = rng.integers(0, 256, (100 * n, 3072), dtype=np.uint8)
        _pickled(folder / name, data=images, fine_labels=list(range(100)) * n, coarse_labels=[0] * (100 * n))
    names = {"fine_label_names": [f"f{i}" for i in range(100)], "coarse_label_names": [f"c{i}" for i in range(20)]}
    _pickled(folder / "meta", **names)


def _idx(rng: np.random.Generator, folder: Path, each: int) -> None:
    folder.mkdir(parents=True)
    for name, n in (("train", each), ("t10k", TEST)):
        labels = (np.arange(10 * n) % 10).astype(np.uint8)
        images = rng.integers(0, 256, (10 * n, 28, 28), dtype=np.uint8)
        for what, values in (("images-idx3", images), ("labels-idx1", labels)):
            head = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
            (folder / f"{name}-{what}-ubyte").write_bytes(head + values.tobytes())


def _svhn(rng: np.random.Generator, root: Path, each: int) -> None:
    for part, n in (("train", each), ("test", TEST)):
        images = rng.integers(0, 256, (32, 32, 3, 10 * n), dtype=np.uint8)
        savemat(
            root / f"{part}_32x32.mat", {"X": images, "y": ((np.arange(10 * n) % 10 + 1).astype(np.uint8))[:, None]}
        )


def _dtd(rng: np.random.Generator, top: Path, each: int) -> None:
    """Twelve classes; half of what is for training stands in the list for validation."""
    (top / "labels").mkdir(parents=True)
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for k in range(12):
        (top / "images" / f"texture{k}").mkdir(parents=True)
        for i in range(each + TEST):
            name = f"texture{k}/{i}.jpg"
            Image.fromarray(rng.integers(0, 256, (9, 8, 3), dtype=np.uint8)).save(top / "images" / name)
            lists["test" if i >= each else "train" if i < each // 2 else "val"].append(name)
    for part, names in lists.items():
        (top / "labels" / f"{part}1.txt").write_text("\n".join(names))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many images as the five streams of the default size take: first visit and return of the large tasks."""
    folder = tmp_path_factory.mktemp("data")
    write_all(folder, large=660, small=60)
    return folder


@pytest.mark.parametrize("stream", STREAMS)
def test_the_published_sizes_can_be_had(stream: str, root: Path) -> None:
    sizes = validate(f"ctrl-s-{stream}-published", root)["sizes"]
    tasks = {"pl": 5, "long": 100}.get(stream, 6)
    assert (sizes["default"]["tasks"], sizes["short"]["tasks"]) == (tasks, min(tasks, 9))


def test_fewer_samples_than_published_are_said_to_be_too_few(tmp_path: Path) -> None:
    write_all(tmp_path, large=100, small=60)
    with pytest.raises(RecipeError, match=r"ctrl-s-minus-published: stream\.large: found 200; class 0 has 100 "):
        validate("ctrl-s-minus-published", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("stream", STREAMS)
def test_they_run_in_the_short_size(stream: str, root: Path, tmp_path: Path) -> None:
    scenario = load_scenario(f"ctrl-s-{stream}-published", data_root=root, size="short")
    rows = [event for event in run(scenario, tmp_path / "run", data_root=root) if type(event).__name__ == "Evaluated"]
    assert rows
