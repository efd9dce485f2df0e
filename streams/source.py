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

    from .on_demand import OnDemand
    from .scaling import Scaling


def source_setting(default: Any, help: str, unit: str = "") -> Any:
    """Declare one setting of a source.

    Args:
        default: Its default, immutable; `...` where the user has to give it.
        help: One sentence.
        unit: What it is counted in.

    Returns:
        A dataclass field.
    """
    about = {"help": help, "unit": unit}
    return dataclasses.field(metadata=about) if default is ... else dataclasses.field(default=default, metadata=about)


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
        x: Inputs, shape `(n, *input_shape)`; images are `(n, channels, height, width)`. Either float32, in [0, 1] but
            for tables, or uint8, which takes a quarter of the memory: 0 to 255 then stand for 0 to 1 (see `take`).
            `OnDemand` where making them takes long and a stream may need few.
        y: Class of every sample, int64, shape `(n,)`, from 0.
        classes: Readable name of every class.
        kind: What the inputs are: "image", "text" or "table"; decides which transforms and which stem fit.
        parts: Indices of the training and of the test samples where the source brings its own split, else None.
        families: Number of classes of every family (an alphabet, a domain), in the order of the classes; empty where
            the classes have none.
        ids: Global class id of every class, where classes of several families are one and the same (a class that
            another experience of a benchmark shows differently); empty where every class is its own.
        targets: Regression: what is to be predicted, float32, shape `(n, outputs)`; a "class" is then a function.
        numbers: Columns of a table that a stream standardises by its training samples, once it knows them; NaN stands
            for what is missing there.
        scaling: What these columns are standardised by; None before `fitted`.
        table: How rows of the user's own table become inputs (`formats.rows.described`); None where they are no rows.
    """

    x: Tensor | OnDemand
    y: Tensor
    classes: tuple[str, ...]
    kind: str = "image"
    parts: tuple[Tensor, Tensor] | None = None
    families: tuple[int, ...] = ()
    ids: tuple[int, ...] = ()
    targets: Tensor | None = None
    numbers: tuple[int, ...] = ()
    scaling: Scaling | None = None
    table: Mapping[str, Any] | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.x.shape[1:])

    def fitted(self, train: Tensor) -> SourceData:
        """Measure on the training samples what a table's numbers are standardised by.

        Args:
            train: Positions of the training samples, int64.

        Returns:
            The same samples, whose inputs `take` standardises.
        """
        if not self.numbers:
            return self
        from .scaling import fit  # here, so that sizes are known without loading torch

        return dataclasses.replace(self, scaling=fit(self.x, self.numbers, train))

    def take(self, index: Tensor) -> Tensor:
        """Get some of the inputs, as learners see them.

        Args:
            index: Positions, int64, shape `(m,)`.

        Returns:
            Inputs, float32, shape `(m, *input_shape)`, copied.
        """
        x = self.x[index]
        if not x.is_floating_point():
            x = x.float().div_(255)
        return x if self.scaling is None else self.scaling.apply(x)

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
        """Hash inputs (`OnDemand`: what they are made of), classes and split, for a run's record."""
        from .on_demand import OnDemand

        about = (tuple(self.x.shape), self.classes, self.kind, *self.ids, *([self.numbers] if self.numbers else []))
        digest = hashlib.sha256(repr(about).encode())
        if isinstance(self.x, OnDemand):
            digest.update(bytes.fromhex(self.x.sha256))
        inputs = () if isinstance(self.x, OnDemand) else (self.x,)
        for tensor in (*inputs, self.y, *(self.parts or ()), *(() if self.targets is None else (self.targets,))):
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()


class Source(ABC):
    """Something that gives labelled samples; a frozen dataclass whose fields are its settings.

    `load` and `sizes` only read. What has to be fetched first, `download` fetches, and only where the user asks for it.
    """

    registry_kind: ClassVar[str] = "source"
    name: ClassVar[str]
    # Settings that are paths: in a recipe relative to its file, else to the data root (see `source_files`).
    paths: ClassVar[tuple[str, ...]] = ()

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

        Raises:
            DataMissing: As `load` does.
        """
        return None

    def download(self, root: Path) -> None:
        """Fetch the files that are missing; the only thing here that may use the network.

        Args:
            root: Folder that holds the user's data sets; may be written to.

        Raises:
            UserError: If they cannot be fetched.
        """
        return


def make_source(
    name: str,
    settings: Mapping[str, Any],
    where: str,
    field: str = "stream.source",
    settings_field: str = "stream.source_settings",
) -> Source:
    """Make a registered source with its settings.

    Args:
        name: Its registered name.
        settings: Values of its fields.
        where: The file, or what else an error names as the place.
        field: Dotted path of the name in the recipe.
        settings_field: Dotted path of the settings in the recipe.

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
            raise RecipeError(where, f"{settings_field}.{key}", value, f"{name} has the settings: {valid}")
    try:
        made: Source = TypeAdapter(kind).validate_python(dict(settings)) if fields else kind()
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join((settings_field, *(str(part) for part in first["loc"])))
        if first["type"].startswith("missing"):
            about = next(each for each in dataclasses.fields(kind) if each.name == first["loc"][-1])
            raise RecipeError(
                where, path, None, f"{name} needs it: {about.metadata.get('help', '').rstrip('.')}"
            ) from None
        raise RecipeError(where, path, first.get("input"), first["msg"][0].lower() + first["msg"][1:]) from None
    return made
