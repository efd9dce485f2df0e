"""Whether what was trained answers: against the guard, sample by sample on the held-out part."""

import math

import pytest
import torch

from evermap.agent.agent import LifelongAgent
from evermap.agent.agent_settings import AgentSettings
from evermap.agent.closed_form import temperature
from evermap.agent.learning import _verdict
from evermap.agent.selector import Choice, Option, Selector
from evermap.agent.store import KnowledgeStore
from evermap.agent.strategy import make_strategies
from evermap.agent.verdict import Gain, gain, losses
from evermap.streams.task import Samples, Task

TRAINED, CLOSED = Option("scratch"), Option("prototype", "raw")


def verdict(ours, theirs, y, kind="classification", expected=None):
    lost = [losses(torch.tensor(each), torch.tensor(y), kind) for each in (ours, theirs)]
    plan = Choice("scratch", None, "", expected=expected)
    return _verdict(TRAINED, lost[0], CLOSED, lost[1], gain(*lost, kind), plan, kind)


def test_the_margin_is_that_of_a_paired_test():
    rng = torch.Generator().manual_seed(0)
    y = torch.randint(2, (40,), generator=rng)
    theirs = torch.randn(40, 2, generator=rng)
    sides = set()
    for size in (0.0, 0.2, 0.4, 0.6, 1.0, 3.0):
        ours = theirs + size * torch.nn.functional.one_hot(y, 2) + 0.6 * torch.randn(40, 2, generator=rng)
        gains = []
        for a, b, c in zip(ours / temperature(ours, y), theirs / temperature(theirs, y), y.tolist(), strict=True):
            gains.append(float(b.logsumexp(0) - b[c]) - float(a.logsumexp(0) - a[c]))
        mean = sum(gains) / 40
        error = math.sqrt(sum((gain - mean) ** 2 for gain in gains) / 39 / 40)
        said, beaten = verdict(ours.tolist(), theirs.tolist(), y.tolist())
        assert beaten == (mean <= 1.64 * error)
        assert ("not clearly better: prototype answers" in said) == beaten
        sides.add((beaten, mean > 0))
    assert (True, True) in sides, "better, but not by enough"
    assert (False, True) in sides


def test_values_are_compared_by_squared_error():
    y = [[float(i)] for i in range(30)]
    near, far = [[v[0] + 0.1] for v in y], [[v[0] + (-1.0) ** i] for i, v in enumerate(y)]
    assert verdict(near, far, y, "regression") == (
        "scratch has 0.010 squared error on 30 held-out samples against 1.000 of prototype on raw: it answers",
        False,
    )
    assert verdict(far, near, y, "regression")[1]


def test_what_was_expected_is_joined_with_what_was_measured():
    y = [0, 1] * 15
    theirs = [[1.0, -1.0] if c == 0 else [-1.0, 1.0] for c in y]
    theirs[3] = [1.0, -1.0]
    ours = [list(each) for each in theirs]
    ours[3], ours[6] = [-0.1, 0.1], [0.9, -0.9]
    alone, beaten = verdict(ours, theirs, y)
    assert beaten, f"not enough by itself: {alone}"
    said, beaten = verdict(ours, theirs, y, expected=Gain(0.3, 0.1))
    assert not beaten
    assert "with what was expected (+0.30) a gain of" in said
    assert verdict(ours, theirs, y, expected=Gain(-0.5, 0.02))[1]


class Guarded(Selector):
    """Trains from scratch, then from the newest encoder, under a closed form as the guard."""

    name = "guarded"

    def select(self, task, profile, options, bench, rng):
        guard = next(o for o in options if o.strategy == "prototype" and o.source == "raw")
        wanted = "finetune" if task.index else "scratch"
        option = next(o for o in options if o.strategy == wanted)
        return Choice(wanted, option.source, "guarded", guard=guard)


def blobs(index, n=60, outputs=2, kind="classification"):
    rng = torch.Generator().manual_seed(index)
    y = torch.arange(n) % outputs
    x = torch.randn(n, 6, generator=rng)
    if kind == "regression":
        return Task(f"line {index}", index, Samples(x, x[:, :1] * 2 + 1), None, (), kind, label=index)
    x[torch.arange(n), y] += 4.0
    return Task(f"blobs {index}", index, Samples(x, y), None, tuple(range(outputs)), label=index)


def agent_on(store, lr, **changes):
    short = {"scratch": {"steps": 5, "lr": lr}, "finetune": {"steps": 5, "lr": lr, "head_first": 0.0}}
    settings = AgentSettings(encoder_settings={"hidden": (8,)}, flops=1e8, held_out=0.5, anchor="none", **changes)
    return LifelongAgent(store, make_strategies(short), Guarded(), settings)


def learned(agent, task):
    profile = agent.profile(task)
    selecting = agent.select(task, profile)
    while True:
        try:
            next(selecting)
        except StopIteration as end:
            choice = end.value
            break
    steps = agent.learn(task, choice)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            agent.remember(task, end.value)
            return end.value.learned


def test_regression_has_a_guard_as_well():
    with KnowledgeStore.in_memory() as store:
        account = learned(agent_on(store, lr=1e-6), blobs(0, kind="regression"))
    assert account.strategy == "prototype"
    assert "squared error" in account.verdict
    assert account.accuracy > 0.99


@pytest.mark.parametrize("sharing", ["versions", "in-place"])
def test_what_is_beaten_is_kept_and_never_changes_what_answers(sharing):
    with KnowledgeStore.in_memory() as store:
        agent = agent_on(store, lr=1e-6, sharing=sharing)
        first = blobs(0)
        learned(agent, first)
        before = agent.answer(first.support.x, 0).log_probs
        account = learned(agent, blobs(1))
        assert account.strategy == "prototype"
        assert account.total_flops <= 1e8
        trained = [entry for entry in store.encoders() if entry.strategy in ("scratch", "finetune")]
        assert [entry.strategy for entry in trained] == ["scratch", "finetune"], "both stay for later tasks"
        alone = {entry.lineage for entry in trained}
        assert len(alone) == (2 if sharing == "in-place" else 1)
        assert torch.equal(agent.answer(first.support.x, 0).log_probs, before)


def test_what_is_clearly_better_answers():
    with KnowledgeStore.in_memory() as store:
        agent = agent_on(store, lr=0.05)
        agent.strategies["scratch"] = make_strategies({"scratch": {"steps": 200, "lr": 0.02}})["scratch"]
        n = 200
        x = torch.randn(n, 6, generator=torch.Generator().manual_seed(3))
        y = ((x[:, 0] * x[:, 1]) > 0).long()  # no straight line parts these
        task = Task("crossed", 0, Samples(x, y), None, (0, 1), label=0)
        account = learned(agent, task)
        assert account.strategy == "scratch"
        assert account.verdict.endswith("it answers")


def test_an_episode_memory_holds_so_many_tasks_and_no_more():
    with KnowledgeStore.in_memory() as store:
        agent = agent_on(store, lr=0.01, episode_memory=2)
        for i in range(5):
            learned(agent, blobs(i))
        kept = sorted(bank.spec["episode"] for bank in store.banks() if bank.spec.get("episode") is not None)
        assert kept == [3, 4]
