"""The anchor that is meta-trained: it proves better on classes it never met, is frozen, and is a sum from then on."""

import itertools

import pytest
import torch

from evermap.agent.agent import LifelongAgent
from evermap.agent.agent_settings import AgentSettings
from evermap.agent.anchor import Anchor
from evermap.agent.anchors import slot
from evermap.agent.budget import Ledger
from evermap.agent.inherit import inherit
from evermap.agent.meta_anchor import weigh
from evermap.agent.overview import listed
from evermap.agent.selector import make_selector
from evermap.agent.store import KnowledgeStore
from evermap.agent.strategy import make_strategies
from evermap.errors import RecipeError
from evermap.scenarios.scenario import load_scenario
from evermap.streams.spec import stream_spec
from evermap.streams.stream import build_stream

SHAPE = (1, 8, 8)
STREAM = build_stream(
    stream_spec(layout="split", setting="class-incremental", train_per_class=24, test_per_class=20), 0
)
ASKED = torch.cat([STREAM.test(c).x for c in range(5)])
RIGHT = torch.cat([STREAM.test(c).y for c in range(5)])
# Three random features tell two digits apart badly: what is trained on episodes is soon better.
POOR = {"anchor": "meta", "anchor_features": 3, "episode_memory": 10, "consolidate_share": 0.5, "flops": 3e8}
TRAINING = {"protonet": {"min_tasks": 1, "meta_steps": 60}}


def agent(store, **changes):
    strategies = make_strategies(TRAINING)
    settings = {"encoder_settings": {"hidden": (32,)}, "gate": True, **POOR, **changes}
    return LifelongAgent(store, strategies, make_selector("fixed:prototype", strategies), AgentSettings(**settings))


def drain(generator):
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def learn(who, i, stream=STREAM):
    task = stream.task(i)
    choice = drain(who.select(task, who.profile(task)))
    outcome = drain(who.learn(task, choice))
    who.remember(task, outcome)
    return outcome.learned


def accuracy(who):
    answer = who.answer(ASKED, None)
    return float((torch.tensor(answer.classes)[answer.log_probs.argmax(dim=1)] == RIGHT).float().mean())


def bank_of(store):
    return store.bank_in(slot(SHAPE))


def test_it_begins_with_random_features_and_ends_with_what_proved_better_on_new_classes():
    with KnowledgeStore.in_memory() as store, KnowledgeStore.in_memory() as other:
        who, random = agent(store), agent(other, anchor="random", consolidate_share=0.0, episode_memory=0)
        accounts = [learn(who, i) for i in range(5)]
        for i in range(5):
            learn(random, i)
        assert accounts[0].anchor == "", "there is nothing to try yet"
        froze = next(i for i, each in enumerate(accounts) if "is frozen and becomes the anchor" in each.anchor)
        assert all(each.anchor.startswith("not clearly better: ") for each in accounts[1:froze])
        assert "protonet's meta-" in accounts[froze].anchor
        assert f"statistics of {48 * froze} samples of {48 * froze}" in accounts[froze].anchor
        assert all(each.anchor == "" for each in accounts[froze + 1 :]), "it is frozen once"
        assert all(each.consolidation == 0 for each in accounts[froze + 1 :]), "and no longer trained"
        assert all(each.total_flops <= POOR["flops"] for each in accounts)
        spec = bank_of(store).spec
        assert (spec["name"], spec["provisional"]) == ("mlp", False)
        assert spec["tally"]["models"] > spec["tally"]["anchor"]
        assert accuracy(who) > accuracy(random) + 0.1


