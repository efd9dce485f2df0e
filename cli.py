"""The command line: arguments, wiring and exit codes; everything heavy is imported inside the commands."""

from __future__ import annotations

if not __package__:  # `python cli.py` in a checkout
    __package__ = "evermap"

import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from .scenarios.scenario import Scenario

OUR_FAULT, INTERRUPTED = 1, 130

app = typer.Typer(
    name="evermap",
    help="Run lifelong agents through streams of tasks, and report what they forgot and what they transferred.",
    no_args_is_help=True,
    # Typer loads pydantic for every option that is not a plain bool: on the way to any command, these would be the
    # options of completion and the built-in --help (so `root` has one of its own).
    add_completion=False,
    context_settings={"help_option_names": []},
    pretty_exceptions_enable=False,
)
_HELP = {"help_option_names": ["-h", "--help"]}


class Device(StrEnum):
    """Where networks learn."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Sized(StrEnum):
    """Sizes of a scenario."""

    default = "default"
    short = "short"


class Kind(StrEnum):
    """What can be listed."""

    scenarios = "scenarios"
    strategies = "strategies"
    selectors = "selectors"
    encoders = "encoders"
    sources = "sources"


_SINGULAR = {"strategies": "strategy", "selectors": "selector", "encoders": "encoder", "sources": "source"}

Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE", help="A Python file with strategies of your own; may be repeated."),
]
Size = Annotated[Sized, typer.Option(help="The recipe as it is, or with the changes of its table [short].")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", envvar="EVERMAP_DEBUG", help="Show the traceback of every error.")]


def _version(wanted: bool) -> None:
    if wanted:
        from . import __version__

        typer.echo(f"evermap {__version__}")
        raise typer.Exit


def _help(context: typer.Context, wanted: bool) -> None:
    if wanted:
        typer.echo(context.get_help())
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    help_: Annotated[
        bool, typer.Option("--help", "-h", callback=_help, is_eager=True, help="Show this message and exit.")
    ] = False,
) -> None:
    """Run lifelong agents through streams of tasks, and report what they forgot and what they transferred."""


@app.command(context_settings=_HELP)
def run(
    scenario: Annotated[str, typer.Argument(help="A scenario's name (`evermap list scenarios`) or a TOML file.")],
    selector: Annotated[
        str | None, typer.Option(metavar="NAME", help="How to choose, e.g. probe, random, fixed:finetune.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The seed that decides everything random.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The new folder of the record.", show_default="runs/<id>")
    ] = None,
    device: Annotated[Device, typer.Option(help="Where networks learn.")] = Device.auto,
    size: Size = Sized.default,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a field of the recipe; may be repeated."),
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run a scenario, show what happens, and write its record and its report."""
    from .scenarios.scenario import load_scenario

    _load_plugins(plugin)
    overrides = list(sets or [])
    if selector is not None:
        overrides.append(f"agent.selector={json.dumps(selector)}")
    if seed is not None:
        overrides.append(f"seed={seed}")
    if device is not Device.auto:
        overrides.append(f"device={device.value}")
    recipe = load_scenario(scenario, overrides, size=size.value)
    raise typer.Exit(_play(recipe, out, plugin or (), as_json))


