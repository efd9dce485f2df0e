"""Step sizes of an inner loop: one number, or learned ones per layer, per layer and step, or per weight.

Per layer and step is MAML++'s LSLR (Antoniou 2019, arXiv 1810.09502, §4); per weight is Meta-SGD (Li 2017, arXiv
1707.09835). A "layer" is a tensor of parameters, as in MAML++'s own code. Nothing keeps a learned step size positive: a
negative one walks uphill on purpose, as both papers allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

Kind = Literal["fixed", "layer", "layer-step", "weight"]
# One number for everything, or by the parameter's name a tensor of shape `(k, ...)`: row i is for step i, the last row
# for all later steps as well, and a row broadcasts against the parameter.
StepSizes = float | Mapping[str, Tensor]


def equal_sizes(kind: Kind, parameters: Mapping[str, Tensor], steps: int, size: float) -> dict[str, Tensor]:
    """Make step sizes to learn from: all the same.

    Args:
        kind: "layer" has one row of one number, "layer-step" a row of one number for every step, "weight" one row
            of the parameter's shape; "fixed" has none.
        parameters: What the inner loop moves, by name.
        steps: Steps that are trained.
        size: Where they begin.

    Returns:
        By the parameter's name, on its device and of its type; empty for "fixed".
    """
    if kind == "fixed":
        return {}
    rows = steps if kind == "layer-step" else 1
    return {n: p.new_full((rows, *(p.shape if kind == "weight" else ())), size) for n, p in parameters.items()}


def size_at(sizes: StepSizes, name: str, step: int) -> float | Tensor:
    """Look up the step size of a parameter.

    Args:
        sizes: The step sizes.
        name: The parameter.
        step: Which step, from 0; beyond the last row it has the last row's.

    Returns:
        A number, or a tensor that broadcasts against the parameter.
    """
    return sizes[name][min(step, len(sizes[name]) - 1)] if isinstance(sizes, Mapping) else sizes
