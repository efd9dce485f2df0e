"""The anchor "meta": random features that give way, once, to an encoder that was trained on episodes of earlier tasks.

A strategy trains the encoder on the episode memory, after every task and out of its budget. Every task of new classes
is a trial: closed-form heads on the encoder's features and on the anchor's are asked about its held-out samples, of
classes that the encoder has never met. Once it has clearly proved better, and samples of every class that was counted
lie in the episode memory, the encoder is frozen and becomes the anchor's; the statistics are made anew of the samples
that are kept. From then on nothing changes it, and what the anchor knows is a sum again, whatever the order of tasks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from ..streams.task import Samples, Task
from .anchor import Anchor
from .anchors import Anchors
from .arm import score
from .budget import counted
from .encoder import Encoder
from .gate import Tally
from .known import Episode, Known
from .probe import Price, features_of
from .stand_in import fitted

if TYPE_CHECKING:
    from .library import Library
    from .workbench import Workbench


@dataclass(frozen=True)
class Weighed:
    """What a task said of an encoder that was trained on the tasks before it.

    Attributes:
        tally: Right answers on the encoder's features (`models`) and on the anchor's, of the task's held-out samples.
        anchor: What takes the place of the anchor, the task not yet counted; None where nothing does.
        said: The same in words.
    """

    tally: Tally
    anchor: Anchor | None
    said: str


def wanted(anchors: Anchors, task: Task) -> bool:
    """Whether an encoder that is trained on episodes could become the anchor for inputs as a task's are.

    Args:
        anchors: The anchors.
        task: The task as it came.
    """
    return task.kind == "classification" and not task.own_labels and anchors.is_provisional(task.input_shape)


def weigh(library: Library, task: Task, bench: Workbench) -> Weighed | None:
    """Try an encoder that was trained on earlier tasks on a new one; paid from the task's budget.

    Args:
        library: What the store holds.
        task: The task as it came.
        bench: The same as it was laid out.

    Returns:
        What it said, also where the budget does not pay for it; None where there is nothing to try.
    """
    anchors, held, seen = library.anchors, bench.held_out, library.episode(task, bench)
    found = _trained(bench) if wanted(anchors, task) else None
    if found is None or held is None or seen is None:
        return None
    name, met, encoder = found
    if met is None:
        return Weighed(Tally(), None, f"not tried: nobody knows which classes {name} has met")
    anchor = anchors.begun(task, bench.whole)
    if set(task.classes) & {*met, *anchor.classes}:
        return None
    kept = bench.known.counted(task.input_shape)
    ours_each, theirs_each = (_price(each, held, task.outputs) for each in (encoder, anchor.encoder))
    trial = sum(p.of(len(bench.task.support)) + len(held) * p.once for p in (ours_each, theirs_each))
    if trial > bench.ledger.left:
        return Weighed(Tally(), None, f"not tried: the budget does not pay for a trial of {name}")
    with bench.ledger.counting("consolidate"):
        # Of large classes an episode holds a part: what the change would cost the statistics, it costs the trial.
        ours = _right(encoder, replace(bench.task, support=seen.support), held)
        theirs = _right(anchor.encoder, bench.task, held)
    tally = Tally(ours, theirs, len(held))
    whole = anchors.tally(task.input_shape).plus(tally)
    said = f"{whole.models:.0f} right on {name}, {whole.anchor:.0f} on the anchor, of {whole.asked} of new classes"
    if not whole.opens(same_classes=False):
        return Weighed(tally, None, f"not clearly better: {said}")
    change = sum(len(e.support) + len(e.query) for e in kept) * (ours_each.once + 2 * ours_each.features**2)
    if change > bench.ledger.left:
        return Weighed(tally, None, f"better, but the budget does not pay for encoding the episode memory: {said}")
    with bench.ledger.counting("consolidate"):
        new = _counted(encoder, kept, library)
    ours_of, theirs_of = (dict(zip(a.classes, a.moments.counts.tolist(), strict=True)) for a in (new, anchor))
    if set(ours_of) != set(theirs_of) or any(ours_of[c] > theirs_of[c] for c in ours_of):
        return Weighed(tally, None, f"better, but not every class has samples in the episode memory: {said}")
    samples = f"statistics of {sum(ours_of.values()):.0f} samples of {sum(theirs_of.values()):.0f}"
    return Weighed(tally, new, f"{name} is frozen and becomes the anchor: {said}; {samples}")


def classes_met(library: Library, task: Task, known: Known, strategy: str) -> tuple[int, ...] | None:
    """Tell which classes something was trained on that a strategy keeps for later tasks.

    Args:
        library: What the store holds.
        task: The task as it came, after which it was trained.
        known: What it was trained from: the episodes, that of the task among them, and what was kept before.
        strategy: The strategy's name.

    Returns:
        Their ids; None where it was trained on samples whose ids may mean other classes than this stream's.
    """
    before = known.metas.get(strategy)
    taught = [episode for episode in known.episodes if episode.kind == "classification"]
    if (before is not None and before.met is None) or any(episode.anchor is None for episode in taught):
        return None
    classes = {*(before.met or () if before is not None else ())}
    for episode in taught:
        classes.update(task.classes if episode.task == task.index else library.classes_of(episode.task))
    return tuple(sorted(classes))


def _trained(bench: Workbench) -> tuple[str, tuple[int, ...] | None, Encoder] | None:
    """The encoder that a strategy has trained on the episodes so far: its name, the classes it has met, itself."""
    for name, strategy in bench.strategies.items():
        meta = bench.known.metas.get(name)
        encoder = strategy.embedding(meta) if strategy.embeds and meta is not None else None
        if meta is not None and encoder is not None:
            device = bench.task.support.x.device
            return f"{name}'s {meta.id}", meta.met, encoder.to(device).eval().requires_grad_(False)
    return None


def _price(encoder: Encoder, samples: Samples, outputs: int) -> Price:
    """Price a closed-form head on an encoder's features."""
    _, once = counted(lambda: features_of(encoder, samples.x[:1]))
    return Price(once, encoder.feature_size, outputs)


@torch.no_grad()
def _right(encoder: Encoder, task: Task, held: Samples) -> float:
    """Held-out samples that a closed-form head on an encoder's features is right about."""
    head, _ = fitted(features_of(encoder, task.support.x), task)
    return score(head(features_of(encoder, held.x)), held.y, task.kind).accuracy * len(held)


def _counted(encoder: Encoder, kept: list[Episode], library: Library) -> Anchor:
    """An anchor that has counted the samples in the episode memory; of query parts that were never counted, none."""
    new, device = Anchor(encoder), next(encoder.parameters()).device
    for episode in kept:
        classes = torch.tensor(library.classes_of(episode.task))
        for part in (episode.support, episode.query)[: 1 + episode.held_out]:
            new.add(part.x.to(device), classes[part.y.cpu()])
    return new
