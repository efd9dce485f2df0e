"""The ways considered for a task, put in order for reading: the chosen one, the best of every strategy, the rest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .units import known


@dataclass(frozen=True)
class Way:
    """One way that was considered.

    Attributes:
        strategy: Registered name.
        source: Id of the entry it would start from; None for none.
        score: The selector's opinion, higher is better; None where it gave none.
        why_not: Why it does not apply or was left out; None where it stayed.
        picked: Whether it was chosen.
        answers: Whether it is what answers in the end: the guard's or a stand-in's, if it is not what was chosen.
        leads: Whether it was chosen, answers, or is the best of its strategy: what is shown first.
        share: Length of the score's bar in percent; 0 where there is no score.
    """

    strategy: str
    source: str | None
    score: float | None
    why_not: str | None
    picked: bool
    answers: bool
    leads: bool
    share: float

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def ranked(chosen: Mapping[str, Any], learned: Mapping[str, Any] | None = None) -> list[Way]:
    """Put the ways considered in order.

    Args:
        chosen: A `Chosen` event as JSON.
        learned: The `Learned` that followed, as JSON; None before.

    Returns:
        What answers, the chosen way, then the best of every other strategy, then the rest; each part by score, what
        does not apply last. Never empty: what was chosen and what answers are added where the selector does not list
        them.
    """
    pick = (chosen["strategy"], chosen.get("source"))
    answer = (learned["strategy"], learned.get("source")) if learned else None
    considered = [dict(each) for each in chosen.get("considered") or ()]
    for first in dict.fromkeys((answer or pick, pick)):
        if first not in map(_way, considered):
            considered.insert(0, {"strategy": first[0], "source": first[1]})
    considered.sort(key=lambda each: _order(each, answer or pick, pick))
    shares = bars([each.get("score") for each in considered])
    seen: set[str] = set()
    ways = []
    for each, share in zip(considered, shares, strict=True):
        picked, answers = _way(each) == pick, _way(each) == answer
        leads = picked or answers or each["strategy"] not in seen
        seen.add(each["strategy"])
        score = each.get("score") if known(each.get("score")) else None
        ways.append(
            Way(each["strategy"], each.get("source"), score, each.get("why_not"), picked, answers, leads, share)
        )
    return sorted(ways, key=lambda way: not way.leads)


def bars(scores: Sequence[float | None]) -> list[float]:
    """Turn scores into lengths of bars.

    Args:
        scores: Higher is better; None where there is none.

    Returns:
        Percent of the longest bar, at least 2. Where all are positive, in proportion to them; where some are negative
        (losses with their sign turned), the best has 100 and the others lack their distance to it as a share of the
        largest loss. 0 where there is no score.
    """
    defined = [score for score in scores if known(score)]
    low, high = min(defined, default=0.0), max(defined, default=0.0)
    whole = high if low >= 0 else -low
    return [
        round(max(100 * (1 - (high - score) / whole), 2.0), 1)
        if known(score) and whole
        else 100.0
        if known(score)
        else 0.0
        for score in scores
    ]


def _way(each: Mapping[str, Any]) -> tuple[str, str | None]:
    return each["strategy"], each.get("source")


def _order(
    each: Mapping[str, Any], answer: tuple[str, str | None], pick: tuple[str, str | None]
) -> tuple[int, bool, float]:
    score = each.get("score")
    apart = 0 if _way(each) == answer else 1 if _way(each) == pick else 2
    return apart, each.get("why_not") is not None, -score if known(score) else math.inf
