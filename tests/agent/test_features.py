import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evermap.agent.events import ProbeScore, Profiled
from evermap.agent.features import FEATURES, Circumstances, circumstances, features

RAW = ProbeScore("raw", ridge_mse=0.08, ncm=0.6, knn=0.5, reuse=None, ridge=0.7, samples=40)
RANDOM = ProbeScore("random", ridge_mse=0.12, ncm=0.5, knn=0.5, reuse=None, ridge=0.4, samples=40)
STORED = ProbeScore("encoder-3", ridge_mse=0.04, ncm=0.9, knn=0.8, reuse=0.95, ridge=0.8, samples=40, heads=1)
PROFILE = Profiled(
    task=2, samples=100, classes=4, per_class=10, scores=(STORED, RAW, RANDOM), flops=1.0, seconds=0.1, unprobed=1
)
AROUND = Circumstances(held_out=9, tasks=9, encoders=2, budget_left=0.9)


def named(profile=PROFILE, around=AROUND):
    return dict(zip(FEATURES, features(profile, around), strict=True))


def test_golden_values():
    expected = {
        "samples": 0.5,  # log 100 / log 10,000
        "per_class": 0.25,
        "classes": math.log(4) / math.log(100),
        "held_out": 0.25,
        "regression": 0.0,
        "probed": 1.0,
        "stored": 1.0,
        "best": 0.9,
        "fixed": 0.7,
        "best_error": 0.04 / 0.1875,  # of (1/4)(3/4)
        "stored_gain": 0.6,  # (1 + .9 - .7) / 2
        "stored_gain_error": 2 / 3,  # (1 + (.08 - .04) / .12) / 2
        "random_gain": 0.7,
        "random_gain_error": 0.75,
        "gap": 2 / 3,
        "heads": 1.0,
        "agreement": 0.95,
        "agreement_gain": 0.525,
        "tasks": 0.5,
        "encoders": math.log(3) / math.log(100),
        "unprobed": 0.5,
        "budget_left": 0.9,
    }
    assert named() == pytest.approx(expected)
    assert list(named()) == list(expected), "the order of the names is part of what a trained chooser relies on"


def test_what_is_missing_stands_in_the_middle_or_at_none():
    empty = named(replace(PROFILE, scores=(), unprobed=0), Circumstances())
    for name in ("stored_gain", "stored_gain_error", "random_gain", "random_gain_error", "gap", "agreement_gain"):
        assert empty[name] == 0.5
    for name in ("probed", "stored", "heads", "best", "fixed", "best_error", "agreement", "tasks", "encoders"):
        assert empty[name] == 0.0


def test_regression_has_errors_and_no_accuracies():
    def of(name, mse):
        return ProbeScore(name, mse, None, None)

    profile = replace(
        PROFILE, classes=1, per_class=100, scores=(of("encoder-1", 1.0), of("raw", 3.0), of("random", 4.0))
    )
    found = named(profile, replace(AROUND, regression=True))
    assert (found["regression"], found["best"], found["stored_gain"], found["random_gain"]) == (1.0, 0.0, 0.5, 0.5)
    assert found["best_error"] == 0.25
    assert found["stored_gain_error"] == 0.75  # (1 + (3 - 1) / 4) / 2
    assert found["classes"] == 0.0


@given(
    st.lists(
        st.builds(
            ProbeScore,
            candidate=st.sampled_from(["raw", "stem", "random", "encoder-1", "encoder-2"]),
            ridge_mse=st.floats(0, 1e300),
            ncm=st.none() | st.floats(0, 1),
            knn=st.none(),
            reuse=st.none() | st.floats(0, 1),
            ridge=st.none() | st.floats(0, 1),
        ),
        max_size=5,
    ),
    st.integers(1, 10**9),
    st.integers(1, 10**6),
    st.booleans(),
    st.integers(0, 10**6),
)
def test_every_feature_is_a_number_from_0_to_1(scores, samples, classes, regression, many):
    profile = replace(PROFILE, scores=tuple(scores), samples=samples, per_class=samples, classes=classes, unprobed=many)
    found = features(profile, Circumstances(regression, many, many, many, 0.5))
    assert len(found) == len(FEATURES)
    assert all(0 <= value <= 1 for value in found)


def result_of(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_circumstances_are_read_from_the_workbench():
    from evermap.agent.agent import LifelongAgent
    from evermap.agent.agent_settings import AgentSettings
    from evermap.agent.selector import make_selector
    from evermap.agent.store import KnowledgeStore
    from evermap.agent.strategy import make_strategies
    from evermap.streams.spec import stream_spec
    from evermap.streams.stream import build_stream

    stream = build_stream(stream_spec(layout="split", train_per_class=10, test_per_class=5, class_order=range(10)), 0)
    strategies = make_strategies({"scratch": {"steps": 2}})
    settings = AgentSettings(encoder_settings={"hidden": (4,)}, anchor_features=8, flops=1e9)
    who = LifelongAgent(KnowledgeStore.in_memory(), strategies, make_selector("fixed:finetune", strategies), settings)
    for task in (stream.task(0), stream.task(1)):
        profile = who.profile(task)
        around = circumstances(who._bench)
        n = len(task.support)
        assert around.held_out + len(who._bench.task.support) == n
        assert around.budget_left == pytest.approx(1 - profile.flops / 1e9)
        assert (around.tasks, around.encoders) == (task.index, task.index)
        choice = result_of(who.select(task, profile))
        who.remember(task, result_of(who.learn(task, choice)))
