"""What a stream draws from: one source, or several side by side, with all inputs brought to one shape."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataMissing, RecipeError
from .source import Sizes, Source, SourceData, make_source
from .source_files import fetch
from .spec import AnyStreamSpec, CtrlSpec, TaskSpec, TasksSpec
from .spec_parts import names_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def used_sources(spec: AnyStreamSpec) -> tuple[str, ...]:
    """List the names of the sources that a stream draws from, the first one used first."""
    if isinstance(spec, CtrlSpec):
        roles = spec.roles if spec.stream == "Slong" else spec.roles[:5]
        return tuple(dict.fromkeys(roles))
    if isinstance(spec, TasksSpec):
        return tuple(dict.fromkeys(task.source or spec.source for task in spec.tasks if _brings_data(task, spec)))
    return (spec.source,)


def _brings_data(task: TaskSpec, spec: TasksSpec) -> bool:
    """Tell whether a task says itself where its data come from: it does not where it follows an earlier one."""
    if task.returns is not None or task.source is not None:
        return task.returns is None
    return task.classes == "all" or task.classes not in {name for each in spec.tasks for name in names_of(each)}


def make_sources(spec: AnyStreamSpec, where: str) -> dict[str, Source]:
    """Make the sources of a stream; nothing is loaded yet.

    Args:
        spec: What the stream is.
        where: The file, or what else an error names as the place.

    Returns:
        The sources by the names that the recipe has for them.

    Raises:
        RecipeError: If there is no such source, a setting of one is wrong, or one stands under two names.
    """
    made: dict[str, Source] = {}
    for name in used_sources(spec):
        named, main = spec.sources.get(name), name == spec.source and name not in spec.sources
        settings = named.settings if named else spec.source_settings if main else {}
        field = "stream.source_settings" if main else f"stream.sources.{name}.settings"
        made[name] = make_source(named.source if named else name, settings, where, _named_in(spec, name), field)
        twin = next((other for other, source in made.items() if other != name and source == made[name]), None)
        if twin is not None:  # their splits would differ, and training images of one be test images of the other
            raise RecipeError(where, _field(spec, name), name, f"it holds the same as {twin!r}: use one name for both")
    return made


def sizes_of(
    spec: AnyStreamSpec,
    where: str,
    data_root: Path | None = None,
    download: bool = False,
    known: list[tuple[Source, Sizes | None]] | None = None,
) -> Sizes | None:
    """Say how much a stream can draw from, without loading it.

    Args:
        spec: What the stream is.
        where: The file, or what else an error names as the place.
        data_root: Folder that holds the user's data sets; None where none was given.
        download: Whether files of published data sets that are missing are fetched into the data root.
        known: The sources that were looked at already, with their sizes; those that are looked at now are added.

    Returns:
        The sizes; None where one of the sources knows them only after loading.

    Raises:
        RecipeError: If a source is wrong, or the sources do not go together.
        DataMissing: If a source's files are not there; names place and field as well.
        UserError: If they cannot be downloaded.
    """
    looked_at = [] if known is None else known
    found: dict[str, Sizes] = {}
    sources = make_sources(spec, where)
    for name, source in sources.items():
        former = next((each for each in looked_at if each[0] == source), None)
        if former is None:
            if download:
                fetch(source, data_root)
            try:
                former = source, source.sizes(data_root)
            except DataMissing as error:
                raise DataMissing(f"{where}: {_named_in(spec, name)}: {error}") from None
            looked_at.append(former)
        if former[1] is not None:
            found[name] = former[1]
    return joined(spec, found, where) if len(found) == len(sources) else None


def joined(spec: AnyStreamSpec, sizes: Mapping[str, Sizes], where: str = "stream") -> Sizes:
    """Put sources side by side.

    Args:
        spec: What the stream is.
        sizes: What each source holds, by name.
        where: The file, or what else an error names as the place.

    Returns:
        Their sizes as one, with the shape to which inputs are brought.

    Raises:
        RecipeError: If they do not go together, or the shape does not fit them.
    """
    members = tuple(sizes.items())
    first = members[0][1]
    for name, each in members[1:]:
        if (each.kind, each.outputs) != (first.kind, first.outputs):
            valid = f"sources of one stream hold the same: {members[0][0]!r} has {_what(first)}"
            raise RecipeError(where, _field(spec, name), _what(each), valid)
    shape = _shape(spec, [each for _, each in members], where)
    if len(members) == 1:
        return replace(first, input_shape=shape)
    samples = tuple(itertools.chain(*(each.samples for _, each in members)))
    return Sizes(samples, shape, kind=first.kind, outputs=first.outputs, members=members)


def _named_in(spec: AnyStreamSpec, name: str) -> str:
    """Name the field that says which registered source a name stands for."""
    if name in spec.sources:
        return f"stream.sources.{name}.source"
    return "stream.source" if name == spec.source else _field(spec, name)


def _field(spec: AnyStreamSpec, name: str) -> str:
    """Name the field in which a source's name stands."""
    if isinstance(spec, TasksSpec):
        position = next((i for i, task in enumerate(spec.tasks) if task.source == name), None)
        return "stream.source" if position is None else f"stream.tasks.{position}.source"
    return f"stream.roles.{spec.roles.index(name)}" if isinstance(spec, CtrlSpec) else "stream.source"


