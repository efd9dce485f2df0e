"""Data sets on the command line, as a user types it."""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evermap.cli import main
from evermap.scenarios.run import run
from evermap.scenarios.scenario import load_scenario

RECIPE = """
description = "Three or eight, on MNIST's files."
[stream]
source = "mnist"
layout = "tasks"
[[stream.tasks]]
name = "three or eight"
classes = [3, 8]
[agent]
selector = "fixed:prototype"
"""


def mnist(root: Path, seed: int = 0) -> None:
    """Twelve training and four test images of a 3 and an 8 each, in the official layout."""
    folder, rng = root / "MNIST" / "raw", np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for name, n in (("train", 24), ("t10k", 8)):
        labels = np.array([3, 8] * (n // 2), np.uint8)
        images = rng.integers(0, 100, (n, 28, 28)).astype(np.uint8)
        images[labels == 8, :14] += 100
        for what, values in (("images-idx3", images), ("labels-idx1", labels)):
            head = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
            (folder / f"{name}-{what}-ubyte").write_bytes(head + values.tobytes())


@pytest.fixture(autouse=True)
def _away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("EVERMAP_DATA", "EVERMAP_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    Path("my.toml").write_text(RECIPE)


def manifest(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(folder) / "manifest.json").read_text())
    return found


def test_a_run_reads_the_data_root_and_its_record_repeats_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mnist(Path("data"))
    assert main(["run", "my.toml", "--data-root", "data", "--out", "here"]) == 0
    command = manifest("here")["command"]
    assert command == ["evermap", "run", "here/scenario.toml", "--data-root", str(Path("data").absolute())]
    assert main([*command[1:], "--out", "again"]) == 0
    assert Path("again/matrix.csv").read_bytes() == Path("here/matrix.csv").read_bytes()
    assert manifest("again")["data_sha256"] == manifest("here")["data_sha256"]
    mnist(Path("other"), seed=1)
    monkeypatch.setenv("EVERMAP_DATA", "other")
    assert main(["run", "my.toml", "--out", "third"]) == 0
    assert manifest("third")["command"][-1] == str(Path("other").absolute())
    assert manifest("third")["data_sha256"] != manifest("here")["data_sha256"]
    assert main(["run", "my.toml", "--data-root", "data", "--out", "fourth"]) == 0  # the flag wins
    assert manifest("fourth")["data_sha256"] == manifest("here")["data_sha256"]
    assert capsys.readouterr().err == ""


def test_a_run_from_python_names_its_data_root_too() -> None:
    mnist(Path("data"))
    scenario = load_scenario("my.toml", data_root=Path("data"))
    for _ in run(scenario, Path("here"), data_root=Path("data")):
        pass
    assert manifest("here")["command"][2:] == ["here/scenario.toml", "--data-root", str(Path("data").absolute())]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["run", "my.toml"],
            "evermap: my.toml: stream.source: mnist is read from files, and no data root was given: name the f",
        ),
        (
            ["run", "my.toml", "--data-root", "."],
            "mnist: train-images-idx3-ubyte or train-images-idx3-ubyte.gz is missing; it was looked for in ",
        ),
        (["run", "my.toml", "--data-root", "none"], "--data-root (or EVERMAP_DATA) none: there is no such folder."),
        (["show", "my.toml", "--data-root", "none"], "--data-root (or EVERMAP_DATA) none: there is no such folder."),
        (
            ["validate", "my.toml"],
            "evermap: my.toml: stream.source: mnist is read from files, and no data root was given",
        ),
        (
            ["validate", "my.toml", "--data-root", "."],
            "mnist: train-images-idx3-ubyte or train-images-idx3-ubyte.gz is",
        ),
        (
            ["show", "my.toml", "--figure", "a.png"],
            "evermap: my.toml: stream.source: mnist is read from files, and no data root was given",
        ),
        (["run", "my.toml", "--download"], "--download needs a folder to write to: --data-root DIR or EVERMAP_DATA."),
    ],
)
def test_what_is_missing_is_one_message_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it used the network"))
    before = sorted(Path().rglob("*"))
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert len(err.splitlines()) == 1
    assert out == ""
    assert sorted(Path().rglob("*")) == before


