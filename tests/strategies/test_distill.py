"""The losses against plain loops, the matching against chance, and what a student gets from its teacher."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evermap.agent.arm import Arm, outputs_of
from evermap.agent.encoder import build_encoder
from evermap.agent.entries import TaskRecord
from evermap.agent.events import ProbeScore
from evermap.agent.known import Known, Source
from evermap.agent.model import LinearHead, Model, PrototypeHead, finite, state
from evermap.errors import Diverged, RecipeError
from evermap.strategies.distill import Distill, distillation_loss, feature_loss, narrowed
from evermap.strategies.scratch import Scratch
from evermap.strategies.teacher import Teaching, agreement, ask, said_by_all, shown_by_all, standardised
from evermap.streams.task import Samples, Task

MLP = {"name": "mlp", "settings": {"hidden": (8,)}}
CORNERS = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 3.0], [0.0, -3.0]])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def heaps(n, heap_of, classes=None, seed=0, noise=0.5):
    """A task of `n` samples of each class in the plane; class `c` lies around corner `heap_of[c]`."""
    y = torch.arange(len(heap_of)).repeat_interleave(n)
    x = CORNERS[torch.tensor(heap_of)[y]] + noise * torch.randn(len(y), 2, generator=rng(seed))
    return Task("heaps", 1, Samples(x, y), None, classes or tuple(range(len(heap_of))))


def nearest_corner(order=(0, 1, 2, 3), temperature=1.0):
    """A model without training: output `i` is high near corner `order[i]`."""
    head = PrototypeHead(CORNERS[list(order)])
    head.temperature.fill_(temperature)
    return Model(build_encoder("raw", (2,), {}, 0), head)


def source(*models, name="encoder-1", kind="classification"):
    made = dict(enumerate(models))
    records = tuple(
        TaskRecord(i, f"task {i}", i, tuple(range(m.head.outputs)), kind, name, f"head-{i}", "scratch")
        for i, m in made.items()
    )
    first = models[0] if models else nearest_corner()
    return Source(name, True, None, records, lambda: first.copy().encoder, lambda record: made[record.index].copy())


def known(*sources, architecture=MLP, others=0):
    return Known(tuple(sources), (), others, architecture)


def run(strategy, task, what, seed=0, limit=math.inf):
    arm = Arm(strategy, task, what, seed=seed)
    for _ in arm.run(limit):
        pass
    return arm


def right(model, task):
    return float((outputs_of(model, task.support.x).argmax(dim=1) == task.support.y).float().mean())


# The losses


def softmax(row, temperature):
    top = np.exp([v / temperature - max(row) / temperature for v in row])
    return top / top.sum()


@given(
    n=st.integers(1, 5),
    classes=st.integers(1, 6),
    temperature=st.floats(0.5, 20),
    size=st.floats(0.1, 20),
    seed=st.integers(0, 1000),
)
def test_distillation_loss_is_what_a_loop_gives(n, classes, temperature, size, seed):
    draw = np.random.default_rng(seed)
    student, teacher = draw.normal(size=(2, n, classes)) * size
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        p, q = softmax(t, temperature), softmax(s, temperature)
        for i in range(classes):
            total += p[i] * (math.log(p[i]) - math.log(q[i])) if p[i] > 0 else 0.0
    found = distillation_loss(torch.tensor(student), torch.tensor(teacher), temperature)
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(temperature**2 * total / n, rel=1e-9, abs=1e-9)
    assert found.item() >= -1e-9


def test_distillation_loss_by_hand():
    student, teacher = torch.zeros(1, 2).double(), torch.tensor([[0.0, math.log(3.0)]], dtype=torch.float64)
    by_hand = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert distillation_loss(student, teacher, 1.0).item() == pytest.approx(by_hand, rel=1e-12)
    assert distillation_loss(student, 2 * teacher, 2.0).item() == pytest.approx(4 * by_hand, rel=1e-12)


def test_distillation_loss_knows_no_shift_and_pulls_towards_the_teacher():
    student = torch.randn(3, 4, generator=rng(), dtype=torch.float64).requires_grad_()
    teacher = torch.randn(3, 4, generator=rng(1), dtype=torch.float64)
    assert distillation_loss(teacher + 7, teacher - 2, 4.0).item() == pytest.approx(0, abs=1e-12)
    distillation_loss(student, teacher, 4.0).backward()
    by_paper = (torch.softmax(student / 4, 1) - torch.softmax(teacher / 4, 1)) * 4 / 3  # Hinton 2015, eq. 2, times T²
    torch.testing.assert_close(student.grad, by_paper.detach())


@given(n=st.integers(1, 5), small=st.integers(1, 4), large=st.integers(1, 5), seed=st.integers(0, 1000))
def test_feature_loss_is_what_a_loop_gives(n, small, large, seed):
    draw = np.random.default_rng(seed)
    student, teacher = draw.normal(size=(n, small)), draw.normal(size=(n, large))
    weight, bias = draw.normal(size=(large, small)), draw.normal(size=large)
    total = 0.0
    for i in range(n):
        for j in range(large):
            total += (sum(weight[j, k] * student[i, k] for k in range(small)) + bias[j] - teacher[i, j]) ** 2
    found = feature_loss(*map(torch.tensor, (student, teacher, weight, bias)))
    assert found.item() == pytest.approx(total / n / large, rel=1e-9)


@given(n=st.integers(1, 6), seed=st.integers(0, 1000), offset=st.floats(-100, 100))
def test_standardised_columns(n, seed, offset):
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(n, 4)) * [1, 50, 0, 0.01] + offset
    found = standardised(torch.tensor(x)).numpy()
    assert np.isfinite(found).all()
    assert (found[:, 2] == 0).all(), "a constant column says nothing"
    if n > 1:
        np.testing.assert_allclose(found[:, :2], (x[:, :2] - x[:, :2].mean(0)) / x[:, :2].std(0), rtol=1e-6, atol=1e-8)
    else:
        assert (found == 0).all()


# Whether a teacher's outputs stand for the classes


def test_agreement_above_chance():
    y = torch.arange(4).repeat_interleave(10)
    renamed = torch.tensor([5, 0, 3, 1])
    order, found = agreement(renamed[y], y, 6, 4, rng())
    assert (order, found) == ([5, 0, 3, 1], 1.0)
    half = torch.where(torch.arange(40) % 2 == 0, renamed[y], 2)
    assert 0.2 < agreement(half, y, 6, 4, rng())[1] < 0.7
    noise = torch.randint(6, (40,), generator=rng(3))
    assert abs(agreement(noise, y, 6, 4, rng())[1]) < 0.3


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_one_sample_of_each_class_always_agrees_and_says_nothing(classes):
    y = torch.arange(classes)
    assert agreement(y.flip(0), y, classes, classes, rng())[1] == 0.0


def test_two_samples_of_each_of_ten_classes_do_say_something():
    y = torch.arange(10).repeat(2)
    assert agreement(y, y, 10, 10, rng())[1] > 0.99
    assert agreement(torch.randint(10, (20,), generator=rng(1)), y, 10, 10, rng())[1] < 0.5


def test_the_best_model_answers_in_the_tasks_order():
    task = heaps(10, [2, 0, 3], noise=0.1)
    found = ask(task, source(nearest_corner((1, 2, 3, 0), 5.0), nearest_corner((0, 1))), 0.5, rng())
    expected = nearest_corner((2, 0, 3))(task.support.x) / 5.0
    torch.testing.assert_close(found.says, expected.detach())
    torch.testing.assert_close(found.shows, standardised(task.support.x))
    assert found.agreement == 1.0
    assert found.error is None


def test_models_that_do_not_agree_say_nothing():
    task = heaps(10, [0, 1, 2], noise=0.1)
    shuffled = Task(
        "noise", 1, Samples(task.support.x, task.support.y[torch.randperm(30, generator=rng())]), None, (0, 1, 2)
    )
    teacher = source(nearest_corner())
    assert ask(task, teacher, 0.5, rng()).says is not None
    assert ask(shuffled, teacher, 0.5, rng()).says is None
    assert ask(task, source(nearest_corner((0, 1))), 0.5, rng()).says is None, "too few outputs"
    assert ask(task, source(nearest_corner(), kind="regression"), 0.5, rng()).says is None
    assert ask(task, source(), 0.5, rng()).says is None, "an encoder without a model"


def teaching(says=None, shows=(0.0,), agreement=0.0, error=None):
    n = len(says) if says is not None else len(shows)
    shown = torch.tensor(shows, dtype=torch.float64).view(n, -1)
    return Teaching(None if says is None else torch.tensor(says, dtype=torch.float64), shown, agreement, error)


def test_several_teachers_are_mixed_by_how_well_they_agree():
    one, other = [[2.0, 0.0], [0.0, 0.0]], [[-1.0, 1.0], [3.0, 0.0]]
    silent = teaching(shows=(0.0, 1.0))
    found = said_by_all([teaching(one, (0, 0), 0.9), silent, teaching(other, (0, 0), 0.3)], 2.0)
    for row, (a, b) in enumerate(zip(one, other, strict=True)):
        expected = 0.75 * softmax(a, 2.0) + 0.25 * softmax(b, 2.0)
        np.testing.assert_allclose(torch.softmax(found[row] / 2.0, 0).numpy(), expected, rtol=1e-9)
    alone = teaching(one, (0, 0), 0.9)
    assert said_by_all([silent, alone], 2.0) is alone.says
    assert said_by_all([silent], 2.0) is None
    equals = said_by_all([teaching(one, (0, 0), 0.0), teaching(other, (0, 0), 0.0)], 1.0)
    np.testing.assert_allclose(
        torch.softmax(equals[0], 0).numpy(), (softmax(one[0], 1.0) + softmax(other[0], 1.0)) / 2, rtol=1e-9
    )


def test_what_several_show_is_weighed_by_their_error():
    """Mean squared error over the columns side by side is the weighted mean of the teachers' own."""
    wide, narrow = teaching(shows=((1.0, 2.0, 3.0), (0.0, 1.0, 0.0)), error=0.1), teaching(shows=(2.0, -1.0), error=0.3)
    both = shown_by_all([wide, narrow])
    expected = 0.75 * float(wide.shows.square().mean()) + 0.25 * float(narrow.shows.square().mean())
    assert float(both.square().mean()) == pytest.approx(expected, rel=1e-12)
    alike = shown_by_all([replace(wide, error=None), narrow])
    equal = 0.5 * float(wide.shows.square().mean()) + 0.5 * float(narrow.shows.square().mean())
    assert float(alike.square().mean()) == pytest.approx(equal, rel=1e-12)
    assert torch.equal(shown_by_all([wide]), wide.shows)


