"""A scenario: a named, validated, immutable recipe of stream, agent, budget and seed."""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import Field, ValidationError, field_validator

from .. import registry
from ..errors import DataMissing, RecipeError, UnknownName, UserError
from ..streams.layouts import check_setting
from ..streams.plan import TaskPlan, plan
from ..streams.source import Sizes, Source
from ..streams.spec import Count, Share, Spec, StreamSpec, TomlValue
from ..streams.supply import sizes_of, used_sources
from .competitor import BOUNDS, PREFIX, is_competitor, parse, table
from .data_paths import anchored, sources_of
from .explain import explain
from .override import WHERE, changed, override

LIBRARY = Path(__file__).parent / "library"
# Table of a recipe with the changes that make its short size.
SHORT = "short"
TABLES = (".csv", ".tsv")


class AgentSpec(Spec):
    """Who learns."""

    selector: str = "auto"
    """Who chooses how a task is learned: a registered selector, or "fixed:NAME" for one strategy throughout. Or who
    runs instead: "avalanche:NAME(argument=value, …)", one of Avalanche's strategies (`evermap list baselines`), or a
    bound: "independent" (a fresh model per task) or "joint" (all tasks so far together)."""
    encoder: str = "mlp"
    """Registered name of the network that is trained."""
    encoder_settings: dict[str, TomlValue] = Field(default_factory=dict)
    """Settings of the encoder, as it documents them."""
    stem: Literal["none", "patches"] = "none"
    """Fixed front end under every encoder: "none", or "patches" (filters taken from the first task's images)."""
    sharing: Literal["versions", "in-place"] = "versions"
    """"versions": stored weights are never written again; "in-place": heads of earlier tasks read the newest ones."""
    held_out: Share = 0.2
    """Share of the support set that scores what is being learned, where a task brings no query part."""
    episode_memory: Annotated[int, Field(ge=0)] = 0
    """Tasks whose samples are kept for meta-training, the newest ones; 0 for none. Counted in the bytes kept."""
    anchor: Literal["random", "patches", "raw", "meta", "none"] = "random"
    """What the statistics that answer without a task label are kept of: "random" features of what the stem gives,
    "patches" (features of random patch filters, for images as they come), or the "raw" input; "meta" begins as "random"
    and ends with an encoder that was trained on episodes, once that has proved better; "none" keeps none, which saves
    time where the label of every task that was learned is given."""
    anchor_features: Count = 512
    """Number of random features of the anchor; of patch features about so many."""
    gate: bool = True
    """Whether the models of tasks may answer without a task label, in streams of tasks with boundaries, where they were
    right more often than those statistics; false leaves every such answer to the statistics."""


class BudgetSpec(Spec):
    """What may be spent on every task, the same for every agent: training, probing, trying, consolidating."""

    scratch: Annotated[float, Field(gt=0)] = 1.0
    """Multiple of the FLOPs that the strategy "scratch" takes on the task."""
    flops: Annotated[float, Field(gt=0)] | None = None
    """FLOPs per task; replaces `scratch` where given."""
    probe: Share = 0.1
    """Largest share for measuring what stored encoders are worth."""
    consolidate: Share = 0.0
    """Largest share for work after a task (meta-training, merging)."""
    bytes: Annotated[int, Field(ge=1024)] | None = None
    """Most bytes of weights, statistics and samples that the store may hold after any task; left out: any number. The
    catalog (records and events) is not counted."""
    encoders: Annotated[int, Field(ge=1)] | None = None
    """The same as a multiple of the bytes of one encoder as the agent trains them; where both are given, the smaller
    number holds."""


