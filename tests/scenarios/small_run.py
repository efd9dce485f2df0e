"""A run that is small and has everything that must come back after it was cut off, and what such a run leaves."""

import json
import sqlite3
from pathlib import Path

from evermap.scenarios.scenario import Scenario, load_scenario

RECIPE = """
description = "Two tasks that arrive together, few-shot ones, one that returns."
device = "cpu"
[stream]
source = "digits"
setting = "task-incremental"
layout = "tasks"
test_per_class = 10
[agent]
encoder_settings = { hidden = [8] }
anchor_features = 16
episode_memory = 3
[budget]
scratch = 2.0
consolidate = 0.2
[strategies.scratch]
steps = 25
[strategies.finetune]
steps = 12
[strategies.multitask]
steps = 12
[strategies.maml]
meta_steps = 2
[[stream.tasks]]
name = "0 or 1"
classes = [0, 1]
train = 10
[[stream.tasks]]
name = "2 or 3"
phase = "pair"
classes = [2, 3]
train = 14
[[stream.tasks]]
name = "4 or 5"
phase = "pair"
classes = [4, 5]
train = 14
[[stream.tasks]]
name = "four"
classes = [6, 7, 8, 9]
train = 3
query = 5
[[stream.tasks]]
name = "2 or 3 again"
returns = "2 or 3"
train = 12
[[stream.tasks]]
name = "all"
classes = "all"
train = 12
"""


def recipe(folder: Path, *changes: str) -> Scenario:
    """The recipe above with some changes; its file is left in a folder."""
    path = folder / "small.toml"
    path.write_text(RECIPE)
    return load_scenario(path, changes)


def timeless(value: object) -> object:
    """Plain data without what a clock and the system's account of memory measured."""
    if isinstance(value, dict):
        return {key: 0 if key in ("seconds", "peak_bytes") else timeless(inner) for key, inner in value.items()}
    return [timeless(each) for each in value] if isinstance(value, list) else value


def leavings(out: Path) -> dict[str, object]:
    """All that a run leaves, without times, memory, and the list of its interruptions."""
    db = sqlite3.connect(f"file:{out / 'store' / 'catalog.sqlite'}?mode=ro", uri=True)
    found: dict[str, object] = {}
    # Checksums are of rows that say what a clock measured.
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'checksums'"
    for (table,) in db.execute(tables).fetchall():
        rows = [list(row) for row in db.execute(f'SELECT * FROM "{table}"')]
        texts = [[_read(cell) for cell in row] for row in rows]
        found[f"catalog, {table}"] = sorted(json.dumps(timeless(row), sort_keys=True) for row in texts)
    db.close()
    for blob in sorted((out / "store" / "blobs").iterdir()):
        found[f"blob {blob.name}"] = blob.read_bytes()
    for name in ("scenario.toml", "matrix.csv", "avalanche.csv"):
        found[name] = (out / name).read_bytes()
    found["events.jsonl"] = [timeless(json.loads(line)) for line in (out / "events.jsonl").read_text().splitlines()]
    manifest = json.loads((out / "manifest.json").read_text())
    found["manifest.json"] = {
        k: v for k, v in manifest.items() if k not in ("started", "ended", "peak_bytes", "interruptions")
    }
    return found


def _read(cell: object) -> object:
    if isinstance(cell, bytes):
        return cell.hex()
    try:
        return json.loads(cell) if isinstance(cell, str) else cell
    except ValueError:
        return cell
