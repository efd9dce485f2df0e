import torch
from hypothesis import given
from hypothesis import strategies as st

from evermap.streams.on_demand import OnDemand
from evermap.streams.source import SourceData

WHOLE = torch.arange(30).reshape(10, 3)


def squares(made: list[int]) -> OnDemand:
    def make(positions: list[int]) -> torch.Tensor:
        made.extend(positions)
        return WHOLE[positions] ** 2

    return OnDemand((10, 3), torch.int64, make, "ab" * 32)


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=6))
def test_whatever_is_asked_for_it_is_the_same_and_made_once(asked: list[list[int]]) -> None:
    made: list[int] = []
    x = squares(made)
    for positions in asked:
        assert torch.equal(x[torch.tensor(positions, dtype=torch.int64)], WHOLE[positions] ** 2)
    assert sorted(made) == sorted({position for positions in asked for position in positions})


def test_what_is_taken_is_a_copy() -> None:
    x = squares([])
    x[torch.tensor([1, 2])][:] = -1
    assert torch.equal(x[torch.tensor([1])], WHOLE[[1]] ** 2)
    assert len(x) == 10


def test_the_hash_is_that_of_what_inputs_are_made_of() -> None:
    y = torch.arange(10) % 2
    data = SourceData(squares([]), y, ("even", "odd"))
    before = data.sha256()
    data.take(torch.arange(10))
    assert data.sha256() == before
    other = SourceData(OnDemand((10, 3), torch.int64, lambda wanted: WHOLE[wanted], "cd" * 32), y, ("even", "odd"))
    assert other.sha256() != before
    assert data.input_shape == (3,)
    assert data.sizes.samples == (5, 5)
