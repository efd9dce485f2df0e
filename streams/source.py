"""Where a stream's data comes from: labelled samples, loaded at once, and what is known of them without loading."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import TypeAdapter, ValidationError

from .. import registry
from ..errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Sizes:
    """How much a source holds.

    Attributes:
        samples: Samples of every class; where the source brings its own split, of its training part.
        input_shape: Shape of one input.
        test: Test samples of every class where the source brings its own split, else None.
        kind: As in `SourceData`.
        families: As in `SourceData`.
        outputs: Regression: targets of every sample, where every "class" is a function; 0 for classification.
        ids: As in `SourceData`.
        members: Where several sources stand side by side: name and sizes of each, in the order of their classes.
    """

    samples: tuple[int, ...]
    input_shape: tuple[int, ...]
    test: tuple[int, ...] | None = None
    kind: str = "image"
    families: tuple[int, ...] = ()
    outputs: int = 0
    ids: tuple[int, ...] = ()
    members: tuple[tuple[str, Sizes], ...] = ()

    def split(self, test_share: float) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Count what there is to learn from, and to be tested on.

        Args:
            test_share: Share of every class that is kept for testing, 0 to 1; unused where the source brings its split.

        Returns:
            Training samples and test samples of every class. A class of two samples or more has at least one of each.
        """
        if self.members:
            train, kept = zip(*(member.split(test_share) for _, member in self.members), strict=True)
            return tuple(itertools.chain(*train)), tuple(itertools.chain(*kept))
        if self.test is not None:
            return self.samples, self.test
        test = tuple(max(min(round(test_share * n), n - 1), min(1, n - 1), 0) for n in self.samples)
        return tuple(n - t for n, t in zip(self.samples, test, strict=True)), test


@dataclass(frozen=True)
class SourceData:
    """All samples of a source.

    Attributes:
        x: Inputs, float32 in [0, 1], shape `(n, *input_shape)`; images are `(n, channels, height, width)`.
        y: Class of every sample, int64, shape `(n,)`, from 0.
        classes: Readable name of every class.
        kind: What the inputs are ("image"; decides which transforms and which stem fit).
        parts: Indices of the training and of the test samples where the source brings its own split, else None.
        families: Number of classes of every family (an alphabet, a domain), in the order of the classes; empty where
            the classes have none.
        ids: Global class id of every class, where classes of several families are one and the same (a class that
            another experience of a benchmark shows differently); empty where every class is its own.
        targets: Regression: what is to be predicted, float32, shape `(n, outputs)`; a "class" is then a function.
    """

    x: Tensor
    y: Tensor
    classes: tuple[str, ...]
    kind: str = "image"
    parts: tuple[Tensor, Tensor] | None = None
    families: tuple[int, ...] = ()
    ids: tuple[int, ...] = ()
    targets: Tensor | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.x.shape[1:])

    def take(self, index: Tensor) -> Tensor:
        """Get some of the inputs.

        Args:
            index: Positions, int64, shape `(m,)`.

        Returns:
            Inputs, shape `(m, *input_shape)`, copied.
        """
        return self.x[index]

    @property
    def sizes(self) -> Sizes:
        """How much there is."""

        def count(y: Tensor) -> tuple[int, ...]:
            return tuple(int(n) for n in y.bincount(minlength=len(self.classes)))

        shape, outputs = self.input_shape, 0 if self.targets is None else int(self.targets.shape[1])
        if self.parts is None:
            return Sizes(count(self.y), shape, None, self.kind, self.families, outputs, self.ids)
        train, test = self.parts
        return Sizes(count(self.y[train]), shape, count(self.y[test]), self.kind, self.families, outputs, self.ids)

    def sha256(self) -> str:
        """Hash inputs, classes and split, for a run's record."""
        digest = hashlib.sha256(repr((tuple(self.x.shape), self.classes, self.kind, *self.ids)).encode())
        for tensor in (self.x, self.y, *(self.parts or ()), *(() if self.targets is None else (self.targets,))):
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()


class Source(ABC):
    """Something that gives labelled samples; a frozen dataclass whose fields are its settings."""

    registry_kind: ClassVar[str] = "source"
    name: ClassVar[str]

    @abstractmethod
    def load(self, root: Path | None) -> SourceData:
        """Load everything.

        Args:
            root: Folder that holds the user's data sets; None where none was given.

        Returns:
            The samples.

        Raises:
            DataMissing: If files are needed that are not there; names them, and says how to get them.
        """

    def sizes(self, root: Path | None) -> Sizes | None:
        """Say how much there is without loading it, so that a recipe is checked at once.

        Args:
            root: As in `load`.

        Returns:
            The sizes; None where they are known only after loading.
        """
        return None


def make_source(name: str, settings: Mapping[str, Any], where: str, field: str = "stream.source") -> Source:
    """Make a registered source with its settings.

    Args:
        name: Its registered name.
        settings: Values of its fields.
        where: The file, or what else an error names as the place.
        field: Dotted path of the name in the recipe.

    Returns:
        The source; nothing is loaded yet.

    Raises:
        RecipeError: If there is no such source, or a setting is unknown or of the wrong type.
    """
    known = registry.registered("source")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise RecipeError(where, field, name, f"no such source{hint}; known are {', '.join(known) or 'none'}")
    kind = known[name].load()
    fields = [each.name for each in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    for key, value in settings.items():
        if key not in fields:
            valid = ", ".join(fields) or "none"
            raise RecipeError(where, f"{field}_settings.{key}", value, f"{name} has the settings: {valid}")
    try:
        made: Source = TypeAdapter(kind).validate_python(dict(settings)) if fields else kind()
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join((f"{field}_settings", *(str(part) for part in first["loc"])))
        raise RecipeError(where, path, first.get("input"), first["msg"][0].lower() + first["msg"][1:]) from None
    return made
