"""What was typed and cannot be parsed, as one sentence: where, what was found, what is valid."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

# What the parser says of a value, and how everything else here says what is valid.
_VALID = (
    (r"valid integer", "a whole number is needed"),
    (r"valid number", "a number is needed"),
    (r"greater than or equal to (\S+)", r"it must be at least \1"),
    (r"less than or equal to (\S+)", r"it must be at most \1"),
    (r"is not one of (.*?)\.?$", r"valid are \1"),
)


def misused(error: Exception, typed: Sequence[str]) -> str | None:
    """Say in one sentence what cannot be parsed.

    Args:
        error: What the parser raised.
        typed: What the user typed behind "evermap".

    Returns:
        The sentence, with the help that lists what is valid; empty where help was shown already, because nothing was
        typed; None where the error is not the parser's.
    """
    if not hasattr(error, "format_message"):
        return None
    if type(error).__name__ == "NoArgsIsHelpError":
        return ""
    context = getattr(error, "ctx", None)
    help_ = f"`{context.command_path if context is not None else 'evermap'} --help` says how it is used."
    parameter = getattr(error, "param", None)
    said = str(getattr(error, "message", ""))
    for pattern, valid in _VALID:
        match = re.search(pattern, said)
        if match and parameter is not None:
            found = _found(parameter.opts, typed, said)
            place = parameter.opts[-1] if parameter.opts[-1].startswith("-") else parameter.display_name_raw
            return f"{place}: found {found}; {match.expand(valid).replace(chr(39), '')}."
    words = " ".join(error.format_message().split()).rstrip(".")
    return f"{words}. {help_}"


def _found(options: Sequence[str], typed: Sequence[str], said: str) -> str:
    """Write the value that was typed, as the error has it or as it stands behind its option."""
    quoted: Any = re.search(r"('[^']*') is not one of", said)
    if quoted:
        return str(quoted[1])
    for word, following in zip(typed, [*typed[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in options:
            return repr(value if equals else following)
    return "something else"
