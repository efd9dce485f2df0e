import itertools
from dataclasses import replace

import pytest
import torch

from evermap.agent.agent import LifelongAgent
from evermap.agent.agent_settings import AgentSettings
from evermap.agent.model import state
from evermap.agent.selector import Choice, Option, Selector, make_selector
from evermap.agent.store import KnowledgeStore
from evermap.agent.strategy import Strategy, make_strategies
from evermap.errors import BudgetError, Diverged, NothingApplies, StrategyError
from evermap.streams.spec import stream_spec
from evermap.streams.stream import build_stream
from evermap.streams.task import Samples, Task

SHORT = {"scratch": {"steps": 30}, "finetune": {"steps": 30}}


def stream_of(setting="task-incremental", layout="split", seed=0, **more):
    small = {"train_per_class": 30, "test_per_class": 20}
    return build_stream(stream_spec(layout=layout, setting=setting, **small, **more), seed)


STREAM = stream_of(class_order=range(10))


def agent(store=None, selector="fixed:finetune", strategies=None, **changes) -> LifelongAgent:
    made = make_strategies(SHORT) if strategies is None else strategies
    chosen = make_selector(selector, made) if isinstance(selector, str) else selector
    store = KnowledgeStore.in_memory() if store is None else store
    given = {"encoder_settings": {"hidden": (16,)}, "anchor_features": 32, "flops": 1e9, **changes}
    return LifelongAgent(store, made, chosen, AgentSettings(**given))


def drain(generator):
    told = []
    while True:
        try:
            told.append(next(generator))
        except StopIteration as end:
            return told, end.value


def learn(who, task):
    """Let an agent learn a task; return the profile, the choice, the outcome and what is remembered."""
    profile = who.profile(task)
    _, choice = drain(who.select(task, profile))
    _, outcome = drain(who.learn(task, choice))
    return profile, choice, outcome, who.remember(task, outcome)


def learn_all(who, stream=STREAM, tasks=None):
    for i in range(len(stream)) if tasks is None else tasks:
        learn(who, stream.task(i))
    return who


def said(who, stream=STREAM, concepts=range(3), label=True):
    tests = [stream.test(c) for c in concepts]
    return [who.answer(test.x, test.label if label else None).log_probs for test in tests]


# Answering


@pytest.mark.parametrize("stem", ["none", "patches"])
def test_answering_changes_nothing(stem):
    who = learn_all(agent(stem=stem), tasks=range(2))
    counts, kept, generators = who.store.counts(), who.store.bytes_kept(), torch.get_rng_state()
    once = said(who, label=True) + said(who, label=False)
    again = said(who, label=True) + said(who, label=False)
    assert all(map(torch.equal, once, again))
    assert (who.store.counts(), who.store.bytes_kept()) == (counts, kept)
    assert torch.equal(torch.get_rng_state(), generators)
    unasked = learn_all(agent(stem=stem), tasks=range(2))
    learn(who, STREAM.task(2))
    learn(unasked, STREAM.task(2))
    assert all(map(torch.equal, said(who), said(unasked))), "an agent that was asked learns as one that was not"


def test_answers_are_distributions_over_the_tasks_classes():
    who = learn_all(agent(), tasks=range(3))
    for concept in range(3):
        test = STREAM.test(concept)
        answer = who.answer(test.x, test.label)
        assert answer.classes == test.classes
        assert not answer.by_anchor.any()
        torch.testing.assert_close(answer.log_probs.exp().sum(dim=1), torch.ones(len(test.y)))
    unlabelled = who.answer(test.x, None)
    assert unlabelled.classes == tuple(range(6))
    assert unlabelled.by_anchor.all()
    torch.testing.assert_close(unlabelled.log_probs.exp().sum(dim=1), torch.ones(len(test.y)))


def test_an_agent_that_knows_nothing_says_so():
    test = STREAM.test(0)
    answer = agent().answer(test.x, test.label)
    assert answer.classes == ()
    assert answer.log_probs.shape == (len(test.y), 0)


def test_an_unknown_label_is_answered_from_all_classes_seen():
    who = learn_all(agent(), tasks=range(2))
    test = STREAM.test(4)
    answer = who.answer(test.x, test.label)
    assert answer.classes == (0, 1, 2, 3)
    assert answer.by_anchor.all()


