"""Omniglot: 1,623 handwritten characters of fifty alphabets, each drawn by twenty people."""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ...errors import DataError
from ..source import Sizes, Source, SourceData, source_setting
from .files import DataSet, by_torchvision, read_bytes

if TYPE_CHECKING:
    from torch import Tensor

# An alphabet's folder, a character's folder, a drawing: what is listed in any order is sorted by these.
_DRAWING = re.compile(r"(?:^|/)([^/]+)/(character\d+)/([^/.][^/]*\.png)$")
# How a PNG file begins and ends; what does not is found before anything is learned, though it is decoded later.
_BEGINS, _ENDS = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


@dataclass(frozen=True)
class Omniglot(Source):
    """1,623 handwritten characters of fifty alphabets, each drawn once by twenty people (Lake et al. 2015).

    Ink is 1 and paper 0. Classes stand in the order of alphabets and characters, the background's first, whatever order
    the folders are listed in; their families are the alphabets. Vinyals et al. (2016) and Santoro et al. (2016) learn
    from 1,200 characters and take each of them, turned by a quarter, as a class of its own: that is `rotations`.
    """

    name: ClassVar[str] = "omniglot"
    part: Literal["both", "background", "evaluation"] = source_setting(
        "both",
        'Which alphabets: the 30 of the "background" (964 characters), the 20 for "evaluation" (659), or "both".',
    )
    size: Annotated[int, Field(ge=8, le=105)] = source_setting(28, "Side that the images are resized to.", "pixels")
    rotations: bool = source_setting(
        False, "Whether every character turned by 90, 180 and 270 degrees is a class of its own as well."
    )

    def load(self, root: Path | None) -> SourceData:
        """Load the drawings; `x` has shape `(n, 1, size, size)`, uint8, and is decoded on demand.

        Args:
            root: Folder that holds the user's data sets.

        Returns:
            The samples; Omniglot has no split of its own within a character.

        Raises:
            DataMissing: If the files are missing.
            DataError: If one is damaged.
        """
        import torch

        from ..on_demand import OnDemand

        drawings = self._drawings(root)
        files, digest = [], hashlib.sha256()
        for each in drawings:
            for name, content in each.contents():
                files.append((f"{each.place}: {name}", content))
                digest.update(len(content).to_bytes(8, "big"))  # so that no two sets of files read the same
                digest.update(content)
        turns, samples = len(self._turns), [len(files) for each in drawings for files in each.of.values()]
        drawn = torch.arange(len(samples)).repeat_interleave(torch.tensor(samples))
        # The classes made of one character stand side by side, so that an alphabet's do.
        y = (drawn[:, None] * turns + torch.arange(turns)).flatten()
        shape = (len(y), 1, self.size, self.size)
        x = OnDemand(shape, torch.uint8, partial(self._decoded, files), digest.hexdigest())
        return SourceData(x, y, self._classes(drawings), families=self._families(drawings))

    def sizes(self, root: Path | None) -> Sizes:
        """Say how much there is, from the names of the files.

        Args:
            root: As in `load`.
        """
        drawings = self._drawings(root)
        samples = tuple(len(files) for each in drawings for files in each.of.values() for _ in self._turns)
        return Sizes(samples, (1, self.size, self.size), families=self._families(drawings))

    def download(self, root: Path) -> None:
        """Fetch the files with torchvision.

        Args:
            root: Folder that holds the user's data sets.
        """
        for part in self._parts():
            by_torchvision(self.name, root, "Omniglot", background=part == "background")

    @property
    def _turns(self) -> tuple[str, ...]:
        """What is added to a character's name, for each of the classes made of it."""
        return ("", " 90°", " 180°", " 270°") if self.rotations else ("",)

    def _decoded(self, files: Sequence[tuple[str, bytes]], positions: list[int]) -> Tensor:
        """Decode and turn some of the samples.

        Args:
            files: Place and bytes of every drawing.
            positions: Of the samples that are wanted, shape `(m,)`.

        Returns:
            Shape `(m, 1, size, size)`, uint8.
        """
        import numpy as np
        import torch

        from ..formats.pictures import read_picture

        images = []
        for position in positions:
            drawing, turn = divmod(position, len(self._turns))
            where, content = files[drawing]
            ink = 255 - read_picture(content, (self.size, self.size), grey=True, where=where)
            images.append(np.rot90(ink, turn, axes=(1, 2)))
        return torch.from_numpy(np.stack(images))

    def _parts(self) -> tuple[str, ...]:
        return ("background", "evaluation") if self.part == "both" else (self.part,)

    def _drawings(self, root: Path | None) -> list[_Drawings]:
        data_set = DataSet(self.name, ("omniglot-py", "omniglot/python"), "15 MB")
        return [_Drawings(data_set.find(root, f"images_{part}", f"images_{part}.zip")) for part in self._parts()]

    def _classes(self, drawings: list[_Drawings]) -> tuple[str, ...]:
        """Return the name of every class: "Greek/character01", "Greek/character01 90°"."""
        characters = [f"{alphabet}/{character}" for each in drawings for alphabet, character in each.of]
        return tuple(f"{character}{turn}" for character in characters for turn in self._turns)

    def _families(self, drawings: list[_Drawings]) -> tuple[int, ...]:
        """Return the number of classes of every alphabet."""
        counts = (Counter(alphabet for alphabet, _ in each.of) for each in drawings)
        return tuple(n * len(self._turns) for count in counts for n in count.values())


class _Drawings:
    """The drawings of one part, in a folder or in a zip file, listed.

    Attributes:
        place: The folder or the zip file.
        of: Files of every character, by alphabet and character, all sorted.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        found: dict[tuple[str, str], list[str]] = {}
        for name in sorted(self._names()):
            if match := _DRAWING.search(name):
                found.setdefault((match[1], match[2]), []).append(name)
        if not found:
            raise DataError(f"{place}: holds no drawings; they are ALPHABET/characterNN/NAME.png.")
        self.of = dict(sorted(found.items()))

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Read the drawings in their order: name and bytes of each."""
        for name, content in self._read():
            if not (content.startswith(_BEGINS) and content.endswith(_ENDS)):
                raise DataError(f"{self.place}: {name}: is no picture, or damaged: it is no whole PNG file.")
            yield name, content

    def _read(self) -> Iterator[tuple[str, bytes]]:
        names = [name for files in self.of.values() for name in files]
        if self.place.is_dir():
            for name in names:
                yield name, read_bytes(self.place / name)
            return
        with zipfile.ZipFile(self.place) as archive:
            for name in names:
                try:
                    yield name, archive.read(name)
                except (OSError, zipfile.BadZipFile, zlib.error) as error:
                    raise DataError(f"{self.place}: {name} is damaged: {error}.") from error

    def _names(self) -> list[str]:
        if self.place.is_dir():
            return [path.relative_to(self.place).as_posix() for path in self.place.glob("*/*/*.png")]
        try:
            with zipfile.ZipFile(self.place) as archive:
                return archive.namelist()
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{self.place}: is no zip file, or damaged: {error}.") from error
