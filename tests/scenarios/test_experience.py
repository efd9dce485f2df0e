"""Experience that a selector takes from one run to another: added up, never twice, and nothing else comes along."""

from pathlib import Path

import pytest

from evermap.agent.selector import make_selector
from evermap.agent.store import KnowledgeStore
from evermap.agent.strategy import make_strategies
from evermap.errors import StoreError
from evermap.scenarios.experience import carry
from evermap.scenarios.resume import resume
from evermap.scenarios.run import run
from evermap.scenarios.scenario import load_scenario

TINY = """
[stream]
layout = "split"
classes_per_task = 5
train_per_class = 40
test_per_class = 5
[agent]
encoder_settings = { hidden = [64] }
anchor = "none"
[strategies.scratch]
steps = 60
"""


def played(folder: Path, *sets: str, priors=(), until: int | None = None) -> Path:
    (folder.parent / "tiny.toml").write_text(TINY)
    recipe = load_scenario(folder.parent / "tiny.toml", list(sets))
    for count, _ in enumerate(run(recipe, folder, priors=priors)):
        if until is not None and count >= until:
            break
    return folder


def learned(folder: Path):
    with KnowledgeStore.open(folder / "store", read_only=True) as store:
        return store.state("selector")


def seen(state) -> dict[str, int]:
    return {name: each["seen"] for name, each in state["prior"]["strategies"].items()}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return played(folder / "a", "seed=1"), played(folder / "b", "seed=2")


def test_the_experience_of_several_runs_adds_up_and_their_stores_stay_behind(runs, tmp_path):
    a, b = runs
    selector = make_selector("auto", make_strategies({}))
    noted = carry([a, b], tmp_path / "store", selector)
    assert [each["run"] for each in noted] == [str(a), str(b)]
    with KnowledgeStore.open(tmp_path / "store") as store:
        together, counts = seen(store.state("selector")), store.counts()
    one, other = seen(learned(a)), seen(learned(b))
    assert one, "a run of two tasks tries something"
    assert together == {name: one.get(name, 0) + other.get(name, 0) for name in {*one, *other}}
    assert not any(counts.values()), "no task, no encoder"


def test_a_run_that_is_cut_off_goes_on_with_the_experience_it_began_with(runs, tmp_path):
    whole = played(tmp_path / "whole", "seed=3", priors=[runs[0]])
    cut = played(tmp_path / "cut", "seed=3", priors=[runs[0]], until=2)
    for _ in resume(cut):
        pass
    assert learned(cut) == learned(whole)
    assert (cut / "matrix.csv").read_bytes() == (whole / "matrix.csv").read_bytes()
    assert seen(learned(whole)) != seen(learned(runs[0])), "it has learned on"


def test_nothing_counts_twice(runs, tmp_path):
    selector = make_selector("auto", make_strategies({}))
    with pytest.raises(StoreError, match="it would count twice"):
        carry([runs[0], runs[0]], tmp_path / "one", selector)
    later = played(tmp_path / "later", "seed=4", priors=[runs[0]])
    with pytest.raises(StoreError, match="it would count twice"):
        carry([runs[0], later], tmp_path / "two", selector)


def test_what_is_no_experience_is_named(runs, tmp_path):
    made = make_strategies({})
    with pytest.raises(StoreError, match="there 'auto' chose, whose experience means nothing to 'probe'"):
        carry([runs[0]], tmp_path / "x", make_selector("probe", made))
    with pytest.raises(StoreError, match="cannot be added up for selector 'bandit'; give one"):
        carry(list(runs), tmp_path / "x", make_selector("bandit", made))
    with pytest.raises(StoreError, match="there is no such folder"):
        carry([tmp_path / "nowhere"], tmp_path / "x", make_selector("auto", made))
