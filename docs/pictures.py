"""Make the README's pictures in docs/: `python docs/pictures.py [RUN [RUNS]]`.

RUN is the folder of a run; without it the demonstration is run first. RUNS is a folder of runs of it by several agents
and seeds; without it they are run as well. Reports are photographed by Chromium (report.png, several.png), the live
display is replayed up to where a guard has spoken (live.svg), and the gallery is what `evermap report --figures` draws.
Same records, same pictures: the time of day is left out.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI

from evermap.reports.live import Picture
from evermap.reports.paper import draw
from evermap.reports.report import report, write_report
from evermap.reports.report_several import report_several
from evermap.reports.several import runs_in

DOCS = Path(__file__).resolve().parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
REPORT_SIZE = (1200, 3000)  # pixels; what is left blank below is cut off
REST = "main > section:nth-of-type(n + 3), footer { display: none; }"  # headline numbers and table of tasks stay
# Of the report of several runs: the figures of its first scenario, without tables.
SEVERAL_REST = "main > section:nth-of-type(n + 2), footer, .thirds ~ *, .scenario > .scroll, h3:has(+ .scroll)"
AGENTS, SEEDS = ("auto", "fixed:finetune", "fixed:prototype", "random"), 3  # of the report of several runs
GALLERY = {"one": ("waterfall", "choices", "provenance"), "several": ("over-time", "cost", "test-sets")}
LIVE_SIZE = (112, 60)  # columns and lines of the terminal


def run_demo(out: Path) -> Path:
    """Run the demonstration.

    Args:
        out: Where its record goes.

    Returns:
        The same folder.
    """
    subprocess.run([sys.executable, "-m", "evermap", "run", "demo", "--out", str(out)], check=True)
    return out


def run_several(out: Path) -> Path:
    """Run the demonstration with several agents and seeds.

    Args:
        out: Where the folders of the runs go.

    Returns:
        The same folder.
    """
    for agent in AGENTS:
        for seed in range(SEEDS):
            target = out / f"{agent.replace(':', '-')}-{seed}"
            options = ["--selector", agent, "--seed", str(seed), "--out", str(target)]
            subprocess.run([sys.executable, "-m", "evermap", "run", "demo", *options], check=True, capture_output=True)
    return out


def gallery(run: Path, runs: Path, target: Path) -> None:
    """Draw the figures that the README shows.

    Args:
        run: The folder of a record; it is read, not changed.
        runs: A folder of records.
        target: The folder of the SVG files.
    """
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        draw(report(run, scratch / "report")[1], scratch / "one")
        draw(report_several(runs_in([runs]), scratch / "side")[1], scratch / "several")
        target.mkdir(exist_ok=True)
        for kind, names in GALLERY.items():
            for name in names:
                shutil.copy(scratch / kind / f"{name}.svg", target / f"{name}.svg")


def several_picture(runs: Path, target: Path) -> None:
    """Photograph the report of several runs.

    Args:
        runs: A folder of records.
        target: The PNG file.
    """
    with tempfile.TemporaryDirectory() as folder:
        page = report_several(runs_in([runs]), Path(folder), "fixed:finetune")[0]
        photograph(page, target, f"{SEVERAL_REST} {{ display: none; }}")


def report_picture(run: Path, target: Path) -> None:
    """Photograph the top of a run's report.

    Args:
        run: The folder of the record; it is copied, not changed.
        target: The PNG file.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "run"
        shutil.copytree(run, copy, ignore=shutil.ignore_patterns("store"))
        manifest = json.loads((copy / "manifest.json").read_text())
        manifest["started"] = ""
        (copy / "manifest.json").write_text(json.dumps(manifest))
        photograph(write_report(copy), target, REST)


def photograph(page: Path, target: Path, rest: str) -> None:
    """Photograph the top of a page, in light colours.

    Args:
        page: The HTML file; it is changed.
        target: The PNG file.
        rest: CSS that hides what is not wanted.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise SystemExit(f"There is no browser to photograph the report with; looked for {', '.join(BROWSERS)}.")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        page.write_text(page.read_text().replace("</style>", f"{rest}</style>", 1))
        size = ",".join(map(str, REPORT_SIZE))
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/user"]
        options += ["--blink-settings=preferredColorScheme=1", f"--window-size={size}", f"--screenshot={shot}"]
        subprocess.run([browser, *options, page.as_uri()], check=True, capture_output=True, timeout=120)
        picture = Image.open(shot).convert("RGB")
        drawn = ImageChops.difference(picture, Image.new("RGB", picture.size, picture.getpixel((0, 0)))).getbbox()
        cut = picture.crop((0, 0, picture.width, min(drawn[3] + 24, picture.height)))
        cut.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(target, optimize=True)


def live_picture(run: Path, target: Path) -> None:
    """Draw the live display as it stood when the last guard of a run had spoken.

    Args:
        run: The folder of the record.
        target: The SVG file.
    """
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    guarded = [each["task"] for each in events if each["event"] == "Learned" and each["verdict"]]
    last = guarded[-1] if guarded else events[-1]["task"]
    end = next(i for i, each in enumerate(events) if each["event"] == "Remembered" and each["task"] == last)
    width, height = LIVE_SIZE
    console = Console(
        width=width, height=height, record=True, force_terminal=True, color_system="truecolor", file=io.StringIO()
    )
    recipe = json.loads((run / "manifest.json").read_text())
    shown = Picture(console, f"{recipe['scenario']}  {recipe['agent']}  seed {recipe['seed']}")
    for event in events[: end + 1]:  # not entered, so that only what stays above the picture is printed
        shown.feed(event)
    console.print(shown)
    page = re.sub(r"\s*@font-face \{\{.*?\}\}\n", "\n", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    svg = console.export_svg(title="evermap run demo", theme=DIMMED_MONOKAI, code_format=page, unique_id="evermap")
    target.write_text(re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE))


def main() -> None:
    """Make all pictures from the runs that are named, or from new ones."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(sys.argv[1]) if len(sys.argv) > 1 else run_demo(Path(folder) / "demo")
        runs = Path(sys.argv[2]) if len(sys.argv) > 2 else run_several(Path(folder) / "several")
        report_picture(run, DOCS / "report.png")
        several_picture(runs, DOCS / "several.png")
        live_picture(run, DOCS / "live.svg")
        gallery(run, runs, DOCS / "gallery")


if __name__ == "__main__":
    main()
