"""evermap's agent in a plain Avalanche script: the benchmark, the loop, the measures and the loggers are Avalanche's.

python -P examples/avalanche_script.py
"""

import torch
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset

from evermap.agent.agent import LifelongAgent
from evermap.agent.agent_settings import AgentSettings
from evermap.agent.selector import make_selector
from evermap.agent.store import KnowledgeStore
from evermap.agent.strategy import make_strategies
from evermap.scenarios.baselines_agent import AgentStrategy

from avalanche.benchmarks import benchmark_from_datasets  # isort: skip  # after evermap, which mends its import
from avalanche.benchmarks.utils import AvalancheDataset  # isort: skip
from avalanche.benchmarks.utils.data_attribute import DataAttribute  # isort: skip
from avalanche.evaluation.metrics import accuracy_metrics, forgetting_metrics  # isort: skip
from avalanche.logging import BaseLogger  # isort: skip
from avalanche.training.plugins import EvaluationPlugin  # isort: skip


def dataset(x: torch.Tensor, y: torch.Tensor) -> AvalancheDataset:
    return AvalancheDataset([TensorDataset(x, y)], data_attributes=[DataAttribute(y.tolist(), "targets")])


def benchmark(classes_per_task: int = 2, tasks: int = 5):
    """Digits in pairs, class-incremental; every third sample is for testing."""
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(labels)
    parts = {"train": [], "test": []}
    for t in range(tasks):
        mine = torch.isin(y, torch.arange(t * classes_per_task, (t + 1) * classes_per_task))
        held = torch.arange(len(y)) % 3 == 0
        parts["train"].append(dataset(x[mine & ~held], y[mine & ~held]))
        parts["test"].append(dataset(x[mine & held], y[mine & held]))
    return benchmark_from_datasets(**parts)


def main(tasks: int = 5) -> dict[str, float]:
    torch.set_num_threads(1)
    strategies = make_strategies({})
    agent = LifelongAgent(
        KnowledgeStore.in_memory(),
        strategies,
        make_selector("probe", strategies),
        AgentSettings(gate=True, anchor="patches", seed=0),
    )
    measures = EvaluationPlugin(
        accuracy_metrics(experience=True, stream=True), forgetting_metrics(stream=True), loggers=[BaseLogger()]
    )
    strategy = AgentStrategy(agent=agent, n_classes=2 * tasks, evaluator=measures)
    stream, found = benchmark(tasks=tasks), {}
    for experience in stream.train_stream:
        strategy.train(experience, eval_streams=[])
        found = strategy.eval(stream.test_stream)
    for event in strategy.events:
        if type(event).__name__ == "Learned":
            print(f"experience {event.task + 1}: {event.strategy}, {event.total_flops:.3g} FLOP")
    return found


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name} = {value:.3f}")
