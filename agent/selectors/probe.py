"""A choice from leave-one-out scores and a few rules; nothing is tried out.

A closed-form head on the best fixed representation (the shared stem, or the raw input without one) is the default and
the guard: on small tasks it is hard to beat, and what is trained has to show that it does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch

from ...streams.task import Task
from ..arm import FEWEST_TO_CALIBRATE
from ..events import ProbeScore, Profiled
from ..recognition import FEW_TO_COMPARE, recognised, share_error
from ..selector import Choice, Option, Selector
from ..workbench import Workbench

# How much smaller another representation's leave-one-out error must be than the default's, to be taken in its place.
MARGIN = 0.9
# Samples per class up to which meta-learning is thought of.
FEW = 5


class Probe(Selector):
    """Recognises a returning task, else compares leave-one-out scores, and trains where a held-out part can judge it.

    1. A stored model that agrees with the labels at least as well as a closed-form head does left out is reused.
    2. The default is a closed-form head on the best representation; a stored encoder must be clearly better.
    3. With 20 held-out samples or more a network is trained beside it (adapted, fine-tuned, distilled or from scratch,
       by what is known); it answers only if it is better on them. Either way its encoder stays in the store.
    """

    name: ClassVar[str] = "probe"

    def consolidates(self, strategies: Sequence[str]) -> Sequence[str]:
        """Leave `protonet` out, which no rule below chooses: its training would take half of what `maml` has."""
        return [name for name in strategies if name != "protonet"]

    def select(
        self, task: Task, profile: Profiled, options: Sequence[Option], bench: Workbench, rng: torch.Generator
    ) -> Choice:
        """Apply the rules in the order of the class docstring."""
        scores = {score.candidate: score for score in profile.scores}
        open_to = [option for option in options if option.why_not is None]
        values = promises(open_to, scores)
        default = _default(open_to, bench, scores)
        if default is None:  # no closed form applies, or nothing could be probed
            option = _trained(open_to, bench, scores, profile, 0.0)
            return Choice(option.strategy, option.source, "no closed-form head applies", values)
        bound = scores[default.source].closed_form if default.source in scores else 0.0
        known = recognised(task, open_to, bench, scores, bound)
        if known is not None:
            agreement = scores[str(known.source)].reuse or 0.0
            right = f"{100 * agreement:.1f} % of the support set right"
            reason = f"a stored model gets {right}, a new closed-form head {100 * bound:.1f} %"
            return Choice("reuse", known.source, reason, values)
        trained = _trained(open_to, bench, scores, profile, bound)
        joint = next((option for option in open_to if option.strategy == (bench.known.joint or ("",))[0]), None)
        held_out = len(bench.held_out or ())
        if held_out < FEWEST_TO_CALIBRATE or trained == default:
            reason = (
                f"{held_out} held-out samples cannot judge training; {default.source} has the least leave-one-out error"
            )
            return Choice("prototype", default.source, reason, values, background=joint)
        why = {
            "scratch": "no stored encoder is near it",
            "finetune": f"{trained.source} is near it",
            "distill": f"a model on {trained.source} nearly knows it",
            "maml": "few samples per class of a family that was met before",
            "multitask": "it was learned together with others",
        }.get(trained.strategy, "it applies")
        reason = f"{why}; answers if better than a closed-form head on {default.source}"
        return Choice(trained.strategy, trained.source, reason, values, guard=default)


def promises(options: Sequence[Option], scores: Mapping[str, ProbeScore]) -> dict[Option, float]:
    """Score every option that was probed by the accuracy that its source promises.

    Args:
        options: Some options.
        scores: What was measured, by candidate.

    Returns:
        For `reuse` the agreement of the stored model, for all others that of a closed-form head, left out one by one;
        nothing for what was not probed.
    """
    values = {}
    for option in options:
        score = scores.get(option.source or "")
        if score is not None:
            value = score.reuse if option.strategy == "reuse" else score.closed_form
            if value is not None:
                values[option] = value
    return values


def _default(options: Sequence[Option], bench: Workbench, scores: Mapping[str, ProbeScore]) -> Option | None:
    """The closed-form head on the best fixed representation, or on a stored encoder that is clearly better."""
    closed = [option for option in options if option.strategy == "prototype"]
    if not closed:
        return None
    fixed = {source.id for source in bench.known.fixed}

    def error(option: Option) -> float:
        score = scores.get(option.source or "")
        if score is None:
            return math.inf
        return score.ridge_mse if option.source in fixed else score.ridge_mse / MARGIN

    return min(closed, key=error)


def _trained(
    options: Sequence[Option], bench: Workbench, scores: Mapping[str, ProbeScore], profile: Profiled, bound: float
) -> Option:
    """What to train: by whether it was learned with others, how few samples there are, and what is stored."""
    first: dict[str, Option] = {}
    for option in options:
        first.setdefault(option.strategy, option)
    joint = bench.known.joint
    if joint is not None and joint[0] in first:
        return first[joint[0]]
    if "maml" in first and profile.per_class <= FEW:
        return first["maml"]
    probed = [(option, scores[option.source]) for option in options if option.source and option.source in scores]
    for option, score in probed:
        nearly = score.reuse is not None and score.reuse >= bound - 2 * share_error(score.reuse, score.samples)
        if option.strategy == "distill" and nearly and score.samples >= FEW_TO_COMPARE:
            return option
    useless = min(
        (scores[s.id].ridge_mse for s in bench.known.fixed if s.id == "random" and s.id in scores), default=math.inf
    )
    for option, score in probed:
        if option.strategy == "finetune" and score.ridge_mse < useless:
            return option
    for name in ("scratch", "prototype"):
        if name in first:
            return first[name]
    return next(iter(first.values()))
