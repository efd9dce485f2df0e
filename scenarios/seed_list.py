"""Seeds as they are written on the command line: "10" for how many, "3-7" or "0,4,9" for which."""

from __future__ import annotations

import re

from ..errors import UserError

# More would be a slip: every seed is a run.
MOST = 1000


def seeds_of(text: str, option: str = "--seeds") -> tuple[int, ...]:
    """Read a list of seeds.

    Args:
        text: "10" for seeds 0 to 9, or numbers and ranges with commas between them: "3-7", "0,4,9".
        option: What an error names as the place.

    Returns:
        The seeds in the order in which they were given.

    Raises:
        UserError: If it is no such list, names a seed twice, or holds more than 1,000.
    """
    if re.fullmatch(r"\s*\d{1,18}\s*", text):
        if not 1 <= int(text) <= MOST:
            raise UserError(f"{option} {text}: how many seeds? 1 to {MOST}; write {text}-{text} for the one seed.")
        return tuple(range(int(text)))
    found: list[int] = []
    for piece in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,18})\s*(?:-\s*(\d{1,18})\s*)?", piece)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            valid = "write how many (10 means 0 to 9), a range (3-7) or a list (0,4,9)"
            raise UserError(f"{option} {text}: {piece.strip()!r} is no seed; {valid}.")
        if last - first >= MOST or len(found) + last - first >= MOST:
            raise UserError(f"{option} {text}: these are more than {MOST} seeds.")
        found += range(first, last + 1)
    if len(set(found)) < len(found):
        raise UserError(f"{option} {text}: a seed is named twice; every run would count double.")
    return tuple(found)
