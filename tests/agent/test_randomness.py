import random

import numpy as np
import pytest
import torch

from evermap.agent.randomness import OwnRandomness


def draws():
    return torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()  # noqa: NPY002 - this state is swapped


def drawn(own):
    with own.swapped_in():
        return draws()


def test_the_seed_decides_and_the_world_does_not():
    one, other, third = OwnRandomness(5), OwnRandomness(5), OwnRandomness(6)
    first = drawn(one)
    draws()
    assert drawn(other) == first
    assert drawn(third) != first
    assert drawn(one) == drawn(other) != first, "it goes on where it was"


def test_the_world_is_left_as_it_was():
    torch.manual_seed(1), np.random.seed(1), random.seed(1)  # noqa: NPY002
    expected = draws()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)  # noqa: NPY002
    own = OwnRandomness(2**62 + 3)
    drawn(own)
    with pytest.raises(KeyError), own.swapped_in():
        {}[draws()[2]]
    assert draws() == expected
