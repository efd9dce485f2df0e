"""A choice by rules of thumb on the profile: what serves without any experience, and what learning has to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch

from ...streams.task import Task
from ..events import ProbeScore, Profiled
from ..probe import FEWEST_TO_RECOGNISE
from ..selector import Choice, Option, Selector
from ..workbench import Workbench

# Samples per class up to which a task is one of few shots, and from which it is a large one.
FEW, MANY = 5, 50
# Share of the support set on which a stored model must be right to be taken as it is, and to be asked as a teacher.
STILL_RIGHT, TEACHES = 0.9, 0.5


class Rules(Selector):
    """Follows the first rule that fits.

    1. A stored model that is right on more than 90 % of the support set, labels matched, is reused as it is.
    2. Up to five samples per class: MAML where it was meta-trained, else prototypes.
    3. No stored encoder better than random features: from scratch.
    4. Fifty samples per class or more, and a better encoder is stored: fine-tune it.
    5. A stored model right on more than half of the support set: learn from it as a teacher.
    6. Else prototypes on the best representation.
    """

    name: ClassVar[str] = "rules"

    def select(
        self, task: Task, profile: Profiled, options: Sequence[Option], bench: Workbench, rng: torch.Generator
    ) -> Choice:
        """Apply the rules in their order; a strategy that does not apply leaves the task to the next rule."""
        option, reason = by_rule(options, profile)
        return Choice(option.strategy, option.source, reason)


def by_rule(options: Sequence[Option], profile: Profiled) -> tuple[Option, str]:
    """Follow the first rule that fits.

    Args:
        options: Every way; at least one applies.
        profile: What was measured.

    Returns:
        The option, and why in words.
    """
    first: dict[str, Option] = {}
    for option in options:
        if option.why_not is None:
            first.setdefault(option.strategy, option)
    scores = {score.candidate: score for score in profile.scores}
    agreement = max((s.reuse for s in scores.values() if s.reuse is not None), default=0.0)
    samples = max((s.samples for s in scores.values()), default=0)
    if "reuse" in first and samples >= FEWEST_TO_RECOGNISE and agreement > STILL_RIGHT:
        best = max((o for o in options if o.strategy == "reuse"), key=lambda o: _agreement(o, scores))
        return best, f"a stored model is right on {100 * agreement:.1f} % of the support set"
    if profile.per_class <= FEW:
        for name in ("maml", "prototype"):
            if name in first:
                return first[name], f"{profile.per_class} samples per class are few"
    related = _related(scores)
    if "scratch" in first and not related:
        return first["scratch"], "no stored encoder is better than random features"
    if "finetune" in first and profile.per_class >= MANY:
        return first["finetune"], f"{profile.per_class} samples per class are many, and a stored encoder is near"
    if "distill" in first and agreement > TEACHES:
        return first["distill"], f"a stored model is right on {100 * agreement:.1f} % of the support set, and can teach"
    for name in ("prototype", "finetune", "scratch"):
        if name in first:
            return first[name], "no rule fits better"
    name, option = next(iter(first.items()))
    return option, f"{name} is what applies"


def _agreement(option: Option, scores: Mapping[str, ProbeScore]) -> float:
    score = scores.get(option.source or "")
    return -1.0 if score is None or score.reuse is None or option.why_not is not None else score.reuse


def _related(scores: Mapping[str, ProbeScore]) -> bool:
    """Whether a stored encoder has a smaller leave-one-out error than random features."""
    stored = [s.ridge_mse for name, s in scores.items() if name not in ("raw", "stem", "random")]
    return bool(stored) and "random" in scores and min(stored) < scores["random"].ridge_mse
