"""What a scenario will take, in time and memory, guessed from a few units of work on a few of its tasks."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from ..agent.arm import outputs_of
from ..agent.budget import Ledger
from ..agent.selector import Option
from ..agent.store import KnowledgeStore
from ..streams.stream import Stream
from .run import make_agent
from .scenario import Scenario

# Tasks that are looked at, spread over the stream, and units of `scratch` that are timed on each.
TASKS, UNITS = 3, 5


@dataclass(frozen=True)
class Estimate:
    """What a run will take here, about; every strategy has the budget of `scratch`, so this is what all may take.

    Attributes:
        learning: CPU seconds for learning all tasks.
        evaluating: CPU seconds for all rows of the accuracy matrix.
        task_bytes: Memory of the largest task that was looked at.
        test_bytes: Memory of all test sets.
        store_bytes: Bytes on disk if every task brings an encoder.
    """

    learning: float
    evaluating: float
    task_bytes: int
    test_bytes: int
    store_bytes: int


def estimate(scenario: Scenario, stream: Stream) -> Estimate:
    """Guess what a run will take.

    Args:
        scenario: The recipe.
        stream: Its stream.

    Returns:
        The estimate; clocks decide it, so two differ.

    Raises:
        UserError: If the agent that the recipe describes cannot be made.
    """
    learning = evaluating = 0.0
    task_bytes = test_bytes = store_bytes = 0
    positions = sorted({round(k * (len(stream) - 1) / max(TASKS - 1, 1)) for k in range(TASKS)})
    with KnowledgeStore.in_memory() as store:
        agent = make_agent(scenario, store)
        scratch = agent.strategies["scratch"]
        for i in positions:
            task = stream.task(i)
            bench = agent.layout.lay_out(task, Ledger(0.0), probing=False)
            arm = replace(bench, held_out=None).arm(Option("scratch"))
            list(arm.run(float("inf"), units=1))  # counts what the later ones cost
            flops, began = arm.flops, time.process_time()
            list(arm.run(float("inf"), units=UNITS))
            unit = (time.process_time() - began) / max(arm.units - 1, 1)
            units = scenario.budget.scratch * (scratch.units(bench.task) or 0)
            if scenario.budget.flops is not None:
                units = scenario.budget.flops / max(flops, 1.0)
            learning += units * unit / len(positions) * len(stream)
            test = stream.test(stream.concept_of(i))
            if arm.best is not None:
                asked = test.x[:256].to(agent.settings.device)
                began = time.process_time()
                outputs_of(arm.best, agent.library.view(asked))
                evaluating += (time.process_time() - began) / len(asked) * len(test.y) / len(positions)
                weights = sum(p.numel() * p.element_size() for p in arm.best.parameters())
                store_bytes = max(store_bytes, weights)
            parts = (task.support, task.query)
            task_bytes = max(task_bytes, sum(p.x.nbytes + p.y.nbytes for p in parts if p is not None))
            test_bytes += (test.x.nbytes + test.y.nbytes) // len(positions)
    rows = 1 + -(-len(stream) // scenario.evaluate_every)
    columns = len(stream.concepts)
    return Estimate(
        learning=learning,
        evaluating=evaluating * columns * rows,
        task_bytes=task_bytes,
        test_bytes=test_bytes * columns,
        store_bytes=store_bytes * len(stream),
    )
