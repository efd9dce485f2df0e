"""Regression: what is measured, on streams that are made up and on `sinusoids`."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from evermap.agent.agent import LifelongAgent
from evermap.agent.agent_settings import AgentSettings
from evermap.agent.answer import Answer
from evermap.agent.selector import make_selector
from evermap.agent.store import KnowledgeStore
from evermap.agent.strategy import make_strategies
from evermap.scenarios.measures import Measures
from evermap.scenarios.metrics import average_accuracy, backward_transfer, forgetting, forward_transfer
from evermap.streams.setting import Setting
from evermap.streams.stream import Concept, TestSet
from evermap.streams.task import Samples, Task

N = 60


@dataclass
class Lines:
    """Tasks `y = x A_c`, two outputs; the last concept may be one of two classes instead."""

    columns: int = 3
    mixed: bool = False
    own: bool = True
    setting: Setting = Setting.TASK_INCREMENTAL
    n_classes: int = 0
    concepts: tuple[Concept, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.n_classes = 2 if self.mixed else 0
        self.concepts = tuple(
            Concept(c, f"line {c}", c, (0, 1) if self.mixed and c == self.columns - 1 else (), self.own)
            for c in range(self.columns)
        )

    def __len__(self) -> int:
        return self.columns

    def __iter__(self):
        return (self.task(i) for i in range(len(self)))

    def concept_of(self, i: int) -> int:
        return i

    def label_of(self, i: int) -> int | None:
        return self.concepts[i].label

    def samples(self, c: int, part: int) -> tuple[Tensor, Tensor]:
        rng = torch.Generator().manual_seed(100 * c + part)
        x = torch.randn(N, 4, generator=rng)
        x[:, 0] = torch.arange(N)  # its position, for those who look it up
        x[:, 1] = float(c)
        if self.concepts[c].kind == "classification":
            return x, torch.arange(N) % 2
        return x, x @ torch.randn(4, 2, generator=torch.Generator().manual_seed(c))

    def task(self, i: int) -> Task:
        concept = self.concepts[i]
        return Task(concept.name, i, Samples(*self.samples(i, 0)), None, concept.classes, concept.kind, concept.label)

    def test(self, c: int) -> TestSet:
        x, y = self.samples(c, 1)
        return TestSet(x, y, self.concepts[c].label, self.concepts[c].classes)


@dataclass
class Shifted:
    """An agent that is off by so much on every concept; on concepts it does not know it says nothing."""

    stream: Lines
    off: list[float | None]

    def answer(self, x: Tensor, label: int | None) -> Answer:
        c = int(x[0, 1])
        if self.off[c] is None:
            return Answer.nothing(len(x))
        y = self.stream.test(c).y[x[:, 0].long()]
        if self.stream.concepts[c].kind == "classification":
            log_probs = torch.nn.functional.one_hot(y, 2).double().log_softmax(1)
            return Answer(log_probs, (0, 1), torch.zeros(len(x), dtype=torch.bool))
        return Answer.of_values(y + self.off[c])


def by_hand(stream: Lines, c: int, off: float) -> float:
    """1 − MSE/Var(test targets), in a plain loop: the variance of every output, averaged."""
    y = stream.test(c).y.double()
    variance = sum(float(((y[:, k] - y[:, k].mean()) ** 2).mean()) for k in range(2)) / 2
    return 1 - off**2 / variance


def test_the_row_is_r_squared_whatever_the_batches() -> None:
    stream = Lines()
    for batch_size in (7, 1024):
        measures = Measures(stream, batch_size=batch_size)
        (row,) = measures.start(Shifted(stream, [0.0, 3.0, None]))
        assert row.values == pytest.approx((1.0, by_hand(stream, 1, 3.0), 0.0), abs=1e-6)
        assert row.samples == (N,) * 3


def test_a_stream_of_regression_has_a_matrix_with_all_its_measures() -> None:
    stream = Lines()
    measures, offs = Measures(stream), [[None] * 3, [0.0, None, None], [2.0, 0.0, None], [4.0, 1.0, 0.0]]
    list(measures.start(Shifted(stream, offs[0])))
    for task in stream:
        list(measures.after(task, Shifted(stream, offs[task.index + 1])))
    R = measures.matrix()
    assert R.class_sets == ((), (), ())
    assert R.learned_at == (1, 2, 3)
    last = [by_hand(stream, c, off) for c, off in enumerate((4.0, 1.0, 0.0))]
    assert average_accuracy(R).value == pytest.approx(sum(last) / 3)
    assert backward_transfer(R).value == pytest.approx((last[0] - 1 + last[1] - 1) / 2)
    assert forgetting(R).value == pytest.approx((1 - last[0] + 1 - last[1]) / 2)
    assert "mean something in this task only" in str(forward_transfer(R).reason)
    shared = Measures(Lines(own=False))  # the same outputs mean the same in every task
    list(shared.start(Shifted(stream, offs[0])))
    for task in stream:
        list(shared.after(task, Shifted(stream, [1.0] * 3)))
    expected = [by_hand(stream, c, 1.0) for c in (1, 2)]
    assert forward_transfer(shared.matrix()).value == pytest.approx(sum(expected) / 2)


def test_avalanche_gives_the_squared_error_and_nothing_that_counts_right_answers() -> None:
    stream = Lines()
    measures = Measures(stream)
    list(measures.start(Shifted(stream, [0.0, 3.0, None])))
    given = {name: value for _, name, value in measures.avalanche_values()}
    assert {name.split("/")[0] for name in given} == {"Loss_Exp"}
    assert [value for name, value in given.items() if "Exp001" in name] == pytest.approx([9.0], rel=1e-5)


def test_a_row_has_the_squared_error_where_classes_have_the_log_loss() -> None:
    stream = Lines(mixed=True)
    (row,) = Measures(stream).start(Shifted(stream, [3.0, 0.5, 0.0]))
    assert row.mse == (pytest.approx(9.0, rel=1e-5), pytest.approx(0.25, rel=1e-5), None)
    assert row.log_loss[:2] == row.ece[:2] == (None, None)
    assert row.log_loss[2] == pytest.approx(-np.log(np.exp(1) / (1 + np.exp(1))), abs=1e-3)
    (row,) = Measures(Lines()).start(Shifted(Lines(), [3.0, 0.5, 0.0]))
    assert (row.log_loss, row.ece, row.reliability) == ((), (), ())


def test_classes_and_values_in_one_stream() -> None:
    stream = Lines(mixed=True)
    measures = Measures(stream)
    (row,) = measures.start(Shifted(stream, [1.0, None, 0.0]))
    assert row.values == pytest.approx((by_hand(stream, 0, 1.0), 0.0, 1.0), abs=1e-6)
    (row,) = measures.after(stream.task(0), Shifted(stream, [0.0, 0.0, None]))
    assert row.values[:2] == pytest.approx((1.0, 1.0))
    assert 0.2 < row.values[2] < 0.8  # a guess


def test_restored_rows_are_as_if_evaluated_here() -> None:
    stream = Lines(mixed=True)
    whole = Measures(stream)
    taken = list(whole.start(Shifted(stream, [1.0, None, None])))
    taken += whole.after(stream.task(0), Shifted(stream, [0.1, 2.0, 0.0]))
    resumed = Measures(stream)
    resumed.restore(taken[:1], whole.avalanche_values())
    list(resumed.after(stream.task(0), Shifted(stream, [0.1, 2.0, 0.0])))
    assert resumed.matrix() == whole.matrix()
    assert resumed.avalanche_values() == whole.avalanche_values()


def test_answers_that_do_not_fit_are_refused() -> None:
    class Always:
        def __init__(self, values: Tensor) -> None:
            self.values = values

        def answer(self, x: Tensor, label: int | None) -> Answer:
            return Answer.of_values(self.values.expand(len(x), -1))

    with pytest.raises(ValueError, match="answered with 3 values per input; the task has 2"):
        list(Measures(Lines()).start(Always(torch.zeros(1, 3))))
    with pytest.raises(ValueError, match="its values hold NaN or infinity"):
        list(Measures(Lines()).start(Always(torch.tensor([[0.0, torch.nan]]))))
    for values, classes, message in (
        (torch.zeros(2, 1), (0,), "is about classes or has values"),
        (torch.zeros(3, 1), (), r"values has shape \(3, 1\); for 2 inputs"),
        (torch.zeros(2), (), r"values has shape \(2,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            Answer(torch.zeros(2, len(classes)), classes, torch.zeros(2, dtype=torch.bool), values)


def test_targets_that_do_not_vary_are_refused() -> None:
    class Flat(Lines):
        def test(self, c: int) -> TestSet:
            x, y = self.samples(c, 1)
            return TestSet(x, torch.ones_like(y), self.concepts[c].label, ())

    with pytest.raises(ValueError, match="the test targets of 'line 0' do not vary: R² is undefined"):
        list(Measures(Flat()).start(Shifted(Lines(), [0.0] * 3)))


@pytest.mark.parametrize("selector", ["fixed:scratch", "fixed:prototype", "probe"])
def test_the_agent_learns_and_answers_values(selector: str, tmp_path: Path) -> None:
    stream = Lines(columns=2)
    strategies = make_strategies({})
    with KnowledgeStore.open(tmp_path / "store") as store:
        agent = LifelongAgent(
            store, strategies, make_selector(selector, strategies), AgentSettings(encoder="mlp", seed=0)
        )
        measures = Measures(stream)
        (before,) = measures.start(agent)
        for task in stream:
            profile = agent.profile(task)
            choice = yield_of(agent.select(task, profile))
            agent.remember(task, yield_of(agent.learn(task, choice)))
            list(measures.after(task, agent))
        said = agent.answer(stream.test(0).x, 0)
    assert before.values == pytest.approx((0.0, 0.0))
    values = measures.matrix().values
    assert values[1, 0] > 0.5
    assert values[2, 0] == values[1, 0]
    assert values[1, 1] == pytest.approx(0.0)
    assert said.values is not None
    assert np.isfinite(said.values.numpy()).all()


def yield_of(generator):
    """Run a generator of events to its end."""
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value
