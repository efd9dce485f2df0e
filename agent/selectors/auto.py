"""The choice evermap is made for: recognise, probe, prune, try, guard, learn.

A closed-form head on the shared stem is the default and the guard. What is trained beside it is picked by try-outs
joined with experience (`prior`), and answers where that belief, joined with the held-out samples, is that it is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from ...errors import UserError
from ...streams.task import Task
from ..arm import FEWEST_TO_CALIBRATE
from ..events import JudgedArm, Learned, ProbeScore, Profiled
from ..features import circumstances, features
from ..heads import PLAIN, Head, by_experience, by_held_out, by_leave_one_out, taught
from ..prior import Prior
from ..recognition import recognised
from ..selector import Choice, Option, Selector
from ..tryout import Tried, lost_by, try_out
from ..verdict import Gain
from ..workbench import Workbench
from .probe import promises
from .rules import FEW, by_rule

# Arms that are tried at most; share of the budget that all but the winner may have, and that these and the profile may
# have together.
MOST_ARMS, TRY_SHARE, CHOOSING_SHARE = 4, 0.1, 0.2
# How much smaller another representation's leave-one-out error must be than the default's, to be taken in its place.
BETTER = 0.9
# How far an early gain may be from what it becomes, and what is expected to come to it before that was seen; in nats.
EARLY, UPLIFT = 0.15, 0.1
# Observations of a strategy before it is chosen where nothing can judge it, and errors by which it must be expected to
# be better.
ENOUGH, SURE = 3, 0.5
# Order in which arms are thought of while nothing is known about them.
FIRST = ("multitask", "finetune", "distill", "scratch", "protonet", "maml")
# Parts that can be left out, to see what each is worth.
ABLATIONS = ("no-probe", "no-try", "no-guard", "no-prior", "logme", "shuffled")


class Auto(Selector):
    """Chooses by recognition, leave-one-out scores, experience and try-outs.

    1. Recognise: a stored model that is right on the support set as it is, labels matched, is reused.
    2. Probe: the closed-form head with the least leave-one-out error is the default; a stored encoder must be clearly
       better. With five samples per class or fewer, held-out samples decide where there are any.
    3. Prune: experience expects a gain of every strategy; at most four arms stay.
    4. Try: successive halving on held-out samples, where there are 20 of them; the losers have 10 % of the budget.
    5. Guard: the winner goes on, and answers only if it is believed to be better than the default.
    6. Learn: every arm that was tried updates what is expected; `reuse` is never judged by history.

    What is trained stays in the store for later tasks, whoever answers. `auto:no-try` leaves a part out (`no-probe`,
    `no-try`, `no-guard`, `no-prior`; several with commas between them); `auto:logme` scores by LogME; `auto:shuffled`
    shows experience every profile with its numbers in a random order.
    """

    name: ClassVar[str] = "auto"
    adds_up: ClassVar[bool] = True

    def __init__(self, argument: str = "") -> None:
        """Know nothing yet.

        Args:
            argument: What is left out, for comparison; empty for nothing.

        Raises:
            UserError: If there is no such part.
        """
        super().__init__()
        self.without = frozenset(filter(None, argument.split(",")))
        unknown = sorted(self.without - set(ABLATIONS))
        if unknown:
            raise UserError(
                f"selector 'auto': found {unknown[0]!r} behind the colon; valid are {', '.join(ABLATIONS)}."
            )
        self.asks_logme = "logme" in self.without
        self._prior = Prior()
        self._uplifts = (0, 0.0)  # how often the last gain was compared with an early one, and the sum of differences
        self._tried: list[Tried] = []
        self._heads: Mapping[str, Gain] = {}  # of heads on encoders that were trained for them
        self._features: tuple[float, ...] = ()

    def needs_profile(self, strategies: Mapping[str, Any]) -> bool:
        """Probe, unless that is left out."""
        return "no-probe" not in self.without

    def select(
        self, task: Task, profile: Profiled, options: Sequence[Option], bench: Workbench, rng: torch.Generator
    ) -> Choice:
        """Go through the steps of the class docstring."""
        self._tried, self._heads, self._features = [], {}, features(profile, circumstances(bench))
        if "shuffled" in self.without:
            self._features = tuple(self._features[i] for i in torch.randperm(len(self._features), generator=rng))
        scores = {score.candidate: score for score in profile.scores}
        open_to = [option for option in options if option.why_not is None]
        values = promises(open_to, scores)
        head = self._default(open_to, bench, scores, profile)
        arms = self._ranked(open_to, bench, profile)
        if head is None:
            option = arms[0] if arms else open_to[0]
            return Choice(option.strategy, option.source, "no closed-form head applies", values)
        self._heads, default = head.gains, head.option
        bound = scores[default.source].closed_form if default.source in scores else 0.0
        known = recognised(task, open_to, bench, scores, bound)
        if known is not None:
            agreement = scores[str(known.source)].reuse or 0.0
            right = f"{100 * agreement:.1f} % of the support set right"
            reason = f"a stored model gets {right}, a new closed-form head {100 * bound:.1f} %"
            return Choice("reuse", known.source, reason, values)
        if bench.head_price(default) + bench.head_price(default, again=True) > bench.ledger.left:
            reason = "the budget is too small for anything beside a closed-form head"
            return Choice(default.strategy, default.source, reason, values)
        if not arms:
            return Choice(default.strategy, default.source, "nothing that could be trained applies", values)
        if len(bench.held_out or ()) < FEWEST_TO_CALIBRATE:
            return self._by_experience(head, arms, bench, values)
        return self._by_trying(default, arms, bench, values)

    # The default

    def _default(
        self, options: Sequence[Option], bench: Workbench, scores: Mapping[str, ProbeScore], profile: Profiled
    ) -> Head | None:
        """The closed-form head to beat, by leave-one-out, on held-out samples or by experience."""
        plain, special = [option for option in options if option.strategy == PLAIN], taught(options, bench)
        if not plain:
            return None
        fixed = [source.id for source in bench.known.fixed]
        base = "raw" if "raw" in fixed else "stem"

        def error(option: Option) -> float:
            score = scores.get(option.source or "")
            if score is None:
                return math.inf
            if self.asks_logme:
                return -(score.logme if score.logme is not None else -math.inf)
            return score.ridge_mse if option.source in fixed else score.ridge_mse / BETTER

        def expected(strategy: str) -> Gain | None:
            return self._expected(strategy) if self._prior.seen(strategy) >= ENOUGH else None

        order = by_leave_one_out(plain, error, scores)
        single = profile.per_class == 1 and bench.task.kind == "classification"  # left out, a class has none any more
        if single:
            order.sort(key=lambda option: option.source != base)
        if profile.per_class > FEW:
            return Head(by_leave_one_out([*order, *special], error, scores)[0])
        if len(bench.held_out or ()) >= FEWEST_TO_CALIBRATE and "no-try" not in self.without:
            return by_held_out(order, special, bench, expected, _left(bench) * bench.ledger.limit)
        known = [option for option in special if expected(option.strategy) is not None]
        new = [option for option in special if option not in known]
        default = order[0] if single else by_leave_one_out([*order, *new], error, scores)[0]
        return by_experience(default, known, expected)

    # What is trained

    def _ranked(self, options: Sequence[Option], bench: Workbench, profile: Profiled) -> list[Option]:
        """What could be trained, each strategy from its best source, the most promising first."""
        first: dict[str, Option] = {}
        for option in options:
            if not bench.strategies[option.strategy].closed_form:
                first.setdefault(option.strategy, option)
        ruled = by_rule(options, profile)[0].strategy
        joint = bench.known.joint[0] if bench.known.joint is not None else ""

        def promise(name: str) -> tuple[bool, float]:
            rank = -1 if name == ruled else FIRST.index(name) if name in FIRST else len(FIRST)
            expected = self._expected(name)
            return name != joint, 0.01 * rank - (expected.nats + SURE * expected.error)

        return [first[name] for name in sorted(first, key=promise)]

    def _expected(self, strategy: str) -> Gain:
        """What experience expects; left out, what is expected before anything was seen: the rules stay the same."""
        prior = Prior() if "no-prior" in self.without else self._prior
        return prior.expect(strategy, self._features)

    def _by_experience(
        self, head: Head, arms: Sequence[Option], bench: Workbench, values: Mapping[Option, float]
    ) -> Choice:
        """Leave the default only where experience is sure enough; train an encoder for the store either way."""
        expected = {o: self._expected(o.strategy) for o in arms if self._prior.seen(o.strategy) >= ENOUGH}
        best = max(expected, key=lambda o: expected[o].nats - SURE * expected[o].error, default=None)
        held = len(bench.held_out or ())
        if best is not None and expected[best].nats > SURE * expected[best].error:
            reason = (
                f"{held} held-out samples cannot judge training; in {self._prior.seen(best.strategy)} tasks before "
                f"{best.strategy} promised a gain of {expected[best].nats:.2f} nats here"
            )
            return Choice(best.strategy, best.source, reason, values, expected=expected[best])
        default = head.option
        why = f"{default.source} has the least leave-one-out error"
        if head.expected is not None:
            why = (
                f"in {self._prior.seen(default.strategy)} tasks before {default.strategy} was worth a gain, here of "
                f"{head.expected.nats:.2f} nats"
            )
        reason = f"{held} held-out samples cannot judge training; {why}"
        return Choice(default.strategy, default.source, reason, values, background=arms[0])

    def _by_trying(
        self, default: Option, arms: Sequence[Option], bench: Workbench, values: Mapping[Option, float]
    ) -> Choice:
        """Try the most promising arms out; the winner goes on, and the default guards it."""
        guard = None if "no-guard" in self.without else default
        tried: list[Tried] = []
        left = _left(bench)
        fits = default in bench.trials or bench.head_price(default) <= left * bench.ledger.limit
        if len(arms) > 1 and "no-try" not in self.without and fits:  # the default is fitted in any case, for the guard
            closed = lost_by(bench, default, 0.0)
            lost, left = None if closed is None else closed[1], _left(bench)
            tried = try_out(bench, arms[:MOST_ARMS], min(TRY_SHARE, left), lost, self._worth) if left > 0 else []
        self._tried = tried
        chosen = tried[0].option if tried else arms[0]
        expected = self._expected(chosen.strategy)
        why = f"it did best of {len(tried)} that were tried" if len(tried) > 1 else "it is what promises most"
        bar = f"answers if better than a closed-form head on {default.source}" if guard else "nothing guards it"
        return Choice(
            chosen.strategy,
            chosen.source,
            f"{why}; {bar}",
            values,
            guard=guard,
            expected=expected,
            tried=tuple(self._account(each) for each in tried),
        )

    def _worth(self, arms: Sequence[Tried]) -> list[float]:
        """Say what is believed of each arm's last gain: what experience expects, joined with how it stands now."""
        stands = [each.gain.nats if each.gain else -float(each.losses.mean()) for each in arms]
        expected = [self._expected(each.option.strategy) for each in arms]
        middle = sum(stands) / len(arms)
        level = sum(e.nats for e in expected) / len(arms)
        return [
            e.joined(Gain(level + s - middle, math.hypot(EARLY, each.gain.error if each.gain else 0.0))).nats
            for e, s, each in zip(expected, stands, arms, strict=True)
        ]

    def _account(self, each: Tried) -> JudgedArm:
        expected = self._expected(each.option.strategy)
        return JudgedArm(
            each.option.strategy,
            each.option.source,
            each.gain.nats if each.gain else None,
            each.gain.error if each.gain else None,
            each.arm.units,
            each.arm.flops,
            expected.nats,
            expected.error,
        )

    # Experience

    def observe(self, profile: Profiled, outcome: Learned) -> None:
        """Learn from the arm that went to its end, and from those that lost, by what an early gain becomes."""
        last, early = outcome.judged, {each.option.strategy: each.gain for each in self._tried if each.gain}
        if last is not None and last.nats is not None and last.error is not None:
            self._prior.observe(last.strategy, self._features, Gain(last.nats, last.error))
            before = early.pop(last.strategy, None)
            if before is not None:
                self._uplifts = (self._uplifts[0] + 1, self._uplifts[1] + last.nats - before.nats)
        uplift = (UPLIFT + self._uplifts[1]) / (1 + self._uplifts[0])
        for strategy, begun in sorted(early.items()):
            self._prior.observe(strategy, self._features, Gain(begun.nats + uplift, math.hypot(begun.error, EARLY)))
        for strategy, measured in sorted(self._heads.items()):
            self._prior.observe(strategy, self._features, measured)
        self._tried, self._heads = [], {}

    def state(self) -> dict[str, Any]:
        """Return the sums behind what is expected."""
        return {"prior": self._prior.state(), "uplifts": list(self._uplifts)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Add what was learned before."""
        if state:
            self._prior.add(state["prior"])
            count, total = state["uplifts"]
            self._uplifts = (self._uplifts[0] + int(count), self._uplifts[1] + float(total))


def _left(bench: Workbench) -> float:
    """Share of the budget that choosing may still spend."""
    flops, limit = bench.ledger.flops, bench.ledger.limit
    return CHOOSING_SHARE - (flops.get("profile", 0.0) + flops.get("select", 0.0)) / limit if limit else 0.0
