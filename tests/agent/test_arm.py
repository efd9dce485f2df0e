import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from evermap.agent.arm import BATCH, Arm, outputs_of, score
from evermap.agent.encoder import build_encoder
from evermap.agent.known import Known
from evermap.agent.model import LinearHead, Model, state
from evermap.agent.strategy import Solution, Strategy
from evermap.errors import Diverged, StrategyError
from evermap.streams.task import Samples, Task

NOTHING = Known((), (), 0, {"name": "mlp", "settings": {"hidden": (4,)}})


def samples(n=24, seed=0):
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 2
    return Samples(torch.randn(n, 3, generator=rng) + 2.0 * y[:, None], y)


TASK = Task("two heaps", 0, samples(), None, (4, 7))
HELD_OUT = samples(40, seed=1)


def model(outputs=2, inputs=3):
    encoder = build_encoder("raw", (inputs,), {}, 0)
    return Model(encoder, LinearHead(encoder.feature_size, outputs))


def arm_of(learn, *, keep="best", held_out=None, task=TASK, **options):
    """An arm on a strategy whose `learn` is the given generator function of (task, known, rng)."""
    kind = type("Tried", (Strategy,), {"name": "tried", "keep": keep, "learn": lambda self, *given: learn(*given)})
    return Arm(kind(), task, NOTHING, seed=3, held_out=held_out, **options)


def exhaust(arm, limit=math.inf, units=None):
    return list(arm.run(limit, units))


def prescribed(biases, cost=0):
    """A strategy whose model says class 1 with the log-odds that are prescribed for every unit."""

    def learn(task, known, rng):
        made = model()
        for bias in biases:
            with torch.no_grad():
                made.head.bias.copy_(torch.tensor([0.0, float(bias)]))
                _ = torch.ones(cost, 1) @ torch.ones(1, 1) if cost else None
            yield made

    return learn


def worker(task, known, rng):
    """Real gradient steps, with dropout from the global generator: 100 of them."""
    made = known.fresh(task, rng)
    step = torch.optim.SGD(made.parameters(), lr=0.1)
    for _ in range(100):
        index = torch.randperm(len(task.support), generator=rng)[:8]
        hidden = nn.functional.dropout(made.encoder(task.support.x[index]), 0.2)
        step.zero_grad()
        nn.functional.cross_entropy(made.head(hidden), task.support.y[index]).backward()
        step.step()
        yield made


# Budget