def test_two_teachers_that_each_know_half_teach_more_than_one():
    """Each is right near its own two corners and undecided elsewhere; a third of the labels are wrong."""
    halves = [PrototypeHead(CORNERS * torch.tensor(keep)[:, None]) for keep in ([1.0, 1, 0, 0], [0.0, 0, 1, 1])]
    experts = [
        source(Model(build_encoder("raw", (2,), {}, 0), head), name=f"encoder-{i}") for i, head in enumerate(halves, 1)
    ]
    clean = heaps(20, [0, 1, 2, 3], noise=0.1)
    wrong = torch.where(torch.rand(len(clean.support), generator=rng(3)) < 0.3, 0, clean.support.y)
    noisy = replace(clean, support=Samples(clean.support.x, wrong))
    settings = {"taught": 1.0, "weight": 1.0, "agreement": 0.1, "steps": 150, "lr": 0.02}
    one, both = (right(run(Distill(teachers=k, **settings), noisy, known(*experts)).best, clean) for k in (1, 2))
    assert both > one + 0.1


# Narrower students


def test_narrowed():
    assert narrowed({"name": "mlp", "settings": {}}, 0.5)["settings"]["hidden"] == (128, 64)
    assert narrowed(MLP, 0.01)["settings"]["hidden"] == (1,)
    conv = narrowed({"name": "conv4", "settings": {"filters": 32, "groups": 8}}, 0.3)
    assert conv["settings"] == {"filters": 8, "down": "pool", "norm": "group", "groups": 8}
    text = narrowed({"name": "text", "settings": {"width": 64, "hidden": (32,)}}, 0.5)
    assert text["settings"] == {"width": 32, "hidden": (16,)}
    resnet = narrowed({"name": "resnet18", "settings": {"width": 20, "groups": 4}}, 0.5)
    assert resnet["settings"] == {"width": 8, "groups": 4}
    assert narrowed({"name": "raw", "settings": {}}, 0.5) is None
    assert narrowed(MLP, 1.0) == {"name": "mlp", "settings": {"hidden": (8,)}}


