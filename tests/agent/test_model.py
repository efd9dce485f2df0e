import pytest
import torch

from evermap.agent.encoder import build_encoder
from evermap.agent.model import LinearHead, Model, PrototypeHead, finite, restore_head, state
from evermap.errors import StoreError
from evermap.streams.task import Samples, Task


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


FEATURES = torch.randn(7, 4, generator=rng())
HEADS = {
    "linear": lambda: LinearHead(4, 3, rng(1)),
    "prototypes": lambda: PrototypeHead(torch.randn(3, 4, generator=rng(2))),
}
BOTH = pytest.mark.parametrize("kind", HEADS)


def test_a_linear_head_by_hand():
    head = LinearHead(2, 2)
    assert head(torch.ones(1, 2)).tolist() == [[0.0, 0.0]]
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 2.0], [0.0, -1.0]]))
        head.bias.copy_(torch.tensor([0.5, 0.0]))
    assert head(torch.tensor([[3.0, 4.0]])).tolist() == [[11.5, -4.0]]


def test_a_prototype_head_orders_by_distance():
    head = HEADS["prototypes"]()
    distance = torch.cdist(FEATURES, head.prototypes) ** 2
    torch.testing.assert_close(head(FEATURES).log_softmax(1), (-distance).log_softmax(1), rtol=1e-4, atol=1e-4)


@BOTH
def test_outputs_can_be_put_into_another_order(kind):
    head = HEADS[kind]()
    head.temperature.fill_(2.5)
    for order in ([2, 0, 1], [1], [0, 0, 2]):
        picked = head.select(order)
        assert picked.outputs == len(order)
        assert torch.equal(picked(FEATURES), head(FEATURES)[:, order])
        assert picked.temperature.item() == 2.5


@BOTH
def test_what_is_restored_is_equal_bit_for_bit(kind):
    head = HEADS[kind]()
    head.temperature.fill_(0.3)
    again = restore_head(head.kind, state(head))
    assert again.kind == head.kind == kind
    assert torch.equal(again(FEATURES), head(FEATURES))
    assert torch.equal(again.temperature, head.temperature)


def test_an_unknown_kind_of_head():
    with pytest.raises(StoreError, match="'magic' cannot be restored: valid are linear, prototypes and cosine"):
        restore_head("magic", {})


def test_the_generator_decides_a_heads_weights():
    one, again, other = LinearHead(4, 3, rng(1)), LinearHead(4, 3, rng(1)), LinearHead(4, 3, rng(2))
    assert torch.equal(one.weight, again.weight)
    assert not torch.equal(one.weight, other.weight)
    assert one.weight.abs().max() <= 0.5, "within ±1/√features"


def model():
    encoder = build_encoder("mlp", (5,), {"hidden": (4,)}, 0)
    return Model(encoder, LinearHead(4, 3, rng()))


def shares_memory(one, other):
    places = {t.data_ptr() for t in one.state_dict().values()}
    return any(t.data_ptr() in places for t in other.state_dict().values())


def test_a_copy_shares_nothing():
    first = model()
    second = first.copy()
    assert not shares_memory(first, second)
    x = torch.randn(2, 5, generator=rng())
    assert torch.equal(first(x), second(x))


def test_a_copy_with_a_new_head():
    y = torch.zeros(2, dtype=torch.int64)
    task = Task("t", 0, Samples(torch.zeros(2, 5), y), None, tuple(range(6)))
    first = model()
    for second in (first.copy(head_for=task), first.copy(head_for=task, rng=rng(3))):
        assert second.head.outputs == 6
        assert not shares_memory(first, second)
        assert torch.equal(second.encoder(torch.ones(1, 5)), first.encoder(torch.ones(1, 5)))


def test_state_is_detached_and_its_own():
    first = model()
    kept = state(first)
    with torch.no_grad():
        first.head.bias += 1
    assert not kept["head.bias"].requires_grad
    assert not torch.equal(kept["head.bias"], first.head.bias)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", ["encoder.layers.1.weight", "head.bias", "head.temperature"])
def test_finite_looks_at_every_weight(value, place):
    first = model()
    assert finite(first)
    first.state_dict()[place].view(-1)[-1] = value
    assert not finite(first)
