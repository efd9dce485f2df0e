"""A comparison carried out, with workers that only write down what they were told."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from evermap.errors import OutputError, RecipeError, UserError
from evermap.scenarios import cells as cells_module
from evermap.scenarios import compare as compare_module
from evermap.scenarios.cells import Grid, cells_of
from evermap.scenarios.compare import Sitting, has_store
from evermap.scenarios.run_lock import locked
from evermap.scenarios.scenario import load_scenario

sys.path.insert(0, str(Path(__file__).parent))
from told_runs import write_run

TINY = '[stream]\nlayout = "split"\nclasses_per_task = 5\ntrain_per_class = 12\ntest_per_class = 10\n'


class Workers:
    """In the place of worker processes."""

    def __init__(self) -> None:
        self.told: list[dict] = []
        self.wrong: list[list[str]] = []
        self.failing: set[str] = set()
        self.data: str | None = "d" * 64  # what `told_runs` writes

    def __call__(self, jobs: int, logs: Path) -> "Workers":
        return self

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None: ...

    def do(self, tasks: list[dict]):
        for position, task in enumerate(tasks):
            self.told.append(task)
            yield position, {"state": "started"}
            yield None
            if task["do"] == "check":
                yield position, {"state": "done", "wrong": self.wrong, "data": self.data}
                continue
            sets = dict(each.split("=", 1) for each in task["sets"])
            agent = json.loads(sets["agent.selector"])
            if agent in self.failing:
                yield position, {"state": "failed", "why": "it raised"}
                continue
            yield position, {"state": "at work", "task": 0, "tasks": 2}
            shutil.rmtree(task["folder"], ignore_errors=True)
            write_run(Path(task["folder"]), agent, int(sets["seed"]), scenario="tiny")
            yield position, {"state": "done"}


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Workers:
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(TINY)
    found = Workers()
    monkeypatch.setattr(compare_module, "Pool", found)
    return found


@pytest.fixture
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes that take budget.bytes, 150 at least."""

    def load(name, overrides=(), data_root=None, **options):
        kept = [each for each in overrides if not each.startswith("budget.bytes=")]
        recipe = load_scenario(name, kept, data_root, **options)
        for each in set(overrides) - set(kept):
            if int(each.partition("=")[2]) < 150:
                raise RecipeError("--set", "budget.bytes", each, "150 at least")
            recipe = recipe.model_copy(update={"evaluate_every": 7})  # another recipe, with a folder of its own
        return recipe

    monkeypatch.setattr(cells_module, "load_scenario", load)
    monkeypatch.setattr(compare_module, "BudgetSpec", SimpleNamespace(model_fields={"bytes": None}))


def grid(*agents: str, seeds: int = 2, scenarios: tuple[str, ...] = ("tiny.toml",)) -> Grid:
    return Grid(scenarios, agents or ("probe", "fixed:scratch"), tuple(range(seeds)))


def carry_out(sitting: Sitting) -> list[tuple[str, str, int]]:
    return [(step.state, step.cell.name, step.cell.seed) for step in sitting.work() if step is not None]


@pytest.mark.usefixtures("workers")
def test_a_cell_is_named_for_what_decides_its_results():
    folders = [cell.folder for cell in cells_of(grid(), Path("out"))]
    assert len(set(folders)) == 4
    assert [folder.name.rpartition("_")[0] for folder in folders] == [
        "tiny_probe_seed0",
        "tiny_fixed-scratch_seed0",
        "tiny_probe_seed1",
        "tiny_fixed-scratch_seed1",
    ]
    more = cells_of(grid("fixed:reuse", "probe", seeds=3), Path("out"))
    assert set(folders) & {cell.folder for cell in more} == {folders[0], folders[2]}  # the same runs serve again
    changed = Grid(("tiny.toml",), ("probe",), (0,), sets=("budget.scratch=2.0",))
    assert cells_of(changed, Path("out"))[0].folder != folders[0]
    Path("tiny.toml").write_text('description = "Other words."\n' + TINY)
    assert cells_of(grid(), Path("out"))[0].folder == folders[0]
    Path("tiny.toml").write_text(TINY.replace("12", "13"))
    assert cells_of(grid(), Path("out"))[0].folder != folders[0]


