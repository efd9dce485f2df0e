"""Who answers without a task label, on agents that learn real streams."""

import pytest
import torch

from evermap.agent.agent import LifelongAgent
from evermap.agent.agent_settings import AgentSettings
from evermap.agent.gate import Tally
from evermap.agent.selector import make_selector
from evermap.agent.store import KnowledgeStore
from evermap.agent.strategy import make_strategies
from evermap.scenarios.run import make_agent
from evermap.scenarios.scenario import load_scenario
from evermap.streams.spec import stream_spec
from evermap.streams.stream import build_stream

SHAPE = (1, 8, 8)


def stream_of(layout, setting, **more):
    return build_stream(stream_spec(layout=layout, setting=setting, train_per_class=60, test_per_class=30, **more), 0)


ROTATED = stream_of("rotations", "domain-incremental", angles=(0, 90, 180, 270))
SPLIT = stream_of("split", "class-incremental")


def agent(store=None, **changes):
    strategies = make_strategies({})
    store = KnowledgeStore.in_memory() if store is None else store
    given = {"gate": True, "flops": 1e9, "anchor_features": 128, **changes}
    return LifelongAgent(store, strategies, make_selector("fixed:prototype", strategies), AgentSettings(**given))


def learn_all(who, stream, tasks=None):
    for task in [stream.task(i) for i in (range(len(stream)) if tasks is None else tasks)]:
        profile = who.profile(task)
        chosen = drain(who.select(task, profile))
        who.remember(task, drain(who.learn(task, chosen)))
    return who


def drain(generator):
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def asked(stream):
    tests = [stream.test(c) for c in range(len(stream.concepts))]
    return torch.cat([test.x for test in tests]), torch.cat([test.y for test in tests])


def right(answer, y):
    return float((torch.tensor(answer.classes)[answer.log_probs.argmax(dim=1)] == y).float().mean())


@pytest.fixture(scope="module")
def rotated():
    return learn_all(agent(), ROTATED)


def test_across_domains_the_models_that_fit_answer_better_than_the_anchor(rotated):
    x, y = asked(ROTATED)
    alone = learn_all(agent(gate=False), ROTATED).answer(x, None)
    answer = rotated.answer(x, None)
    assert rotated.library.gatekeeper.is_open(SHAPE)
    assert alone.by_anchor.all()
    assert answer.by_anchor.float().mean() < 0.05
    assert right(answer, y) > right(alone, y) + 0.01
    assert answer.classes == tuple(range(10))
    torch.testing.assert_close(answer.log_probs.exp().sum(dim=1), torch.ones(len(y)))


def test_what_fits_no_task_is_left_to_the_anchor(rotated):
    strange = torch.rand(20, *SHAPE, generator=torch.Generator().manual_seed(0)) * 40
    answer = rotated.answer(strange, None)
    assert answer.by_anchor.all()
    torch.testing.assert_close(answer.log_probs, rotated.library.anchors.log_probs(strange))


def test_a_picked_model_says_what_it_says_with_its_label(rotated):
    x, _ = asked(ROTATED)
    answer = rotated.answer(x[:30], None)
    record = rotated.store.tasks()[0]
    model = rotated.library.gatekeeper.model(record)
    own = torch.log_softmax(model(x[:30]) / model.head.temperature, dim=1)
    same = (answer.log_probs - own).abs().max(dim=1).values < 1e-4
    assert same.float().mean() > 0.6, "the first test set is upright digits, as the first task"


def test_one_sample_is_answered_as_in_a_batch(rotated):
    x, _ = asked(ROTATED)
    x = x[::9]
    together = rotated.answer(x, None)
    for i in range(len(x)):
        alone = rotated.answer(x[i : i + 1], None)
        assert bool(alone.by_anchor[0]) == bool(together.by_anchor[i])
        torch.testing.assert_close(alone.log_probs[0].exp(), together.log_probs[i].exp(), rtol=1e-4, atol=1e-5)


def test_classes_learned_apart_are_answered_no_worse_than_by_the_anchor_alone():
    x, y = asked(SPLIT)
    alone = right(learn_all(agent(gate=False), SPLIT).answer(x, None), y)
    who = learn_all(agent(), SPLIT)
    answer = who.answer(x, None)
    assert right(answer, y) >= alone - 0.005
    assert answer.classes == tuple(range(10))


def test_the_gate_is_closed_until_models_proved_better():
    who = learn_all(agent(), ROTATED, tasks=range(1))
    assert not who.library.gatekeeper.is_open(SHAPE)
    assert who.answer(asked(ROTATED)[0][:50], None).by_anchor.all()


def test_without_held_out_samples_nothing_is_proved():
    few = build_stream(
        stream_spec(layout="rotations", setting="domain-incremental", angles=(0, 90), train_per_class=4), 0
    )
    who = learn_all(agent(), few)
    assert len(who.store.banks()) == 3, "the signatures are there"
    assert not who.library.gatekeeper.is_open(SHAPE)


def test_a_tally_counts_samples_that_nobody_had_learned_from(rotated):
    tallies = [bank.spec["tally"] for bank in rotated.store.banks() if "gate" in bank.spec]
    assert tallies[0] == {"models": 0.0, "anchor": 0.0, "asked": 0}, "there was nothing to choose from"
    for index, tally in enumerate(tallies[1:], start=1):
        held_out = rotated.store.task(index).outcome["held_out"]
        assert tally["asked"] == held_out == 120
        assert 0 < tally["anchor"] < held_out
        assert abs(tally["models"] - held_out * rotated.store.task(index).outcome["accuracy"]) < 0.1 * held_out
    whole = sum((Tally(**each).asked for each in tallies), 0)
    assert whole == 360


def test_the_gate_is_rebuilt_from_the_store(rotated, tmp_path):
    x, _ = asked(ROTATED)
    with KnowledgeStore.open(tmp_path / "store") as store:
        before = learn_all(agent(store), ROTATED, tasks=range(3)).answer(x, None)
    with KnowledgeStore.open(tmp_path / "store") as store:
        who = agent(store)
        again = who.answer(x, None)
        assert torch.equal(again.log_probs, before.log_probs)
        assert torch.equal(again.by_anchor, before.by_anchor)
        learn_all(who, ROTATED, tasks=[3])
        assert torch.equal(who.answer(x, None).log_probs, rotated.answer(x, None).log_probs)


def test_no_raw_sample_is_stored(rotated):
    kept = [rotated.store.weights(bank.id) for bank in rotated.store.banks()]
    inputs = torch.cat([task.support.x for task in ROTATED]).flatten(1)
    for tensors in kept:
        for name, tensor in tensors.items():
            assert tensor.ndim < 2 or tensor.shape[-1] != inputs.shape[1], name
            assert tensor.shape[:1] != (len(ROTATED.task(0).support),), name


@pytest.mark.parametrize(
    ("scenario", "changes", "gated"),
    [
        ("digits-rotations", (), True),
        ("digits-class", (), True),
        ("digits-split", (), False),
        ("digits-rotations", ("agent.gate=false",), False),
    ],
)
def test_the_setting_decides_whether_there_is_a_gate(scenario, changes, gated):
    recipe = load_scenario(scenario, ["device=cpu", *changes])
    assert make_agent(recipe, KnowledgeStore.in_memory()).settings.gate is gated