@app.command("list", context_settings=_HELP)
def list_(
    kind: Annotated[Kind | None, typer.Argument(help="What to list; everything when left out.")] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List scenarios, strategies, selectors, encoders and sources, each with a line about it."""
    from .registry import registered
    from .reports.catalog import list_table, listed
    from .scenarios.scenario import library

    _load_plugins(plugin)
    found: dict[str, list[dict[str, str]]] = {}
    for each in [kind] if kind else list(Kind):
        if each is Kind.scenarios:
            rows = [
                {"kind": "scenario", "name": n, "description": d, "origin": "evermap"} for n, d in library().items()
            ]
        else:
            rows = [listed(entry) for entry in registered(_SINGULAR[each.value]).values()]
        found[each.value] = rows
    if as_json:
        _json(found)
        return
    console = _stdout()
    for position, (title, rows) in enumerate(found.items()):
        if position:
            console.print()
        console.print(list_table(title.capitalize(), rows))


@app.command(context_settings=_HELP)
def show(
    name: Annotated[str, typer.Argument(help="A scenario, strategy, selector, encoder or source.")],
    size: Size = Sized.default,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw samples of every task of a scenario: .png, .svg or .pdf.")
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show what a scenario holds, or what a strategy, selector, encoder or source does and how it is set."""
    from .errors import UnknownName, UserError
    from .registry import GROUPS, registered
    from .reports.catalog import show_page, shown
    from .scenarios.scenario import library, load_scenario

    _load_plugins(plugin)
    pages = [shown(entries[name]) for kind in GROUPS if name in (entries := registered(kind))]
    is_scenario = name in library() or name.endswith(".toml")
    if not pages and not is_scenario:
        known = [*library(), *(each for kind in GROUPS for each in registered(kind))]
        raise UnknownName("scenario, strategy, selector, encoder or source", name, set(known))
    console = _stdout()
    if is_scenario:
        recipe = load_scenario(name, size=size.value)
        pages.insert(0, _scenario_page(recipe, name, figure))
        if not as_json:
            from .reports.recipe import scenario_page

            console.print(scenario_page(pages[0]))
    elif figure is not None:
        raise UserError(f"--figure {figure}: only scenarios have samples, and {name!r} is none.")
    if as_json:
        _json(pages)
        return
    for position, page in enumerate(pages):
        if position:
            console.print()
        if page["kind"] != "scenario":
            console.print(show_page(page))


@app.command(context_settings=_HELP)
def validate(
    scenario: Annotated[str, typer.Argument(help="A scenario's name or a TOML file.")],
    plugin: Plugins = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Check a scenario without learning anything: its fields, sizes, data and agent, in every size it has."""
    import torch

    from .scenarios.outline import validate as check

    torch.set_num_threads(1)
    _load_plugins(plugin)
    found = check(scenario)
    if as_json:
        _json(found)
        return
    for size, each in found["sizes"].items():
        what = f"{each['tasks']} tasks, {each['concepts']} test sets, recipe {each['recipe_sha256'][:12]}"
        typer.echo(f"{scenario}: valid ({size}: {what}, data {each['data_sha256'][:12]})")


@app.command(context_settings=_HELP)
def report(
    record: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Make a run's report again from its record: a table here, summary.json and report.html in its folder."""
    from .reports.report import report as make_report

    page, summary = make_report(record)
    if as_json:
        _json(summary)
    else:
        _overview(summary, page)


def _play(recipe: Scenario, out: Path | None, plugins: Sequence[Path], as_json: bool) -> int:
    """Run a recipe, show its events, write its report; give back the exit code."""
    import warnings

    # Avalanche imports qpsolvers, which says so on every start; nothing here solves a quadratic programme.
    warnings.filterwarnings("ignore", "no QP solver found", UserWarning)
    import torch

    from .reports.live import display
    from .scenarios.record import check_writable, new_run_dir
    from .scenarios.run import run as run_scenario

    torch.set_num_threads(1)
    selector, ours = recipe.agent.selector, out is None or not out.exists()
    if out is None:
        out = new_run_dir(Path("runs"), recipe.name, selector, recipe.seed)
    check_writable(out)
    again = ["evermap", "run", str(out / "scenario.toml")]
    for file in plugins:
        again += ["--plugin", str(file)]
    title = f"{recipe.name}  {selector}  seed {recipe.seed}"
    failure: Exception | KeyboardInterrupt | None = None
    try:
        with (
            nullcontext() if as_json else display(_stdout(), title) as shown,
            closing(run_scenario(recipe, out, command=again)) as events,
        ):
            for event in events:
                if shown is None:
                    _json(event.to_json(), lines=True)
                else:
                    shown.feed(event.to_json())
    except (Exception, KeyboardInterrupt) as error:
        failure = error
    if failure is not None and ours and not (out / "manifest.json").exists():
        shutil.rmtree(out, ignore_errors=True)  # it failed before there was anything to record
    return _conclude(out, failure, as_json)


def _conclude(out: Path, failure: Exception | KeyboardInterrupt | None, as_json: bool) -> int:
    """Write the report of what was kept, say what is where, and give back the exit code."""
    from .errors import RecordError
    from .reports.report import report as make_report

    kept = None
    try:
        page, summary = make_report(out)
    except RecordError:
        if failure is None:
            raise
    else:
        done = sum(task["accuracy"] is not None for task in summary["tasks"])
        kept = f"Kept: {done} of {summary['run']['tasks']} tasks; {page} reports them."
        if as_json:
            _json({"event": "Summary", "report": str(page), **summary}, lines=True)
        elif failure is None or done:
            _overview(summary, page)
    if isinstance(failure, KeyboardInterrupt):
        _stderr().print(f"evermap: interrupted. {kept or 'Nothing was kept: nothing had been evaluated yet.'}")
        return INTERRUPTED
    if failure is not None:
        if kept:
            _stderr().print(kept)
        raise failure
    return 0


def _overview(summary: dict[str, Any], page: Path) -> None:
    """Print the summary, and the path of the report on a last line of its own."""
    from .reports.terminal import overview

    _stdout().print(overview(summary))
    sys.stdout.write(f"{page}\n")


def _scenario_page(recipe: Scenario, name: str, figure: Path | None) -> dict[str, Any]:
    """Describe a scenario with every task of its stream and what a run will take; draw its samples if asked to."""
    import torch

    from .scenarios.outline import measured, outline

    torch.set_num_threads(1)
    page = outline(recipe, name)
    page["estimate"] = measured(recipe)
    if figure is not None:
        from .scenarios.sample_sheet import sample_sheet
        from .streams.stream import build_stream

        count = sample_sheet(build_stream(recipe.stream, recipe.seed), figure)
        page["figure"] = {"path": str(figure), "tasks": count}
    return page


def _load_plugins(files: Iterable[Path] | None) -> None:
    from .registry import add_file

    for file in files or ():
        add_file(file)


def _json(thing: Any, lines: bool = False) -> None:
    """Print data on standard output: on one line, or for reading."""
    sys.stdout.write(json.dumps(thing, ensure_ascii=False, indent=None if lines else 2, default=str) + "\n")
    sys.stdout.flush()


def _stdout() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def _stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and turn what goes wrong into a message and an exit code.

    Args:
        arguments: What the user typed behind "evermap"; None reads `sys.argv`.

    Returns:
        0, 2 for a mistake of the user, 1 for a fault of evermap, 130 after Ctrl+C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or os.environ.get("EVERMAP_DEBUG", "") not in ("", "0")
    try:
        app(given, prog_name="evermap")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else OUR_FAULT
    except Exception as error:
        from .errors import EvermapError
        from .reports.units import plain

        if debug:
            import traceback

            traceback.print_exc()
        expected = isinstance(error, EvermapError)
        _stderr().print(f"evermap: {plain(error) if expected else f'{type(error).__name__}: {plain(error)}'}")
        if not isinstance(error, EvermapError) or error.exit_code == OUR_FAULT:
            _stderr().print("This is a fault of evermap or of a plug-in; the same command with --debug shows where.")
        return error.exit_code if isinstance(error, EvermapError) else OUR_FAULT
    return 0


if __name__ == "__main__":
    sys.exit(main())