def test_one_sample_is_answered_as_in_a_batch():
    who = learn_all(agent(stem="patches"), tasks=range(2))
    x = STREAM.test(1).x
    for label in (1, None):
        alone = torch.cat([who.answer(each[None], label).log_probs for each in x]).exp()
        torch.testing.assert_close(alone, who.answer(x, label).log_probs.exp(), rtol=1e-4, atol=1e-5)


def test_it_learns():
    who = learn_all(agent(), tasks=range(3))
    for concept, log_probs in enumerate(said(who)):
        test = STREAM.test(concept)
        guessed = torch.tensor(test.classes)[log_probs.argmax(dim=1)]
        assert (guessed == test.y).float().mean() > 0.85


# Sharing


def test_versions_forget_nothing():
    who, kept = agent(sharing="versions"), []
    for i in range(len(STREAM)):
        _, choice, _, _ = learn(who, STREAM.task(i))
        assert choice.strategy == ("finetune" if i else "scratch")
        kept.append(said(who, concepts=[i])[0])
        for past, first in enumerate(kept):
            assert torch.equal(said(who, concepts=[past])[0], first), f"task {past} after task {i}"
    lineage = [entry.parent for entry in who.store.encoders()]
    assert lineage[0] is None
    assert all(parent is not None for parent in lineage[1:])


@pytest.mark.slow
def test_after_fifty_more_tasks_every_past_task_is_answered_with_the_same_bits():
    stream = stream_of(layout="permutations", tasks=55)
    who = agent(strategies=make_strategies({"scratch": {"steps": 5}, "finetune": {"steps": 5}}), sharing="versions")
    learn_all(who, stream, range(5))
    expected = said(who, stream, concepts=range(5))
    kept = {entry.id: who.store.weights(entry.id) for entry in who.store.encoders()}
    learn_all(who, stream, range(5, 55))
    assert all(map(torch.equal, said(who, stream, concepts=range(5)), expected))
    for entry, weights in kept.items():
        assert all(map(torch.equal, who.store.weights(entry).values(), weights.values()))


def test_by_how_much_a_stored_entry_helped_is_noted():
    """A task that returns under other labels is reused; a network that beats its guard is compared with it."""
    who = agent(selector="probe")
    learn_all(who, tasks=range(2))
    task = STREAM.task(1)
    _, _, outcome, _ = learn(who, replace(task, index=2, name="again", label=7))
    assert outcome.learned.strategy == "reuse"
    profile = {score.candidate: score for score in who.profile(replace(task, index=3, label=8)).scores}
    helped = [each for each in who.store.helps() if each.task == 2]
    assert helped
    assert {each.gain for each in helped} == {outcome.learned.gain}
    own = profile[str(outcome.learned.source)]
    best = max(profile[name].closed_form for name in ("raw", "random") if name in profile)
    assert outcome.learned.gain == pytest.approx(own.reuse - best, abs=1e-6)


def test_without_a_stored_entry_there_is_nothing_that_helped():
    who = agent(selector="fixed:prototype")
    _, _, outcome, _ = learn(who, STREAM.task(0))
    assert outcome.learned.source in ("raw", "random")
    assert (outcome.learned.gain, who.store.helps()) == (None, [])


def test_what_beats_its_guard_helped_by_the_difference_on_held_out_samples():
    class Blunt(Strategy):
        name = "blunt"

        def learn(self, task, known, rng):
            yield known.fresh(task, rng)

    class Guarded(Selector):
        name = "guarded"

        def select(self, task, profile, options, bench, rng):
            option = next(option for option in options if option.strategy == "finetune")
            if option.why_not:
                return Choice("scratch", None, "first")
            return Choice("finetune", option.source, "guarded", guard=Option("blunt"))

    ways = {**make_strategies({"finetune": {"steps": 200}}), "blunt": Blunt()}
    who = learn_all(agent(selector=Guarded(), strategies=ways, flops=3e9, held_out=0.4), tasks=range(1))
    _, choice = drain(who.select(STREAM.task(1), who.profile(STREAM.task(1))))
    told, outcome = drain(who.learn(STREAM.task(1), choice))
    (bound,) = [event for event in told if type(event).__name__ == "Progress" and event.strategy == "blunt"]
    learned = outcome.learned
    assert learned.strategy == "finetune"
    assert learned.gain == learned.accuracy - bound.accuracy > 0.2