def test_a_trial_is_paid_and_looks_at_no_class_that_the_encoder_met():
    with KnowledgeStore.in_memory() as store:
        who = agent(store)
        learn(who, 0)
        task = STREAM.task(1)
        choice = drain(who.select(task, who.profile(task)))
        outcome = drain(who.learn(task, choice))
        weighed, held = outcome.weighed, who.workbench(task).held_out
        assert weighed.tally.asked == len(held) > 0
        assert not set(task.classes) & set(who.library.anchors.classes(SHAPE))
        assert bank_of(store).spec["tally"]["asked"] == 0, "nothing is noted before the task is remembered"
        who.remember(task, outcome)
        assert bank_of(store).spec["tally"]["asked"] == len(held)
        returned = drain(who.learn(task, drain(who.select(task, who.profile(task)))))
        assert returned.weighed is None, "its classes were counted: the encoder has met them"
    with KnowledgeStore.in_memory() as store:
        who = agent(store)
        learn(who, 0)
        bench = who.layout.lay_out(STREAM.task(1), Ledger(10.0), probing=False)
        told = weigh(who.library, STREAM.task(1), bench)
        assert (told.said, told.anchor, told.tally.asked) == (
            "not tried: the budget does not pay for a trial of protonet's meta-1",
            None,
            0,
        )
        assert bench.ledger.flops.get("consolidate", 0.0) == 0


def test_encoding_the_memory_anew_is_asked_for_only_when_the_encoder_has_proved_better(monkeypatch):
    with KnowledgeStore.in_memory() as store:
        who = agent(store)
        learn(who, 0)
        bench = who.layout.lay_out(STREAM.task(1), Ledger(3e8), probing=False)
        monkeypatch.setattr("evermap.agent.gate.Tally.opens", lambda *given, **named: False)
        weigh(who.library, STREAM.task(1), bench)
        trial = bench.ledger.flops["consolidate"]

        def told(flops):
            short = who.layout.lay_out(STREAM.task(1), Ledger(1e12), probing=False)
            short.ledger.limit = short.ledger.spent + flops
            return weigh(who.library, STREAM.task(1), short).said

        # The price of a trial is what it takes at most; encoding 48 samples anew takes 48 · (2 · 64 · 32 + 2 · 32²).
        enough = next(f for f in (trial * (1 + k / 20) for k in range(400)) if "not tried" not in told(f))
        change = 48 * (2 * 64 * 32 + 2 * 32**2)
        assert told(enough).startswith("not clearly better: ")
        monkeypatch.setattr("evermap.agent.gate.Tally.opens", lambda *given, **named: True)
        assert told(max(enough, trial + change - 1)).startswith("better, but the budget does not pay for encoding")
        assert "is frozen and becomes the anchor" in told(max(enough, trial + change))


@pytest.fixture(scope="module")
def frozen():
    """A store with an anchor that was frozen, and the tasks that it had met by then."""
    store = KnowledgeStore.in_memory()
    who, met = agent(store), 0
    while not bank_of(store) or bank_of(store).spec["provisional"]:
        learn(who, met)
        met += 1
    yield store, met
    store.close()


def test_after_freezing_it_knows_the_same_in_any_order_and_what_joint_training_gives(frozen):
    store, met = frozen
    rest = [STREAM.task(i) for i in range(met, 5)]
    assert rest
    kept = agent(store).library.anchors._at(SHAPE).anchor

    def after(tasks):
        anchor = Anchor(kept.encoder)
        anchor.restore(kept.state())
        for task in tasks:
            anchor.add(task.support.x, torch.tensor(task.classes)[task.support.y])
        return anchor.log_probs(ASKED).exp()

    x = torch.cat([task.support.x for task in rest])
    y = torch.cat([torch.tensor(task.classes)[task.support.y] for task in rest])
    joint = Anchor(kept.encoder)
    joint.restore(kept.state())
    joint.add(x, y)
    for order in itertools.permutations(rest):
        torch.testing.assert_close(after(order), joint.log_probs(ASKED).exp(), rtol=1e-5, atol=1e-5)


