"""What every selector promises, whoever wrote it: choices that apply, the budget, the same choices after a restart."""

import json
from dataclasses import replace

import pytest
import torch

from evermap import registry
from evermap.agent.agent import LifelongAgent
from evermap.agent.agent_settings import AgentSettings
from evermap.agent.events import Profiled
from evermap.agent.selector import make_selector
from evermap.agent.store import KnowledgeStore
from evermap.agent.strategy import make_strategies
from evermap.streams.spec import stream_spec
from evermap.streams.stream import build_stream

STRATEGIES = {"scratch": {"steps": 60}, "finetune": {"steps": 60}, "distill": {"steps": 60}}
STREAM = build_stream(
    stream_spec(
        layout="tasks",
        setting="task-incremental",
        test_per_class=5,
        tasks=[
            {"name": "first", "classes": [0, 1, 2], "train": 40},
            {"name": "second", "classes": [3, 4, 5], "train": 40},
            {"name": "first relabelled", "classes": "first", "relabel": True, "train": 8},
            {"name": "few", "classes": [6, 7], "train": 2},
            {"name": "third", "classes": [6, 7, 8], "train": 40},
        ],
    ),
    7,
)
NAMES = ["fixed:finetune" if name == "fixed" else name for name in registry.registered("selector")]


def new_agent(name, store, **changes):
    made = make_strategies(STRATEGIES)
    settings = AgentSettings(
        encoder_settings={"hidden": (24,)}, anchor="none", stem="patches", consolidate_share=0.1, episode_memory=5
    )
    return LifelongAgent(store, made, make_selector(name, made), replace(settings, **changes))


def drain(generator):
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def meet(who, index):
    """Let an agent meet a task; return the options, what was chosen, and what came of it."""
    task = STREAM.task(index)
    profile = who.profile(task)
    options = who._bench.options()
    choice = drain(who.select(task, profile))
    outcome = drain(who.learn(task, choice))
    who.remember(task, outcome)
    return options, choice, outcome.learned


@pytest.mark.parametrize("name", NAMES)
def test_it_chooses_what_applies_within_the_budget_and_the_same_after_a_restart(name, tmp_path):
    with KnowledgeStore.open(tmp_path / "a") as one, KnowledgeStore.open(tmp_path / "b") as other:
        lasting = new_agent(name, one)
        for index in range(len(STREAM)):
            options, choice, learned = meet(lasting, index)
            assert (choice.strategy, choice.source) in {(o.strategy, o.source) for o in options if o.why_not is None}
            assert len(choice.reason.split()) > 1
            budget = lasting.budget(STREAM.task(index))
            passed = any("the budget was passed" in each for each in learned.warnings)
            assert passed == (learned.total_flops > budget), "whoever passes the budget is seen to"
            restarted = new_agent(name, other)  # knows only what its store holds
            _, again, learned_again = meet(restarted, index)
            assert replace(again, seconds=0) == replace(choice, seconds=0), f"{name} chooses otherwise after a restart"
            assert replace(learned_again, seconds=0, peak_bytes=0) == replace(learned, seconds=0, peak_bytes=0)
        state = lasting.selector.state()
        assert json.loads(json.dumps(state)) == state, "what a selector has learned is plain data"


@pytest.mark.parametrize("name", NAMES)
def test_it_draws_from_its_own_generator_only(name):
    with KnowledgeStore.in_memory() as store:
        who = new_agent(name, store)
        meet(who, 0)
        task = STREAM.task(1)
        profile = who.profile(task)
        before = torch.get_rng_state()
        drain(who.select(task, profile))
        assert torch.equal(torch.get_rng_state(), before)
        assert isinstance(profile, Profiled)


def test_what_always_try_all_spends_is_said():
    with KnowledgeStore.in_memory() as store:
        who = new_agent("always-try-all", store)
        _, choice, learned = meet(who, 0)
        assert {each.strategy for each in choice.tried} >= {"scratch", "prototype"}
        assert learned.total_flops > 1.2 * who.budget(STREAM.task(0))
        assert any("the budget was passed" in each for each in learned.warnings)
