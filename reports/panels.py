"""What the live display shows, drawn from a story for a given width and height."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.style import Style
from rich.table import Table
from rich.text import Text

from .lines import places, together, way
from .story import Story, TaskStory
from .units import count, decimal, flops, known, plain, score, scored, seconds, sentence, size
from .ways import ranked

_BARS = "▁▂▃▄▅▆▇█"
_WIDE = 108  # from this width on, the matrix stands beside the ways
_LABEL = 4  # width of a row's label in the matrix
_BAR = 16  # width of the bar of the budget
_NAME = 22  # width of a name in the lines above the picture; longer ones push the rest to the right
_ARMS = 3  # lines for what was put to work
_CELL = 4  # width of one of its cells


def picture(story: Story, title: str, width: int, height: int) -> RenderableType:
    """Draw the run as it stands.

    Args:
        story: What has happened so far.
        title: Scenario, selector and seed, in one line.
        width: Columns of the terminal.
        height: Lines that may be used.

    Returns:
        Lines that fit into both.
    """
    task = story.current
    top: list[Text] = [_header(story, title, width), Text("─" * width, style="dim")]
    bottom = [Text("─" * width, style="dim"), _cost(story)]
    room = max(height - len(top) - len(bottom), 1)
    if width >= _WIDE:
        left = (width - 3) * 11 // 20
        right = width - 3 - left
        body = Table.grid(padding=(0, 3, 0, 0))
        body.add_column(width=left, no_wrap=True, overflow="ellipsis")
        body.add_column(width=right, no_wrap=True, overflow="ellipsis")
        work = _work(story, task, left, room)[:room]
        body.add_row(Group(*work), Group(*matrix(story, right, room)))
        return Group(*map(_fit, top), body, *map(_fit, bottom))
    grid = matrix(story, width, max(room // 2, 3))
    work = _work(story, task, width, room - len(grid))[: max(room - len(grid), 1)]
    return Group(*map(_fit, [*top, *work, *grid, *bottom]))


def account(task: TaskStory) -> Text:
    """Say in one line how a task went; it stays above the picture.

    Args:
        task: A task that was learned.

    Returns:
        One line.
    """
    learned = task.learned or {}
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{task.index + 1:>3} ", style="dim")
    line.append(f"{plain(task.name):{_NAME}}  ", style="bold")
    column = task.started["concept"] if task.started else None
    if column is not None and task.evaluated and column < len(task.evaluated["values"]):
        line.append(f"{scored(task.evaluated['values'][column], task.regression):>7}  ", style="default")
    if task.overruled and task.chosen:
        line.append(f"{plain(task.chosen['strategy'])} → ", style="dim")
    line.append(plain(way(learned["strategy"], learned["source"])), style="cyan")
    line.append(f"  {flops(task.spent)}, {seconds(task.seconds)}", style="dim")
    for warning in task.warnings:
        line.append(f"  {plain(warning)}", style="yellow")
    return line


def guard_account(task: TaskStory) -> Padding | None:
    """Say what the guard said of a task; it stays above the picture, below the task's line.

    Args:
        task: A task that was learned.

    Returns:
        A sentence, indented; None where there was no guard.
    """
    verdict = (task.learned or {}).get("verdict")
    return Padding(Text(sentence(f"Guard: {verdict}"), style="dim"), (0, 0, 0, 4)) if verdict else None


def joint_account(event: Mapping[str, Any], regression: bool = False) -> Text:
    """Say in one line how tasks that arrived together were learned; it stays above the picture.

    Args:
        event: A `LearnedTogether` as JSON.
        regression: Whether its accuracy is R².

    Returns:
        One line.
    """
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{places(event):>3} ", style="dim")
    line.append(plain(together(event, regression)))
    line.append("  paid by each of them" if event["flops"] else "", style="dim")
    return line


def matrix(story: Story, width: int, height: int) -> list[Text]:
    """Draw the accuracy matrix as far as it has grown, in percent.

    Args:
        story: What has happened so far.
        width: Columns that may be used.
        height: Lines that may be used, at least 3.

    Returns:
        A line of task numbers and one line per evaluation; where they do not fit, the oldest are left out, and a line
        or the heading says so.
    """
    if not story.rows:
        return []
    columns = len(story.rows[-1]["values"])
    regression = story.regression
    cell = _CELL + regression  # "0.91" has one letter more than "91"
    fitting = max((width - _LABEL - 1) // cell, 1)
    shown = list(range(columns))[-fitting:] if columns > fitting else list(range(columns))
    if columns > fitting and story.current and story.current.started:
        # Keep the column of the task at hand in sight, with its predecessors.
        last = min(max(int(story.current.started["concept"]) + 1, fitting), columns)
        shown = list(range(last - fitting, last))
    headed = height >= 4
    rows = story.rows[-(height - 2 if headed else height - 1) :]
    heading = f"{'R²' if regression else 'Accuracy in %'} per test set, a row per evaluation"
    left_out = [f"columns {shown[0] + 1}–{shown[-1] + 1} of {columns}"] if len(shown) < columns else []
    left_out += [f"last {count(len(rows), 'row')}"] if len(rows) < len(story.rows) else []
    heading += f" ({', '.join(left_out)})" if left_out else ""
    top = Text(" " * _LABEL, style="dim")
    for column in shown:
        top.append(f"{column + 1:>{cell - 1}} ")
    lines = [Text(heading, style="dim"), top] if headed else [top]
    for row in rows:
        label = "0" if row.get("task") is None else str(int(row["task"]) + 1)
        line = Text.assemble((f"{label:>{_LABEL - 1}} ", "dim"))
        for column in shown:
            line.append_text(_cell(row["values"][column], regression))
        lines.append(line)
    return lines


def sparkline(values: Sequence[float | None], width: int) -> str:
    """Draw numbers as a line of bars, each scaled between the smallest and the largest.

    Args:
        values: Numbers; those that are undefined are left out.
        width: Columns that may be used; of more numbers than that, some evenly spaced ones are shown.

    Returns:
        At most `width` characters.
    """
    numbers = [value for value in values if value is not None and known(value)]
    if not numbers or width < 1:
        return ""
    if len(numbers) > width:
        last = len(numbers) - 1
        numbers = [numbers[round(last * place / max(width - 1, 1))] for place in range(width)]
    low, high = min(numbers), max(numbers)
    if high == low:
        return _BARS[3] * len(numbers)
    return "".join(_BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] for value in numbers)


def heat(value: float) -> Style:
    """Colour a share: pale to deep blue, with letters that can be read on it.

    Args:
        value: 0 to 1; what lies outside is clipped.

    Returns:
        Background and letters.
    """
    share = min(max(value, 0.0), 1.0)
    low, high = (226, 236, 246), (16, 74, 130)
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(low, high, strict=True))
    return Style.parse(f"{'black' if share < 0.55 else 'bright_white'} on rgb({red},{green},{blue})")


def _cell(value: float | None, regression: bool) -> Text:
    text = f"{score(value, regression, 1 if regression else 0):>{_CELL - 1 + regression}} "
    return Text(text, style=heat(value)) if value is not None and known(value) else Text(text, style="dim")


def _header(story: Story, title: str, width: int) -> Text:
    task = story.current
    if task is None:
        place = "before the first task"
    elif task.started is None:
        place = f"from task {task.index + 1} on, together"
    else:
        place = f"task {task.index + 1} of {story.expected}"
    gap = max(width - len(title) - len(place), 2)
    shown = Text(title, style="bold", no_wrap=True, overflow="ellipsis")
    if len(title) + len(place) + 2 > width:
        shown.truncate(max(width - len(place) - 2, 8), overflow="ellipsis")
        gap = max(width - shown.cell_len - len(place), 2)
    return Text.assemble(shown, " " * gap, (place, "cyan"))


def _work(story: Story, task: TaskStory | None, width: int, height: int) -> list[Text]:
    """Draw the task at hand: what it is, the ways considered, the one chosen and why, how learning goes."""
    if task is None:
        return [Text("Measuring what is known before any learning…", style="dim")]
    if task.started is None:
        return [Text("Learning tasks that arrived together as one…", style="dim"), *_learning(task, width)]
    start = task.started
    facts = [count(start["samples"], "sample")]
    if start["query"]:
        facts.append(f"{start['query']} to validate")
    if start["classes"]:
        facts.append(count(len(start["classes"]), "class", "classes"))
    facts.append(f"budget {flops(start['budget'])}")
    lines = [Text.assemble((plain(task.name), "bold"), ("  " + ", ".join(facts), "dim"))]
    after = _learning(task, width)
    if task.chosen is None:
        probed = task.profiled is not None
        return [*lines, Text("Choosing…" if probed else "Looking at what is already known…", style="dim"), *after]
    reason = _wrapped("Why: " + sentence(task.chosen["reason"]), width, 2)
    if task.learned and task.learned.get("verdict"):
        after += _wrapped(sentence(f"Guard: {task.learned['verdict']}"), width, 3)
    for warning in task.warnings:
        after += [Text(plain(f"Warning: {warning}"), style="yellow")]
    if task.remembered and task.remembered.get("kept"):
        after += [Text(f"Kept for later tasks: {', '.join(map(plain, task.remembered['kept']))}", style="dim")]
    ways = _ways(task, width, max(height - len(lines) - len(after) - len(reason), 1))
    return [*lines, *ways, *reason, *after]


def _ways(task: TaskStory, width: int, height: int) -> list[Text]:
    """Draw the ways considered, the chosen one marked, then the best of each strategy; at most `height` lines."""
    ways = ranked(task.chosen or {}, task.learned)
    shown = [each for each in ways if each.leads][: max(height - 1, 1)]
    names = [plain(way(each.strategy, each.source)) for each in shown]
    column = min(max(map(len, names)), max(width * 2 // 5, 12))
    lines = []
    for each, name in zip(shown, names, strict=True):
        marked = each.picked or each.answers
        line = Text("✓ " if each.answers else "▸ " if each.picked else "  ", style="bold cyan" if marked else "")
        label = Text(name)
        label.truncate(column, overflow="ellipsis", pad=True)
        line.append_text(label)
        line.append(f" {decimal(each.score):>7} ")
        if each.why_not:
            line.append(plain(each.why_not), style="dim")
        else:
            line.append("━" * round(each.share / 100 * 12), style="cyan" if marked else "dim")
        if task.overruled and marked:
            line.append(" in the end" if each.answers else " wanted", style="yellow")
        wanted = (task.chosen or {}).get("wanted")
        if wanted and each.picked:
            line.append(f" stands in for {plain(wanted)}", style="yellow")
        lines.append(line)
    if len(ways) > len(shown) and height > 1:
        lines.append(Text(f"  and {count(len(ways) - len(shown), 'more way')}", style="dim"))
    return lines


def _learning(task: TaskStory, width: int) -> list[Text]:
    """Draw the bar of the budget, and what was put to work: its held-out score, loss and curve, the last three."""
    events = task.progress if task.started else task.joint
    if not events:
        return []
    share = min(max(float(events[-1]["fraction"]), 0.0), 1.0)
    full = round(share * _BAR)
    lines = [Text.assemble(("━" * full, "cyan"), ("─" * (_BAR - full), "dim"), f" {100 * share:3.0f} % of budget")]
    arms = list(task.arms().items())[-_ARMS:]
    names = [plain(way(strategy, source)) for (strategy, source), _ in arms]
    column = min(max(map(len, names)), max(width * 2 // 5, 12))
    for name, (_, arm) in zip(names, arms, strict=True):
        last, label = arm[-1], Text(name, style="cyan")
        label.truncate(column, overflow="ellipsis", pad=True)
        line = Text.assemble(label)
        if last["accuracy"] is not None:
            line.append(f"  held out {scored(last['accuracy'], task.regression):>7}", style="bold")
        if last["loss"] is not None:
            line.append(f"  loss {last['loss']:.3f}")
        line.append(f"  {sparkline([event['accuracy'] for event in arm], width - line.cell_len - 2)}", style="cyan")
        lines.append(line)
    return lines


def _cost(story: Story) -> Text:
    kept = story.store
    stored = f"{size(kept['store_bytes'])} in {count(kept['encoders'], 'encoder')}" if kept else "nothing kept yet"
    return Text(f"{flops(story.flops)}  {seconds(story.seconds)} CPU  {stored}", style="dim")


def _wrapped(text: str, width: int, lines: int) -> list[Text]:
    """Break a sentence at words into at most so many lines."""
    out: list[str] = []
    for word in text.split():
        if out and len(out[-1]) + 1 + len(word) <= width:
            out[-1] += " " + word
        else:
            out.append(word)
    if len(out) > lines:
        out = [*out[: lines - 1], out[lines - 1][: width - 1] + "…"]
    return [Text(line, style="italic") for line in out]


def _fit(line: Text) -> Text:
    """Never wrap: what is too long is cut with an ellipsis."""
    line.no_wrap, line.overflow = True, "ellipsis"
    return line
