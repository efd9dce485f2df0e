import math
import random
from copy import copy
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from evermap.agent.answer import Answer
from evermap.agent.events import Evaluated
from evermap.scenarios.examination import TestSets
from evermap.scenarios.measures import EagerCLStream, Measures, _Evaluation
from evermap.scenarios.metrics import (
    AccuracyMatrix,
    average_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
)
from evermap.streams.setting import Setting
from evermap.streams.spec import stream_spec
from evermap.streams.stream import Concept, TestSet, build_stream
from evermap.streams.task import Samples, Task

N = 100

# Rows after 0 to 4 tasks, columns 4 concepts: rises, falls and recovers, so that no two definitions agree by chance.
R = np.array(
    [
        [0.30, 0.35, 0.25, 0.40],
        [0.80, 0.45, 0.40, 0.45],
        [0.85, 0.90, 0.55, 0.50],
        [0.60, 0.95, 0.70, 0.70],
        [0.55, 0.80, 0.65, 0.75],
    ]
)


@dataclass
class FakeStream:
    """Four (or so) concepts of two classes, 100 test samples each; x holds (column, position, target)."""

    columns: int = 4
    order: tuple[int, ...] = (0, 1, 2, 3)
    setting: Setting = Setting.DOMAIN_INCREMENTAL
    n_classes: int = 2
    input_shape: tuple[int, ...] = (3,)
    kind: str = "image"
    concepts: tuple[Concept, ...] = field(init=False)

    def __post_init__(self) -> None:
        given = self.setting.label_when_asked
        self.concepts = tuple(Concept(c, f"concept {c}", c if given else None, (0, 1)) for c in range(self.columns))

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self):
        return (self.task(i) for i in range(len(self)))

    def concept_of(self, i: int) -> int:
        return self.order[i]

    def label_of(self, i: int) -> int | None:
        return self.concepts[self.order[i]].label

    def task(self, i: int) -> Task:
        support = Samples(torch.zeros(4, 3), torch.tensor([0, 1, 0, 1]))
        return Task(f"task {i}", i, support, None, (0, 1), label=self.concepts[self.order[i]].label)

    def test(self, c: int) -> TestSet:
        y = torch.arange(N) % 2
        x = torch.stack([torch.full((N,), float(c)), torch.arange(N).float(), y.float()], dim=1)
        return TestSet(x, y, self.concepts[c].label, (0, 1))


@dataclass
class Prescribed:
    """An agent that answers right as often as a row of a matrix says."""

    matrix: np.ndarray
    row: int = 0
    labels: set[int | None] = field(default_factory=set)
    batches: list[int] = field(default_factory=list)

    def answer(self, x: Tensor, label: int | None) -> Answer:
        self.labels.add(label)
        self.batches.append(len(x))
        right = x[:, 1] < round(N * self.matrix[self.row, int(x[0, 0])])
        said = torch.where(right, x[:, 2].long(), 1 - x[:, 2].long())
        log_probs = torch.nn.functional.one_hot(said, 2).double().log_softmax(1)
        return Answer(log_probs, (0, 1), torch.zeros(len(x), dtype=torch.bool))


def measured(stream, matrix, **settings) -> tuple[Measures, list[Evaluated]]:
    """Drive the measures through a stream with a prescribed matrix, one row per task."""
    measures, agent = Measures(stream, **settings), Prescribed(matrix)
    rows = list(measures.start(agent))
    for task in stream:
        agent.row = task.index + 1
        rows.extend(measures.after(task, agent))
    return measures, rows


def avalanche(measures: Measures, name: str, row: int) -> float:
    (value,) = [v for r, n, v in measures.avalanche_values() if r == row and n == f"{name}/eval_phase/test_stream"]
    return value


def test_the_matrix_is_what_the_agent_answered():
    measures, rows = measured(FakeStream(), R)
    assert np.array_equal(measures.matrix().values, R)
    assert measures.matrix().learned_at == (1, 2, 3, 4)
    assert measures.matrix().row_tasks == (None, 0, 1, 2, 3)
    assert [row.values for row in rows] == [tuple(row) for row in R.tolist()]
    assert rows[0].samples == (N,) * 4
    assert rows[0].columns == ("concept 0", "concept 1", "concept 2", "concept 3")


