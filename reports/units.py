"""Numbers as people read them: percent, points, FLOPs, bytes, seconds; and text that is safe to print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeGuard

from ..errors import flop_count, three_digits

NA = "n/a"
MINUS = "−"


def known(value: float | None) -> TypeGuard[float]:
    """Tell whether there is a number to show.

    Args:
        value: A number, or None where it is undefined.

    Returns:
        False for None, NaN and infinities.
    """
    return value is not None and math.isfinite(value)


def percent(value: float | None, digits: int = 1) -> str:
    """Write a share as percent, without the sign.

    Args:
        value: The share, 0 to 1; None where it is undefined.
        digits: Digits after the point.

    Returns:
        "96.1", or "n/a".
    """
    if value is None or not math.isfinite(value):
        return NA
    text = f"{100 * value:.{digits}f}"
    return text.replace("-", MINUS) if float(text) else text.lstrip("-")


def points(value: float | None, digits: int = 1) -> str:
    """Write a difference of shares as percentage points, always with its sign.

    Args:
        value: The difference, -1 to 1; None where it is undefined.
        digits: Digits after the point.

    Returns:
        "+3.1", "−3.1", "0.0" or "n/a".
    """
    text = percent(value, digits)
    return text if text == NA or text.startswith(MINUS) or not float(text) else f"+{text}"


def score(value: float | None, regression: bool = False, digits: int = 1) -> str:
    """Write a score as it stands in a table: an accuracy in percent, R² as a decimal number.

    Args:
        value: The score; None where it is undefined.
        regression: Whether it is R².
        digits: Digits after the point of a percentage; R² has one more.

    Returns:
        "96.1", "0.96", or "n/a".
    """
    if regression:
        return decimal(value, digits + 1) if known(value) else NA
    return percent(value, digits)


def change(value: float | None, regression: bool = False, digits: int = 1) -> str:
    """Write a difference of scores with its sign: of accuracies in points, of R² as a decimal number.

    Args:
        value: The difference; None where it is undefined.
        regression: Whether it is one of R².
        digits: Digits after the point of a percentage; R² has one more.

    Returns:
        "+3.1", "−0.03", "0.0", or "n/a".
    """
    if not regression:
        return points(value, digits)
    text = score(value, True, digits)
    if text == NA or not float(text.replace(MINUS, "-")):
        return text.lstrip(MINUS)
    return text if text.startswith(MINUS) else f"+{text}"


def scored(value: float | None, regression: bool = False) -> str:
    """Write a score with its unit, for use in a sentence.

    Args:
        value: The score; None where it is undefined.
        regression: Whether it is R².

    Returns:
        "96.1 %", "R² 0.96", or "n/a".
    """
    if not known(value):
        return NA
    return f"R² {score(value, True)}" if regression else f"{percent(value)} %"


def flops(value: float | None) -> str:
    """Write a number of floating-point operations with three significant digits.

    Args:
        value: FLOPs; None where it is not known.

    Returns:
        "1.24 GFLOP", or "n/a".
    """
    if value is None or not math.isfinite(value):
        return NA
    return flop_count(value)


def size(value: float | None) -> str:
    """Write a number of bytes, in decimal units.

    Args:
        value: Bytes; None where it is not known.

    Returns:
        "412 kB", or "n/a".
    """
    if value is None or not math.isfinite(value):
        return NA
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(value) >= 0.9995 * factor:
            return f"{three_digits(value / factor)} {unit}"
    return f"{value:.0f} B"


def seconds(value: float | None) -> str:
    """Write a duration.

    Args:
        value: Seconds; None where it is not known.

    Returns:
        "35 ms", "8.1 s", "2 min 05 s", "3 h 07 min", or "n/a".
    """
    if value is None or not math.isfinite(value):
        return NA
    if value < 0.0995:
        return f"{1000 * value:.0f} ms"
    if value < 59.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Write how many there are of something.

    Args:
        number: How many.
        noun: What, in the singular.
        plural: What, in the plural, where it is not the singular with an s.

    Returns:
        "1 task", "3 tasks".
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def plain(text: object) -> str:
    """Make a name safe to print: one line, no control characters that a terminal would obey.

    Args:
        text: Anything; names come from recipes, plug-ins and records.

    Returns:
        The text, each run of white space as one space, everything unprintable as "?".
    """
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(text).split()))


def decimal(value: float | None, digits: int = 3) -> str:
    """Write a number with so many digits after the point.

    Args:
        value: A number; None where there is none.
        digits: Digits after the point.

    Returns:
        "0.913", "−0.029", or "–".
    """
    return f"{value:.{digits}f}".replace("-", MINUS) if known(value) else "–"


def sentence(text: object) -> str:
    """Write a remark as a sentence: a capital at its beginning, unless it begins with an id, and a full stop.

    Args:
        text: The remark.

    Returns:
        The sentence, safe to print.
    """
    words = plain(text)
    first = words.partition(" ")[0]
    if first.isalpha():
        words = words[0].upper() + words[1:]
    return words if not words or words[-1] in ".!?…" else f"{words}."


def ranges(numbers: Sequence[int]) -> str:
    """Write whole numbers with runs drawn together.

    Args:
        numbers: In ascending order.

    Returns:
        "1, 3–5".
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)