def test_its_statistics_are_those_of_all_samples_met_under_the_frozen_encoder(frozen):
    """Few samples of a class: the memory holds them all, so nothing tells that features were others before."""
    store, met = frozen
    kept = agent(store).library.anchors._at(SHAPE).anchor
    whole = Anchor(kept.encoder)
    for task in (STREAM.task(i) for i in range(met)):
        whole.add(task.support.x, torch.tensor(task.classes)[task.support.y])
    assert whole.classes == kept.classes
    torch.testing.assert_close(whole.moments.counts, kept.moments.counts)
    torch.testing.assert_close(whole.log_probs(ASKED).exp(), kept.log_probs(ASKED).exp(), rtol=1e-3, atol=1e-4)


def test_an_agent_that_goes_on_has_the_same_bytes():
    """Another process takes the store up before, at, and after the change."""
    with KnowledgeStore.in_memory() as one, KnowledgeStore.in_memory() as many:
        whole = agent(one)
        for i in range(5):
            learn(whole, i)
            learn(agent(many), i)
        assert [b.blob for b in one.banks()] == [b.blob for b in many.banks()]
        assert [b.spec for b in one.banks()] == [b.spec for b in many.banks()]
        assert torch.equal(whole.answer(ASKED, None).log_probs, agent(many).answer(ASKED, None).log_probs)


def test_signatures_of_the_gate_are_made_anew_in_the_new_features(frozen):
    store, met = frozen
    banks = store.banks_with("gate")
    assert [bank.spec["gate"] for bank in banks] == list(range(met))
    size = {store.weights(bank.id)["means"].shape[1] for bank in banks}
    assert size == {32}, "all of them stand on the encoder's features"


def test_without_samples_of_every_class_it_stays_as_it_is():
    with KnowledgeStore.in_memory() as store:
        who = agent(store, episode_memory=1)
        said = [learn(who, i).anchor for i in range(5)]
        assert any("but not every class has samples in the episode memory" in each for each in said)
        assert bank_of(store).spec["provisional"]
        assert bank_of(store).spec["name"] == "random"
        assert who.library.anchors.classes(SHAPE) == tuple(range(10))


def test_the_samples_that_are_kept_are_named_with_every_task():
    with KnowledgeStore.in_memory() as store, KnowledgeStore.in_memory() as other:
        who, without = agent(store, episode_memory=2), agent(other, anchor="random", episode_memory=0)
        for i in range(3):
            for each in (who, without):
                task = STREAM.task(i)
                choice = drain(each.select(task, each.profile(task)))
                told = each.remember(task, drain(each.learn(task, choice)))
                held = [b for b in each.store.banks() if (b.slot or "").startswith("episode ")]
                assert (told.sampled, told.sample_bytes) == (len(held), sum(b.bytes for b in held))
                assert len(held) == (min(i + 1, 2) if each is who else 0)
        samples = min(2 * 24, 40) * 64 * 4  # at most twenty a class of the support, and what was held out of it
        assert told.sampled == 0
        assert listed(store)["replay"]["tasks"] == 2
        assert listed(store)["replay"]["bytes"] >= 2 * samples


def test_good_features_do_not_give_way_to_an_encoder_of_two_tasks():
    with KnowledgeStore.in_memory() as store:
        who = agent(store, anchor_features=512)
        said = [learn(who, i).anchor for i in range(3)]
        assert all(each.startswith("not clearly better: ") for each in said[1:])
        assert bank_of(store).spec["provisional"]


# On another run's store


def begun_on_another(tmp_path, old, keep_classes, **changes):
    """A store that two tasks were learned in, and a copy that a new stream begins on."""
    with KnowledgeStore.open(tmp_path / "old") as store:
        who = agent(store, **changes)
        for i in range(2):
            learn(who, i, old)
    inherit(tmp_path / "old", tmp_path / "new", keep_classes=keep_classes, episodes=10)
    return KnowledgeStore.open(tmp_path / "new")


def met(store):
    return [meta.spec["met"] for meta in store.metas()]


def test_what_the_encoder_has_met_is_kept_beside_it():
    with KnowledgeStore.in_memory() as store:
        who = agent(store, episode_memory=1)  # what has left the memory was met all the same
        for i in range(2):
            learn(who, i)
        first, second = STREAM.task(0).classes, STREAM.task(1).classes
        assert met(store) == [sorted(first), sorted({*first, *second})]


