"""Make the README's pictures, docs/report.png and docs/live.svg: `python docs/pictures.py [RUN]`.

RUN is the folder of a run; without it the demonstration is run first. The report is photographed by Chromium, the live
display is replayed up to where a guard has spoken. Same record, same pictures: the time of day is left out.
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
from evermap.reports.report import write_report

DOCS = Path(__file__).resolve().parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
REPORT_SIZE = (1200, 3000)  # pixels; what is left blank below is cut off
REST = "main > section:nth-of-type(n + 3), footer { display: none; }"  # headline numbers and table of tasks stay
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


def report_picture(run: Path, target: Path) -> None:
    """Photograph the top of a run's report.

    Args:
        run: The folder of the record; it is copied, not changed.
        target: The PNG file.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise SystemExit(f"There is no browser to photograph the report with; looked for {', '.join(BROWSERS)}.")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "run"
        shutil.copytree(run, copy, ignore=shutil.ignore_patterns("store"))
        manifest = json.loads((copy / "manifest.json").read_text())
        manifest["started"] = ""
        (copy / "manifest.json").write_text(json.dumps(manifest))
        page, shot = write_report(copy), Path(folder) / "shot.png"
        page.write_text(page.read_text().replace("</style>", f"{REST}</style>", 1))
        size = ",".join(map(str, REPORT_SIZE))
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/user"]
        options += ["--blink-settings=preferredColorScheme=1", f"--window-size={size}", f"--screenshot={shot}"]
        subprocess.run([browser, *options, page.as_uri()], check=True, capture_output=True, timeout=120)
        picture = Image.open(shot).convert("RGB")
        drawn = ImageChops.difference(picture, Image.new("RGB", picture.size, picture.getpixel((0, 0)))).getbbox()
        cut = picture.crop((0, 0, picture.width, drawn[3] + 24))
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
    """Make both pictures from the run that is named, or from a new one."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(sys.argv[1]) if len(sys.argv) > 1 else run_demo(Path(folder) / "demo")
        report_picture(run, DOCS / "report.png")
        live_picture(run, DOCS / "live.svg")


if __name__ == "__main__":
    main()