def test_avalanche_agrees_with_the_papers_where_it_is_right():
    measures, _ = measured(FakeStream(), R)
    matrix = measures.matrix()
    bwt = ((0.55 - 0.80) + (0.80 - 0.90) + (0.65 - 0.70)) / 3
    fwt = ((0.45 - 0.35) + (0.55 - 0.25) + (0.70 - 0.40)) / 3
    assert backward_transfer(matrix).value == pytest.approx(bwt) == pytest.approx(avalanche(measures, "StreamBWT", 4))
    assert forward_transfer(matrix).value == pytest.approx(fwt)
    # Avalanche gives forward transfer in the row before the last task; afterwards it stands still.
    assert avalanche(measures, "StreamForwardTransfer", 3) == pytest.approx(fwt)
    assert avalanche(measures, "StreamForwardTransfer", 4) == pytest.approx(fwt)
    assert avalanche(measures, "Top1_Acc_Stream", 4) == pytest.approx(average_accuracy(matrix).value)


def test_avalanches_accuracies_are_the_rows():
    measures, rows = measured(FakeStream(), R)
    for row in rows:
        given = {n: v for r, n, v in measures.avalanche_values() if r == row.row}
        for c, value in enumerate(row.values):
            assert given[f"Top1_Acc_Exp/eval_phase/test_stream/Exp{c:03}"] == pytest.approx(value)


# ---- where Avalanche is silently wrong: its wrong number, and the right one ----


class Raw:
    """Avalanche's metrics alone, driven step by step with prescribed accuracies, in whatever order."""

    def __init__(self) -> None:
        stream = FakeStream()
        self.tests = TestSets(stream)
        self.strategy = _Evaluation.over(stream, self.tests, 64)
        self.test = self.strategy._test_stream

    def train(self, experience: int) -> None:
        self.strategy.announce(experience)

    def eval(self, row, stream=None) -> dict[str, float]:
        """Evaluate; return what the three averages are, by name."""
        self.strategy._prescribed, self.strategy._given.values = tuple(row), {}
        self.strategy.eval(self.test if stream is None else stream)
        given = self.strategy._given.values
        return {name.split("/")[0][6:]: v for name, v in given.items() if name.startswith(("StreamF", "StreamB"))}


def as_matrix(rows=R, order=(0, 1, 2, 3)) -> AccuracyMatrix:
    return AccuracyMatrix(
        values=np.array(rows),
        columns=tuple("abcd"),
        row_tasks=(None, *range(len(rows) - 1)),
        learned_at=tuple(order.index(c) + 1 if c in order else None for c in range(4)),
        class_sets=((0, 1),) * 4,
        own_labels=(False,) * 4,
    )


RIGHT_BWT = backward_transfer(as_matrix()).value
RIGHT_FWT = forward_transfer(as_matrix()).value
RIGHT_FORGETTING = forgetting(as_matrix()).value


def test_driven_by_the_protocol_avalanche_is_right():
    raw = Raw()
    raw.eval(R[0])
    for i in range(4):
        raw.train(i)
        given = raw.eval(R[i + 1])
    assert given["BWT"] == pytest.approx(RIGHT_BWT)
    assert given["ForwardTransfer"] == pytest.approx(RIGHT_FWT)


def test_its_forgetting_is_not_chaudhrys():
    measures, _ = measured(FakeStream(), R)
    assert avalanche(measures, "StreamForgetting", 4) == pytest.approx(-RIGHT_BWT)
    assert pytest.approx(((0.85 - 0.55) + (0.95 - 0.80) + (0.70 - 0.65)) / 3) == RIGHT_FORGETTING
    assert pytest.approx(-RIGHT_BWT, abs=0.01) != RIGHT_FORGETTING
    assert forgetting(measures.matrix()).value == RIGHT_FORGETTING


