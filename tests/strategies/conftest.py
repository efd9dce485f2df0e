"""A small stream of real digits in which every sample carries a mark, and an agent that has learned its first tasks."""

import functools

import pytest
import torch

from evermap import registry
from evermap.agent.agent import LifelongAgent
from evermap.agent.agent_settings import AgentSettings
from evermap.agent.selector import Choice, Selector
from evermap.agent.store import KnowledgeStore
from evermap.agent.strategy import make_strategies
from evermap.streams.digits import Digits
from evermap.streams.source import SourceData
from evermap.streams.spec import stream_spec
from evermap.streams.stream import Stream

TASKS = [
    {"name": "zero or one", "classes": [0, 1]},
    {"name": "two or three", "classes": [2, 3]},
    {"name": "four or five", "classes": [4, 5]},
    {
        "name": "one or zero",
        "classes": "zero or one",
        "relabel": True,
        "phase": "last two",
    },  # comes back under other labels
    {"name": "six or seven", "classes": [6, 7], "phase": "last two"},
]
LEARNED = 3
STEPS = 40  # of every strategy that has such a setting

# The corner pixels are blank in every digit: two of them carry the sample's number, in two ways.
MARKS = (torch.arange(1797) + 1) * 1e-6, 1e-2 - (torch.arange(1797) + 1) * 1.7e-6


class Scripted(Selector):
    """Takes the strategy that is written for the task; lets every strategy work for later tasks."""

    name = "scripted"

    def __init__(self, script=("scratch",), jointly=None):
        super().__init__()
        self.script, self.jointly = script, jointly

    def together(self, strategies, rng):
        return self.jointly if self.jointly in strategies else None

    def select(self, task, profile, options, bench, rng):
        wanted = self.script[min(task.index, len(self.script) - 1)]
        option = next(option for option in options if option.strategy == wanted)
        return Choice(wanted, option.source, "as written")


@functools.cache
def marked_digits() -> SourceData:
    data = Digits().load(None)
    x = data.x.clone()
    x[:, 0, 0, 0], x[:, 0, 0, 7] = MARKS
    return SourceData(x, data.y, data.classes)


@pytest.fixture(scope="session")
def stream() -> Stream:
    spec = stream_spec(
        layout="tasks", setting="task-incremental", tasks=TASKS, train_per_class=40, test_per_class=30, test_share=0.3
    )
    return Stream(spec, 0, marked_digits())


SETTINGS = AgentSettings(
    encoder="mlp",
    encoder_settings={"hidden": (24,)},
    flops=1e9,
    consolidate_share=0.3,
    episode_memory=10,
    score_every=10,
    patience=1000,
)


def agent_on(store, selector=None, instead=None, **changes) -> LifelongAgent:
    """An agent with every registered strategy, whose gradient training is short, some replaced."""
    kinds = {name: entry.load() for name, entry in registry.registered("strategy").items()}
    short = {name: {"steps": STEPS} for name, kind in kinds.items() if hasattr(kind().settings, "steps")}
    strategies = make_strategies(short)
    for name, kind in (instead or {}).items():
        strategies[name] = kind(**short.get(name, {}))
    settings = AgentSettings(**{**vars(SETTINGS), **changes})
    return LifelongAgent(store, strategies, selector or Scripted(), settings)


def learn(agent, task):
    """Let an agent learn one task; return everything that it told."""
    told = [agent.profile(task)]
    selecting = agent.select(task, told[0])
    choice = None
    while choice is None:
        try:
            told.append(next(selecting))
        except StopIteration as end:
            choice = end.value
    learning = agent.learn(task, choice)
    while True:
        try:
            told.append(next(learning))
        except StopIteration as end:
            return [*told, agent.remember(task, end.value)]


@pytest.fixture(scope="session")
def full_store(stream) -> KnowledgeStore:
    """What an agent knows that learned the first tasks from scratch; nobody writes into it."""
    store = KnowledgeStore.in_memory()
    agent = agent_on(store)
    for i in range(LEARNED):
        learn(agent, stream.task(i))
    return store


@pytest.fixture(scope="session")
def make_agent():
    return agent_on


@pytest.fixture
def teach():
    return learn


@pytest.fixture(scope="session")
def scripted():
    return Scripted


@pytest.fixture(scope="session")
def empty_store() -> KnowledgeStore:
    """What a new agent knows; nobody writes into it."""
    return KnowledgeStore.in_memory()