@pytest.mark.parametrize(
    ("name", "settings", "shape"),
    [
        ("mlp", {"hidden": (16, 8)}, (2,)),
        ("conv4", {"filters": 16, "groups": 4}, (1, 4, 4)),
        ("text", {"width": 16}, (32,)),
        ("resnet18", {"width": 8, "groups": 2}, (1, 4, 4)),
    ],
)
@pytest.mark.parametrize("agreed", [0.0, 1.0])
def test_a_narrower_student_learns_from_a_wider_teacher(name, settings, shape, agreed):
    y = torch.arange(2).repeat(10)
    x = torch.randn(20, *shape, generator=rng()) + y.view(-1, *[1] * len(shape))
    task = Task("narrow", 1, Samples(x, y), None, (0, 1))
    encoder = build_encoder(name, shape, settings, 1)
    teacher = Model(encoder, LinearHead(encoder.feature_size, 2, rng()))
    what = known(source(teacher), architecture={"name": name, "settings": settings})
    student = run(Distill(steps=5, width=0.5, agreement=agreed), task, what).best
    assert student.encoder.feature_size < encoder.feature_size
    assert sum(p.numel() for p in student.parameters()) < sum(p.numel() for p in teacher.parameters())
    assert finite(student)


# Learning


def test_a_student_learns_from_what_its_teacher_says_alone():
    task = heaps(20, [2, 0, 3], noise=0.3)
    student = run(Distill(steps=100, taught=1.0, weight=1.0, lr=0.02), task, known(source(nearest_corner()))).best
    torch.testing.assert_close(
        student(task.support.x).softmax(1), nearest_corner((2, 0, 3))(task.support.x).softmax(1), atol=0.15, rtol=0
    )
    assert right(student, task) > 0.95


