"""Distillation: a fresh student, as wide as usual or narrower, learns from a stored teacher, then from the task alone.

Where the teacher's outputs can be matched with the task's classes, the student learns its softened outputs (Hinton
2015, arXiv 1503.02531); elsewhere, and in regression, its features through a learned linear projection (Romero 2015,
FitNets, arXiv 1412.6550). Several teachers are weighted by what each is worth on the task. What a teacher says needs no
label: inputs that came without one are learned from it too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .. import registry
from ..agent.known import Known, Source
from ..agent.model import LinearHead, Model
from ..agent.settings import configure, positive, setting
from ..agent.strategy import Strategy
from ..errors import RecipeError
from ..streams.task import Samples, Task
from .teacher import ask, said_by_all, shown_by_all
from .training import Sgd, batches, descend, optimiser, task_loss, train

# Share of right answers, labels matched, from which a teacher is preferred to one with better features.
GOOD_ANSWERS = 0.8


class Distill(Strategy):
    """Teaches a fresh student what the best stored model says of the support set, then trains it on the task alone."""

    name: ClassVar[str] = "distill"

    @dataclass(frozen=True)
    class Settings(Sgd):
        """How the student is taught and trained."""

        steps: int = setting(
            200, "Gradient steps of a full run; as good as 300, and the teacher is to be paid.", "steps"
        )
        taught: float = setting(
            0.8, "Share of the steps in which there is a teacher; in the rest the task alone is learned.", "steps"
        )
        weight: float = setting(0.9, "Share of the loss that the teacher's outputs have; the task's own has the rest.")
        feature_weight: float = setting(0.3, "The same, where it is the teacher's features that are learned.")
        temperature: float = setting(4.0, "Softens the outputs of teacher and student.")
        agreement: float = setting(
            0.5, "From where a teacher's outputs stand for the classes: 0 is chance, 1 the whole support set."
        )
        teachers: int = setting(
            1, "Stored encoders that teach together, weighted by what each is worth on the task.", "encoders"
        )
        unlabelled: bool = setting(
            True, "Whether the teacher is also asked about inputs that came without label, where a task brings some."
        )
        width: float = setting(
            1.0, "Factor of the encoder's settings `hidden`, `filters` and `width`; below 1 it is smaller."
        )

        def __post_init__(self) -> None:
            super().__post_init__()
            positive("strategies.distill", temperature=self.temperature, width=self.width, teachers=self.teachers)
            for name in ("taught", "weight", "feature_weight", "agreement"):
                if not 0 <= getattr(self, name) <= 1:
                    raise RecipeError("strategies.distill", name, getattr(self, name), "must be between 0 and 1")

    def applies(self, task: Task, known: Known) -> str | None:
        """Needs a stored encoder for this shape of input, and one that can be scaled where that is asked for."""
        if not known.sources:
            if known.others:
                return f"no stored encoder takes inputs of shape {task.input_shape}: there is no teacher"
            return "the store holds no trained encoder yet: there is no teacher"
        if self.settings.width != 1 and narrowed(known.architecture, self.settings.width) is None:
            return f"the encoder {known.architecture['name']} has neither `hidden`, `filters` nor `width` to scale"
        return None

    def sources(self, task: Task, known: Known) -> Sequence[Source]:
        """Stored encoders, those first whose model answers the support set well: a teacher is asked for its answers."""

        def answers(source: Source) -> float:
            right = source.score.reuse if source.score is not None else None
            return right if right is not None and right >= GOOD_ANSWERS else 0.0

        return sorted(known.sources, key=answers, reverse=True)

    def units(self, task: Task) -> int:
        """One unit is one gradient step."""
        return int(self.settings.steps)

    def learn(self, task: Task, known: Known, rng: torch.Generator) -> Iterator[Model]:
        """Ask the teacher once, learn from it, then from the task alone."""
        s, x, y = self.settings, task.support.x, task.support.y
        labelled, more = len(x), task.unlabelled if self.settings.unlabelled else None
        x = x if more is None else torch.cat([x, more])
        architecture = narrowed(known.architecture, s.width) or known.architecture
        student = replace(known, architecture=architecture).fresh(task, rng)
        taught, weight, learned = self._teacher(task, known, student, rng)
        step = optimiser([*student.parameters(), *learned], s)
        student.train()
        first = round(s.taught * s.steps)
        feed = batches(Samples(x, torch.arange(len(x), device=x.device)), s.batch_size, rng, s.shuffle)
        for some, index in itertools.islice(feed, first):
            features = student.encoder(some)
            outputs = student.head(features)
            loss = weight * taught(features, outputs, index)
            told = index < labelled
            if bool(told.any()):
                loss = loss + (1 - weight) * task_loss(outputs[told], y[index[told]], task)
            descend(loss, step)
            yield student
        yield from train(student, task, s, rng, s.steps - first)

    def _teacher(
        self, task: Task, known: Known, student: Model, rng: torch.Generator
    ) -> tuple[Callable[[Tensor, Tensor, Tensor], Tensor], float, list[nn.Parameter]]:
        """Ask the teachers.

        Returns:
            The loss against them, of the student's features and outputs on the samples at given positions, unlabelled
            ones after the support set's; its share of the whole loss; and what is learned beside the student.
        """
        s = self.settings
        more = task.unlabelled if s.unlabelled else None
        chosen = known.best_source()
        others = [source for source in self.sources(task, known) if source.id != chosen.id]
        teachings = [ask(task, source, s.agreement, rng, more) for source in [chosen, *others[: s.teachers - 1]]]
        says = said_by_all(teachings, s.temperature)
        if says is not None:
            return lambda _, outputs, at: distillation_loss(outputs, says[at], s.temperature), s.weight, []
        shows = shown_by_all(teachings)
        to = LinearHead(student.encoder.feature_size, shows.shape[1], rng).to(shows.device)
        project = [to.weight, to.bias]
        return lambda features, _, at: feature_loss(features, shows[at], *project), s.feature_weight, project


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T² KL(teacher ‖ student) of outputs softened by T (Hinton 2015, §2), mean over samples.

    The factor keeps the size of the gradient when T changes.

    Args:
        student: Logits, shape `(n, classes)`.
        teacher: Logits, shape `(n, classes)`.
        temperature: T; at 1 the outputs are as they are.

    Returns:
        A scalar in nats; 0 where both give the same probabilities.
    """
    p, q = (torch.log_softmax(logits / temperature, dim=1) for logits in (teacher, student))
    return temperature**2 * nn.functional.kl_div(q, p, reduction="batchmean", log_target=True)


