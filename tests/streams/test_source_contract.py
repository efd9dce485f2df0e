"""What every registered source promises, on small files in the official layouts; and what its tasks reach."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from evermap import registry
from evermap.errors import DataMissing
from evermap.streams.source import Source, SourceData, make_source
from evermap.streams.spec import stream_spec
from evermap.streams.stream import Stream, TestSet, build_stream
from evermap.streams.task import Samples

SOURCES = list(registry.registered("source"))
SETTINGS: dict[str, dict[str, Any]] = {
    "avalanche": {"benchmark": "SplitMNIST", "arguments": {"n_experiences": 5, "seed": 1}},
    "csv": {"path": "table.csv", "label": "label"},
    "folder": {"path": "pictures"},
    "npz": {"path": "arrays.npz"},
    "glyphs": {"alphabets": 2, "characters": 5, "samples": 12},
    "sinusoids": {"functions": 4, "samples": 40},
}
# Sources that generate or come with a package: they need no data root.
EMBEDDED = ("digits", "glyphs", "sinusoids")


def source(name: str, root: Path) -> Source:
    settings = dict(SETTINGS.get(name, {}))
    if "path" in settings:
        settings["path"] = str(root / settings["path"])
    return make_source(name, settings, "test")


@pytest.fixture(scope="module")
def loaded(data_root: Path) -> dict[str, SourceData]:
    return {name: source(name, data_root).load(data_root) for name in SOURCES}


@pytest.mark.parametrize("name", SOURCES)
def test_samples_are_what_they_are_said_to_be(name: str, loaded: dict[str, SourceData]) -> None:
    data = loaded[name]
    n = len(data.y)
    x = data.take(torch.arange(n))
    assert (x.dtype, x.shape) == (torch.float32, (n, *data.input_shape))
    assert bool(x.isfinite().all())
    if data.kind in ("image", "text"):
        assert 0 <= float(x.min()) < float(x.max()) <= 1
    assert data.y.dtype == torch.int64
    assert data.y.unique().tolist() == list(range(len(data.classes))), "every class has a sample"
    assert data.kind in ("image", "text", "table", "function")
    assert (data.targets is not None) == (data.kind == "function")
    assert len(set(data.classes)) == len(data.classes)
    if data.families:
        assert sum(data.families) == len(data.classes)
    if data.parts is not None:
        every = torch.cat(data.parts)
        assert sorted(every.tolist()) == list(range(n)), "each sample is in one part, and none in both"


@pytest.mark.parametrize("name", SOURCES)
def test_sizes_say_what_loading_gives(name: str, data_root: Path, loaded: dict[str, SourceData]) -> None:
    sizes = source(name, data_root).sizes(data_root)
    assert sizes is None or sizes == loaded[name].sizes


@pytest.mark.parametrize("name", SOURCES)
def test_loading_again_gives_the_same_bits_and_is_left_alone(
    name: str, data_root: Path, loaded: dict[str, SourceData]
) -> None:
    before = torch.random.get_rng_state()
    again = source(name, data_root).load(data_root)
    assert torch.equal(before, torch.random.get_rng_state())
    assert again.sha256() == loaded[name].sha256()
    some = torch.tensor([len(again.y) - 1, 0])
    taken = again.take(some)
    assert torch.equal(taken, again.take(torch.arange(len(again.y)))[some]), "whatever is taken beside it"
    taken[:] = 7.0
    assert torch.equal(again.take(some), loaded[name].take(some)), "what is taken is a copy"


@pytest.mark.parametrize("name", [name for name in SOURCES if name not in EMBEDDED])
def test_what_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataMissing):
        source(name, tmp_path).load(tmp_path)


def stream_of(name: str, root: Path) -> Stream:
    settings = dict(SETTINGS.get(name, {}))
    if "path" in settings:
        settings["path"] = str(root / settings["path"])
    fields: dict[str, Any] = {"source": name, "source_settings": settings}
    if name == "sinusoids":
        return build_stream(
            stream_spec(layout="regression", families=[0, 2], tasks=[2, 1], shots=5, query=3, **fields), 0
        )
    if name == "avalanche":
        return build_stream(stream_spec(layout="families", **fields), 0, root)
    tasks = [
        {"name": "first", "classes": 2, "train": 3, "query": 1},
        {"name": "again", "returns": "first", "train": 2},
        {"name": "relabelled", "classes": "first", "relabel": True, "train": "all"},
        {"name": "again and again", "returns": "first", "train": "all"},
    ]
    return build_stream(stream_spec(layout="tasks", tasks=tasks, **fields), 0, root)


def rows(*parts: Samples | TestSet | None) -> list[bytes]:
    """List samples as bytes, inputs and targets of functions."""
    return [x.tobytes() for part in parts if part is not None for x in part.x.numpy()]


@pytest.mark.parametrize("name", SOURCES)
def test_no_sample_is_learned_and_tested_also_where_a_concept_returns(name: str, data_root: Path) -> None:
    stream = stream_of(name, data_root)
    learned = {row for task in stream for row in rows(task.support, task.query)}
    tested = {row for concept in stream.concepts for row in rows(stream.test(concept.index))}
    assert learned
    assert tested
    assert not learned & tested


@pytest.mark.parametrize("name", SOURCES)
def test_a_task_reaches_its_own_samples_only(name: str, data_root: Path, reached: Callable[..., list[Any]]) -> None:
    stream = stream_of(name, data_root)
    for task in stream:
        things = reached([task])
        assert not [each for each in things if isinstance(each, Stream | SourceData | Source | TestSet)]
        tensors = [each for each in things if isinstance(each, torch.Tensor)]
        assert len({each.data_ptr() for each in tensors}) == (4 if task.query else 2)
        for tensor in tensors:
            assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