def with_more(task, n, heap_of, seed=5):
    """Add inputs without labels, `n` of each class."""
    return replace(task, unlabelled=heaps(n, heap_of, seed=seed).support.x)


def test_inputs_without_label_are_learned_from_what_the_teacher_says_of_them():
    """One labelled sample at each corner; the teacher knows all corners, and says so of samples around them."""
    few = heaps(1, [0, 1, 2, 3], noise=1.5)
    more = with_more(few, 40, [0, 1, 2, 3])
    fresh = heaps(50, [0, 1, 2, 3], noise=1.0, seed=9)
    what = known(source(nearest_corner()))
    found = {}
    for name, task, use in (("told", few, True), ("all", more, True), ("unused", more, False)):
        student = run(Distill(steps=120, lr=0.02, agreement=0.0, unlabelled=use), task, what).best
        found[name] = student
    assert right(found["all"], fresh) > right(found["told"], fresh) + 0.03
    assert all(torch.equal(a, b) for a, b in zip(*(state(found[n]).values() for n in ("told", "unused")), strict=True))


def test_features_and_targets_of_inputs_without_label():
    x = torch.randn(60, 2, generator=rng())
    values = Task("values", 1, Samples(x[:10], x[:10].sum(1, keepdim=True)), None, (), "regression", unlabelled=x[10:])
    what = known(source(nearest_corner()))
    student, alone = (run(Distill(steps=50, unlabelled=use), values, what).best for use in (True, False))
    assert finite(student)
    assert not torch.equal(student(x), alone(x))


