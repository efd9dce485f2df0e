"""Learning one task: the arm that was chosen, its guard, what runs beside it, and the work for later tasks."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..errors import Diverged, NothingApplies, StrategyError, flop_count
from ..streams.seeds import derive
from ..streams.task import Task
from .agent_settings import AgentSettings
from .arm import FEWEST_TO_CALIBRATE, Arm
from .closed_form import temperature
from .events import Chosen, Event, JudgedArm, Learned
from .known import Meta
from .library import Library
from .meta_anchor import classes_met, wanted, weigh
from .model import Model
from .outcome import Extra, Outcome
from .resident import peak_bytes
from .selector import Choice, Option, Selector
from .verdict import Gain, clear, losses
from .verdict import gain as gain_over
from .work import Work
from .workbench import Workbench


class Learning:
    """Learns the task on a workbench."""

    def __init__(self, bench: Workbench, library: Library, selector: Selector, settings: AgentSettings) -> None:
        """Get ready.

        Args:
            bench: The task as it was laid out.
            library: What the store holds.
            selector: Says who works for later tasks.
            settings: What the agent is made of.
        """
        self._bench, self._library, self._selector, self._settings = bench, library, selector, settings
        self._watched: tuple[Option, Arm] | None = None

    @property
    def at_work(self) -> tuple[Option, Model] | None:
        """What learns the task and its model as it is now; None while nothing has one that would answer."""
        if self._watched is None or self._watched[1].model is None:
            return None
        return self._watched[0], self._watched[1].model

    def run(self, task: Task, choice: Chosen) -> Generator[Event, None, Outcome]:
        """Learn a task as it was chosen, within its budget.

        An arm that diverges is dropped, and the next one that applies takes its place; the account says so. The guard
        answers unless what was chosen is better on held-out samples.

        Args:
            task: The task.
            choice: How.

        Yields:
            Progress, then the account.

        Returns:
            What was learned.

        Raises:
            StrategyError: If a strategy breaks, or everything diverged.
        """
        bench, settings = self._bench, self._settings
        plan = bench.choice or Choice(choice.strategy, choice.source, choice.reason)
        limit = (1 - settings.consolidate_share) * bench.ledger.limit
        warnings: list[str] = []
        first = Option(choice.strategy, choice.source)
        guard = None
        judged = len(bench.held_out or ()) >= FEWEST_TO_CALIBRATE
        if judged and plan.guard not in (None, first):
            guard = yield from self._work([plan.guard], limit, warnings)  # first, for it is cheap
        reserve = guard[1].flops * (len(bench.whole.support) / len(bench.task.support)) ** 3 if guard else 0.0
        ways = [first, *self._fallbacks(first)]
        done = yield from self._work(ways, limit - reserve, warnings, settings.pause_every)
        if done is None:
            raise NothingApplies(task.name, {"every strategy": "; ".join(warnings)})
        option, arm = done
        extras: list[Extra] = []
        verdict, gain, compared = "", None, None
        if guard is not None and bench.held_out is not None:
            ours, theirs = (losses(each.best_outputs[0], bench.held_out.y, task.kind) for each in (arm, guard[1]))
            measured = gain_over(ours, theirs, task.kind)
            compared = JudgedArm(option.strategy, option.source, measured.nats, measured.error, flops=arm.flops)
            verdict, beaten = _verdict(option, ours, guard[0], theirs, measured, plan, task.kind)
            if beaten:
                extras.append(_extra(option, arm))
                option, arm = guard
            elif arm.best_score is not None and guard[1].best_score is not None:
                gain = arm.best_score.accuracy - guard[1].best_score.accuracy
        if arm.strategy.closed_form:
            gain = _promised(option, bench)
        if plan.background not in (None, option, first) and bench.ledger.spent < limit:
            trained = yield from self._work([plan.background], limit, warnings)
            if trained is not None:
                extras.append(_extra(*trained))
        model, helper = self._finished(option, arm, limit, warnings)
        metas = self._consolidate(task, warnings)
        weighed = weigh(self._library, task, bench) if settings.consolidate_share else None
        ledger, kept = bench.ledger, arm.best_score
        if ledger.limit and ledger.spent > ledger.limit:
            spent = f"{flop_count(ledger.spent)} were spent of {flop_count(ledger.limit)}"
            alone = arm.strategy.closed_form and not extras
            why = "a closed-form head alone takes more" if alone else "a first unit is done whatever it costs"
            warnings.append(f"the budget was passed: {spent}; {why}")
        learned = Learned(
            task=task.index,
            strategy=option.strategy,
            source=option.source,
            units=arm.units,
            best_unit=arm.best_unit,
            stopped=arm.stopped,
            loss=kept.loss if kept else None,
            accuracy=kept.accuracy if kept else None,
            held_out=len(bench.held_out) if bench.held_out else 0,
            flops=ledger.flops.get("learn", 0.0) + ledger.flops.get("together", 0.0),
            total_flops=ledger.spent,
            seconds=sum(ledger.seconds.values()),
            warnings=tuple(warnings),
            helper=helper,
            verdict=verdict,
            consolidation=ledger.flops.get("consolidate", 0.0),
            gain=gain if self._library.is_stored(option.source) or helper else None,
            samples=len(bench.whole.support),
            judged=compared,
            anchor=weighed.said if weighed is not None else "",
            peak_bytes=peak_bytes(),
        )
        yield learned
        return Outcome(model, option, choice, learned, tuple(extras), metas, weighed)

    def _work(
        self, options: Sequence[Option | None], limit: float, warnings: list[str], pause_every: int = 0
    ) -> Generator[Event, None, tuple[Option, Arm] | None]:
        """Let the first of some options work, with pauses if asked to; when its arm diverges, the next one.

        Returns:
            The option that ended well and its arm; None if all diverged.
        """
        bench = self._bench
        for option in options:
            if option is None:
                continue
            arm = bench.arm(option)
            self._watched = (option, arm) if pause_every else None
            try:
                most = arm.flops + max(0.0, limit - bench.ledger.spent)
                yield from bench.drive(option, arm, most, pause_every=pause_every)
                if arm.best is None:
                    raise StrategyError(option.strategy, bench.task.name, 0, "it ended without yielding a model")
                return option, arm
            except Diverged as error:
                warnings.append(str(error))
        return None

    def _fallbacks(self, first: Option) -> list[Option]:
        """What takes over when an arm diverges: prototypes, a fresh start, then everything else, each strategy once."""
        rest = {
            o.strategy: o for o in reversed(self._bench.options()) if o.why_not is None and o.strategy != first.strategy
        }
        first_of_all = {"prototype": 0, "scratch": 1}
        return sorted(rest.values(), key=lambda option: first_of_all.get(option.strategy, 2))

    def _finished(self, option: Option, arm: Arm, limit: float, warnings: list[str]) -> tuple[Model, str]:
        """Fit a closed form again on all samples; calibrate a trained model on the held-out ones; name who helped."""
        bench, model = self._bench, _kept(arm)
        if arm.strategy.closed_form:  # brings its temperature along
            more = len(bench.whole.support) > len(bench.task.support)
            if more and bench.head_price(option, again=True) <= bench.ledger.left:
                again = bench.arm(option, whole=True)
                try:
                    for _ in bench.drive(option, again, max(0.0, limit - bench.ledger.spent)):
                        pass
                except Diverged as error:
                    warnings.append(f"{error}; what was fitted without the held-out samples answers")
                    return model, arm.helper
                return (again.best, again.helper) if again.best is not None else (model, arm.helper)
            return model, arm.helper
        held = bench.held_out
        classifies = bench.task.kind == "classification"
        if held is not None and arm.best_outputs and classifies and len(held) >= FEWEST_TO_CALIBRATE:
            model.head.temperature.fill_(temperature(arm.best_outputs[0], held.y))
        return model, arm.helper

    def _consolidate(self, task: Task, warnings: list[str]) -> dict[str, Meta]:
        """Let strategies work for later tasks, in the share of the budget that the recipe grants.

        They have equal parts of it. Where a part is less than what a unit takes, by its price or when last it was
        counted, the whole share goes to one of them, each in its turn; one whose units take more waits for a task with
        a larger budget.
        """
        bench, settings = self._bench, self._settings
        share = settings.consolidate_share * bench.ledger.limit
        names = [name for name, strategy in bench.strategies.items() if strategy.consolidates]
        asked = self._selector.consolidates(names) if names and share else []
        anchor = bool(share) and wanted(self._library.anchors, task)  # what could become it is trained in any case
        names = [name for name in names if name in asked or (anchor and bench.strategies[name].embeds)]
        seen = self._library.episode(task, bench)
        if seen is None or not names:
            return {}
        known = replace(bench.known, episodes=(*bench.known.episodes, seen))
        made: dict[str, Meta] = {}
        units = {name: bench.strategies[name].price(bench.task, known) for name in names}
        for name in names:
            if name in known.metas:
                units[name] = max(units[name], known.metas[name].unit_flops)
        if any(flops > share / len(names) for flops in units.values()):
            names = [names[bench.task.index % len(names)]]
        for name in names:
            most = share / len(names)
            if self._selector.keeps_budget:
                most = min(most, bench.ledger.left)
            if most <= 0 or units[name] > most:
                continue
            seed = derive(settings.seed, bench.task.index, "consolidate", name)
            steps = bench.strategies[name].consolidate(bench.task, known, torch.Generator().manual_seed(seed))
            work, last = Work(iter(steps), name, bench.task.name, seed, units[name]), list[Meta]()

            def accept(meta: Meta, last: list[Meta] = last, work: Work = work) -> None:
                if not isinstance(meta, Meta):
                    what = f"its consolidate yielded a {type(meta).__name__}, not a Meta"
                    raise work.failed(StrategyError, what)
                last[:] = [meta]

            try:
                work.advance(most, lambda: False, accept)
                if last and all(
                    bool(t.isfinite().all()) for t in (*last[0].weights.values(), *last[0].moments.values())
                ):
                    met = classes_met(self._library, task, known, name) if settings.anchor == "meta" else None
                    made[name] = replace(last[0], unit_flops=work.flops / max(1, work.units), met=met)
                elif last:
                    warnings.append(str(work.failed(Diverged, "what it keeps for later tasks is not finite")))
            except Diverged as error:
                warnings.append(str(error))
            bench.ledger.pay("consolidate", work.flops, work.seconds)
        return made


def _kept(arm: Arm) -> Model:
    """The model that an arm which ended well has to show."""
    if arm.best is None:
        raise RuntimeError(f"the arm of {arm.strategy.name} has not yielded a model")
    return arm.best


def _extra(option: Option, arm: Arm) -> Extra:
    """What an arm that does not answer leaves."""
    return Extra(_kept(arm), option, arm.flops, arm.best_score.accuracy if arm.best_score else None)


def _promised(option: Option, bench: Workbench) -> float | None:
    """By how much a closed form is better on its source than on the best fixed representation, left out one by one.

    For `reuse` it is the agreement of the stored model that is compared.
    """
    known = bench.known
    scores = {s.id: s.score for s in (*known.sources, *known.fixed, *known.prepared) if s.score is not None}
    without = [scores[s.id].closed_form for s in known.fixed if s.id in scores]
    own = scores.get(option.source or "")
    if own is None or not without or bench.task.kind != "classification":
        return None
    value = own.reuse if option.strategy == "reuse" else own.closed_form
    return None if value is None else value - max(without)


def _verdict(
    option: Option, ours: Tensor, guard: Option, theirs: Tensor, measured: Gain, plan: Choice, kind: str
) -> tuple[str, bool]:
    """Say in words whether what was chosen or its guard answers, and whether it is the guard."""
    unit = "squared error" if kind == "regression" else "nats"
    figures = (
        f"{float(ours.mean()):.3f} {unit} on {len(ours)} held-out samples against {float(theirs.mean()):.3f} "
        f"of {guard.strategy} on {guard.source}"
    )
    believed = ""
    if plan.expected is not None:
        joined = plan.expected.joined(measured)
        believed = f"; with what was expected ({plan.expected.nats:+.2f}) a gain of {joined.nats:+.3f} is believed"
    if clear(measured, plan.expected):
        return f"{option.strategy} has {figures}{believed}: it answers", False
    better = "not better" if plan.expected is not None else "not clearly better"
    return f"{option.strategy} has {figures}{believed}, {better}: {guard.strategy} answers", True
