"""Who runs instead of evermap's agent: one of Avalanche's strategies, or one of the two bounds; named, set and checked.

An agent's text is a selector's name ("probe", "fixed:maml"), or "avalanche:NAME", "avalanche:NAME(argument=value, …)",
"independent" or "joint". What each of Avalanche's strategies is, needs and is set with stands in `baselines.toml`, so
that nothing here imports Avalanche.
"""

from __future__ import annotations

import ast
import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..streams.setting import Setting

TABLE = Path(__file__).with_name("baselines.toml")
PREFIX = "avalanche"
INDEPENDENT, JOINT = "independent", "joint"
# Not Avalanche's: what bounds every comparison, with the settings that each supports.
BOUNDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    INDEPENDENT: (
        "A fresh model for every task, asked with the task known in every setting: what a task gives by itself.",
        ("task-incremental", "domain-incremental", "class-incremental"),
    ),
    JOINT: (
        "A fresh model after every task, trained on all tasks so far together with the budgets of all: what could be "
        "had if nothing had to be kept in mind.",
        tuple(setting.value for setting in Setting),
    ),
}
# Settings in which nobody tells where one task ends and the next begins.
_UNBOUNDED = ("blurry", "online")


@dataclass(frozen=True)
class Argument:
    """One hyperparameter of a method.

    Attributes:
        name: Its name, for Avalanche's constructor or for what builds the method here.
        default: Its default, whose type a value must have.
        help: One sentence.
    """

    name: str
    default: Any
    help: str


@dataclass(frozen=True)
class Method:
    """One of Avalanche's strategies.

    Attributes:
        name: Avalanche's name of it.
        about: What it does, in one line.
        source: The paper.
        settings: The settings in which it can be run.
        single_head: Whether it has one head for all classes also where a task label is given.
        needs: Packages that it needs beside evermap's own.
        after: Its work after a task, in passes over the task's samples.
        arguments: Its own hyperparameters, then those that all methods have.
        defaults: Defaults that differ in a setting, as found on pilot seeds: setting to argument to value.
    """

    name: str
    about: str
    source: str
    settings: tuple[str, ...]
    single_head: bool
    needs: tuple[str, ...]
    after: float
    arguments: tuple[Argument, ...]
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def settled(self, given: Mapping[str, Any], setting: str) -> dict[str, Any]:
        """Write out every argument.

        Args:
            given: What the user set.
            setting: The stream's setting.

        Returns:
            Each argument's value: what was given, else what was found for the setting, else the default.
        """
        found = self.defaults.get(setting, {})
        return {each.name: given.get(each.name, found.get(each.name, each.default)) for each in self.arguments}


@dataclass(frozen=True)
class Competitor:
    """A parsed agent text that is none of evermap's selectors.

    Attributes:
        text: As it was given.
        name: "independent", "joint", or the name of one of Avalanche's strategies.
        method: That strategy's description; None for a bound.
        arguments: What was set.
    """

    text: str
    name: str
    method: Method | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def refusal(
        self, setting: Setting, regression: bool = False, own_labels: bool = False, tasks: int = 1
    ) -> str | None:
        """Say why it cannot be run on a stream.

        Args:
            setting: The stream's setting.
            regression: Whether it has regression tasks.
            own_labels: Whether class ids mean something in their own task only.
            tasks: How many tasks the stream has.

        Returns:
            The reason, as an end to "it cannot be run: …"; None where it can.
        """
        if self.method is None:
            supported = BOUNDS[self.name][1]
            if setting.value not in supported:
                return f"{self.name} needs tasks with boundaries, and a {setting.value} stream has none"
            return None
        name, method = self.method.name, self.method
        if setting.value not in method.settings:
            return f"{name} is {_listed(method.settings)}, and the stream is {setting.value}{_because(method, setting)}"
        if regression:
            return f"{name} classifies, and the stream has regression tasks; independent and joint learn them"
        if own_labels and (method.single_head or not setting.label_when_asked):
            return f"{name} has one head for all classes, and class ids of this stream mean something in one task only"
        drawn = method.settled(self.arguments, setting.value).get("sample_size", tasks)
        if drawn < tasks:  # it divides them by the number of memories, one per task
            return (
                f"{name} draws sample_size = {drawn} kept samples, as many of every task, and the stream has {tasks} "
                f"tasks; sample_size = {tasks} or more is needed"
            )
        missing = [package for package in method.needs if find_spec(package) is None]
        if missing:
            return f"{name} needs the package {missing[0]}, which is not installed: pip install 'evermap[{missing[0]}]'"
        return None


def is_competitor(text: str) -> bool:
    """Tell whether an agent's text names a competitor, well or badly, and none of evermap's selectors."""
    return text in BOUNDS or text.startswith(f"{PREFIX}:")