def feature_loss(student: Tensor, teacher: Tensor, projection: Tensor, bias: Tensor) -> Tensor:
    """Return the mean squared error of projected student features against the teacher's (Romero 2015, eq. 3).

    Args:
        student: Features, shape `(n, d_student)`.
        teacher: Features, shape `(n, d_teacher)`.
        projection: Shape `(d_teacher, d_student)`.
        bias: Shape `(d_teacher,)`.

    Returns:
        A scalar, mean over samples and features.
    """
    return nn.functional.mse_loss(nn.functional.linear(student, projection, bias), teacher)


def narrowed(architecture: Mapping[str, Any], width: float) -> dict[str, Any] | None:
    """Scale the widths of an encoder's layers: its settings `hidden`, `filters` and `width`, at least one unit of each.

    Args:
        architecture: Name and settings, as in `Known.architecture`.
        width: Factor. Filters and width stay a multiple of the setting `groups` of a group norm, where there is one.

    Returns:
        The architecture; None where the encoder has none of these settings.
    """
    kind = registry.load("encoder", architecture["name"])
    settings = asdict(configure(kind.Settings, architecture["settings"], f"encoder {architecture['name']}"))
    if not {"hidden", "filters", "width"} & set(settings):
        return None
    if "hidden" in settings:
        settings["hidden"] = tuple(max(1, round(width * units)) for units in settings["hidden"])
    multiple = settings.get("groups", 1)
    for name in {"filters", "width"} & set(settings):
        settings[name] = multiple * max(1, round(width * settings[name] / multiple))
    return {"name": architecture["name"], "settings": settings}
