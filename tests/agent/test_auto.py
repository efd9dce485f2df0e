from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from evermap.agent.agent import LifelongAgent
from evermap.agent.agent_settings import AgentSettings
from evermap.agent.events import JudgedArm, Learned, ProbeScore, Profiled
from evermap.agent.features import FEATURES
from evermap.agent.known import Known
from evermap.agent.prior import Prior
from evermap.agent.selector import Option, make_selector
from evermap.agent.selectors.auto import CHOOSING_SHARE, TRY_SHARE, Auto
from evermap.agent.selectors.bandit import Bandit
from evermap.agent.selectors.mntdp import neighbours_right
from evermap.agent.selectors.rules import by_rule
from evermap.agent.store import KnowledgeStore
from evermap.agent.strategy import make_strategies
from evermap.agent.verdict import Gain
from evermap.errors import UserError
from evermap.streams.spec import stream_spec
from evermap.streams.stream import build_stream

TASKS = [
    {"name": "large", "classes": [0, 1, 2, 3], "train": 60},
    {"name": "another", "classes": [4, 5, 6], "train": 60},
    {"name": "relabelled", "classes": "large", "relabel": True, "train": 6},
    {"name": "small", "classes": [7, 8, 9], "train": 8},
]
STREAM = build_stream(stream_spec(layout="tasks", setting="task-incremental", test_per_class=5, tasks=TASKS), 3)
SETTINGS = AgentSettings(encoder_settings={"hidden": (64,)}, anchor="none", stem="patches")


def agent(name="auto", **changes):
    made = make_strategies({"scratch": {"steps": 200}})
    selector = make_selector(name, made) if isinstance(name, str) else name
    return LifelongAgent(KnowledgeStore.in_memory(), made, selector, replace(SETTINGS, **changes))


def drain(generator):
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def meet(who, index):
    task = STREAM.task(index)
    profile = who.profile(task)
    choice = drain(who.select(task, profile))
    outcome = drain(who.learn(task, choice))
    return profile, choice, outcome, who.remember(task, outcome)


def test_a_task_that_returns_under_other_labels_is_recognised_and_costs_next_to_nothing():
    who = agent()
    meet(who, 0)
    _, choice, outcome, _ = meet(who, 2)
    assert choice.strategy == "reuse"
    assert "a stored model gets" in choice.reason
    assert outcome.learned.total_flops < 0.25 * who.budget(STREAM.task(2))
    assert "reuse" not in who.selector.state()["prior"]["strategies"], "reuse is never judged by history"


def test_arms_are_tried_and_the_losers_are_cheap():
    who = agent()
    meet(who, 0)
    task = STREAM.task(1)
    profile, choice, outcome, kept = meet(who, 1)
    budget = who.budget(task)
    assert len(choice.tried) >= 2
    assert (choice.strategy, choice.source) == (choice.tried[0].strategy, choice.tried[0].source)
    losers = sum(each.flops for each in choice.tried[1:])
    assert 0 < losers <= TRY_SHARE * budget
    assert profile.flops + losers <= CHOOSING_SHARE * budget
    assert outcome.learned.total_flops <= budget
    assert all(each.nats is not None and each.expected is not None for each in choice.tried)
    assert outcome.learned.judged.strategy == choice.strategy
    assert outcome.learned.verdict
    assert kept.encoders >= 2, "what was trained stays in the store, whoever answers"


def test_every_arm_that_was_tried_is_learned_from():
    who = agent()
    meet(who, 0)
    _, choice, _, _ = meet(who, 1)
    seen = {name: each["seen"] for name, each in who.selector.state()["prior"]["strategies"].items()}
    assert set(seen) >= {each.strategy for each in choice.tried}


def test_where_nothing_can_judge_it_the_default_answers_and_an_encoder_is_trained_for_the_store():
    who = agent()
    meet(who, 0)
    before = who.store.encoder_count()
    _, choice, outcome, kept = meet(who, 3)  # 24 samples, of which 3 classes hold back 6
    assert (choice.strategy, choice.tried) == ("prototype", ())
    assert "held-out samples cannot judge training" in choice.reason
    assert outcome.extras, "what is left of the budget trains"
    assert kept.encoders > before


@pytest.mark.parametrize(("gain", "strategy"), [(0.8, "finetune"), (-0.8, "prototype")])
def test_experience_chooses_where_nothing_can_judge(gain, strategy):
    chosen = Auto()
    prior = Prior()
    for _ in range(30):
        prior.observe("finetune", (0.5,) * len(FEATURES), Gain(gain, 0.05))
    who = agent(chosen)
    meet(who, 0)
    chosen.restore({"prior": prior.state(), "uplifts": [0, 0.0]})
    _, choice, _, _ = meet(who, 3)
    assert choice.strategy == strategy
    assert (choice.expected is not None) == (strategy == "finetune")


def test_parts_can_be_left_out():
    with pytest.raises(UserError, match="found 'no-fun' behind the colon; valid are no-probe, no-try"):
        Auto("no-try,no-fun")
    assert not Auto("no-probe").needs_profile({})
    for part, has in (("no-try", "tried"), ("no-guard", "verdict")):
        who = agent(f"auto:{part}")
        meet(who, 0)
        _, choice, outcome, _ = meet(who, 1)
        found = {"tried": choice.tried, "verdict": outcome.learned.verdict}
        assert not found.pop(has), f"{part}: {has} is there"
    who = agent("auto:no-prior")
    meet(who, 0)
    _, choice, _, _ = meet(who, 1)
    unlearned = [Prior().expect(each.strategy, who.selector._features).nats for each in choice.tried]
    assert [each.expected for each in choice.tried] == unlearned, "the rules are the same, and nothing was learned"
    who = agent("auto:shuffled")
    meet(who, 0)
    assert sorted(who.selector._features) != list(who.selector._features)
    who = agent("auto:logme")
    profile, *_ = meet(who, 0)
    assert all(score.logme is not None for score in profile.scores)
    assert all(score.logme is None for score in meet(agent(), 0)[0].scores)


