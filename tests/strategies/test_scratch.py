import torch

from evermap.agent.known import Known
from evermap.agent.model import state
from evermap.strategies.scratch import Scratch
from evermap.streams.task import Samples, Task

TASK = Task("t", 0, Samples(torch.eye(4), torch.tensor([0, 1, 0, 1])), None, (3, 5))
NOTHING = Known((), (), 0, {"name": "mlp", "settings": {"hidden": (6,)}})


def learned(seed):
    *_, last = Scratch(steps=5).learn(TASK, NOTHING, torch.Generator().manual_seed(seed))
    return state(last)


def test_it_trains_a_network_of_the_agents_architecture():
    first = next(Scratch().learn(TASK, NOTHING, torch.Generator()))
    assert first.encoder.spec == {"name": "mlp", "input_shape": [4], "settings": {"hidden": (6,)}}
    assert first.head.outputs == 2


def test_the_generator_decides_everything():
    torch.manual_seed(1)
    one = learned(0)
    torch.manual_seed(2)
    again, other = learned(0), learned(1)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_it_needs_and_looks_at_nothing():
    assert not Scratch.uses_knowledge
    assert Scratch().applies(TASK, NOTHING) is None
    assert list(Scratch().sources(TASK, NOTHING)) == []
    assert Scratch(steps=7).units(TASK) == 7
