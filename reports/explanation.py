"""One task of a run as a person would tell it, on a terminal; readable also for who does not know the terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from . import units
from .explain import counted
from .lines import way
from .panels import sparkline

Json = Mapping[str, Any]
# Rows of a table at most: the rest is counted.
_ROWS = 12
_PARTS = {
    "profile": "measuring what is known",
    "choice": "choosing",
    "together": "its part of learning together with others",
    "learning": "learning",
    "later": "work for later tasks",
}
# What the ways that come with evermap do, for who does not know their names.
_WAYS = {
    "scratch": "a new network, trained from nothing",
    "finetune": "a stored network, trained on from where it is",
    "prototype": "a head computed at once on features that stay as they are",
    "reuse": "a stored model as it is, its outputs put in order",
    "distill": "a new network that learns from a stored one",
    "multitask": "a network learned together with other tasks",
    "maml": "a start made from earlier tasks, adapted in a few steps",
    "protonet": "class means in a space learned from earlier tasks",
}


def explanation(task: Json) -> RenderableType:
    """Tell of one task.

    Args:
        task: What `explain.explained` gave.

    Returns:
        Section by section: what came, what was known, what was considered, tried and chosen, what every arm would have
        given, what it cost, what was kept, and whom it helped later.
    """
    run = task["run"]
    title = Text.assemble(
        (f"Task {task['number']} of {run['tasks']}: “{units.plain(task['name'])}”", "bold"),
        (f"   {units.plain(run['scenario'])}, {units.plain(run['selector'])}, seed {run['seed']}", "dim"),
    )
    parts: list[RenderableType] = [title, Text()]
    for heading, body in (
        ("What came", _came(task)),
        ("What was known", _known(task)),
        ("What was considered", _considered(task)),
        ("What was tried", _tried(task)),
        ("What was chosen, and why", _chosen(task)),
        ("What every way would have given", _arms(task)),
        ("What it cost", _cost(task)),
        ("What was kept", _kept(task)),
        ("Whom it helped later", _helped(task)),
    ):
        if body:
            parts += [Text(heading, style="bold cyan"), *(Padding(each, (0, 0, 0, 2)) for each in body), Text()]
    notes = [Text(f"Note: {units.plain(warning)}", style="yellow") for warning in task["warnings"]]
    return Group(*parts, *notes)


def _came(task: Json) -> list[RenderableType]:
    budget = f", and {units.flops(task['budget'])} to spend" if task["budget"] else ""
    return [Text(f"{counted(task)}{budget}.")]


def _known(task: Json) -> list[RenderableType]:
    known = task["known"]
    if not known["tasks"]:
        said = "Nothing: it is the first task."
    else:
        made = units.count(known["encoders"], "stored network")
        said = f"{units.count(known['tasks'], 'earlier task')}, and {made} that they have left."
    if not task["probes"]:
        return [Text(f"{said} Nothing was measured on it: this way of choosing does not ask.")]
    unit = "error" if task["regression"] else "share of right answers"
    how = f"Each representation was measured by the {unit} of a head computed on all samples but one, for every one."
    table = _table()
    table.add_column("representation", no_wrap=True, style="cyan")
    for heading in ("error",) if task["regression"] else ("ridge", "means", "neighbours", "as it is", "error"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", ratio=1, style="dim", overflow="fold")
    for probe in task["probes"]:
        shares = [] if task["regression"] else [units.percent(probe.get(k)) for k in ("ridge", "ncm", "knn", "reuse")]
        error = units.decimal(probe["ridge_mse"], 4)
        table.add_row(units.plain(probe["candidate"]), *shares, error, Text(units.plain(probe["standing_on"])))
    left = f" {units.count(known['unprobed'], 'more was', 'more were')} not measured." if known["unprobed"] else ""
    about = "" if task["regression"] else " “As it is”: a stored model's own answers, its labels matched to the task's."
    return [Text(said), Text(f"{how}{about}{left}", style="dim"), table]


def _considered(task: Json) -> list[RenderableType]:
    ways = task["considered"]
    if not ways:
        return []
    table = _table()
    table.add_column("", no_wrap=True)
    table.add_column("way", no_wrap=True, style="cyan")
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("", ratio=1, style="dim", overflow="fold")
    leading = [each for each in ways if each["leads"]] or ways
    for each in leading[:_ROWS]:
        mark = "●" if each["answers"] else "○" if each["picked"] else ""
        remark = each["why_not"] or _WAYS.get(each["strategy"], each["standing_on"])
        name = units.plain(way(each["strategy"], each["source"]))
        table.add_row(mark, name, units.decimal(each["score"]), Text(units.plain(remark)))
    rest = len(ways) - len(leading[:_ROWS])
    said = "● answers in the end" + (", ○ was chosen first" if task["overruled"] else "")
    if rest:
        said += f"; {units.count(rest, 'more way')}, from other sources, stood behind them"
    return [table, Text(f"{said}. The score is what the agent thought of a way; – where it did not say.", style="dim")]


def _tried(task: Json) -> list[RenderableType]:
    if not task["curves"]:
        return []
    score = "R²" if task["regression"] else "accuracy"
    table = _table()
    table.add_column("way", no_wrap=True, style="cyan")
    for heading in ("steps", "spent", "loss", score):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(f"{score} while it learned", ratio=1, style="cyan", no_wrap=True)
    for curve in task["curves"]:
        last = curve["points"][-1]
        values = [point["accuracy"] for point in curve["points"]]
        table.add_row(
            units.plain(way(curve["strategy"], curve["source"])),
            f"{last['unit']:,}",
            units.flops(last["flops"]),
            units.decimal(last["loss"]),
            units.score(last["accuracy"], task["regression"]),
            sparkline(values, 24) if any(units.known(value) for value in values) else "",
        )
    held = task["held_out"] or 0
    on = f"on {units.count(held, 'sample')} that it did not learn from" if held else "nothing was held back to judge by"
    return [table, Text(f"Loss and {score}: {on}.", style="dim"), *_compared(task)]


def _compared(task: Json) -> list[RenderableType]:
    """What was held against the closed-form default on the same samples."""
    if not task["compared"]:
        return []
    table = _table()
    table.add_column("against the default", no_wrap=True, style="cyan")
    for heading in ("steps", "spent", "gain", "expected"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", ratio=1, style="dim")
    for each in task["compared"]:
        table.add_row(
            units.plain(way(each["strategy"], each["source"])),
            f"{each['units']:,}" if each.get("units") else "all",
            units.flops(each.get("flops")),
            _unsure(each.get("nats"), each.get("error")),
            _unsure(each.get("expected"), each.get("unsure")),
            "the guard's comparison" if each["guard"] else "tried out",
        )
    what = "Gain: by how much its loss is smaller, ± its standard error; expected: what earlier tasks let expect."
    return [table, Text(what, style="dim")]


def _unsure(value: float | None, error: float | None) -> str:
    """Write a gain in nats with what it may be off by."""
    if not units.known(value):
        return "–"
    sign = "+" if value > 0 else ""
    return f"{sign}{units.decimal(value)}" + (f" ± {units.decimal(error)}" if units.known(error) else "")


def _chosen(task: Json) -> list[RenderableType]:
    if not task["chosen"]:
        return []
    first = way(task["chosen"]["strategy"], task["chosen"]["source"])
    meaning = _WAYS.get(task["chosen"]["strategy"])
    said: list[RenderableType] = [Text(f"{first}" + (f": {meaning}." if meaning else "."))]
    if task["wanted"]:
        said.append(Text(f"{units.plain(task['wanted'])} was wanted and does not apply here.", style="yellow"))
    if units.known(task["expected"]["expected"]):
        gain = _unsure(task["expected"]["expected"], task["expected"]["unsure"])
        said.append(Text(f"Earlier tasks let expect a gain of {gain} nats over the closed-form default."))
    if task["overruled"]:
        said.append(Text(f"In the end {way(task['strategy'], task['source'])} answers.", style="yellow"))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(ratio=1)
    for heading, sentence in task["told"]:
        if heading != "Kept":
            table.add_row(heading, Text(sentence))
    return [*said, table]


def _arms(task: Json) -> list[RenderableType]:
    arms = task["arms"]
    if arms is None:
        said = "This was not computed; `evermap regret` runs every way from the same store and compares."
        return [Text(said, style="dim")] if task["strategy"] else []
    regression = task["regression"]
    table = _table()
    table.add_column("", no_wrap=True)
    table.add_column("way", no_wrap=True, style="cyan")
    for heading in ("test", "held out", "loss", "spent"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", ratio=1, style="dim", overflow="fold")
    lines = arms["lines"]
    shown = [line for position, line in enumerate(lines) if position < _ROWS or line["answered"]]
    for line in shown:
        table.add_row(
            "●" if line["answered"] else "",
            units.plain(way(line["strategy"], line["source"])),
            units.score(line["accuracy"], regression),
            units.score(line["held_out_accuracy"], regression),
            units.decimal(line["held_out_loss"]),
            units.flops(line["flops"]),
            Text(units.plain(line["failed"] or "")),
        )
    body: list[RenderableType] = [table]
    if len(lines) > len(shown):
        body.append(Text(f"{units.count(len(lines) - len(shown), 'more way')} did worse.", style="dim"))
    lost = arms["regret"]
    if lost is not None:
        fair = units.change(lost["regret"]["split"], regression)
        unit = "" if regression else " points"
        gap = "no way alone was better"
        if lost["regret"]["naive"] > 0:
            best = units.plain(way(*lost["best"]))
            gap = f"the best, {best}, has {units.change(lost['regret']['naive'], regression)}{unit} on it"
        body.append(Text(f"The agent answered {units.scored(lost['accuracy'], regression)}; {gap}."))
        body.append(
            Text(f"Picked on one half of the test set and valued on the other it has {fair}{unit}: that is fair.")
        )
    body.append(
        Text("Each alone, with the whole budget, from the store as it was; the agent never saw this.", style="dim")
    )
    return body


def _cost(task: Json) -> list[RenderableType]:
    if task["flops"] is None:
        return []
    budget = task["budget"]
    share = f", {task['flops'] / budget:.0%} of what it might have spent" if budget else ""
    said = f"{units.flops(task['flops'])}{share}; {units.seconds(task['seconds'])} of CPU time."
    spent = [f"{_PARTS[key]} {units.flops(value)}" for key, value in task["parts"].items() if value]
    return [Text(said), Text(f"Of it: {'; '.join(spent)}.", style="dim")]


def _kept(task: Json) -> list[RenderableType]:
    if not task["model"]:
        return []
    made = f" made from {units.plain(task['parent'])}" if task["parent"] else ""
    said = f"{units.plain(task['model'])} answers for it, on {units.plain(task['encoder'])}{made}"
    body = [Text(f"{said}: {units.size(task['new_bytes'])} more, {units.size(task['store_bytes'])} in all.")]
    body += [Text(sentence) for heading, sentence in task["told"] if heading == "Kept"]
    return list(body)


def _helped(task: Json) -> list[RenderableType]:
    if not task["model"]:
        return []
    if not task["helped"]:
        return [Text("No task so far.", style="dim")]
    return [
        Text(
            f"Task {each['number']}, “{units.plain(each['name'])}”: {units.plain(each['strategy'])} with "
            f"{units.plain(each['entry'])}, {units.scored(each['accuracy'], each['regression'])}."
        )
        for each in task["helped"]
    ]


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim", expand=True)