def test_after_one_task_it_says_zero_where_nothing_is_defined():
    measures, _ = measured(FakeStream(1, (0,)), R[:2, :1])
    assert avalanche(measures, "StreamForgetting", 1) == 0.0
    assert avalanche(measures, "StreamBWT", 1) == 0.0
    assert avalanche(measures, "StreamForwardTransfer", 1) == 0.0
    for measure in (forgetting, backward_transfer, forward_transfer):
        assert measure(measures.matrix()).value is None
        assert measure(measures.matrix()).reason == "only one task was learned"


def test_without_a_train_between_evaluations_it_says_zero():
    raw = Raw()
    for row in R:
        given = raw.eval(row)
    assert given == {"Forgetting": 0.0, "BWT": 0.0, "ForwardTransfer": 0.0}
    assert min(abs(RIGHT_FORGETTING), abs(RIGHT_BWT), abs(RIGHT_FWT)) > 0.1


def test_two_streams_overwrite_each_other():
    raw = Raw()
    valid = EagerCLStream("valid", [copy(e) for e in raw.test])
    validation = np.round(1 - R[:, ::-1] / 2, 2)
    raw.eval(validation[0], valid)
    raw.eval(R[0])
    for i in range(4):
        raw.train(i)
        on_validation = raw.eval(validation[i + 1], valid)
        on_test = raw.eval(R[i + 1])
    # row 0 is that of the validation stream for both
    assert on_test["ForwardTransfer"] == pytest.approx(np.mean([R[j, j] - validation[0, j] for j in (1, 2, 3)]))
    assert on_test["ForwardTransfer"] != pytest.approx(RIGHT_FWT, abs=0.01)
    # the rows are kept apart by stream
    raw.strategy._row.reset()
    raw.eval(R[4])
    assert raw.strategy._row.result() == {("test", c): R[4, c] for c in range(4)}
    assert on_validation.keys() == on_test.keys()


def test_another_order_of_tasks_spoils_its_forward_transfer():
    order = (2, 0, 3, 1)
    measures, _ = measured(FakeStream(order=order), R)
    right = ((R[1, 0] - R[0, 0]) + (R[2, 3] - R[0, 3]) + (R[3, 1] - R[0, 1])) / 3
    # it takes for "the row before" that after the task with the id before: 3 after 2, 1 after 0, 2 after 1
    wrong = ((R[1, 3] - R[0, 3]) + (R[2, 1] - R[0, 1]) + (R[4, 2] - R[0, 2])) / 3
    assert forward_transfer(measures.matrix()).value == pytest.approx(right)
    assert avalanche(measures, "StreamForwardTransfer", 4) == pytest.approx(wrong)
    assert wrong != pytest.approx(right, abs=0.01)
    # backward transfer does not depend on the order
    assert avalanche(measures, "StreamBWT", 4) == pytest.approx(backward_transfer(measures.matrix()).value)


def test_evaluating_what_was_seen_alone_gives_a_forward_transfer_of_zero():
    raw = Raw()
    rows = np.full(R.shape, np.nan)
    for i in range(4):
        raw.train(i)
        given = raw.eval(R[i + 1], raw.test[: i + 1])
        rows[i + 1, : i + 1] = R[i + 1, : i + 1]
    assert given["ForwardTransfer"] == 0.0
    ours = forward_transfer(as_matrix(rows))
    assert (ours.value, ours.reason) == (None, "the accuracy on 'b' was not measured in row 1")
    assert backward_transfer(as_matrix(rows)).value == pytest.approx(RIGHT_BWT) == pytest.approx(given["BWT"])


def test_without_an_evaluation_before_training_its_forward_transfer_is_wrong():
    raw = Raw()
    for i in range(4):
        raw.train(i)
        given = raw.eval(R[i + 1])
    assert given["ForwardTransfer"] == pytest.approx(np.mean([R[j, j] - R[1, j] for j in (2, 3)]))
    assert given["ForwardTransfer"] != pytest.approx(RIGHT_FWT, abs=0.01)
    with pytest.raises(ValueError, match="row 0 is missing"):
        next(Measures(FakeStream()).after(FakeStream().task(0), Prescribed(R)))


