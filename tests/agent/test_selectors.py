from types import SimpleNamespace

import pytest
import torch

from evermap.agent.events import ProbeScore, Profiled
from evermap.agent.known import Known
from evermap.agent.selector import Option, make_selector
from evermap.agent.strategy import make_strategies
from evermap.errors import RecipeError, UnknownName, UserError
from evermap.streams.task import Samples, Task

STRATEGIES = make_strategies({})
TASK = Task("t", 0, Samples(torch.zeros(40, 2), torch.arange(40) % 2), None, (0, 1))
NOTHING = Known((), (), 0, {})
BENCH = SimpleNamespace(known=NOTHING, held_out=None, task=TASK, whole=TASK)
PROFILE = Profiled(0, 40, 2, 20, (), 0.0, 0.0)


def choose(selector, options, seed=0):
    return selector.select(TASK, PROFILE, options, BENCH, torch.Generator().manual_seed(seed))


def test_names_and_arguments():
    assert make_selector("fixed:finetune", STRATEGIES).strategy == "finetune"
    with pytest.raises(UnknownName, match=r"no strategy called 'finetoon'\. Did you mean finetune"):
        make_selector("fixed:finetoon", STRATEGIES)
    with pytest.raises(UserError, match="needs a strategy, as in fixed:scratch"):
        make_selector("fixed", STRATEGIES)
    with pytest.raises(UnknownName, match=r"no selector called 'prob'\. Did you mean probe"):
        make_selector("prob", STRATEGIES)
    for name in ("probe:x", "random:x"):
        with pytest.raises(UserError, match="takes nothing behind a colon; found 'x'"):
            make_selector(name, STRATEGIES)


def test_settings_of_a_strategy_that_does_not_exist():
    with pytest.raises(RecipeError, match=r"strategies\.scrach.*strategies are .*scratch"):
        make_strategies({"scrach": {}})
    with pytest.raises(RecipeError, match=r"strategies\.scratch: steeps: found 3; valid settings are steps"):
        make_strategies({"scratch": {"steeps": 3}})


def test_fixed_takes_the_first_source():
    options = [Option("scratch"), Option("finetune", "encoder-2"), Option("finetune", "encoder-1")]
    choice = choose(make_selector("fixed:finetune", STRATEGIES), options)
    assert (choice.strategy, choice.source, choice.reason) == ("finetune", "encoder-2", "always finetune")


def test_fixed_probes_only_for_what_looks_at_the_store():
    assert not make_selector("fixed:scratch", STRATEGIES).needs_profile(STRATEGIES)
    assert make_selector("fixed:finetune", STRATEGIES).needs_profile(STRATEGIES)


def test_only_what_may_be_chosen_works_for_later_tasks():
    names = ["maml", "protonet", "of my own"]
    assert list(make_selector("fixed:protonet", STRATEGIES).consolidates(names)) == ["protonet"]
    assert list(make_selector("probe", STRATEGIES).consolidates(names)) == ["maml", "of my own"], (
        "no rule chooses protonet"
    )
    assert list(make_selector("random", STRATEGIES).consolidates(names)) == names


def test_random_draws_strategies_evenly_then_sources_from_what_applies():
    options = [Option("scratch"), Option("reuse", None, "nothing to reuse")]
    options += [Option("finetune", f"encoder-{i}") for i in range(9)]
    drawn = [choose(make_selector("random", STRATEGIES), options, seed) for seed in range(400)]
    counts = {name: sum(choice.strategy == name for choice in drawn) for name in ("scratch", "finetune", "reuse")}
    assert counts["reuse"] == 0
    assert 150 < counts["scratch"] < 250
    assert {choice.source for choice in drawn if choice.strategy == "finetune"} == {f"encoder-{i}" for i in range(9)}
    assert choose(make_selector("random", STRATEGIES), options, 7) == drawn[7]


@pytest.mark.parametrize("name", ["probe", "random"])
@pytest.mark.parametrize("scored", [True, False])
def test_what_is_chosen_applies(name, scored):
    """Whatever is open, with and without scores, one of the open options is taken, and the reason is in words."""
    scores = (ProbeScore("raw", 0.1, 0.9, 0.9), ProbeScore("encoder-1", 0.05, 0.95, 0.9, 0.97))
    profile = Profiled(0, 40, 2, 20, scores if scored else (), 0.0, 0.0)
    every = {
        "scratch": Option("scratch"),
        "prototype": Option("prototype", "raw"),
        "finetune": Option("finetune", "encoder-1"),
        "reuse": Option("reuse", "encoder-1"),
    }
    for mask in range(1, 16):
        opened = [name for bit, name in enumerate(every) if mask >> bit & 1]
        options = [every[n] if n in opened else Option(n, None, "it does not") for n in every]
        selector = make_selector(name, STRATEGIES)
        choice = selector.select(TASK, profile, options, BENCH, torch.Generator().manual_seed(mask))
        assert Option(choice.strategy, choice.source) in [every[n] for n in opened]
        assert len(choice.reason.split()) > 3
