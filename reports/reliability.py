"""A reliability diagram: whether answers that are given with some probability are right that often."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .figures import Frame
from .units import count, known, percent

Json = Mapping[str, Any]
FRAME = Frame(220, 220, left=34, top=8, right=10, bottom=24)


def reliability(summary: Json) -> dict[str, Any]:
    """Lay out the diagram of the last row, and gather its numbers per test set.

    Args:
        summary: What `summary.summarise` gave.

    Returns:
        "dots" (place, place on the diagonal, what it says), "line" (SVG path), "error" (expected calibration error
        over all answers) and "rows": name, log-loss and calibration error of every test set. Empty where the record
        has none.
    """
    found = summary.get("calibration") or {}
    bins = found.get("bins") or []
    if not bins:
        return {}
    dots = []
    for each in bins:
        said = f"{count(each['samples'], 'answer')} given with {percent(each['confidence'])} % on average: "
        said += f"{percent(each['accuracy'])} % are right"
        x = FRAME.x(each["confidence"])
        dots.append((x, FRAME.y(each["accuracy"]), FRAME.y(each["confidence"]), said))
    whole = sum(each["samples"] for each in bins)
    gap = math.fsum(each["samples"] * abs(each["accuracy"] - each["confidence"]) for each in bins)
    rows = [
        {"name": concept["name"], "log_loss": loss, "ece": error}
        for concept, loss, error in zip(summary["concepts"], found["log_loss"], found["ece"], strict=False)
        if known(loss) or known(error)
    ]
    return {
        "frame": FRAME,
        "line": FRAME.path([(each["confidence"], each["accuracy"]) for each in bins]),
        "dots": dots,
        "error": gap / whole,
        "answers": whole,
        "rows": rows,
    }