class Scenario(Spec):
    """Everything that decides a run."""

    name: Annotated[str, Field(min_length=1)]
    """Name; the file's where left out."""
    description: str = ""
    """What happens in it, in plain words."""
    shows: str = ""
    """What it is meant to show."""
    expected: str = ""
    """The strategy expected to win, and why; a hypothesis."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Decides everything that is drawn."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks learn."""
    evaluate_every: Count = 1
    """Tasks between two rows of the accuracy matrix."""
    evaluate_units: Annotated[int, Field(ge=0)] = 0
    """Units of work (steps) after which the model that is being learned is evaluated on the test sets of the tasks so
    far: shows what is lost on the way and comes back. 0 for never. Changes nothing of what is learned, nor its cost."""
    stream: StreamSpec
    """What arrives; `layout` says which further fields there are."""
    agent: AgentSpec = AgentSpec()
    """Who learns."""
    budget: BudgetSpec = BudgetSpec()
    """What may be spent on every task."""
    strategies: dict[str, dict[str, TomlValue]] = Field(default_factory=dict)
    """Settings of strategies, by their registered names."""

    @field_validator("name")
    @classmethod
    def _one_line(cls, name: str) -> str:
        if not name.isprintable():
            raise ValueError("it must be one line of printable text")
        return name


def load_scenario(
    name_or_path: str | Path,
    overrides: Sequence[str] = (),
    data_root: Path | None = None,
    check_names: bool = True,
    download: bool = False,
    size: str = "default",
) -> Scenario:
    """Read a recipe, change what is to be changed, and check it as far as that is possible without loading data.

    Paths in it become absolute: those in the file are relative to it, those in `overrides` to the working folder, and
    either to the data root where there is no such file.

    Args:
        name_or_path: Name of a scenario of the library, or a path to a TOML file.
        overrides: Changes, each "path=value" (see `override`).
        data_root: Folder that holds the user's data sets; None where none was given.
        check_names: Whether selectors, encoders, strategies and sources must be registered, and sizes must fit; False
            reads the recipe of a record whose plug-ins or data are not here.
        download: Whether files of published data sets that are missing are fetched into the data root.
        size: "default", or "short" for the recipe with the changes of its table `[short]`; its name then ends in
            "-short". What `overrides` says comes after them.

    Returns:
        The recipe.

    Raises:
        UnknownName: If the library has no such scenario.
        UserError: If the file cannot be read, or data cannot be downloaded.
        RecipeError: If something in it is wrong; names the file (or "--set"), the field, and what is valid.
        DataMissing: If the files of its source are not there.
    """
    path = _find(name_or_path)
    data, where = _read(path), str(name_or_path)
    data.setdefault("name", path.stem)
    beside = (path.parent, data_root)
    # What makes the recipe step by step, who is to blame for what is then wrong, and where paths may be relative to.
    steps: list[tuple[Callable[[dict[str, Any]], dict[str, Any]], str, tuple[Path | None, ...]]]
    changes = _short(data, size, where)
    steps = [(lambda recipe: recipe, where, beside)]
    if changes is not None:
        steps.append((lambda recipe: _shortened(recipe, changes, where), f"{where} [{SHORT}]", beside))
    if overrides:
        steps.append((lambda recipe: override(recipe, overrides), WHERE, (Path.cwd(), *beside)))
    scenario: Scenario | None = None
    missing: DataMissing | None = None
    known: list[tuple[Source, Sizes | None]] = []
    for change, blamed, folders in steps:
        former, data = data, change(data)
        if missing is not None and sources_of(data) == sources_of(former):
            continue
        try:
            if check_names:
                data = anchored(data, folders, blamed)
            scenario, missing = _checked(data, blamed, data_root, check_names, download, known), None
        except DataMissing as error:
            missing = error  # the next step may lead to where the data are
    if missing is not None or scenario is None:
        raise missing or AssertionError("a recipe has one step at least")
    return scenario


