from pathlib import Path
from typing import Any

import pytest
import torch

from evermap.errors import DataError
from evermap.streams.formats.ngrams import hashed_ngrams
from evermap.streams.source import make_source

FRUIT = """name,weight,colour,label
"a, red one",150,red,apple
long,,yellow,banana
small , 12.5,red,cherry
big,200,green,apple
"""


def source(tmp_path: Path, content: str | bytes, **settings: Any) -> Any:
    path = tmp_path / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return make_source("csv", {"path": str(path), **settings}, "my.toml")


def load(tmp_path: Path, content: str | bytes, **settings: Any) -> Any:
    made = source(tmp_path, content, **settings)
    data = made.load(None)
    assert made.sizes(None) == data.sizes
    return data


def test_numbers_categories_and_texts(tmp_path: Path) -> None:
    data = load(tmp_path, FRUIT, texts=["name"], text_features=8)
    assert (data.kind, data.input_shape) == ("table", (8 + 1 + 3,))
    assert data.classes == ("apple", "banana", "cherry")
    assert data.y.tolist() == [0, 1, 2, 0]
    texts = torch.from_numpy(hashed_ngrams(["a, red one", "long", "small", "big"], 8))
    assert torch.equal(data.x[:, :8], texts)
    assert data.numbers == (8,)
    assert data.x[:, 8].nan_to_num(-1).tolist() == [150, -1, 12.5, 200]  # as they are: the stream knows the split
    assert data.x[:, 9:].tolist() == [[0, 1, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]]  # green, red, yellow
    assert data.parts is None


def test_columns_are_what_their_cells_are_unless_something_else_is_said(tmp_path: Path) -> None:
    rows = "\n".join(f"{i},{i % 3},text {i},{i % 2}" for i in range(51))
    table = "number,few,many,label\n" + rows
    data = load(tmp_path, table, text_features=16)
    assert data.input_shape == (1 + 1 + 16,)
    assert data.numbers == (0, 1)
    data = load(tmp_path, table, text_features=16, categories=["few"], ignore=["number"])
    assert data.input_shape == (3 + 16,)
    assert data.numbers == ()
    assert load(tmp_path, table, categories=["number", "few", "many"]).input_shape == (51 + 3 + 51,)
    only_text = load(tmp_path, table, ignore=["number", "few"], text_features=16)
    assert (only_text.kind, only_text.input_shape) == ("text", (16,))


def test_split_task_and_delimiter(tmp_path: Path) -> None:
    table = "\ufeffa;what;when;part\n1;x;2020;train\n2;x;2021;test\n3;y;2020;train\n4;x;2021;train\n"
    data = load(tmp_path, table, label="what", task="when", split="part", delimiter=";")
    assert data.classes == ("2020/x", "2020/y", "2021/x")
    assert (data.families, data.ids) == ((2, 1), (0, 1, 0))
    assert data.y.tolist() == [0, 2, 1, 2]
    assert [part.tolist() for part in data.parts] == [[0, 2, 3], [1]]
    assert data.numbers == (0,)


def test_a_number_as_target(tmp_path: Path) -> None:
    data = load(tmp_path, "a,price\n1,2.5\n2,-1e3\n", label="price", target="number")
    assert data.targets.tolist() == [[2.5], [-1000.0]]
    assert (data.classes, data.sizes.outputs) == (("all",), 1)


def test_missing_numbers_have_many_names(tmp_path: Path) -> None:
    data = load(tmp_path, "a,label\n1,x\n,x\nNA,y\nnan,y\n?,y\nNone,y\n", numbers=["a"])
    assert data.x.isnan().flatten().tolist() == [False] + [True] * 5


@pytest.mark.parametrize(
    ("content", "settings", "said"),
    [
        (FRUIT, {"numbers": ["colour"]}, r"row 2, column 'colour': found 'red'; a number is needed"),
        (FRUIT, {"label": "kind"}, r"there is no column 'kind'; it has name, weight, colour, label"),
        (FRUIT, {"ignore": ["id"]}, "there is no column 'id'"),
        (FRUIT, {"numbers": ["id"]}, "there is no column 'id'"),
        (FRUIT, {"label": "weight"}, "row 3, column 'weight': found ''; this column may not be empty"),
        (FRUIT, {"label": "weight", "target": "number"}, "row 3, column 'weight': found ''; "),
        (FRUIT, {"target": "number"}, "row 2, column 'label': found 'apple'; a number is needed"),
        (FRUIT, {"split": "colour"}, "split: row 2 has 'red'; valid are"),
        (FRUIT, {"ignore": ["name", "weight", "colour"]}, "no column is left as input"),
        ("a,label\n1,x\n2\n", {}, "row 3: found 1 cells; the header has 2"),
        ("a,label\n1,x\n\n2,y\n", {}, "row 3: found 0 cells; the header has 2"),
        ("a,label\n", {}, "holds a header and no rows; a header and at least one row"),
        ("", {}, "is empty; a header"),
        ("a,a,label\n1,2,x\n", {}, "row 1: found the column 'a' twice"),
        ("a,,label\n1,2,x\n", {}, "row 1: found a column without a name"),
        ("a,label\ninf,x\n", {"numbers": ["a"]}, "row 2, column 'a': found 'inf'; a number is needed"),
        ("a,label\n1_0,x\n", {"numbers": ["a"]}, "row 2, column 'a': found '1_0'"),
        (b"a,label\n\xff,x\n", {}, "is no table in UTF-8, or damaged"),
        ('a,label\n"1,x\n', {}, "is no table in UTF-8, or damaged: unexpected end of data"),
    ],
)
def test_what_is_wrong_is_named_with_row_and_column(
    tmp_path: Path, content: str | bytes, settings: dict[str, Any], said: str
) -> None:
    made = source(tmp_path, content, **settings)
    for act in (made.sizes, made.load):
        with pytest.raises(DataError, match=rf"a\.csv: {said}"):
            act(None)


def test_empty_rows_at_the_end_do_not_count(tmp_path: Path) -> None:
    assert load(tmp_path, "a,label\r\n1,x\r\n2,y\r\n,\r\n\r\n").y.tolist() == [0, 1]
