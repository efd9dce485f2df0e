"""What a stream is, as data: source, setting, split, order, and one of the layouts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from .setting import Setting
from .spec_parts import Count as Count  # these are part of this module's face
from .spec_parts import NamedSource as NamedSource
from .spec_parts import Share as Share
from .spec_parts import Spec as Spec
from .spec_parts import TaskSpec as TaskSpec
from .spec_parts import TomlValue as TomlValue
from .spec_parts import Transforms as Transforms

Order = Literal["as-given", "random", "easy-to-hard", "similar-first"]


class _Stream(Spec):
    """What every stream says, whatever its layout."""

    source: str = "digits"
    """Registered name of the source."""
    source_settings: dict[str, TomlValue] = Field(default_factory=dict)
    """Settings of the source, as it documents them."""
    sources: dict[str, NamedSource] = Field(default_factory=dict)
    """More sources, under names that tasks and layouts can use."""
    shape: Annotated[tuple[Count, ...], Field(min_length=1)] | None = None
    """Shape to which all inputs are brought, for images [channels, height, width]; left out: that of the source, or the
    largest of each where there are several."""
    setting: Setting = Setting.TASK_INCREMENTAL
    """What the learner is told: "task-incremental", "domain-incremental", "class-incremental", "blurry" or "online"."""
    experience_size: Count = 50
    """Samples of one experience in the setting "online"; unused in the others."""
    order: Order = "as-given"
    """Order of the tasks: "as-given", "random" (drawn from the seed), "easy-to-hard" or "similar-first" (measured on
    training samples). A task that returns, or takes its classes from another, still comes after that one, and the tasks
    of one phase stay together."""
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of every class that is kept for testing; unused where the source brings its own split."""
    train_per_class: Count | None = None
    """At most this many training samples per class and task."""
    test_per_class: Count | None = None
    """At most this many test samples per class and task."""
    labelled: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of every class's training samples that come with their label (regression: their target), at least one; the
    others come without, for strategies that can use them. Not in the setting "online"."""


class SplitSpec(_Stream):
    """The classes in groups, one group after another."""

    layout: Literal["split"] = "split"
    """"split"."""
    classes_per_task: Count = 2
    """Classes of every task; where the number of classes does not divide, the last task has what is left."""
    class_order: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Ids of the classes in the order in which they come; left out: all, in an order drawn from the seed."""
    overlap: Share = 0.0
    """Share of the classes of every task that the next task has as well (blurry boundaries): round(share × classes), at
    least one where the share is above 0."""


class RotationsSpec(_Stream):
    """The same classes, rotated by another angle in every task."""

    layout: Literal["rotations"] = "rotations"
    """"rotations"."""
    angles: Annotated[tuple[float, ...], Field(min_length=1)]
    """Degrees, counter-clockwise, one per task, each once."""


class PermutationsSpec(_Stream):
    """The same classes, with the pixels permuted in another way in every task; the first task is not permuted."""

    layout: Literal["permutations"] = "permutations"
    """"permutations"."""
    tasks: Count
    """Number of tasks."""