def test_a_teacher_is_matched_by_the_labels_there_are():
    task = heaps(5, [1, 0], noise=0.1)
    more = heaps(30, [2, 3], noise=0.1, seed=4).support.x
    told = ask(task, source(nearest_corner()), 0.5, rng())
    both = ask(task, source(nearest_corner()), 0.5, rng(), more)
    assert both.says.shape == (70, 2)
    torch.testing.assert_close(both.says[:10], told.says)
    assert both.agreement == told.agreement
    assert both.shows.shape == (70, 2)


def test_a_batch_without_any_label_is_learned_from_the_teacher_alone():
    task = with_more(heaps(1, [0, 1]), 100, [0, 1])
    arm = run(Distill(steps=80, batch_size=2, lr=0.02, agreement=0.0), task, known(source(nearest_corner())))
    assert finite(arm.best)
    assert right(arm.best, heaps(20, [0, 1], seed=3)) > 0.9


def test_a_teacher_corrects_wrong_labels():
    centres = 1.5 * torch.randn(3, 20, generator=rng())
    y = torch.arange(3).repeat_interleave(20)
    near = (
        centres[y] + 2 * torch.randn(60, 20, generator=rng(1)),
        centres[y] + 2 * torch.randn(60, 20, generator=rng(2)),
    )
    wrong = torch.where(torch.arange(60) % 3 == 0, (y + 1 + torch.arange(60) % 2) % 3, y)
    noisy, clean = (Task("heaps", 1, Samples(*each), None, (0, 1, 2)) for each in zip(near, (wrong, y), strict=True))
    teacher = Model(build_encoder("raw", (20,), {}, 0), PrototypeHead(centres))
    taught = run(Distill(steps=100, taught=1.0, agreement=0.3), noisy, known(source(teacher))).best
    alone = run(Scratch(steps=100), noisy, known()).best
    assert right(taught, clean) > right(alone, clean) + 0.1


def test_a_student_learns_features():
    task = heaps(20, [0, 1, 2, 3])
    encoder = build_encoder("mlp", (2,), {"hidden": (6,)}, 3)
    what = known(source(Model(encoder, LinearHead(6, 2, rng()))))
    student = run(Distill(steps=300, taught=1.0, feature_weight=1.0, lr=0.02), task, what).best
    with torch.no_grad():
        mine, target = student.encoder(task.support.x).double(), standardised(encoder(task.support.x)).double()
        fresh = what.fresh(task, rng()).encoder(task.support.x).double()
    ones = torch.ones(len(mine), 1, dtype=torch.float64)

    def unexplained(features):
        design = torch.cat([features, ones], 1)
        return float((design @ torch.linalg.pinv(design) @ target - target).square().mean())

    assert unexplained(mine) < 0.5 * unexplained(fresh)


def test_regression_learns_features_and_the_task():
    x = torch.randn(60, 2, generator=rng())
    task = Task("values", 1, Samples(x, torch.stack([x.sum(1), x[:, 0] ** 2, x[:, 1]], 1)), None, (), "regression")
    student = run(Distill(steps=300, lr=0.02), task, known(source(nearest_corner()))).best
    assert student.head.outputs == 3
    assert float((student(x).detach() - task.support.y).square().mean()) < 0.3 * float(task.support.y.var())


def test_the_end_is_the_tasks_own():
    """Without a taught share it is `scratch`, draw for draw but for the batches' first order."""
    task, what = heaps(5, [0, 1]), known(source(nearest_corner()))
    none = run(Distill(steps=30, taught=0.0, batch_size=100, shuffle=False), task, what, seed=4).best
    alone = run(Scratch(steps=30, batch_size=100, shuffle=False), task, what, seed=4).best
    assert all(torch.equal(a, b) for a, b in zip(state(none).values(), state(alone).values(), strict=True))


