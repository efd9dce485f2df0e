"""What tasks that arrived together have from being learned as one, kept until each of them is remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .encoder import restore_encoder
from .model import Model, restore_head, state
from .store import KnowledgeStore
from .transaction import Transaction

_STATE = "joint"


@dataclass(frozen=True)
class Joint:
    """What a task has from being learned together with others.

    Attributes:
        strategy: What learned them.
        model: The task's model; may share its encoder with others. None where learning together diverged.
        flops: This task's part of what it cost.
        seconds: This task's part of the CPU seconds.
    """

    strategy: str
    model: Model | None
    flops: float
    seconds: float


def keep(t: Transaction, joint: Mapping[int, Joint], task: int) -> None:
    """Keep what the rest of a joint phase needs, in the transaction of one of its tasks; what is used up leaves.

    A run that is cut off between two tasks of a phase finds it again: the phase is not learned twice. The encoder that
    the tasks share lies in the store once, and under the name that it has as an entry.

    Args:
        t: The transaction.
        joint: What every task of the phase has, by position in the stream.
        task: Position of the task that is being remembered.
    """
    if task not in joint:
        return
    facts = {str(i): {"strategy": j.strategy, "flops": j.flops, "seconds": j.seconds} for i, j in joint.items()}
    t.set_state(_STATE, facts)
    for i, each in joint.items():
        if i <= task:
            for slot in _slots(i):
                t.empty(slot)
        elif each.model is not None:
            encoder, head = _slots(i)
            spec = {"joint": i, "encoder": each.model.encoder.spec}
            t.add_bank(spec, state(each.model.encoder), encoder=None, task=task, slot=encoder)
            t.add_bank(
                {"joint": i, "head": each.model.head.kind}, state(each.model.head), encoder=None, task=task, slot=head
            )


def kept(store: KnowledgeStore, device: str) -> dict[int, Joint]:
    """Take up again what `keep` kept.

    Args:
        store: The store.
        device: Where networks run.

    Returns:
        What every task of the last joint phase has, by position in the stream; without a model where it is remembered.
    """
    found = {}
    for position, facts in (store.state(_STATE) or {}).items():
        encoder, head = (store.bank_in(slot) for slot in _slots(int(position)))
        model = None
        if encoder is not None and head is not None:
            network = restore_encoder(encoder.spec["encoder"], store.weights(encoder.id))
            model = Model(network, restore_head(head.spec["head"], store.weights(head.id))).to(device)
        found[int(position)] = Joint(facts["strategy"], model, facts["flops"], facts["seconds"])
    return found


def _slots(task: int) -> tuple[str, str]:
    return f"joint encoder {task}", f"joint head {task}"
