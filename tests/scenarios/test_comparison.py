"""Many runs side by side."""

import json
import math
import sys
from pathlib import Path

import pytest

from evermap.errors import RecordError, UserError
from evermap.scenarios.comparison import compare, differences, mean_of
from evermap.scenarios.run_folder import plain

sys.path.insert(0, str(Path(__file__).parent))
from told_runs import told


def agents_of(found, scenario=0):
    return {each["agent"]: each for each in found["scenarios"][scenario]["agents"]}


def test_a_comparison_by_hand():
    runs = [told("base", seed, 0.80 + 0.01 * seed, flops=1e6) for seed in range(3)]
    runs += [told("best", seed, 0.85 + 0.01 * seed, flops=3e6) for seed in (2, 0, 1)]
    runs += [told("dear", seed, 0.80 + 0.01 * seed, flops=9e6) for seed in range(3)]
    found = compare(runs)
    assert found["baseline"] == "base"
    (scenario,) = found["scenarios"]
    assert scenario["seeds"] == [0, 1, 2]
    mean = agents_of(found)["best"]["means"]["accuracy"]
    assert mean["n"] == 3
    assert mean["mean"] == pytest.approx(0.86)
    # s.d. one point, t(0.975; 2) = 4.302653
    assert mean["high"] - mean["mean"] == pytest.approx(0.01 * 4.302653 / math.sqrt(3), abs=1e-6)
    best, dear = scenario["paired"]
    assert best["differences"] == pytest.approx([0.05] * 3)
    assert best["mean"] == pytest.approx(0.05)
    assert best["wilcoxon"] == pytest.approx(0.25)
    assert best["holm"] == pytest.approx(0.5)
    assert (best["verdict"], best["not_worse"]) == ("better", "yes")
    assert "3 seeds cannot reach p < 0.05: the smallest possible is 0.25" in best["note"]
    assert (dear["verdict"], dear["mean"], dear["wilcoxon"]) == ("equivalent", 0.0, 1.0)
    assert scenario["pareto"]["flops"] == ["base", "best"]
    assert scenario["pareto"]["bytes_kept"] == ["best"]
    assert found["ranks"]["note"] == "one scenario only: no critical difference"
    assert [each["rank"] for each in found["ranks"]["agents"]] == [1.0, 2.5, 2.5]
    assert json.loads(json.dumps(plain(found)))["scenarios"][0]["scenario"] == "two"


def test_the_baseline_can_be_named():
    runs = [told(agent, 0, 0.5) for agent in ("a", "b")]
    assert compare(runs, "b")["scenarios"][0]["paired"][0]["agent"] == "a"
    with pytest.raises(UserError, match="--baseline c: is none of the agents; they are a, b"):
        compare(runs, "c")


def test_one_seed_has_no_interval_and_says_so():
    found = compare([told("a", 0, 0.5), told("b", 0, 0.6)])
    mean = agents_of(found)["a"]["means"]["accuracy"]
    assert (mean["mean"], mean["low"], mean["high"], mean["note"]) == (0.5, None, None, "one seed only: no interval")
    (pair,) = found["scenarios"][0]["paired"]
    assert pair["mean"] == pytest.approx(0.1)
    assert (pair["interval"], pair["bootstrap"], pair["wilcoxon"], pair["holm"]) == (None, None, None, None)
    assert (pair["verdict"], pair["not_worse"]) == (None, None)
    assert pair["note"] == "one seed only: no interval"


def test_only_seeds_that_both_have_are_paired():
    runs = [told("a", s, 0.5) for s in (0, 1, 2)] + [told("b", s, 0.6 + s / 10) for s in (1, 2, 3)]
    (pair,) = compare(runs)["scenarios"][0]["paired"]
    assert pair["seeds"] == [1, 2]
    assert pair["differences"] == pytest.approx([0.2, 0.3])
    assert differences(runs[3:], runs[:3], "flops") == ([1, 2], [0.0, 0.0])


