"""Every further number of a run: transfer against references, learning curves, stability, calibration, cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..scenarios import against, costs, stability
from ..scenarios.calibration import Bin, calibration_error
from ..scenarios.l2metrics import block_transfer, performance_maintenance, performance_maintenance_per_column
from ..scenarios.matrix import AccuracyMatrix
from ..scenarios.measure import Measure, PerColumn, Undefined, each_learned
from ..scenarios.record import Record
from .learning import NO_EXPERT, Learning, learning_of, points_of
from .references import References
from .story import Story
from .written import Form, Writer

Json = dict[str, Any]
NO_JOINT = "needs a run of joint training on the same stream (--against)"


def numbers(
    record: Record, story: Story, matrix: AccuracyMatrix, references: References, tasks: Sequence[Json]
) -> Json:
    """Gather them, as plain data.

    Args:
        record: The run.
        story: What its events tell.
        matrix: Its accuracy matrix.
        references: Runs that it is held against.
        tasks: What `account.account` says of every task; each gets its own numbers under "measures".

    Returns:
        "measures" (group, name, title, value, text, unit, reason, convention of each), "concept_measures" (by column),
        "references", "calibration" (of the last row; None where no row has it), "during" and "curves_on".
    """
    expert = references.expert
    learning = learning_of(story, None if expert is None else Story.of(expert.events))
    visits = [
        against.Visit(task.index, task.name, task.started["concept"])
        for _, task in sorted(story.tasks.items())
        if task.started and task.remembered and task.evaluated
    ]
    during = [stability.During(e["task"], e["unit"], tuple(e["values"])) for e in story.during]
    columns = _per_column(matrix, story, references, visits, during)
    per_task = _per_task(matrix, story, references, visits)
    write = Writer(regression=matrix.values.shape[1] > 0 and not any(matrix.class_sets))
    measures = [
        *_transfer(write, matrix, references, visits, columns, per_task, story.expected),
        *_learning(write, learning),
        *_stability(write, matrix, visits, during, columns),
        *_calibration(write, story, columns, write.regression),
        *_cost(write, record, story, tasks),
    ]
    learned = [task for _, task in sorted(story.tasks.items()) if task.learned]
    for task in tasks:
        own: dict[str, Json] = {}
        for column in learning.per_task:
            own |= _cell(column, next((i for i, each in enumerate(learned) if each.index == task["index"]), None))
        for column in per_task:
            own |= _cell(column, next((i for i, each in enumerate(visits) if each.task == task["index"]), None))
        task["measures"] = own
    return {
        "measures": measures,
        "concept_measures": [
            {name: entry for column in columns.values() for name, entry in _cell(column, j).items()}
            for j in range(len(matrix.columns))
        ],
        "references": references.told(),
        "calibration": _last_row(story),
        "during": points_of(story),
        "curves_on": learning.on,
    }


def _per_column(
    R: AccuracyMatrix,
    story: Story,
    references: References,
    visits: Sequence[against.Visit],
    during: Sequence[stability.During],
) -> dict[str, PerColumn]:
    last = story.rows[-1] if story.rows else {}

    def recorded(name: str, key: str, convention: str) -> PerColumn:
        values = last.get(key) or ()

        def formula(j: int, _: int) -> float:
            value = values[j] if j < len(values) else None
            if value is None:
                raise Undefined("not recorded, or not what this test set asks for")
            return float(value)

        return each_learned(name, f"{convention}, in the last row", R, formula)

    S, J = (None if each is None else each.matrix for each in (references.expert, references.joint))
    found = [
        against.expert_transfer_per_column(R, S) if S else _without(R, "transfer against an expert", NO_EXPERT),
        against.intransigence_per_column(R, J) if J else _without(R, "intransigence", NO_JOINT),
        performance_maintenance_per_column(R, visits),
        stability.min_accuracy_per_column(R, during),
        stability.stability_gap_per_column(R, during),
        recorded("log-loss", "log_loss", "mean negative log-likelihood in nats"),
        recorded("calibration error", "ece", "15 bins of equal mass; Guo et al. 2017"),
        recorded("mean squared error", "mse", "mean over samples and outputs"),
    ]
    return {column.name: column for column in found}


def _without(R: AccuracyMatrix, name: str, reason: str) -> PerColumn:
    def formula(j: int, row: int) -> float:
        raise Undefined(reason)

    convention = {
        "transfer against an expert": "accuracy minus that of an independent expert; Veniat et al. 2021",
        "intransigence": "accuracy of joint training minus that of the run; Chaudhry et al. 2018",
    }
    return each_learned(name, convention[name], R, formula)


def _per_task(
    R: AccuracyMatrix, story: Story, references: References, visits: Sequence[against.Visit]
) -> list[PerColumn]:
    S = None if references.expert is None else references.expert.matrix
    if S is None or not story.rows:
        return []
    samples = story.rows[-1]["samples"]
    return [
        against.expert_transfer_per_task(R, S, visits),
        against.negative_transfer_per_task(R, S, samples, visits),
    ]


def _transfer(
    write: Writer,
    R: AccuracyMatrix,
    references: References,
    visits: Sequence[against.Visit],
    columns: Mapping[str, PerColumn],
    per_task: Sequence[PerColumn],
    expected: int,
) -> list[Json]:
    expert, joint = columns["transfer against an expert"], columns["intransigence"]
    S = None if references.expert is None else references.expert.matrix
    if S is not None and per_task and visits:
        last = against.transfer_on_last_task(R, S, visits[-1], expected)
        rate, tasks = per_task[1].mean(), per_task[0].mean()
    else:
        why = NO_EXPERT if S is None else "nothing was learned yet"
        last, rate, tasks = (
            Measure(name, None, why, expert.convention)
            for name in ("transfer on the last task", "negative-transfer rate", "transfer against an expert")
        )
    found = [
        write("transfer", expert.mean(), "change"),
        write("transfer", Measure(f"{tasks.name}, every task", tasks.value, tasks.reason, tasks.convention), "change"),
        write("transfer", last, "change"),
        write("transfer", rate, "share"),
        write("transfer", joint.mean(), "change"),
    ]
    for direction in ("forward", "backward"):
        for form in ("contrast", "ratio"):
            found.append(write("transfer", block_transfer(R, visits, direction, form), "factor"))
    return found


def _learning(write: Writer, learning: Learning) -> list[Json]:
    forms: tuple[Form, ...] = ("score", "change", "share", "factor", "factor", "factor", "factor")
    return [write("learning", measure, form) for measure, form in zip(learning.means, forms, strict=True)]


def _stability(
    write: Writer,
    R: AccuracyMatrix,
    visits: Sequence[against.Visit],
    during: Sequence[stability.During],
    columns: Mapping[str, PerColumn],
) -> list[Json]:
    return [
        write("stability", performance_maintenance(R, visits), "change"),
        write("stability", stability.min_accuracy(R, during), "score"),
        write("stability", stability.worst_case_accuracy(R, during), "score"),
        write("stability", columns["stability gap"].mean(), "change"),
    ]


def _calibration(write: Writer, story: Story, columns: Mapping[str, PerColumn], regression: bool) -> list[Json]:
    if regression:
        error = columns["mean squared error"].mean()
        return [write("calibration", error, "factor")]
    bins = _last_row(story)
    pooled = calibration_error([Bin(**each) for each in bins["bins"]] if bins else ())
    return [write("calibration", columns["log-loss"].mean(), "nats"), write("calibration", pooled, "share")]


def _last_row(story: Story) -> Json | None:
    """The calibration of the last row; None where it was not recorded."""
    rows = [row for row in story.rows if row.get("log_loss") or row.get("mse")]
    if not rows:
        return None
    row = rows[-1]
    bins = [dict(zip(("samples", "confidence", "accuracy"), each, strict=True)) for each in row["reliability"]]
    return {"row": row["row"], "bins": bins, **{key: list(row[key]) for key in ("log_loss", "ece", "mse")}}


def _cost(write: Writer, record: Record, story: Story, tasks: Sequence[Json]) -> list[Json]:
    done = [task for task in tasks if task["flops"] is not None and task["parts"]]
    spent = [task["flops"] for task in done]
    choosing = [task["parts"]["profile"] + task["parts"]["choice"] for task in done]
    store = [task["store_bytes"] for task in tasks if task["store_bytes"] is not None]
    peak = record.manifest.get("peak_bytes")
    memory = Measure(
        "peak memory",
        float(peak) if isinstance(peak, int | float) and math.isfinite(peak) else None,
        None if peak else "the record does not have it",
        "most memory that the process held at once, the program itself included",
    )
    seconds = [task["seconds"] for task in done if task["seconds"] is not None]
    peaks = [task["peak_bytes"] for task in tasks if task["peak_bytes"] is not None]
    return [
        write("cost", costs.flops_per_task(spent), "flops"),
        write("cost", costs.selection_share(choosing, spent), "share"),
        write("cost", costs.seconds_per_task(seconds), "seconds"),
        write("cost", memory, "size"),
        write("cost", costs.peak_per_task(peaks), "size"),
        write("cost", costs.bytes_per_task(store), "size"),
        write("cost", costs.model_size_efficiency(store), "factor"),
    ]


def _cell(column: PerColumn, position: int | None) -> Mapping[str, Json]:
    """One number of a column with its reason, under the name that plain data has."""
    if position is None:
        return {}
    key = column.name.replace(" ", "_").replace("-", "_")
    return {key: {"value": column.values[position], "reason": column.reasons[position]}}
