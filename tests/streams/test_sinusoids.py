import math

import pytest
import torch

from evermap.errors import RecipeError
from evermap.streams.order import difficulty
from evermap.streams.plan import plan
from evermap.streams.sinusoids import Sinusoids
from evermap.streams.source import make_source
from evermap.streams.spec import stream_spec
from evermap.streams.stream import build_stream

SMALL = {"source": "sinusoids", "source_settings": {"functions": 10, "samples": 60}}


def stream(**fields: object):
    return build_stream(
        stream_spec(**{"layout": "regression", "tasks": [3, 2, 1], "families": [0, 1, 2], **SMALL, **fields}), 0
    )


def test_the_source_is_what_it_says() -> None:
    source = Sinusoids(functions=4, samples=50)
    data = source.load(None)
    assert data.sizes == source.sizes(None)
    assert data.sizes.outputs == 1
    assert data.classes[4] == "sawtooth/0"
    assert data.x.shape == data.targets.shape == (600, 1)
    assert -5 <= float(data.x.min()) < -4 < 4 < float(data.x.max()) < 5
    for k in range(12):
        x, y = data.x[data.y == k, 0].double(), data.targets[data.y == k, 0].double()
        if k < 4:  # a sin(x + p) lies in the plane of sin x and cos x
            basis = torch.stack([x.sin(), x.cos()], 1)
        elif k >= 8:
            basis = torch.stack([x, torch.ones_like(x)], 1)
        else:
            assert float(y.abs().max()) <= 5.0
            continue
        fitted = basis @ torch.linalg.lstsq(basis, y[:, None]).solution
        assert torch.allclose(fitted[:, 0], y, atol=1e-4)
        if k < 4:
            a, b = torch.linalg.lstsq(basis, y[:, None]).solution[:, 0].tolist()
            assert 0.1 <= math.hypot(a, b) <= 5.0
            assert -1e-4 <= math.atan2(b, a) <= math.pi + 1e-4  # the phase


def test_a_sawtooth_rises_where_its_sinusoid_crosses_zero_and_falls_once_a_period() -> None:
    data = Sinusoids(functions=1, samples=2000).load(None)
    own = data.y == 1
    x, order = data.x[own, 0].sort()
    y = data.targets[own, 0][order]
    steps = (y[1:] - y[:-1])[x[1:] > x[:-1]]
    assert int((steps < 0).sum()) in (1, 2)  # one period is 2π of the ten units
    assert float(y.max() + y.min()) == pytest.approx(0, abs=0.1)


def test_tasks_are_functions_with_targets_of_their_own() -> None:
    made = stream()
    assert [task.kind for task in made] == ["regression"] * 6
    assert [each.kind for each in made.concepts] == ["regression"] * 6
    assert all(each.own_labels for each in made.concepts)
    assert made.n_classes == 0
    task = made.task(0)
    assert task.classes == ()
    assert task.outputs == 1
    assert task.support.x.shape == task.support.y.shape == task.query.x.shape == (10, 1)
    assert [made.plans()[i].drawn[0] // 10 for i in range(6)] == [0, 0, 0, 1, 1, 2]
    test = made.test(3)
    assert test.y.dtype == torch.float32
    assert test.classes == ()
    # what is tested is the task's own function: its samples lie on one curve
    both = torch.cat([task.support.x, made.test(0).x]), torch.cat([task.support.y, made.test(0).y])
    basis = torch.cat([both[0].sin(), both[0].cos()], 1)
    assert torch.allclose(basis @ torch.linalg.lstsq(basis, both[1]).solution, both[1], atol=1e-3)


def test_no_sample_is_in_both_training_and_test_also_of_functions_that_return() -> None:
    tasks = [{"name": "f", "classes": 1, "train": 20, "query": 5}, {"name": "again", "returns": "f", "train": 40}]
    made = build_stream(stream_spec(layout="tasks", tasks=tasks, **SMALL), 0)
    train = {float(v) for task in made for v in task.support.x[:, 0]} | {float(v) for v in made.task(0).query.x[:, 0]}
    assert len(train) == 42
    assert not train & {float(v) for v in made.test(0).x[:, 0]}
    assert made.task(1).label == 0
    owns = made.task(0).support.y
    assert owns.untyped_storage().nbytes() == owns.numel() * 4


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"setting": "class-incremental"}, "layout 'regression' is task-incremental"),
        ({"tasks": [1]}, "stream.tasks: found [1]; one number for each of the 3 families"),
        ({"tasks": [1, 1, 1], "families": [0, 1, 3]}, "the source has the families 0 to 2"),
        ({"layout": "tasks", "tasks": [{"name": "a", "classes": 2}]}, "a task is one function"),
        ({"layout": "tasks", "tasks": [{"name": "a", "classes": 1, "relabel": True}]}, "only classes have labels"),
        ({"layout": "tasks", "tasks": [{"name": "a", "classes": 1, "label_noise": 0.1}]}, "only classes have labels"),
        ({"layout": "tasks", "tasks": [{"name": "a", "classes": 1, "transforms": {"noise": 1.0}}]}, "transforms.noise"),
        (
            {"layout": "tasks", "setting": "class-incremental", "tasks": [{"name": "a", "classes": 1}]},
            "functions are task-incremental",
        ),
    ],
)
def test_what_functions_cannot_be_is_refused(fields: dict[str, object], said: str) -> None:
    wanted = {"layout": "regression", "tasks": [1, 1, 1], "families": [0, 1, 2], **SMALL, **fields}
    if wanted["layout"] != "regression":
        del wanted["families"]
    with pytest.raises(RecipeError) as error:
        plan(stream_spec(**wanted), 0, Sinusoids(functions=10, samples=60).sizes(None), "my.toml")
    assert said in str(error.value)


def test_regression_needs_functions() -> None:
    with pytest.raises(RecipeError, match="its samples have classes, not values"):
        build_stream(stream_spec(layout="regression", tasks=[1]), 0)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(RecipeError, match="functions must be at least 1"):
        make_source("sinusoids", {"functions": 0}, "my.toml")
    with pytest.raises(RecipeError, match="noise must be finite"):
        make_source("sinusoids", {"noise": -1.0}, "my.toml")


def test_noise_is_on_the_targets_alone() -> None:
    still, noisy = (
        Sinusoids(functions=2, samples=900).load(None),
        Sinusoids(functions=2, samples=900, noise=0.5).load(None),
    )
    assert torch.equal(still.x, noisy.x)
    assert float((still.targets - noisy.targets).std()) == pytest.approx(0.5, rel=0.05)
    assert still.sha256() != noisy.sha256()


def test_a_line_is_easier_than_a_wave() -> None:
    made = stream(tasks=[2, 2, 2], shots=30)
    hard = [difficulty(task) for task in made]
    assert max(hard[4:]) < min(hard[:4])
