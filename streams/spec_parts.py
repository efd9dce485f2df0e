"""What descriptions of streams are made of: the base of all recipes, transforms, sources under names, single tasks."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue


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
    colour: Annotated[int, Field(ge=0)] = 0
    """Number of a random pair of colours that stand for dark and light; tasks with the same number share it; 0 leaves
    images as they are. Inputs of the whole stream then have three channels (images only)."""
    permute: Annotated[int, Field(ge=0)] = 0
    """Number of a random permutation of the pixels; tasks with the same number share it; 0 leaves them in place."""
    noise: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of Gaussian noise on inputs in [0, 1], drawn anew for every sample; clipped to [0, 1]."""


class NamedSource(Spec):
    """A source under a name of its own."""

    source: str
    """Registered name of the source."""
    settings: dict[str, TomlValue] = Field(default_factory=dict)
    """Settings of the source, as it documents them."""


class TaskSpec(Spec):
    """One task of the layout "tasks"."""

    name: Annotated[str, Field(min_length=1)]
    """Readable name, unique in the stream."""
    repeat: Count = 1
    """So many tasks of this description, one after another, each with a draw of its own; they are called "name 1",
    "name 2", … where there is more than one."""
    returns: str | None = None
    """Name of the earlier task that comes back: the same classes, transforms, labels and test set, with other training
    samples as long as there are any. Only train, query, label_noise, hidden and phase may be given with it."""
    hidden: bool = False
    """Whether it is kept from the learner that the task returns: it comes under a new task label, and from then on
    questions about the concept are asked under this one."""
    source: str | None = None
    """Where its data come from: a name in `stream.sources` or a registered source; left out: the stream's `source`.
    Class ids are those of this source."""
    families: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Families (alphabets, domains, …) out of which classes are drawn, or all are taken; empty for every family."""
    one_family: bool = False
    """Whether all classes come from one family, itself drawn."""
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


def names_of(task: TaskSpec) -> list[str]:
    """List the names of the tasks that a description stands for."""
    return [task.name] if task.repeat == 1 else [f"{task.name} {i + 1}" for i in range(task.repeat)]
