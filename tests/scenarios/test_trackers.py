"""What TensorBoard and Weights & Biases are told of a run."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from evermap.cli import main
from evermap.errors import UserError
from evermap.scenarios.trackers import TensorBoard, Tracker, WeightsAndBiases, heat

TINY = """
description = "Two pairs of digits."
[stream]
layout = "split"
test_per_class = 10
train_per_class = 12
class_order = [0, 1, 2, 3]
classes_per_task = 2
[agent]
selector = "fixed:prototype"
encoder = "mlp"
"""


class Notes:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple] = []

    def scalar(self, tag, value, step):
        self.told.append((tag, value, step))

    def text(self, tag, words, step):
        self.told.append((tag, words, step))

    def picture(self, tag, pixels, step):
        self.told.append((tag, pixels.shape, step))

    def close(self):
        self.told.append(("closed",))


def started(task, concept):
    return {"event": "TaskStarted", "task": task, "name": f"t{task}", "concept": concept}


def learned(task, **more):
    return {"event": "Learned", "task": task, "total_flops": 5e9, "seconds": 0.5, "consolidation": 0.0, **more}


def evaluated(row, task, values):
    return {"event": "Evaluated", "row": row, "task": task, "values": values, "columns": ["a", "b"]}


STORY = [
    evaluated(0, None, [0.5, None]),
    started(0, 1),
    {"event": "Chosen", "task": 0, "strategy": "finetune", "source": "encoder-1", "reason": "It is near."},
    {"event": "Progress", "task": 0, "strategy": "finetune", "source": None, "unit": 7, "accuracy": 0.75, "loss": None},
    learned(0, verdict="kept", warnings=["hot"]),
    {"event": "Remembered", "task": 0, "store_bytes": 900, "encoders": 2},
    evaluated(1, 0, [0.25, 0.75]),
    {"event": "EvaluatedDuring", "task": 1, "values": [0.5, None]},
    {"event": "Unknown", "task": 1},
]


def test_events_become_scalars_words_and_pictures() -> None:
    notes = Notes()
    tracker = Tracker([notes])
    for event in STORY:
        tracker.feed(event)
    tracker.close()
    assert notes.told == [
        ("test sets/1 a", 0.5, 0),
        ("accuracy matrix", (16, 32, 3), 0),
        ("choices/chosen", "1 t0: finetune from encoder-1. It is near.", 1),
        ("learning/1 t0/finetune/accuracy", 0.75, 7),
        ("cost/flops", 5e9, 1),
        ("cost/seconds", 0.5, 1),
        ("cost/flops for later tasks", 0.0, 1),
        ("choices/guard and warnings", "1 t0: kept", 1),
        ("choices/guard and warnings", "1 t0: hot", 1),
        ("store/bytes", 900.0, 1),
        ("store/encoders", 2.0, 1),
        ("test sets/1 a", 0.25, 1),
        ("test sets/2 b", 0.75, 1),
        ("accuracy/mean over what was learned", 0.75, 1),  # test set b is the task's
        ("accuracy matrix", (32, 32, 3), 1),
        ("while learning/1", 0.5, 1),
        ("closed",),
    ]


def test_what_is_recalled_is_not_told_again() -> None:
    notes = Notes()
    tracker = Tracker([notes])
    tracker.recall(STORY[:6])
    tracker.feed(STORY[6])
    assert [tag for tag, *_ in notes.told] == [
        "test sets/1 a",
        "test sets/2 b",
        "accuracy/mean over what was learned",
        "accuracy matrix",
    ]
    assert notes.told[-1][1] == (32, 32, 3)


def test_a_sink_that_fails_does_not_stop_the_run() -> None:
    class Broken(Notes):
        def scalar(self, tag, value, step):
            raise OSError("disk full")

    notes = Notes()
    tracker = Tracker([Broken(), notes])
    for event in STORY:
        tracker.feed(event)
    assert tracker.problems == ["Broken stopped, the run did not: OSError: disk full"]
    assert len(notes.told) == 16


def test_the_heat_map_by_hand() -> None:
    pixels = heat([[0.0, 1.0, None, 7.0]])
    assert pixels.shape == (16, 64, 3)
    assert pixels[0, 0].tolist() == [246, 248, 249]
    assert pixels[15, 16].tolist() == [20, 81, 143]
    assert pixels[0, 40].tolist() == [128, 128, 128]
    assert np.array_equal(pixels[:, 48:], pixels[:, 16:32])


@pytest.mark.parametrize(
    ("module", "make"),
    [("torch.utils.tensorboard", lambda: TensorBoard(Path("x"))), ("wandb", lambda: WeightsAndBiases("a", {}))],
)
def test_a_tool_that_is_not_installed_is_named(module, make, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        UserError, match=r"--(tensorboard|wandb): .*`pip install '(evermap\[tensorboard\]|wandb)'` brings"
    ):
        make()


def test_weights_and_biases_is_begun_fed_and_ended(monkeypatch) -> None:
    log = []
    fake = ModuleType("wandb")
    fake.Image = lambda pixels: ("image", pixels.shape)
    run = SimpleNamespace(log=log.append, finish=lambda: log.append("finished"), summary={})
    fake.init = lambda name, config: log.append((name, config)) or run
    monkeypatch.setitem(sys.modules, "wandb", fake)
    sink = WeightsAndBiases("mine", {"seed": 1})
    sink.scalar("cost/flops", 2.0, 3)
    sink.text("choices/chosen", "why", 1)
    sink.picture("accuracy matrix", np.zeros((2, 2, 3), np.uint8), 0)
    sink.close()
    assert log == [
        ("mine", {"seed": 1}),
        {"cost/flops": 2.0, "cost/step": 3},
        {"accuracy matrix": ("image", (2, 2, 3))},
        "finished",
    ]
    assert run.summary == {"choices/chosen/1": "why"}


def test_weights_and_biases_that_cannot_begin(monkeypatch) -> None:
    fake = ModuleType("wandb")

    def refuse(name, config):
        raise ConnectionError("no network")

    fake.init = refuse
    monkeypatch.setitem(sys.modules, "wandb", fake)
    with pytest.raises(UserError, match=r"--wandb: cannot begin a run there \(no network\); WANDB_MODE=offline needs"):
        WeightsAndBiases("a", {})


def test_tensorboard_as_typed(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(TINY)
    fake, told = ModuleType("torch.utils.tensorboard"), []

    class Writer:
        def __init__(self, folder):
            told.append(("folder", folder))

        def __getattr__(self, name):
            return lambda *about, **more: told.append((name, *about))

    fake.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    assert main(["run", "tiny.toml", "--out", "here", "--tensorboard"]) == 0
    assert told[0] == ("folder", "here/tensorboard")
    assert told[-1] == ("close",)
    names = {each[1] for each in told if each[0] == "add_scalar"}
    assert {"accuracy/mean over what was learned", "store/bytes", "cost/flops"} <= names
    assert [each[3] for each in told if each[0] == "add_image"] == [0, 1, 2]
    assert main(["run", "tiny.toml", "--out", "plain"]) == 0
    rows = [Path(run, "matrix.csv").read_bytes() for run in ("here", "plain")]
    assert rows[0] == rows[1]  # being watched changes nothing
    capsys.readouterr()
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert main(["run", "tiny.toml", "--out", "not", "--tensorboard"]) == 2
    assert "pip install 'evermap[tensorboard]'" in capsys.readouterr().err
    assert not Path("not").exists()


@pytest.mark.slow
def test_tensorboard_can_read_it(tmp_path) -> None:
    sink = TensorBoard(tmp_path)
    tracker = Tracker([sink])
    for event in STORY:
        tracker.feed(event)
    tracker.close()
    assert tracker.problems == []
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(tmp_path))
    found.Reload()
    assert [(each.step, each.value) for each in found.Scalars("test sets/1 a")] == [(0, 0.5), (1, 0.25)]
    assert found.Tags()["images"] == ["accuracy matrix"]
