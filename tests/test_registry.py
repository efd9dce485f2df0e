import sys
import textwrap

import pytest

from evermap import registry
from evermap.errors import PluginError, UnknownName


@pytest.fixture(autouse=True)
def _as_before():
    """What a test registers is taken back."""
    kept = {kind: dict(found) for kind, found in registry._from_files.items()}
    yield
    for kind, found in kept.items():
        registry._from_files[kind].clear()
        registry._from_files[kind].update(found)


@pytest.fixture
def file(tmp_path):
    def write(body, name="my_plugin.py"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(body))
        return path

    return write


STRATEGY = """
from evermap.agent.strategy import Strategy
from evermap.strategies.scratch import Scratch

class Mine(Strategy):
    \"\"\"Mine.\"\"\"
    name = "mine"
    def learn(self, task, known, rng):
        yield known.fresh(task, rng)

class Unfinished(Strategy):
    name = "unfinished"

class Nameless(Strategy):
    def learn(self, task, known, rng):
        yield

helper = 3
"""


def test_built_ins_enter_by_entry_points():
    assert {"scratch", "finetune", "prototype", "reuse"} <= set(registry.registered("strategy"))
    assert {"fixed", "random", "probe"} <= set(registry.registered("selector"))
    assert {"mlp", "conv4", "patches", "random", "raw"} <= set(registry.registered("encoder"))
    assert "digits" in registry.registered("source")


@pytest.mark.parametrize("kind", registry.GROUPS)
def test_everything_registered_loads_and_is_what_it_says(kind):
    found = registry.registered(kind)
    assert list(found) == sorted(found)
    for name, entry in found.items():
        thing = registry.load(kind, name)
        assert (entry.kind, entry.name, entry.origin) == (kind, name, "evermap")
        assert (thing.registry_kind, thing.name) == (kind, name)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(
        UnknownName, match=r"no strategy called 'finetun'\. Did you mean finetune\?.*Known: .*scratch"
    ) as e:
        registry.load("strategy", "finetun")
    assert e.value.near[0] == "finetune"
    assert e.value.exit_code == 2
    with pytest.raises(UnknownName) as e:
        registry.load("encoder", "zzzzzz")
    assert "Did you mean" not in str(e.value)


def test_a_file_adds_what_it_defines_and_nothing_else(file):
    added = registry.add_file(path := file(STRATEGY))
    assert [(entry.kind, entry.name, entry.origin) for entry in added] == [("strategy", "mine", str(path))]
    assert registry.load("strategy", "mine").__name__ == "Mine"
    assert registry.load("strategy", "scratch").__module__ == "evermap.strategies.scratch", "imported, not defined"


def test_a_file_may_take_the_place_of_a_built_in(file):
    registry.add_file(file(STRATEGY.replace('"mine"', '"scratch"')))
    assert registry.load("strategy", "scratch").__name__ == "Mine"
    assert registry.registered("strategy")["scratch"].origin.endswith("my_plugin.py")


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("x = 1 / 0", r"my_plugin\.py cannot be imported: ZeroDivisionError: division by zero"),
        ("def broken(:", "cannot be imported: SyntaxError"),
        ("import no_such_package", "cannot be imported: ModuleNotFoundError: No module named 'no_such_package'"),
        ("import sys; sys.exit(3)", "cannot be imported: SystemExit: 3"),
        ("x = 1", "defines no strategy, selector, encoder or source: subclass"),
    ],
)
def test_a_file_that_does_not_work_is_named(file, body, match):
    with pytest.raises(PluginError, match=match) as caught:
        registry.add_file(file(body))
    assert caught.value.exit_code == 2
    assert "my_plugin.py" in str(caught.value)


def test_a_file_that_could_not_be_imported_leaves_nothing(file):
    with pytest.raises(PluginError):
        registry.add_file(file(STRATEGY + "\n1 / 0\n", "half.py"))
    assert "mine" not in registry.registered("strategy")
    assert "evermap_plugin_half" not in sys.modules


def test_ctrl_c_while_importing_is_no_fault_of_the_file(file):
    with pytest.raises(KeyboardInterrupt):
        registry.add_file(file("raise KeyboardInterrupt"))


def test_files_that_are_none(tmp_path, file):
    with pytest.raises(PluginError, match="there is no such file"):
        registry.add_file(tmp_path / "missing.py")
    with pytest.raises(PluginError, match="there is no such file"):
        registry.add_file(tmp_path)
    with pytest.raises(PluginError, match=r"not a Python file \(its name must end in \.py\)"):
        registry.add_file(file("x = 1", "my.txt"))


def test_an_entry_point_that_cannot_be_imported_is_named():
    from importlib.metadata import EntryPoint

    point = EntryPoint("gone", "no_such_package.deep:Gone", "evermap.strategies")
    entry = registry.Registered("strategy", "gone", "somebodys-package", point)
    with pytest.raises(PluginError, match=r"'gone' from somebodys-package \(no_such_package\.deep:Gone\) cannot be"):
        entry.load()
