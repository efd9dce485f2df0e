"""No task takes more than its budget, and choosing no more than a fifth of it, however odd and small it is."""

import pytest

from evermap.agent.agent import LifelongAgent
from evermap.agent.agent_settings import AgentSettings
from evermap.agent.events import Chosen, Learned, Profiled
from evermap.agent.selector import make_selector
from evermap.agent.selectors.auto import CHOOSING_SHARE
from evermap.agent.store import KnowledgeStore
from evermap.agent.strategy import make_strategies
from evermap.streams.spec import stream_spec
from evermap.streams.stream import build_stream

FEW = {"classes": 3, "train": 1, "query": 7, "labels": "local"}
TASKS = [
    {"name": "together", "repeat": 2, "phase": "first", "classes": 3, "train": 12, "query": 8},
    {"name": "few", "repeat": 3, **FEW},
    {"name": "two of two", "classes": 2, "train": 2},
    {"name": "more", "classes": 5, "train": 25},
    {"name": "many", "train": 9},
    {"name": "few again", "returns": "few 1", "train": 2},
    {"name": "more relabelled", "classes": "more", "relabel": True, "train": 5},
    {"name": "noisy", "classes": 4, "train": 11, "label_noise": 0.4},
    {"name": "one each", "classes": 9, "train": 1, "labels": "local"},
    {"name": "few later", "repeat": 2, **FEW},
    {"name": "more again", "returns": "more", "train": 3},
]
STREAM = build_stream(stream_spec(layout="tasks", setting="task-incremental", test_per_class=2, tasks=TASKS), 100)


def drain(generator):
    events = []
    while True:
        try:
            events.append(next(generator))
        except StopIteration as end:
            return events, end.value


def shares(selector, steps, **changes):
    """Per task: name, share of the budget for choosing, share for everything, and the account's warnings."""
    made = make_strategies({name: {"steps": steps} for name in ("scratch", "finetune", "distill", "multitask")})
    settings = AgentSettings(encoder_settings={"hidden": (32,)}, anchor="none", episode_memory=9, **changes)
    who = LifelongAgent(KnowledgeStore.in_memory(), made, make_selector(selector, made), settings)
    found = []
    for phase in STREAM.phases(0):
        drain(who.learn_together(phase)) if len(phase) > 1 else None
        for task in phase:
            budget = who.budget(task)
            profile = who.profile(task)
            events, chosen = drain(who.select(task, profile))
            events, outcome = drain(who.learn(task, chosen))
            who.remember(task, outcome)
            assert isinstance(profile, Profiled)
            assert isinstance(chosen, Chosen)
            learned = next(event for event in events if isinstance(event, Learned))
            own = sum(t.flops for t in chosen.tried if (t.strategy, t.source) == (chosen.strategy, chosen.source))
            choosing = (profile.flops + chosen.flops - own) / budget
            found.append((task.name, choosing, learned.total_flops / budget, learned.warnings))
    return found


@pytest.mark.parametrize("stem", ["none", "patches"])
@pytest.mark.parametrize(
    ("steps", "consolidate"),
    [pytest.param(12, 0.3, marks=pytest.mark.slow), (25, 0.1), pytest.param(80, 0.5, marks=pytest.mark.slow)],
)
def test_auto_keeps_within_every_budget(stem, steps, consolidate):
    for name, choosing, whole, warnings in shares("auto", steps, stem=stem, consolidate_share=consolidate):
        passed = [text for text in warnings if "a closed-form head alone takes more" in text]
        assert choosing <= CHOOSING_SHARE or passed, f"choosing took {choosing:.2f} of the budget of {name!r}"
        assert whole <= 1.0 + 1e-9 or passed, f"{whole:.2f} of the budget of {name!r} were spent: {warnings}"


def test_what_a_first_unit_of_meta_training_takes_is_known_beforehand():
    for name in ("fixed:maml", "fixed:protonet"):
        spent = shares(name, 25, consolidate_share=0.1, stem="patches")
        assert max(whole for _, _, whole, _ in spent) <= 1.0 + 1e-9
