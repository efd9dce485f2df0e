import json
from pathlib import Path
from typing import Any

import pytest
import torch

from evermap.errors import DataError, DataMissing, RecipeError
from evermap.streams.formats.ngrams import hashed_ngrams
from evermap.streams.source import make_source

DOMAINS = {"travel": ["visa"], "banking": ["transfer", "balance"]}
FULL = {
    "train": [["move money", "transfer"], ["how rich am i", "balance"], ["papers for peru", "visa"]],
    "val": [["send ten dollars", "transfer"]],
    "test": [["my balance please", "balance"], ["do i need a visa", "visa"]],
    "oos_train": [["why is the sky blue", "oos"]],
    "oos_val": [],
    "oos_test": [["who let the dogs out", "oos"], ["hm", "oos"]],
}


def write(root: Path, full: Any = FULL, domains: Any = DOMAINS, folder: str = "clinc150") -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / "data_full.json").write_text(json.dumps(full))
    (root / folder / "domains.json").write_text(json.dumps(domains))


def source(**settings: Any) -> Any:
    return make_source("clinc150", settings, "my.toml")


@pytest.mark.parametrize("folder", ["clinc150", "oos-eval/data"])
def test_intents_of_a_domain_stand_side_by_side(tmp_path: Path, folder: str) -> None:
    write(tmp_path, folder=folder)
    data = source(features=64).load(tmp_path)
    assert data.classes == ("banking/balance", "banking/transfer", "travel/visa")
    assert data.families == (2, 1)
    assert data.kind == "text"
    assert data.y.tolist() == [1, 0, 2, 1, 0, 2]
    assert [part.tolist() for part in data.parts] == [[0, 1, 2, 3], [4, 5]]
    texts = [text for part in ("train", "val", "test") for text, _ in FULL[part]]
    assert (data.take(torch.arange(6)).numpy() == hashed_ngrams(texts, 64, 2, 5)).all()
    assert (data.take(torch.tensor([4])).numpy() == hashed_ngrams(texts, 64, 2, 5)[4]).all()
    assert source(features=64).sizes(tmp_path) == data.sizes


def test_settings(tmp_path: Path) -> None:
    write(tmp_path)
    without = source(features=32, validation=False).load(tmp_path)
    assert without.y[without.parts[0]].tolist() == [1, 0, 2]
    wide = source(features=32, out_of_scope=True).load(tmp_path)
    assert wide.classes[-1] == "out of scope"
    assert wide.families == (2, 1, 1)
    assert wide.y.tolist() == [1, 0, 2, 1, 3, 0, 2, 3, 3]
    assert source(features=32, out_of_scope=True).sizes(tmp_path) == wide.sizes
    words = source(features=32, shortest=3, longest=3).load(tmp_path)
    assert (words.take(torch.tensor([0])).numpy() == hashed_ngrams(["move money"], 32, 3, 3)).all()
    pairs = source(features=32, shortest=2, longest=3).load(tmp_path)
    assert words.sha256() != pairs.sha256()
    with pytest.raises(RecipeError, match=r"shortest \(4\) must not be above longest \(3\)"):
        source(shortest=4, longest=3)


def test_no_test_text_can_change_a_training_vector(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b", {**FULL, "test": [["something else entirely", "visa"], ["and more", "balance"]]})
    a, b = (source(features=64).load(tmp_path / name) for name in "ab")
    assert torch.equal(a.take(a.parts[0]), b.take(b.parts[0]))
    assert a.sha256() != b.sha256()


@pytest.mark.parametrize(
    ("full", "domains", "said"),
    [
        (
            {**FULL, "test": [["hi", "greet"]]},
            DOMAINS,
            r"test: entry 0 has the intent 'greet', which domains\.json does",
        ),
        (
            {**FULL, "train": [["hi", "visa"], ["ho"]]},
            DOMAINS,
            r"train: entry 1 is \"\['ho'\]\"; a pair \[text, intent\]",
        ),
        ({"train": []}, DOMAINS, "val: found NoneType; a list of"),
        ([1], DOMAINS, r"data_full\.json: found list; a JSON object is needed"),
        (FULL, {"a": "visa"}, r"domains\.json: a: found str; a list of intents"),
    ],
)
def test_a_file_that_holds_something_else_is_named(full: Any, domains: Any, said: str, tmp_path: Path) -> None:
    write(tmp_path, full, domains)
    with pytest.raises(DataError, match=said):
        source().sizes(tmp_path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match=r"clinc150: domains\.json is missing; it was looked for in \S+clinc150 or "):
        source().sizes(tmp_path)
    write(tmp_path)
    with pytest.raises(DataMissing, match=r"clinc150: data_small\.json is missing"):
        source(version="small").sizes(tmp_path)
    (tmp_path / "clinc150" / "data_full.json").write_bytes(b'{"train": [')
    with pytest.raises(DataError, match=r"data_full\.json: is no JSON file in UTF-8, or damaged"):
        source().load(tmp_path)