class FewShotSpec(_Stream):
    """Many small tasks; the classes of each are drawn, and its labels are 0, 1, …, ways − 1."""

    layout: Literal["few-shot"] = "few-shot"
    """"few-shot"."""
    tasks: Count
    """Number of tasks."""
    ways: Annotated[int, Field(ge=2)] = 5
    """Classes of every task."""
    shots: Count = 1
    """Training samples per class."""
    query: Annotated[int, Field(ge=0)] = 5
    """Validation samples per class that every task brings along; 0 for none."""
    families: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Families (alphabets, domains, …) out of which the classes are drawn; empty for every family."""
    one_family: bool = False
    """Whether the classes of a task come from one family, itself drawn."""


class FamiliesSpec(_Stream):
    """One family of classes (an alphabet, a domain, an experience of a benchmark) after another, all its classes."""

    layout: Literal["families"] = "families"
    """"families"."""
    families: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] | None = None
    """The families in the order in which they come; left out: all, as the source numbers them."""


class RecurringSpec(_Stream):
    """A few concepts that come back again and again, after gaps that are drawn."""

    layout: Literal["recurring"] = "recurring"
    """"recurring"."""
    concepts: Annotated[int, Field(ge=2)]
    """Different concepts; each has classes of its own, drawn."""
    visits: Annotated[int, Field(ge=1)]
    """How often each of them comes, its first time included."""
    ways: Annotated[int, Field(ge=2)] = 2
    """Classes of every concept."""
    first: Count = 20
    """Training samples per class at the first visit."""
    later: Count = 5
    """Training samples per class at each later visit."""
    hidden: bool = True
    """Whether the learner is not told that a task returns (see `hidden` of a task)."""


class RegressionSpec(_Stream):
    """Functions to be fitted, one per task, out of one family after another."""

    layout: Literal["regression"] = "regression"
    """"regression"."""
    families: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    """The families in the order in which they come."""
    tasks: Annotated[tuple[Count, ...], Field(min_length=1)]
    """Tasks of each of these families."""
    shots: Count = 10
    """Training samples of every task."""
    query: Annotated[int, Field(ge=0)] = 10
    """Validation samples that every task brings along; 0 for none."""


CtrlName = Literal["S-", "S+", "Sin", "Sout", "Spl", "Slong"]
Pair = tuple[Count, Count]


class CtrlSpec(_Stream):
    """The streams of CTrL (Veniat 2021, arXiv 2012.12631), on sources that are named here."""

    layout: Literal["ctrl"] = "ctrl"
    """"ctrl"."""
    stream: CtrlName
    """Which of the six: "S-", "S+", "Sin", "Sout", "Spl" or "Slong"."""
    roles: Annotated[tuple[str, ...], Field(min_length=5)]
    """Sources in the roles of CIFAR-10, MNIST, DTD, Fashion-MNIST and SVHN, in this order; in "Slong" all are drawn
    from, and there may be more (published: CIFAR-10, CIFAR-100, MNIST, Fashion-MNIST and SVHN). Names in
    `stream.sources`, or registered sources."""
    large: Pair = (400, 200)
    """Training and validation samples per class of the large task (published: 400 and 200)."""
    small: Pair = (40, 20)
    """Those of the small tasks (published: 40 and 20)."""
    few: Pair = (5, 3)
    """Those of the last task of "Sin", and of small tasks in "Slong" (published: 5 and 3)."""
    long_large: Pair = (1000, 500)
    """Those of large tasks in "Slong" (published: 1000 and 500)."""
    tasks: Annotated[int, Field(ge=3)] = 100
    """Number of tasks in "Slong" (published: 100)."""
    ways: Annotated[int, Field(ge=2)] | None = None
    """Classes of every task, drawn where its source has more; left out: as published, 5 in "Slong" and elsewhere 10, or
    all of a source that has fewer."""


class TasksSpec(_Stream):
    """Every task written out."""

    layout: Literal["tasks"] = "tasks"
    """"tasks"."""
    tasks: Annotated[tuple[TaskSpec, ...], Field(min_length=1)]
    """The tasks, in order."""


AnyStreamSpec = (
    SplitSpec
    | RotationsSpec
    | PermutationsSpec
    | FewShotSpec
    | FamiliesSpec
    | RecurringSpec
    | RegressionSpec
    | CtrlSpec
    | TasksSpec
)
StreamSpec = Annotated[AnyStreamSpec, Field(discriminator="layout")]


def stream_spec(**fields: Any) -> AnyStreamSpec:
    """Make a stream's description from its fields, `layout` among them.

    Args:
        **fields: As in a recipe's `[stream]` table.

    Returns:
        The description, of the layout's class.

    Raises:
        pydantic.ValidationError: If a field is unknown, missing or wrong (recipes turn it into a `RecipeError`).
    """
    adapter: TypeAdapter[AnyStreamSpec] = TypeAdapter(StreamSpec)
    return adapter.validate_python(fields)
