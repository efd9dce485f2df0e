"""A measure as plain data with its text, as `summary.json` holds it and tables show it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from ..scenarios.measure import Measure
from . import units

Form = Literal["score", "change", "share", "factor", "nats", "flops", "seconds", "size"]
_UNITS: dict[Form, str] = {"score": "%", "change": "points", "share": "%", "nats": "nats"}


class Writer:
    """Writes measures of one run.

    Attributes:
        regression: Whether its scores are R².
    """

    def __init__(self, regression: bool) -> None:
        """Write nothing yet.

        Args:
            regression: Whether its scores are R².
        """
        self.regression = regression

    def __call__(self, group: str, measure: Measure, form: Form) -> dict[str, Any]:
        """Write a measure.

        Args:
            group: Where it belongs ("transfer").
            measure: The measure.
            form: What kind of number it is.
        """
        of_r2 = (lambda words: words.replace("accuracy", "R²")) if self.regression else str
        title = of_r2(measure.name)
        in_r2 = self.regression and form in ("score", "change")
        return {
            "group": group,
            "name": measure.name,
            "title": title[0].upper() + title[1:],
            "value": measure.value,
            "text": self._text(measure.value, form),
            "unit": "" if in_r2 else _UNITS.get(form, ""),
            "reason": measure.reason,
            "convention": of_r2(measure.convention),
        }

    def _text(self, value: float | None, form: Form) -> str:
        if value is None:
            return units.NA
        if form in ("score", "change"):
            return (units.score if form == "score" else units.change)(value, self.regression)
        plain: dict[Form, Callable[[float | None], str]] = {
            "share": units.percent,
            "flops": units.flops,
            "seconds": units.seconds,
            "size": units.size,
        }
        return plain[form](value) if form in plain else units.decimal(value, 2)