def parse(text: str) -> Competitor:
    """Read the text of a competitor.

    Args:
        text: "avalanche:Replay(mem_size=500)", "avalanche:Naive", "independent" or "joint".

    Returns:
        The competitor, its arguments checked by name and type.

    Raises:
        UserError: If there is no such strategy or argument, or a value is no literal of the right type.
    """
    if text in BOUNDS:
        return Competitor(text, text)
    said = re.fullmatch(rf"{PREFIX}:([^()]*)(\(.*\))?", text.strip(), re.DOTALL)
    if said is None or not said[1].strip():
        raise UserError(f"{text!r} names no strategy; valid is as in avalanche:Replay(mem_size=500)")
    methods, name = table(), said[1].strip()
    names = {**{each: each for each in methods}, **_aliases()}
    if name not in names:
        raise UserError(f"Avalanche has no strategy of this name that runs here{_near(name, names, methods)}")
    method = methods[names[name]]
    return Competitor(text, method.name, method, _arguments(said[2] or "()", method))


@cache
def table() -> Mapping[str, Method]:
    """Read what is known of Avalanche's strategies.

    Returns:
        Name to description, in the order of the file.
    """
    data = tomllib.loads(TABLE.read_text("utf-8"))
    common = _described(data["common"])
    return {
        name: Method(
            name=name,
            about=each["about"],
            source=each["source"],
            settings=tuple(each["settings"]),
            single_head=each.get("heads", "multi") == "single",
            needs=tuple(each.get("needs", ())),
            after=float(each.get("after", 0.0)),
            arguments=(*_described(each["arguments"]), *common),
            defaults=data.get("defaults", {}).get(name, {}),
        )
        for name, each in data["methods"].items()
    }


@cache
def _aliases() -> Mapping[str, str]:
    data = tomllib.loads(TABLE.read_text("utf-8"))
    return {alias: name for name, each in data["methods"].items() for alias in each.get("aliases", ())}


def _described(arguments: Mapping[str, Mapping[str, Any]]) -> tuple[Argument, ...]:
    return tuple(Argument(name, each["default"], each["help"]) for name, each in arguments.items())


def _arguments(text: str, method: Method) -> dict[str, Any]:
    """Read "(name=literal, …)": literals only, nothing is evaluated."""
    try:
        call = ast.parse(f"f{text}", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        call = None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise UserError(f"{text} is no list of arguments; valid is as in {method.name}(lr=0.01)")
    if call.args or any(each.arg is None for each in call.keywords):
        raise UserError(f"{text}: every argument of {method.name} is given by its name, as in lr=0.01")
    known, found = {each.name: each for each in method.arguments}, dict[str, Any]()
    for keyword in call.keywords:
        name = str(keyword.arg)
        if name not in known:
            raise UserError(f"{method.name} has no argument {name!r}{_near(name, known, known)}")
        try:
            value = ast.literal_eval(keyword.value)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            raise UserError(f"{method.name}: {name} must be a number, a word in quotes, True or False") from None
        found[name] = _typed(method.name, known[name], value)
    return found


def _typed(method: str, argument: Argument, value: Any) -> Any:
    """Check that a value has the type of the argument's default; a whole number stands for a real one."""
    kind = type(argument.default)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        valid = {bool: "True or False", int: "a whole number", float: "a number", str: "a word in quotes"}[kind]
        raise UserError(f"{method}: {argument.name} is {value!r}; {valid} is needed")
    if kind in (int, float) and not 0 <= value < float("inf"):
        raise UserError(f"{method}: {argument.name} is {value!r}; a finite number from 0 on is needed")
    if argument.name in _AT_LEAST_ONE and value < 1:
        raise UserError(f"{method}: {argument.name} is {value!r}; at least 1 is needed")
    if argument.name in _SHARES and value > 1:
        raise UserError(f"{method}: {argument.name} is {value!r}; a share from 0 to 1 is needed")
    words = _WORDS.get(argument.name, ())
    if words and value not in words:
        raise UserError(f"{method}: {argument.name} is {value!r}; valid are {' and '.join(words)}")
    return value


_AT_LEAST_ONE = frozenset(
    {"batch_size", "mem_size", "memory_size", "max_buffer_size", "patterns_per_exp", "sample_size", "batch_size_mem"}
    | {"buffer_mb_size", "subsample", "n_inner_steps", "delta_t", "latent"}
)
_SHARES = frozenset(
    {"generator_share", "prune_proportion", "post_prune_share", "decay_factor", "ewc_alpha", "momentum"}
)
_WORDS: Mapping[str, Sequence[str]] = {
    "optimiser": ("adam", "sgd"),
    "mode": ("separate", "online"),
    "adapter": ("mlp", "linear"),
}


def _near(name: str, choices: Iterable[str], known: Iterable[str]) -> str:
    lowered = {each.lower(): each for each in choices}
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    hint = f" (did you mean {lowered[near[0]]!r}?)" if near else ""
    return f"{hint}; known are {', '.join(known)}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _because(method: Method, setting: Setting) -> str:
    """Why a method does not support a setting, where one reason covers it."""
    if setting.value in _UNBOUNDED and not set(_UNBOUNDED) & set(method.settings):
        return ": it has to be told where a task ends"
    if method.settings == ("task-incremental",):
        return ": it has to be told the task when it is asked"
    if setting.label_when_asked and method.single_head:
        return ": it has one head for all classes"
    return ""
