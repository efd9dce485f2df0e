"""What a competitor keeps between tasks, in bytes: weights, statistics, and samples in its buffers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from types import FunctionType, MethodType
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..agent.events import Event


@dataclass(frozen=True)
class Kept(Event):
    """What a competitor keeps after a task.

    Attributes:
        task: Position in the stream.
        weights: Bytes of networks: the one that answers, and former ones that are kept beside it.
        statistics: Bytes of everything else about weights and classes: importances, means, an optimiser's moments.
        samples: Bytes of samples in buffers, with what is kept of them.
    """

    task: int
    weights: int
    statistics: int
    samples: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.statistics + self.samples


def kept_bytes(
    task: int,
    things: Iterable[Any],
    is_samples: Callable[[Any], bool],
    sample_bytes: Callable[[Any], int],
    passed_over: tuple[type, ...] = (),
) -> Kept:
    """Add up what is reachable from some objects; what is shared counts once.

    Tensors below an attribute whose name speaks of memory ("memory_x", "x_memory", "ext_mem_list_x") are samples.

    Args:
        task: Position of the task.
        things: Where to begin: a strategy's model, optimiser and plug-ins.
        is_samples: Whether an object is a data set.
        sample_bytes: Bytes of one.
        passed_over: Types that hold nothing of a competitor's own (experiences, evaluation).

    Returns:
        The account.
    """
    found = {"weights": 0, "statistics": 0, "samples": 0}
    seen: set[int] = set()
    storages: set[int] = set()
    todo = [(thing, "statistics") for thing in things]
    alive = []  # ids must not be used again while they are remembered
    while todo:
        thing, kind = todo.pop(0)
        if id(thing) in seen or isinstance(thing, (str, bytes, int, float, bool, type, type(None), *passed_over)):
            continue
        seen.add(id(thing))
        alive.append(thing)
        if is_samples(thing):
            found["samples"] += sample_bytes(thing)
        elif isinstance(thing, nn.Module):
            todo = [(tensor, "weights") for tensor in thing.state_dict().values()] + todo
            own = {k: v for part in thing.modules() for k, v in vars(part).items() if not k.startswith("_")}
            todo += [(value, _kind(name, kind)) for name, value in own.items() if not isinstance(value, nn.Module)]
        elif isinstance(thing, Tensor):
            storage = thing.untyped_storage().data_ptr()
            if storage not in storages:
                storages.add(storage)
                found[kind] += thing.numel() * thing.element_size()
        elif isinstance(thing, np.ndarray):
            found[kind] += thing.nbytes
        elif isinstance(thing, Mapping):
            todo += [(value, _kind(str(key), kind)) for key, value in thing.items()]
        elif isinstance(thing, (list, tuple, set, frozenset)):
            todo += [(value, kind) for value in thing]
        elif hasattr(thing, "__dict__") and not isinstance(thing, (FunctionType, MethodType)):
            todo += [(value, _kind(name, kind)) for name, value in vars(thing).items()]
    return Kept(task=task, **{each.name: found[each.name] for each in fields(Kept) if each.name in found})


def _kind(name: str, above: str) -> str:
    return "samples" if "mem_list" in name or "memory_" in name or name.endswith("_memory") else above
