from types import SimpleNamespace

import pytest
import torch

from evermap.agent.selector import Option
from evermap.agent.tryout import _arms, _parts, _rungs, try_out
from evermap.streams.task import Samples


def test_rungs_double_and_the_losers_parts_add_up():
    assert _rungs(1) == [(1, 1)]
    assert _rungs(2) == [(1, 1)]
    assert _rungs(3) == [(1, 2), (2, 1)]
    assert _rungs(4) == [(1, 2), (2, 1)]
    assert _parts(2) == 1
    assert _parts(3) == 1 + 3, "one leaves after one part, one after one and two"
    assert _parts(4) == 2 * 1 + 3


class Bench:
    """Arms whose held-out loss is known, and a ledger of what each was given."""

    def __init__(self, quality, steps=300, diverges=()):
        y = torch.arange(40) % 2
        self.task = SimpleNamespace(kind="classification")
        self.held_out = Samples(torch.zeros(40, 1), y)
        self.ledger = SimpleNamespace(limit=1000.0)
        self.strategies = {"scratch": SimpleNamespace(units=lambda task: steps)}
        self.given, self.quality, self.diverges = {}, quality, diverges

    def arm(self, option):
        return None

    def try_out(self, option, flops):
        self.given[option.strategy] = self.given.get(option.strategy, 0.0) + flops
        if option.strategy in self.diverges:
            return None
        right = self.held_out.y * 2 - 1
        wrong = torch.arange(40) < 40 * self.quality[option.strategy]
        logit = torch.where(wrong, -right, right).float()
        return SimpleNamespace(best_outputs=(torch.stack([-logit, logit], dim=1),), units=1, flops=1.0)


OPTIONS = [Option("a"), Option("b"), Option("c"), Option("d")]
QUALITY = {"a": 0.4, "b": 0.1, "c": 0.3, "d": 0.2}


def by_loss(arms):
    return [-float(each.losses.mean()) for each in arms]


def test_the_best_wins_and_the_losers_share_what_they_may_spend():
    bench = Bench(QUALITY)
    found = try_out(bench, OPTIONS, 0.1, None, by_loss)
    assert [each.option.strategy for each in found] == ["b", "d", "c", "a"]
    losers = sum(flops for name, flops in bench.given.items() if name != "b")
    assert losers == pytest.approx(100.0)
    assert bench.given["a"] == bench.given["c"] == pytest.approx(20.0)
    assert found[0].gain is None, "there is no default to gain on"


def test_an_arm_that_diverges_is_out():
    found = try_out(Bench(QUALITY, diverges="b"), OPTIONS, 0.1, None, by_loss)
    assert [each.option.strategy for each in found] == ["d", "c", "a"]
    assert try_out(Bench(QUALITY, diverges="abcd"), OPTIONS, 0.1, None, by_loss) == []


def test_the_gain_over_a_default_is_paired():
    default = torch.full((40,), 0.6)
    found = try_out(Bench(QUALITY), OPTIONS[:2], 0.1, default, by_loss)
    assert found[0].gain.nats == pytest.approx(0.6 - float(found[0].losses.mean()), abs=1e-6)


def test_fewer_arms_are_tried_where_each_would_have_too_few_steps():
    assert _arms(Bench(QUALITY, steps=300), 4, 0.1) == 4, "30 steps for the losers, 6 on the first rung"
    assert _arms(Bench(QUALITY, steps=240), 4, 0.1) == 3
    assert _arms(Bench(QUALITY, steps=100), 4, 0.1) == 2
    assert _arms(Bench(QUALITY, steps=10), 4, 0.1) == 1
