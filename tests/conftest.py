"""What holds in every test, and data sets as noise in their publishers' layouts."""

import gc
import json
import pickle
import signal
import struct
import sys
import threading
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

# Small networks on busy cores: more threads make them slower, and xdist already uses the cores.
torch.set_num_threads(1)

# A suite that is started in the background ignores Ctrl+C, and so would every process that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command line prints does not depend on the terminal that the tests run in."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture(scope="session")
def reached() -> Callable[..., list[Any]]:
    """What lists everything that can be reached from some objects: `reached(roots, skip)`."""
    return _reached


def _reached(roots: list[Any], skip: Iterable[Any] = ()) -> list[Any]:
    """Everything that can be reached from some objects: attributes, closures, globals of evermap, generators' frames.

    Left out are other packages' modules, and the frames that call: through `sys._getframe` any code in the process
    reaches everything.
    """
    foreign = {
        id(vars(module))
        for module in list(sys.modules.values())
        if isinstance(module, types.ModuleType) and not module.__name__.startswith("evermap")
    }
    left_out = foreign | {id(each) for each in skip} | {id(sys.modules)}
    seen, waiting, found = {id(roots)}, [roots], []
    while waiting:
        thing = waiting.pop()
        found.append(thing)
        near = gc.get_referents(thing)
        if isinstance(thing, types.ModuleType | types.FrameType):
            continue
        if isinstance(thing, types.GeneratorType) and thing.gi_frame is not None:
            near.extend(thing.gi_frame.f_locals.values())
        if isinstance(thing, np.ndarray) and thing.base is not None:
            near.append(thing.base)
        for each in near:
            if id(each) not in seen and id(each) not in left_out:
                seen.add(id(each))
                waiting.append(each)
    return found


@pytest.fixture(scope="session")
def write_images() -> Callable[..., None]:
    """What writes CTrL's data sets below a data root: `write_images(root, large, small)`."""
    return _write_images


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with small files for every registered source that reads files."""
    root = tmp_path_factory.mktemp("data")
    _write_images(root, large=20, small=10)
    _write_others(root)
    return root


_TEST = 5  # test images per class


def _write_images(root: Path, large: int, small: int) -> None:
    """Write CTrL's five data sets, and CIFAR-100, as noise in their publishers' layouts.

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
    for name, n in (*((f"data_batch_{i + 1}", each // 5) for i in range(5)), ("test_batch", _TEST)):
        images = rng.integers(0, 256, (10 * n, 3072), dtype=np.uint8)
        _pickled(folder / name, data=images, labels=list(range(10)) * n)
    _pickled(folder / "batches.meta", label_names=[f"thing {i}" for i in range(10)])


def _cifar100(rng: np.random.Generator, folder: Path, each: int) -> None:
    for name, n in (("train", each), ("test", _TEST)):
        images = rng.integers(0, 256, (100 * n, 3072), dtype=np.uint8)
        _pickled(folder / name, data=images, fine_labels=list(range(100)) * n, coarse_labels=[0] * (100 * n))
    names = {"fine_label_names": [f"f{i}" for i in range(100)], "coarse_label_names": [f"c{i}" for i in range(20)]}
    _pickled(folder / "meta", **names)


def _idx(rng: np.random.Generator, folder: Path, each: int) -> None:
    folder.mkdir(parents=True)
    for name, n in (("train", each), ("t10k", _TEST)):
        labels = (np.arange(10 * n) % 10).astype(np.uint8)
        images = rng.integers(0, 256, (10 * n, 28, 28), dtype=np.uint8)
        _write_idx(folder / f"{name}-images-idx3-ubyte", images)
        _write_idx(folder / f"{name}-labels-idx1-ubyte", labels)


def _write_idx(path: Path, values: np.ndarray) -> None:
    """The official layout: two zero bytes, the type, the number of dimensions, the sizes, the values."""
    head = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    path.write_bytes(head + values.astype(np.uint8).tobytes())


def _svhn(rng: np.random.Generator, root: Path, each: int) -> None:
    for part, n in (("train", each), ("test", _TEST)):
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
        for i in range(each + _TEST):
            name = f"texture{k}/{i}.jpg"
            Image.fromarray(rng.integers(0, 256, (9, 8, 3), dtype=np.uint8)).save(top / "images" / name)
            lists["test" if i >= each else "train" if i < each // 2 else "val"].append(name)
    for part, names in lists.items():
        (top / "labels" / f"{part}1.txt").write_text("\n".join(names))


def _write_others(root: Path) -> None:
    """Write what is left of the sources that read files: ten samples per class and part, two to three classes each."""
    rng = np.random.default_rng(1)
    _idx(rng, root / "KMNIST" / "raw", 10)
    letters = root / "EMNIST" / "raw"
    letters.mkdir(parents=True)
    for part in ("train", "test"):
        labels = np.arange(470) % 47
        _write_idx(letters / f"emnist-balanced-{part}-images-idx3-ubyte", rng.integers(0, 256, (470, 28, 28)))
        _write_idx(letters / f"emnist-balanced-{part}-labels-idx1-ubyte", labels)
    for part, alphabets in (("background", ("Greek", "Latin")), ("evaluation", ("Runes",))):
        for k, alphabet in enumerate(alphabets):
            for character in range(3):
                folder = root / "omniglot-py" / f"images_{part}" / alphabet / f"character{character:02d}"
                folder.mkdir(parents=True)
                for i in range(20):
                    image = Image.fromarray(rng.random((105, 105)) < 0.5)
                    image.save(folder / f"{k}{character}_{i:02d}.png")
    words = ["card", "money", "visa", "peru", "please", "now", "my", "lost", "send", "how", "much", "when", "back"]
    texts = {
        name: [
            [f"{' '.join(rng.choice(words, 5))} {name} {i}", intent]
            for intent in ("lost", "send", "visa")
            for i in range(n)
        ]
        for name, n in (("train", 20), ("val", 5), ("test", 10), ("oos_train", 0), ("oos_val", 0), ("oos_test", 0))
    }
    (root / "clinc150").mkdir()
    (root / "clinc150" / "data_full.json").write_text(json.dumps(texts))
    (root / "clinc150" / "domains.json").write_text(json.dumps({"bank": ["lost", "send"], "travel": ["visa"]}))
    for name in ("cat", "dog", "eel"):
        (root / "pictures" / name).mkdir(parents=True)
        for i in range(20):
            image = Image.fromarray(rng.integers(0, 256, (9, 8, 3), dtype=np.uint8))
            image.save(root / "pictures" / name / f"{i}.png")
    np.savez(root / "arrays.npz", x=rng.normal(size=(60, 4)), y=np.arange(60) % 3)
    rows = [f"{x:.6f},{y:.6f},{'abc'[i % 3]}" for i, (x, y) in enumerate(rng.normal(size=(60, 2)))]
    (root / "table.csv").write_text("\n".join(["x,y,label", *rows]))
