"""What a stream is, as data: source, setting, split, and one of five layouts."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from .setting import Setting


def _writable(value: JsonValue) -> JsonValue:
    """Refuse what does not survive being written as TOML and JSON."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError("settings are texts, finite numbers, true or false, and lists and tables of these")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _writable(inner)
    return value


TomlValue = Annotated[JsonValue, AfterValidator(_writable)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Spec(BaseModel):
    """A part of a recipe: immutable, and without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Transforms(Spec):
    """What is done to the inputs of a task, in training and in testing, in the order of these fields."""

    rotate: float = 0.0
    """Degrees, counter-clockwise (images only)."""
    blur: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of a Gaussian blur, in pixels (images only)."""
    invert: bool = False
    """Whether light and dark change places."""
    permute: Annotated[int, Field(ge=0)] = 0
    """Number of a random permutation of the pixels; tasks with the same number share it; 0 leaves them in place."""
    noise: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of Gaussian noise on inputs in [0, 1], drawn anew for every sample; clipped to [0, 1]."""


class TaskSpec(Spec):
    """One task of the layout "tasks"."""

    name: Annotated[str, Field(min_length=1)]
    """Readable name, unique in the stream."""
    returns: str | None = None
    """Name of the earlier task that comes back: the same classes, transforms, labels and test set, with other training
    samples as long as there are any. Only train, query, label_noise and phase may be given with it."""
    classes: tuple[Annotated[int, Field(ge=0)], ...] | Count | str = "all"
    """Ids of the classes ([3, 5, 8]), or how many to draw (3), or the name of an earlier task whose classes to use, or
    "all"."""
    groups: tuple[Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)], ...] = ()
    """Classes that share an output, one list per output ([[0, 2, 4], [1, 3]]); stands in place of `classes`, and the
    labels are then 0, 1, …, in the order of the lists."""
    train: Count | Literal["all"] = "all"
    """Training samples per class, or "all": those not taken by query, up to the stream's train_per_class."""
    query: Annotated[int, Field(ge=0)] = 0
    """Validation samples per class that the task brings along; 0 for none."""
    transforms: Transforms = Transforms()
    """What is done to the inputs."""
    label_noise: Share = 0.0
    """Share of the training and validation labels that another class of the task replaces; test labels stay right."""
    relabel: bool = False
    """Whether every class gets another class's label (one cycle through all, drawn from the seed)."""
    labels: Literal["global", "local"] = "global"
    """"global": outputs stand for the source's classes; "local": for 0, 1, …, in the order of `classes`."""
    phase: str | None = None
    """Consecutive tasks of one phase arrive together."""


class _Stream(Spec):
    """What every stream says, whatever its layout."""

    source: str = "digits"
    """Registered name of the source."""
    source_settings: dict[str, TomlValue] = Field(default_factory=dict)
    """Settings of the source, as it documents them."""
    setting: Setting = Setting.TASK_INCREMENTAL
    """What the learner is told: "task-incremental", "domain-incremental" or "class-incremental"."""
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of every class that is kept for testing; unused where the source brings its own split."""
    train_per_class: Count | None = None
    """At most this many training samples per class and task."""
    test_per_class: Count | None = None
    """At most this many test samples per class and task."""


class SplitSpec(_Stream):
    """The classes in groups, one group after another."""

    layout: Literal["split"] = "split"
    """"split"."""
    classes_per_task: Count = 2
    """Classes of every task; where the number of classes does not divide, the last task has what is left."""
    class_order: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Ids of the classes in the order in which they come; left out: all, in an order drawn from the seed."""


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


class TasksSpec(_Stream):
    """Every task written out."""

    layout: Literal["tasks"] = "tasks"
    """"tasks"."""
    tasks: Annotated[tuple[TaskSpec, ...], Field(min_length=1)]
    """The tasks, in order."""


AnyStreamSpec = SplitSpec | RotationsSpec | PermutationsSpec | FewShotSpec | TasksSpec
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
