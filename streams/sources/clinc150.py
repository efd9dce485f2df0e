"""CLINC150: what people say to an assistant, 150 intents in ten domains, as hashed character n-grams."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ...errors import DataError
from ..source import Sizes, Source, SourceData, source_setting
from .files import DataSet, by_url

if TYPE_CHECKING:
    from torch import Tensor

_URL = "https://raw.githubusercontent.com/clinc/oos-eval/master/data/"
_MD5 = {"data_full.json": "30c29dc6ab78edf3b5dfa640be204cde", "domains.json": "9beee9d0f36e07e914c1e3a626bdcb4a"}
_OUT_OF_SCOPE = "out of scope"


@dataclass(frozen=True)
class Clinc150(Source):
    """What people say to an assistant: 150 intents in ten domains, as text (Larson et al. 2019, arXiv 1909.02027).

    Every text is a vector of hashed character n-grams. Classes are called "domain/intent" and stand in alphabetical
    order, so that the intents of a domain stand side by side; the domains are their families.
    """

    name: ClassVar[str] = "clinc150"
    version: Literal["full", "small", "imbalanced", "oos_plus"] = source_setting(
        "full",
        'Which of the four files of the publisher: data_VERSION.json ("full" has 100 training texts per intent).',
    )
    features: Annotated[int, Field(ge=2)] = source_setting(4096, "Size of a text's vector.", "features")
    shortest: Annotated[int, Field(ge=1)] = source_setting(2, "Least length of an n-gram.", "characters")
    longest: Annotated[int, Field(ge=1)] = source_setting(5, "Greatest length of an n-gram.", "characters")
    validation: bool = source_setting(True, "Whether the validation texts are added to the training part.")
    out_of_scope: bool = source_setting(
        False, "Whether texts that belong to no intent are a class of their own, the last one."
    )

    def __post_init__(self) -> None:
        if self.shortest > self.longest:
            raise ValueError(f"shortest ({self.shortest}) must not be above longest ({self.longest})")

    def load(self, root: Path | None) -> SourceData:
        """Load the texts; `x` has shape `(n, features)`, training texts first, and is hashed on demand.

        Args:
            root: Folder that holds the user's data sets.

        Returns:
            The samples, with the publisher's own split.

        Raises:
            DataMissing: If a file is missing.
            DataError: If one does not hold what it must hold.
        """
        import torch

        from ..on_demand import OnDemand

        classes, families = self._classes(root)
        train, test = self._texts(root, classes)
        number = {name: k for k, name in enumerate(classes)}
        texts = [text for text, _ in (*train, *test)]
        made_of = hashlib.sha256(json.dumps([self.shortest, self.longest, texts]).encode())
        x = OnDemand((len(texts), self.features), torch.float32, partial(self._hashed, texts), made_of.hexdigest())
        y = torch.tensor([number[name] for _, name in (*train, *test)])
        parts = torch.arange(len(train)), torch.arange(len(train), len(y))
        return SourceData(x, y, classes, "text", parts, families)

    def sizes(self, root: Path | None) -> Sizes:
        """Say how much there is: the texts are read, and not hashed.

        Args:
            root: As in `load`.
        """
        classes, families = self._classes(root)
        train, test = (Counter(name for _, name in part) for part in self._texts(root, classes))
        counts = (tuple(part[name] for name in classes) for part in (train, test))
        return Sizes(next(counts), (self.features,), next(counts), "text", families)

    def download(self, root: Path) -> None:
        """Fetch the files from the publisher.

        Args:
            root: Folder that holds the user's data sets.
        """
        names = (f"data_{self.version}.json", "domains.json")
        by_url(self.name, root, "clinc150", [(_URL + name, name, _MD5.get(name)) for name in names])

    def _hashed(self, texts: Sequence[str], positions: list[int]) -> Tensor:
        """Hash some of the texts: those at these positions, shape `(m, features)`."""
        import torch

        from ..formats.ngrams import hashed_ngrams

        wanted = [texts[position] for position in positions]
        return torch.from_numpy(hashed_ngrams(wanted, self.features, self.shortest, self.longest))

    def _find(self, root: Path | None, name: str) -> Path:
        return DataSet(self.name, ("clinc150", "oos-eval/data"), "2.5 MB").find(root, name)

    def _classes(self, root: Path | None) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Return the classes in their order, and the number of them in every family."""
        path = self._find(root, "domains.json")
        domains = _read(path)
        for domain, intents in domains.items():
            if not _is_texts(intents):
                raise DataError(f"{path}: {domain}: found {type(intents).__name__}; a list of intents is needed.")
        classes = [f"{domain}/{intent}" for domain in sorted(domains) for intent in sorted(domains[domain])]
        families = [len(domains[domain]) for domain in sorted(domains)]
        last = [_OUT_OF_SCOPE] if self.out_of_scope else []
        return (*classes, *last), (*families, *(1 for _ in last))

    def _texts(self, root: Path | None, classes: Sequence[str]) -> list[list[tuple[str, str]]]:
        """Return text and class of every training and of every test sample."""
        path = self._find(root, f"data_{self.version}.json")
        data = _read(path)
        named = {name.partition("/")[2] or "oos": name for name in classes}
        training = ["train", *(["val"] if self.validation else [])]
        parts = []
        for wanted in (training, ["test"]):
            keys = [*wanted, *(f"oos_{key}" for key in wanted if self.out_of_scope)]
            parts.append([pair for key in keys for pair in _pairs(data, key, named, path)])
        return parts


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: is no JSON file in UTF-8, or damaged: {error}.") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: found {type(found).__name__}; a JSON object is needed.")
    return found


def _pairs(data: dict[str, Any], key: str, named: dict[str, str], path: Path) -> list[tuple[str, str]]:
    """Check one list of [text, intent], and give the intents their full names."""
    pairs = data.get(key)
    if not isinstance(pairs, list):
        raise DataError(f"{path}: {key}: found {type(pairs).__name__}; a list of [text, intent] is needed.")
    for i, pair in enumerate(pairs):
        if not _is_texts(pair) or len(pair) != 2:
            raise DataError(f"{path}: {key}: entry {i} is {str(pair)[:60]!r}; a pair [text, intent] is needed.")
        if pair[1] not in named:
            raise DataError(f"{path}: {key}: entry {i} has the intent {pair[1]!r}, which domains.json does not name.")
    return [(text, named[intent]) for text, intent in pairs]


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
