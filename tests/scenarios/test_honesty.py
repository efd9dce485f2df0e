"""In runs over every layout and kind of source, what a strategy is given leads to no test sample and no stream."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from evermap.agent.known import Known
from evermap.scenarios.measures import Measures
from evermap.scenarios.run import run
from evermap.scenarios.scenario import Scenario
from evermap.strategies.scratch import Scratch
from evermap.streams.source import Source, SourceData
from evermap.streams.spec import stream_spec
from evermap.streams.stream import Stream, TestSet, build_stream
from evermap.streams.supply import Supply
from evermap.streams.task import Task

LETTERS = {"source": "glyphs", "source_settings": {"alphabets": 2, "characters": 5, "samples": 12}}
SETS = {f"s{i}": {"source": "glyphs", "settings": {"alphabets": 1, "characters": 5, "seed": i}} for i in range(5)}
STREAMS: dict[str, dict[str, Any]] = {
    "tasks": {
        "layout": "tasks",
        "sources": {"letters": SETS["s0"]},
        "tasks": [
            {"name": "a", "source": "letters", "train": 4, "transforms": {"colour": 1}},
            {"name": "b", "classes": 2, "train": 4, "label_noise": 0.2},
            {"name": "c", "returns": "a", "train": 3},
            {"name": "d", "classes": "a", "relabel": True, "train": 2},
        ],
    },
    "split": {"layout": "split", "setting": "class-incremental", "train_per_class": 6},
    "online": {"layout": "split", "setting": "online", "experience_size": 60, "train_per_class": 10},
    "blurry": {"layout": "split", "setting": "blurry", "overlap": 0.5, "train_per_class": 6},
    "rotations": {"layout": "rotations", "setting": "domain-incremental", "angles": [0, 30], "train_per_class": 4},
    "permutations": {"layout": "permutations", "tasks": 2, "train_per_class": 4},
    "few-shot": {"layout": "few-shot", "tasks": 2, "ways": 3, **LETTERS},
    "families": {"layout": "families", **LETTERS},
    "recurring": {"layout": "recurring", "concepts": 2, "visits": 2, "first": 4, "later": 2},
    "regression": {"layout": "regression", "source": "sinusoids", "tasks": [3]},
    "ctrl": {"layout": "ctrl", "stream": "Sin", "sources": SETS, "roles": list(SETS), "large": [6, 3], "small": [3, 2]},
    "texts": {"layout": "families", "source": "clinc150", "source_settings": {"features": 64}},
    "table": {"layout": "split", "source": "npz", "classes_per_task": 3},
    "benchmark": {"layout": "families", "source": "avalanche", "train_per_class": 3},
    "photographs": {"layout": "split", "source": "cifar10", "train_per_class": 3},
}

QUICK = ("tasks", "few-shot", "regression", "texts")


def held(things: list[Any], width: int) -> set[bytes]:
    """List every run of `width` numbers in the storages of tensors, beyond what views show, where rows may stand."""
    found = set()
    for thing in things:
        if isinstance(thing, torch.Tensor) and thing.dtype == torch.float32:
            flat = torch.empty(0).set_(thing.untyped_storage())
            rows = flat[: len(flat) // width * width].reshape(-1, width)
            found |= {row.tobytes() for row in rows.numpy()}
    return found


@pytest.mark.parametrize(
    "name", [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in STREAMS]
)
def test_no_strategy_reaches_the_stream_or_what_it_is_tested_on(
    name: str,
    data_root: Path,
    tmp_path: Path,
    reached: Callable[..., list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fields = dict(STREAMS[name])
    if name == "table":
        fields["source_settings"] = {"path": str(data_root / "arrays.npz")}
    spec = stream_spec(**{"test_per_class": 5, **fields})
    stream = build_stream(spec, 0, data_root)
    width = stream.task(0).support.x[0].numel()
    tests = {x.tobytes() for c in stream.concepts for x in stream.test(c.index).x.numpy()}
    looked: list[int] = []
    learn = Scratch.learn

    def spy(self: Scratch, task: Task, known: Known, rng: torch.Generator) -> Iterator[Any]:
        for unit, model in enumerate(learn(self, task, known, rng)):
            if unit == 0 and task.index == len(stream) // 2:  # with tasks before it and after it
                things = reached([self, task, known, rng, model], skip=[spy, looked, tests])
                wrong = [each for each in things if isinstance(each, Stream | TestSet | Supply | Source | SourceData)]
                assert not [each for each in wrong if type(each).__module__.startswith("evermap")]
                assert not any(isinstance(each, Measures) for each in things)
                mine = held(things, width)
                assert {x.tobytes() for x in task.support.x.numpy()} <= mine, "what it learns from is found"
                if width > 1:  # of functions of one number, any number could be an input
                    assert not mine & tests
                looked.append(task.index)
            yield model

    monkeypatch.setattr(Scratch, "learn", spy)
    agent = {"selector": "fixed:scratch", "anchor": "raw", "anchor_features": 16, "encoder_settings": {"hidden": [8]}}
    scenario = Scenario.model_validate(
        {"name": name, "stream": spec.model_dump(), "agent": agent, "strategies": {"scratch": {"steps": 2}}}
    )
    for _ in run(scenario, tmp_path / "run", data_root=data_root):
        pass
    assert set(looked) == {len(stream) // 2}
