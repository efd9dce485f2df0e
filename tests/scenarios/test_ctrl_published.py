"""CTrL's published streams run on files in their publishers' layouts; here these hold noise."""

from collections.abc import Callable
from pathlib import Path

import pytest

from evermap.errors import RecipeError
from evermap.scenarios.outline import validate
from evermap.scenarios.run import run
from evermap.scenarios.scenario import load_scenario

STREAMS = ("minus", "plus", "in", "out", "pl", "long")
Write = Callable[..., None]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, write_images: Write) -> Path:
    """As many images as the five streams of the default size take: first visit and return of the large tasks."""
    folder = tmp_path_factory.mktemp("data")
    write_images(folder, large=660, small=60)
    return folder


@pytest.mark.parametrize("stream", STREAMS)
def test_the_published_sizes_can_be_had(stream: str, root: Path) -> None:
    sizes = validate(f"ctrl-s-{stream}-published", root)["sizes"]
    tasks = {"pl": 5, "long": 100}.get(stream, 6)
    assert (sizes["default"]["tasks"], sizes["short"]["tasks"]) == (tasks, min(tasks, 9))


def test_fewer_samples_than_published_are_said_to_be_too_few(tmp_path: Path, write_images: Write) -> None:
    write_images(tmp_path, large=100, small=60)
    with pytest.raises(RecipeError, match=r"ctrl-s-minus-published: stream\.large: found 200; class 0 has 100 "):
        validate("ctrl-s-minus-published", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("stream", STREAMS)
def test_they_run_in_the_short_size(stream: str, root: Path, tmp_path: Path) -> None:
    scenario = load_scenario(f"ctrl-s-{stream}-published", data_root=root, size="short")
    rows = [event for event in run(scenario, tmp_path / "run", data_root=root) if type(event).__name__ == "Evaluated"]
    assert rows
