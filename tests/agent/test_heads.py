"""The closed-form head to beat: leave-one-out, held-out samples, and what such heads were worth before."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from evermap.agent import heads
from evermap.agent.agent import LifelongAgent
from evermap.agent.agent_settings import AgentSettings
from evermap.agent.events import ProbeScore
from evermap.agent.heads import by_experience, by_held_out, by_leave_one_out, taught
from evermap.agent.selector import Option, make_selector
from evermap.agent.store import KnowledgeStore
from evermap.agent.strategy import make_strategies
from evermap.agent.verdict import Gain
from evermap.streams.spec import stream_spec
from evermap.streams.stream import build_stream

STEM, STORED, SPECIAL = Option("prototype", "stem"), Option("prototype", "encoder-1"), Option("protonet", "meta-1")
SCORES = {
    "stem": ProbeScore("stem", 0.10, 0.80, 0.8, ridge=0.85),
    "encoder-1": ProbeScore("encoder-1", 0.12, 0.82, 0.8, ridge=0.80),
    "meta-1": ProbeScore("meta-1", 0.08, 0.90, 0.9, ridge=0.90),
}


def error(scores):
    return lambda option: scores[option.source].ridge_mse


def test_leave_one_out_orders_by_error_but_nearest_means_must_be_right_as_often():
    assert by_leave_one_out([STEM, STORED, SPECIAL], error(SCORES), SCORES) == [SPECIAL, STEM, STORED]
    beaten = SCORES | {"meta-1": replace(SCORES["meta-1"], ncm=0.84)}
    assert by_leave_one_out([STEM, STORED, SPECIAL], error(beaten), beaten) == [STEM, STORED, SPECIAL]
    assert by_leave_one_out([SPECIAL, STEM], lambda option: 0.0, {}) == [STEM, SPECIAL], "what has no score comes last"


@pytest.mark.parametrize(
    ("gain", "option"), [(Gain(0.2, 0.1), SPECIAL), (Gain(0.04, 0.1), STEM), (Gain(-0.3, 0.1), STEM), (None, STEM)]
)
def test_experience_must_be_sure_of_half_its_error(gain, option):
    head = by_experience(STEM, [SPECIAL], lambda strategy: gain)
    assert head.option == option
    assert head.expected == (gain if option == SPECIAL else None)


@pytest.mark.parametrize(
    ("means", "expected", "option"),
    [
        ({"stem": 1.0, "meta-1": 0.5}, None, SPECIAL),
        ({"stem": 1.0, "meta-1": 0.9}, None, STEM),  # less than a standard error
        ({"stem": 1.0, "meta-1": 0.9}, Gain(0.5, 0.1), SPECIAL),  # as it has been before
        ({"stem": 1.0, "meta-1": 0.8}, Gain(-0.8, 0.1), STEM),
        ({"stem": 1.0, "encoder-1": 0.5, "meta-1": 0.52}, None, STORED),  # the better head is what it is held against
    ],
)
def test_held_out_samples_are_joined_with_what_was_expected(monkeypatch, means, expected, option):
    noise = torch.tensor([1.0, -1.0]).repeat(10) * 0.5
    lost = {name: torch.full((20,), mean) + (noise if name == "stem" else -noise) for name, mean in means.items()}
    monkeypatch.setattr(heads, "lost_by", lambda bench, o, flops: (None, lost[o.source]) if o.source in lost else None)
    bench = SimpleNamespace(
        task=SimpleNamespace(kind="classification"), ledger=SimpleNamespace(spent=0.0), head_price=lambda option: 1.0
    )
    head = by_held_out([STEM, STORED], [SPECIAL], bench, lambda strategy: expected, 10.0)
    assert head.option == option
    assert set(head.gains) == {"protonet"}, "what was measured is there to be learned from"
    best = lost["encoder-1"] if "encoder-1" in lost else lost["stem"]
    assert head.gains["protonet"].nats == pytest.approx(float((best - lost["meta-1"]).mean()))


def test_what_does_not_fit_is_not_compared(monkeypatch):
    def unasked(*given):
        raise AssertionError("it was fitted")

    monkeypatch.setattr(heads, "lost_by", unasked)
    bench = SimpleNamespace(ledger=SimpleNamespace(spent=5.0), head_price=lambda option: 11.0)
    assert by_held_out([STEM], [SPECIAL], bench, lambda strategy: None, 10.0).option == STEM
    assert by_held_out([STEM], [SPECIAL], bench, lambda strategy: Gain(1.0, 0.1), 10.0).option == SPECIAL


def test_heads_on_encoders_of_their_own_are_those_of_strategies_that_consolidate():
    bench = SimpleNamespace(strategies=make_strategies({}))
    options = [Option(name, "x") for name in bench.strategies]
    assert [option.strategy for option in taught(options, bench)] == ["protonet"]


# In a stream

FAMILY = {"labels": "local", "train": 4, "query": 4}
TASKS = [
    {"name": "background", "repeat": 4, "families": [0, 1, 2, 3], "classes": 40, **FAMILY},
    {"name": "few", "repeat": 4, "families": [4, 5], "classes": 5, "labels": "local", "train": 1, "query": 5},
    {"name": "unjudged", "families": [4, 5], "classes": 5, "labels": "local", "train": 1},
]
STREAM = build_stream(
    stream_spec(
        source="glyphs",
        source_settings={"alphabets": 6, "characters": 20, "samples": 16},
        layout="tasks",
        setting="task-incremental",
        test_per_class=5,
        tasks=TASKS,
    ),
    100,
)
SETTINGS = AgentSettings(
    encoder_settings={"hidden": (64,)},
    anchor="none",
    stem="patches",
    stem_settings={"filters": 32},
    consolidate_share=0.6,
    episode_memory=20,
    scratch=6.0,
)


def drain(generator):
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def meet(who, index):
    task = STREAM.task(index)
    profile = who.profile(task)
    result = drain(who.learn(task, drain(who.select(task, profile))))
    who.remember(task, result)
    return profile, result


@pytest.mark.parametrize("selector", ["auto", pytest.param("auto:no-prior", marks=pytest.mark.slow)])
def test_an_encoder_trained_on_a_background_answers_few_shot_tasks(selector):
    made = make_strategies({"scratch": {"steps": 60}})
    who = LifelongAgent(KnowledgeStore.in_memory(), made, make_selector(selector, made), SETTINGS)
    answered = [meet(who, index) for index in range(len(STREAM))]
    assert not any(s.candidate.startswith("meta") for s in answered[2][0].scores), "before three tasks it says nothing"
    assert any(s.candidate.startswith("meta") for s in answered[3][0].scores), "it is probed like other encoders"
    few = [result.option.strategy for _, result in answered[4:8]]
    assert few.count("protonet") >= 2
    seen = who.selector.state()["prior"]["strategies"]["protonet"]["seen"]
    assert seen >= 4, "what it was worth is experience"
    unjudged = answered[8][1]
    assert unjudged.option.strategy == ("protonet" if selector == "auto" else "prototype")
