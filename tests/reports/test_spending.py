import re

import pytest

from evermap.reports.spending import FRAME, spending


def task(index, learning, choice, held):
    parts = {"profile": 0.0, "choice": choice, "together": 0.0, "learning": learning, "later": 0.0}
    return {"index": index, "parts": parts, "store_bytes": held}


def test_layers_lie_on_each_other_and_add_up() -> None:
    drawn = spending({"tasks": [task(0, 3e9, 1e9, 500), task(1, 4e9, 2e9, 700)]})
    assert [(layer["name"], layer["total"]) for layer in drawn["layers"]] == [("learning", 7e9), ("choosing", 3e9)]
    assert [text for _, text in drawn["flops"]] == ["0 FLOP", "5.00 GFLOP", "10.0 GFLOP"]
    (kept,) = drawn["curves"]  # nothing is known of memory
    assert [text for _, text in kept["ticks"]] == ["0 B", "500 B", "1.00 kB"]
    assert [(said, value) for *_, said, value in kept["dots"]] == [("after task 1", 500.0), ("after task 2", 700.0)]
    points = re.findall(r"[ML]([\d.]+) ([\d.]+)", drawn["layers"][1]["path"])
    # The roof of the upper layer: 0, 4 and 10 of 10 GFLOP; its floor, backwards: 7, 3 and 0.
    heights = [1 - (float(y) - FRAME.top) / FRAME.height for _, y in points]
    assert heights == pytest.approx([0, 0.4, 1, 0.7, 0.3, 0], abs=1e-3)


def test_memory_is_drawn_where_it_is_known() -> None:
    tasks = [{**task(i, 1e9, 0.0, 500), "peak_bytes": peak} for i, peak in enumerate((300_000_000, None, 350_000_000))]
    _, peak = spending({"tasks": tasks})["curves"]
    assert (peak["name"], peak["most"]) == ("peak", 350_000_000)
    assert [(said, value) for *_, said, value in peak["dots"]] == [("task 1", 3e8), ("task 3", 3.5e8)]
    assert [text for _, text in peak["ticks"]] == ["0 B", "200 MB", "400 MB"]


def test_there_is_nothing_to_draw_before_a_task_was_learned() -> None:
    assert spending({"tasks": [{"index": 0, "parts": None, "store_bytes": None}]}) == {}


def test_tasks_that_cost_nothing_have_an_axis() -> None:
    assert spending({"tasks": [task(0, 0.0, 0.0, 0)]})["layers"] == []
