"""MAML's loss after one inner step from equal rows, in closed form: many episodes share what was encoded once.

From a head of equal rows (Ye & Chao 2022, arXiv 2111.10040) one step of the inner loop moves the head alone, whatever
it may move, and moves it to class means: the second-order meta-gradient of MAML (Finn 2017, arXiv 1703.03400) is then
the plain gradient of a loss that looks like that of prototypical networks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def one_step_loss(features: Tensor, shots: int, ways: int, size: Tensor | float, rng: torch.Generator) -> Tensor:
    """Judge an encoder by MAML's query loss after one inner step, over many episodes on samples encoded once.

    A head of C equal rows says 1/C of every class, whatever the sample: its gradient does not reach the features, and a
    step of size α gives row c the value `w + α/C (m_c − m)`, with the mean m_c of the features of its class and the
    mean m of all. What the rows have in common drops out of the softmax: logits are `α/C m_c · q`.

    Args:
        features: Shape `(classes, samples, d)`.
        shots: Support samples of a class, below `samples`; every sample has its turn, and the others are queries.
        ways: C; the classes are dealt out at random to as many episodes as they suffice for.
        size: α/C.
        rng: Deals.

    Returns:
        The mean log-loss of all queries of all episodes, a scalar.
    """
    classes, samples, _ = features.shape
    dealt = torch.randperm(classes, generator=rng)[: classes // ways * ways].view(-1, ways)
    episodes = features[dealt]  # (E, C, K, d)
    turned = torch.cat([episodes.roll(-turn, dims=2) for turn in range(samples)])
    rows = size * turned[:, :, :shots].mean(dim=2)  # (E·K, C, d)
    logits = turned[:, :, shots:].flatten(1, 2) @ rows.transpose(1, 2)
    labels = torch.arange(ways, device=features.device).repeat_interleave(samples - shots).expand(len(turned), -1)
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())
