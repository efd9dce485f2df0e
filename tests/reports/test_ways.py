from typing import Any

import pytest

from evermap.reports.ways import bars, ranked


def chosen(
    *considered: tuple[str, str | None, float | None, str | None], pick: tuple[str, str | None]
) -> dict[str, Any]:
    names = ("strategy", "source", "score", "why_not")
    ways = [dict(zip(names, each, strict=True)) for each in considered]
    return {"strategy": pick[0], "source": pick[1], "considered": ways}


def test_the_chosen_way_first_then_the_best_of_every_strategy_then_the_rest() -> None:
    event = chosen(
        ("finetune", "encoder-1", 0.5, None),
        ("finetune", "encoder-2", 0.9, None),
        ("reuse", None, None, "the store is empty"),
        ("prototype", "stem", 0.6, None),
        ("prototype", "raw", 0.7, None),
        pick=("finetune", "encoder-1"),
    )
    ways = ranked(event)
    assert [(way.strategy, way.source) for way in ways] == [
        ("finetune", "encoder-1"),
        ("prototype", "raw"),
        ("reuse", None),
        ("finetune", "encoder-2"),
        ("prototype", "stem"),
    ]
    assert [way.leads for way in ways] == [True, True, True, False, False]
    assert [way.picked for way in ways] == [True, False, False, False, False]


def test_a_selector_that_lists_nothing_still_shows_what_it_chose() -> None:
    (way,) = ranked(chosen(pick=("scratch", None)))
    assert way.picked
    assert way.leads
    assert way.score is None


@pytest.mark.parametrize(
    ("scores", "lengths"),
    [
        ([0.9, 0.45, None], [100.0, 50.0, 0.0]),
        ([-0.1, -0.2], [100.0, 50.0]),
        ([0.0, -0.7], [100.0, 2.0]),
        ([0.0, 0.0], [100.0, 100.0]),
        ([float("nan"), 1.0], [0.0, 100.0]),
        ([], []),
    ],
)
def test_bars(scores: list[float | None], lengths: list[float]) -> None:
    assert bars(scores) == lengths
