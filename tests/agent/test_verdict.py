import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evermap.agent.closed_form import temperature
from evermap.agent.verdict import Gain, clear, gain, losses

ours, theirs = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0.3, 0.5, 0.3, 0.9])


def test_a_gain_is_the_mean_of_paired_differences_with_its_standard_error():
    found = gain(ours, theirs, "classification")  # differences .2, .3, 0, .5: mean .25, s.d. √(.13 / 3)
    assert found.nats == pytest.approx(0.25)
    assert found.error == pytest.approx(math.sqrt(0.13 / 3) / 2, rel=1e-5)


def test_a_gain_in_regression_is_half_the_logarithm_of_the_ratio():
    found = gain(torch.tensor([1.0, 3.0]), torch.tensor([8.0, 8.0]), "regression")  # means 2 and 8
    assert found.nats == pytest.approx(0.5 * math.log(4))
    # 8/8 - 1/2 = .5 and 8/8 - 3/2 = -.5: s.d. √.5, over √2, halved
    assert found.error == pytest.approx(0.25)
    assert gain(torch.zeros(3), torch.zeros(3), "regression") == Gain(0.0, 0.0)
    assert gain(torch.zeros(3), torch.ones(3), "regression").nats == 1.0


def test_losses_are_calibrated():
    outputs, y = torch.tensor([[9.0, 0.0], [0.0, 9.0], [9.0, 0.0]]), torch.tensor([0, 1, 1])
    scale = temperature(outputs, y)
    assert scale > 5, "one of three is wrong: such confidence costs"
    expected = torch.nn.functional.cross_entropy(outputs / scale, y, reduction="none")
    torch.testing.assert_close(losses(outputs, y, "classification"), expected)
    values = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    torch.testing.assert_close(losses(values, torch.zeros(2, 2), "regression"), torch.tensor([2.5, 0.0]))


@given(st.floats(-2, 2), st.floats(0.01, 1), st.floats(-2, 2), st.floats(0.01, 1))
def test_joining_lies_between_and_is_surer_than_either(a, sa, b, sb):
    joined = Gain(a, sa).joined(Gain(b, sb))
    assert min(a, b) - 1e-9 <= joined.nats <= max(a, b) + 1e-9
    assert joined.error <= min(sa, sb) + 1e-12
    other = Gain(b, sb).joined(Gain(a, sa))
    assert joined.nats == pytest.approx(other.nats, abs=1e-9)


def test_joining_by_hand_and_certainty():
    joined = Gain(0.0, 1.0).joined(Gain(1.0, 0.5))  # weights 1 and 4
    assert (joined.nats, joined.error) == (pytest.approx(0.8), pytest.approx(5**-0.5))
    assert Gain(0.3, 0.0).joined(Gain(1.0, 0.1)) == Gain(0.3, 0.0)
    assert Gain(0.3, 0.1).joined(Gain(1.0, 0.0)) == Gain(1.0, 0.0)


def test_a_default_is_left_for_a_clear_margin_or_a_believed_gain():
    assert clear(Gain(0.165, 0.1), None)
    assert not clear(Gain(0.163, 0.1), None)
    # Posterior of (-.05 ± .1) and (.3 ± .1): .125 ± .071.
    assert clear(Gain(0.3, 0.1), Gain(-0.05, 0.1))
    assert not clear(Gain(0.12, 0.1), Gain(-0.05, 0.1)), ".035 ± .071: less than half of its deviation"
    assert not clear(Gain(0.15, 0.2), Gain(0.5, 0.01)), "expectation alone does not leave it: .15 is within an error"
    assert not clear(Gain(0.09, 0.01), Gain(0.5, 0.1)), "a tenth of a nat is the least"
    assert clear(Gain(0.11, 0.01), Gain(0.5, 0.1))
