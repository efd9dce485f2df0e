"""A whole run with the default agent on every kind of input, and what does not fit a kind is one sentence."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evermap.cli import main

RNG = np.random.default_rng(0)
RECIPE = """
[stream]
source = "{source}"
layout = "split"
classes_per_task = 2
class_order = [0, 1, 2, 3]
source_settings = {settings}
[strategies.scratch]
steps = 60
[strategies.finetune]
steps = 60
"""


def grey(root: Path) -> str:
    """Every class is bright in another quarter."""
    x = RNG.integers(0, 60, (80, 8, 8)).astype(np.uint8)
    for i in range(80):
        row, column = divmod(i % 4, 2)
        x[i, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 150
    np.savez(root / "grey.npz", x=x, y=np.arange(80) % 4)
    return RECIPE.format(source="npz", settings='{ path = "grey.npz" }')


def colour(root: Path) -> str:
    """Every class has another colour; the test images are set apart."""
    for part, n in (("train", 12), ("test", 5)):
        for name, tint in (("blue", (0, 0, 1)), ("green", (0, 1, 0)), ("red", (1, 0, 0)), ("yellow", (1, 1, 0))):
            folder = root / "pictures" / part / name
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = RNG.integers(100, 250, (9, 12, 1)) * np.array(tint)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return RECIPE.format(source="folder", settings='{ path = "pictures", size = 8 }')


def text(root: Path) -> str:
    """Two domains of two intents, every one with words of its own."""
    words = {
        "pay": "money bank transfer",
        "owe": "debt loan due",
        "fly": "plane airport gate",
        "ride": "train rail bus",
    }
    split: dict[str, list[list[str]]] = {"train": [], "val": [], "test": []}
    for intent, vocabulary in words.items():
        for part, n in (("train", 15), ("val", 2), ("test", 5)):
            for _ in range(n):
                split[part].append([" ".join(RNG.choice(vocabulary.split(), 3)), intent])
    (root / "clinc150").mkdir()
    (root / "clinc150" / "data_full.json").write_text(json.dumps(split))
    (root / "clinc150" / "domains.json").write_text(json.dumps({"banking": ["pay", "owe"], "travel": ["fly", "ride"]}))
    return RECIPE.format(source="clinc150", settings="{ features = 128 }")


def table(root: Path) -> str:
    """A number on a large scale says the pair of classes, a category which of the two; some cells are missing."""
    rows = ["size,shape,remark,label"]
    for i in range(120):
        k = i % 4
        size = "" if i % 17 == 0 else f"{1e5 * (k // 2) + RNG.normal(0, 1e4):.1f}"
        rows.append(f"{size},{('round', 'square')[k % 2]},number {i},{'abcd'[k]}")
    (root / "my.csv").write_text("\n".join(rows))
    return RECIPE.format(source="csv", settings='{ path = "my.csv", ignore = ["remark"] }')


KINDS: dict[str, Callable[[Path], str]] = {"grey": grey, "colour": colour, "text": text, "table": table}


@pytest.fixture(autouse=True)
def _away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVERMAP_DATA", str(tmp_path))


@pytest.mark.parametrize("setting", ["task-incremental", "class-incremental"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_default_agent_learns_and_answers(kind: str, setting: str, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(KINDS[kind](tmp_path))
    assert main(["run", "my.toml", "--set", f"stream.setting={setting}", "--out", "here"]) == 0
    summary = json.loads(Path("here/summary.json").read_text())
    assert [task["accuracy"] > 0.85 for task in summary["tasks"]] == [True, True]
    assert "<html" in Path("here/report.html").read_text()


@pytest.mark.parametrize("strategy", ["scratch", "finetune", "prototype", "reuse", "distill"])
@pytest.mark.parametrize("kind", ["text", "table"])
def test_every_strategy_takes_what_is_no_image(kind: str, strategy: str, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(KINDS[kind](tmp_path))
    assert main(["run", "my.toml", "--selector", f"fixed:{strategy}", "--out", "here"]) == 0
    summary = json.loads(Path("here/summary.json").read_text())
    assert summary["tasks"][0]["accuracy"] > 0.85


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        (
            "text",
            "agent.stem=patches",
            """agent.stem: found 'patches'; the inputs of clinc150 are of the kind "text", an""",
        ),
        ("table", "agent.stem=patches", 'inputs of csv are of the kind "table", and only images have patches: "none".'),
        (
            "text",
            "agent.encoder=conv4",
            "encoder conv4: input_shape: found (128,); needs images (channels, height, wid",
        ),
        ("grey", "agent={stem='patches', encoder='conv4'}", "encoder conv4: input_shape: found (2048,); needs images"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    kind: str, change: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my.toml").write_text(KINDS[kind](tmp_path))
    assert main(["run", "my.toml", "--set", change, "--out", "here"]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
    assert not Path("here").exists()


@pytest.mark.parametrize(("kind", "found"), [("text", "text"), ("table", "table")])
def test_what_is_no_image_is_not_rotated(
    kind: str, found: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = KINDS[kind](tmp_path).replace('layout = "split"\nclasses_per_task = 2\nclass_order = [0, 1, 2, 3]', "")
    (tmp_path / "my.toml").write_text(
        recipe.replace("[stream]", '[stream]\nlayout = "rotations"\nangles = [0.0, 30.0]')
    )
    assert main(["run", "my.toml", "--out", "here"]) == 2
    assert f"my.toml: stream.angles.1: found 30.0; only images, not {found}, have it." in capsys.readouterr().err
