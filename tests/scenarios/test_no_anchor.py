import pytest
import torch

from evermap.agent.store import KnowledgeStore
from evermap.errors import RecipeError
from evermap.scenarios.run import make_agent
from evermap.scenarios.scenario import load_scenario
from evermap.streams.stream import build_stream

PLAIN = ("agent.anchor=none", "agent.selector=fixed:prototype", "device=cpu", "stream.train_per_class=5")


def test_without_task_labels_there_must_be_an_anchor():
    with pytest.raises(RecipeError, match=r"agent\.anchor.*class-incremental stream gives no task label"):
        load_scenario("digits-class", PLAIN)


@pytest.mark.parametrize("anchor", ["none", "random"])
def test_an_agent_without_an_anchor_keeps_no_statistics(anchor, tmp_path):
    scenario = load_scenario("digits-split", [*PLAIN, f"agent.anchor={anchor}"])
    stream = build_stream(scenario.stream, scenario.seed)
    with KnowledgeStore.open(tmp_path / "store") as store:
        agent, task = make_agent(scenario, store), stream.task(0)
        chosen = exhaust(agent.select(task, agent.profile(task)))
        agent.remember(task, exhaust(agent.learn(task, chosen)))
        x = stream.test(0).x[:3]
        assert agent.answer(x, label=0).classes == task.classes
        assert agent.answer(x, label=1).classes == (() if anchor == "none" else task.classes)
        assert (store.bank_in("anchor 1x8x8") is None) == (anchor == "none")
        assert torch.equal(agent.answer(x, label=1).by_anchor, torch.full((3,), anchor != "none"))


def exhaust(generator):
    """Run a generator to its end and return what it returns."""
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value