def test_an_extra_partial_evaluation_replaces_the_averages():
    raw = Raw()
    raw.eval(R[0])
    for i in range(4):
        raw.train(i)
        raw.eval(R[i + 1])
    given = raw.eval(R[4], raw.test[:1])
    assert given["Forgetting"] == pytest.approx(R[1, 0] - R[4, 0])
    assert given["Forgetting"] != pytest.approx(-RIGHT_BWT, abs=0.01)
    assert given["ForwardTransfer"] == 0.0


def test_a_task_that_returns_replaces_its_first_value_and_leaves_the_mean():
    order, rows = (0, 1, 2, 0), R[:, :3]
    raw = Raw()
    raw.eval(R[0])
    for i, experience in enumerate(order):
        raw.train(experience)
        given = raw.eval(R[i + 1])
    # Avalanche itself: 0 is "just learned" in the last row, so it is not in the mean
    assert given["BWT"] == pytest.approx(((R[4, 1] - R[2, 1]) + (R[4, 2] - R[3, 2])) / 2)
    # evermap: the first visit stays the diagonal, and what it tells Avalanche keeps Avalanche right, too
    measures, _ = measured(FakeStream(3, order), rows)
    right = ((R[4, 0] - R[1, 0]) + (R[4, 1] - R[2, 1]) + (R[4, 2] - R[3, 2])) / 3
    assert measures.matrix().learned_at == (1, 2, 3)
    assert backward_transfer(measures.matrix()).value == pytest.approx(right)
    assert avalanche(measures, "StreamBWT", 4) == pytest.approx(right)
    assert avalanche(measures, "StreamForwardTransfer", 4) == pytest.approx(forward_transfer(measures.matrix()).value)
    assert right != pytest.approx(given["BWT"], abs=0.01)


def test_the_accuracy_of_the_stream_is_labelled_with_the_last_task():
    measures, _ = measured(FakeStream(setting=Setting.TASK_INCREMENTAL), R)
    given = {n: v for r, n, v in measures.avalanche_values() if r == 4}
    assert given["Top1_Acc_Stream/eval_phase/test_stream/Task003"] == pytest.approx(R[4].mean())
    assert average_accuracy(measures.matrix()).value == pytest.approx(R[4].mean())


# ---- how the agent is asked ----


def test_labels_are_given_where_the_setting_gives_them():
    for setting, labels in ((Setting.TASK_INCREMENTAL, {0, 1, 2, 3}), (Setting.DOMAIN_INCREMENTAL, {None})):
        agent = Prescribed(R)
        (row,) = Measures(FakeStream(setting=setting)).start(agent)
        assert agent.labels == labels
        assert row.anchor_share == (() if setting.label_when_asked else (0.0,) * 4)


def test_the_batch_size_is_fixed_and_changes_nothing():
    agent = Prescribed(R, row=3)
    measures = Measures(FakeStream(), batch_size=30)
    (row,) = measures.start(agent)
    assert agent.batches == [30, 30, 30, 10] * 4
    assert row.values == tuple(R[3])


class Fixed:
    """An agent that always gives one answer, and draws from every global generator."""

    def __init__(self, log_probs=(), classes=(), by_anchor=False) -> None:
        self.log_probs, self.classes, self.by_anchor = torch.tensor(log_probs), classes, by_anchor

    def answer(self, x: Tensor, label: int | None) -> Answer:
        torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002
        x.zero_()  # what it is given is its own
        anchor = torch.full((len(x),), self.by_anchor)
        return Answer(self.log_probs.repeat(len(x), 1).reshape(len(x), -1), self.classes, anchor)


def test_evaluation_leaves_the_global_generators_as_they_were():
    def state():
        numpy = np.random.get_state()  # noqa: NPY002
        return torch.get_rng_state().tolist(), numpy[1].tolist(), numpy[2:], random.getstate()

    measures, before = Measures(FakeStream()), state()
    list(measures.start(Fixed()))
    list(measures.after(FakeStream().task(0), Fixed()))
    assert state() == before


