"""Chromium opens a page, and measures it from outside: what sticks out, what lies on what, what it asked for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MEASURE = """
<iframe src="{page}" style="border:0;width:{width}px;height:900px" id="f"></iframe><pre id="o"></pre>
<script>
window.onload = () => {{
  const frame = document.getElementById("f"), page = frame.contentDocument, root = page.documentElement;
  const box = each => each.getBoundingClientRect();
  const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
  const named = each => each.tagName + "." + each.className + " " + each.textContent.trim().slice(0, 40);
  const lying = [];
  const flat = [...page.querySelectorAll("section")].flatMap(each => [...each.children]).concat(
    [...page.querySelectorAll(".fall > div > .name, .fall > div > .num, .fall > div > .said")]);
  for (const parent of new Set(flat.map(each => each.parentElement))) {{
    const mine = flat.filter(each => each.parentElement === parent && box(each).width && box(each).height);
    mine.forEach((a, i) => mine.slice(i + 1).forEach(b => {{
      if (meet(box(a), box(b))) lying.push(named(a) + " | " + named(b));
    }}));
  }}
  const labels = [...page.querySelectorAll("svg")].flatMap(svg => {{
    const texts = [...svg.querySelectorAll("text")].filter(each => box(each).width);
    return texts.flatMap((a, i) => texts.slice(i + 1).filter(b => meet(box(a), box(b)))
      .filter(b => !a.classList.contains("on") && !b.classList.contains("on")).map(b => named(a) + " | " + named(b)));
  }});
  const cut = each => each && each !== root && (frame.contentWindow.getComputedStyle(each).overflowX !== "visible"
    || cut(each.parentElement));  // it scrolls, or ends in an ellipsis
  const out = [...page.querySelectorAll("body *")].filter(each => box(each).right > root.clientWidth + 1
    && !each.classList.contains("sr") && !cut(each.parentElement) && !each.closest("svg")).map(named);
  const asked = frame.contentWindow.performance.getEntriesByType("resource").length;
  const found = {{sticks: root.scrollWidth - root.clientWidth, sections: root.querySelectorAll("section h2").length,
    asked, lying, labels, out}};
  document.getElementById("o").textContent = "measured " + JSON.stringify(found) + " end";
}};
</script>
"""


def measured(page: Path, width: int, folder: Path) -> dict[str, Any]:
    """Open a page in a frame of so many pixels.

    Args:
        page: The HTML file.
        width: Width of the frame.
        folder: A scratch folder.

    Returns:
        "sticks": pixels by which the page is wider than the frame; "sections"; "asked": requests; "lying" and
        "labels": what lies on what; "out": what sticks out of the page; "console": what the console said.
    """
    frame = folder / f"frame-{width}.html"  # the page is measured from outside: it has no script of its own
    frame.write_text(MEASURE.format(page=page.as_uri(), width=width))
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    command += ["--disable-background-networking", "--disable-component-update"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--allow-file-access-from-files", "--enable-logging=stderr"]
    command += [f"--user-data-dir={folder / f'profile-{width}'}", "--window-size=1400,1000", "--dump-dom"]
    done = subprocess.run([*command, frame.as_uri()], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = re.search(r"measured (\{.*\}) end", done.stdout, re.DOTALL)
    assert found, done.stdout[-2000:]
    text = found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return {**json.loads(text), "console": [line for line in done.stderr.splitlines() if "CONSOLE" in line]}
