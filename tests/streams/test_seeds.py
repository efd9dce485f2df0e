import hashlib

import torch
from hypothesis import given
from hypothesis import strategies as st

from evermap.streams.seeds import derive, generator

PURPOSE = st.lists(st.integers() | st.text(), max_size=4)


def test_a_seed_is_the_first_63_bits_of_the_hash() -> None:
    digest = hashlib.sha256(b'[7, "task", 17]').digest()
    assert derive(7, "task", 17) == int.from_bytes(digest[:8], "big") // 2
    assert derive(7, "task", 17) == 9061872916688068042


@given(st.integers(), PURPOSE, st.integers(), PURPOSE)
def test_different_purposes_have_different_seeds(a: int, p: list[int | str], b: int, q: list[int | str]) -> None:
    assert (derive(a, *p) == derive(b, *q)) == ((a, p) == (b, q))
    assert 0 <= derive(a, *p) < 2**63


def test_a_number_and_its_digits_differ() -> None:
    assert derive(0, 1, 2) != derive(0, "1", 2) != derive(0, 12)


def test_generators_are_new_and_leave_the_global_one_alone() -> None:
    before = torch.random.get_rng_state()
    first = torch.rand(3, generator=generator(1, "x"))
    assert torch.equal(first, torch.rand(3, generator=generator(1, "x")))
    assert not torch.equal(first, torch.rand(3, generator=generator(1, "y")))
    assert torch.equal(before, torch.random.get_rng_state())
