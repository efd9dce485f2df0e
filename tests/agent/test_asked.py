"""What is kept of questions: the same bits, never too much, and nothing that others could change."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from evermap.agent.asked import Asked, through_frozen


class _Doubling(nn.Module):
    """Doubles its inputs, and counts how often it had to."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return 2 * x


def _through(asked: Asked, encoder: nn.Module, x: Tensor) -> Tensor:
    with asked.at_hand():
        return through_frozen(encoder, encoder, x)


def test_the_same_inputs_are_encoded_once_and_others_again() -> None:
    encoder, asked = _Doubling(), Asked()
    x = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(_through(asked, encoder, x), 2 * x)
    assert torch.equal(_through(asked, encoder, x.clone()), 2 * x)  # by content, not by identity
    assert encoder.calls == 1
    for other in (x + 1, x.reshape(3, 2), x.double(), x[:1]):
        assert torch.equal(_through(asked, encoder, other), 2 * other)
    assert encoder.calls == 5


def test_every_encoder_answers_for_itself() -> None:
    asked, x = Asked(), torch.ones(2, 3)
    encoders = [_Doubling(), _Doubling()]
    for encoder in (*encoders, *encoders):
        _through(asked, encoder, x)
    assert [encoder.calls for encoder in encoders] == [1, 1]


def test_an_encoder_that_takes_the_place_of_another_in_memory_is_not_taken_for_it() -> None:
    asked, x = Asked(), torch.ones(2, 3)
    for factor in range(1, 30):  # nobody else holds them: without a reference they would often get the same id
        linear = nn.Linear(3, 1, bias=False).requires_grad_(False)
        linear.weight.fill_(factor)
        assert torch.equal(_through(asked, linear, x), torch.full((2, 1), 3.0 * factor))
        del linear


def test_nothing_is_kept_where_nobody_asks() -> None:
    encoder, asked = _Doubling(), Asked()
    _through(asked, encoder, torch.ones(2, 3))
    through_frozen(encoder, encoder, torch.ones(2, 3))  # learning: what is kept is not at hand
    assert encoder.calls == 2


def test_inputs_that_are_changed_in_place_are_other_inputs() -> None:
    encoder, asked = _Doubling(), Asked()
    x = torch.ones(2, 3)
    _through(asked, encoder, x)
    x[0, 0] = 5
    assert _through(asked, encoder, x)[0, 0] == 10


def test_nobody_can_change_what_others_get() -> None:
    encoder, asked = _Doubling(), Asked()
    x = torch.ones(2, 3)
    _through(asked, encoder, x).zero_()
    _through(asked, encoder, x).zero_()
    assert torch.equal(_through(asked, encoder, x), torch.full((2, 3), 2.0))
    assert encoder.calls == 1


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(0, 10))
def test_no_more_than_the_limit_is_kept_and_answers_do_not_depend_on_it(asks: list[int], batches: int) -> None:
    encoder, asked = _Doubling(), Asked(kept_bytes=batches * 12)
    first: list[int] = []
    for ask in asks:
        assert torch.equal(_through(asked, encoder, torch.full((1, 3), float(ask))), torch.full((1, 3), 2.0 * ask))
        if ask not in first:
            first.append(ask)
    kept = first[:batches]  # the first to come stay
    assert encoder.calls == len(kept) + sum(ask not in kept for ask in asks)


def test_transposed_and_empty_inputs_are_told_apart() -> None:
    encoder, asked = _Doubling(), Asked()
    x = torch.arange(4.0).reshape(2, 2)
    assert torch.equal(_through(asked, encoder, x.T), 2 * x.T)
    assert torch.equal(_through(asked, encoder, x), 2 * x)
    assert _through(asked, encoder, torch.empty(0, 3)).shape == (0, 3)
    assert _through(asked, encoder, torch.empty(0, 2)).shape == (0, 2)
