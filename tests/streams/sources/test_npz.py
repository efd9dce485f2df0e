from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evermap.errors import DataError
from evermap.streams.source import make_source

TABLE = np.array([[1.0, 2.0], [3.0, np.nan], [5.0, 6.0], [7.0, 8.0]])


def source(path: Path, **settings: Any) -> Any:
    return make_source("npz", {"path": str(path), **settings}, "my.toml")


def load(tmp_path: Path, settings: dict[str, Any] | None = None, compressed: bool = False, **arrays: Any) -> Any:
    """Write the arrays, check that sizes and data agree, and load them."""
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", **arrays)
    made = source(tmp_path / "a.npz", **(settings or {}))
    data = made.load(None)
    assert made.sizes(None) == data.sizes
    return data


@pytest.mark.parametrize("compressed", [False, True])
def test_rows_are_a_table_whose_columns_a_stream_standardises(tmp_path: Path, compressed: bool) -> None:
    data = load(tmp_path, compressed=compressed, x=TABLE, y=[10, 2, 10, 2])
    assert (data.kind, data.numbers) == ("table", (0, 1))
    assert torch.equal(data.x.nan_to_num(-1), torch.tensor(TABLE).float().nan_to_num(-1))
    assert data.classes == ("2", "10")  # numbers in their order
    assert data.y.tolist() == [1, 0, 1, 0]
    assert data.parts is None
    assert load(tmp_path, {"standardise": False}, x=TABLE, y=list("baba")).numbers == ()


