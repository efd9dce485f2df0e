"""Hyperparameters as frozen dataclasses: checked when they are set, described by their fields."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ..errors import RecipeError

T = TypeVar("T")
# What pydantic says, as somebody says it who writes TOML.
_WORDS = (
    (r"an object", "a table"),
    (r"a valid array", "a list"),
    (r"a valid tuple", "a list"),
    (r"tuple should", "the list should"),
    (r" after validation, not 0", ""),
    (
        r"(input .*, )?unable to .*exceeded maximum size",
        "input should be a whole number below 2^63",
    ),
    (r"a valid integer", "a whole number"),
    (r"a valid number", "a number"),
    (r"a valid boolean", "true or false"),
    (r"a valid string", "a text"),
    (r", (unable to (parse|interpret)|got a number with a fractional).*", ""),
)


def in_plain_words(message: str) -> str:
    """Say what a parser says as somebody says it who writes TOML.

    Args:
        message: What pydantic says is wrong with a value.

    Returns:
        What is valid: "input should be a whole number".
    """
    message = message.removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    for theirs, ours in _WORDS:
        message = re.sub(theirs, ours, message)
    return message


def setting(default: Any, help: str, unit: str = "") -> Any:
    """Declare one hyperparameter.

    Args:
        default: Its default, immutable.
        help: One sentence.
        unit: What it is counted in.

    Returns:
        A dataclass field.
    """
    return dataclasses.field(default=default, metadata={"help": help, "unit": unit})


def configure(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Make a settings object, checking names and types.

    Args:
        kind: A frozen dataclass.
        values: Field values.
        where: What the error names as the place ("strategies.finetune").

    Returns:
        The settings.

    Raises:
        RecipeError: If a field is unknown, or its value is of the wrong type or out of range.
    """
    fields = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]  # T is a dataclass
    for name in values:
        if name not in fields:
            raise RecipeError(where, name, values[name], f"valid settings are {', '.join(fields) or 'none'}")
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        first, *rest = error.errors()
        path, found, said = ".".join(map(str, first["loc"])) or "settings", first.get("input"), [first["msg"]]
        same = [other["msg"] for other in rest if other["loc"][:1] == first["loc"][:1]]
        if same and first["loc"]:  # a field of which several kinds of values are valid
            path, found, said = str(first["loc"][0]), values.get(str(first["loc"][0])), [*said, *same]
        valid = ", or ".join(dict.fromkeys(map(in_plain_words, said)))
        raise RecipeError(where, path, found, valid) from None


def positive(where: str, **values: float) -> None:
    """Check that settings are greater than zero.

    Args:
        where: What the error names as the place.
        **values: Settings by name.

    Raises:
        RecipeError: For the first that is not.
    """
    for name, value in values.items():
        if not value > 0:
            raise RecipeError(where, name, value, "must be greater than 0")