def _short(data: dict[str, Any], size: str, where: str) -> dict[str, Any] | None:
    """Take the table `[short]` out of a recipe.

    Args:
        data: The recipe as read; the table is removed from it.
        size: "default" or "short".
        where: The file.

    Returns:
        The changes of that table; None where the default size is wanted.
    """
    changes = data.pop(SHORT, None)
    if changes is not None and not isinstance(changes, dict):
        raise RecipeError(where, SHORT, changes, 'a table of changes is needed, as in "stream.tasks" = 3')
    if size == "default":
        return None
    if size != SHORT:
        raise UserError(f"--size {size}: valid are default and {SHORT}.")
    if changes is None:
        raise RecipeError(where, SHORT, None, f"this recipe has no table [{SHORT}] that says what its short size is")
    return changes


def _shortened(data: dict[str, Any], changes: dict[str, Any], where: str) -> dict[str, Any]:
    """Make the changes of the table `[short]`; the name tells."""
    return {**changed(data, _unfolded(changes), f"{where} [{SHORT}]"), "name": f"{data['name']}-{SHORT}"}


def _unfolded(changes: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Write changes by dotted path: `stream.tasks = 3` without quotes is a table in a table, and means the same."""
    made: dict[str, Any] = {}
    for key, value in changes.items():
        inner = isinstance(value, dict) and "." not in key and value
        made |= _unfolded(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return made


def has_short(name_or_path: str | Path) -> bool:
    """Tell whether a recipe has a short size."""
    return SHORT in _read(_find(name_or_path))


def library() -> dict[str, str]:
    """List the scenarios that come with evermap.

    Returns:
        Name to description, sorted by name.
    """
    return {path.stem: str(_read(path)["description"]) for path in sorted(LIBRARY.glob("*.toml"))}


def to_toml(scenario: Scenario) -> str:
    """Write a recipe with every default written out.

    Fields that are None ("no limit", "not given") are left out: TOML has no word for them, and None is their default.

    Args:
        scenario: The recipe.

    Returns:
        TOML that loads back to an equal recipe.
    """
    return tomli_w.dumps(scenario.model_dump(mode="json", exclude_none=True))


def recipe_hash(scenario: Scenario) -> str:
    """Hash what decides a run's results: everything but name, description and expectations.

    Args:
        scenario: The recipe.

    Returns:
        SHA-256, in hexadecimal.
    """
    words = {"name", "description", "shows", "expected"}
    data = scenario.model_dump(mode="json", exclude_none=True, exclude=words)
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _find(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    named = LIBRARY / f"{name_or_path}.toml"
    if isinstance(name_or_path, str) and path.name == name_or_path and named.is_file():
        return named
    if path.is_file() and path.suffix.lower() in TABLES:
        raise UserError(
            f'{path}: is a table, and a scenario is a .toml file: write one whose [stream] has source = "csv" and '
            f'source_settings = {{ path = "{path.name}" }} (docs/sources.md).'
        )
    if path.suffix == ".toml" or len(path.parts) > 1 or path.is_file():
        return path
    raise UnknownName("scenario", str(name_or_path), library(), "`evermap list scenarios`")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such scenario file.") from None
    except OSError as error:
        raise UserError(f"{path}: the scenario file cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: the scenario file is not UTF-8 text (byte {error.start}).") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(str(path), "syntax", str(error), "the file must be valid TOML") from None


def _checked(
    data: dict[str, Any],
    where: str,
    data_root: Path | None,
    check_names: bool,
    download: bool,
    known: list[tuple[Source, Sizes | None]],
) -> Scenario:
    """Validate: first the fields, then the registered names, then the data: its sizes and its kind.

    `known` holds the sources that were looked at already, with their sizes.
    """
    try:
        # As JSON, so that being strict about types still lets a list stand for a tuple.
        scenario = Scenario.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        raise explain(error, Scenario, where) from None
    check_setting(scenario.stream, where)
    if scenario.agent.anchor == "none" and not scenario.stream.setting.label_when_asked:
        setting = scenario.stream.setting.value
        valid = f"a {setting} stream gives no task label, so statistics answer: random, patches, raw or meta"
        raise RecipeError(where, "agent.anchor", "none", valid)
    budget = scenario.budget
    if scenario.agent.anchor == "meta" and not (scenario.agent.episode_memory and budget.consolidate):
        valid = "an encoder is trained on episodes only with agent.episode_memory and budget.consolidate above 0"
        raise RecipeError(where, "agent.anchor", "meta", valid)
    if budget.probe + budget.consolidate >= 1:
        found = budget.probe + budget.consolidate
        raise RecipeError(where, "budget.consolidate", found, "probe and consolidate together must be below 1")
    if scenario.agent.sharing == "in-place" and (budget.bytes or budget.encoders):
        valid = '"versions": with "in-place" the heads of all tasks stand on one encoder, and nothing could leave alone'
        raise RecipeError(where, "agent.sharing", "in-place", f"a bounded store needs {valid}")
    if check_names:
        _check_names(scenario, where)
        sizes = sizes_of(scenario.stream, where, data_root, download, known)
        if sizes is not None:
            check_competitor(scenario, plan(scenario.stream, scenario.seed, sizes, where), where)
            _check_kind(scenario, sizes.kind, where)
    return scenario


def _check_kind(scenario: Scenario, kind: str, where: str) -> None:
    """Check that the agent can take in what the source gives."""
    if scenario.agent.stem == "patches" and kind != "image":
        source = used_sources(scenario.stream)[0]
        valid = f'the inputs of {source} are of the kind "{kind}", and only images have patches: "none"'
        raise RecipeError(where, "agent.stem", "patches", valid)


def check_competitor(scenario: Scenario, plans: Sequence[TaskPlan], where: str) -> None:
    """Refuse a pair of a competitor and a stream that cannot be run, before anything is learned.

    Args:
        scenario: The recipe; nothing is checked where one of evermap's selectors chooses.
        plans: What was decided for every task of its stream.
        where: The file, or what else an error names as the place.

    Raises:
        RecipeError: If it cannot be run; says why.
    """
    text = scenario.agent.selector
    if is_competitor(text):
        regression, own_labels = any(not each.classes for each in plans), any(each.own_labels for each in plans)
        competitor = parse(text)
        why_not = competitor.refusal(scenario.stream.setting, regression, own_labels, len(plans))
        if why_not is not None:
            raise RecipeError(where, "agent.selector", text, why_not)


def _check_names(scenario: Scenario, where: str) -> None:
    text = scenario.agent.selector
    selector, colon, strategy = text.partition(":")
    wanted = [("encoder", scenario.agent.encoder, "agent.encoder")]
    if is_competitor(text):
        try:
            parse(text)
        except UserError as error:
            raise RecipeError(where, "agent.selector", text, str(error)) from None
    else:
        wanted.insert(0, ("selector", selector, "agent.selector"))
        wanted += [("strategy", strategy, "agent.selector")] if selector == "fixed" and colon else []
    wanted += [("strategy", name, f"strategies.{name}") for name in scenario.strategies]
    for kind, name, field in wanted:
        known = {each: each for each in registry.registered(kind)}
        if name not in known:
            if kind == "selector":
                known |= {**{each: each for each in BOUNDS}, PREFIX: f"{PREFIX}:NAME"}
            listed = list(known.values())
            known |= {each: f"{PREFIX}:{each}" for each in table()} if kind == "selector" else {}
            near = difflib.get_close_matches(name, known, n=1)
            meant = known[near[0]] if near else ""
            if kind == "selector" and name in registry.registered("strategy"):
                meant = f"fixed:{name}"
            hint = f" (did you mean {meant!r}?)" if meant else ""
            raise RecipeError(where, field, name, f"there is no such {kind}{hint}; known are {', '.join(listed)}")
    if colon and selector != "fixed" and not is_competitor(text):
        try:
            registry.load("selector", selector)(strategy)
        except UserError as error:
            raise RecipeError(where, "agent.selector", text, str(error)) from None