@pytest.mark.parametrize("limit", [0, 1, 50, 99, 100, 101, 250, 999])
def test_no_unit_is_begun_that_would_pass_the_limit(limit):
    arm = arm_of(prescribed([0] * 20, cost=50))  # 2·50 FLOPs per unit
    exhaust(arm, limit)
    assert arm.units == max(1, min(20, limit // 100)), "the first one is done whatever it costs"
    assert arm.flops == 100 * arm.units
    assert arm.stopped == "budget"


def test_scoring_is_paid_as_well():
    arm = arm_of(prescribed([0] * 20, cost=50), held_out=HELD_OUT, score_every=1)
    looking = 2 * len(HELD_OUT) * 3 * 2  # one linear layer, 3 -> 2
    exhaust(arm, 2 * (100 + looking) + 99 + looking)
    assert arm.units == 2
    assert arm.flops == 2 * (100 + looking)


def test_a_higher_limit_goes_on_where_it_stopped():
    whole, parts = arm_of(worker), arm_of(worker)
    exhaust(whole)
    exhaust(parts, 2000.0)
    assert parts.stopped == "budget"
    assert 1 <= parts.units < 100
    exhaust(parts)
    assert (parts.units, parts.stopped) == (100, "finished")
    assert same(parts.best, whole.best)
    assert exhaust(parts) == [], "what is finished stays finished"


def test_so_many_units_and_no_more():
    arm = arm_of(worker, held_out=HELD_OUT)
    points = exhaust(arm, units=7)
    assert (arm.units, points[-1].unit, arm.stopped) == (7, 7, "")
    exhaust(arm, units=3)
    assert arm.units == 10


def test_a_change_of_what_is_trained_is_counted_anew():
    def learn(task, known, rng):
        made = known.fresh(task, rng)
        made.encoder.requires_grad_(False)
        for unit in range(80):
            if unit == 40:
                made.encoder.requires_grad_(True)
            made.zero_grad()
            nn.functional.cross_entropy(made(task.support.x), task.support.y).backward()
            yield made

    arm = arm_of(learn)
    exhaust(arm)
    forward = 2 * 24 * (3 * 4 + 4 * 2)
    frozen, free = forward + 2 * 24 * 4 * 2, 2 * forward + 2 * 24 * 4 * 2
    exact = 40 * frozen + 40 * free
    assert exact - (free - frozen) <= arm.flops <= exact, "noticed when the first unit is done"


@pytest.mark.parametrize("n", [33, 36, 64, 100, 128, 130, 250])
def test_small_last_batches_do_not_stand_for_all(n):
    """With two or four batches to an epoch, units 2, 4, 8, … are all its last and smallest one."""
    sizes = []

    def learn(task, known, rng):
        made = model()
        while True:
            for start in range(0, n, 32):
                sizes.append(min(32, n - start))
                with torch.no_grad():
                    _ = torch.ones(sizes[-1], 50) @ torch.ones(50, 1)
                yield made

    arm = arm_of(learn)
    exhaust(arm, 100.0 * 32 * 200)
    truly = 100.0 * sum(sizes)
    assert truly <= arm.flops <= 100.0 * 32 * 200, "never more work than was paid for"
    assert arm.units >= 200


# What is kept


def log_loss(bias):
    """Of answering class 1 with log-odds `bias` where half the samples are of class 1."""
    return 0.5 * (math.log1p(math.exp(-bias)) + math.log1p(math.exp(bias)))


FEW = Samples(HELD_OUT.x[:4], HELD_OUT.y[:4])  # too few to fit a temperature, so that losses are as by hand


def test_the_best_snapshot_is_kept():
    arm = arm_of(prescribed([3, 1, 0.5, 2, 4]), held_out=FEW, score_every=1)
    points = exhaust(arm)
    assert [p.score.loss for p in points] == pytest.approx([log_loss(b) for b in (3, 1, 0.5, 2, 4)], rel=1e-5)
    assert (arm.best_unit, arm.stopped) == (3, "finished")
    assert arm.best.head.bias[1].item() == 0.5
    assert arm.model.head.bias[1].item() == 4.0
    assert arm.best_score == points[2].score
    assert torch.equal(arm.best_outputs[0], outputs_of(arm.best, FEW.x))


def test_one_confident_error_does_not_make_the_untrained_snapshot_the_best():
    some = Samples(HELD_OUT.x[:12].clone(), HELD_OUT.y[:12])
    some.x[:] = (2.0 * some.y.float() - 1)[:, None]
    some.x[0] *= -1

    def learn(task, known, rng):
        made = model()
        for size in (0.0, 20.0):  # undecided; then right about eleven of twelve, and far too sure of all
            with torch.no_grad():
                made.head.weight.copy_(size * torch.tensor([[-1.0], [1.0]]).expand(2, 3))
                made.head.bias.zero_()
            yield made

    arm = arm_of(learn, held_out=some, score_every=1)
    exhaust(arm)
    assert arm.best_unit == 2
    assert arm.best_score.accuracy == pytest.approx(11 / 12)


def test_keep_last_keeps_the_last():
    arm = arm_of(prescribed([0.5, 3]), keep="last", held_out=FEW, score_every=1)
    exhaust(arm)
    assert (arm.best_unit, arm.best.head.bias[1].item()) == (2, 3.0)
    assert arm.best_score.loss == pytest.approx(log_loss(3), rel=1e-5)


def test_with_nothing_held_out_the_last_is_kept():
    arm = arm_of(prescribed([0.5, 3]))
    points = exhaust(arm)
    assert points[-1].score is None
    assert (arm.best.head.bias[1].item(), arm.best_score, arm.best_outputs) == (3.0, None, ())


def test_patience():
    arm = arm_of(prescribed([1, 0.5, *[2] * 50]), held_out=FEW, score_every=1, patience=3)
    exhaust(arm)
    assert (arm.units, arm.best_unit, arm.stopped) == (5, 2, "patience")
    assert exhaust(arm, math.inf) == [], "patience that is out stays out"


def test_it_is_scored_after_the_first_unit_every_k_units_and_at_the_end():
    arm = arm_of(prescribed([1] * 11), held_out=FEW, score_every=4)
    assert [point.unit for point in exhaust(arm)] == [1, 4, 8, 11]
    assert [point.unit for point in arm.curve] == [1, 4, 8, 11]


def test_a_strategy_that_yields_nothing_has_no_model():
    arm = arm_of(prescribed([]))
    assert exhaust(arm) == []
    assert (arm.best, arm.units, arm.stopped) == (None, 0, "finished")


# Randomness


def same(one, other):
    a, b = state(one), state(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_alone_interleaved_and_paused_it_ends_with_the_same_bits():
    # Patience counts scores, and a pause adds one: here it does not run out.
    alone, paused, one, other = (arm_of(worker, held_out=HELD_OUT, patience=1000) for _ in range(4))
    exhaust(alone)
    torch.manual_seed(99)
    while not paused.stopped:
        exhaust(paused, units=1)
        torch.rand(3), np.random.rand(2), random.random()  # noqa: NPY002 - the world goes on meanwhile
    while not (one.stopped and other.stopped):
        exhaust(one, units=2)
        exhaust(other, units=3)
    for arm in (paused, one, other):
        assert same(arm.model, alone.model)
        assert arm.units == 100
    assert not same(alone.model, model())


def test_pauses_come_every_so_many_units_and_change_nothing():
    quiet, watched = (arm_of(worker, held_out=HELD_OUT, score_every=7, patience=99) for _ in range(2))
    curve = exhaust(quiet, limit=50_000)
    points = []
    for point in watched.run(50_000, pause_every=3):
        points.append(point)
        outputs_of(watched.models[0], HELD_OUT.x), torch.rand(3), random.random()  # whoever looks on
    pauses = [point for point in points if point.pause]
    assert [point.unit for point in pauses] == list(range(3, watched.units + 1, 3))
    assert {point.score for point in pauses} == {None}
    assert [point for point in points if not point.pause] == curve
    assert same(quiet.model, watched.model)
    assert same(quiet.best, watched.best)
    assert (quiet.flops, quiet.stopped, quiet.best_unit) == (watched.flops, watched.stopped, watched.best_unit)


def test_the_global_generators_are_left_as_they_were():
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    exhaust(arm_of(worker, held_out=HELD_OUT))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert random.getstate() == before[2]


def test_scoring_leaves_the_modes_of_a_models_parts_alone():
    seen = []

    def learn(task, known, rng):
        made = known.fresh(task, rng)
        made.train()
        made.encoder.eval()  # a frozen front whose dropout is off, under a head that trains
        for _ in range(3):
            seen.append((made.training, made.encoder.training, made.head.training))
            yield made

    exhaust(arm_of(learn, held_out=HELD_OUT, score_every=1))
    assert seen == [(True, False, True)] * 3


# Broken promises


def fails(learn, match, kind=StrategyError, **options):
    arm = arm_of(learn, **options)
    with pytest.raises(kind, match=match) as caught:
        exhaust(arm)
    assert "'tried'" in str(caught.value)
    assert "'two heaps'" in str(caught.value)
    assert type(caught.value) is kind
    return caught.value


def test_an_exception_names_strategy_task_and_unit():
    def learn(task, known, rng):
        yield model()
        yield model()
        raise KeyError("lost")

    error = fails(learn, "in unit 3: KeyError: 'lost'")
    assert (error.strategy, error.task, error.unit, error.exit_code) == ("tried", "two heaps", 3, 2)
    assert isinstance(error.__cause__, KeyError)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_yield_inside_a_mode_is_named_and_the_mode_restored(mode):
    def learn(task, known, rng):
        yield model()
        with mode():
            yield model()

    fails(learn, "in unit 2: it changed torch's grad mode")
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    assert (torch.ones(1, requires_grad=True) * 2).requires_grad


def test_changed_defaults_are_named_and_restored():
    def other_type(task, known, rng):
        torch.set_default_dtype(torch.float64)
        yield model()

    def more_threads(task, known, rng):
        torch.set_num_threads(2)
        yield model()

    try:
        fails(other_type, "default dtype")
        assert torch.get_default_dtype() is torch.float32
        fails(more_threads, "number of threads")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(1)


def test_ctrl_c_is_not_the_strategys_fault():
    def learn(task, known, rng):
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        exhaust(arm_of(learn))


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_divergence(loss):
    def learn(task, known, rng):
        yield Solution(model(), torch.tensor(1.0))
        yield Solution(model(), torch.tensor(loss))

    fails(learn, f"in unit 2: the loss is {loss}", Diverged)


@pytest.mark.parametrize("held_out", [None, HELD_OUT])
def test_weights_that_are_not_finite_are_divergence(held_out):
    error = fails(prescribed([1, 2, math.nan]), "NaN or infinite", Diverged, held_out=held_out, score_every=1)
    assert error.unit in (3, 4)


def test_a_held_out_loss_that_is_not_finite_is_divergence():
    def learn(task, known, rng):
        made = model()
        with torch.no_grad():
            made.head.weight.fill_(3e38)
        yield made

    fails(learn, "held-out loss", Diverged, held_out=HELD_OUT)


def test_floating_point_errors_are_divergence():
    def learn(task, known, rng):
        yield model()
        raise FloatingPointError("the loss is nan")

    fails(learn, "in unit 2: the loss is nan", Diverged)


@pytest.mark.parametrize(
    ("thing", "match"),
    [
        (lambda: None, "yielded a NoneType"),
        (lambda: 3, "yielded a int, not a Model or a Solution"),
        (lambda: nn.Linear(3, 2), "yielded a Linear"),
        (lambda: model(outputs=5), "5 outputs; the task needs 2"),
        (lambda: model(inputs=9), r"inputs of shape \(9,\); the task's have shape \(3,\)"),
    ],
)
def test_what_is_no_model_of_the_task_is_refused(thing, match):
    def learn(task, known, rng):
        yield thing()

    fails(learn, match)


def test_a_later_model_is_checked_too():
    def learn(task, known, rng):
        yield model()
        yield model(outputs=1)

    fails(learn, "1 outputs; the task needs 2")


def test_learn_that_is_no_generator_is_named():
    fails(lambda *given: 3, "in unit 1: TypeError")
    fails(lambda *given: 1 / 0, "in unit 1: ZeroDivisionError")


def test_tasks_that_arrive_together_get_a_model_each():
    def learn(self, tasks, known, rng):
        made = model()
        other = Model(made.encoder, LinearHead(3, 2))
        for step in range(3):
            with torch.no_grad():
                made.head.bias[1], other.head.bias[1] = float(step), -float(step)
            yield [made, other][: self.models]

    kind = type("Joint", (Strategy,), {"name": "tried", "joint": True, "learn": None, "learn_jointly": learn})
    strategy, tasks = kind(), [TASK, Task("more heaps", 1, samples(seed=4), None, (1, 2))]
    strategy.models = 2
    arm = Arm(strategy, tasks, NOTHING, seed=0, held_out=[FEW, FEW], score_every=1)
    exhaust(arm)
    assert [kept.head.bias[1].item() for kept in arm.best_models] == [0.0, -0.0]
    assert arm.best_models[0].encoder is arm.best_models[1].encoder, "a shared encoder stays shared"
    assert arm.best_score.loss == pytest.approx(math.log(2))
    assert len(arm.best_outputs) == 2
    strategy.models = 1
    with pytest.raises(StrategyError, match="'two heaps, more heaps' in unit 1: it yielded 1 models for 2 tasks"):
        exhaust(Arm(strategy, tasks, NOTHING, seed=0))


# Scores


def test_score_by_hand():
    outputs = torch.log(torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]))
    found = score(outputs, torch.tensor([0, 1, 1]))
    assert found.loss == pytest.approx(-(math.log(0.9) + math.log(0.8) + math.log(0.4)) / 3)
    assert found.accuracy == pytest.approx(2 / 3)


def test_from_twenty_samples_on_the_loss_is_calibrated():
    outputs = torch.log(torch.tensor([[0.8, 0.2]] * 10))
    y = torch.tensor([0] * 8 + [1] * 2)
    for factor in (0.1, 1.0, 30.0):  # over- or under-confident, the calibrated loss is the entropy
        found = score(torch.cat([outputs, outputs]) * factor, torch.cat([y, y]))
        assert found.loss == pytest.approx(-0.8 * math.log(0.8) - 0.2 * math.log(0.2), rel=1e-3)


def test_a_regression_is_scored_by_its_variance():
    y = torch.tensor([[0.0], [2.0], [4.0]])
    found = score(y + 1, y, "regression")
    assert (found.loss, found.accuracy) == (pytest.approx(1.0), pytest.approx(1 - 1 / (8 / 3)))
    assert score(torch.ones(3, 1), torch.ones(3, 1), "regression").accuracy == 1.0
    assert score(torch.zeros(3, 1), torch.ones(3, 1), "regression").accuracy == 0.0


def test_outputs_come_in_batches_of_one_size_and_leave_the_mode():
    sizes = []
    made = model()
    made.encoder.register_forward_hook(lambda module, given, out: sizes.append((len(out), module.training)))
    made.train()
    assert outputs_of(made, torch.zeros(BATCH + 5, 3)).shape == (BATCH + 5, 2)
    assert sizes == [(BATCH, False), (5, False)]
    assert made.training
    assert outputs_of(made, torch.zeros(0, 3)).shape == (0, 2)
