"""Streams and Avalanche's benchmarks, one made from the other."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from ..errors import DataMissing, UnknownName, UserError
from .source import SourceData
from .stream import Stream
from .torchvision_guard import guard

guard()  # before Avalanche, which imports torchvision
import avalanche.benchmarks as every_benchmark  # noqa: E402
from avalanche.benchmarks import benchmark_from_datasets, with_task_labels  # noqa: E402
from avalanche.benchmarks.scenarios.supervised import with_classes_timeline  # noqa: E402
from avalanche.benchmarks.utils import AvalancheDataset, ConstantSequence, TaskLabels  # noqa: E402
from avalanche.benchmarks.utils.data_attribute import DataAttribute  # noqa: E402

_TIMELINE = ("classes_in_this_experience", "previous_classes", "classes_seen_so_far", "future_classes")


def to_benchmark(stream: Stream) -> Any:
    """Build the whole stream as a benchmark of Avalanche's current interface.

    Args:
        stream: The stream; all its tasks and test sets are built and held in memory.

    Returns:
        A `CLScenario`. `train_stream` has one experience per task (support samples; a task's query part is left out),
        `test_stream` one per concept: `stream.concept_of(i)` is the test experience of train experience `i`. Targets
        are global class ids. Where the setting gives task labels, samples are `(x, y, t)` and experiences have
        `task_label` and `task_labels`. Class timelines are sorted lists, as heads that index with them need.
    """
    train, test = [], []
    for task in stream:
        classes = task.support.y.new_tensor(task.classes)
        train.append(_dataset(task.support.x, classes[task.support.y], task.label))
    for c in range(len(stream.concepts)):
        part = stream.test(c)
        test.append(_dataset(part.x, part.y, part.label))
    benchmark = benchmark_from_datasets(train=train, test=test)
    if stream.setting.label_when_asked:
        benchmark = with_task_labels(benchmark)
    benchmark = with_classes_timeline(benchmark)
    for each in (*benchmark.train_stream, *benchmark.test_stream):
        for timeline in _TIMELINE:
            setattr(each, timeline, sorted(getattr(each, timeline)))
    return benchmark


def build_benchmark(name: str, arguments: Mapping[str, Any], root: Path | None, download: bool = False) -> Any:
    """Let Avalanche build one of its benchmarks.

    Args:
        name: Name of the function in `avalanche.benchmarks` ("SplitMNIST").
        arguments: Its arguments. Transforms that are not among them are switched off: inputs come as they are stored.
        root: Folder that holds the user's data sets; None leaves it to Avalanche (its own folder in the user's home).
        download: Whether what is missing may be fetched. Avalanche does not ask, so it is kept from the network
            otherwise.

    Returns:
        The benchmark.

    Raises:
        UnknownName: If Avalanche has no such benchmark.
        UserError: If the arguments are not its own.
        DataMissing: If its data cannot be had.
    """
    build = getattr(every_benchmark, name, None)
    if not inspect.isfunction(build) or name[:1].islower():
        known = [
            each for each, thing in vars(every_benchmark).items() if inspect.isfunction(thing) and each[0].isupper()
        ]
        raise UnknownName("benchmark of Avalanche", name, known)
    accepted = inspect.signature(build).parameters
    given: dict[str, Any] = {each: None for each in ("train_transform", "eval_transform") if each in accepted}
    if root is not None and "dataset_root" in accepted:
        given["dataset_root"] = root
    wrong = next((each for each in arguments if each not in accepted), None)
    if wrong is not None:
        raise UserError(f"{name} has no argument {wrong!r}; it takes {', '.join(accepted)}.")
    state = torch.random.get_rng_state()  # `seed=` of Avalanche's benchmarks sets the global generators
    try:
        if download:
            return build(**{**given, **arguments})
        with patch("urllib.request.urlopen", side_effect=ConnectionError("nothing is fetched without being asked to")):
            return build(**{**given, **arguments})
    except TypeError as error:
        raise UserError(f"{name} cannot be built with these arguments: {error}.") from None
    except (OSError, RuntimeError) as error:
        where = f" under {root}" if root is not None else ""
        how = "" if download else "; --download lets Avalanche fetch them"
        raise DataMissing(
            f"The data of {name} are not{where or ' where Avalanche keeps them'}: {error}{how}."
        ) from error
    finally:
        torch.random.set_rng_state(state)


def from_benchmark(benchmark: Any) -> SourceData:
    """Take the samples of a benchmark, experience by experience.

    Args:
        benchmark: With `train_stream` and `test_stream` of as many experiences, or of one test experience for all.

    Returns:
        Every experience is a family, and every class of an experience a class of its own; `ids` says which class it is
        for the benchmark. So the layout "families" gives a task per experience, and one test set for each. Classes of a
        test experience that its training experience lacks are left out. Datasets are read with their transforms for
        evaluation.

    Raises:
        UserError: If training and test stream do not fit together, or inputs differ in shape.
    """
    train, test = list(benchmark.train_stream), list(benchmark.test_stream)
    if len(test) not in (1, len(train)):
        raise UserError(
            f"The benchmark has {len(train)} training and {len(test)} test experiences; "
            "there must be as many of both, or one test experience for all."
        )
    inputs: list[Tensor] = []
    own: list[Tensor] = []
    names, ids, families = list[str](), list[int](), list[int]()
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    for i, learned in enumerate(train):
        pair = [_samples_of(each.dataset) for each in (learned, test[i] if len(test) > 1 else test[0])]
        classes = sorted(set(pair[0][1].tolist()))
        number = {k: len(names) + place for place, k in enumerate(classes)}
        for part, (x, y) in zip(parts, pair, strict=True):
            kept = torch.isin(y, torch.tensor(classes))
            start = sum(map(len, own))
            inputs.append(x[kept])
            own.append(torch.tensor([number[k] for k in y[kept].tolist()], dtype=torch.int64))
            part.append(torch.arange(start, start + int(kept.sum())))
        names += [f"experience {i}/class {k}" for k in classes]
        ids += classes
        families.append(len(classes))
    if len({x.shape[1:] for x in inputs}) > 1:
        raise UserError("The inputs of the benchmark differ in shape; all must be the same.")
    x = torch.cat(inputs)
    kind = "image" if x.dim() == 4 and float(x.min()) >= 0 and float(x.max()) <= 1 else "table"
    indices = torch.cat(parts[0]), torch.cat(parts[1])
    return SourceData(x, torch.cat(own), tuple(names), kind, indices, tuple(families), tuple(ids))


def _samples_of(dataset: Any) -> tuple[Tensor, Tensor]:
    """Read a dataset through: inputs as float32, `(n, *input_shape)`, and targets, int64, `(n,)`."""
    dataset = dataset.eval() if hasattr(dataset, "eval") else dataset
    read = [dataset[i] for i in range(len(dataset))]
    return torch.stack([_tensor(each[0]) for each in read]), torch.tensor([int(each[1]) for each in read])


def _tensor(x: Any) -> Tensor:
    """Turn a tensor, an array or a picture (height, width, channels; 0 to 255) into a tensor."""
    if isinstance(x, Tensor):
        return x.float() / 255 if x.dtype == torch.uint8 else x.float()
    pixels = torch.from_numpy(np.array(x))
    pixels = pixels.unsqueeze(2) if pixels.dim() == 2 else pixels
    return pixels.permute(2, 0, 1).float() / (255 if pixels.dtype == torch.uint8 else 1)


def _dataset(x: Tensor, y: Tensor, label: int | None) -> Any:
    dataset = AvalancheDataset([TensorDataset(x, y)], data_attributes=[DataAttribute(y.tolist(), "targets")])
    if label is None:
        return dataset
    return dataset.update_data_attribute("targets_task_labels", TaskLabels(ConstantSequence(label, len(y))))
