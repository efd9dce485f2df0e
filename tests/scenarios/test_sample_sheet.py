from pathlib import Path
from typing import Any

import pytest
import torch

from evermap.agent.arm import outputs_of
from evermap.agent.library import Library
from evermap.errors import OutputError, RecipeError, UserError
from evermap.scenarios import estimate as guess
from evermap.scenarios.estimate import estimate
from evermap.scenarios.outline import describe, outline, planned, validate
from evermap.scenarios.sample_sheet import sample_sheet, strip
from evermap.scenarios.scenario import Scenario, load_scenario
from evermap.streams.digits import Digits
from evermap.streams.spec import stream_spec
from evermap.streams.stream import build_stream
from evermap.streams.task import Samples, Task


def stream(**fields: Any):
    return build_stream(stream_spec(**fields), 0)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_same_stream_gives_the_same_bytes(ending: str, tmp_path: Path) -> None:
    made = stream(layout="split")
    paths = [tmp_path / f"{k}.{ending}" for k in "ab"]
    assert [sample_sheet(made, path) for path in paths] == [5, 5]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_samples_stand_class_by_class_two_pixels_apart() -> None:
    task = stream(layout="split", classes_per_task=3).task(0)
    row = strip(task)
    assert row.shape == (8, 10 * 10 - 2)
    own = [task.support.x[task.support.y == c][:3, 0] for c in range(3)]
    for place in range(9):
        assert torch.equal(row[:, place * 10 : place * 10 + 8], own[place // 3][place % 3])
        assert bool((row[:, place * 10 + 8 : place * 10 + 10] == 1).all())
    assert bool((row[:, 90:] == 1).all())


def test_what_is_no_image_is_a_row_of_cells() -> None:
    task = Task("a", 0, Samples(torch.tensor([[0.0, 5.0], [10.0, 5.0]]), torch.tensor([0, 1])), None, (0, 1))
    assert strip(task)[0, :6].tolist() == [0.0, 0.5, 1.0, 1.0, 1.0, 0.5]


def test_functions_and_colours_can_be_drawn_and_long_streams_are_thinned_out(tmp_path: Path) -> None:
    waves = stream(layout="regression", source="sinusoids", tasks=[2])
    assert sample_sheet(waves, tmp_path / "waves.png") == 2
    tasks = [
        {"name": f"a name that is longer than there is room for {i}", "transforms": {"colour": i}} for i in range(3)
    ]
    assert sample_sheet(stream(layout="tasks", tasks=tasks), tmp_path / "colours.png") == 3
    many = stream(layout="few-shot", tasks=90, ways=2)
    assert sample_sheet(many, tmp_path / "many.png") == 40


def test_what_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    made = stream(layout="split")
    with pytest.raises(UserError, match=r"must end in \.png, \.svg, \.pdf"):
        sample_sheet(made, tmp_path / "a.bmp")
    with pytest.raises(OutputError, match="cannot be written"):
        sample_sheet(made, tmp_path / "none" / "a.png")


def test_an_estimate_counts_bytes_exactly_and_grows_with_the_work() -> None:
    def scenario(**fields: Any) -> Scenario:
        return Scenario(name="a", stream=stream_spec(layout="split", test_per_class=10, train_per_class=20), **fields)

    plain = scenario()
    made = planned(plain, "a")
    one, long = estimate(plain, *made), estimate(scenario(budget={"scratch": 50.0}), *made)
    assert one.test_bytes == 5 * 20 * (64 * 4 + 8)
    assert one.task_bytes == 40 * (64 * 4 + 8)
    assert 0 < one.learning < long.learning
    assert one.evaluating > 0
    hidden = 256 * 64 + 256 + 256 * 128 + 128  # of the default network, without its head
    assert one.store_bytes >= 5 * 4 * hidden


@pytest.mark.parametrize("name", ["sinusoids-shift", "online-digits", "ctrl-s-in-embedded", "demo"])
def test_the_bytes_of_an_estimate_are_those_of_the_stream(name: str) -> None:
    scenario = load_scenario(name, size="short")
    guessed = estimate(scenario, *planned(scenario, name))
    made = build_stream(scenario.stream, scenario.seed)

    def size(*parts: Any) -> int:
        return sum(part.x.nbytes + part.y.nbytes for part in parts if part is not None)

    assert guessed.task_bytes == max(size(task.support, task.query) for task in made)
    assert guessed.test_bytes == size(*(made.test(concept.index) for concept in made.concepts))


def test_the_stem_sees_a_test_sample_once_as_long_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    view, answer = Library.view, outputs_of

    def slow_view(self: Library, x: torch.Tensor) -> torch.Tensor:
        clock[0] += 2 * len(x)
        return view(self, x)

    def slow_answer(*given: Any) -> torch.Tensor:
        clock[0] += len(given[1])
        return answer(*given)

    monkeypatch.setattr(Library, "view", slow_view)
    monkeypatch.setattr(guess, "outputs_of", slow_answer)
    monkeypatch.setattr(guess.time, "process_time", lambda: clock[0])
    plain = Scenario(name="a", stream=stream_spec(layout="split", test_per_class=10, train_per_class=20))
    made = planned(plain, "a")
    assert estimate(plain, *made).evaluating == pytest.approx(100 * (6 * 1 + 2))  # 100 samples, 6 rows
    monkeypatch.setattr(guess, "KEPT_BYTES", 25 * 64 * 4)  # room for a quarter of them
    assert estimate(plain, *made).evaluating == pytest.approx(100 * (6 * 1 + 2 + 5 * 0.75 * 2))


def test_nothing_is_loaded_for_an_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Digits, "load", lambda *_: pytest.fail("it was loaded"))
    page = describe("digits-split")
    assert page["estimate"]["test_bytes"] > 0


def test_an_outline_tells_what_is_special_of_every_task() -> None:
    page = outline(load_scenario("demo"), "demo")
    special = {task["name"]: task["special"] for task in page["tasks"]}
    assert special["0 to 2"] == ["jointly (start)"]
    drawn = {task["name"]: task["drawn"] for task in page["tasks"]}
    assert drawn["0 to 2"] == [[0], [1], [2]]
    assert drawn["three heaps"] == [[0, 3, 7], [1, 5, 8], [2, 4, 6, 9]]
    assert all(behind != [k] for k, behind in enumerate(drawn["all digits relabelled"]))
    assert special["turned"] == ["rotate 30.0"]
    assert special["wrong labels"] == ["label noise 0.3"]
    assert special["all digits again"] == ["returns"]
    hidden = outline(load_scenario("recurring-hidden"), "recurring-hidden")["tasks"]
    assert [task["special"] for task in hidden[:6]] == [[]] * 5 + [["returns, hidden"]]
    online = outline(load_scenario("online-digits"), "online-digits")
    assert max(task["samples"] for task in online["tasks"]) == 30
    assert online["label"] is False
    mixed = outline(load_scenario("unrelated"), "unrelated")["tasks"]
    assert mixed[1]["special"] == ["from runes", "permute 1"]


def test_the_samples_of_an_outline_are_those_of_the_stream() -> None:
    for name in ("online-digits", "demo"):
        scenario = load_scenario(name, size="short")
        made = build_stream(scenario.stream, scenario.seed)
        for task, row in zip(made, outline(scenario, name)["tasks"], strict=True):
            assert (task.name, len(task.support)) == (row["name"], row["samples"])
            assert (len(task.query) if task.query else 0) == row["query"]
            assert len(made.test(row["concept"]).y) == row["test"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[agent]\nencoder_settings = { hiden = [3] }",
            r"my\.toml: agent\.encoder_settings\.hiden: found \[3\]; valid",
        ),
        ("[strategies.scratch]\nsteps = -3", r"my\.toml: strategies\.scratch\.steps: found -3; must be greater"),
    ],
)
def test_a_wrong_setting_is_told_with_its_file(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(f'[stream]\nlayout = "split"\n{text}\n')
    with pytest.raises(RecipeError, match=said):
        validate(str(tmp_path / "my.toml"))


def test_validating_builds_what_a_run_would_and_learns_nothing() -> None:
    found = validate("digits-split")
    assert found["sizes"]["default"]["tasks"] == found["sizes"]["short"]["tasks"] == 5
    assert found["sizes"]["default"]["data_sha256"] == found["sizes"]["short"]["data_sha256"]
