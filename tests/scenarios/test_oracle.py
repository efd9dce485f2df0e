"""Golden values worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evermap.scenarios.arm_table import AnswerLine, ArmLine, Facts
from evermap.scenarios.oracle import Worth, cost, naive, split_half, task_regret

FACTS = Facts(
    task=3, name="a task", tasks=5, regression=False, features={}, mask={}, budget=100.0, before=10.0, task_bytes=1000
)


def arm(strategy, source, a, b, rank=0, **more):
    given = {"flops": 50.0, "bytes": 0, "held_out": 20, "held_out_loss": 1.0, **more}
    return ArmLine(FACTS, strategy, source, False, rank, accuracy=(a + b) / 2, half_a=a, half_b=b, **given)


def answer(strategy, source, a, b, flops=60.0, size=0):
    return AnswerLine(3, strategy, source, (a + b) / 2, a, b, flops, 0.0, size)


ARMS = [
    arm("scratch", None, 0.5, 0.6, flops=110.0),  # 10 of it before anything is chosen
    arm("finetune", "encoder-1", 0.8, 0.6, rank=0),
    arm("finetune", "encoder-2", 0.7, 0.9, rank=1, held_out_loss=0.5),
    arm("prototype", "raw", 0.6, 0.7, rank=0),
    arm("prototype", "encoder-2", 0.9, 0.5, rank=1),
]


def test_the_naive_oracle_is_the_best_on_the_whole_test_set():
    assert naive([Worth(0.55, 0.5, 0.6), Worth(0.8, 0.7, 0.9)]) == 0.8


def test_the_split_half_oracle_picks_on_one_half_and_is_valued_on_the_other():
    # Best on A: (.9, .5), worth .5 on B. Best on B: (.7, .9), worth .7 on A.
    assert split_half([Worth(0.8, 0.7, 0.9), Worth(0.7, 0.9, 0.5)]) == pytest.approx(0.6)
    assert split_half([Worth(0.8, 0.7, 0.9)]) == pytest.approx(0.8), "one arm is no choice"


def test_of_equals_the_split_half_oracle_takes_the_mean():
    # On A all are equal: their mean on B is .6. Best on B is the first, worth .5 on A.
    assert split_half([Worth(0.7, 0.5, 0.9), Worth(0.4, 0.5, 0.3)]) == pytest.approx((0.6 + 0.5) / 2)


def test_an_undefined_half_leaves_the_split_half_oracle_undefined():
    assert split_half([Worth(0.5, None, 0.5), Worth(0.5, 0.5, 0.5)]) is None


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=6))
def test_the_split_half_oracle_is_what_drawing_among_equals_gives_on_average(pairs):
    worths = [Worth((a + b) / 16, a / 8, b / 8) for a, b in pairs]
    total = 0.0
    for by, of in ((0, 1), (1, 0)):
        best = [p for p in pairs if p[by] == max(q[by] for q in pairs)]
        total += sum(p[of] / 8 for p in best) / len(best)
    assert split_half(worths) == pytest.approx(total / 2)
    assert split_half(worths) <= naive(worths) + 1e-12 or len(pairs) > 1


def test_regret_and_its_parts():
    found = task_regret(ARMS, answer("prototype", "raw", 0.5, 0.7))
    assert found.best == ("finetune", "encoder-2")
    assert (found.arms, found.failed) == (5, 0)
    assert found.naive == pytest.approx(0.8)
    # On A prototype/encoder-2 is best, .5 on B; on B finetune/encoder-2, .7 on A.
    assert found.split == pytest.approx(0.6)
    assert found.regret.naive == pytest.approx(0.2)  # .8 - .6
    assert found.regret.split == pytest.approx(0.0)  # .6 - (.5 + .7) / 2
    # Our strategy, any source: raw (.6, .7) or encoder-2 (.9, .5): .7 on the whole, split (.5 + .6) / 2.
    assert found.retrieval.naive == pytest.approx(0.7 - 0.65)
    assert found.retrieval.split == pytest.approx(0.55 - 0.65)
    # Every strategy from our source: scratch (.5, .6), finetune/encoder-1 (.8, .6), prototype/raw (.6, .7).
    assert found.strategies.naive == pytest.approx(0.7 - 0.65)
    assert found.strategies.split == pytest.approx((0.6 + 0.6) / 2 - 0.65)
    assert found.carrying_out == pytest.approx(0.05)  # the arm has .65, the agent answered .6
    assert (found.try_all_way, found.try_all) == (("finetune", "encoder-2"), pytest.approx(0.8))


def test_the_source_that_answered_stands_for_our_retrieval_of_our_strategy():
    found = task_regret(ARMS, answer("finetune", "encoder-2", 0.7, 0.9))
    # Not finetune/encoder-1, although it is ranked first: scratch, finetune/encoder-2, prototype/raw.
    assert found.strategies.naive == pytest.approx(0.0)
    assert found.retrieval.naive == pytest.approx(0.0)


def test_what_is_not_in_the_table_is_undefined():
    found = task_regret(ARMS, answer("distill", "encoder-9", 0.7, 0.9))
    assert found.regret.naive == pytest.approx(0.0)
    assert (found.retrieval.naive, found.strategies.split, found.carrying_out) == (None, None, None)


def test_arms_that_failed_are_counted_and_not_valued():
    failed = ArmLine(FACTS, "maml", None, False, 0, failed="it diverged")
    found = task_regret([*ARMS, failed], answer("prototype", "raw", 0.6, 0.7))
    assert (found.arms, found.failed) == (5, 1)
    assert task_regret([failed], answer("prototype", "raw", 0.6, 0.7)) is None


def test_without_held_out_samples_nothing_can_be_judged():
    arms = [arm("scratch", None, 0.5, 0.6, held_out=0, held_out_loss=None)]
    found = task_regret(arms, answer("scratch", None, 0.5, 0.6))
    assert (found.try_all, found.try_all_way) == (None, None)


def test_utility_takes_costs_off():
    # λ_c · 60 / 100 + λ_m · 500 / 1000
    assert cost(60.0, 500, 100.0, 1000) == pytest.approx(0.02 * 0.6 + 0.01 * 0.5)
    assert cost(60.0, 500, 100.0, 1000, compute=0, memory=0) == 0.0
    found = task_regret(ARMS, answer("prototype", "raw", 0.6, 0.7, flops=60.0, size=500))
    assert found.utility == pytest.approx(0.65 - 0.012 - 0.005)
    # The naive oracle's arm spent 50 of scratch's 100 FLOPs and stored nothing: .8 - .01.
    assert found.utility_regret.naive == pytest.approx(0.79 - 0.633)
    free = task_regret(ARMS, answer("prototype", "raw", 0.6, 0.7, size=500), compute=0, memory=0)
    assert free.utility_regret == free.regret
    assert free.utility == free.accuracy
