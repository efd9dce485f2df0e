"""The competitors for reading: what each is, in which settings it runs, what it needs and is set with."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from .competitor import BOUNDS, PREFIX, Method, parse, table


def listed_baselines() -> list[dict[str, Any]]:
    """Describe every competitor.

    Returns:
        For each "kind" ("baseline"), "name" (as `--agent` takes it), "description", "origin", "source" (the paper),
        "settings" in which it runs, "needs" (packages), "missing" (those of them that are not installed), and
        "arguments": name, default, sentence, and "found", the defaults that differ in a setting.
    """
    rows = [_row(name, about, "evermap", "", settings) for name, (about, settings) in BOUNDS.items()]
    for method in table().values():
        row = _row(f"{PREFIX}:{method.name}", method.about, "avalanche", method.source, method.settings)
        row["needs"] = list(method.needs)
        row["missing"] = [package for package in method.needs if find_spec(package) is None]
        row["arguments"] = [
            {"name": each.name, "default": each.default, "help": each.help, "found": _found(method, each.name)}
            for each in method.arguments
        ]
        rows.append(row)
    return rows


def shown_baseline(text: str) -> dict[str, Any]:
    """Describe one competitor in full, in the form in which registered objects are described.

    Args:
        text: As `--agent` takes it.

    Returns:
        "kind", "name", "origin", "description", "background" and "settings", its hyperparameters.

    Raises:
        UserError: If there is none of this name.
    """
    name = parse(text).name
    row = next(each for each in listed_baselines() if each["name"].removeprefix(f"{PREFIX}:") == name)
    background = f"It can be run on streams that are {', '.join(row['settings'])}."
    if row["needs"]:
        background += f" It needs {', '.join(row['needs'])}" + (", not installed." if row["missing"] else ".")
    return {
        "kind": "baseline",
        "name": row["name"],
        "origin": row["origin"],
        "description": row["description"] + (f" {row['source']}." if row["source"] else ""),
        "background": background,
        "settings": [
            {
                "name": a["name"],
                "default": a["default"],
                "unit": "",
                "help": a["help"] + _said(a["found"]),
                "values": [],
            }
            for a in row["arguments"]
        ],
    }


def _row(name: str, about: str, origin: str, source: str, settings: tuple[str, ...]) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": "baseline", "name": name, "description": about, "origin": origin, "source": source}
    return row | {"settings": list(settings), "needs": [], "missing": [], "arguments": []}


def _found(method: Method, argument: str) -> dict[str, Any]:
    found: Mapping[str, Mapping[str, Any]] = method.defaults
    return {setting: values[argument] for setting, values in found.items() if argument in values}


def _said(found: Mapping[str, Any]) -> str:
    return (
        f" Found on pilot seeds: {', '.join(f'{value} ({where})' for where, value in found.items())}." if found else ""
    )
