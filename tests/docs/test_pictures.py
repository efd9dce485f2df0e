"""The README's pictures come from a script: the same record gives the same pictures."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

import evermap
from evermap.scenarios.run import run
from evermap.scenarios.scenario import load_scenario

SCRIPT = Path(evermap.__file__).parent / "docs" / "pictures.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pictures", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_live_display_is_drawn_from_a_record(script: ModuleType, tmp_path: Path) -> None:
    small = ["stream.test_per_class=10", "stream.train_per_class=20", "agent.selector=fixed:prototype"]
    record = tmp_path / "run"
    record.mkdir()
    for _ in run(load_scenario("digits-split", small), record):
        pass
    drawn = []
    for name in ("first.svg", "second.svg"):
        script.live_picture(record, tmp_path / name)
        drawn.append((tmp_path / name).read_text())
    assert drawn[0] == drawn[1]
    assert "prototype" in drawn[0]
    assert "url(http" not in drawn[0]  # no font is fetched


def test_the_gallery_is_there_and_small(script: ModuleType) -> None:
    for names in script.GALLERY.values():
        for name in names:
            picture = script.DOCS / "gallery" / f"{name}.svg"
            assert 1_000 < picture.stat().st_size < 150_000
            assert "<text" not in picture.read_text()  # no reader needs a font
    for name in ("report.png", "several.png", "live.svg"):
        assert 1_000 < (script.DOCS / name).stat().st_size < 150_000
