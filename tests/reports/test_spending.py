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
    assert [text for _, text in drawn["bytes"]] == ["0 B", "500 B", "1.00 kB"]
    points = re.findall(r"[ML]([\d.]+) ([\d.]+)", drawn["layers"][1]["path"])
    # The roof of the upper layer: 0, 4 and 10 of 10 GFLOP; its floor, backwards: 7, 3 and 0.
    heights = [1 - (float(y) - FRAME.top) / FRAME.height for _, y in points]
    assert heights == pytest.approx([0, 0.4, 1, 0.7, 0.3, 0], abs=1e-3)


def test_there_is_nothing_to_draw_before_a_task_was_learned() -> None:
    assert spending({"tasks": [{"index": 0, "parts": None, "store_bytes": None}]}) == {}


def test_tasks_that_cost_nothing_have_an_axis() -> None:
    assert spending({"tasks": [task(0, 0.0, 0.0, 0)]})["layers"] == []
