"""The agent as a strategy of Avalanche's, in a script of the user's."""

import importlib.util
from pathlib import Path

import pytest
import torch

from evermap.agent.agent import LifelongAgent
from evermap.agent.agent_settings import AgentSettings
from evermap.agent.selector import make_selector
from evermap.agent.store import KnowledgeStore
from evermap.agent.strategy import make_strategies
from evermap.errors import UserError
from evermap.scenarios.baselines_agent import AgentStrategy, task_of
from evermap.scenarios.scenario import load_scenario
from evermap.streams.benchmark import to_benchmark
from evermap.streams.stream import build_stream

EXAMPLE = Path(__file__).parents[2] / "examples" / "avalanche_script.py"


def agent(**settings):
    strategies = make_strategies({})
    given = AgentSettings(flops=2e7, seed=3, encoder_settings={"hidden": (16,)}, **settings)
    return LifelongAgent(KnowledgeStore.in_memory(), strategies, make_selector("fixed:scratch", strategies), given)


def made(scenario):
    recipe = load_scenario(scenario, ["stream.train_per_class=30", "stream.test_per_class=10"])
    stream = build_stream(recipe.stream, recipe.seed)
    return stream, to_benchmark(stream)


def test_the_example_learns_the_digits_and_avalanche_measures_it(capsys):
    spec = importlib.util.spec_from_file_location("avalanche_script", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.main(tasks=3)
    assert capsys.readouterr().out.count("FLOP") == 3
    assert found["Top1_Acc_Stream/eval_phase/test_stream"] > 0.9
    assert found["StreamForgetting/eval_phase/test_stream"] < 0.1


def test_with_task_labels_every_task_has_its_own_model():
    stream, benchmark = made("digits-split")
    strategy = AgentStrategy(agent=agent(anchor="none"), n_classes=stream.n_classes)
    before = None
    for i, experience in enumerate(benchmark.train_stream):
        strategy.train(experience, eval_streams=[])
        x = benchmark.test_stream[0].dataset[0][0][None]
        said = strategy.model(x, torch.tensor([0]))
        assert said.shape == (1, stream.n_classes)
        before = said if before is None else before
        assert torch.equal(before, said), "nothing is forgotten by memory"
        assert int(said.argmax()) in stream.concepts[0].classes
        if i == 1:
            break
    assert [type(event).__name__ for event in strategy.events].count("Remembered") == 2


def test_tasks_are_made_of_what_the_experience_holds():
    stream, benchmark = made("digits-split")
    task, own = task_of(benchmark.train_stream[1], agent()), stream.task(1)
    assert torch.equal(task.support.x, own.support.x)
    assert set(task.classes) == set(own.classes)
    assert [task.classes[k] for k in task.support.y.tolist()] == [own.classes[k] for k in own.support.y.tolist()]
    assert (task.label, task.index) == (1, 0)


def test_an_experience_of_several_tasks_is_refused():
    _, benchmark = made("digits-split")
    experience = benchmark.train_stream[0]
    experience.task_labels = [0, 1]
    with pytest.raises(UserError, match=r"task labels \[0, 1\]"):
        task_of(experience, agent())