@pytest.mark.usefixtures("workers")
def test_scenarios_that_share_a_name_are_told_apart():
    Path("other").mkdir()
    Path("other/tiny.toml").write_text(TINY.replace("5", "2"))
    labels = {cell.label for cell in cells_of(grid(scenarios=("tiny.toml", "other/tiny.toml")), Path("out"))}
    assert labels == {"tiny.toml", "other/tiny.toml"}


def test_pairs_are_checked_before_anything_starts(workers):
    workers.wrong = [["probe", "its networks take no text"], ["fixed:scratch", "likewise"]]
    with pytest.raises(UserError) as caught:
        carry_out(Sitting(grid(), Path("out"), 1))
    assert str(caught.value) == "Nothing was started: tiny.toml with probe: its networks take no text (and 1 more)"
    (check,) = workers.told
    assert [agent for agent, _ in check["agents"]] == ["probe", "fixed:scratch"]
    assert check["agents"][0][1] == ['agent.selector="probe"', "seed=0"]


def test_only_what_is_missing_is_run(workers):
    first = carry_out(Sitting(grid(), Path("out"), 1))
    assert [step for step in first if step[0] == "done"] == [
        ("done", "probe", 0),
        ("done", "fixed:scratch", 0),
        ("done", "probe", 1),
        ("done", "fixed:scratch", 1),
    ]
    workers.told.clear()
    second = Sitting(grid("probe", "fixed:scratch", "fixed:reuse"), Path("out"), 1)
    steps = carry_out(second)
    assert [step[0] for step in steps].count("kept") == 4
    assert [task["do"] for task in workers.told] == ["check", "run", "run"]
    assert second.comparison()["cells"] == {"wanted": 6, "finished": 6, "failed": 0}
    paths = [run["path"] for run in second.comparison()["scenarios"][0]["agents"][0]["runs"]]
    assert all(path.startswith("cells/tiny_probe_seed") for path in paths)


def test_what_was_run_on_other_data_is_run_again(workers):
    first = Sitting(grid(), Path("out"), 1)
    carry_out(first)
    stale = first.cells[0].folder / "manifest.json"
    stale.write_text(stale.read_text().replace("d" * 64, "e" * 64))
    steps = carry_out(Sitting(grid("probe", "fixed:scratch", "fixed:reuse"), Path("out"), 1))
    assert [step for step in steps if step[1] == "probe"] == [
        ("kept", "probe", 1),
        ("started", "probe", 0),
        ("at work", "probe", 0),
        ("done", "probe", 0),
    ]


def test_what_is_finished_is_shown_also_where_its_data_are_gone(workers):
    carry_out(Sitting(grid(), Path("out"), 1))
    workers.data, workers.wrong = None, [["probe", "the files are not there"], ["fixed:scratch", "likewise"]]
    assert {step[0] for step in carry_out(Sitting(grid(), Path("out"), 1))} == {"kept"}
    with pytest.raises(UserError, match=r"Nothing was started: tiny\.toml with probe: the files are not there"):
        carry_out(Sitting(grid(seeds=3), Path("out"), 1))


@pytest.mark.parametrize("steps", [0, 1])  # before anything, and while the data are checked
def test_a_sitting_that_is_cut_off_early_shows_what_earlier_ones_finished(steps, workers):
    agents = grid("fixed:scratch", "avalanche:Replay")
    carry_out(Sitting(agents, Path("out"), 1, equal_to="avalanche:Replay"))
    whole = Sitting(agents, Path("out"), 1, equal_to="avalanche:Replay")
    carry_out(whole)
    cut = Sitting(agents, Path("out"), 1, equal_to="avalanche:Replay")
    work = cut.work()
    for _ in range(steps):
        next(work)
    work.close()
    assert cut.comparison() == whole.comparison()
    assert cut.comparison()["cells"]["finished"] == 4
    assert cut.comparison()["equal_bytes"]["scenarios"]


