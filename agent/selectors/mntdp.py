"""The closest published method's choice: fine-tuning from the past encoder with the best nearest neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...streams.task import Samples, Task
from ..closed_form import knn_leave_one_out
from ..events import Profiled
from ..known import Source
from ..probe import features_of
from ..selector import Choice, Option, Selector
from ..workbench import Workbench

# Neighbours that vote, and encoders that are compared, the newest.
NEIGHBOURS, MOST_ENCODERS = 15, 8


class Mntdp(Selector):
    """Nearest-neighbour accuracy on every past encoder, then fine-tuning from the best (Veniat 2021, arXiv 2012.12631).

    MNTDP-D ranks what was learned by the accuracy of 15 nearest neighbours on its features and trains on from the best;
    modules of single layers are evermap's whole encoders here, so it is the paper's way to choose, not its networks. A
    new network is taken while nothing is stored, or where raw inputs have better neighbours than any stored encoder.
    """

    name: ClassVar[str] = "mntdp"

    def needs_profile(self, strategies: Mapping[str, Any]) -> bool:
        """Probe nothing: it has a score of its own."""
        return False

    def consolidates(self, strategies: Sequence[str]) -> Sequence[str]:
        """Work for no later task."""
        return ()

    def together(self, strategies: Sequence[str], rng: torch.Generator) -> str | None:
        """Learn every task by itself."""
        return None

    def select(
        self, task: Task, profile: Profiled, options: Sequence[Option], bench: Workbench, rng: torch.Generator
    ) -> Choice:
        """Compare the past encoders; pay for it."""
        open_to = [option for option in options if option.why_not is None]
        tuned = {option.source: option for option in open_to if option.strategy == "finetune"}
        fresh = next((option for option in open_to if option.strategy == "scratch"), open_to[0])
        stored = [source for source in bench.known.sources if source.id in tuned][:MOST_ENCODERS]
        if not stored or bench.task.kind != "classification":
            return Choice(fresh.strategy, fresh.source, "nothing is stored whose neighbours could be asked")
        with bench.ledger.counting("select"):
            found = {
                source.id: _accuracy(source, bench.task.support, bench.held_out, bench.task.outputs)
                for source in stored
            }
            base = bench.known.fixed[0]
            to_beat = _accuracy(base, bench.task.support, bench.held_out, bench.task.outputs)
        best = max(found, key=lambda each: found[each])
        values = {tuned[each]: value for each, value in found.items()}
        if found[best] < to_beat:
            reason = (
                f"{NEIGHBOURS} neighbours are right more often on {base.id} ({100 * to_beat:.1f} %) than on {best} "
                f"({100 * found[best]:.1f} %)"
            )
            return Choice(fresh.strategy, fresh.source, reason, values)
        reason = f"{NEIGHBOURS} neighbours are right most often on {best} ({100 * found[best]:.1f} %)"
        return Choice("finetune", best, reason, values)


def _accuracy(source: Source, support: Samples, held_out: Samples | None, classes: int) -> float:
    """Accuracy of nearest neighbours on the held-out samples; left out one by one where there are none."""
    encoder = source.encoder()
    features = features_of(encoder, support.x)
    if held_out is None:
        return knn_leave_one_out(features, support.y, classes, NEIGHBOURS) or 0.0
    return neighbours_right(features, support.y, features_of(encoder, held_out.x), held_out.y, classes)


def neighbours_right(features: Tensor, y: Tensor, asked: Tensor, truth: Tensor, classes: int) -> float:
    """Return the share of samples on which the nearest neighbours by cosine are right.

    Args:
        features: Features of the neighbours, shape `(n, d)`.
        y: Their labels, shape `(n,)`.
        asked: Features of the samples that are asked about, shape `(m, d)`.
        truth: Their labels, shape `(m,)`.
        classes: Number of classes.

    Returns:
        From 0 to 1; ties in votes go to the greater similarity.
    """
    unit, others = (torch.nn.functional.normalize(each, dim=1) for each in (asked, features))
    near, index = (unit @ others.T).topk(min(NEIGHBOURS, len(features)), dim=1)  # (m, k)
    votes = torch.zeros(len(asked), classes, dtype=features.dtype, device=features.device)
    votes.scatter_add_(1, y[index], 1 + 1e-3 * (1 + near))
    return float((votes.argmax(dim=1) == truth).float().mean())