def _what(sizes: Sizes) -> str:
    return f"inputs of kind {sizes.kind!r}" + (f" with {sizes.outputs} targets" if sizes.outputs else " in classes")


def _shape(spec: AnyStreamSpec, members: list[Sizes], where: str) -> tuple[int, ...]:
    shapes = {each.input_shape for each in members}
    if members[0].kind != "image":
        if len(shapes) > 1:
            valid = "only images can be brought to one shape"
            raise RecipeError(where, "stream.sources", sorted(map(list, shapes)), valid)
        (shape,) = shapes
        if spec.shape not in (None, shape):
            raise RecipeError(where, "stream.shape", list(spec.shape or ()), f"the inputs have shape {list(shape)}")
        return shape
    coloured = (isinstance(spec, CtrlSpec) and spec.stream == "Sin") or (
        isinstance(spec, TasksSpec) and any(task.transforms.colour for task in spec.tasks)
    )
    if spec.shape is None:
        channels, height, width = (max(sides) for sides in zip(*shapes, strict=True))
        return (3 if coloured else channels, height, width)
    if len(spec.shape) != 3 or spec.shape[0] not in (1, 3):
        valid = "images have the shape [channels, height, width], with 1 or 3 channels"
        raise RecipeError(where, "stream.shape", list(spec.shape), valid)
    if coloured and spec.shape[0] != 3:
        raise RecipeError(where, "stream.shape", list(spec.shape), "colour needs 3 channels")
    return spec.shape