def test_an_agent_that_is_a_module_is_not_touched():
    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 2)

        def answer(self, x: Tensor, label: int | None) -> Answer:
            assert self.training  # nobody switched it to evaluation
            assert not torch.is_grad_enabled()
            return Answer(self.layer(x).log_softmax(1), (0, 1), torch.zeros(len(x), dtype=torch.bool))

    agent = Module()
    before = {name: tensor.clone() for name, tensor in agent.state_dict().items()}
    measures = Measures(FakeStream())
    list(measures.start(agent))
    list(measures.after(FakeStream().task(0), agent))
    assert agent.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in agent.state_dict().items())
    assert torch.is_grad_enabled()


def test_who_knows_nothing_guesses_and_guesses_the_same_in_every_row():
    stream = FakeStream(n_classes=4)
    measures = Measures(stream)
    list(measures.start(Fixed()))
    list(measures.after(stream.task(0), Fixed()))
    values = measures.matrix().values
    assert np.array_equal(values[0], values[1])
    assert 0.15 < values[0].mean() < 0.35  # one of four; the first class for everything would give one half
    loss = [v for r, n, v in measures.avalanche_values() if n == "Loss_Stream/eval_phase/test_stream"]
    assert loss == pytest.approx([math.log(4)] * 2, abs=1e-3)


def test_the_anchors_share_is_counted():
    (row,) = Measures(FakeStream()).start(Fixed((0.0, -1.0), (0, 1), by_anchor=True))
    assert row.anchor_share == (1.0,) * 4
    assert row.values == (0.5,) * 4


def test_a_wrong_number_of_answers_is_refused():
    class Short(Fixed):
        def answer(self, x: Tensor, label: int | None) -> Answer:
            return super().answer(x[1:], label)

    with pytest.raises(ValueError, match="asked about 100 inputs and gave 99 answers"):
        list(Measures(FakeStream()).start(Short()))


# ---- how sure the agent was ----


class Sure(Prescribed):
    """Gives every answer with the probability of three quarters."""

    def answer(self, x: Tensor, label: int | None) -> Answer:
        said = super().answer(x, label)
        right = said.log_probs.argmax(dim=1, keepdim=True)
        probabilities = torch.full_like(said.log_probs, 0.25).scatter_(1, right, 0.75)
        return Answer(probabilities.log(), said.classes, said.by_anchor)


def test_calibration_is_recorded_with_every_row():
    stream, measures, agent = FakeStream(), Measures(FakeStream(), batch_size=30), Sure(R)
    (zero,) = measures.start(agent)
    agent.row = 1
    (first,) = measures.after(stream.task(0), agent)
    sure = 0.75 * (1 - 1e-4) + 1e-4 / 2  # a trifle is spread over all classes
    for row in (zero, first):
        assert row.ece == pytest.approx([abs(value - sure) for value in row.values])
        losses = [-v * math.log(sure) - (1 - v) * math.log(1 - sure) for v in row.values]
        assert row.log_loss == pytest.approx(losses)
        given = {n: v for r, n, v in measures.avalanche_values() if r == row.row}
        assert row.log_loss == pytest.approx([given[f"Loss_Exp/eval_phase/test_stream/Exp{c:03}"] for c in range(4)])
        assert row.mse == ()
    # the diagram is about what was learned: nothing before row 1, then the first concept's 100 samples in 15 bins
    assert zero.reliability == ()
    assert [samples for samples, _, _ in first.reliability] == [7] * 10 + [6] * 5
    assert all((p, right) == pytest.approx((sure, R[1, 0])) for _, p, right in first.reliability)


def test_the_diagram_is_about_all_that_was_learned():
    _, rows = measured(FakeStream(), R)
    assert sum(samples for samples, _, _ in rows[-1].reliability) == 4 * N
    right = sum(samples * right for samples, _, right in rows[-1].reliability)
    assert right == pytest.approx(N * R[4].sum())


# ---- rows ----


def test_every_second_task_and_the_last_one():
    order = (0, 1, 2, 3, 0)
    rows = np.vstack([R, R[2:3]])
    measures, taken = measured(FakeStream(order=order), rows, evaluate_every=2)
    assert [row.task for row in taken] == [None, 1, 3, 4]
    assert measures.matrix().learned_at == (1, 1, 2, 2)
    assert np.array_equal(measures.matrix().values, rows[[0, 2, 4, 5]])


