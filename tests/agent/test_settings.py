from dataclasses import dataclass
from typing import Literal

import pytest

from evermap.agent.settings import configure, positive, setting
from evermap.errors import RecipeError


@dataclass(frozen=True)
class Knobs:
    """Some."""

    steps: int = setting(10, "How many.", "steps")
    lr: float = setting(0.1, "How far.")
    way: Literal["up", "down"] = setting("up", "Where to.")
    sizes: tuple[int, ...] = setting((1, 2), "How big.")

    def __post_init__(self):
        positive("knobs", steps=self.steps)


def test_defaults_and_values():
    assert configure(Knobs, {}, "here") == Knobs()
    made = configure(Knobs, {"steps": 3, "lr": 1, "way": "down", "sizes": [4]}, "here")
    assert made == Knobs(3, 1.0, "down", (4,))
    with pytest.raises(AttributeError):
        made.steps = 4


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"stepps": 3}, r"here: stepps: found 3; valid settings are steps, lr, way, sizes\."),
        ({"steps": "many"}, r"here: steps: found 'many'; input should be a whole number"),
        ({"steps": 1e99}, r"here: steps: found 1e\+99; input should be a whole number below 2\^63\.$"),
        ({"lr": "fast"}, r"here: lr: found 'fast'; input should be a number\.$"),
        ({"steps": 2.5}, r"here: steps: found 2\.5; input should be a whole number\.$"),
        ({"steps": 0}, r"knobs: steps: found 0; must be greater than 0\."),
        ({"steps": -1}, "must be greater than 0"),
        ({"way": "left"}, "here: way: found 'left'; input should be 'up' or 'down'"),
        ({"sizes": ["x"]}, r"here: sizes\.0: found 'x'"),
        ({"lr": None}, "here: lr: it is not given"),
    ],
)
def test_what_is_wrong_is_named(values, match):
    with pytest.raises(RecipeError, match=match) as caught:
        configure(Knobs, values, "here")
    assert caught.value.exit_code == 2


def test_nan_is_not_positive():
    with pytest.raises(RecipeError):
        positive("here", lr=float("nan"))