def test_a_failure_does_not_stop_the_rest(workers):
    workers.failing = {"probe"}
    sitting = Sitting(grid(), Path("out"), 1)
    steps = carry_out(sitting)
    assert ("failed", "probe", 1) in steps
    assert ("done", "fixed:scratch", 1) in steps
    found = sitting.comparison()
    assert found["cells"] == {"wanted": 4, "finished": 2, "failed": 2}
    assert [each["why"] for each in found["scenarios"][0]["agents"][0]["failures"]] == ["it raised"] * 2


def test_a_comparison_can_be_made_again_by_its_command(workers):
    sitting = Sitting(grid(), Path("out"), 1, baseline="fixed:scratch")
    assert " ".join(sitting.command()) == (
        "evermap compare tiny.toml --with probe --with fixed:scratch --seeds 0,1 --size default --out out "
        "--baseline fixed:scratch"
    )


def test_two_do_not_compare_in_one_folder(workers):
    carry_out(Sitting(grid(), Path("out"), 1))
    with locked(Path("out")), pytest.raises(OutputError, match="--out out: another process is comparing there"):
        carry_out(Sitting(grid(), Path("out"), 1))


@pytest.mark.usefixtures("bounds")
def test_stores_are_bounded_to_what_a_competitor_keeps(workers):
    sitting = Sitting(grid(), Path("out"), 1, equal_to="fixed:scratch")
    steps = carry_out(sitting)
    name = "probe within the bytes of fixed:scratch"
    assert [step for step in steps if step[1] == name and step[0] == "done"] == [("done", name, 0), ("done", name, 1)]
    bounded = [task for task in workers.told if any(each.startswith("budget.bytes") for each in task.get("sets", ()))]
    assert [task["sets"][0] for task in bounded] == ["budget.bytes=200"] * 2  # what `told_runs` keeps at the end
    equal = sitting.comparison()["equal_bytes"]
    assert equal["to"] == equal["baseline"] == "fixed:scratch"
    assert equal["agents"] == ["fixed:scratch", name]
    assert [pair["seeds"] for pair in equal["scenarios"][0]["paired"]] == [[0, 1]]
    assert sitting.comparison()["agents"] == ["probe", "fixed:scratch"]  # the other tables stay as they are


@pytest.mark.usefixtures("bounds")
def test_a_store_that_cannot_be_so_small_is_a_failure_of_its_cell(workers, monkeypatch):
    monkeypatch.setattr(compare_module.Sitting, "_finished", _small(compare_module.Sitting._finished))
    sitting = Sitting(grid(seeds=1), Path("out"), 1, equal_to="fixed:scratch")
    assert carry_out(sitting)[-1] == ("failed", "probe within the bytes of fixed:scratch", 0)
    (failure,) = sitting.comparison()["equal_bytes"]["scenarios"][0]["agents"][1]["failures"]
    assert "150 at least" in failure["why"]


def _small(finished):
    def keep_little(self, cell, state):
        step = finished(self, cell, state)
        self._outcomes[cell.folder].values["bytes_kept"] = 100.0
        return step

    return keep_little


@pytest.mark.usefixtures("workers")
def test_a_bound_needs_a_recipe_that_takes_one(monkeypatch):
    monkeypatch.setattr(compare_module, "BudgetSpec", SimpleNamespace(model_fields={}))
    with pytest.raises(UserError, match=r"this evermap cannot bound a store: recipes have no field budget\.bytes"):
        Sitting(grid(), Path("out"), 1, equal_to="probe")
    assert has_store("fixed:maml")
    assert not any(map(has_store, ("avalanche:Replay(mem_size=500)", "joint", "independent")))
