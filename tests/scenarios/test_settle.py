import pytest

from evermap.errors import RecipeError
from evermap.registry import registered
from evermap.scenarios.run import make_agent, run
from evermap.scenarios.scenario import load_scenario
from evermap.scenarios.settle import settled, written

SMALL = ["agent.encoder_settings.hidden=[8]"]
CONV = ["agent.encoder=conv4", "agent.encoder_settings.filters=16"]


def backend(changes, shape=(1, 8, 8), setting="backend"):
    from evermap.agent.store import KnowledgeStore

    scenario = load_scenario("digits-fewshot", changes)
    agent = make_agent(scenario, KnowledgeStore.in_memory())
    return settled(scenario, agent.strategies, agent.settings, shape).strategies.get("maml", {}).get(setting)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (SMALL, "axis"),
        (CONV, "loop"),
        (["agent.encoder_settings.hidden=[2000]"], "loop"),
        ([*SMALL, "strategies.maml.backend=auto"], "axis"),
        ([*SMALL, "strategies.maml.backend=vmap"], "vmap"),
        ([*SMALL, "agent.stem=patches"], "axis"),  # 2,048 features in, eight units
    ],
)
def test_auto_is_settled_by_the_network(changes, expected):
    assert backend(changes) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [(SMALL, False), (CONV, True), ([*CONV, "strategies.maml.channels_last=false"], False)],
)
def test_the_layout_is_settled_by_the_network_too(changes, expected):
    assert backend(changes, setting="channels_last") is expected


def test_a_backend_that_does_not_fit_is_refused_before_the_run():
    with pytest.raises(RecipeError, match=r"strategies.maml: backend: found 'axis'"):
        backend([*CONV, "strategies.maml.backend=axis"])


def test_a_network_that_cannot_be_built_settles_nothing():
    assert backend(CONV, shape=(64,)) == "auto"


def test_every_default_is_written_out(tmp_path):
    changes = ["agent.encoder_settings={}", "stream.tasks=1", "strategies.scratch.steps=5"]
    for _ in run(load_scenario("digits-fewshot", changes), tmp_path / "run"):
        pass
    recorded = load_scenario(tmp_path / "run" / "scenario.toml")
    assert recorded.agent.encoder_settings == {"hidden": [256, 128]}
    assert set(recorded.strategies) == set(registered("strategy"))
    assert recorded.strategies["scratch"]["steps"] == 5
    assert recorded.strategies["scratch"]["lr"] == 0.003
    for name, entry in registered("strategy").items():
        assert written(entry.load()(**recorded.strategies[name]).settings) == recorded.strategies[name]


def test_the_record_never_says_auto(tmp_path):
    changes = [*SMALL, "strategies.maml.backend=auto", "stream.tasks=1", "strategies.scratch.steps=5"]
    scenario = load_scenario("digits-fewshot", changes)
    for _ in run(scenario, tmp_path / "run"):
        pass
    recorded = load_scenario(tmp_path / "run" / "scenario.toml")
    assert recorded.strategies["maml"]["backend"] == "axis"
    assert recorded.strategies["maml"]["channels_last"] is False
    assert recorded.model_copy(update={"strategies": scenario.strategies}) == scenario
