"""Several runs in one report: what belongs together is averaged, nothing else is, and what is broken is named."""

import json
import re
import sys
import time
from pathlib import Path

import pytest

from evermap.errors import RecordError, UserError
from evermap.reports.report_several import report_several
from evermap.reports.several import runs_in, several

sys.path.insert(0, str(Path(__file__).parent))
from browser import CHROMIUM, measured

NASTY = "<script>alert('x')</script> & \"q\" {{ 7 * 7 }}"
AGENTS = (
    "auto",
    "fixed:finetune",
    "fixed:maml",
    "random",
    "avalanche:Replay(mem_size=500)",
    "independent",
    "joint",
    NASTY,
)


@pytest.fixture(name="make")
def _make(tell, write, tmp_path):
    """Write runs: `make(agents, seeds, **what tell and write take)` gives their folders."""

    def made(agents=AGENTS[:2], seeds=3, folder="runs", name="demo", status="finished", data="", of=None, **told):
        runs = []
        for a, agent in enumerate(agents):
            for seed in range(seeds):
                story = tell(seed=100 * a + seed, **{"tasks": 4, **told})
                path = tmp_path / folder / f"{name}-{a}-{seed}"
                runs.append(write(story, path, status, seed=seed, selector=agent, data=data, name=name, **(of or {})))
        return runs

    return made


def finals(run):
    rows = [line.split(",") for line in (run / "matrix.csv").read_text().splitlines() if line[0] != "#"]
    return [float(value) for value in rows[-1][2:]]


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.read_text()))


def test_means_are_over_the_seeds_of_one_agent(make) -> None:
    runs = make()
    found = several(runs)["scenarios"][0]
    assert [agent["agent"] for agent in found["agents"]] == ["auto", "fixed:finetune"]
    for a, agent in enumerate(found["agents"]):
        mine = [finals(run) for run in runs[3 * a : 3 * a + 3]]
        for j, column in enumerate(agent["columns"]):
            assert column["final"]["mean"] == pytest.approx(sum(row[j] for row in mine) / 3)
            assert column["final"]["n"] == 3
    assert found["agents"][0]["choices"] == [{"scratch": 3}, {"finetune": 3}, {"prototype": 3}, {"finetune": 3}]


def test_runs_of_different_scenarios_are_never_averaged(make) -> None:
    told = several([*make(name="one"), *make(name="two", of={"stream": {"source": "glyphs"}})])
    assert [scenario["scenario"] for scenario in told["scenarios"]] == ["one", "two"]
    assert all(len(agent["seeds"]) == 3 for each in told["comparison"]["scenarios"] for agent in each["agents"])


def test_runs_on_other_data_stand_apart(make) -> None:
    told = several([*make(data="a" * 64), *make(folder="other", data="b" * 64)])
    assert [each["scenario"] for each in told["scenarios"]] == ["demo", "demo (other data, bbbbbb)"]


def test_agents_that_differ_in_a_setting_are_two(make) -> None:
    shared = {"agent": {"encoder": "mlp", "sharing": "in-place"}}
    told = several([*make(AGENTS[:1]), *make(AGENTS[:1], folder="other", of=shared)])
    assert told["comparison"]["agents"] == ["auto [agent.sharing=versions]", "auto [agent.sharing=in-place]"]


def test_what_is_damaged_or_twice_or_unfinished_is_named_in_a_sentence(make, tmp_path) -> None:
    runs = make()
    (runs[0] / "matrix.csv").unlink()
    twice = make(AGENTS[1:2], seeds=1, folder="twice")
    cut = make(["random"], seeds=1, folder="cut", status="failed")
    told = several([*runs, *twice, *cut, tmp_path / "nothing"])
    assert len(told["notes"]) == 4
    damaged, missing, doubled, failed = told["notes"]
    assert "the end of matrix.csv is missing" in damaged
    assert "nothing: there is no such folder" in missing
    assert doubled.startswith(f"Left out: {twice[0]} is a run of fixed:finetune with seed 0 on demo, as is ")
    assert failed.startswith(f"Not averaged: {cut[0]} (random, seed 0) is failed, ")
    agents = told["comparison"]["scenarios"][0]["agents"]
    assert [(each["agent"], each["seeds"]) for each in agents] == [
        ("auto", [1, 2]),
        ("fixed:finetune", [0, 1, 2]),
        ("random", []),
    ]
    assert agents[2]["means"]["accuracy"]["mean"] is None


def test_nothing_that_can_be_read(tmp_path) -> None:
    with pytest.raises(RecordError, match=r"None of 2 runs can be reported\. Left out: .*a: there is no such folder"):
        several([tmp_path / "a", tmp_path / "b"])


