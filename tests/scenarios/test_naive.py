"""`fixed:finetune` in place is Avalanche's multi-head `Naive`: the same matrix from the same beginning.

Both train one shared encoder and one head per task by plain gradient descent, task after task, over the same batches
in the same order; momentum and weight decay are off, since Avalanche's optimiser lives through all tasks and evermap's
strategies make a new one for each. The initial weights are the agent's: the encoder of its first model (`scratch`
stands in for the first task, where there is nothing to fine-tune yet) and the head it draws for every task. Avalanche's
heads are as wide as all classes with all but the task's masked, so a product of matrices of other shapes may round its
last bit in another way: one test sample may differ.

Compared is what is learned: rows from the task's own on. Before, Avalanche's head is untrained and the agent has none.
"""

import pytest
import torch

from evermap.agent.known import Known, Source
from evermap.agent.model import state
from evermap.scenarios.run import run
from evermap.scenarios.scenario import load_scenario
from evermap.streams.benchmark import to_benchmark
from evermap.streams.stream import build_stream

EPOCHS, BATCH, LR = 4, 32, 0.1
PER_CLASS = 80  # 2 x 80 samples are 5 batches
STEPS = EPOCHS * 5


@pytest.fixture
def recipe():
    training = [f"steps={STEPS}", f"batch_size={BATCH}", f"lr={LR}", "optimiser=sgd", "momentum=0.0"]
    training += ["weight_decay=0.0", "shuffle=false"]
    return load_scenario(
        "digits-split",
        [
            *(f"strategies.{name}.{each}" for name in ("scratch", "finetune") for each in training),
            "strategies.finetune.head_first=0.0",
            "agent.selector=fixed:finetune",
            "agent.sharing=in-place",
            "agent.stem=none",
            "agent.encoder=mlp",
            "agent.held_out=0.0",
            "agent.encoder_settings.hidden=[32, 16]",
            "budget.flops=1e15",
            "device=cpu",
            f"stream.train_per_class={PER_CLASS}",
        ],
    )


def test_finetuning_in_place_reproduces_naives_matrix(recipe, tmp_path, monkeypatch):
    begun = []

    def watched(function):
        def remembering(*args, **kwargs):
            model = function(*args, **kwargs)
            begun.append((state(model.encoder), state(model.head)))
            return model

        return remembering

    monkeypatch.setattr(Known, "fresh", watched(Known.fresh))
    monkeypatch.setattr(Source, "copy", watched(Source.copy))
    events = list(run(recipe, tmp_path))
    ours = [event.values for event in events if type(event).__name__ == "Evaluated"]
    learned = [event for event in events if type(event).__name__ == "Learned"]
    assert [(event.strategy, event.units) for event in learned] == [("scratch", STEPS), *[("finetune", STEPS)] * 4]
    assert len(begun) == 5

    stream = build_stream(recipe.stream, recipe.seed)
    theirs = naive(stream, begun)
    moved = 0
    for column, concept in enumerate(stream.concepts):
        samples = len(stream.test(column).y)
        for row in range(column, len(stream)):
            one, other = ours[row + 1][column], theirs[row][column]
            assert round(abs(one - other) * samples) <= 1, f"{concept.name} after task {row}: {one} and {other}"
            moved += one != ours[column + 1][column]
    assert min(theirs[i][i] for i in range(5)) > 0.8, "both learn"
    assert moved > 0, "the shared encoder changes, so that earlier tasks' answers do"


def test_the_competitor_naive_is_the_same_reference(recipe, tmp_path, monkeypatch):
    """`avalanche:Naive` from the same beginning gives the reference's matrix, on what was learned."""
    from avalanche.training.plugins import SupervisedPlugin

    from evermap.scenarios import contender as contenders
    from evermap.scenarios.scenario import Scenario

    stream = build_stream(recipe.stream, recipe.seed)
    begun = []

    class Beginning(SupervisedPlugin):
        """Notes the weights that every task begins with: of the encoder the first time, of the head every time."""

        def before_training_exp(self, strategy, **kwargs):
            task = strategy.experience.task_label
            layer, rows = strategy.model.heads.classifiers[str(task)].classifier, list(stream.task(task).classes)
            head = {"weight": layer.weight[rows].detach().clone(), "bias": layer.bias[rows].detach().clone()}
            begun.append((state(strategy.model.encoder), head))

    build = contenders.build

    def watched(name, arguments, materials):
        built = build(name, arguments, materials)
        built.strategy.plugins.append(Beginning())
        return built

    monkeypatch.setattr(contenders, "build", watched)
    text = f"avalanche:Naive(lr={LR}, optimiser='sgd', batch_size={BATCH}, epochs={EPOCHS}, shuffle=False)"
    data = recipe.model_dump(mode="json", exclude_none=True)
    data["agent"]["selector"] = text
    events = list(run(Scenario.model_validate(data), tmp_path))
    ours = [event.values for event in events if type(event).__name__ == "Evaluated"]
    assert [event.units for event in events if type(event).__name__ == "Learned"] == [STEPS] * 5
    theirs = naive(stream, begun)
    moved = 0
    for column, concept in enumerate(stream.concepts):
        samples = len(stream.test(column).y)
        for row in range(column, len(stream)):
            one, other = ours[row + 1][column], theirs[row][column]
            assert round(abs(one - other) * samples) <= 1, f"{concept.name} after task {row}: {one} and {other}"
            moved += one != ours[column + 1][column]
    assert min(theirs[i][i] for i in range(5)) > 0.8, "both learn"
    assert moved > 0, "earlier tasks' answers do change"


def naive(stream, begun):
    """Accuracies of Avalanche's multi-head Naive after every task, from the given encoder and heads."""
    from avalanche.evaluation.metrics import accuracy_metrics
    from avalanche.logging import BaseLogger
    from avalanche.models import MultiHeadClassifier, MultiTaskModule
    from avalanche.training import Naive
    from avalanche.training.plugins import EvaluationPlugin, SupervisedPlugin

    from evermap.agent.encoder import build_encoder

    class MultiHead(MultiTaskModule):
        def __init__(self):
            super().__init__()
            self.encoder = build_encoder("mlp", stream.input_shape, {"hidden": (32, 16)}, 0)
            self.encoder.load_state_dict(begun[0][0])
            self.heads = MultiHeadClassifier(16, initial_out_features=stream.n_classes)

        def forward(self, x, task_labels):
            return self.heads(self.encoder(x), task_labels)

    class OurHead(SupervisedPlugin):
        def before_training_exp(self, strategy, **kwargs):
            task = strategy.experience.task_label
            layer, given = strategy.model.heads.classifiers[str(task)].classifier, begun[task][1]
            rows = list(stream.task(task).classes)
            with torch.no_grad():
                layer.weight[rows], layer.bias[rows] = given["weight"], given["bias"]

    model = MultiHead()
    strategy = Naive(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=LR),
        train_mb_size=BATCH,
        train_epochs=EPOCHS,
        eval_mb_size=1024,
        plugins=[OurHead()],
        evaluator=EvaluationPlugin(accuracy_metrics(experience=True), loggers=[BaseLogger()]),
    )
    benchmark = to_benchmark(stream)
    rows = []
    for experience in benchmark.train_stream:
        strategy.train(experience, shuffle=False, eval_streams=[])
        found = strategy.eval(benchmark.test_stream)
        prefix = "Top1_Acc_Exp/eval_phase/test_stream"
        rows.append([found[f"{prefix}/Task{c:03d}/Exp{c:03d}"] for c in range(len(stream.concepts))])
    return rows
