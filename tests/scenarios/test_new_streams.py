"""Streams of every new sort, sent through the main loop."""

from pathlib import Path
from typing import Any

import pytest

from evermap.agent.events import Chosen, Evaluated, Learned
from evermap.scenarios.run import run
from evermap.scenarios.scenario import Scenario
from evermap.streams.spec import stream_spec


def played(out: Path, selector: str = "fixed:scratch", steps: int = 5, **fields: Any) -> list[Any]:
    scenario = Scenario(
        name="new",
        stream=stream_spec(**fields),
        agent={"selector": selector, "anchor_features": 64, "episode_memory": fields.get("memory", 0)},
        strategies={"scratch": {"steps": steps}},
    )
    return list(run(scenario, out))


def rows(events: list[Any]) -> list[tuple[float, ...]]:
    return [event.values for event in events if isinstance(event, Evaluated)]


def test_functions_are_learned_and_measured_by_r_squared(tmp_path: Path) -> None:
    fields = {"source": "sinusoids", "source_settings": {"functions": 5}, "layout": "regression"}
    events = played(tmp_path, steps=300, families=[0, 2], tasks=[1, 1], shots=60, **fields)
    matrix = rows(events)
    assert matrix[0] == pytest.approx((0, 0))
    assert matrix[2][0] == matrix[1][0]
    assert min(matrix[2]) > 0.5


def test_a_family_of_functions_can_be_meta_learned(tmp_path: Path) -> None:
    scenario = Scenario(
        name="waves",
        evaluate_every=6,
        stream=stream_spec(layout="regression", source="sinusoids", tasks=[6], test_per_class=50),
        agent={"selector": "fixed:maml", "episode_memory": 20, "anchor": "none"},
        budget={"flops": 2e8, "consolidate": 0.9},
        strategies={"scratch": {"steps": 5}, "maml": {"inner_lr": 0.01, "adapt_steps": 5, "meta_steps": 10}},
    )
    learned = [event for event in run(scenario, tmp_path) if isinstance(event, Learned)]
    assert [event.strategy for event in learned] == ["scratch"] * 3 + ["maml"] * 3
    assert all(event.consolidation > 0 for event in learned)


@pytest.mark.parametrize("setting", ["blurry", "online"])
def test_without_boundaries_the_anchor_answers(setting: str, tmp_path: Path) -> None:
    fields = {"layout": "split", "classes_per_task": 5, "class_order": range(10), "train_per_class": 24}
    events = played(tmp_path, setting=setting, overlap=0.4, experience_size=40, test_per_class=20, **fields)
    last = [event for event in events if isinstance(event, Evaluated)][-1]
    assert set(last.anchor_share) == {1.0}
    assert min(last.values) > 0.7
    assert len(last.values) == 2
    assert sum(isinstance(event, Learned) for event in events) == {"blurry": 2, "online": 3 + 5}[setting]


def test_a_hidden_return_is_asked_about_under_its_own_label(tmp_path: Path) -> None:
    """What was learned at the return answers from then on: few wrong samples after many right ones show it."""
    tasks: list[dict[str, Any]] = [
        {"name": "pair", "classes": [0, 1], "train": 60},
        {"name": "other", "classes": [2, 3], "train": 5},
        {"name": "pair again", "returns": "pair", "train": 20, "label_noise": 0.99, "hidden": True},
    ]
    events = played(tmp_path, steps=60, layout="tasks", tasks=tasks)
    matrix = rows(events)
    assert len(matrix[0]) == 2
    assert matrix[1][0] == matrix[2][0] > 0.95
    assert matrix[3][0] < 0.5
    assert sum(isinstance(event, Chosen) for event in events) == 3


def test_several_sources_in_one_run(tmp_path: Path) -> None:
    tasks: list[dict[str, Any]] = [
        {"name": "digits", "classes": [0, 1], "train": 20},
        {"name": "glyphs", "source": "glyphs", "classes": 2, "train": 8},
    ]
    events = played(tmp_path, "fixed:prototype", layout="tasks", tasks=tasks)
    assert min(rows(events)[-1]) > 0.6