def test_a_download_is_made_into_a_new_data_root(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from evermap.streams.torchvision_guard import guard

    guard()
    import torchvision.datasets

    def stand_in(root: str, download: bool) -> None:
        assert download
        print("Downloading …")
        mnist(Path(root))

    monkeypatch.setattr(torchvision.datasets, "MNIST", stand_in)
    assert main(["run", "my.toml", "--data-root", "new", "--download", "--out", "here", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == "Downloading …\n"
    assert [json.loads(line)["event"] for line in out.splitlines()][-1] == "Summary"
    monkeypatch.setattr(torchvision.datasets, "MNIST", lambda *_, **__: pytest.fail("it is there"))
    assert main(["show", "my.toml", "--data-root", "new", "--download"]) == 0


def test_a_run_goes_on_although_its_data_have_to_be_fetched_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from evermap.streams.torchvision_guard import guard

    guard()
    import torchvision.datasets

    mnist(Path("data"))
    events = run(load_scenario("my.toml", data_root=Path("data")), Path("here"), data_root=Path("data"))
    for event in events:
        if type(event).__name__ == "Learned":
            break
    events.close()  # cut off before its only task is evaluated
    shutil.rmtree("data/MNIST")
    monkeypatch.setattr(torchvision.datasets, "MNIST", lambda root, download: mnist(Path(root)))
    assert main(["resume", "here"]) == 2
    assert "train-images-idx3-ubyte.gz is missing" in capsys.readouterr().err
    assert main(["resume", "here", "--download"]) == 0
    assert manifest("here")["status"] == "finished"
    assert (Path("data") / "MNIST" / "raw" / "train-labels-idx1-ubyte").exists()


def test_show_says_what_the_stream_holds_or_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "my.toml"]) == 0
    said = capsys.readouterr().out
    assert "Stream: my.toml: stream.source: mnist is read from files, and no data root was given" in " ".join(
        said.split()
    )
    assert "fixed:prototype" in said
    mnist(Path("data"))
    assert main(["show", "my.toml", "--data-root", "data", "--json"]) == 0
    (page,) = json.loads(capsys.readouterr().out)
    assert page["missing"] is None
    assert page["tasks"][0]["samples"] == 24
    assert page["tasks"][0]["classes"] == [3, 8]
    assert (page["shape"], page["estimate"]["test_bytes"]) == ([1, 28, 28], 8 * (28 * 28 * 4 + 8))
    assert main(["show", "my.toml", "--data-root", "data", "--figure", "samples.png"]) == 0
    assert Path("samples.png").read_bytes().startswith(b"\x89PNG")


def test_validate_reads_the_data_root(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    mnist(Path("data"))
    assert main(["validate", "my.toml", "--data-root", "data"]) == 0
    assert capsys.readouterr().out.startswith("my.toml: valid (default: 1 tasks, 1 test sets, recipe ")
    monkeypatch.setenv("EVERMAP_DATA", "data")
    assert main(["validate", "my.toml"]) == 0


def test_the_short_size_may_have_other_data(capsys: pytest.CaptureFixture[str]) -> None:
    """Paths in `[short]` are relative to the file, and data that only the other size needs may be missing."""
    rng = np.random.default_rng(0)
    Path("recipes").mkdir()
    np.savez("recipes/small.npz", x=rng.normal(size=(40, 3)), y=np.arange(40) % 4)
    recipe = '[stream]\nlayout = "split"\nsource = "npz"\nsource_settings = { path = "large.npz" }\n'
    Path("recipes/my.toml").write_text(recipe + '[short]\n"stream.source_settings.path" = "small.npz"\n')
    assert main(["run", "recipes/my.toml"]) == 2
    assert "recipes/my.toml: stream.source_settings.path: found 'large.npz'; there is no" in capsys.readouterr().err
    arguments = ["run", "recipes/my.toml", "--size", "short", "--selector", "fixed:prototype", "--out", "here"]
    assert main(arguments) == 0
    assert str(Path("recipes/small.npz").absolute()) in Path("here/scenario.toml").read_text()


def test_show_still_finds_what_is_wrong_in_the_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    Path("my.toml").write_text(RECIPE.replace("fixed:prototype", "fixed:prototyp"))
    assert main(["show", "my.toml"]) == 2
    assert "did you mean 'prototype'?" in capsys.readouterr().err