def test_a_joint_phase_has_one_row():
    measures, agent, stream = Measures(FakeStream()), Prescribed(R), FakeStream()
    list(measures.start(agent))
    agent.row = 3
    (row,) = measures.after(stream.task(2), agent)  # tasks 0, 1 and 2 arrived together
    assert row.task == 2
    assert measures.matrix().learned_at == (1, 1, 1, None)


def test_rows_in_the_wrong_order_are_refused():
    measures, agent, stream = Measures(FakeStream()), Prescribed(R), FakeStream()
    list(measures.start(agent))
    with pytest.raises(ValueError, match="row 0 can only be the first"):
        list(measures.start(agent))
    list(measures.after(stream.task(1), agent))
    with pytest.raises(ValueError, match="task 1 is counted as learned already"):
        list(measures.after(stream.task(1), agent))
    for settings in ({"evaluate_every": 0}, {"batch_size": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            Measures(stream, **settings)


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("setting", [Setting.DOMAIN_INCREMENTAL, Setting.TASK_INCREMENTAL])
def test_restored_rows_are_as_if_evaluated_here(every, setting):
    stream = FakeStream(order=(0, 1, 2, 0, 3), setting=setting)
    rows = np.vstack([R, R[2:3]])
    whole, taken = measured(stream, rows, evaluate_every=every)
    for cut in range(1, len(taken)):
        resumed = Measures(stream, evaluate_every=every)
        resumed.restore(taken[:cut], whole.avalanche_values())
        agent, last = Prescribed(rows), taken[cut - 1].task
        for task in list(stream)[0 if last is None else last + 1 :]:
            agent.row = task.index + 1
            list(resumed.after(task, agent))
        assert resumed.matrix() == whole.matrix()
        assert resumed.avalanche_values() == whole.avalanche_values()


def test_without_recorded_values_all_but_the_loss_comes_back():
    whole, taken = measured(FakeStream(), R)
    resumed = Measures(FakeStream())
    resumed.restore(taken)
    assert resumed.avalanche_values() == [v for v in whole.avalanche_values() if not v[1].startswith("Loss")]


def test_rows_of_another_stream_are_refused():
    _, taken = measured(FakeStream(), R)
    with pytest.raises(ValueError, match="is not row 0 of this stream"):
        Measures(FakeStream()).restore(taken[1:])
    with pytest.raises(ValueError, match="is not row 0 of this stream"):
        Measures(FakeStream(3)).restore(taken)
    with pytest.raises(ValueError, match=r"an accuracy of 0.333 is not possible on the 100 test samples of column 1"):
        Measures(FakeStream()).restore([replace(taken[0], values=(0.3, 0.333, 0.25, 0.4))])
    measures = Measures(FakeStream())
    list(measures.start(Prescribed(R)))
    with pytest.raises(ValueError, match="have rows already"):
        measures.restore(taken)


def test_test_sets_beyond_memory_are_built_anew(monkeypatch):
    monkeypatch.setattr("evermap.scenarios.examination.KEPT_BYTES", 5000)  # two of four
    built = []

    class Counting(FakeStream):
        def test(self, c: int) -> TestSet:
            built.append(c)
            return super().test(c)

    measures, _ = measured(Counting(), R)
    assert np.array_equal(measures.matrix().values, R)
    assert built == [0, 1, 2, 3] + [2, 3] * 4


def test_a_real_stream_is_measured_over_its_own_test_sets():
    spec = stream_spec(layout="split", setting="class-incremental", class_order=range(10), test_per_class=10)
    stream = build_stream(spec, seed=0)
    (row,) = Measures(stream, batch_size=7).start(Fixed((0.0, 1.0, 0.5), (1, 4, 9)))
    assert row.values == (0.0, 0.0, 0.5, 0.0, 0.0)  # "4" to everything
    assert row.samples == (20,) * 5
    assert row.columns == tuple(concept.name for concept in stream.concepts)
