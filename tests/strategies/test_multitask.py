"""The weighted losses against plain loops, joint training of unlike tasks, and heads that later tasks add."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from evermap.agent.agent import LifelongAgent
from evermap.agent.agent_settings import AgentSettings
from evermap.agent.arm import Arm, outputs_of
from evermap.agent.encoder import build_encoder
from evermap.agent.events import LearnedTogether
from evermap.agent.known import Known, Source
from evermap.agent.model import LinearHead, Model, finite, state
from evermap.agent.selectors.fixed import Fixed
from evermap.agent.store import KnowledgeStore
from evermap.agent.strategy import make_strategies
from evermap.errors import Diverged, RecipeError, StrategyError
from evermap.strategies.multitask import MultiTask
from evermap.streams.task import Samples, Task

NOTHING = Known((), (), 0, {"name": "mlp", "settings": {"hidden": (16,)}})


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def heaps(classes, n=20, index=0, seed=0):
    """`n` samples of each class, class `c` of the world around a corner of its own."""
    corners = 3 * torch.randn(10, 5, generator=rng(99))
    y = torch.arange(len(classes)).repeat_interleave(n)
    x = corners[torch.tensor(classes)[y]] + torch.randn(len(y), 5, generator=rng(seed))
    return Task(f"heaps {index}", index, Samples(x, y), None, tuple(classes), label=index)


def values(n=60, index=0):
    x = torch.randn(n, 5, generator=rng(index))
    return Task(
        "values", index, Samples(x, torch.stack([x[:, 0], x[:, 1] - x[:, 2]], 1)), None, (), "regression", index
    )


THREE = (heaps((0, 1, 2)), heaps((3, 4), n=4, index=1), values(index=2))


def jointly(strategy, tasks=THREE, seed=0, limit=math.inf, units=None):
    arm = Arm(strategy, tasks, NOTHING, seed=seed)
    for _ in arm.run(limit, units):
        pass
    return arm


def encoder(seed=0, shape=(5,)):
    return build_encoder("mlp", shape, {"hidden": (16,)}, seed)


def source(name="encoder-1", made_by="multitask", seed=0):
    def nothing(record):
        raise LookupError

    return Source(name, True, None, (), lambda: encoder(seed), nothing, made_by)


def right(model, task):
    return float((outputs_of(model, task.support.x).argmax(dim=1) == task.support.y).float().mean())


def same(one, other):
    a, b = state(one), state(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# Weights


def losses_of(made):
    """The losses of models on all samples of their tasks, written down plainly."""
    losses = []
    for model, task in zip(made, THREE, strict=True):
        out = model(task.support.x)
        if task.kind == "regression":
            losses.append(((out - task.support.y) ** 2).mean())
        else:
            losses.append(-out.log_softmax(1)[torch.arange(len(out)), task.support.y].mean())
    return losses


def by_hand(weights, steps=3, then=None):
    """Joint training by gradient descent in full batches; `then` has the weights of one more step."""
    made = jointly(MultiTask(steps=1, lr=1e-30, optimiser="sgd")).models  # the weights that the seed draws
    made = [Model(made[0].encoder, model.head) for model in made]
    parameters = [*made[0].encoder.parameters(), *(p for model in made for p in model.head.parameters())]
    for each in [*[weights] * steps, *([] if then is None else [then])]:
        total = sum(float(weight / sum(each)) * loss for weight, loss in zip(each, losses_of(made), strict=True))
        gradients = torch.autograd.grad(total, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= 0.1 * gradient
    return made


PLAIN = {"steps": 3, "lr": 0.1, "optimiser": "sgd", "momentum": 0.0, "weight_decay": 0.0, "batch_size": 1000}


@pytest.mark.parametrize(("weights", "numbers"), [("equal", (1, 1, 1)), ((2.0, 0.5, 0.0), (4, 1, 0))])
def test_the_losses_are_summed_with_their_weights(weights, numbers):
    for found, expected in zip(jointly(MultiTask(weights=weights, **PLAIN)).models, by_hand(numbers), strict=True):
        torch.testing.assert_close(state(found), state(expected), rtol=1e-4, atol=1e-6)


def test_a_loss_that_falls_faster_counts_less_in_the_next_period():
    """Two periods of one step; then weights by the ratio of the losses of these, written down plainly."""
    seen = [[loss.item() for loss in losses_of(made)] for made in (by_hand((1, 1, 1), 0), by_hand((1, 1, 1), 1))]
    ratio = np.exp(np.array(seen[1]) / np.array(seen[0]) / 0.5)
    expected = by_hand((1, 1, 1), 2, then=ratio / ratio.sum())
    settings = {**PLAIN, "weights": "dwa", "dwa_period": 1, "dwa_temperature": 0.5}
    for found, wanted in zip(jointly(MultiTask(**settings)).models, expected, strict=True):
        torch.testing.assert_close(state(found), state(wanted), rtol=1e-4, atol=1e-6)


def test_gradients_that_keep_step_are_weighed_by_what_the_step_before_has_shown():
    """Two steps: the first with equal weights; what Adam makes of its gradient norms is written down plainly."""
    made = by_hand((1, 1, 1), 0)
    last = list(made[0].encoder.parameters())[-2:]
    norms = []
    for loss in losses_of(made):
        gradient = torch.autograd.grad(loss, last, retain_graph=True)
        norms.append(math.sqrt(sum(float(g.double().square().sum()) for g in gradient)))
    # At the first step all losses are as at first: the targets are the mean norm. Adam's first step is of size lr.
    mean = sum(norms) / 3
    factors = np.array([1 - 0.2 * np.sign(norm - mean) for norm in norms])
    expected = by_hand((1, 1, 1), 1, then=factors / factors.sum())
    settings = {**PLAIN, "steps": 2, "weights": "gradnorm", "gradnorm_lr": 0.2}
    found = jointly(MultiTask(**settings)).models
    for one, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(state(one), state(wanted), rtol=1e-4, atol=1e-6)
    assert not same(found[0], jointly(MultiTask(**{**PLAIN, "steps": 2})).models[0])


def test_surgery_changes_the_encoder_where_gradients_conflict_and_leaves_the_heads_their_own():
    cleared = []
    for seed in range(6):
        one, other = (
            jointly(MultiTask(surgery=surgery, **{**PLAIN, "steps": 1}), seed=seed).models
            for surgery in ("none", "pcgrad")
        )
        cleared.append(not same(one[0].encoder, other[0].encoder))
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(state(a.head), state(b.head))
    assert any(cleared)


def test_a_task_without_weight_is_not_learned():
    before = jointly(MultiTask(steps=1, lr=1e-30)).models
    models = jointly(MultiTask(weights=(1.0, 0.0, 1.0), steps=20, weight_decay=0.0)).models
    assert same(models[1].head, before[1].head)
    assert not same(models[0].head, before[0].head)


def test_uncertainty_lowers_the_weight_of_noise():
    clean, noise = values(index=0), values(index=1)
    y = 10 * torch.randn(60, 2, generator=rng(5))
    noise = replace(noise, support=Samples(noise.support.x, y))
    errors = {}
    for weights in ("equal", "uncertainty"):
        model = jointly(MultiTask(weights=weights, steps=400, lr=0.01), (clean, noise)).models[0]
        errors[weights] = float((outputs_of(model, clean.support.x) - clean.support.y).square().mean())
    assert errors["uncertainty"] < errors["equal"]


# Tasks that arrive together


@pytest.mark.parametrize("surgery", ["none", "pcgrad"])
@pytest.mark.parametrize("weights", ["equal", "uncertainty", "dwa", (1, 2, 3)])
def test_tasks_of_every_kind_and_size_share_an_encoder(weights, surgery):
    arm = jointly(MultiTask(weights=weights, surgery=surgery, lr=0.01))
    models = arm.best_models
    assert arm.units == 300
    assert [model.head.outputs for model in models] == [3, 2, 2]
    assert models[0].encoder is models[1].encoder is models[2].encoder
    assert all(p.requires_grad for model in models for p in model.parameters())
    assert right(models[0], THREE[0]) > 0.9
    assert right(models[1], THREE[1]) > 0.9
    assert float((outputs_of(models[2], THREE[2].support.x) - THREE[2].support.y).square().mean()) < 0.3


def test_the_kept_models_share_an_encoder_too():
    held = [heaps((0, 1, 2), seed=7).support, heaps((3, 4), seed=7).support, values(index=7).support]
    arm = Arm(MultiTask(steps=50), THREE, NOTHING, seed=0, held_out=held)
    for _ in arm.run(math.inf):
        pass
    assert arm.best_models[0].encoder is arm.best_models[2].encoder
    assert arm.best_models[0].encoder is not arm.models[0].encoder


def test_one_unit_costs_a_batch_of_every_task():
    arm = jointly(MultiTask(batch_size=10), units=1)
    samples = 10 + 8 + 10  # the second task has no more
    first, heads = samples * 5 * 16, (10 * 3 + 8 * 2 + 10 * 2) * 16
    assert arm.flops == 2 * (2 * first + 3 * heads), "no gradient goes on to the inputs"


def test_the_same_seed_gives_the_same_bits():
    one, other, third = (jointly(MultiTask(steps=5), seed=seed).models for seed in (1, 1, 2))
    assert all(same(a, b) for a, b in zip(one, other, strict=True))
    assert not same(one[0], third[0])


def test_odd_tasks_arrive_together():
    x = torch.ones(6, 5)
    tasks = (
        Task("one class", 0, Samples(x.clone(), torch.zeros(6).long()), None, (3,)),
        Task("one sample each", 1, Samples(torch.randn(2, 5, generator=rng()), torch.arange(2)), None, (0, 1)),
        Task("constant", 2, Samples(x.clone(), torch.arange(2).repeat(3)), None, (0, 1)),
        Task("one value", 3, Samples(x[:1].clone(), torch.ones(1, 1)), None, (), "regression"),
    )
    for weights in ("equal", "uncertainty"):
        assert all(map(finite, jointly(MultiTask(steps=30, weights=weights), tasks).best_models))
    assert jointly(MultiTask(), tasks, limit=0).units == 1


def test_a_wrong_number_of_weights_is_named():
    with pytest.raises(StrategyError, match="weights has 2 numbers; 3 tasks arrived together"):
        jointly(MultiTask(weights=(1.0, 2.0)))


def test_a_loss_that_is_not_finite_is_divergence():
    far = Task(
        "far away",
        1,
        Samples(3e38 * torch.randn(4, 5, generator=rng()).sign(), torch.arange(2).repeat(2)),
        None,
        (0, 1),
    )
    with pytest.raises(Diverged, match="'multitask' failed on task 'heaps 0, far away' in unit 1: the loss is"):
        jointly(MultiTask(), (THREE[0], far))


# One task at a time


def test_it_says_why_it_does_not_apply():
    task, strategy = THREE[0], MultiTask()
    assert "the store holds no encoder of tasks that were learned together" in strategy.applies(task, NOTHING)
    others = replace(NOTHING, sources=(source(made_by="scratch"),))
    assert "the store holds no encoder of tasks that were learned together" in strategy.applies(task, others)
    assert "inputs of shape (5,)" in strategy.applies(task, replace(NOTHING, others=3))
    assert strategy.applies(task, replace(NOTHING, sources=(source(),))) is None
    assert strategy.applies(task, replace(NOTHING, joint=("another", lambda: None))) is not None


def test_a_task_that_was_learned_with_others_is_given_its_model_at_once():
    model = Model(encoder(), LinearHead(16, 3, rng()))
    known = replace(NOTHING, joint=("multitask", model.copy), sources=(source(),))
    assert MultiTask().applies(THREE[0], known) is None
    assert MultiTask().sources(THREE[0], known) == ()
    (found,) = MultiTask().learn(THREE[0], known, rng())
    assert same(found, model)
    assert found is not model


def test_only_what_joint_training_left_is_a_source():
    mine, other = source("encoder-3"), source("encoder-2", "scratch")
    oldest = source("encoder-1")
    known = replace(NOTHING, sources=(other, mine, oldest))
    assert MultiTask().sources(THREE[0], known) == (mine, oldest)


def test_a_later_task_adds_a_head_and_may_leave_the_encoder():
    task = heaps((5, 6, 7))
    known = replace(NOTHING, sources=(source("encoder-1", seed=1), source("encoder-2", seed=2)), chosen="encoder-2")
    heads, frozen, trained = [], MultiTask(steps=20, later="frozen"), MultiTask(steps=20, head_first=0.5)
    for model in frozen.learn(task, known, rng()):
        assert same(model.encoder, encoder(2)), "the chosen one"
        heads.append(state(model.head)["weight"])
    assert len(heads) == 20
    assert not torch.equal(heads[0], heads[-1])
    kept = [same(model.encoder, encoder(2)) for model in trained.learn(task, known, rng())]
    assert kept == [True] * 10 + [False] * 10


@pytest.mark.parametrize("task", [heaps((5, 6, 7)), heaps((5,)), heaps((5, 6), n=1), values()])
@pytest.mark.parametrize("later", ["frozen", "fine-tune"])
def test_later_tasks_of_every_kind(task, later):
    arm = Arm(MultiTask(steps=10, later=later), task, replace(NOTHING, sources=(source(),)), seed=0)
    for _ in arm.run(math.inf):
        pass
    assert finite(arm.best)
    assert arm.best.head.outputs == task.outputs


# In an agent


def life(agent, tasks, together=2):
    """Let an agent meet tasks, the first ones together; return all that it told."""
    told = []
    for phase in (tasks[:together], *([task] for task in tasks[together:])):
        told += agent.learn_together(phase)
        for task in phase:
            profile = agent.profile(task)
            selecting = agent.select(task, profile)
            told += selecting
            choice = next(event for event in reversed(told) if type(event).__name__ == "Chosen")
            learning = agent.learn(task, choice)
            try:
                while True:
                    told.append(next(learning))
            except StopIteration as end:
                told.append(agent.remember(task, end.value))
    return told


def agent_with(**settings):
    short = {"scratch": {"steps": 40}, "multitask": {"steps": 40, "lr": 0.01, **settings}}
    made = AgentSettings(encoder_settings={"hidden": (256, 64)}, patience=1000)
    return LifelongAgent(KnowledgeStore.in_memory(), make_strategies(short), Fixed("multitask"), made)


def test_one_encoder_is_stored_for_all_and_later_tasks_add_to_it():
    agent = agent_with(later="frozen")
    tasks = [heaps((0, 1, 2)), heaps((3, 4), n=10, index=1), heaps((5, 6), index=2)]
    told = life(agent, tasks)
    (together,) = (event for event in told if isinstance(event, LearnedTogether) and event.strategy)
    assert (together.strategy, together.tasks) == ("multitask", (0, 1))
    assert together.units > 20
    encoders = agent.store.encoders()
    assert [(entry.id, entry.strategy) for entry in encoders] == [("encoder-1", "multitask")]
    assert [record.encoder for record in agent.store.tasks()] == ["encoder-1"] * 3
    assert [record.source for record in agent.store.tasks()] == [None, None, "encoder-1"]
    for task in tasks:
        given = agent.answer(task.support.x, task.label)
        assert float((given.log_probs.argmax(1) == task.support.y).float().mean()) > 0.8


def test_a_later_task_makes_a_new_version():
    agent = agent_with()
    life(agent, [heaps((0, 1, 2)), heaps((3, 4), index=1), heaps((5, 6), index=2)])
    assert [(entry.id, entry.parent) for entry in agent.store.encoders()] == [
        ("encoder-1", None),
        ("encoder-2", "encoder-1"),
    ]


def test_what_was_learned_together_is_paid_as_the_budgets_are():
    agent = agent_with()
    large, small = heaps((0, 1, 2)), heaps((3, 4), n=5, index=1)  # 48 and 8 samples to learn from: batches of 32 and 8
    told = life(agent, [large, small])
    (together,) = (event for event in told if isinstance(event, LearnedTogether))
    learned = [event for event in told if type(event).__name__ == "Learned"]
    assert sum(event.flops for event in learned) == pytest.approx(together.flops, rel=0.05)
    assert learned[0].flops > 3 * learned[1].flops
    assert [event.warnings for event in learned] == [(), ()], "nobody's budget is passed"


# Settings


@pytest.mark.parametrize("weights", [[1, 2, 0.5], "uncertainty", "equal"])
def test_weights_as_a_recipe_gives_them(weights):
    found = MultiTask(weights=weights).settings.weights
    assert found == (tuple(weights) if isinstance(weights, list) else weights)


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": "even"},
        {"weights": [1, -1]},
        {"weights": [0, 0]},
        {"weights": []},
        {"weights": [math.nan]},
        {"weights": [math.inf, 1]},
        {"head_first": 2},
        {"dwa_period": 0},
        {"dwa_temperature": 0.0},
        {"gradnorm_lr": 0.0},
        {"gradnorm_alpha": -1.0},
        {"surgery": "some"},
        {"later": "never"},
        {"lr": 0},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(RecipeError, match=next(iter(wrong))) as error:
        MultiTask(**wrong)
    assert "strategies.multitask" in str(error.value) or "lr" in wrong


def test_every_kind_of_weights_is_named():
    with pytest.raises(RecipeError) as error:
        MultiTask(weights="even")
    assert str(error.value) == (
        "strategies.multitask: weights: found 'even'; input should be 'equal', 'uncertainty', 'dwa' or 'gradnorm', "
        "or input should be a list."
    )
