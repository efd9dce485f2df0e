"""Every strategy learns on every network that can be trained, from a store of networks of its kind."""

import math
from dataclasses import replace

import pytest
import torch

from evermap import registry
from evermap.agent.arm import Arm, outputs_of
from evermap.agent.budget import Ledger
from evermap.agent.model import finite
from evermap.agent.store import KnowledgeStore
from evermap.streams.digits import Digits
from evermap.streams.source import SourceData
from evermap.streams.spec import stream_spec
from evermap.streams.stream import Stream

SMALL = {
    "mlp": {"hidden": (16,)},
    "conv4": {"filters": 8, "groups": 2},
    "conv4 by strides": {"filters": 8, "groups": 2, "down": "stride"},
    "resnet18": {"width": 4, "groups": 2},
    "text": {"width": 16},
}
TASKS = [
    {"name": "zero or one", "classes": [0, 1]},
    {"name": "two or three", "classes": [2, 3]},
    {"name": "four or five", "classes": [4, 5]},
    {"name": "one or zero", "classes": "zero or one", "relabel": True, "phase": "last two"},
    {"name": "six or seven", "classes": [6, 7], "phase": "last two"},
]
MET = 3
UNITS = 6


def test_every_network_that_can_be_trained_is_among_them():
    trainable = {name for name, entry in registry.registered("encoder").items() if entry.load().trainable}
    assert trainable == {name.split()[0] for name in SMALL}


@pytest.fixture(scope="module", params=SMALL)
def met(request, make_agent, scripted):
    """A stream, and a function from a strategy to an agent that has met three of its tasks."""
    name, data = request.param.split()[0], Digits().load(None)
    x = data.x.flatten(1) if name == "text" else data.x
    spec = stream_spec(layout="tasks", setting="task-incremental", tasks=TASKS, train_per_class=20, test_per_class=20)
    stream = Stream(spec, 0, SourceData(x, data.y, data.classes, "text" if name == "text" else "image"))
    store = KnowledgeStore.in_memory()

    def agent_for(strategy):
        # A unit of meta-training must fit into its share.
        flops = 1e9 if name == "resnet18" else 1e8
        changes = {"encoder": name, "encoder_settings": SMALL[request.param], "flops": flops}
        return make_agent(store, scripted(jointly=strategy), **changes)

    agent = agent_for("scratch")
    for i in range(MET):
        task = stream.task(i)
        profile = agent.profile(task)
        choice = _last(agent.select(task, profile))
        agent.remember(task, _last(agent.learn(task, choice)))
    return stream, agent_for


def _last(events):
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("name", registry.registered("strategy"))
def test_it_learns_on_every_network(met, name):
    stream, agent_for = met
    agent, task = agent_for(name), stream.task(MET)
    bench = agent.layout.lay_out(task, Ledger(1e12), probing=True)
    if agent.strategies[name].joint and agent.strategies[name].applies(bench.task, bench.known) is not None:
        list(agent.learn_together([task, stream.task(MET + 1)]))
        bench = agent.layout.lay_out(task, Ledger(1e12), probing=True)
    option = next(option for option in bench.options() if option.strategy == name)
    assert option.why_not is None
    known = replace(bench.known, chosen=option.source)
    arm = Arm(bench.strategies[name], bench.task, known, seed=7, held_out=bench.held_out, score_every=2)
    for _ in arm.run(math.inf, units=UNITS):
        pass
    assert arm.best is not None
    assert finite(arm.best)
    outputs = outputs_of(arm.best, bench.task.support.x)
    assert outputs.shape == (len(bench.task.support), 2)
    assert not torch.equal(outputs[0], outputs[1]), "inputs are told apart"