def test_labels_may_be_texts_and_the_split_ones_own(tmp_path: Path) -> None:
    data = load(tmp_path, x=TABLE, y=["b", "a", "b", "a"], split=["train", "test", "test", "train"])
    assert data.classes == ("a", "b")
    assert [part.tolist() for part in data.parts] == [[0, 3], [1, 2]]
    numbered = load(tmp_path, x=TABLE, y=["b", "a", "b", "a"], split=[0, 1, 1, 0])
    assert [part.tolist() for part in numbered.parts] == [[0, 3], [1, 2]]
    assert [p.tolist() for p in load(tmp_path, x=TABLE, y=[0, 1, 0, 1], split=np.array([True, False] * 2)).parts] == [
        [1, 3],
        [0, 2],
    ]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((4, 5, 6), (1, 5, 6)), ((4, 5, 6, 3), (3, 5, 6)), ((4, 3, 5, 6), (3, 5, 6)), ((4, 5, 6, 1), (1, 5, 6))],
)
def test_images_with_their_channels_anywhere(tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    data = load(tmp_path, x=images, y=[0, 0, 1, 1])
    assert (data.kind, data.x.dtype, data.input_shape) == ("image", torch.uint8, expected)
    last = images if images.ndim == 4 and shape[1] != 3 else images.reshape(4, *expected).transpose(0, 2, 3, 1)
    assert (data.x.permute(0, 2, 3, 1).numpy() == last.reshape(4, *expected[1:], expected[0])).all()
    floats = load(tmp_path, x=images / 255, y=[0, 0, 1, 1])
    torch.testing.assert_close(floats.x, data.take(torch.arange(4)))
    assert torch.equal(load(tmp_path, x=images.astype(np.int64), y=[0, 0, 1, 1]).x, data.x)


def test_images_of_bits(tmp_path: Path) -> None:
    data = load(tmp_path, x=np.eye(3, dtype=bool)[None], y=[0])
    assert data.x[0, 0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_tasks_are_families_and_a_label_of_two_tasks_is_one(tmp_path: Path) -> None:
    data = load(tmp_path, x=TABLE, y=[0, 1, 0, 1], task=[10, 9, 9, 10])
    assert data.classes == ("9/0", "9/1", "10/0", "10/1")
    assert (data.families, data.ids) == ((2, 2), (0, 1, 0, 1))
    assert data.y.tolist() == [2, 1, 0, 3]
    apart = load(tmp_path, x=TABLE, y=[0, 1, 2, 3], task=["old", "new", "new", "old"])
    assert apart.classes == ("new/1", "new/2", "old/0", "old/3")
    assert (apart.families, apart.ids) == ((2, 2), ())


def test_whole_floats_and_bytes_are_labels(tmp_path: Path) -> None:
    assert load(tmp_path, x=TABLE, y=[0.0, 1.0, 0.0, 1.0]).classes == ("0", "1")
    assert load(tmp_path, x=TABLE, y=[True, False, True, False]).classes == ("0", "1")
    assert load(tmp_path, x=TABLE, y=np.array([b"b", b"a", b"b", b"\xff"])).classes == ("a", "b", "\ufffd")


def test_numbers_are_targets_and_every_task_is_a_function(tmp_path: Path) -> None:
    number = {"target": "number"}
    data = load(tmp_path, number, x=TABLE, y=[0.5, 1.0, 2.0, 3.0])
    assert (data.classes, data.y.tolist()) == (("all",), [0] * 4)
    assert data.targets.tolist() == [[0.5], [1.0], [2.0], [3.0]]
    assert data.sizes.outputs == 1
    both = load(tmp_path, number, x=TABLE, y=np.ones((4, 2), np.int64), task=[1, 0, 1, 1])
    assert (both.classes, both.y.tolist(), both.sizes.outputs) == (("0", "1"), [1, 0, 1, 1], 2)
    assert (both.families, both.ids) == ((), ())


def test_vectors_of_texts(tmp_path: Path) -> None:
    data = load(tmp_path, {"kind": "text"}, x=[[0.0, 1.0], [0.5, 0.0]], y=[0, 1])
    assert (data.kind, data.numbers) == ("text", ())


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("the file ran code",)


@pytest.mark.parametrize(
    ("arrays", "settings", "said"),
    [
        ({"x": TABLE}, {}, r"there is no array 'y' in it; it holds x"),
        ({"x": TABLE, "y": [0, 1, 0]}, {}, "y has 3 entries; x has 4 samples"),
        ({"x": TABLE, "y": [0] * 4, "task": [0]}, {}, "task has 1 entries; x has 4 samples"),
        ({"x": TABLE, "y": [[0]] * 4}, {}, r"y: found int64 \(4, 1\); one whole number or text per sample"),
        (
            {"x": TABLE, "y": [0.5, 1, 0, 0]},
            {},
            r"y: found float64 \(4,\); .* \(target = \"number\" takes any numbers\)",
        ),
        ({"x": TABLE, "y": [np.inf, 1, 0, 0]}, {}, r"y: found float64 \(4,\); one whole number or text"),
        ({"x": TABLE, "y": [0.1, np.nan, 0, 0]}, {"target": "number"}, r"y: found float64 \(4,\); finite targets of"),
        ({"x": TABLE, "y": list("abcd")}, {"target": "number"}, r"y: found <U1 \(4,\); finite targets of shape"),
        ({"x": TABLE, "y": 3}, {}, "y has 1 entries; x has 4 samples"),
        ({"x": TABLE, "y": [0] * 4, "split": list("abcd")}, {}, "split: sample 0 has 'a'; valid are \"train\""),
        ({"x": TABLE, "y": [0] * 4, "split": [1] * 4}, {}, "split: no sample is in the train part"),
        ({"x": TABLE, "y": [0] * 4, "split": [0.5] * 4}, {}, "split: found float64"),
        ({"x": TABLE[:, 0], "y": [0] * 4}, {}, r"x: found the shape \(4,\) for the kind 'table'"),
        (
            {"x": np.zeros((2, 4, 4, 4)), "y": [0, 1]},
            {},
            r"x: found the shape \(2, 4, 4, 4\); images have one or three",
        ),
        ({"x": np.full((2, 4, 4), 1.5), "y": [0, 1]}, {}, r"x: found float64 from 1\.5 to 1\.5; images are whole numb"),
        ({"x": np.full((2, 4, 4), 256), "y": [0, 1]}, {}, "x: found int64 from 256 to 256; images are"),
        ({"x": np.full((2, 4, 4), np.nan), "y": [0, 1]}, {}, "x: found float64 from nan to nan; images are"),
        ({"x": [[0.0, np.inf]], "y": [0]}, {}, "x: found inf in row 0, column 1; finite numbers are needed"),
        ({"x": [[0.0, 1.5]], "y": [0]}, {"kind": "text"}, r"x: found 1\.5 in row 0, column 1; 0 to 1 is valid"),
        ({"x": [["a", "b"]], "y": [0]}, {}, "x: found <U1; numbers are needed"),
        ({"x": TABLE, "y": np.array([Evil()] * 4, dtype=object)}, {}, "y: cannot be read: .*allow_pickle"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, arrays: dict[str, Any], settings: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=rf"a\.npz: {said}"):
        source(tmp_path / "a.npz", **settings).load(None)
    assert capsys.readouterr().out == ""


def test_what_is_no_such_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"a\.npz: is no \.npz file, or damaged"):
        source(tmp_path / "a.npz").sizes(None)


def test_the_data_root_is_looked_in_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=TABLE, y=[0, 1, 0, 1])
    assert make_source("npz", {"path": "a.npz"}, "my.toml").sizes(tmp_path).samples == (2, 2)
