"""The story of a task in words: what was wanted, what answered, why, and what is kept of it for later tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .lines import way
from .story import Origin, Story, TaskStory
from .units import count, plain, points, ranges, scored, sentence

# What a strategy can stand on that no task has to leave behind.
FIXED = {
    "stem": "fixed features that all tasks share, never trained",
    "random": "random features, never trained",
    "raw": "the inputs as they are",
}
_STOPPED = {
    "finished": "ran to its end",
    "budget": "stopped by the budget",
    "patience": "stopped when it no longer improved",
    "diverged": "diverged",
}


def left_by(story: Story, origin: Origin) -> str:
    """Say where a stored entry came from.

    Args:
        story: The run.
        origin: Where it came from.

    Returns:
        "task 5, “all digits”", "tasks 1–3, learned together", "task 5, “all digits”, kept for later".
    """
    if origin.kind == "together":
        return f"tasks {ranges([task + 1 for task in origin.tasks])}, learned together"
    task = story.tasks[origin.tasks[0]]
    later = ", kept for later" if origin.kind == "kept" else ""
    return f"task {task.index + 1}, “{plain(task.name)}”{later}"


def standing_on(story: Story, source: str | None, own: int) -> str:
    """Say what a source is.

    Args:
        story: The run.
        source: Id of a stored entry or of a fixed representation; None for none.
        own: Position of the task that it is used for.

    Returns:
        A remark for brackets; empty where nothing is known of it.
    """
    origin = story.origins.get(str(source))
    if origin is None or origin.tasks == (own,):
        return FIXED.get(str(source), "")
    return f"left by {left_by(story, origin)}"


def told(story: Story, task: TaskStory) -> list[list[str]]:
    """Tell what became of a task's choice.

    Args:
        story: The run.
        task: The task.

    Returns:
        [heading, sentence] in the order in which it happened; parts that did not happen are left out.
    """
    said: list[list[str]] = []
    chosen, learned, kept = task.chosen, task.learned, task.remembered
    joint = story.phase(task.index)
    if joint is not None:
        with_ = ranges([i + 1 for i in joint["tasks"] if i != task.index])
        said.append(["Before", f"Learned together with {'tasks' if len(joint['tasks']) > 2 else 'task'} {with_}."])
    if chosen is not None:
        said.append(["Why", sentence(chosen["reason"])])
    if learned is None:
        return said
    if learned.get("verdict"):
        said.append(["Guard", sentence(learned["verdict"])])
    elif task.overruled:
        said.append(["Instead", f"{_capital(way(learned['strategy'], learned['source']))} took over; see the warning."])
    helper = learned.get("helper")
    origin = story.origins.get(str(helper))
    if helper and origin is not None:
        gain = learned.get("gain")
        better = f": {points(gain)} points against a closed form without it" if gain is not None else ""
        said.append(["Helped by", f"{plain(helper)}, the model of {left_by(story, origin)}{better}."])
    said.append(["Result", _result(task)])
    later = _kept([str(entry) for entry in (kept or {}).get("kept") or ()], story, task)
    if later:
        said.append(["Kept", later])
    return said


def in_brief(task: TaskStory) -> str:
    """Say in one sentence why this answers.

    Args:
        task: The task.

    Returns:
        The sentence; empty before the choice.
    """
    chosen, learned = task.chosen, task.learned or {}
    if chosen is None:
        return ""
    tried = way(chosen["strategy"], chosen["source"])
    if task.overruled and learned.get("verdict"):
        return f"Guard: {tried}, trained, is not clearly better on {count(learned['held_out'], 'held-out sample')}."
    if task.overruled:
        return f"{_capital(tried)} failed; this took over."
    if learned.get("verdict"):
        return f"Trained, and clearly better than its guard on {count(learned['held_out'], 'held-out sample')}."
    return sentence(chosen["reason"])


def caught(task: TaskStory) -> str:
    """Say in two or three words what the guard prevented.

    Args:
        task: The task.

    Returns:
        "transfer rejected" where something stored was built on and did not clearly beat a closed form that is not
        trained; "guard took over" where what lost began afresh; empty where the guard rejected nothing.
    """
    if not (task.overruled and task.chosen and (task.learned or {}).get("verdict")):
        return ""
    source = task.chosen["source"]
    return "guard took over" if source is None or source in FIXED else "transfer rejected"


def _result(task: TaskStory) -> str:
    learned = task.learned or {}
    parts = []
    column = task.started["concept"] if task.started else None
    if task.evaluated and column is not None and column < len(task.evaluated["values"]):
        shares = task.evaluated.get("anchor_share") or ()
        anchor = shares[column] if column < len(shares) else 0.0
        by = (
            ", answered by the anchor"
            if anchor == 1
            else f", {anchor:.0%} of it answered by the anchor"
            if anchor
            else ""
        )
        parts.append(f"{scored(task.evaluated['values'][column], task.regression)} on its test set{by}")
    if learned.get("accuracy") is not None:
        parts.append(
            f"{scored(learned['accuracy'], task.regression)} on {count(learned['held_out'], 'held-out sample')}"
        )
    work = count(learned["units"], "unit") + " of work"
    if learned["best_unit"] != learned["units"]:
        work += f", the state after {learned['best_unit']:,} kept"
    parts.append(f"{work}; {_STOPPED.get(learned['stopped'], learned['stopped'])}")
    return sentence("; ".join(parts))


def _kept(entries: Sequence[str], story: Story, task: TaskStory) -> str:
    if not entries:
        return ""
    origins = [story.origins.get(entry) for entry in entries]
    shared = [origin is not None and origin.kind == "together" for origin in origins]
    named = ", ".join(map(plain, entries))
    if all(shared):
        return f"{named}, which the tasks learned together left."
    return f"{named}, trained beside the answer, for later tasks."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def probed(task: TaskStory) -> list[dict[str, Any]]:
    """List the representations that were probed, the best first.

    Args:
        task: The task.

    Returns:
        Each `ProbeScore` as plain data, with "best" for the better closed form (None where there is none).
    """
    found = []
    for score in (task.profiled or {}).get("scores") or ():
        heads = [score.get(key) for key in ("ridge", "ncm")]
        found.append({"ridge": None, **score, "best": max((v for v in heads if v is not None), default=None)})
    return found
