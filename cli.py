"""The command line: arguments, wiring and exit codes; everything heavy is imported inside the commands."""

from __future__ import annotations

if not __package__:  # `python cli.py` in a checkout
    __package__ = "evermap"

import json
import os
import shutil
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from .agent.events import Event
    from .agent.store import KnowledgeStore
    from .scenarios.compare import Sitting
    from .scenarios.condition import Condition
    from .scenarios.scenario import Scenario
    from .scenarios.trackers import Tracker

SEEDS = "5"  # how many, where nothing is said
OUR_FAULT, CONDITION_HOLDS, INTERRUPTED = 1, 3, 130

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


class _Command(TyperCommand):
    """A command whose flags are shown without a type."""

    def get_params(self, ctx: Any) -> Any:
        """Return the options and arguments."""
        params = super().get_params(ctx)
        for each in params:
            if getattr(each, "is_flag", False):
                each.metavar = ""
        return params


_HELP = {"help_option_names": ["-h", "--help"]}
store_app = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": []})
app.add_typer(store_app, name="store", help="Look into a knowledge store, check it, and pass on what is in it.")


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
    baselines = "baselines"


_WHICH = "its name, its number in the stream from 1, or before-1, before-2, … for what came before the stream"
_SINGULAR = {"strategies": "strategy", "selectors": "selector", "encoders": "encoder", "sources": "source"}

Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE",
        help="A Python file with strategies, selectors, encoders or sources of your own; may be repeated.",
    ),
]
Size = Annotated[Sized, typer.Option(help="The recipe as it is, or with the changes of its table `short`.")]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", metavar="DIR", envvar="EVERMAP_DATA", help="The folder that holds your data sets."),
]
Download = Annotated[
    bool, typer.Option("--download", help="Fetch published data sets that are missing into the data root.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else.")]
Board = Annotated[
    bool, typer.Option("--tensorboard", help="Write what happens for TensorBoard as well, into the run's folder.")
]
Wandb = Annotated[
    bool, typer.Option("--wandb", help="Send what happens to Weights & Biases as well; its WANDB_… variables hold.")
]
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


@app.command(
    cls=_Command,
    context_settings=_HELP,
    epilog="Example: evermap run digits-split --agent fixed:finetune --seed 3 --set stream.test_share=0.5",
)
def run(
    scenario: Annotated[
        str, typer.Argument(metavar="SCENARIO", help="A scenario's name (`evermap list scenarios`) or a TOML file.")
    ],
    agent: Annotated[
        str | None,
        typer.Option(
            "--agent",
            "--selector",
            metavar="TEXT",
            help="Who learns: auto, rules, fixed:NAME, avalanche:NAME(…), independent, joint, … (`evermap list`).",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The seed that decides everything random.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The new folder of the record.", show_default="runs/<id>")
    ] = None,
    device: Annotated[Device, typer.Option(help="Where networks learn.")] = Device.auto,
    size: Size = Sized.default,
    store: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="A run or a store whose knowledge the agent begins with; it is copied."),
    ] = None,
    prior: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="A run whose selector's experience is taken along; may be repeated."),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a field of the recipe; may be repeated."),
    ] = None,
    data_root: DataRoot = None,
    download: Download = False,
    plugin: Plugins = None,
    tensorboard: Board = False,
    wandb: Wandb = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run a scenario, show what happens, and write its record and its report."""
    from .errors import RecipeError
    from .scenarios.override import blamed
    from .scenarios.scenario import load_scenario

    _load_plugins(plugin)
    overrides, options = list(sets or []), {}
    if agent is not None:
        overrides.append(f"agent.selector={json.dumps(agent)}")
        options["agent.selector"] = "--agent"
    if seed is not None:
        overrides.append(f"seed={seed}")
        options["seed"] = "--seed"
    if device is not Device.auto:
        overrides.append(f"device={device.value}")
    data_root = _data_root(data_root, download)
    try:
        recipe = load_scenario(scenario, overrides, data_root, download=download, size=size.value)
    except RecipeError as error:  # what an option of its own has set is not blamed on --set
        if error.field not in options:
            raise
        raise error.at(options[error.field]) from None
    try:
        raise typer.Exit(_play(recipe, out, store, prior or (), data_root, plugin or (), as_json, tensorboard, wandb))
    except RecipeError as error:
        raise blamed(error, scenario, sets or ()) from None


@app.command(cls=_Command, context_settings=_HELP)
def resume(
    record: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run that was cut off.")],
    force: Annotated[
        bool, typer.Option("--force", help="Go on although recipe, data, versions or plug-ins have changed.")
    ] = False,
    data_root: DataRoot = None,
    download: Download = False,
    plugin: Plugins = None,
    tensorboard: Board = False,
    wandb: Wandb = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Go on with a run that was interrupted or killed, at its last finished task, as if nothing had happened."""
    from .scenarios.record import read_manifest

    manifest = read_manifest(record)
    _load_plugins(plugin)
    if manifest["status"] == "finished":
        _stderr().print(f"evermap: {record} is finished: {manifest['kept']}.")
        raise typer.Exit(_conclude(record, None, as_json))
    from .scenarios.resume import resume as resume_run

    title = f"{manifest['scenario']}  {manifest['agent']}  seed {manifest['seed']}"
    words = [str(word) for word in manifest.get("command") or ()]
    if data_root is None and "--data-root" in words[:-1]:  # as the run had it
        data_root = Path(words[words.index("--data-root") + 1])
    tracker = _tracker(record, manifest["id"], tensorboard, wandb)
    events = resume_run(record, force=force, data_root=_data_root(data_root, download), download=download)
    raise typer.Exit(_watch(record, events, title, as_json, tracker))


