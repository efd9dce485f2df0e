"""The root of the repository is the package: what is declared, what is installed and the tree agree."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

import evermap

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# The folders of the root that are part of the package, and the modules beside them: design §3.
FOLDERS = ("agent", "reports", "scenarios", "strategies", "streams")
MODULES = ("__init__.py", "__main__.py", "cli.py", "errors.py", "registry.py")
GROUPS = ("evermap.strategies", "evermap.selectors", "evermap.encoders", "evermap.sources")


def tree() -> set[str]:
    """Every file that belongs in the wheel, as its path from the root."""
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    names = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    return names | {*MODULES, "py.typed"}


def test_declared_packages_are_the_folders_with_code():
    folders = {Path(name).parent for name in tree() if name.endswith(".py")}
    expected = {".".join(("evermap", *folder.parts)) for folder in folders}
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(expected)


def test_every_package_has_an_init():
    folders = {Path(name).parent for name in tree() if name.endswith(".py")}
    assert [str(folder) for folder in folders if not (ROOT / folder / "__init__.py").is_file()] == []


def test_no_other_module_in_the_root():
    # Each would be shipped inside the wheel.
    assert sorted(path.name for path in ROOT.glob("*.py")) == sorted(MODULES)


def test_root_init_holds_the_version_and_nothing_else():
    # pytest imports it a second time under the checkout's own name: whatever it loaded would be loaded twice.
    docstring, assignment = ast.parse((ROOT / "__init__.py").read_text()).body
    assert isinstance(docstring, ast.Expr)
    assert ast.unparse(assignment) == f"__version__ = {evermap.__version__!r}"


def test_imports_inside_the_package_are_relative():
    # An absolute one loads a class a second time, silently, where the checkout goes by another name.
    def absolute(node: ast.AST) -> bool:
        if isinstance(node, ast.ImportFrom):
            return node.level == 0 and (node.module or "").split(".")[0] == "evermap"
        return isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "evermap" for alias in node.names)

    modules = [ROOT / name for name in sorted(tree()) if name.endswith(".py")]
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in modules
        for node in ast.walk(ast.parse(path.read_text()))
        if absolute(node)
    ]
    assert found == []


def test_wheel_holds_the_tree(tmp_path: Path):
    source = tmp_path / "source"
    source.mkdir()
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, source)
    command = [sys.executable, "-P", "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    built = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert sorted(held) == sorted(f"evermap/{name}" for name in tree())


@pytest.mark.parametrize("group", GROUPS)
def test_installed_entry_points_are_the_declared_ones(group: str):
    ours = [point for point in entry_points(group=group) if point.dist and point.dist.name == "evermap"]
    installed = {point.name: point.value for point in ours}
    assert installed == PROJECT["project"]["entry-points"][group], "install again: make install"


@pytest.mark.parametrize(
    ("group", "name"), [(group, name) for group in GROUPS for name in PROJECT["project"]["entry-points"][group]]
)
def test_entry_point_loads(group: str, name: str):
    (point,) = entry_points(group=group, name=name)
    assert isinstance(point.load(), type)


def test_version_is_the_changelogs_and_the_installed_one():
    assert version("evermap") == evermap.__version__
    assert f"## [{evermap.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_requirement_is_pinned():
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    pinned = {normal(name) for name in pins}
    asked = PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["dev"]
    names = {normal(re.match(r"[\w.-]+", requirement)[0]) for requirement in asked}
    assert sorted(names - pinned) == []
    assert [pin for pin in pins.values() if "+" in pin] == [], "a local build such as +cpu exists on some machines only"
