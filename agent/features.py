"""A task's profile as a vector of numbers between 0 and 1, with names: what a learned chooser sees.

Nothing in it tells which task it is, whether it has come before, or anything of a test set: it is computed from what
was measured on the support set and from how much is known.

| feature | meaning |
| --- | --- |
| `samples` | log of the number of support samples; 1 from 10,000 on |
| `per_class` | log of the samples of the smallest class (regression: of all samples); 1 from 10,000 on |
| `classes` | log of the number of classes (regression: of outputs); 1 from 100 on |
| `held_out` | log of 1 + the number of held-out samples; 1 from 10,000 on |
| `regression` | 1 where values are asked for |
| `probed` | 1 where any representation was scored |
| `stored` | 1 where a stored encoder was scored |
| `best` | leave-one-out accuracy of the best closed-form head; regression: 0 |
| `fixed` | that of the best one on a fixed representation; regression: 0 |
| `best_error` | least leave-one-out error, as a share of the error of saying nothing; regression: of random features' |
| `stored_gain` | best stored encoder against the best fixed representation, in accuracy |
| `stored_gain_error` | the same in errors |
| `random_gain` | best candidate against random features, in accuracy |
| `random_gain_error` | the same in errors |
| `gap` | best candidate against the second, in errors |
| `heads` | 1 where stored heads were asked |
| `agreement` | share of the support set on which the best stored head is right once its labels are matched |
| `agreement_gain` | that against the best closed-form head |
| `tasks` | log of 1 + the number of known tasks with a model for such inputs; 1 from 100 on |
| `encoders` | log of 1 + the number of stored encoders for such inputs; 1 from 100 on |
| `unprobed` | share of these that were not scored |
| `budget_left` | share of the budget that is left after profiling |

A difference of accuracies d stands as (1 + d) / 2, errors a and b as (1 + (b - a) / (a + b)) / 2, which is above one
half where a is smaller. One half also stands where there is nothing to compare, 0 for any other number that is missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .events import ProbeScore, Profiled

if TYPE_CHECKING:
    from .workbench import Workbench

FEATURES = (
    "samples",
    "per_class",
    "classes",
    "held_out",
    "regression",
    "probed",
    "stored",
    "best",
    "fixed",
    "best_error",
    "stored_gain",
    "stored_gain_error",
    "random_gain",
    "random_gain_error",
    "gap",
    "heads",
    "agreement",
    "agreement_gain",
    "tasks",
    "encoders",
    "unprobed",
    "budget_left",
)
# Candidates of a profile that are no stored encoders.
FIXED = ("raw", "stem", "random")


@dataclass(frozen=True)
class Circumstances:
    """What matters for a choice and stands not in the profile.

    Attributes:
        regression: Whether values are asked for.
        held_out: Number of held-out samples.
        tasks: Known tasks that have a model for inputs of this shape.
        encoders: Stored encoders for inputs of this shape.
        budget_left: Share of the budget that is left, 0 to 1.
    """

    regression: bool = False
    held_out: int = 0
    tasks: int = 0
    encoders: int = 0
    budget_left: float = 1.0


def circumstances(bench: Workbench) -> Circumstances:
    """Read the circumstances of a task from its workbench, after it was profiled.

    Args:
        bench: The workbench.
    """
    known, ledger = bench.known, bench.ledger
    return Circumstances(
        regression=bench.task.kind == "regression",
        held_out=len(bench.held_out) if bench.held_out is not None else 0,
        tasks=len({record.index for source in (*known.sources, *known.fixed) for record in source.tasks}),
        encoders=len(known.sources),
        budget_left=ledger.left / ledger.limit if ledger.limit else 0.0,
    )


def features(profile: Profiled, around: Circumstances) -> tuple[float, ...]:
    """Turn a profile into numbers.

    Args:
        profile: What was measured.
        around: What stands beside it.

    Returns:
        One number from 0 to 1 for every name of `FEATURES`, in that order.
    """
    scores, regression = profile.scores, around.regression
    stored = [score for score in scores if score.candidate not in FIXED]
    fixed = [score for score in scores if score.candidate in FIXED]
    random = [score for score in scores if score.candidate == "random"]
    best, base = _accuracy(scores), _accuracy(fixed)
    errors = sorted(score.ridge_mse for score in scores)
    agreements = [score.reuse for score in scores if score.reuse is not None]
    agreement = max(agreements, default=None)
    # Saying 1/c for every class leaves (1/c)(1 - 1/c) on average; of values nothing of this kind is known.
    nothing = _least(random) if regression else (1 - 1 / profile.classes) / profile.classes
    unprobed = profile.unprobed / around.encoders if around.encoders else 0.0
    found = {
        "samples": _log(profile.samples, 10_000),
        "per_class": _log(profile.per_class, 10_000),
        "classes": _log(profile.classes, 100),
        "held_out": _log(1 + around.held_out, 10_000),
        "regression": float(regression),
        "probed": float(bool(scores)),
        "stored": float(bool(stored)),
        "best": best or 0.0,
        "fixed": base or 0.0,
        "best_error": errors[0] / nothing if errors and nothing else 0.0,
        "stored_gain": _difference(_accuracy(stored), base),
        "stored_gain_error": _contrast(_least(stored), _least(fixed)),
        "random_gain": _difference(best, _accuracy(random)),
        "random_gain_error": _contrast(errors[0] if errors else None, _least(random)),
        "gap": _contrast(errors[0], errors[1]) if len(errors) > 1 else 0.5,
        "heads": float(bool(agreements)),
        "agreement": agreement or 0.0,
        "agreement_gain": _difference(agreement, best),
        "tasks": _log(1 + around.tasks, 100),
        "encoders": _log(1 + around.encoders, 100),
        "unprobed": unprobed,
        "budget_left": around.budget_left,
    }
    return tuple(min(1.0, max(0.0, found[name])) for name in FEATURES)


def _accuracy(scores: Sequence[ProbeScore]) -> float | None:
    """The best closed-form accuracy; None where there is none, as for regression."""
    known = [score.closed_form for score in scores if score.ridge is not None or score.ncm is not None]
    return max(known, default=None)


def _least(scores: Sequence[ProbeScore]) -> float | None:
    return min((score.ridge_mse for score in scores), default=None)


def _difference(a: float | None, b: float | None) -> float:
    return 0.5 if a is None or b is None else (1 + a - b) / 2


def _contrast(a: float | None, b: float | None) -> float:
    if a is None or b is None or not 0 < a + b < math.inf:
        return 0.5
    return (1 + (b - a) / (a + b)) / 2


def _log(x: float, most: float) -> float:
    return math.log(max(x, 1.0)) / math.log(most)
