"""What a scenario will take, in time and memory, guessed from a few units of work on stand-ins for a few of its tasks.

A stand-in has a task's shape, classes and number of samples, and noise for inputs: what a step takes does not depend on
them, and so nothing is loaded.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ..agent.arm import outputs_of
from ..agent.asked import KEPT_BYTES
from ..agent.budget import Ledger
from ..agent.selector import Option
from ..agent.store import KnowledgeStore
from ..streams.plan import TaskPlan
from ..streams.source import Sizes
from ..streams.task import Samples, Task
from .run import make_agent
from .scenario import Scenario

# Tasks that are looked at, spread over the stream, and units of `scratch` that are timed on each.
TASKS, UNITS = 3, 5
# Samples of a stand-in at most, and test samples that are answered: more take as long each.
MOST, ASKED = 2000, 256


@dataclass(frozen=True)
class Estimate:
    """What a run will take here, about; every strategy has the budget of `scratch`, so this is what all may take.

    Attributes:
        learning: CPU seconds for learning all tasks.
        evaluating: CPU seconds for all rows of the accuracy matrix.
        task_bytes: Memory of the largest task.
        test_bytes: Memory of all test sets.
        store_bytes: Bytes on disk if every task brings an encoder.
    """

    learning: float
    evaluating: float
    task_bytes: int
    test_bytes: int
    store_bytes: int


def estimate(scenario: Scenario, plans: Sequence[TaskPlan], sizes: Sizes) -> Estimate:
    """Guess what a run will take.

    Args:
        scenario: The recipe.
        plans: Its tasks.
        sizes: What its stream draws from.

    Returns:
        The estimate; clocks decide its seconds, so two differ. Its bytes are counted, but for the store's.

    Raises:
        UserError: If the agent that the recipe describes cannot be made.
    """
    spec = scenario.stream
    test, each = sizes.split(spec.test_share)[1], _bytes(sizes)
    tested = {made.concept: made.tested(test, spec.test_per_class) for made in reversed(plans)}
    samples = [made.samples(spec.experience_size) + made.query * len(made.drawn) for made in plans]
    learning = viewing = answering = 0.0
    store_bytes = seen_bytes = 0
    positions = sorted({round(k * (len(plans) - 1) / max(TASKS - 1, 1)) for k in range(TASKS)})
    with KnowledgeStore.in_memory() as store:
        agent = make_agent(scenario, store)
        scratch = agent.strategies["scratch"]
        for i in positions:
            task = _stand_in(plans[i], i, min(plans[i].samples(spec.experience_size), MOST), sizes)
            bench = agent.layout.lay_out(task, Ledger(0.0), probing=False)
            arm = replace(bench, held_out=None).arm(Option("scratch"))
            list(arm.run(float("inf"), units=1))  # counts what the later ones cost
            flops, began = arm.flops, time.process_time()
            list(arm.run(float("inf"), units=UNITS))
            unit = (time.process_time() - began) / max(arm.units - 1, 1)
            units = scenario.budget.scratch * (scratch.units(bench.task) or 0)
            if scenario.budget.flops is not None:
                units = scenario.budget.flops / max(flops, 1.0)
            learning += units * unit / len(positions) * len(plans)
            if arm.best is not None:
                asked = _inputs(ASKED, sizes, torch.Generator().manual_seed(0)).to(agent.settings.device)
                began = time.process_time()
                seen = agent.library.view(asked)
                viewed = time.process_time()
                outputs_of(arm.best, seen)
                viewing += (viewed - began) / ASKED / len(positions)
                answering += (time.process_time() - viewed) / ASKED / len(positions)
                seen_bytes = max(seen_bytes, seen.nbytes // ASKED)
                weights = sum(p.numel() * p.element_size() for p in arm.best.parameters())
                store_bytes = max(store_bytes, weights)
    rows, asked_of = 1 + -(-len(plans) // scenario.evaluate_every), sum(tested.values())
    # The stem sees a test sample once, and in every row those for which there is no room (see `Asked`).
    anew = max(0.0, 1 - KEPT_BYTES / max(seen_bytes * asked_of, 1))
    return Estimate(
        learning=learning,
        evaluating=asked_of * (rows * answering + (1 + (rows - 1) * anew) * viewing),
        task_bytes=max(samples) * each,
        test_bytes=asked_of * each,
        store_bytes=store_bytes * len(plans),
    )


def _bytes(sizes: Sizes) -> int:
    """Memory of one sample: float32 inputs, and an int64 label or float32 targets."""
    return 4 * math.prod(sizes.input_shape) + (4 * sizes.outputs or 8)


def _inputs(n: int, sizes: Sizes, rng: torch.Generator) -> torch.Tensor:
    """Draw inputs, shape `(n, *input_shape)`; those of texts are zero but for one in fifty."""
    x = torch.rand(n, *sizes.input_shape, generator=rng)
    return x * (torch.rand(x.shape, generator=rng) < 0.02) if sizes.kind == "text" else x


def _stand_in(made: TaskPlan, i: int, n: int, sizes: Sizes) -> Task:
    """Make a task of noise of the planned shape, with `n` samples to learn from."""
    rng = torch.Generator().manual_seed(i)
    x = _inputs(n, sizes, rng)
    if not made.classes:
        return Task(made.name, i, Samples(x, torch.randn(n, sizes.outputs, generator=rng)), None, (), "regression")
    return Task(made.name, i, Samples(x, torch.arange(n) % len(made.classes)), None, made.classes)