def test_an_encoder_from_a_stream_whose_classes_may_be_the_same_is_not_tried(tmp_path):
    with begun_on_another(tmp_path, STREAM, keep_classes=False) as store:
        assert met(store) == [None, None]
        who = agent(store)
        said = [learn(who, i).anchor for i in range(2)]
        assert said == [f"not tried: nobody knows which classes protonet's meta-{i} has met" for i in (2, 3)]
        assert met(store) == [None] * 4, "what it met once it has met for good"
        assert bank_of(store).spec["provisional"]
        assert who.library.anchors.tally(SHAPE).asked == 0


def test_an_encoder_that_was_trained_on_samples_from_elsewhere_is_not_tried(tmp_path):
    """It was begun here, but the episode memory holds classes that may be those of the new stream."""
    with begun_on_another(tmp_path, STREAM, keep_classes=False, anchor="random", consolidate_share=0.0) as store:
        assert store.metas() == []
        who = agent(store)
        assert [learn(who, i).anchor[:9] for i in range(3)] == ["", "not tried", "not tried"]


def test_where_classes_mean_the_same_only_new_ones_are_a_trial(tmp_path):
    with begun_on_another(tmp_path, STREAM, keep_classes=True) as store:
        who = agent(store)
        assert met(store)[-1] == sorted({*STREAM.task(0).classes, *STREAM.task(1).classes})
        assert learn(who, 0).anchor == "", "its classes were met before"
        assert "right on protonet's meta-" in learn(who, 2).anchor


def test_samples_of_another_stream_become_neither_statistics_nor_signatures(tmp_path, monkeypatch):
    monkeypatch.setattr("evermap.agent.learning.classes_met", lambda *given: ())  # else it would not be tried at all
    stream = build_stream(
        stream_spec(layout="split", setting="class-incremental", train_per_class=100, test_per_class=5), 0
    )
    old = {"anchor": "random", "consolidate_share": 0.0}
    with begun_on_another(tmp_path, STREAM, keep_classes=False, **old) as store:
        who, i = agent(store), 0
        while not bank_of(store) or bank_of(store).spec["provisional"]:
            told = learn(who, i, stream)
            i += 1
        assert i < 5, "all five tasks were there to begin with"
        counted = who.library.anchors._at(SHAPE).anchor
        counts = dict(zip(counted.classes, counted.moments.counts.tolist(), strict=True))
        before = [c for k in range(i - 1) for c in stream.task(k).classes]
        assert {c: counts[c] for c in before} == dict.fromkeys(before, 40), "twenty to learn from, and twenty held out"
        assert f"statistics of {40 * len(before)} samples of {100 * len(before)}" in told.anchor
        assert [bank.spec["gate"] for bank in store.banks_with("gate")] == list(range(i))


@pytest.mark.parametrize("keep_classes", [True, False])
def test_the_anchor_has_counted_what_was_kept_under_the_same_classes(tmp_path, keep_classes):
    with begun_on_another(tmp_path, STREAM, keep_classes) as store:
        who = agent(store)
        learn(who, 2)
        bench = who.layout.lay_out(STREAM.task(3), Ledger(1e9), probing=False)
        assert [e.task for e in bench.known.episodes] == [-2, -1, 2]
        assert [e.task for e in bench.known.counted(SHAPE)] == ([-2, -1, 2] if keep_classes else [2])
        assert bench.known.counted((64,)) == []


def test_a_recipe_without_an_episode_memory_is_refused():
    with pytest.raises(RecipeError, match=r"only with agent\.episode_memory and budget\.consolidate above 0"):
        load_scenario("digits-class", ["agent.anchor=meta"])
    made = load_scenario("digits-class", ["agent.anchor=meta", "agent.episode_memory=5", "budget.consolidate=0.3"])
    assert made.agent.anchor == "meta"
