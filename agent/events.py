"""What happens in a run, as typed events: the command line, the record and the report consume them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """Something that happened; `to_json` is how it stands in `events.jsonl`."""

    def to_json(self) -> dict[str, Any]:
        """Return the event as plain data, with its class name under "event"."""
        return {"event": type(self).__name__, **asdict(self)}


@dataclass(frozen=True)
class Resumed(Event):
    """A run goes on that was cut off; told to whoever watches, and not part of the record.

    Attributes:
        done: Tasks that are remembered.
        tasks: How many tasks the stream has.
        rows: Rows of the accuracy matrix that are there.
        changed: What differs from the run as it began, where it was forced, and what may change the last bits.
    """

    done: int
    tasks: int
    rows: int
    changed: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskStarted(Event):
    """A task arrived.

    Attributes:
        task: Position in the stream, from 0.
        name: Its readable name.
        concept: Column of the accuracy matrix that it belongs to.
        tasks: How many tasks the stream has.
        classes: Global class ids.
        samples: Support samples.
        query: Query samples.
        input_shape: Shape of one input.
        budget: FLOPs that may be spent on it.
    """

    task: int
    name: str
    concept: int
    tasks: int
    classes: tuple[int, ...]
    samples: int
    query: int
    input_shape: tuple[int, ...]
    budget: float


@dataclass(frozen=True)
class ProbeScore:
    """What one candidate representation is worth on a task, by leave-one-out on all support samples.

    Attributes:
        candidate: "raw", "random", "stem" or the id of a stored encoder ("encoder-3").
        ridge_mse: Squared leave-one-out error of ridge regression on one-hot targets, mean over samples and classes.
        ridge: Leave-one-out accuracy of that regression's largest output; None for regression tasks.
        ncm: Leave-one-out accuracy of the nearest class mean; None where a class has one sample only.
        knn: Leave-one-out accuracy of cosine k-nearest neighbours.
        reuse: Accuracy of the best stored head as it is; its labels are matched (Hungarian) on other samples than those
            that judge it. None without a head.
        samples: Samples that all this was measured on.
        heads: Stored heads that were asked for `reuse`.
        reuse_task: Position of the task whose head that is; None without a head.
        logme: Logarithm of maximum evidence (You 2021), in nats per sample and class; None where not asked for.
    """

    candidate: str
    ridge_mse: float
    ncm: float | None
    knn: float | None
    reuse: float | None = None
    ridge: float | None = None
    samples: int = 0
    heads: int = 0
    reuse_task: int | None = None
    logme: float | None = None

    @property
    def closed_form(self) -> float:
        """The better leave-one-out accuracy of the two closed-form heads; 0 where there is none."""
        return max(self.ridge or 0.0, self.ncm or 0.0)


@dataclass(frozen=True)
class Profiled(Event):
    """What could be measured before learning.

    Attributes:
        task: Position in the stream.
        samples: Support samples.
        classes: Number of classes (regression: outputs).
        per_class: Smallest number of support samples of a class.
        scores: One per candidate representation, best first.
        flops: What measuring cost.
        seconds: CPU seconds it took.
        unprobed: Stored encoders for such inputs that were not measured: there were too many, or the share was spent.
    """

    task: int
    samples: int
    classes: int
    per_class: int
    scores: tuple[ProbeScore, ...]
    flops: float
    seconds: float
    unprobed: int = 0


@dataclass(frozen=True)
class Considered:
    """One way that was considered for a task.

    Attributes:
        strategy: Registered name.
        source: Id of the stored entry it would start from; None for none.
        score: What the selector thought of it, higher is better; None where it gave no score.
        why_not: Why it does not apply or was left out; None where it stayed.
    """

    strategy: str
    source: str | None = None
    score: float | None = None
    why_not: str | None = None


@dataclass(frozen=True)
class JudgedArm:
    """One arm that was compared with the closed-form default, sample by sample on the held-out part.

    Attributes:
        strategy: Registered name.
        source: What it started from; None for none.
        nats: Its mean gain over the default in calibrated log-loss (regression: in log-likelihood); None where that
            was not measured.
        error: Standard error of that gain.
        units: Units of work it had done; 0 where it had ended.
        flops: FLOPs it had spent.
        expected: The gain that experience expected of it, in nats; None where nothing was asked of experience.
        unsure: Standard deviation of that expectation.
    """

    strategy: str
    source: str | None
    nats: float | None
    error: float | None
    units: int = 0
    flops: float = 0.0
    expected: float | None = None
    unsure: float | None = None


@dataclass(frozen=True)
class Chosen(Event):
    """How a task will be learned.

    Attributes:
        task: Position in the stream.
        strategy: Registered name of what learns.
        source: Id of the stored entry it starts from; None for none.
        reason: One sentence in words.
        considered: Every way that was considered, the chosen one among them.
        wanted: The strategy that the selector wanted where it did not apply and another stands in; else None.
        flops: What choosing cost beside the profile.
        seconds: CPU seconds it took.
        tried: Arms that were tried out, each as it stood after its last rung.
        expected: The gain over the default that is expected of what was chosen, in nats; None where nothing is.
        unsure: Standard deviation of that expectation.
    """

    task: int
    strategy: str
    source: str | None
    reason: str
    considered: tuple[Considered, ...] = ()
    wanted: str | None = None
    flops: float = 0.0
    seconds: float = 0.0
    tried: tuple[JudgedArm, ...] = ()
    expected: float | None = None
    unsure: float | None = None


@dataclass(frozen=True)
class Progress(Event):
    """A strategy at work was scored.

    Attributes:
        task: Position in the stream.
        strategy: Registered name.
        source: What it started from.
        unit: Units of work done.
        flops: FLOPs spent by this arm so far.
        loss: Held-out log-loss in nats (regression: squared error); None where nothing is held out.
        accuracy: Held-out accuracy (regression: R²); None where nothing is held out.
        fraction: Share of the budget that is spent, 0 to 1.
    """

    task: int
    strategy: str
    source: str | None
    unit: int
    flops: float
    loss: float | None
    accuracy: float | None
    fraction: float


@dataclass(frozen=True)
class Paused(Event):
    """Learning pauses, for whoever wants to know what would be answered now; not part of the record.

    Attributes:
        task: Position in the stream.
        strategy: Registered name of what is at work.
        source: What it started from.
        unit: Units of work done.
        flops: FLOPs spent by this arm so far.
        fraction: Share of the budget that is spent, 0 to 1.
    """

    task: int
    strategy: str
    source: str | None
    unit: int
    flops: float
    fraction: float


@dataclass(frozen=True)
class EvaluatedDuring(Event):
    """What would have been answered on test sets in the middle of learning a task; nothing of it reaches the learner.

    Attributes:
        task: Position in the stream of the task that was being learned.
        strategy: Registered name of what was at work.
        source: What it started from.
        unit: Units of work done.
        flops: FLOPs spent by this arm so far.
        fraction: Share of the budget that was spent, 0 to 1.
        values: Accuracy (regression: R²) on every concept's test set, in the order of the matrix' columns; None for
            those that had not come yet, and where an answer was not finite.
        own: Accuracy of the model at work alone, on the test set of its task among its classes; None likewise.
        seconds: CPU seconds of the evaluation, which nobody is charged.
    """

    task: int
    strategy: str
    source: str | None
    unit: int
    flops: float
    fraction: float
    values: tuple[float | None, ...]
    own: float | None
    seconds: float = 0.0


@dataclass(frozen=True)
class LearnedTogether(Event):
    """Tasks that arrived together were learned as one, before each is selected for.

    Attributes:
        tasks: Their positions in the stream.
        strategy: What learned them; None where every task is left to itself.
        reason: One sentence in words.
        units: Units of work done.
        best_unit: The unit whose models were kept.
        stopped: Why it ended: "finished", "budget", "patience", or "diverged".
        accuracy: Held-out accuracy of what was kept, mean over the tasks; None where nothing is held out.
        flops: FLOPs it cost; each task pays its part, in proportion to its budget.
        seconds: CPU seconds it took.
    """

    tasks: tuple[int, ...]
    strategy: str | None
    reason: str
    units: int = 0
    best_unit: int = 0
    stopped: str = ""
    accuracy: float | None = None
    flops: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Learned(Event):
    """A task was learned.

    Attributes:
        task: Position in the stream.
        strategy: What learned it.
        source: What it started from.
        units: Units of work done.
        best_unit: The unit whose model was kept.
        stopped: Why it ended: "finished", "budget" or "patience".
        loss: Held-out log-loss of what was kept; None where nothing is held out.
        accuracy: Held-out accuracy of what was kept; None where nothing is held out.
        held_out: Number of held-out samples.
        flops: FLOPs of the learning alone.
        total_flops: FLOPs of everything done for this task: profile, choice, learning.
        seconds: CPU seconds of everything done for this task.
        warnings: What a reader must know (a first unit above the budget, an arm that diverged, ...).
        helper: Id of the stored model that helped ("model-3": reused, a teacher); empty for none.
        verdict: What the guard said, in words; empty where there was none.
        consolidation: FLOPs of the work for later tasks, part of the total.
        gain: By how much the stored entries that it stands on helped, in accuracy against the closed form without
            them: on held-out samples where that was the guard, else left out one by one; None where neither is known.
        samples: Support samples, those held out of them among them.
        judged: What was chosen, as the guard found it; None where there was no guard.
        anchor: What the task said of an encoder that could become the anchor, in words; empty where there is none.
        peak_bytes: Most resident memory of the process, the program included, since the task began, as far as the
            system tells (Linux); elsewhere since the process began. None where it does not.
    """

    task: int
    strategy: str
    source: str | None
    units: int
    best_unit: int
    stopped: str
    loss: float | None
    accuracy: float | None
    held_out: int
    flops: float
    total_flops: float
    seconds: float
    warnings: tuple[str, ...] = ()
    helper: str = ""
    verdict: str = ""
    consolidation: float = 0.0
    gain: float | None = None
    samples: int = 0
    judged: JudgedArm | None = None
    anchor: str = ""
    peak_bytes: int | None = None


@dataclass(frozen=True)
class Remembered(Event):
    """What the store gained from a task.

    Attributes:
        task: Position in the stream.
        model: Id of the task's model.
        encoder: Id of the encoder it uses, new or old.
        parent: The encoder it was made from; None for none.
        new_bytes: Bytes of weights and statistics that were added.
        store_bytes: Bytes kept in all.
        encoders: Encoders kept in all.
        kept: Ids of what was stored beside the task's model: encoders trained for later tasks, meta-initialisations.
        sampled: Tasks of which samples are kept, this one included; None where nobody counts them.
        sample_bytes: Bytes of the samples that are kept, those of all tasks together.
    """

    task: int
    model: str
    encoder: str
    parent: str | None
    new_bytes: int
    store_bytes: int
    encoders: int
    kept: tuple[str, ...] = ()
    sampled: int | None = None
    sample_bytes: int = 0


@dataclass(frozen=True)
class BoundStep:
    """One thing that was done so that the store stays within its bytes.

    Attributes:
        entry: What it was done to; it is gone, but for what was kept apart.
        how: "left out" (not added), "delta" (added as a low-rank difference), "merged", "evicted", or "kept apart":
            merging it was tried, and nothing changed.
        into: What took its place; None where nothing had to, or closed-form heads on the input did.
        tasks: Positions of the tasks that answer otherwise than before.
        freed: Bytes that were freed or not taken.
        cost: Accuracy (R²) that it costs these tasks, their mean, estimated on held-out samples when the task was
            learned, for merging on inputs drawn from its statistics; below 0 for a gain, None where nobody knows.
        why: More in words; empty for nothing.
    """

    entry: str
    how: str
    into: str | None
    tasks: tuple[int, ...]
    freed: int
    cost: float | None
    why: str = ""


@dataclass(frozen=True)
class Bounded(Event):
    """The store was kept within the bytes that the recipe grants.

    Attributes:
        task: Position of the task that was remembered.
        limit: Bytes that the store may hold.
        bytes: Bytes that it holds.
        steps: What was done for it, in order; nothing where there was room.
        flops: What it cost, out of the task's budget; not part of the task's `total_flops`.
        seconds: CPU seconds it took.
        warnings: What the user should know: that it passed the budget.
    """

    task: int
    limit: int
    bytes: int
    steps: tuple[BoundStep, ...]
    flops: float
    seconds: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evaluated(Event):
    """One row of the accuracy matrix.

    Attributes:
        row: 0 before any learning, then one per evaluation.
        task: The task after which it was evaluated; None for row 0.
        values: Accuracy (regression: R²) on every concept's test set, in the order of columns.
        columns: Names of the concepts.
        samples: Test samples of every column.
        anchor_share: Share of answers that the anchor gave, per column; empty where the task label is given.
        seconds: CPU seconds of the evaluation.
        log_loss: Mean negative log-likelihood in nats, per column; None for regression, empty where all are.
        ece: Expected calibration error, 15 bins of equal mass, per column; likewise.
        mse: Mean squared error, per column; None for classes, empty where all are.
        reliability: Bins of equal mass over the answers about everything learned so far, the least sure first:
            (samples, mean probability of the answers, share of right ones).
    """

    row: int
    task: int | None
    values: tuple[float, ...]
    columns: tuple[str, ...]
    samples: tuple[int, ...]
    anchor_share: tuple[float, ...] = field(default=())
    seconds: float = 0.0
    log_loss: tuple[float | None, ...] = ()
    ece: tuple[float | None, ...] = ()
    mse: tuple[float | None, ...] = ()
    reliability: tuple[tuple[int, float, float], ...] = ()
