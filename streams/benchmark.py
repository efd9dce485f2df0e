"""A stream as an Avalanche benchmark, so that Avalanche's own strategies can learn it."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils.data import TensorDataset

from .stream import Stream
from .torchvision_guard import guard

guard()  # before Avalanche, which imports torchvision
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


def _dataset(x: Tensor, y: Tensor, label: int | None) -> Any:
    dataset = AvalancheDataset([TensorDataset(x, y)], data_attributes=[DataAttribute(y.tolist(), "targets")])
    if label is None:
        return dataset
    return dataset.update_data_attribute("targets_task_labels", TaskLabels(ConstantSequence(label, len(y))))
