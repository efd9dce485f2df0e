import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from evermap.errors import DataError, DataMissing
from evermap.streams.source import make_source

# Alphabet, character, drawings, and the column in which each has its stroke.
BACKGROUND = [("Greek", "character02", 3, 20), ("Greek", "character01", 2, 50), ("Arcadian", "character01", 2, 80)]
EVALUATION = [("Tengwar", "character10", 2, 30), ("Tengwar", "character09", 2, 60)]


def write(root: Path, part: str, characters: list[tuple[str, str, int, int]], packed: bool = False) -> None:
    """The publisher's layout: 105×105 pixels of one bit, ink 0, in folders or in a zip."""
    folder = root / "omniglot-py" / f"images_{part}"
    for alphabet, character, drawings, column in characters:
        for i in range(drawings):
            bits = np.ones((105, 105), bool)
            bits[:, column : column + 8] = False
            path = folder / alphabet / character / f"0{column}_{i + 1:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(bits).save(path)
    if packed:
        with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
            # In an order that no file system would list, with what a Mac adds.
            for path in sorted(folder.rglob("*.png"), reverse=True):
                archive.write(path, path.relative_to(folder.parent))
            archive.writestr("__MACOSX/images_background/Greek/character01/._0050_01.png", b"")
        folder.rename(root / "unpacked")


def source(**settings: Any) -> Any:
    return make_source("omniglot", settings, "my.toml")


@pytest.mark.parametrize("packed", [False, True])
def test_classes_stand_in_the_order_of_their_names_and_ink_is_one(tmp_path: Path, packed: bool) -> None:
    write(tmp_path, "background", BACKGROUND, packed)
    data = source(part="background").load(tmp_path)
    assert data.classes == ("Arcadian/character01", "Greek/character01", "Greek/character02")
    assert data.families == (1, 2)
    assert data.y.tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert data.x.shape == (7, 1, 28, 28)
    assert data.x[torch.arange(7)].dtype == torch.uint8
    assert data.parts is None
    for k, column in enumerate((80, 50, 20)):
        ink = data.take(torch.tensor([2 * k]))[0, 0]
        assert int(ink[14].argmax()) == pytest.approx((column + 4) / 105 * 28, abs=1)
        assert float(ink.max()) > 0.95
        assert float(ink[:, 0].max()) == 0.0
    assert source(part="background").sizes(tmp_path) == data.sizes


def test_folders_and_zip_give_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a", "background", BACKGROUND)
    write(tmp_path / "b", "background", BACKGROUND, packed=True)
    hashes = {source(part="background").load(tmp_path / name).sha256() for name in "ab"}
    assert len(hashes) == 1


def test_both_parts_the_background_first(tmp_path: Path) -> None:
    write(tmp_path, "background", BACKGROUND)
    write(tmp_path, "evaluation", EVALUATION)
    data = source().load(tmp_path)
    assert data.classes[2:] == ("Greek/character02", "Tengwar/character09", "Tengwar/character10")
    assert data.families == (1, 2, 2)
    assert source(part="evaluation").load(tmp_path).classes == data.classes[3:]
    assert source().sizes(tmp_path) == data.sizes


def test_quarter_turns_are_classes_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, "evaluation", EVALUATION)
    plain, turned = (source(part="evaluation", rotations=on).load(tmp_path) for on in (False, True))
    assert turned.classes[:5] == (
        "Tengwar/character09",
        "Tengwar/character09 90°",
        "Tengwar/character09 180°",
        "Tengwar/character09 270°",
        "Tengwar/character10",
    )
    assert turned.families == (8,)
    for k in range(8):
        own = turned.x[(turned.y == k).nonzero().flatten()]
        expected = torch.rot90(plain.x[(plain.y == k // 4).nonzero().flatten()], k % 4, dims=(2, 3))
        assert torch.equal(own, expected)
    assert source(part="evaluation", rotations=True).sizes(tmp_path) == turned.sizes


def test_another_size(tmp_path: Path) -> None:
    write(tmp_path, "evaluation", EVALUATION)
    data = source(part="evaluation", size=105).load(tmp_path)
    assert data.x.shape == (4, 1, 105, 105)
    x = data.x[torch.arange(4)]
    assert set(x.unique().tolist()) == {0, 255}
    assert (x[0, 0, :, 60:68] == 255).all()
    assert int((x[0] == 255).sum()) == 8 * 105


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match=r"omniglot: images_background or images_background\.zip is missing; it was"):
        source().sizes(tmp_path)
    write(tmp_path, "background", BACKGROUND)
    with pytest.raises(DataMissing, match=r"images_evaluation or images_evaluation\.zip is missing"):
        source().sizes(tmp_path)
    (tmp_path / "omniglot-py" / "images_background" / "Greek" / "character01" / "050_02.png").write_bytes(b"no")
    with pytest.raises(DataError, match=r"images_background: Greek/character01/050_02\.png: is no picture, or damaged"):
        source(part="background").load(tmp_path)
    (tmp_path / "omniglot-py" / "images_evaluation.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"images_evaluation\.zip: is no zip file, or damaged"):
        source(part="evaluation").sizes(tmp_path)
    (tmp_path / "omniglot-py" / "images_evaluation").mkdir()
    with pytest.raises(DataError, match=r"images_evaluation: holds no drawings; they are ALPHABET/characterNN/NAME"):
        source(part="evaluation").sizes(tmp_path)


def test_only_the_drawings_that_are_asked_for_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "background", BACKGROUND)
    from evermap.streams.formats import pictures

    decoded = []
    read = pictures.read_picture
    monkeypatch.setattr(pictures, "read_picture", lambda *a, **k: decoded.append(k["where"]) or read(*a, **k))
    data = source(part="background", rotations=True).load(tmp_path)
    assert not decoded
    data.take(torch.tensor([8, 9, 8]))
    data.take(torch.tensor([9]))
    place = tmp_path / "omniglot-py" / "images_background"
    assert decoded == [f"{place}: Greek/character01/050_01.png"] * 2  # upright and turned


def test_another_drawing_is_another_hash_though_it_was_not_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "a", "evaluation", EVALUATION)
    write(tmp_path / "b", "evaluation", [*EVALUATION[:1], ("Tengwar", "character09", 2, 61)])
    a, b = (source(part="evaluation").load(tmp_path / name) for name in "ab")
    assert a.sha256() != b.sha256()
    before = a.sha256()
    a.take(torch.arange(4))
    assert a.sha256() == before


def test_a_drawing_that_breaks_off_is_named(tmp_path: Path) -> None:
    write(tmp_path, "background", BACKGROUND)
    path = tmp_path / "omniglot-py" / "images_background" / "Greek" / "character01" / "050_02.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(
        DataError, match=r"Greek/character01/050_02\.png: is no picture, or damaged: it is no whole PNG"
    ):
        source(part="background").load(tmp_path)
    path.write_bytes(whole[:45] + bytes(8) + whole[53:])  # in the middle, which only decoding finds
    data = source(part="background").load(tmp_path)
    data.take(torch.tensor([2]))
    with pytest.raises(DataError, match=r"Greek/character01/050_02\.png: is no picture, or damaged"):
        data.take(torch.tensor([3]))