class Supply:
    """The samples of all sources of a stream; classes and samples are numbered through the sources.

    Attributes:
        sizes: How much there is, and the shape of every input.
    """

    def __init__(self, spec: AnyStreamSpec, data: Mapping[str, SourceData], where: str = "stream") -> None:
        """Put loaded sources side by side.

        Args:
            spec: What the stream is.
            data: Samples by the source's name.
            where: The file, or what else an error names as the place.

        Raises:
            RecipeError: If they do not go together.
        """
        self._members = list(data.items())
        self.sizes = joined(spec, {name: each.sizes for name, each in self._members}, where)
        # Number of the first sample of every source.
        self._first = [0, *itertools.accumulate(len(each.y) for _, each in self._members)]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Readable name of every class; with several sources, with its source's name before it."""
        if len(self._members) == 1:
            return self._members[0][1].classes
        return tuple(f"{name}: {each}" for name, data in self._members for each in data.classes)

    def split(self, test_share: float, rng: Mapping[int, torch.Generator]) -> tuple[list[Tensor], list[Tensor]]:
        """Part every class into training and test samples, once for the whole stream: none is ever in both.

        Args:
            test_share: Share of every class that is kept for testing, where a source does not bring its own split.
            rng: For every class, what mixes its samples.

        Returns:
            Positions of the training and of the test samples of every class.
        """
        import torch

        trains: list[Tensor] = []
        tests: list[Tensor] = []
        counts = self.sizes.split(test_share)[1]
        for first, (_, data) in zip(self._first, self._members, strict=False):
            parts = data.parts
            grouped = [_by_class(data.y, part, len(data.classes)) for part in parts or (torch.arange(len(data.y)),)]
            for own in zip(*grouped, strict=True):
                k = len(trains)
                mixed = [each[torch.randperm(len(each), generator=rng[k])] + first for each in own]
                if parts is None:
                    mixed = [mixed[0][counts[k] :], mixed[0][: counts[k]]]
                trains.append(mixed[0])
                tests.append(mixed[1])
        return trains, tests

    def fit(self, trains: Sequence[Tensor]) -> None:
        """Let every source measure on its own training samples what a table's numbers are standardised by.

        Args:
            trains: Positions of the training samples of every class, as `split` gives them.
        """
        import torch

        classes = iter(trains)
        for i, (first, (name, data)) in enumerate(zip(self._first, self._members, strict=False)):
            own = list(itertools.islice(classes, len(data.classes)))
            self._members[i] = name, data.fitted(torch.cat(own) - first)

    def take(self, index: Tensor) -> Tensor:
        """Get inputs as learners see them, in the stream's shape.

        Args:
            index: Positions, int64, shape `(n,)`; all of one source.

        Returns:
            Float32, shape `(n, *input_shape)`; a table's numbers are standardised once `fit` was called.
        """
        data, own = self._locate(index)
        return bring(data.take(own), self.sizes.input_shape)

    def targets(self, index: Tensor) -> Tensor:
        """Get regression targets, shape `(n, outputs)`, as in `take`."""
        data, own = self._locate(index)
        if data.targets is None:
            raise LookupError("this source has classes, not targets")
        return data.targets[own]

    @property
    def table(self) -> dict[str, Any] | None:
        """How rows of the user's table become what learners see, as plain data; None where the samples are no rows."""
        data = self._members[0][1]
        if len(self._members) > 1 or data.table is None:
            return None
        scaling = data.scaling
        numbers = None if scaling is None else {"mean": scaling.mean.tolist(), "sd": scaling.sd.tolist()}
        return {**data.table, "numbers": list(data.numbers), "scaling": numbers}

    def sha256(self) -> str:
        """Hash all samples; of a single source, that source's own hash."""
        hashes = [data.sha256() for _, data in self._members]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()

    def _locate(self, index: Tensor) -> tuple[SourceData, Tensor]:
        low, high = (int(index.min()), int(index.max())) if len(index) else (0, 0)
        for first, (_, data) in zip(self._first, self._members, strict=False):
            if low < first + len(data.y):
                if high >= first + len(data.y):
                    raise ValueError("samples of one call are of one source")
                return data, index - first
        raise IndexError(f"sample {high} of {self._first[-1]}")


def bring(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Bring inputs to a shape: grey is repeated or colours are averaged, then images are resized.

    Args:
        x: Inputs, shape `(n, *input_shape)`; anything but images has the shape already.
        shape: For images, `(channels, height, width)`.

    Returns:
        Shape `(n, *shape)`; resizing is bilinear, with antialiasing where it makes smaller.
    """
    import torch.nn.functional as F

    if tuple(x.shape[1:]) == shape:
        return x
    if x.shape[1] != shape[0]:
        x = x.mean(dim=1, keepdim=True)
    if tuple(x.shape[2:]) != shape[1:]:
        x = F.interpolate(x, size=list(shape[1:]), mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)
    return x.expand(-1, shape[0], -1, -1).contiguous()


def _by_class(y: Tensor, part: Tensor, classes: int) -> list[Tensor]:
    """Group positions by class, each group in the order in which `part` has them."""
    own = y[part]
    order = own.argsort(stable=True)
    return list(part[order].split(own.bincount(minlength=classes).tolist()))
