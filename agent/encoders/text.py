"""A text encoder: an embedding bag over hashed n-grams, then dense layers (fastText, and the deep averaging network).

Joulin 2017 (arXiv 1607.01759) for the bag and the hashing, Iyyer 2015 (ACL P15-1162) for the layers on it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ...errors import RecipeError
from ..encoder import Encoder
from ..settings import positive, setting


class Text(Encoder):
    """Adds up one embedding per hashed n-gram, weighted by how often it occurs; ReLU layers follow.

    The input is the vector of hashed n-grams: its length is the number of buckets, an entry is the weight of the
    n-grams of that bucket (a count, or tf-idf; sources bring it to unit length). The bag is then a product with the
    table of embeddings, so every strategy can learn on it, second derivatives included. Embeddings start at unit
    variance: a text of unit length has features of order one, where a linear layer's usual start would leave it near
    zero.
    """

    name: ClassVar[str] = "text"
    examples: ClassVar[tuple[tuple[int, ...], ...]] = ((1024,), (4096,))

    @dataclass(frozen=True)
    class Settings:
        """Sizes of embeddings and layers."""

        width: int = setting(128, "Length of an embedding.", "units")
        hidden: tuple[int, ...] = setting(
            (), "Width of every layer on the bag; with none the rectified bag is the feature.", "units"
        )

        def __post_init__(self) -> None:
            positive("encoder text", width=self.width)
            for width in self.hidden:
                positive("encoder text", hidden=width)

    def build(self) -> int:
        """Draw the table of embeddings and the layers."""
        if len(self.input_shape) != 1:
            raise RecipeError("encoder text", "input_shape", self.input_shape, "needs vectors of hashed n-grams")
        (buckets,), sizes = self.input_shape, [self.settings.width, *self.settings.hidden]
        self.bag = nn.Linear(buckets, sizes[0])
        nn.init.normal_(self.bag.weight)
        nn.init.zeros_(self.bag.bias)
        layers: list[nn.Module] = [nn.ReLU()]
        for before, after in itertools.pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        return int(sizes[-1])

    def forward(self, x: Tensor) -> Tensor:
        """Encode texts of shape `(n, buckets)` as features of shape `(n, hidden[-1])`, or `(n, width)`."""
        features: Tensor = self.layers(self.bag(x))
        return features
