"""The most telling facts of a run in a sentence each: what was forgotten and transferred, who answered, the cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import units

Json = Mapping[str, Any]


def in_short(summary: Json) -> list[list[str]]:
    """Say the most telling facts.

    Args:
        summary: What `summary.summarise` gave.

    Returns:
        [what it is about, sentence].
    """
    said = [["Forgotten", _forgotten(summary)], ["Transferred", _transferred(summary)], ["Chosen", _chosen(summary)]]
    share = summary["totals"]["anchor_share"]
    if share is not None:
        said.append(["Answered", answered(share)])
    totals = summary["totals"]
    seconds = units.seconds(totals["seconds"])
    cost = f"{units.flops(totals['flops'])} on the tasks; {seconds} of CPU time, evaluation included; "
    cost += f"{units.size(totals['store_bytes'])} are kept, {units.count(totals['encoders'], 'encoder')} among them."
    said.append(["Spent", cost])
    if totals["sample_bytes"]:
        said.append(["Samples", replayed(totals["sampled"], totals["sample_bytes"])])
    return [each for each in said if each[1]]


def _forgotten(summary: Json) -> str:
    defined = [each for each in summary["concepts"] if each["forgetting"] is not None]
    if not defined:
        return ""
    lost = [each for each in defined if each["forgetting"] >= 0.0005]
    if not lost:
        sharing = dict(summary["run"]["facts"]).get("sharing")
        return "Nothing." + (" Every task keeps the weights that it was learned with." if sharing == "versions" else "")
    worst = max(lost, key=lambda each: each["forgetting"])
    what = "R²" if worst["regression"] else "accuracy"
    fell = f"On {len(lost)} of {units.count(len(defined), 'test set')} {what} fell"
    best, final = (units.scored(worst[key], worst["regression"]) for key in ("best", "final"))
    return f"{fell}; most on “{units.plain(worst['name'])}”, from {best} at best to {final} at the end."


def _transferred(summary: Json) -> str:
    helped = [task for task in summary["tasks"] if task["helped_by"]]
    said = []
    if helped:
        uses: dict[tuple[int, ...], int] = {}
        for task in helped:
            uses[tuple(task["helped_by"]["tasks"])] = uses.get(tuple(task["helped_by"]["tasks"]), 0) + 1
        top, times = max(uses.items(), key=lambda each: (each[1], -each[0][0]))
        name = next(t["helped_by"]["said"] for t in helped if tuple(t["helped_by"]["tasks"]) == top)
        most = f"; what was left by {name.removesuffix(', kept for later')} helped most, {units.count(times, 'time')}"
        said.append(
            f"{len(helped)} of {units.count(len(summary['tasks']), 'task')} use or build on what others had left"
            + (most if times > 1 else "")
        )
    elif summary["tasks"]:
        said.append("No task uses or builds on what another had left")
    gained = [each for each in summary["concepts"] if each["backward"] is not None and each["backward"] >= 0.0005]
    if gained:
        best = max(gained, key=lambda each: each["backward"])
        said.append(
            f"learning later tasks improved “{units.plain(best['name'])}” by "
            f"{units.change(best['backward'], best['regression'])}{'' if best['regression'] else ' points'}"
        )
    worse = [
        each
        for each in summary["concepts"]
        if each["forward"] is not None and each["learned"] is not None and each["before"] - each["learned"] >= 0.01
    ]
    if worse:
        most = max(worse, key=lambda each: each["before"] - each["learned"])
        before, after = (units.scored(most[key], most["regression"]) for key in ("before", "learned"))
        said.append(f"“{units.plain(most['name'])}” was answered better before it was learned ({before}, then {after})")
    return f"{'; '.join(said)}." if said else ""


def _chosen(summary: Json) -> str:
    choices = sorted(summary["choices"].items(), key=lambda each: (-each[1], each[0]))
    if not choices:
        return ""
    named = ", ".join(f"{units.plain(name)} {times}×" for name, times in choices)
    said = f"Learned by {named}"
    guarded = [task for task in summary["tasks"] if task["verdict"]]
    kept = sum(task["overruled"] for task in guarded)
    if guarded:
        those = "all" if kept == len(guarded) else kept or "none"
        said += f"; {units.count(len(guarded), 'task')} trained a network under a guard, whose closed form "
        said += f"was kept instead in {those}{'' if kept == len(guarded) else ' of them'}"
    return f"{said}."


def replayed(tasks: int | None, held: int) -> str:
    """Say that samples are kept, which a run does only where its recipe or its method declares it.

    Args:
        tasks: Tasks of which samples are kept; None where nobody counts them.
        held: Their bytes.
    """
    whose = "a buffer" if tasks is None else f"the episode memory, of {units.count(tasks, 'task')}"
    return f"Samples as they came, or through the stem, are kept in {whose}: {units.size(held)}."


def answered(share: float) -> str:
    """Say which share of the answers the anchor gave, where no task label is given.

    Args:
        share: The share.
    """
    if share == 1:
        return "Without a task label, the anchor gave every answer: its accuracy says nothing about the choices below."
    if share == 0:
        return "Without a task label, models of tasks gave every answer; the anchor gave none."
    rest = "models of tasks that the inputs fit gave the others"
    return f"Without a task label, the anchor gave {units.percent(share)} % of the answers; {rest}."
