"""From a name to the object registered under it: entry points and plug-in files, imported when they are asked for."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from .errors import PluginError, UnknownName

# kind in the singular -> entry-point group
GROUPS: Mapping[str, str] = {
    "strategy": "evermap.strategies",
    "selector": "evermap.selectors",
    "encoder": "evermap.encoders",
    "source": "evermap.sources",
}

_from_files: dict[str, dict[str, Registered]] = {kind: {} for kind in GROUPS}


@dataclass(frozen=True)
class Registered:
    """One registered object: its kind and name, where it comes from, how to get it, what it replaces, a file's hash."""

    kind: str
    name: str
    origin: str
    target: EntryPoint | type[Any]
    replaces: str | None = None
    sha256: str = ""

    def load(self) -> Any:
        """Import the object.

        Returns:
            The class that is registered.

        Raises:
            PluginError: If importing fails; names the plug-in and what was raised.
        """
        if not isinstance(self.target, EntryPoint):
            return self.target
        try:
            return self.target.load()
        except Exception as error:
            raise PluginError(
                f"{self.kind} {self.name!r} from {self.origin} ({self.target.value}) cannot be imported: "
                f"{type(error).__name__}: {error}"
            ) from error


def registered(kind: str) -> dict[str, Registered]:
    """List everything of one kind without importing it.

    Args:
        kind: A key of `GROUPS`.

    Returns:
        Name to registration, sorted by name; plug-in files stand before entry points of the same name.
    """
    return dict(sorted({**_installed(kind), **_from_files[kind]}.items()))


@cache
def _installed(kind: str) -> Mapping[str, Registered]:
    """Look through what is installed, once per process: it takes milliseconds, and every network is built by name."""
    return {
        point.name: Registered(kind, point.name, point.dist.name if point.dist else "an installed package", point)
        for point in entry_points(group=GROUPS[kind])
    }


def load(kind: str, name: str) -> Any:
    """Import what is registered under a name.

    Args:
        kind: A key of `GROUPS`.
        name: The registered name.

    Returns:
        The registered class.

    Raises:
        UnknownName: If nothing is registered under it; suggests the nearest names.
        PluginError: If it cannot be imported.
    """
    known = registered(kind)
    if name not in known:
        raise UnknownName(kind, name, known)
    return known[name].load()


def plugin_files() -> dict[str, str]:
    """List the plug-in files that something is registered from.

    Returns:
        Name of the file to the SHA-256 of what it held when it was imported, sorted by name.
    """
    found = {entry.origin: entry.sha256 for kind in _from_files.values() for entry in kind.values()}
    return {Path(origin).name: digest for origin, digest in sorted(found.items())}


def add_file(path: Path) -> list[Registered]:
    """Register the strategies, selectors, encoders and sources that a Python file defines.

    A class counts when the file itself defines it, it is not abstract, and it carries `registry_kind` (inherited from
    its interface) and `name`.

    Args:
        path: The user's file.

    Returns:
        What the file added, in the order of definition.

    Raises:
        PluginError: If the file is missing, raises while it is imported, or defines nothing of these.
    """
    if not path.is_file():
        raise PluginError(f"--plugin {path}: there is no such file.")
    module_name = f"evermap_plugin_{path.stem}"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"--plugin {path}: this is not a Python file (its name must end in .py).")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[module_name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise PluginError(f"--plugin {path} cannot be imported: {type(error).__name__}: {error}") from error
    added = []
    for thing in vars(module).values():
        kind, name = getattr(thing, "registry_kind", None), getattr(thing, "name", None)
        defined_here = inspect.isclass(thing) and thing.__module__ == module_name and not inspect.isabstract(thing)
        if defined_here and isinstance(kind, str) and kind in GROUPS and isinstance(name, str):
            taken = _installed(kind).get(name)
            entry = Registered(kind, name, str(path), thing, taken.origin if taken else None, digest)
            _from_files[kind][name] = entry
            added.append(entry)
    if not added:
        raise PluginError(
            f"--plugin {path} defines no strategy, selector, encoder or source: "
            "subclass evermap.agent.strategy.Strategy (or Selector, Encoder, Source) and give it a `name`."
        )
    return added
