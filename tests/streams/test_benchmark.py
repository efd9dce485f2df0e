import subprocess
import sys
import warnings

import pytest
import torch

from evermap.streams.benchmark import to_benchmark
from evermap.streams.spec import stream_spec
from evermap.streams.stream import Stream, build_stream
from evermap.streams.torchvision_guard import guard

SMALL = {"train_per_class": 20, "test_per_class": 10}


def split(setting: str, **sizes: int) -> Stream:
    spec = stream_spec(layout="split", setting=setting, class_order=range(10), **{**SMALL, **sizes})
    return build_stream(spec, seed=0)


def returning() -> Stream:
    tasks = [
        {"name": "low", "classes": [0, 1]},
        {"name": "high", "classes": [8, 9]},
        {"name": "low again", "returns": "low"},
    ]
    return build_stream(stream_spec(layout="tasks", setting="task-incremental", tasks=tasks, **SMALL), seed=0)


def everything(dataset):
    samples = [dataset[i] for i in range(len(dataset))]
    return torch.stack([s[0] for s in samples]), torch.tensor([s[1] for s in samples]), [tuple(s[2:]) for s in samples]


@pytest.mark.parametrize("setting", ["task-incremental", "class-incremental"])
def test_experiences_hold_the_streams_samples_under_global_ids(setting):
    stream = split(setting)
    benchmark = to_benchmark(stream)
    assert len(benchmark.train_stream) == len(stream)
    assert len(benchmark.test_stream) == len(stream.concepts)
    for i, experience in enumerate(benchmark.train_stream):
        task = stream.task(i)
        x, y, rest = everything(experience.dataset)
        assert torch.equal(x, task.support.x)
        assert [task.classes[p] for p in task.support.y.tolist()] == y.tolist()
        assert rest == [(i,) if setting == "task-incremental" else ()] * len(y)
    for c, experience in enumerate(benchmark.test_stream):
        x, y, _ = everything(experience.dataset)
        assert torch.equal(x, stream.test(c).x)
        assert torch.equal(y, stream.test(c).y)


def test_class_timelines_are_sorted_lists():
    benchmark = to_benchmark(split("class-incremental"))
    third = benchmark.train_stream[2]
    assert third.classes_in_this_experience == [4, 5]
    assert third.previous_classes == [0, 1, 2, 3]
    assert third.classes_seen_so_far == [0, 1, 2, 3, 4, 5]
    assert third.future_classes == [6, 7, 8, 9]
    assert not hasattr(third, "task_labels")


def test_a_task_that_returns_has_its_label_and_no_test_of_its_own():
    stream = returning()
    benchmark = to_benchmark(stream)
    assert [e.task_label for e in benchmark.train_stream] == [0, 1, 0]
    assert [e.task_labels for e in benchmark.test_stream] == [[0], [1]]
    assert [stream.concept_of(i) for i in range(3)] == [0, 1, 0]


@pytest.mark.parametrize("strategy", ["Naive", "Replay"])
def test_avalanches_own_strategies_learn_it(strategy):
    from avalanche import training
    from avalanche.evaluation.metrics import accuracy_metrics
    from avalanche.logging import BaseLogger
    from avalanche.models import SimpleMLP
    from avalanche.training.plugins import EvaluationPlugin

    stream = split("class-incremental", train_per_class=100)
    benchmark = to_benchmark(stream)
    torch.manual_seed(0)
    model = SimpleMLP(num_classes=stream.n_classes, input_size=64, hidden_size=32, drop_rate=0.0)
    learner = getattr(training, strategy)(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        criterion=torch.nn.CrossEntropyLoss(),
        train_mb_size=10,
        train_epochs=10,
        eval_mb_size=100,
        evaluator=EvaluationPlugin(accuracy_metrics(experience=True), loggers=[BaseLogger()]),
        **({"mem_size": 100} if strategy == "Replay" else {}),
    )
    with warnings.catch_warnings(record=True):  # Avalanche's Replay calls what Avalanche has deprecated
        for experience in benchmark.train_stream:
            learner.train(experience)
    given = learner.eval(benchmark.test_stream)
    accuracies = [given[f"Top1_Acc_Exp/eval_phase/test_stream/Exp{c:03}"] for c in range(5)]
    assert accuracies[-1] > 0.8
    if strategy == "Naive":
        assert accuracies[0] == 0.0  # all is forgotten: targets are global ids in one head
    else:
        assert sum(accuracies) / 5 > 0.5


def test_multi_head_naive_learns_it_with_labels():
    from avalanche.logging import BaseLogger
    from avalanche.models import as_multitask
    from avalanche.training import Naive
    from avalanche.training.plugins import EvaluationPlugin

    benchmark = to_benchmark(returning())
    torch.manual_seed(0)
    body = torch.nn.Sequential()
    body.add_module("flat", torch.nn.Flatten())
    body.add_module("classifier", torch.nn.Linear(64, 10))
    model = as_multitask(body, "classifier")
    learner = Naive(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=0.05),
        train_mb_size=10,
        train_epochs=5,
        evaluator=EvaluationPlugin(loggers=[BaseLogger()]),
    )
    for experience in benchmark.train_stream:
        learner.train(experience)
    model.eval()
    for experience in benchmark.test_stream:
        x, y, _ = everything(experience.dataset)
        assert (model(x, experience.task_label).argmax(1) == y).float().mean() > 0.8


def test_the_guard_stands_aside_once_torchvision_is_there():
    import torchvision

    assert torchvision.__version__
    assert guard() == guard()


@pytest.mark.parametrize("loads", [True, False])
def test_the_guard_declares_what_is_missing_and_nothing_else(loads):
    code = f"""
import evermap.streams.torchvision_guard as g
g._native_library_loads = lambda: {loads}
print(g.guard(), g.guard(), len(g._declared))
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == (["False", "False", "0"] if loads else ["True", "True", "1"])


def test_importing_avalanche_through_it_warns_of_nothing():
    code = "import evermap.streams.benchmark"
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