def test_the_chosen_source_teaches():
    """Nothing but the teacher is listened to: one that has no answers teaches features alone."""
    task = heaps(20, [0, 1, 2, 3], noise=0.1)
    silent, good = source(nearest_corner((0,)), name="encoder-1"), source(nearest_corner(), name="encoder-2")
    strategy = Distill(steps=150, taught=1.0, weight=1.0, feature_weight=1.0, lr=0.02)
    found = [
        right(run(strategy, task, Known((silent, good), (), 0, MLP, chosen=chosen)).best, task)
        for chosen in ("encoder-2", None)
    ]
    assert found[0] == 1.0
    assert found[1] < 0.8


def test_who_answers_well_teaches_before_who_represents_well():
    scores = {"encoder-1": (0.01, None), "encoder-2": (0.02, 0.79), "encoder-3": (0.03, 0.8), "encoder-4": (0.04, 0.9)}
    sources = [
        replace(source(nearest_corner(), name=name), score=ProbeScore(name, mse, None, None, reuse))
        for name, (mse, reuse) in scores.items()
    ]
    found = Distill().sources(heaps(5, [0, 1]), known(*sources, source(nearest_corner(), name="encoder-5")))
    assert [each.id[-1] for each in found] == ["4", "3", "1", "2", "5"]


def test_the_teacher_stays_as_it_was():
    teacher = nearest_corner()
    before = state(teacher)
    run(Distill(steps=5), heaps(5, [0, 1]), known(source(teacher)))
    assert all(torch.equal(before[name], now) for name, now in state(teacher).items())


# Bad input


def test_it_says_why_it_does_not_apply():
    task = heaps(5, [0, 1])
    assert Distill().applies(task, known()) == "the store holds no trained encoder yet: there is no teacher"
    assert "inputs of shape (2,)" in Distill().applies(task, known(others=2))
    assert Distill().applies(task, known(source(nearest_corner()))) is None
    raw = known(source(nearest_corner()), architecture={"name": "raw", "settings": {}})
    assert "raw has neither `hidden`, `filters` nor `width`" in Distill(width=0.5).applies(task, raw)
    assert Distill().applies(task, raw) is None


@pytest.mark.parametrize("hidden", [(8,), (3, 5)])
@pytest.mark.parametrize(
    "task",
    [
        Task("one class", 1, Samples(torch.randn(6, 2, generator=rng()), torch.zeros(6).long()), None, (4,)),
        heaps(1, [0, 1, 2, 3]),
        Task("constant", 1, Samples(torch.ones(6, 2), torch.arange(2).repeat(3)), None, (0, 1)),
        Task("one sample", 1, Samples(torch.ones(1, 2), torch.tensor([0])), None, (0,)),
        Task("a class without samples", 1, heaps(4, [0, 1]).support, None, (0, 1, 2)),
        Task("one value", 1, Samples(torch.ones(1, 2), torch.ones(1, 1)), None, (), "regression"),
    ],
    ids=lambda task: task.name if isinstance(task, Task) else None,
)
def test_odd_tasks_are_learned(task, hidden):
    what = known(source(nearest_corner()), architecture={"name": "mlp", "settings": {"hidden": hidden}})
    model = run(Distill(steps=12), task, what).best
    assert finite(model)
    assert torch.isfinite(outputs_of(model, task.support.x)).all()


def test_one_unit_is_enough_for_a_model():
    arm = run(Distill(), heaps(5, [0, 1]), known(source(nearest_corner())), limit=0)
    assert (arm.units, arm.stopped) == (1, "budget")
    assert finite(arm.best)


def test_a_loss_that_is_not_finite_is_divergence():
    x = torch.full((6, 2), 3e38)
    task = Task("far away", 1, Samples(x, torch.arange(2).repeat(3)), None, (0, 1))
    with pytest.raises(Diverged, match=r"'distill' failed on task 'far away' in unit 1: the loss is"):
        run(Distill(steps=5), task, known(source(nearest_corner())))


@pytest.mark.parametrize("wrong", [{"temperature": 0}, {"width": -1}, {"taught": 1.5}, {"weight": -0.1}, {"steps": 0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(RecipeError, match=next(iter(wrong))):
        Distill(**wrong)
