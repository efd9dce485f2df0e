"""Downloads: only where they are asked for, by whoever knows the data set, and what goes wrong is one sentence."""

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from evermap.errors import UserError
from evermap.streams.digits import Digits
from evermap.streams.source import make_source
from evermap.streams.source_files import fetch
from evermap.streams.sources import files
from evermap.streams.torchvision_guard import guard

guard()
import torchvision.datasets  # noqa: E402  (needs the guard)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Stands in for torchvision's classes, which would use the network."""
    made: list[tuple[Any, ...]] = []

    def stand_in(name: str) -> Any:
        def dataset(root: str, **arguments: Any) -> None:
            print("Downloading …")
            made.append((name, root, arguments))

        return dataset

    for name in ("MNIST", "FashionMNIST", "KMNIST", "EMNIST", "CIFAR10", "CIFAR100", "SVHN", "Omniglot"):
        monkeypatch.setattr(torchvision.datasets, name, stand_in(name))
    return made


@pytest.mark.parametrize(
    ("source", "settings", "expected"),
    [
        ("mnist", {}, [("MNIST", {})]),
        ("fashion-mnist", {}, [("FashionMNIST", {})]),
        ("kmnist", {}, [("KMNIST", {})]),
        ("emnist", {"split": "letters"}, [("EMNIST", {"split": "letters"})]),
        ("cifar10", {}, [("CIFAR10", {})]),
        ("cifar100", {}, [("CIFAR100", {})]),
        ("svhn", {}, [("SVHN", {"split": "train"}), ("SVHN", {"split": "test"})]),
        ("omniglot", {}, [("Omniglot", {"background": True}), ("Omniglot", {"background": False})]),
    ],
)
def test_torchvision_fetches_what_is_missing(
    source: str,
    settings: dict[str, Any],
    expected: list[Any],
    tmp_path: Path,
    calls: list[Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    fetch(make_source(source, settings, "my.toml"), tmp_path / "new")
    assert calls == [(name, str(tmp_path / "new"), {"download": True, **arguments}) for name, arguments in expected]
    assert (tmp_path / "new").is_dir()
    said = capsys.readouterr()
    assert said.out == ""  # standard output may be JSON
    assert "Downloading" in said.err


def test_nothing_is_fetched_that_is_there_or_that_needs_no_files(tmp_path: Path, calls: list[Any]) -> None:
    fetch(Digits(), None)
    (tmp_path / "omniglot-py" / "images_background" / "Greek" / "character01").mkdir(parents=True)
    (tmp_path / "omniglot-py" / "images_background" / "Greek" / "character01" / "0001_01.png").touch()
    fetch(make_source("omniglot", {"part": "background"}, "my.toml"), tmp_path)
    assert calls == []


def test_a_download_needs_a_folder() -> None:
    with pytest.raises(
        UserError, match=r"--download needs a folder to write to: --data-root DIR or EVERMAP_DATA\. mnist"
    ):
        fetch(make_source("mnist", {}, "my.toml"), None)


def test_what_goes_wrong_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("File not found or corrupted.")

    monkeypatch.setattr(torchvision.datasets, "MNIST", fails)
    with pytest.raises(
        UserError, match=r"--download: mnist cannot be fetched into \S+: RuntimeError: File not found or "
    ):
        fetch(make_source("mnist", {}, "my.toml"), tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--download: mnist cannot be fetched into \S+/file: FileExistsError"):
        fetch(make_source("mnist", {}, "my.toml"), tmp_path / "file")


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder that is served on this machine, and its address."""
    (tmp_path / "there").mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "there")) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield tmp_path / "there", f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_the_texts_come_from_their_publisher_and_are_checked(
    tmp_path: Path, publisher: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there, address = publisher
    contents = {"data_full.json": json.dumps({"train": []}), "domains.json": "{}"}
    for name, content in contents.items():
        (there / name).write_text(content)
    md5 = {name: hashlib.md5(content.encode()).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr("evermap.streams.sources.clinc150._URL", address)
    clinc = make_source("clinc150", {}, "my.toml")
    with pytest.raises(
        UserError, match=r"--download: clinc150 cannot be fetched into .*RuntimeError: File not found or c"
    ):
        fetch(clinc, tmp_path / "here")
    assert list((tmp_path / "here" / "clinc150").iterdir()) == []  # it would be found next time
    monkeypatch.setattr("evermap.streams.sources.clinc150._MD5", md5)
    fetch(clinc, tmp_path / "here")
    for name, content in contents.items():
        assert (tmp_path / "here" / "clinc150" / name).read_text() == content


def test_the_place_that_is_named_is_the_one_to_give(tmp_path: Path) -> None:
    place = files.DataSet("mine", ("a/raw", "b"), "3 MB")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.gz").touch()
    assert place.find(tmp_path, "x", "x.gz") == tmp_path / "b" / "x.gz"
    (tmp_path / "a" / "raw").mkdir(parents=True)
    (tmp_path / "a" / "raw" / "x.gz").touch()
    assert place.find(tmp_path, "x", "x.gz") == tmp_path / "a" / "raw" / "x.gz"  # the best folder first
