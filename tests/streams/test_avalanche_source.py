"""Benchmarks of Avalanche as streams: objects from Python, and by name on files in their official layout."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from evermap.errors import DataMissing, UnknownName, UserError
from evermap.streams.benchmark import build_benchmark, from_benchmark, to_benchmark
from evermap.streams.source import make_source
from evermap.streams.source_files import fetch
from evermap.streams.spec import stream_spec
from evermap.streams.stream import Stream, build_stream

from avalanche.benchmarks import benchmark_from_datasets, class_incremental_benchmark  # isort: skip  # after the guard
from avalanche.benchmarks.utils import AvalancheDataset  # isort: skip
from avalanche.benchmarks.utils.data_attribute import DataAttribute  # isort: skip


def dataset(x: torch.Tensor, y: torch.Tensor) -> AvalancheDataset:
    return AvalancheDataset([TensorDataset(x, y)], data_attributes=[DataAttribute(y.tolist(), "targets")])


def samples(seed: int, n: int, classes: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(n, 1, 4, 4, generator=rng), torch.arange(n) % classes


def rows(x: torch.Tensor) -> list[bytes]:
    return sorted(each.tobytes() for each in x.numpy())


def test_a_class_incremental_benchmark_gives_a_task_per_experience() -> None:
    x, y = samples(0, 60)
    xt, yt = samples(1, 30)
    order = [4, 1, 0, 5, 2, 3]
    benchmark = class_incremental_benchmark(
        {"train": dataset(x, y), "test": dataset(xt, yt)}, num_experiences=3, class_order=order
    )
    data = from_benchmark(benchmark)
    assert data.families == (2, 2, 2)
    assert data.kind == "image"
    stream = Stream(stream_spec(layout="families", setting="class-incremental"), 0, data)
    for i, (experience, pair) in enumerate(zip(benchmark.train_stream, ([1, 4], [0, 5], [2, 3]), strict=True)):
        task = stream.task(i)
        assert list(task.classes) == sorted(experience.classes_in_this_experience) == pair
        own = torch.isin(y, torch.tensor(pair))
        assert rows(task.support.x) == rows(x[own])
        assert rows(stream.test(i).x) == rows(xt[torch.isin(yt, torch.tensor(pair))])
        called = dict(zip((s.tobytes() for s in x.numpy()), y.tolist(), strict=True))
        assert [called[s.tobytes()] for s in task.support.x.numpy()] == [
            task.classes[p] for p in task.support.y.tolist()
        ]
    assert stream.n_classes == 6


def domains(tests: int = 3):
    train = [dataset(*samples(k, 24)) for k in range(3)]
    return benchmark_from_datasets(train=train, test=[dataset(*samples(10 + k, 12)) for k in range(tests)])


def test_a_domain_incremental_benchmark_has_the_same_classes_in_every_task() -> None:
    stream = Stream(stream_spec(layout="families", setting="domain-incremental"), 0, from_benchmark(domains()))
    assert [task.classes for task in stream] == [(0, 1, 2, 3, 4, 5)] * 3
    assert not any(task.label for task in stream)
    for i in range(3):
        assert rows(stream.test(i).x) == rows(samples(10 + i, 12)[0])
    assert stream.n_classes == 6


def test_one_test_experience_serves_all() -> None:
    stream = Stream(stream_spec(layout="families", setting="domain-incremental"), 0, from_benchmark(domains(1)))
    assert [rows(stream.test(i).x) for i in range(3)] == [rows(samples(10, 12)[0])] * 3
    with pytest.raises(UserError, match="3 training and 2 test experiences; there must be"):
        from_benchmark(domains(2))


def test_there_and_back_again() -> None:
    first = build_stream(stream_spec(layout="split", train_per_class=9, test_per_class=5), 0)
    second = Stream(stream_spec(layout="families"), 0, from_benchmark(to_benchmark(first)))
    for i in range(5):
        assert second.task(i).classes == first.task(i).classes
        assert rows(second.task(i).support.x) == rows(first.task(i).support.x)
        assert rows(second.test(i).x) == rows(first.test(i).x)


def write_mnist(root: Path) -> dict[str, torch.Tensor]:
    """Small files in MNIST's official layout."""
    folder, kept = root / "MNIST" / "raw", {}
    folder.mkdir(parents=True)
    for part, n in (("train", 60), ("t10k", 30)):
        rng = np.random.default_rng(n)
        images, labels = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), np.arange(n, dtype=np.uint8) % 10
        headers = struct.pack(">IIII", 2051, n, 28, 28), struct.pack(">II", 2049, n)
        for name, header, body in (("images-idx3", headers[0], images), ("labels-idx1", headers[1], labels)):
            raw = header + body.tobytes()
            (folder / f"{part}-{name}-ubyte").write_bytes(raw)
            (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(raw))
        kept[part] = torch.from_numpy(images)
    return kept


def by_name(root: Path, **settings: object) -> Stream:
    fields = {"benchmark": "SplitMNIST", "arguments": {"n_experiences": 5, "fixed_class_order": list(range(10))}}
    spec = stream_spec(layout="families", source="avalanche", source_settings={**fields, **settings})
    return build_stream(spec, 0, root)


def test_a_benchmark_by_name_on_files_in_the_official_layout(tmp_path: Path) -> None:
    kept = write_mnist(tmp_path)
    before = torch.random.get_rng_state()
    stream = by_name(tmp_path)
    assert torch.equal(before, torch.random.get_rng_state())
    assert [task.classes for task in stream] == [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
    assert stream.input_shape == (1, 28, 28)
    own = torch.isin(torch.arange(60) % 10, torch.tensor([2, 3]))
    assert rows(stream.task(1).support.x) == rows(kept["train"][own].unsqueeze(1).float() / 255)
    assert len(stream.test(0).y) == 6


def test_missing_data_are_not_fetched_unasked(tmp_path: Path) -> None:
    with pytest.raises(
        DataMissing, match=r"The data of SplitMNIST are not under .*--download lets Avalanche fetch them"
    ):
        by_name(tmp_path)


def test_avalanche_fetches_where_it_is_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("evermap.streams.benchmark.build_benchmark", lambda *given, **how: asked.append((given, how)))
    source = make_source("avalanche", {"arguments": {"n_experiences": 2}}, "test")
    with pytest.raises(UserError, match="--download needs a folder to write to"):
        fetch(source, None)
    fetch(source, tmp_path)
    assert asked == [(("SplitMNIST", {"n_experiences": 2}, tmp_path), {"download": True})]


@pytest.mark.parametrize(
    ("build", "error", "said"),
    [
        (lambda: build_benchmark("SplitMNITS", {}, None), UnknownName, "Did you mean SplitMNIST"),
        (lambda: build_benchmark("nc_benchmark", {}, None), UnknownName, "no benchmark of Avalanche"),
        (lambda: build_benchmark("SplitMNIST", {"n": 3}, None), UserError, "SplitMNIST has no argument 'n'"),
        (lambda: build_benchmark("SplitMNIST", {}, None), UserError, "cannot be built with these arguments"),
    ],
)
def test_wrong_names_and_arguments(build: Callable[[], object], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        build()
