"""One field of a recipe changed from the command line: `--set path=value`."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import RecipeError

WHERE = "--set"


def changed(data: dict[str, Any], changes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Change fields of a recipe before it is validated.

    Args:
        data: The recipe as read from its file; left as it is.
        changes: Values by dotted path; a piece of the path may be a position in a list, from 0.
        where: What an error names as the place.

    Returns:
        The changed recipe.

    Raises:
        RecipeError: If a path leads through something that has no fields.
    """
    copied = copy.deepcopy(data)
    for path, value in changes.items():
        pieces = path.split(".")
        if not all(pieces):
            raise RecipeError(where, path or "path", value, 'a path is needed, as in "stream.test_share"')
        _put(copied, pieces, copy.deepcopy(value), where)
    return copied


def override(data: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Change fields of a recipe before it is validated.

    Args:
        data: The recipe as read from its file; left as it is.
        settings: Each "path=value": the path has dots (and positions in lists, from 0), the value is TOML; a text
            without quotes is taken as it stands where it is no TOML ("agent.selector=fixed:finetune").

    Returns:
        The changed recipe.

    Raises:
        RecipeError: If one is not of this form, or its path leads through something that has no fields.
    """
    copied = copy.deepcopy(data)
    for text in settings:
        path, equals, written = text.partition("=")
        pieces = path.strip().split(".")
        if not equals or not all(pieces):
            raise RecipeError(WHERE, path.strip() or "path", text, 'write path=value, as in "stream.test_share=0.5"')
        _put(copied, pieces, parse(path.strip(), written.strip()), WHERE)
    return copied


def blamed(error: RecipeError, file: str, settings: Sequence[str]) -> RecipeError:
    """Say where settings that turned out wrong were given: settings know their table, not the file or option.

    Args:
        error: About a field of a table "strategies.NAME" or "agent.encoder_settings", or of an encoder's settings.
        file: The recipe's file or name.
        settings: What `--set` said.

    Returns:
        The same error about the file, or about "--set" where that has set the field; any other error as it is.
    """
    table = "agent.encoder_settings" if error.where.startswith("encoder ") else error.where
    if table != "agent.encoder_settings" and not table.startswith("strategies."):
        return error
    # What comes in is no setting: the encoder does not fit it.
    misfit = error.where.startswith("encoder ") and error.field == "input_shape"
    field = "agent.encoder" if misfit else f"{table}.{error.field}"
    paths = [each.partition("=")[0].strip() for each in settings]
    here = any(field == path or field.startswith(f"{path}.") or path.startswith(f"{field}.") for path in paths)
    return error.at(WHERE if here else file, f"{error.where}: {error.field}" if misfit else field)


def parse(path: str, written: str) -> Any:
    """Read a value.

    Args:
        path: The field it is for, for an error's sake.
        written: A TOML value, or a bare word.

    Returns:
        The value.

    Raises:
        RecipeError: If it is neither.
    """
    try:
        read = tomllib.loads(f"value = {written}")
        if list(read) == ["value"]:
            return read["value"]
    except tomllib.TOMLDecodeError:
        pass
    # Quotes and brackets announce TOML: what begins with one and cannot be read is a slip, not a word.
    if re.fullmatch(r"""[^\s"'\[{=#][^"\n=#]*""", written):
        return written
    raise RecipeError(WHERE, path, written, 'a TOML value is needed: 3, 0.5, true, "text", [1, 2] or {a = 1}')


def _put(data: dict[str, Any], pieces: list[str], value: Any, where: str) -> None:
    here: Any = data
    for depth, piece in enumerate(pieces):
        last = depth == len(pieces) - 1
        if isinstance(here, list):
            if not piece.isdecimal() or int(piece) >= len(here):
                path = ".".join(pieces[: depth + 1])
                raise RecipeError(where, path, piece, f"a position from 0 to {len(here) - 1} is needed")
            key: Any = int(piece)
        elif isinstance(here, dict):
            key = piece
            if not last:
                here.setdefault(key, {})
        else:
            raise RecipeError(where, ".".join(pieces[:depth]), here, f"it is a value and has no field {piece!r}")
        if last:
            here[key] = value
        else:
            here = here[key]