def test_a_baseline_that_is_no_agent(make) -> None:
    with pytest.raises(UserError, match=r"--baseline other: is none of the agents; they are auto, fixed:finetune"):
        several(make(), "other")


def test_a_folder_of_runs_stands_for_its_runs(make, tmp_path) -> None:
    runs = make()
    assert runs_in([tmp_path / "runs"]) == runs
    assert runs_in([runs[1], tmp_path / "none"]) == [runs[1], tmp_path / "none"]


@pytest.fixture(params=["usual", "one seed", "one task", "no task", "failed", "nasty", "scenarios", "not measured"])
def page(request, make, tmp_path):
    runs = make(AGENTS[:3])
    if request.param == "one seed":
        runs = runs[::3]
    elif request.param == "one task":
        runs = make(folder="short", tasks=1)
    elif request.param == "no task":
        runs = make(folder="short", tasks=0, status="interrupted")
    elif request.param == "failed":
        runs += make(["failing"], folder="failed", status="failed", tasks=1)
    elif request.param == "nasty":
        runs = make(AGENTS[-2:], folder="nasty", name=NASTY.replace("/", "|"), names={0: NASTY})
    elif request.param == "scenarios":
        runs += make(AGENTS[1:4], seeds=2, name="other", of={"stream": {"source": "glyphs"}})
    elif request.param == "not measured":
        for run in runs[:3]:
            value = repr(finals(run)[0])
            for file, missing in (("matrix.csv", "nan"), ("events.jsonl", "null")):
                (run / file).write_text((run / file).read_text().replace(value, missing))
    return report_several(runs, tmp_path / "out")[0]


def test_the_page_is_whole_and_asks_for_nothing(page) -> None:
    content = page.read_text()
    assert "<script" not in content
    assert not re.search(r"url\(|@import|https?://", content)
    assert re.findall(r'(?:href|src)="([^"]*)"', content) == ["data:,"]
    body = re.sub(r"<style>.*</style>", "", content, flags=re.DOTALL)
    assert "None" not in body
    assert not re.search(r"\bnan\b", body, re.IGNORECASE)
    ids = re.findall(r'id="([^"]*)"', content)
    assert sorted(ids) == sorted(set(ids)) == sorted(re.findall(r'aria-labelledby="([^"]*)"', content))


def test_same_records_same_bytes(make, tmp_path) -> None:
    runs = make()
    first, second = (report_several(runs, tmp_path / name)[0] for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()
    assert (tmp_path / "one/summary.json").read_bytes() == (tmp_path / "two/summary.json").read_bytes()
    json.loads((tmp_path / "one/summary.json").read_text(), parse_constant=pytest.fail)


def test_names_are_shown_and_never_obeyed(make, tmp_path) -> None:
    runs = make([NASTY], folder="nasty", name=NASTY.replace("/", "|"), names={0: NASTY})
    content = report_several(runs, tmp_path / "out")[0].read_text()
    assert "<script" not in content
    assert content.count("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &#34;q&#34; {{ 7 * 7 }}") > 3


def test_one_seed_has_no_interval_and_the_page_says_so(make, tmp_path) -> None:
    said = text_of(report_several(make(seeds=1), tmp_path / "out")[0])
    assert "One seed only: there is no interval." in said
    assert "One seed only: no interval." in said  # of the differences


def test_an_agent_that_failed_everywhere_is_there_without_a_number(make, tmp_path) -> None:
    runs = [*make(AGENTS[:2]), *make(["failing"], folder="failed", status="failed", tasks=1)]
    page, told = report_several(runs, tmp_path / "out")
    said = text_of(page)
    assert "3 failing" in said
    assert "n/a for average accuracy: no run is finished." in said
    assert "3 not finished" in said
    assert len(told["notes"]) == 3


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to look at the page with")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_opens_it_without_complaint(width, make, tmp_path) -> None:
    names = {0: NASTY, 1: "a very long name " * 12, 2: "x" * 200}
    runs = make([*AGENTS[:2], "y" * 150, NASTY], names=names)
    runs += make(AGENTS[:2], seeds=2, name="z" * 120, of={"stream": {"source": "glyphs"}})
    found = measured(report_several(runs, tmp_path / "out")[0], width, tmp_path)
    assert (found["sticks"], found["sections"], found["asked"]) == (0, 5, 0)
    assert found["console"] == found["lying"] == found["labels"] == found["out"] == []


@pytest.mark.slow
def test_eighty_runs_of_twenty_tasks_stay_small(make, tmp_path) -> None:
    runs = make(AGENTS, seeds=10, columns=20)
    begun = time.process_time()
    page, told = report_several(runs, tmp_path / "out")
    assert time.process_time() - begun < 30
    assert page.stat().st_size < 3_000_000
    assert told["runs"] == 80
    assert len(told["scenarios"][0]["agents"][7]["columns"]) == 20
