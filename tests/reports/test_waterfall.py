from evermap.reports.summary import summarise
from evermap.reports.waterfall import waterfall
from evermap.scenarios.record import read_record


def concept(**numbers):
    return {"name": "a", "regression": False, **numbers}


def test_each_step_begins_where_the_one_before_ends() -> None:
    drawn = waterfall({"concepts": [concept(base=0.25, before=0.2, learned=0.9, final=0.95)]})
    ahead, learning, after = drawn["rows"][0]["steps"]
    assert (ahead["left"], ahead["width"], ahead["loss"]) == (20, 5, True)
    assert (learning["left"], learning["width"], learning["loss"]) == (20, 70, False)
    assert (after["left"], after["width"], after["loss"]) == (90, 5, False)
    assert after["said"] == "+5.0 points by all that was learned after it: 90.0 → 95.0"
    assert drawn["rows"][0]["end"] == 95


def test_a_step_that_is_undefined_is_left_out() -> None:
    row = waterfall({"concepts": [concept(base=0.5, before=None, learned=None, final=0.5)]})["rows"][0]
    assert row["steps"] == []
    assert row["to"] == "50.0"


def test_r2_below_zero_has_room_and_stops_at_minus_one() -> None:
    drawn = waterfall({"concepts": [concept(base=-7.0, before=-0.5, learned=1.0, final=1.0) | {"regression": True}]})
    assert drawn["ticks"][0][1] == -1
    assert [(step["left"], step["width"]) for step in drawn["rows"][0]["steps"]] == [(0, 25), (25, 75), (100, 0)]


def test_it_is_drawn_from_a_record(tell, write, tmp_path) -> None:
    summary = summarise(read_record(write(tell(), tmp_path / "run")))
    rows = waterfall(summary)["rows"]
    assert [row["name"] for row in rows] == [each["name"] for each in summary["concepts"]]
    assert all(len(row["steps"]) == 3 for row in rows)