def test_an_early_gain_counts_as_what_it_is_known_to_become():
    """The winner's late gain against its early one, 0.5 - 0.1, corrects what the losers' early gains promise."""
    chosen = Auto()
    chosen._features = (0.5,) * len(FEATURES)
    tried = [SimpleNamespace(option=Option(name), gain=Gain(0.1, 0.05)) for name in ("scratch", "finetune")]
    learned = Learned(0, "scratch", None, 9, 9, "budget", 0.1, 0.9, 40, 1.0, 1.0, 0.0)
    chosen._tried = tried
    chosen.observe(
        Profiled(0, 40, 2, 20, (), 0.0, 0.0),
        replace(learned, judged=JudgedArm("scratch", None, 0.5, 0.05)),
    )
    assert chosen.state()["uplifts"] == [1, pytest.approx(0.4)]
    by_hand = Prior()
    by_hand.observe("finetune", chosen._features, Gain(0.1 + (0.1 + 0.4) / 2, (0.05**2 + 0.15**2) ** 0.5))
    assert chosen._prior.expect("finetune", chosen._features).nats == pytest.approx(
        by_hand.expect("finetune", chosen._features).nats
    )


# The selectors beside it


def profile(per_class, *scores):
    return Profiled(0, 4 * per_class, 4, per_class, scores, 0.0, 0.0)


STEM = ProbeScore("stem", 0.1, 0.8, 0.8, ridge=0.8, samples=40)
RANDOM = ProbeScore("random", 0.2, 0.7, 0.7, ridge=0.7, samples=40)
NEAR = ProbeScore("encoder-1", 0.15, 0.8, 0.8, reuse=0.3, ridge=0.8, samples=40)
FAR = ProbeScore("encoder-1", 0.3, 0.4, 0.4, reuse=0.3, ridge=0.4, samples=40)
OPTIONS = [
    Option("scratch"),
    Option("finetune", "encoder-1"),
    Option("distill", "encoder-1"),
    Option("prototype", "stem"),
    Option("reuse", "encoder-1"),
    Option("maml", None, "meta-trained on too few tasks"),
]


@pytest.mark.parametrize(
    ("case", "strategy"),
    [
        (profile(10, STEM, RANDOM, replace(NEAR, reuse=0.95)), "reuse"),
        (profile(2, STEM, RANDOM, NEAR), "prototype"),
        (profile(10, STEM, RANDOM, FAR), "scratch"),
        (profile(60, STEM, RANDOM, NEAR), "finetune"),
        (profile(10, STEM, RANDOM, replace(NEAR, reuse=0.7)), "distill"),
        (profile(10, STEM, RANDOM, NEAR), "prototype"),
        (profile(10), "scratch"),
    ],
)
def test_rules_in_their_order(case, strategy):
    option, reason = by_rule(OPTIONS, case)
    assert option.strategy == strategy
    assert len(reason.split()) > 3


def test_rules_prefer_maml_for_few_shots_where_it_was_meta_trained():
    options = [*OPTIONS[:-1], Option("maml", "meta-1")]
    assert by_rule(options, profile(1, STEM, RANDOM))[0].strategy == "maml"


def test_neighbours_vote_as_a_plain_loop_says():
    g = torch.Generator().manual_seed(0)
    f, asked = torch.randn(50, 6, generator=g), torch.randn(30, 6, generator=g)
    y, truth = torch.randint(3, (50,), generator=g), torch.randint(3, (30,), generator=g)
    right = 0
    for x, t in zip(asked, truth, strict=True):
        similarity = [float(torch.cosine_similarity(x, each, dim=0)) for each in f]
        near = sorted(range(50), key=lambda i: -similarity[i])[:15]
        votes = [sum(1 + 1e-3 * (1 + similarity[i]) for i in near if int(y[i]) == c) for c in range(3)]
        right += votes.index(max(votes)) == int(t)
    assert neighbours_right(f, y, asked, truth, 3) == pytest.approx(right / 30)


def test_a_bandit_comes_to_take_what_is_rewarded():
    bandit = Bandit()
    bench = SimpleNamespace(
        task=SimpleNamespace(kind="classification"),
        known=Known((), (), 0, {}),
        held_out=None,
        ledger=SimpleNamespace(left=1.0, limit=1.0),
    )
    taken = []
    for _ in range(60):
        case = profile(10, STEM, RANDOM)
        choice = bandit.select(None, case, OPTIONS[:4], bench, torch.Generator())
        reward = 0.9 if choice.strategy == "distill" else 0.3
        learned = Learned(0, choice.strategy, choice.source, 1, 1, "", 0.0, reward, 20, 0.0, 0.0, 0.0)
        bandit.observe(case, learned)
        taken.append(choice.strategy)
    assert set(taken[:8]) == {"scratch", "finetune", "distill", "prototype"}, "each is tried"
    assert taken[-20:].count("distill") >= 18