@app.command(
    cls=_Command,
    context_settings=_HELP,
    epilog='Example: evermap compare digits-split --with auto --with "avalanche:Replay(mem_size=500)" --seeds 10',
)
def compare(
    scenarios: Annotated[list[str], typer.Argument(metavar="SCENARIO", help="Names of scenarios or TOML files.")],
    agents: Annotated[
        list[str],
        typer.Option("--with", metavar="AGENT", help="An agent, as `evermap run` takes it; to be repeated."),
    ],
    seeds: Annotated[
        str, typer.Option(metavar="SEEDS", help="How many (10: seeds 0 to 9), or which (3-7; 0,4,9).")
    ] = SEEDS,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time, each in a process of its own.")] = 1,
    baseline: Annotated[
        str | None, typer.Option(metavar="AGENT", help="The others are compared with it.", show_default="the first one")
    ] = None,
    equal_bytes_to: Annotated[
        str | None,
        typer.Option(metavar="AGENT", help="One more table: every store bounded to the bytes that this agent keeps."),
    ] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION", help="Exit with 3 if it holds: 'auto.accuracy < fixed:maml.accuracy - 0.01'."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of runs and results.", show_default="runs/compare-<scenarios>"),
    ] = None,
    size: Size = Sized.default,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a field of every recipe; may be repeated."),
    ] = None,
    data_root: DataRoot = None,
    download: Download = False,
    plugin: Plugins = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print every mean as CSV on standard output.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print tables for LaTeX (booktabs).")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print tables in Markdown.")] = False,
    debug: Debug = False,
) -> None:
    """Compare agents on scenarios, paired by seed; finished runs are kept, and a second call runs what is missing."""
    with _busy("Reading recipes…"):
        from .errors import UserError
        from .scenarios.cells import Grid
        from .scenarios.compare import Sitting
        from .scenarios.condition import condition
        from .scenarios.outcomes import quantities
        from .scenarios.seed_list import seeds_of

        given = {"json": as_json, "csv": as_csv, "latex": as_latex, "markdown": as_markdown}
        forms = [form for form, wanted in given.items() if wanted]
        if len(forms) > 1:
            raise UserError(f"--{forms[0]} and --{forms[1]}: one at a time is printed; the folder holds all of them.")
        _load_plugins(plugin)
        keys = [each.key for each in quantities()]
        conditions = [condition(text, agents, keys) for text in fail_if or ()]
        if out is None:
            out = Path("runs") / ("compare-" + "+".join(Path(each).stem for each in scenarios))[:100]
        grid = Grid(
            scenarios=tuple(scenarios),
            agents=tuple(agents),
            seeds=seeds_of(seeds),
            sets=tuple(sets or ()),
            size=size.value,
            data_root=_data_root(data_root, download),
            download=download,
            plugins=tuple(plugin or ()),
        )
        sitting = Sitting(grid, out, jobs, baseline, equal_bytes_to)
    raise typer.Exit(_compare(sitting, conditions, jobs, forms[0] if forms else None))