def test_in_place_earlier_heads_read_the_newest_encoder():
    who = agent(sharing="in-place")
    learn_all(who, tasks=range(1))
    before = said(who, concepts=[0])[0]
    learn_all(who, tasks=range(1, 4))
    assert not torch.allclose(said(who, concepts=[0])[0], before, atol=1e-3)
    newest, head = who.store.encoders()[-1], who.store.task(0).head
    assert who.store.newest(who.store.task(0).encoder).id == newest.id
    weights, encoder = who.store.weights(head), who.store.weights(newest.id)
    x = STREAM.test(0).x.flatten(1)
    hidden = torch.relu(x @ encoder["layers.1.weight"].T + encoder["layers.1.bias"])
    logits = (hidden @ weights["weight"].T + weights["bias"]) / weights["temperature"]
    torch.testing.assert_close(said(who, concepts=[0])[0], logits.log_softmax(dim=1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("setting", ["class-incremental", "domain-incremental"])
def test_without_labels_the_order_of_tasks_does_not_matter(setting):
    if setting == "class-incremental":
        stream = stream_of(setting, class_order=range(6), classes_per_task=2)
    else:
        stream = stream_of(setting, layout="rotations", angles=(0.0, 30.0, 60.0))
    answers = []
    for order in itertools.permutations(range(3)):
        who = agent(selector="fixed:prototype")
        for place, i in enumerate(order):
            task = stream.task(i)
            learn(who, Task(task.name, place, task.support, None, task.classes, task.kind, task.label))
        answers.append(torch.cat(said(who, stream, label=False)))
    for other in answers[1:]:
        torch.testing.assert_close(other, answers[0], rtol=1e-5, atol=1e-5)


# Remembering


def test_remembering_is_one_transaction(monkeypatch):
    who = learn_all(agent(), tasks=range(1))
    counts, kept = who.store.counts(), who.store.bytes_kept()
    monkeypatch.setattr(who.selector, "state", lambda: 1 / 0)  # the last thing that is stored
    with pytest.raises(ZeroDivisionError):
        learn(who, STREAM.task(1))
    assert (who.store.counts(), who.store.bytes_kept()) == (counts, kept)
    later = agent(who.store)
    learn(later, STREAM.task(1))
    untroubled = learn_all(agent(), tasks=range(2))
    assert all(map(torch.equal, said(later, concepts=[0, 1]), said(untroubled, concepts=[0, 1])))
    assert later.store.counts() == untroubled.store.counts()


def test_what_is_remembered():
    who = learn_all(agent(), tasks=range(1))
    kept = who.store.bytes_kept()
    _, choice, outcome, remembered = learn(who, STREAM.task(1))
    assert (choice.strategy, choice.source, choice.wanted) == ("finetune", "encoder-1", None)
    assert (remembered.encoder, remembered.parent, remembered.encoders) == ("encoder-2", "encoder-1", 2)
    assert remembered.store_bytes == who.store.bytes_kept()
    assert remembered.new_bytes == who.store.bytes_kept() - kept > 0
    record = who.store.task(1)
    assert (record.strategy, record.source, record.classes, record.label) == ("finetune", "encoder-1", (2, 3), 1)
    weights, model = who.store.weights("encoder-2"), state(outcome.model.encoder)
    assert all(torch.equal(weights[name], model[name]) for name in model)
    assert [each.entry for each in who.store.helps()] == ["encoder-1"]
    told = [event.body["event"] for event in who.store.events() if event.task == 1]
    assert told[0] == "Profiled"
    assert told[-2:] == ["Learned", "Remembered"]


def test_reuse_adds_no_encoder():
    who = learn_all(agent(), tasks=range(1))
    again = agent(who.store, selector="fixed:reuse")
    task = STREAM.task(0)
    turned = Task("turned", 1, Samples(task.support.x, 1 - task.support.y), None, task.classes, task.kind, 1)
    _, choice, outcome, remembered = learn(again, turned)
    assert choice.strategy == "reuse"
    assert outcome.learned.accuracy > 0.9
    assert (remembered.encoder, remembered.encoders) == ("encoder-1", 1)
    test = STREAM.test(0)
    straight, swapped = again.answer(test.x, 0).log_probs, again.answer(test.x, 1).log_probs
    assert torch.equal(straight.argmax(dim=1), 1 - swapped.argmax(dim=1))


@pytest.mark.parametrize("selector", ["fixed:finetune", "fixed:prototype", "probe"])
@pytest.mark.parametrize(("sharing", "stem"), [("versions", "patches"), ("in-place", "none")])
def test_a_resumed_agent_answers_and_learns_with_the_same_bits(tmp_path, selector, sharing, stem):
    with KnowledgeStore.open(tmp_path / "store") as store:
        before = learn_all(agent(store, selector, sharing=sharing, stem=stem), tasks=range(3))
        expected = said(before) + said(before, label=False)
    with KnowledgeStore.open(tmp_path / "store") as store:
        resumed = agent(store, selector, sharing=sharing, stem=stem)
        assert all(map(torch.equal, said(resumed) + said(resumed, label=False), expected))
        learn_all(resumed, tasks=[3, 4])
        unbroken = learn_all(agent(selector=selector, sharing=sharing, stem=stem))
        everything = range(5)
        assert all(map(torch.equal, said(resumed, concepts=everything), said(unbroken, concepts=everything)))
        assert all(map(torch.equal, said(resumed, label=False), said(unbroken, label=False)))
        blobs = [[entry.blob for entry in who.store.encoders()] for who in (resumed, unbroken)]
        assert blobs[0] == blobs[1]


def test_the_selectors_state_is_kept():
    class Counting(Selector):
        name = "counting"
        seen = 0

        def select(self, task, profile, options, bench, rng):
            return Choice("scratch", None, f"number {self.seen}")

        def observe(self, profile, outcome):
            assert profile.task == outcome.task
            self.seen += 1

        def state(self):
            return {"seen": self.seen}

        def restore(self, state):
            self.seen = state["seen"]

    who = learn_all(agent(selector=Counting()), tasks=range(2))
    again = agent(who.store, selector=Counting())
    assert again.selector.seen == 2
    assert learn(again, STREAM.task(2))[1].reason == "number 2"


# What stands in


class Diverging(Strategy):
    """Its loss becomes infinite."""

    name = "diverging"

    def learn(self, task, known, rng):
        yield known.fresh(task, rng)
        raise FloatingPointError("the loss is inf")


class Breaking(Strategy):
    """Raises."""

    name = "breaking"

    def learn(self, task, known, rng):
        yield known.fresh(task, rng)
        raise ValueError("broken")


class Silent(Strategy):
    """Ends before it has begun."""

    name = "silent"

    def learn(self, task, known, rng):
        yield from ()


class Refusing(Strategy):
    """Never applies."""

    name = "refusing"

    def applies(self, task, known):
        return "it never does"

    def learn(self, task, known, rng):
        raise AssertionError("it does not apply")
        yield


def with_plugin(kind, *others):
    every = make_strategies(SHORT)
    kept = {name: every[name] for name in others} if others else every
    return {**kept, kind.name: kind()}


def test_what_diverges_is_replaced_with_a_warning():
    who = agent(selector="fixed:diverging", strategies=with_plugin(Diverging))
    _, choice, outcome, _ = learn(who, STREAM.task(0))
    assert choice.strategy == "diverging"
    assert outcome.learned.strategy != "diverging"
    assert outcome.learned.strategy == "prototype", "a closed form of its own first: it is cheap"
    assert learn(who, STREAM.task(1))[2].learned.strategy == "prototype", "not somebody else's model"
    assert "'diverging' failed on task" in outcome.learned.warnings[0]
    assert "in unit 2: the loss is inf" in outcome.learned.warnings[0]
    assert outcome.learned.accuracy > 0.8
    assert [entry.strategy for entry in who.store.encoders()] != ["diverging"]


def test_where_everything_diverges_nothing_is_remembered():
    who = agent(selector="fixed:diverging", strategies=with_plugin(Diverging, "finetune"))
    with pytest.raises(StrategyError, match="the loss is inf"):
        learn(who, STREAM.task(0))
    assert who.store.counts()["tasks"] == 0


def test_what_breaks_is_not_replaced():
    """A plug-in with a fault should be mended, not hidden."""
    who = agent(selector="fixed:breaking", strategies=with_plugin(Breaking))
    with pytest.raises(StrategyError, match=r"'breaking' failed on task .* in unit 2: ValueError: broken") as caught:
        learn(who, STREAM.task(0))
    assert not isinstance(caught.value, Diverged)
    assert who.store.counts()["tasks"] == 0


def test_what_yields_nothing_is_named():
    who = agent(selector="fixed:silent", strategies=with_plugin(Silent))
    with pytest.raises(StrategyError, match=r"'silent' failed .* it ended without yielding a model"):
        learn(who, STREAM.task(0))


def test_scratch_stands_in_visibly():
    who = agent(selector="fixed:refusing", strategies=with_plugin(Refusing))
    _, choice, outcome, _ = learn(who, STREAM.task(0))
    assert (choice.strategy, choice.wanted, outcome.learned.strategy) == ("scratch", "refusing", "scratch")
    assert choice.reason == "refusing does not apply (it never does); scratch stands in"
    refused = [option for option in choice.considered if option.strategy == "refusing"]
    assert [option.why_not for option in refused] == ["it never does"]


def test_a_source_that_is_not_there_does_not_apply():
    class Dreaming(Selector):
        name = "dreaming"

        def select(self, task, profile, options, bench, rng):
            return Choice("finetune", "encoder-99", "from a dream")

    who = learn_all(agent(), tasks=range(1))
    _, choice, _, _ = learn(agent(who.store, selector=Dreaming()), STREAM.task(1))
    assert (choice.strategy, choice.wanted) == ("scratch", "finetune")
    assert "no such source" in choice.reason


def test_nothing_applies():
    strategies = {"refusing": Refusing(), "reuse": make_strategies({})["reuse"]}
    who = agent(selector="fixed:refusing", strategies=strategies)
    with pytest.raises(
        NothingApplies, match=r"none of the strategies applies .*refusing: it never does; reuse: the st"
    ):
        learn(who, STREAM.task(0))


# Budget


def test_the_budget_is_a_multiple_of_what_scratch_takes():
    task = STREAM.task(0)  # 60 samples, of which 12 are held out: batches of 32 and 16
    step = 2 * 32 * (64 * 16 + 16 * 2) * 2 + 2 * 32 * 16 * 2  # forward and backward; the input needs no gradient
    assert agent(flops=None).budget(task) == 30 * step
    assert agent(flops=None, scratch=2.5).budget(task) == 2.5 * 30 * step
    assert agent(flops=1234.0).budget(task) == 1234.0
    with pytest.raises(BudgetError, match=r"set budget\.flops"):
        agent(flops=None, selector="fixed:silent", strategies={"silent": Silent()}).budget(task)


@pytest.mark.parametrize("selector", ["probe", "random", "fixed:scratch", "fixed:finetune"])
@pytest.mark.parametrize("flops", [1.0, 3e6, 1e8])
def test_the_budget_is_kept_or_the_account_says_so(selector, flops):
    who = agent(selector=selector, flops=flops)
    for i in range(3):
        _, _, outcome, _ = learn(who, STREAM.task(i))
        learned = outcome.learned
        passed = learned.total_flops > flops
        assert passed == any("the budget was passed" in warning for warning in learned.warnings)
        assert not passed or learned.units <= 1 or who.strategies[learned.strategy].closed_form


def test_probing_keeps_to_its_share():
    for share in (0.02, 0.1, 0.5):
        who = learn_all(agent(probe_share=share, flops=2e8), tasks=range(4))
        profile = who.profile(STREAM.task(4))
        assert profile.scores, "something is always looked at"
        dearest = profile.flops / len(profile.scores)
        assert profile.flops <= share * 2e8 or len(profile.scores) == 1 or profile.flops - dearest < share * 2e8


def test_a_task_must_be_profiled_first():
    task = STREAM.task(0)
    with pytest.raises(RuntimeError, match="profile"):
        next(agent().learn(task, None))


# Odd tasks


@pytest.mark.parametrize("selector", ["probe", "random", "fixed:prototype", "fixed:scratch"])
@pytest.mark.parametrize("stem", ["none", "patches"])
@pytest.mark.parametrize("odd", ["one class", "one sample", "one sample per class", "constant"])
def test_odd_tasks_are_learned(selector, stem, odd):
    x, y = STREAM.task(0).support.x, STREAM.task(0).support.y
    given = {
        "one class": (x[y == 0], y[y == 0], (0,)),
        "one sample": (x[:1], torch.tensor([0]), (0,)),
        "one sample per class": (torch.stack([x[y == c][0] for c in (0, 1)]), torch.tensor([0, 1]), (0, 1)),
        "constant": (torch.ones_like(x), y, (0, 1)),
    }[odd]
    who = agent(selector=selector, stem=stem, flops=None)
    learn(who, Task(odd, 0, Samples(given[0], given[1]), None, given[2], "classification", 0))
    for label in (0, None):
        answer = who.answer(STREAM.test(0).x, label)
        assert answer.classes == given[2]
        assert torch.isfinite(answer.log_probs).all()
