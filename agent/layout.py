"""Laying out a task: its budget, its way through the stem, its split, and what the store offers for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import BudgetError
from ..streams.seeds import generator
from ..streams.task import Task
from .agent_settings import AgentSettings
from .arm import BATCH
from .budget import Ledger
from .events import ProbeScore
from .holdout import hold_out
from .joint import Joint
from .known import Known
from .library import Library
from .probe import Price, price, probe, sample, says_something
from .selector import Option
from .strategy import Strategy
from .workbench import Workbench, open_to

# Stored encoders that are probed for a task.
MOST_CANDIDATES = 8


class Layout:
    """Lays out tasks for one agent.

    Attributes:
        joint: What tasks that arrived together have from being learned as one, by position in the stream.
    """

    def __init__(self, library: Library, strategies: Mapping[str, Strategy], settings: AgentSettings) -> None:
        """Nothing is laid out yet.

        Args:
            library: What the store holds.
            strategies: Ways to learn, by name.
            settings: What the agent is made of.
        """
        self._library, self._strategies, self._settings = library, strategies, settings
        self._passes: dict[str, float] = {}
        self._unit_costs: dict[tuple[Any, ...], float] = {}
        self._told: tuple[Task, float] | None = None  # the last task that was asked about
        self.joint: dict[int, Joint] = {}

    def budget(self, task: Task) -> float:
        """Tell what may be spent on a task: the same for every strategy and every way to choose.

        What `scratch` takes is its units and the way of the task's samples through the stem, which everybody pays.

        Args:
            task: The task.

        Returns:
            FLOPs.

        Raises:
            BudgetError: If neither FLOPs are given nor `scratch` says how many units it takes.
        """
        if self._settings.flops is not None:
            return self._settings.flops
        if self._told is None or self._told[0] is not task:
            self._told = task, self._scratch_flops(task)
        return self._settings.scratch * self._told[1]

    def _scratch_flops(self, task: Task) -> float:
        """FLOPs that `scratch` takes on a task."""
        ledger = Ledger(0.0)
        bench = self.lay_out(task, ledger, probing=False)
        scratch = self._strategies.get("scratch")
        units = scratch.units(bench.task) if scratch is not None else None
        if scratch is None or units is None:
            raise BudgetError("budget.scratch needs the strategy 'scratch' and its number of steps; set budget.flops.")
        batch = min(len(bench.task.support), getattr(scratch.settings, "batch_size", BATCH))
        shape = (bench.task.input_shape, bench.task.outputs, bench.task.kind, batch)
        if shape not in self._unit_costs:
            arm = replace(bench, held_out=None).arm(Option("scratch"))
            for _ in arm.run(0.0, units=1):
                pass
            self._unit_costs[shape] = arm.flops
        return units * self._unit_costs[shape] + ledger.flops.get("stem", 0.0)

    def lay_out(self, task: Task, ledger: Ledger, probing: bool, logme: bool = False) -> Workbench:
        """Bring a task before the strategies.

        Args:
            task: The task as it came.
            ledger: Pays for it.
            probing: Whether to score what is known for it.
            logme: Whether to score it by LogME as well.

        Returns:
            The workbench.
        """
        settings = self._settings
        with ledger.counting("stem"):
            view = self._library.view_task(task)
        seen, held_out = hold_out(view, settings.held_out, generator(settings.seed, task.index, "held-out"))
        known = self._library.known_for(view)
        joint = self.joint.get(task.index)
        if joint is not None:
            if joint.model is not None:
                known = replace(known, joint=(joint.strategy, joint.model.copy))
            ledger.pay("together", joint.flops, joint.seconds)
        prices: Mapping[str, Price] = {}
        if probing:
            # What strategies offer is made from what they may see: they could keep it.
            taught = [s for s in self._strategies.values() if s.consolidates and s.closed_form]
            known = replace(known, prepared=tuple(each for s in taught for each in open_to(s, seen, known)[1]))
            known, prices = self._probed(view, known, ledger, logme)
        return Workbench(
            task=seen,
            whole=replace(view, query=None),
            held_out=held_out,
            known=known,
            ledger=ledger,
            strategies=self._strategies,
            seed=settings.seed,
            score_every=settings.score_every,
            patience=settings.patience,
            prices=prices,
        )

    def _probed(
        self, view: Task, known: Known, ledger: Ledger, logme: bool = False
    ) -> tuple[Known, Mapping[str, Price]]:
        """Score what is known for a task, within the share for it: the default, some encoders, random features.

        Encoders that were trained on earlier tasks for a closed form are always among them, and those of models for the
        very task, which came before; then the newest. An encoder that was learned together with the task has seen the
        labels that would be left out: it is not scored. What does not fit into the share is not scored either.
        """
        others = [
            s for s in known.sources if self._library.made_at(s.id) not in self.joint or view.index not in self.joint
        ]
        own = [s for s in others if any(r.label == view.label is not None for r in s.tasks)]
        chosen = [*own, *(s for s in others if s not in own)][:MOST_CANDIDATES]
        candidates = [known.fixed[0], *known.prepared, *chosen, *known.fixed[1:]]
        share = self._settings.probe_share * ledger.limit
        prices = [price(source, view, self._passes) for source in candidates]
        left = share - ledger.flops.get("profile", 0.0)
        samples = sample(view, prices, left, generator(self._settings.seed, view.index, "probe"))
        scores: dict[str, ProbeScore] = {}
        for source, each in zip(candidates, prices, strict=True) if says_something(view, samples) else ():
            if ledger.flops.get("profile", 0.0) + each.of(len(samples)) > share:
                continue
            with ledger.counting("profile"):
                scores[source.id] = probe(source, view, samples, logme)
        by_id = {source.id: each for source, each in zip(candidates, prices, strict=True)}
        return self._library.ranked(known, scores), by_id
