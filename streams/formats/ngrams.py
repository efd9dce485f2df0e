"""Texts as vectors of a fixed size: counts of character n-grams under a hash, damped and brought to length 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.preprocessing import normalize

# Texts that are hashed at once: what is sparse becomes dense block by block.
_BLOCK = 2048


def hashed_ngrams(texts: Sequence[str], features: int, shortest: int = 2, longest: int = 5) -> NDArray[np.float32]:
    """Hash the character n-grams of texts (Weinberger et al. 2009, arXiv 0902.2206).

    Nothing is fitted: a text gives the same vector whatever other texts there are, so that nothing of test samples or
    of later tasks can be in it.

    Args:
        texts: The texts; case does not count.
        features: Size of a vector. N-grams whose hashes agree share a place.
        shortest: Least number of characters of an n-gram.
        longest: Greatest number.

    Returns:
        Shape `(n, features)`, in [0, 1]: `1 + ln(count)` for every n-gram that occurs, divided by the row's length; a
        row of zeros for a text without any.
    """
    vectoriser = HashingVectorizer(
        analyzer="char", ngram_range=(shortest, longest), n_features=features, alternate_sign=False, norm=None
    )
    rows = np.zeros((len(texts), features), np.float32)
    for start in range(0, len(texts), _BLOCK):
        counts = vectoriser.transform(texts[start : start + _BLOCK])
        counts.data = 1 + np.log(counts.data)
        rows[start : start + _BLOCK] = normalize(counts, copy=False).toarray()
    return rows