@app.command("list", cls=_Command, context_settings=_HELP)
def list_(
    kind: Annotated[
        Kind | None, typer.Argument(metavar="KIND", help=f"One of {', '.join(Kind)}; everything when left out.")
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List scenarios, strategies, selectors, encoders, sources and baselines, each with a line about it."""
    from .registry import registered
    from .reports.catalog import baseline_table, list_table, listed
    from .scenarios.baseline_catalog import listed_baselines
    from .scenarios.scenario import library

    _load_plugins(plugin)
    found: dict[str, list[dict[str, Any]]] = {}
    for each in [kind] if kind else list(Kind):
        if each is Kind.scenarios:
            rows = [
                {"kind": "scenario", "name": n, "description": d, "origin": "evermap"} for n, d in library().items()
            ]
        elif each is Kind.baselines:
            rows = listed_baselines()
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
        draw = baseline_table if kind is Kind.baselines else list_table
        _page(draw(title.capitalize(), rows))


@app.command(cls=_Command, context_settings=_HELP)
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A scenario, strategy, selector, encoder, source or baseline.")
    ],
    size: Size = Sized.default,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw samples of every task of a scenario: .png, .svg or .pdf.")
    ] = None,
    data_root: DataRoot = None,
    download: Download = False,
    plugin: Plugins = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show what a scenario holds, or what a strategy, selector, encoder, source or baseline does and how it is set."""
    from .errors import UnknownName, UserError
    from .registry import GROUPS, registered
    from .reports.catalog import show_page, shown
    from .scenarios.baseline_catalog import shown_baseline
    from .scenarios.competitor import is_competitor
    from .scenarios.scenario import library

    _load_plugins(plugin)
    pages = [shown(entries[name]) for kind in GROUPS if name in (entries := registered(kind))]
    pages += [shown_baseline(name)] if is_competitor(name) else []
    is_scenario = name in library() or name.endswith(".toml")
    if not pages and not is_scenario:
        known = [*library(), *(each for kind in GROUPS for each in registered(kind))]
        raise UnknownName("scenario, strategy, selector, encoder or source", name, set(known), "`evermap list`")
    console = _stdout()
    if is_scenario:
        import torch

        from .reports.recipe import scenario_page
        from .scenarios.outline import describe

        torch.set_num_threads(1)
        pages.insert(0, describe(name, size.value, _data_root(data_root, download), download, figure))
        if not as_json:
            _page(scenario_page(pages[0]))
    elif figure is not None:
        raise UserError(f"--figure {figure}: only scenarios have samples, and {name!r} is none.")
    if as_json:
        _json(pages)
        return
    for position, page in enumerate(pages):
        if position:
            console.print()
        if page["kind"] != "scenario":
            _page(show_page(page))


@app.command(cls=_Command, context_settings=_HELP)
def validate(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO", help="A scenario's name or a TOML file.")],
    data_root: DataRoot = None,
    download: Download = False,
    plugin: Plugins = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Check a scenario without learning anything: its fields, sizes, data and agent, in every size it has."""
    from .scenarios.outline import validate as check

    _load_plugins(plugin)
    found = check(scenario, _data_root(data_root, download), download)
    if as_json:
        _json(found)
        return
    for size, each in found["sizes"].items():
        what = f"{each['tasks']} tasks, {each['concepts']} test sets, recipe {each['recipe_sha256'][:12]}"
        typer.echo(f"{scenario}: valid ({size}: {what}, data {each['data_sha256'][:12]})")


@app.command(cls=_Command, context_settings=_HELP)
def report(
    records: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Folders of runs, or of folders of runs.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where it goes; of one run: its folder.", show_default="evermap-report"),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="AGENT", help="Of several runs: the agent that the others are compared with."),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN", help="A run of independent, fixed:scratch or joint on the same stream; repeatable."
        ),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw every figure as PDF, SVG and PNG as well, for a paper.")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Make the report of a run, or of several side by side, from the records: a table, summary.json, report.html."""
    from .errors import UserError
    from .reports.several import runs_in

    runs = runs_in(records)
    if len(runs) == 1 and baseline is None:
        from .reports.report import report as make_report

        page, summary = make_report(runs[0], out, against or ())
    else:
        from .reports.report_several import FOLDER, report_several

        if against:
            raise UserError("--against is for the report of one run; several are compared with each other.")
        page, summary = report_several(runs, out or FOLDER, baseline)
    if figures is not None:
        from .reports.paper import draw

        draw(summary, figures)
    if as_json:
        _json(summary)
    else:
        _overview(summary, page, whole=True)


@app.command(cls=_Command, context_settings=_HELP, epilog="Example: evermap explain runs/ID 5")
def explain(
    record: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task's name, or its number in the stream, from 1.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Tell of one task how it was learned, and why: what was known, considered, tried, chosen, spent and kept."""
    from .reports.explain import explained
    from .scenarios.record import read_record

    found = explained(read_record(record), task)
    if as_json:
        _json(found)
    else:
        from .reports.explanation import explanation

        _page(explanation(found))


@app.command(cls=_Command, context_settings=_HELP, epilog="Example: evermap regret demo --seeds 3 --jobs 2")
def regret(
    scenarios: Annotated[list[str], typer.Argument(metavar="SCENARIO", help="Scenarios, by name or as TOML files.")],
    agent: Annotated[
        str | None, typer.Option(metavar="NAME", help="The selector; left out: the one that the scenario names.")
    ] = None,
    seeds: Annotated[
        str, typer.Option(metavar="SEEDS", help="How many (10: seeds 0 to 9), or which (3-7; 0,4,9).")
    ] = SEEDS,
    fixed: Annotated[
        list[str] | None,
        typer.Option("--fixed", metavar="NAME", help="A strategy it is held against; left out: every one."),
    ] = None,
    no_fixed: Annotated[bool, typer.Option("--no-fixed", help="Hold it against no fixed strategy.")] = False,
    sources: Annotated[int, typer.Option(min=0, help="Stored encoders from which each strategy is tried at most.")] = 8,
    runs: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Take runs of fixed strategies from below this folder where they are there."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Worker processes.")] = 1,
    size: Size = Sized.default,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where runs are kept; those that are finished are not run again.")
    ] = Path("runs/regret"),
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a field of the recipes; may be repeated."),
    ] = None,
    data_root: DataRoot = None,
    download: Download = False,
    plugin: Plugins = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Measure what choices lose: before every task, every arm is run from the agent's own store and valued."""
    _quiet()
    _load_plugins(plugin)
    from .errors import RecipeError
    from .registry import registered
    from .scenarios.regret_summary import summarise
    from .scenarios.scenario import load_scenario
    from .scenarios.seed_list import seeds_of

    wanted, root = seeds_of(seeds), _data_root(data_root, download)
    overrides = [*(sets or []), *([f"agent.selector={json.dumps(agent)}"] if agent is not None else [])]
    try:
        recipes = [load_scenario(each, overrides, root, download=download, size=size.value) for each in scenarios]
    except RecipeError as error:
        if agent is None or error.field != "agent.selector":
            raise
        raise error.at("--agent") from None
    from .scenarios.regret import ExistingRuns, planned, run_cells, taken_from

    names = [] if no_fixed else list(fixed or registered("strategy"))
    parts, cells = planned(recipes, wanted, names, out, sources=sources, data_root=root)
    existing, count = ExistingRuns(runs) if runs is not None else None, 0
    waves = [cells] if existing is None else [[c for c in cells if c.arms], [c for c in cells if not c.arms]]
    for wave in waves:
        if existing is not None and wave is waves[-1]:  # what to look for stands in the agent's own runs
            parts, wave, taken = taken_from(existing, parts, wave)
            count += len(taken)
            for folder in taken:
                _stderr().print(f"{folder}: taken as it is")
        for done in run_cells(wave, jobs, plugin or ()):
            count += 1
            _stderr().print(f"{count}/{len(cells)} {done.cell.title}: {'kept' if done.kept else 'done'}")
    found = summarise(agent or recipes[0].agent.selector, parts)
    if as_json:
        _json(found)
    else:
        from .reports.regret import regret_page

        _page(regret_page(found))


@app.command(cls=_Command, context_settings=_HELP, epilog="Example: evermap predict runs/ID --input photos/ --task 2")
def predict(
    record: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    inputs: Annotated[
        Path,
        typer.Option(
            "--input",
            metavar="FILE",
            help="Images (one, or a folder), .npy, .npz, .csv of numbers; for a run on a table, rows with its header.",
        ),
    ],
    task: Annotated[
        str | None,
        typer.Option(metavar="TASK", help=f"The task that is meant: {_WHICH}; left out: the agent finds out."),
    ] = None,
    resize: Annotated[bool, typer.Option("--resize", help="Resize images that have another size.")] = False,
    scale: Annotated[
        float | None, typer.Option(metavar="NUMBER", help="Divide arrays and rows by this, to lie in 0 to 1.")
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Answer for inputs of your own with what a run has learned: class and probability."""
    _quiet()
    _load_plugins(plugin)
    from .scenarios.predict import predict as answers

    found = answers(record, inputs, task=task, resize=resize, scale=scale)
    if as_json:
        _json(found)
    else:
        from .reports.store import prediction_page

        _page(prediction_page(found))


Store = Annotated[Path, typer.Argument(metavar="STORE", help="The folder of a run, or of a store.")]


@store_app.callback()
def store_root(
    help_: Annotated[
        bool, typer.Option("--help", "-h", callback=_help, is_eager=True, help="Show this message and exit.")
    ] = False,
) -> None:
    """Look into a knowledge store, check it, and pass on what is in it."""


@store_app.command("ls", cls=_Command, context_settings=_HELP, epilog="Example: evermap store ls runs/ID")
def store_ls(store: Store, as_json: AsJson = False, debug: Debug = False) -> None:
    """List what a store holds: tasks, encoders, heads, statistics, samples."""
    from .agent.overview import listed

    with _opened(store) as opened:
        found = listed(opened)
    _show(found, "store_page", as_json)


@store_app.command("show", cls=_Command, context_settings=_HELP, epilog="Example: evermap store show runs/ID encoder-3")
def store_show(
    store: Store,
    entry: Annotated[str, typer.Argument(metavar="ENTRY", help=f"Id of an entry (encoder-3), or a task: {_WHICH}.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show an entry with its lineage, what it was made from and whom it helped; or a task."""
    from .agent.overview import shown

    with _opened(store) as opened:
        found = shown(opened, entry)
    _show(found, "entry_page", as_json)


@store_app.command("similar", cls=_Command, context_settings=_HELP, epilog="Example: evermap store similar runs/ID 5")
def store_similar(
    store: Store,
    task: Annotated[str, typer.Argument(metavar="TASK", help=f"A task: {_WHICH}.")],
    most: Annotated[int, typer.Option("--most", min=1, help="How many tasks to list.")] = 10,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List the known tasks that are nearest to one, by inputs, labels and features."""
    from .agent.overview import similar

    with _opened(store) as opened:
        found = similar(opened, task, most)
    _show(found, "similar_page", as_json)


@store_app.command("verify", cls=_Command, context_settings=_HELP)
def store_verify(store: Store, as_json: AsJson = False, debug: Debug = False) -> None:
    """Read every blob and check the catalog; the exit code is 1 where something is damaged."""
    from dataclasses import asdict

    from .reports.store import damage_page

    with _opened(store) as opened:
        found = [asdict(each) for each in opened.verify()]
        names = opened.task_names()
    if as_json:
        _json(found)
    else:
        _page(damage_page(found, names))
    raise typer.Exit(1 if found else 0)


@store_app.command("gc", cls=_Command, context_settings=_HELP)
def store_gc(store: Store, as_json: AsJson = False, debug: Debug = False) -> None:
    """Remove what killed processes have left, and nothing else."""
    from .agent.inherit import store_folder
    from .agent.store import KnowledgeStore
    from .reports.units import size

    with KnowledgeStore.open(store_folder(store), create=False) as opened:
        freed = opened.collect_garbage()
    if as_json:
        _json({"freed": freed})
    else:
        _page(f"{size(freed)} freed.")


@store_app.command(
    "export", cls=_Command, context_settings=_HELP, epilog="Example: evermap store export runs/ID 2 model"
)
def store_export(
    store: Store,
    task: Annotated[str, typer.Argument(metavar="TASK", help=f"The task whose model is written: {_WHICH}.")],
    out: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write, without suffix.")],
    plugin: Plugins = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write a task's encoder and head as FILE.safetensors and FILE.json, which plain torch can load."""
    from .agent.exchange import export

    _load_plugins(plugin)
    with _opened(store) as opened:
        files = export(opened, task, out, opened.manifest())
    if as_json:
        _json({"files": files})
    else:
        for file in files:
            sys.stdout.write(f"{file}\n")


@store_app.command(
    "import", cls=_Command, context_settings=_HELP, epilog="Example: evermap store import runs/ID new-store"
)
def store_import(
    source: Annotated[Path, typer.Argument(metavar="FROM", help="A run, a store, or a file of `store export`.")],
    target: Annotated[Path, typer.Argument(metavar="TO", help="The folder of the new store.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Make a new agent's store from somebody's store or exported model; `run --store TO` begins on it."""
    from .agent.exchange import import_export, is_export
    from .agent.inherit import inherit, store_folder

    if is_export(source):
        import_export(source, target)
        known = 1
    else:
        known = inherit(store_folder(source), target)
    if as_json:
        _json({"store": target, "tasks": known})
    else:
        from .reports.units import count

        _page(f"{target} knows {count(known, 'task')}; `evermap run SCENARIO --store {target}` begins on it.")


@store_app.command(
    "diff", cls=_Command, context_settings=_HELP, epilog="Example: evermap store diff runs/ID runs/OTHER"
)
def store_diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="The folder of a run, or of a store.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say how two stores differ by what is in them; the exit code is 1 where they do."""
    from .agent.overview import compared

    with _opened(first) as one, _opened(second) as other:
        found = compared(one, other)
    _show(found, "difference_page", as_json)
    raise typer.Exit(0 if found["equal"] else 1)


def _opened(path: Path) -> KnowledgeStore:
    """Open the store of a run, or a store, for reading."""
    from .agent.inherit import store_folder
    from .agent.store import KnowledgeStore

    return KnowledgeStore.open(store_folder(path), read_only=True)


def _show(found: dict[str, Any], page: str, as_json: bool) -> None:
    """Print what was found as JSON, or as a page of `reports.store`."""
    if as_json:
        _json(found)
        return
    from .reports import store

    _page(getattr(store, page)(found))


def _play(
    recipe: Scenario,
    out: Path | None,
    store: Path | None,
    priors: Sequence[Path],
    data_root: Path | None,
    plugins: Sequence[Path],
    as_json: bool,
    tensorboard: bool = False,
    wandb: bool = False,
) -> int:
    """Run a recipe, show its events, write its report; give back the exit code."""
    _quiet()
    from .scenarios.record import check_writable, new_run_dir

    console = _stdout()
    with console.status("Loading torch and Avalanche…") if console.is_terminal and not as_json else nullcontext():
        from .scenarios.run import run as run_scenario

    selector, ours = recipe.agent.selector, out is None or not out.exists()
    if out is None:
        out = new_run_dir(Path("runs"), recipe.name, selector, recipe.seed)
    check_writable(out)
    again = ["evermap", "run", str(out / "scenario.toml")]
    if store is not None:
        again += ["--store", str(store)]
    for run in priors:
        again += ["--prior", str(run)]
    if data_root is not None:
        again += ["--data-root", str(data_root)]
    for file in plugins:
        again += ["--plugin", str(file)]
    title = f"{recipe.name}  {selector}  seed {recipe.seed}"
    try:
        tracker = _tracker(out, out.name, tensorboard, wandb)
        events = run_scenario(recipe, out, store=store, priors=priors, data_root=data_root, command=again)
        return _watch(out, events, title, as_json, tracker)
    finally:
        if ours and not (out / "manifest.json").exists():
            shutil.rmtree(out, ignore_errors=True)  # it failed before there was anything to record


def _compare(sitting: Sitting, conditions: Sequence[Condition], jobs: int, form: str | None) -> int:
    """Run what is missing of a comparison, show it, write its results; give back the exit code."""
    from .reports.comparison import printed, write_comparison
    from .reports.comparison_live import progress
    from .reports.comparison_terminal import comparison_page
    from .reports.report import write_report

    sitting.see_that_it_can_be_written()
    if not form and not _stdout().is_terminal:
        typer.echo(f"Looking at the recipes and data of {len(sitting.cells)} runs…")
    console = _stderr() if form else _stdout()  # standard output holds the form that was asked for, and nothing else
    keys = [(cell.label, cell.name, cell.seed) for cell in sitting.cells]
    interrupted = False
    try:
        with closing(sitting.work()) as steps, progress(console, keys, jobs) as shown:
            for step in steps:
                if step is None:
                    shown.tick()
                    continue
                if step.state == "done":
                    write_report(step.cell.folder)
                accuracy = step.outcome.values["accuracy"] if step.outcome else None
                key = (step.cell.label, step.cell.name, step.cell.seed)
                shown.feed(key, step.state, step.task, step.tasks, accuracy, step.why)
    except KeyboardInterrupt:
        interrupted = True
    found = sitting.comparison()
    page = write_comparison(sitting.out, found)
    if form:
        sys.stdout.write(printed(found, form))
    else:
        _page(comparison_page(found))
        sys.stdout.write(f"{page}\n")
    sys.stdout.flush()
    return _judge(sitting, found, conditions, interrupted)


def _judge(sitting: Sitting, found: dict[str, Any], conditions: Sequence[Condition], interrupted: bool) -> int:
    """Say what a comparison lacks and which conditions hold; give back the exit code."""
    cells, failures = found["cells"], list(sitting.failures.values())
    if interrupted:
        kept = f"Kept: {cells['finished']} of {cells['wanted']} runs in {sitting.out}"
        _stderr().print(f"evermap: interrupted. {kept}; the same command goes on from there.")
        return INTERRUPTED
    if failures:
        first = f"{failures[0]['scenario']} with {failures[0]['agent']}, seed {failures[0]['seed']}"
        some = "1 run" if len(failures) == 1 else f"{len(failures)} runs"
        _stderr().print(f"evermap: {some} failed. {first}: {failures[0]['why']}")
        return OUR_FAULT
    holds = False
    for scenario in found["scenarios"]:
        means = {agent["agent"]: agent["means"] for agent in scenario["agents"]}
        for each in conditions:
            if each.holds(means, scenario["scenario"]):
                holds = True
                _stderr().print(f'evermap: --fail-if "{each.text}" holds on {scenario["scenario"]}.')
    return CONDITION_HOLDS if holds else 0


def _tracker(out: Path, name: str, tensorboard: bool, wandb: bool) -> Tracker | None:
    """Open the tools that the run is to be told to; None for none."""
    if not (tensorboard or wandb):
        return None
    _quiet()
    from .scenarios.trackers import Sink, TensorBoard, Tracker, WeightsAndBiases

    sinks: list[Sink] = [TensorBoard(out / "tensorboard")] if tensorboard else []
    if wandb:
        sinks.append(WeightsAndBiases(name, {"run": str(out)}))
    return Tracker(sinks)


def _watch(out: Path, events: Generator[Event], title: str, as_json: bool, tracker: Tracker | None = None) -> int:
    """Show what happens in a run, write its report; give back the exit code."""
    _quiet()
    import torch

    from .errors import ResumeError
    from .reports.live import display
    from .scenarios.record import read_record

    torch.set_num_threads(1)
    failure: Exception | KeyboardInterrupt | None = None
    try:
        with nullcontext() if as_json else display(_stdout(), title) as shown, closing(events):
            for event in events:
                told = event.to_json()
                before = read_record(out).events if type(event).__name__ == "Resumed" else ()
                if tracker is not None:
                    tracker.recall(before)
                    tracker.feed(told)
                if shown is None:
                    _json(told, lines=True)
                    continue
                shown.recall(before)
                shown.feed(told)
    except ResumeError:
        raise  # nothing has happened
    except (Exception, KeyboardInterrupt) as error:
        failure = error
    if tracker is not None:
        tracker.close()
        for problem in tracker.problems:
            _stderr().print(f"evermap: {problem}")
    return _conclude(out, failure, as_json)


def _quiet() -> None:
    """Silence qpsolvers, which Avalanche imports and which warns on every start: no quadratic programme is solved."""
    import warnings

    warnings.filterwarnings("ignore", "no QP solver found", UserWarning)


def _conclude(out: Path, failure: Exception | KeyboardInterrupt | None, as_json: bool) -> int:
    """Write the report of what was kept, say what is where, and give back the exit code."""
    from .errors import OutputError, RecordError
    from .reports.report import report as make_report

    kept = None
    try:
        page, summary = make_report(out)
    except (OutputError, RecordError):
        if failure is None:
            raise
    else:
        done = sum(task["accuracy"] is not None for task in summary["tasks"])
        kept = f"Kept: {done} of {summary['run']['tasks']} tasks; {page} reports them."
        if failure is not None:
            kept += f" `evermap resume {out}` goes on from there."
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


def _overview(summary: dict[str, Any], page: Path, whole: bool = False) -> None:
    """Print the summary, and the path of the report on a last line of its own."""
    if "comparison" in summary:
        from .reports.several_terminal import overview as overview_of_several

        _page(overview_of_several(summary))
    else:
        from .reports.terminal import overview

        _page(overview(summary, whole))
    sys.stdout.write(f"{page}\n")


def _data_root(given: Path | None, download: bool) -> Path | None:
    """Check the data root, and make it absolute for the record's sake; a download may make it."""
    from .errors import DataMissing

    if given is None:
        return None
    if not given.is_dir() and not (download and not given.exists()):
        raise DataMissing(f"--data-root (or EVERMAP_DATA) {given}: there is no such folder.")
    return given.absolute()


def _load_plugins(files: Iterable[Path] | None) -> None:
    from .registry import add_file

    for file in files or ():
        for entry in add_file(file):
            if entry.replaces:
                said = f"{entry.kind} {entry.name!r} is that of {file}, in place of the one from {entry.replaces}"
                _stderr().print(f"evermap: {said}.")


def _json(thing: Any, lines: bool = False) -> None:
    """Print data on standard output: on one line, or for reading."""
    sys.stdout.write(json.dumps(thing, ensure_ascii=False, indent=None if lines else 2, default=str) + "\n")
    sys.stdout.flush()


def _page(page: RenderableType) -> None:
    """Print a page on standard output."""
    from .reports.piped import show as show_page

    show_page(_stdout(), page)


def _busy(doing: str) -> AbstractContextManager[object]:
    """Say on a terminal what is being done, while it is done."""
    console = _stderr()
    return console.status(doing) if console.is_terminal else nullcontext()


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
        0, 2 for a mistake of the user, 1 for a fault of evermap, 3 where `--fail-if` holds, 130 after Ctrl+C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or os.environ.get("EVERMAP_DEBUG", "") not in ("", "0")
    try:
        command = get_command(app)
        with command.make_context("evermap", given) as context:
            command.invoke(context)
    except KeyboardInterrupt:
        _stderr().print("evermap: interrupted. What was committed before is kept.")
        return INTERRUPTED
    except typer.Exit as end:
        return end.exit_code
    except BrokenPipeError:  # whoever read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OUR_FAULT
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else OUR_FAULT
    except Exception as error:
        from .errors import EvermapError, UserError
        from .reports.misuse import misused
        from .reports.units import plain

        misuse = misused(error, given)
        if misuse is not None:
            if misuse:
                _stderr().print(f"evermap: {plain(misuse)}")
            return UserError.exit_code
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