def test_an_accuracy_that_is_no_number_is_left_out_and_counted():
    runs = [told("a", s, None if s == 1 else 0.5) for s in range(3)] + [told("b", s, 0.6) for s in range(3)]
    found = compare(runs)
    mean = agents_of(found)["a"]["means"]["accuracy"]
    assert (mean["n"], mean["mean"], mean["note"]) == (2, 0.5, "n/a for 1 of 3 seeds: it diverged")
    assert found["scenarios"][0]["paired"][0]["seeds"] == [0, 2]
    assert mean_of([math.nan, 0.5])["mean"] == 0.5


def test_an_agent_that_failed_everywhere_is_shown_without_numbers():
    why = [{"scenario": "two", "agent": "bad", "seed": s, "why": "it raised"} for s in (0, 1)]
    found = compare([told("a", s, 0.5) for s in (0, 1)], failures=why)
    bad = agents_of(found)["bad"]
    assert [each["seed"] for each in bad["failures"]] == [0, 1]
    assert bad["means"]["accuracy"] == {
        "n": 0,
        "mean": None,
        "low": None,
        "high": None,
        "note": "no run is finished",
    }
    (pair,) = found["scenarios"][0]["paired"]
    assert (pair["mean"], pair["verdict"], pair["note"]) == (None, None, "no seed is finished for both")
    assert found["scenarios"][0]["pareto"]["flops"] == ["a"]
    assert found["ranks"]["agents_left_out"] == ["bad"]


def test_a_run_that_is_not_finished_is_no_seed():
    found = compare([told("a", 0, 0.5), told("a", 1, 0.1, status="interrupted")])
    a = agents_of(found)["a"]
    assert (a["seeds"], a["unfinished"], a["means"]["accuracy"]["mean"]) == ([0], [1], 0.5)


def test_runs_of_one_seed_on_other_data_cannot_be_compared():
    with pytest.raises(RecordError, match=r"are runs of two with seed 0 on different data \(e and d\)"):
        compare([told("a", 0, 0.5), told("b", 0, 0.5, data="e")])


def test_agents_are_ranked_over_the_seeds_that_all_have():
    runs = [told("a", seed, 0.9 - 0.4 * seed, flops=1e6) for seed in (0, 1)] + [told("b", 1, 0.6, flops=2e6)]
    found = compare(runs)  # a's mean is .7 over both seeds, .5 over the one that b has too
    (scenario,) = found["scenarios"]
    assert scenario["common"]["seeds"] == [1]
    assert scenario["common"]["note"] == "ranked over the seeds that all agents have: 1"
    assert [each["agent"] for each in found["ranks"]["agents"]] == ["b", "a"]
    assert scenario["pareto"]["flops"] == ["a", "b"]
    apart = compare([told("a", 0, 0.9), told("b", 1, 0.6)])
    assert apart["scenarios"][0]["common"]["note"] == "not ranked: there is no seed that all agents have"
    assert apart["scenarios"][0]["pareto"]["flops"] == []
    assert (apart["ranks"]["agents"], apart["ranks"]["left_out"]) == ([], ["two"])
    assert "of the same seeds" in apart["ranks"]["note"]


def test_ranks_over_scenarios():
    runs = []
    for number, scores in enumerate([(0.9, 0.8, 0.7), (0.6, 0.9, 0.5), (0.9, 0.7, 0.8)]):
        runs += [told(a, 0, score, scenario=f"s{number}") for a, score in zip("abc", scores, strict=True)]
    runs += [told("a", 0, 0.5, scenario="only a")]
    found = compare(runs)["ranks"]
    assert found["scenarios"] == ["s0", "s1", "s2"]
    assert found["left_out"] == ["only a"]
    assert [(each["agent"], each["rank"]) for each in found["agents"]] == [
        ("a", pytest.approx(4 / 3)),
        ("b", pytest.approx(2.0)),
        ("c", pytest.approx(8 / 3)),
    ]
    # 12·3/(3·4) · ((4/3)² + 2² + (8/3)² − 12) = 3 · 8/9
    assert found["friedman"]["chi_squared"] == pytest.approx(8 / 3)
    assert found["critical_difference"] == pytest.approx(2.343 * math.sqrt(12 / 18), abs=0.001)
    assert found["groups"] == [["a", "b", "c"]]


def test_nothing_to_compare():
    found = compare([])
    assert (found["agents"], found["scenarios"], found["baseline"]) == ([], [], None)
    assert found["ranks"]["note"]
