"""What a comparison shows, and the files it leaves."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from evermap.reports.comparison import printed, write_comparison
from evermap.reports.comparison_cells import interval, mean, p_value
from evermap.reports.comparison_figures import log_ticks
from evermap.reports.comparison_html import render_comparison
from evermap.reports.comparison_terminal import comparison_page
from evermap.scenarios.comparison import compare

sys.path.insert(0, str(Path(__file__).parent.parent / "scenarios"))
from told_runs import told  # beside the tests of what reads records

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NASTY = 'a "b" <script>alert(1)</script> & $x_1$ 50% | #~^\\'


def comparison(seeds: int = 4, scenarios: int = 2, agents: tuple[str, ...] = ("auto", "fixed:maml", NASTY)) -> dict:
    runs = [
        told(
            agent,
            seed,
            0.7 + 0.05 * k + 0.003 * ((seed * 7 + k * s) % 5),
            scenario=f"s{s} {NASTY}",
            flops=10 ** (6 + k),
        )
        for s in range(scenarios)
        for k, agent in enumerate(agents)
        for seed in range(seeds)
    ]
    failed = [{"scenario": f"s0 {NASTY}", "agent": "broken", "seed": 3, "why": "<b>it</b> raised"}]
    found = compare(runs, failures=failed if scenarios else ())
    return {**found, "equal_bytes": None, "command": ["evermap", "compare", NASTY], "evermap": "0"}


def page(found: dict, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(comparison_page(found))
    return console.file.getvalue()


class Tags(HTMLParser):
    """Gathers tags, ids and what would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        found = dict(attrs)
        if "id" in found:
            self.ids.append(found["id"])
        for name in ("src", "href", "xlink:href"):
            target = found.get(name)
            if target and tag != "a" and not target.startswith(("#", "data:")):
                self.fetched.append(target)


def tags(text: str) -> Tags:
    parser = Tags()
    parser.feed(text)
    return parser


def test_numbers_as_text():
    share = {"mean": 0.871, "low": 0.86, "high": 0.882, "n": 3, "note": None}
    assert mean(share, "share") == "87.1 ± 1.1"
    assert mean(share, "share", regression=True) == "0.87 ± 0.01"
    assert mean({**share, "mean": -0.02, "low": -0.03, "high": -0.01}, "difference") == "−2.0 ± 1.0"
    assert mean({**share, "low": None, "high": None}, "share") == "87.1"
    assert mean({**share, "mean": None, "low": None}, "share") == "n/a"
    assert mean({**share, "mean": 2e6, "low": 1e6, "high": 3e6}, "flops") == "2.00 MFLOP"
    assert interval((-0.004, 0.023)) == "−0.4 to +2.3"
    assert interval(None) == "–"
    assert [p_value(p) for p in (None, 0.0004, 0.03125, 1.0)] == ["–", "< 0.001", "0.031", "1.000"]


def test_a_terminal_of_80_columns_holds_the_tables():
    found = comparison(agents=("auto", "fixed:maml", "avalanche:Replay(mem_size=500)"))
    text = page(found, 80)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for heading in (
        "accuracy",
        "forgetting",
        "BWT",
        "FWT",
        "learning acc.",
        "bytes kept",
        "FLOPs",
        "CPU time",
        "verdict",
    ):
        assert heading in text
    assert re.search(r"fixed:maml +\S+ ± \S+", text)
    assert "Critical difference" in text
    assert "4 seeds cannot reach p < 0.05: the smallest possible is 0.125." in " ".join(text.split())


def test_what_failed_is_told_everywhere():
    found = comparison()
    why = "broken failed with seed 3: <b>it</b> raised."
    assert why in page(found)
    assert "broken failed with seed 3: &lt;b&gt;it&lt;/b&gt; raised." in render_comparison(found)
    assert "broken failed with seed 3: &lt;b&gt;it&lt;/b&gt; raised." in printed(found, "markdown")


def test_names_stay_names():
    found = comparison()
    latex = printed(found, "latex")
    assert r"a ``b''" not in latex
    escaped = (
        r'a "b" \textless{}script\textgreater{}alert(1)\textless{}/script\textgreater{} \& \$x\_1\$ 50\% \textbar{} '
        r"\#\textasciitilde{}\textasciicircum{}\textbackslash{}"
    )
    assert escaped in latex
    for line in latex.splitlines():
        if line.endswith(r"\\"):
            assert len(re.findall(r"(?<!\\)&", line)) in (1, 3, 7, 8)
    for line in printed(found, "markdown").splitlines():
        if line.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", line)) in (3, 5, 9, 10)
        assert "<script>" not in line
    names = {row["agent"] for row in csv.DictReader(io.StringIO(printed(found, "csv")))}
    assert names == {"auto", "fixed:maml", NASTY, "broken"}
    assert json.loads(printed(found, "json"))["agents"][2] == NASTY
    html = render_comparison(found)
    assert "script" not in tags(html).tags
    assert tags(html).tags.count("b") == 0


def test_the_page_is_whole_and_fetches_nothing(tmp_path: Path):
    found = comparison()
    seen = tags(render_comparison(found))
    assert seen.fetched == []
    assert len(seen.ids) == len(set(seen.ids))
    assert seen.tags.count("svg") == 1 + 2 * 2  # ranks; differences and cost for each scenario
    html = render_comparison(found)
    assert html.count('role="img" aria-label="') == 5
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", html)
    assert "#0000" not in html  # no stand-in colour is left
    assert "#0101" not in html


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        assert write_comparison(tmp_path / name, comparison()) == tmp_path / name / "comparison.html"
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "other" / file.name).read_bytes(), file.name


