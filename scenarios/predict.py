"""Using what a run has learned: answers for a user's inputs, with or without a task label."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..agent.agent import LifelongAgent
from ..agent.answer import Answer
from ..agent.arm import outputs_of
from ..agent.entries import TaskRecord
from ..agent.inherit import store_folder
from ..agent.overview import task_called
from ..agent.store import KnowledgeStore
from ..errors import InputError, RecordError
from .inputs import read_inputs
from .run import make_agent
from .run_folder import SCENARIO
from .scenario import load_scenario


def predict(
    run: Path, inputs: Path, *, task: str | None = None, resize: bool = False, scale: float | None = None
) -> list[dict[str, Any]]:
    """Answer for inputs from files with what a run has learned so far.

    The inputs go through what the run's inputs went through: they are scaled to [0, 1] and sent through the same stem.
    Rows of the user's own table (a run on the source "csv") are read by the names of their columns and become what they
    became in the run, standardised by the run's training samples; the run's record holds all that this takes.
    What a task did to its inputs in the stream (turned or shuffled them) belongs to the task: it is not done here.

    Args:
        run: The folder of the run.
        inputs: See `inputs.read_inputs`.
        task: A task's name or number (see `task_called`): its model answers. None: who answers where no task label is
            given.
        resize: Whether images of another size are resized.
        scale: What arrays and rows are divided by.

    Returns:
        One for each input: "input", and "class" (global id), "name", "probability", "probabilities" (by name), or for
        regression "values"; and who answered, "by".

    Raises:
        UserError: If the run, the task or the inputs cannot be used.
    """
    if not (run / SCENARIO).is_file():
        raise RecordError(f"{run}: is no run, there is no {SCENARIO} in it; give the folder of a run (runs/<id>).")
    scenario = load_scenario(run / SCENARIO, check_names=False).model_copy(update={"device": "auto"})
    with KnowledgeStore.open(store_folder(run), read_only=True) as store:
        facts = store.manifest()
        if "input_shape" not in facts:
            raise RecordError(f"{run}: does not say what its inputs were; it was made by an older evermap.")
        x, names = read_inputs(inputs, facts["input_shape"], resize=resize, scale=scale, table=facts.get("table"))
        agent = make_agent(scenario, store)
        if task is None:
            answer, by = _without_label(agent, x, run)
            called = _names(facts, None)
        else:
            record = task_called(store, task)
            answer, by = _with_label(agent, x, record), [f"{record.model}, “{record.name}”"] * len(x)
            called = _names(facts, record.index)
    if answer.values is not None:
        pairs = zip(names, answer.values.tolist(), by, strict=True)
        return [{"input": name, "values": values, "by": who} for name, values, who in pairs]
    shares = answer.log_probs.double().exp()
    found = []
    for name, row, who in zip(names, shares.tolist(), by, strict=True):
        best = max(range(len(row)), key=row.__getitem__)
        c = answer.classes[best]
        every = {called.get(each, str(each)): share for each, share in zip(answer.classes, row, strict=True)}
        found.append(
            {
                "input": name,
                "class": c,
                "name": called.get(c, str(c)),
                "probability": row[best],
                "probabilities": every,
                "by": who,
            }
        )
    return found


def _without_label(agent: LifelongAgent, x: Tensor, run: Path) -> tuple[Answer, list[str]]:
    answer = agent.answer(x, None)
    if not answer.classes and answer.values is None:
        raise InputError(f"{run}: nothing that it has learned answers without a task label; give --task NAME.")
    return answer, ["the anchor" if anchored else "a task's model" for anchored in answer.by_anchor.tolist()]


@torch.no_grad()
def _with_label(agent: LifelongAgent, x: Tensor, record: TaskRecord) -> Answer:
    try:
        model = agent.library.ready(record)
    except LookupError as error:
        raise InputError(f"{error}; leave --task out.") from error
    outputs = outputs_of(model, agent.library.view(x.to(agent.settings.device)))
    if record.kind == "regression":
        return Answer.of_values(outputs.cpu())
    by_anchor = torch.zeros(len(x), dtype=torch.bool)
    return Answer(torch.log_softmax(outputs / model.head.temperature, dim=1).cpu(), record.classes, by_anchor)


def _names(facts: Mapping[str, Any], task: int | None) -> dict[int, str]:
    """Readable names of class ids, as far as they mean the source's classes for a task (None: for all)."""
    if task is None:
        return dict(enumerate(facts.get("class_names", ())))
    last = 0
    for era in (facts, *facts.get("earlier", ())):
        tasks = era.get("tasks", 0) if era is not facts else 0
        if (era is facts and task >= 0) or (era is not facts and -last - tasks <= task < -last):
            position = task if era is facts else task + last + tasks
            own = position in era.get("own_labels", ())
            return {} if own else dict(enumerate(era.get("class_names", ())))
        last += tasks
    return {}
