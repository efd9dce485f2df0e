"""Every event of note as one plain ASCII line, for logs and pipes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .story import Story
from .units import MINUS, count, flops, ranges, score, scored, size

_ASCII = str.maketrans({MINUS: "-", "–": "-", "—": "-", "×": "x", "·": "|", "←": "<-", "→": "->", "²": "2", "≥": ">="})


def told(story: Story, event: Mapping[str, Any]) -> str | None:
    """Say what happened.

    Args:
        story: The run so far, this event included.
        event: The event as JSON.

    Returns:
        One line, or None where the event is not worth one. evermap's own words are ASCII; names stay as they are.
    """
    saying = _SAYINGS.get(str(event.get("event")))
    said = saying(story, event) if saying is not None else None
    if said is None:
        return None
    task = event.get("task")
    where = "before learning" if task is None else f"task {int(task) + 1}/{story.expected}"
    if event.get("tasks") and task is None:
        where = f"tasks {places(event)}"
    return f"[{where}] {said}".translate(_ASCII)


def resumed(event: Mapping[str, Any]) -> str:
    """Say that a run goes on.

    Args:
        event: A `Resumed` as JSON.

    Returns:
        "resumed: 3 of 5 tasks and 4 rows of the accuracy matrix are there".
    """
    rows = count(event["rows"], "row")
    said = f"resumed: {event['done']} of {count(event['tasks'], 'task')} and {rows} of the accuracy matrix are there"
    return "; changed: ".join([said, *(["; ".join(event["changed"])] if event["changed"] else [])]).translate(_ASCII)


def way(strategy: str, source: str | None) -> str:
    """Name a strategy together with what it starts from.

    Args:
        strategy: Its registered name.
        source: Id of the stored entry; None for none.

    Returns:
        "finetune from encoder-1", "prototype on stem", or "scratch".
    """
    if source is None:
        return strategy
    return f"{strategy} {'on' if source in ('stem', 'random', 'raw') else 'from'} {source}"


def places(event: Mapping[str, Any]) -> str:
    """Name the tasks of a `LearnedTogether`.

    Args:
        event: The event as JSON.

    Returns:
        Their numbers, from 1: "1–3".
    """
    return ranges([int(task) + 1 for task in event["tasks"]])


def together(event: Mapping[str, Any], regression: bool = False) -> str:
    """Say how tasks that arrived together were learned.

    Args:
        event: A `LearnedTogether` as JSON.
        regression: Whether its accuracy is R².

    Returns:
        "3 tasks arrived together; multitask learned them as one, 95.0 % held out".
    """
    if event["strategy"] is None or event["stopped"] == "diverged":
        return f"{count(len(event['tasks']), 'task')} arrived together: {event['reason']}"
    held = f", {scored(event['accuracy'], regression)} held out" if event["accuracy"] is not None else ""
    return f"{event['reason']}{held}"


def _together(story: Story, event: Mapping[str, Any]) -> str:
    said = together(event, story.regression)
    return f"{said}, {flops(event['flops'])}" if event["flops"] else said


def _started(story: Story, event: Mapping[str, Any]) -> str:
    parts = [count(event["samples"], "sample")]
    if event["query"]:
        parts.append(f"{event['query']} to validate")
    if event["classes"]:
        parts.append(count(len(event["classes"]), "class", "classes"))
    return f"{event['name']}: {', '.join(parts)}"


def _chosen(story: Story, event: Mapping[str, Any]) -> str:
    stands_in = f" (stands in for {event['wanted']})" if event.get("wanted") else ""
    return f"{way(event['strategy'], event['source'])}{stands_in}: {event['reason']}"


def _learned(story: Story, event: Mapping[str, Any]) -> str:
    held = f"{scored(event['accuracy'], _regression(story, event))} held out, " if event["accuracy"] is not None else ""
    guard = f"; guard: {event['verdict']}" if event.get("verdict") else ""
    helper = f"; helped by {event['helper']}" if event.get("helper") else ""
    warned = f"; anchor: {event['anchor']}" if event.get("anchor") else ""
    warned += "".join(f"; warning: {warning}" for warning in event.get("warnings") or ())
    return (
        f"learned by {way(event['strategy'], event['source'])}: {held}{count(event['units'], 'unit')} "
        f"({event['stopped']}), {flops(event['total_flops'])}, {event['seconds']:.2f} s CPU{helper}{guard}{warned}"
    )


def _remembered(story: Story, event: Mapping[str, Any]) -> str:
    later = f", {' '.join(event['kept'])} for later tasks" if event.get("kept") else ""
    return (
        f"remembered {event['model']} on {event['encoder']}{later}: +{size(event['new_bytes'])}, "
        f"{size(event['store_bytes'])} in {count(event['encoders'], 'encoder')}"
    )


def _bounded(story: Story, event: Mapping[str, Any]) -> str | None:
    warnings = event.get("warnings") or ()
    return f"warning: {'; '.join(warnings)}" if warnings else None


def _evaluated(story: Story, event: Mapping[str, Any]) -> str:
    if story.regression:
        return "R²: " + " ".join(score(value, True) for value in event["values"])
    return "accuracy in %: " + " ".join(score(value, digits=0) for value in event["values"])


def _regression(story: Story, event: Mapping[str, Any]) -> bool:
    task = story.tasks.get(event["task"])
    return task is not None and task.regression


_SAYINGS: dict[str, Callable[[Story, Mapping[str, Any]], str | None]] = {
    "LearnedTogether": _together,
    "TaskStarted": _started,
    "Chosen": _chosen,
    "Learned": _learned,
    "Remembered": _remembered,
    "Bounded": _bounded,
    "Evaluated": _evaluated,
}