@pytest.mark.parametrize(
    "found",
    [
        comparison(scenarios=0),
        comparison(seeds=1),
        comparison(agents=("auto",)),
        compare([], failures=[{"scenario": "s", "agent": "a", "seed": 0, "why": "no"}]),
        compare([told("a", 0, None), told("b", 0, 0.5)]),
    ],
    ids=["nothing", "one seed", "one agent", "all failed", "no accuracy"],
)
def test_little_to_compare(found):
    found = {"command": [], "equal_bytes": None, **found}
    assert page(found)
    html = render_comparison(found)
    assert "nan" not in html.lower().replace("nanne", "")
    for form in ("csv", "latex", "markdown", "json"):
        assert "nan" not in printed(found, form)
    if found["scenarios"] and found["scenarios"][0]["seeds"] == [0] and len(found["agents"]) > 1:
        assert "one seed only: no interval" in html.lower()


def test_the_highest_mean_is_that_over_the_same_seeds():
    runs = [told("a", seed, 0.9 - 0.4 * seed) for seed in (0, 1)] + [told("b", 1, 0.6)]
    found = {"command": [], "equal_bytes": None, **compare(runs)}
    html = render_comparison(found)
    assert "b has the highest mean over seeds 1, which all have, 60.0 %." in html
    for text in (html, page(found), printed(found, "markdown")):
        assert "ranked over the seeds that all agents have: 1." in " ".join(text.split())
    apart = {"command": [], "equal_bytes": None, **compare([told("a", 0, 0.9), told("b", 1, 0.6)])}
    assert "<dd>Not ranked: there is no seed that all agents have." in render_comparison(apart)


def test_several_scenarios_begin_with_everybody_at_a_glance():
    scores = {"s": {"joint": 0.9, "a": 0.6, "b": 0.6, "c": 0.5}, "t": {"a": 0.4, "c": 0.7}, "u": {"b": None}}
    runs = [told(agent, 0, x, scenario=name) for name, each in scores.items() for agent, x in each.items()]
    found = {"command": [], "equal_bytes": None, **compare(runs)}
    markdown = printed(found, "markdown")
    assert markdown.splitlines()[2:8] == [
        "| agent | mean place | s | t | u |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| joint | 1.0 | 90.0 | – | – |",  # a bound: nothing stands out
        "| a | 2.2 | **60.0** | 40.0 | – |",  # (2.5 + 2) / 2: it shares places 2 and 3 on s
        "| b | 2.5 | **60.0** | – | n/a |",
        "| c | 2.5 | 50.0 | **70.0** | – |",  # (4 + 1) / 2
    ]
    assert r"a & 2.2 & \textbf{60.0} & 40.0 & -- \\" in printed(found, "latex")
    html = render_comparison(found)
    assert html.index("At a glance") < html.index("Numbers of s")
    assert "<strong>70.0</strong>" in html
    assert "At a glance" not in render_comparison({**found, "scenarios": found["scenarios"][:1]})


def test_a_bounded_table_is_its_own():
    found = comparison(scenarios=1)
    bounded = [told("auto", s, 0.8) for s in range(3)] + [
        told("fixed:maml within the bytes of auto", s, 0.6) for s in range(3)
    ]
    found["equal_bytes"] = {"to": "auto", **compare(bounded)}
    for text in (page(found), render_comparison(found)):
        assert "At equal bytes" in text
        assert "within the bytes of" in " ".join(text.split())
    rows = list(csv.DictReader(io.StringIO(printed(found, "csv"))))
    assert sum(row["agent"] == "auto" and row["measure"] == "accuracy" for row in rows) == 1
    assert "At equal bytes. two" in printed(found, "latex")


def test_ticks_of_a_logarithmic_axis():
    assert log_ticks(0.5, 200) == [1.0, 10.0, 100.0]
    assert log_ticks(1.5, 30) == [2.0, 10.0]
    assert log_ticks(3, 4) == []
    assert len(log_ticks(1, 1e9)) <= 3


MEASURE = """
<iframe src="{page}" style="border:0;width:{width}px;height:900px" id="f"></iframe><pre id="o"></pre>
<script>
window.onload = () => {{
  const frame = document.getElementById("f"), root = frame.contentDocument.documentElement;
  const asked = frame.contentWindow.performance.getEntriesByType("resource").length;
  const figures = [...root.querySelectorAll(".plot svg")].map(each => each.getBoundingClientRect());
  const seen = figures.filter(each => each.width > 200 && each.height > 50).length;
  document.getElementById("o").textContent = "measured " + [root.scrollWidth - root.clientWidth, seen, asked].join(" ");
}};
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to look at the page with")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_opens_it_without_complaint(width: int, tmp_path: Path):
    page, frame = tmp_path / "page.html", tmp_path / "frame.html"
    page.write_text(render_comparison(comparison()))
    frame.write_text(MEASURE.format(page=page.as_uri(), width=width))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    command += ["--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr"]
    command += ["--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000"]
    done = subprocess.run(
        [*command, "--dump-dom", frame.as_uri()], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr
    measured = re.search(r"measured (-?\d+) (\d+) (\d+)", done.stdout)
    assert measured, done.stdout[-2000:]
    assert tuple(map(int, measured.groups())) == (0, 5, 0)  # sticks out, figures, requests
