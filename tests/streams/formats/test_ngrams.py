import math
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils import murmurhash3_32

from evermap.streams.formats.ngrams import hashed_ngrams


def plainly(text: str, features: int, shortest: int, longest: int) -> list[float]:
    """The same with plain loops."""
    text = re.sub("  +", " ", text.lower())
    counts: Counter[int] = Counter()
    for n in range(shortest, longest + 1):
        for i in range(len(text) - n + 1):
            counts[abs(murmurhash3_32(text[i : i + n])) % features] += 1
    row = [1 + math.log(counts[k]) if counts[k] else 0.0 for k in range(features)]
    length = math.sqrt(sum(v * v for v in row))
    return [v / length for v in row] if length else row


@given(st.lists(st.text("abc dé", max_size=12), min_size=1, max_size=3), st.integers(1, 3), st.integers(0, 2))
def test_it_is_what_plain_loops_give(texts: list[str], shortest: int, more: int) -> None:
    found = hashed_ngrams(texts, 32, shortest, shortest + more)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [plainly(text, 32, shortest, shortest + more) for text in texts], atol=1e-6)


def test_a_text_has_the_same_vector_whatever_stands_beside_it() -> None:
    texts = [f"text {i}" for i in range(2100)]  # more than one block
    together = hashed_ngrams(texts, 64)
    for i in (0, 2047, 2048, 2099):
        assert (together[i] == hashed_ngrams([texts[i]], 64)[0]).all()


def test_rows_have_length_one_and_an_empty_text_is_zero() -> None:
    found = hashed_ngrams(["Hello", "hello", "", "x"], 128)
    assert (found[0] == found[1]).all()
    np.testing.assert_allclose(np.linalg.norm(found[:2], axis=1), 1, rtol=1e-6)
    assert not found[2:].any()  # "x" has no n-gram of two characters
    assert found.min() >= 0


@pytest.mark.parametrize("features", [2, 4096])
def test_the_size_is_as_asked_for(features: int) -> None:
    assert hashed_ngrams(["some text"], features).shape == (1, features)
