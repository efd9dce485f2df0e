import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from evermap import registry
from evermap.errors import DataMissing, RecipeError
from evermap.streams.digits import Digits
from evermap.streams.source import Sizes, Source, SourceData, make_source
from evermap.streams.source_files import anchor_paths


def test_digits_are_what_they_say_they_are() -> None:
    data = Digits().load(None)
    assert data.x.shape == (1797, 1, 8, 8)
    assert data.x.dtype == torch.float32
    assert (float(data.x.min()), float(data.x.max())) == (0.0, 1.0)
    assert data.y.dtype == torch.int64
    assert data.classes == tuple("0123456789")
    assert data.sizes == Digits().sizes(None)
    assert len(data.x.flatten(1).unique(dim=0)) == 1797  # no image twice, so none in both train and test


def test_the_first_digit_is_a_zero() -> None:
    data = Digits().load(None)
    assert int(data.y[0]) == 0
    assert (data.x[0, 0, 0] * 16).tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def test_a_class_keeps_at_least_one_sample_on_either_side() -> None:
    assert Sizes((10, 2, 1, 0), (1,)).split(0.3) == ((7, 1, 1, 0), (3, 1, 0, 0))
    assert Sizes((10, 10), (1,)).split(0.001) == ((9, 9), (1, 1))
    assert Sizes((10,), (1,)).split(0.999) == ((1,), (9,))
    assert Sizes((10,), (1,), test=(4,)).split(0.9) == ((10,), (4,))


def test_sizes_of_a_source_with_its_own_split() -> None:
    y = torch.tensor([0, 0, 1, 1, 1])
    parts = (torch.tensor([0, 2, 3]), torch.tensor([1, 4]))
    assert SourceData(torch.zeros(5, 2), y, ("a", "b"), "table", parts).sizes == Sizes((1, 2), (2,), (1, 1), "table")


def test_the_hash_changes_with_every_part() -> None:
    x, y = torch.zeros(4, 2), torch.tensor([0, 0, 1, 1])
    parts = (torch.tensor([0, 2]), torch.tensor([1, 3]))
    variants = [
        SourceData(x, y, ("a", "b")),
        SourceData(x + 1, y, ("a", "b")),
        SourceData(x, 1 - y, ("a", "b")),
        SourceData(x, y, ("a", "c")),
        SourceData(x.reshape(4, 2, 1), y, ("a", "b")),
        SourceData(x, y, ("a", "b"), "table"),
        SourceData(x, y, ("a", "b"), "image", parts),
        SourceData(x.to(torch.uint8), y, ("a", "b")),
        SourceData(x, y, ("a", "b"), numbers=(0,)),
        SourceData(x, y, ("a", "b"), targets=torch.ones(4, 1)),
    ]
    assert len({each.sha256() for each in variants}) == len(variants)
    assert variants[0].sha256() == SourceData(x.clone(), y, ("a", "b")).sha256()


def test_bytes_stand_for_levels_from_0_to_1_and_floats_for_themselves() -> None:
    levels = torch.tensor([[0, 51], [255, 102]], dtype=torch.uint8)
    data = SourceData(levels, torch.tensor([0, 1]), ("a", "b"))
    found = data.take(torch.tensor([1, 0, 1]))
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.4], [0.0, 0.2], [1.0, 0.4]]))
    found[0, 0] = 7.0
    assert torch.equal(data.x, levels)
    floats = SourceData(levels.float(), data.y, data.classes)
    assert torch.equal(floats.take(torch.tensor([0])), levels[:1].float())
    floats.take(torch.tensor([0, 1]))[:] = 9.0
    assert torch.equal(floats.x, levels.float())  # a copy, also where all is taken


@dataclass(frozen=True)
class Grid(Source):
    """A source with settings."""

    name: ClassVar[str] = "grid"
    side: int = 4

    def load(self, root: Path | None) -> SourceData:
        return SourceData(torch.zeros(4, 1, self.side, self.side), torch.tensor([0, 0, 1, 1]), ("a", "b"))


@pytest.fixture
def _grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._from_files["source"], "grid", registry.Registered("source", "grid", "here", Grid))


@pytest.mark.usefixtures("_grid")
def test_settings_reach_the_source_and_are_checked() -> None:
    made = make_source("grid", {"side": 3}, "my.toml")
    assert made == Grid(3)
    assert made.sizes(None) is None
    with pytest.raises(RecipeError, match=r"my\.toml: stream\.source_settings\.sid: found 3; grid has the settings: s"):
        make_source("grid", {"sid": 3}, "my.toml")
    with pytest.raises(RecipeError, match=r"stream\.source_settings\.side: found 'x'; input should be a valid integer"):
        make_source("grid", {"side": "x"}, "my.toml")


def test_a_setting_that_is_needed_says_what_for() -> None:
    with pytest.raises(
        RecipeError, match=r"my\.toml: stream\.source_settings\.path: it is not given; npz needs it: The \.npz"
    ):
        make_source("npz", {}, "my.toml")


def test_paths_become_absolute_in_the_first_folder_that_has_them(tmp_path: Path) -> None:
    for folder in ("recipe", "root"):
        (tmp_path / folder / "mine").mkdir(parents=True)
    (tmp_path / "root" / "mine" / "a.npz").touch()
    folders = (tmp_path / "recipe", None, tmp_path / "root")

    def anchored(path: object, name: str = "npz") -> object:
        return anchor_paths(name, {"path": path, "kind": "image"}, folders, "my.toml", "stream.source_settings")["path"]

    assert anchored("mine/a.npz") == str(tmp_path / "root" / "mine" / "a.npz")
    (tmp_path / "recipe" / "mine" / "a.npz").touch()
    assert anchored("mine/a.npz") == str(tmp_path / "recipe" / "mine" / "a.npz")
    absolute = str(tmp_path / "root" / "mine" / "a.npz")
    assert anchored(absolute) == absolute
    assert anchored(3) == 3  # of a wrong type: make_source says so
    assert anchored("any", "grid") == "any"  # no path
    with pytest.raises(DataMissing) as missing:
        anchored("b.npz")
    said = str(missing.value)
    assert f"my.toml: stream.source_settings.path: found 'b.npz'; there is no {tmp_path}/recipe/b.npz or " in said
    assert f"{tmp_path}/root/b.npz" in said


def test_an_unknown_source_gets_the_nearest_name() -> None:
    with pytest.raises(RecipeError, match=r"stream\.source: found 'digts'; no such source \(did you mean 'digits'\?\)"):
        make_source("digts", {}, "my.toml")


def test_sizes_are_plain_numbers() -> None:
    assert math.prod(Digits().sizes(None).input_shape) == 64
    assert sum(Digits().sizes(None).samples) == 1797
