import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evermap.agent.answer import Answer
from evermap.scenarios.full_width import EPSILON, full_width


def said(log_probs, classes) -> Answer:
    log_probs = torch.tensor(log_probs, dtype=torch.float64)
    return Answer(log_probs, classes, torch.zeros(len(log_probs), dtype=torch.bool))


def test_known_classes_keep_their_shares_and_all_others_have_a_trifle():
    got = full_width(said([[math.log(0.75), math.log(0.25)]], (3, 1)), 4, torch.tensor([0])).exp()
    trifle = EPSILON / 4
    assert got.tolist() == [
        pytest.approx([trifle, 0.25 * (1 - EPSILON) + trifle, trifle, 0.75 * (1 - EPSILON) + trifle])
    ]


def test_nothing_known_is_uniform_but_for_the_guess():
    got = full_width(said([[], []], ()), 5, torch.tensor([2, 4]))
    assert got.argmax(1).tolist() == [2, 4]
    assert got.exp() == pytest.approx(torch.full((2, 5), 0.2).double(), abs=EPSILON)


def test_a_guess_stays_among_the_classes_that_can_be_meant():
    got = full_width(said([[], []], ()), 5, torch.tensor([2, 4]), (2, 4)).exp()
    assert got.argmax(1).tolist() == [2, 4]
    assert got[:, [2, 4]] == pytest.approx(torch.full((2, 2), 0.5).double(), abs=2 * EPSILON)
    assert got[:, [0, 1, 3]].max() < EPSILON


def test_an_impossible_class_costs_a_finite_loss():
    got = full_width(said([[0.0, -math.inf]], (0, 1)), 2, torch.tensor([0]))
    assert got.isfinite().all()
    assert got[0, 1] == pytest.approx(math.log(EPSILON / 2))


@given(
    st.lists(st.floats(-50, 0), min_size=1, max_size=6),
    st.integers(6, 9),
    st.randoms(use_true_random=False),
)
def test_it_is_a_distribution_with_the_answers_order(log_probs, width, rng):
    classes = tuple(rng.sample(range(width), len(log_probs)))
    got = full_width(said([log_probs], classes), width, torch.tensor([0]))
    assert got.shape == (1, width)
    assert got.isfinite().all()
    assert float(got.exp().sum()) == pytest.approx(1.0, abs=1e-12)
    best = max(log_probs)
    assert log_probs[classes.index(int(got.argmax()))] == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("row", [[math.nan, 0.0], [math.inf, 0.0], [-math.inf, -math.inf]])
def test_an_answer_that_is_not_finite_is_refused(row):
    with pytest.raises(ValueError, match="not finite"):
        full_width(said([row], (0, 1)), 2, torch.tensor([0]))


@pytest.mark.parametrize("classes", [(0, 2), (-1, 0)])
def test_classes_that_do_not_exist_are_refused(classes):
    with pytest.raises(ValueError, match="valid: 0 to 1"):
        full_width(said([[0.0, 0.0]], classes), 2, torch.tensor([0]))


def test_an_answer_must_fit_its_classes():
    with pytest.raises(ValueError, match=r"log_probs has shape \(1, 3\); for 1 inputs and 2 classes"):
        said([[0.0, 0.0, 0.0]], (0, 1))
    with pytest.raises(ValueError, match="must differ"):
        said([[0.0, 0.0]], (1, 1))


def test_only_the_classes_that_a_label_leaves_open_are_answered():
    answer = said([[math.log(0.5), math.log(0.2), math.log(0.3)]], (0, 2, 3))
    got = full_width(answer, 5, torch.tensor([2]), (2, 3)).exp()
    trifle = EPSILON / 5
    expected = [trifle, trifle, 0.4 * (1 - EPSILON) + trifle, 0.6 * (1 - EPSILON) + trifle, trifle]
    assert got.tolist() == [pytest.approx(expected)]
    unknown = full_width(answer, 5, torch.tensor([4]), (1, 4)).exp()
    assert unknown[0, [1, 4]].tolist() == pytest.approx([0.5, 0.5], abs=2 * EPSILON)
    assert int(unknown.argmax()) == 4
