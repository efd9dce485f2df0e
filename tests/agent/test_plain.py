import json

import pytest
import torch

from evermap import registry
from evermap.agent.encoder import build_encoder
from evermap.agent.model import CosineHead, LinearHead, Model, PrototypeHead
from evermap.agent.plain import carried_out, written_out
from evermap.errors import StoreError

SHAPE = (2, 8, 8)


def linear(size):
    return LinearHead(size, 3, torch.Generator().manual_seed(1))


def prototypes(size):
    return PrototypeHead(torch.rand(3, size, generator=torch.Generator().manual_seed(1)))


def cosine(size):
    return CosineHead(prototypes(size).prototypes * torch.tensor([1.0, 1.0, 0.0])[:, None])


@pytest.mark.parametrize("head", [linear, prototypes, cosine])
@pytest.mark.parametrize("stem", [False, True])
@pytest.mark.parametrize("name", sorted(name for name in registry.registered("encoder") if name != "patches"))
def test_plain_calls_give_what_the_model_gives(name, stem, head):
    front = build_encoder("patches", SHAPE, {"filters": 4}, 5) if stem else None
    shape = (front.feature_size,) if front is not None else SHAPE
    if name in ("conv4", "resnet18") and stem:
        pytest.skip(f"{name} takes images")
    if name == "text" and not stem:
        pytest.skip("text takes vectors")
    encoder = build_encoder(name, shape, {}, 3)
    model = Model(encoder, head(encoder.feature_size))
    model.head.temperature.fill_(1.7)
    steps, weights = written_out(front, model, SHAPE)
    x = torch.rand(7, *SHAPE, generator=torch.Generator().manual_seed(2))
    expected = model(front(x) if front is not None else x) / 1.7
    steps = json.loads(json.dumps(steps))
    assert torch.allclose(carried_out(steps, weights, x), expected, atol=1e-5)
    # Every number that it needs is among the weights.
    assert not torch.allclose(
        carried_out(steps, {k: w + 1 if w.is_floating_point() else w for k, w in weights.items()}, x),
        expected,
        atol=1e-2,
    )


def test_what_no_list_of_calls_can_say_is_refused():
    encoder = build_encoder("raw", SHAPE, {}, 0)
    encoder.forward = lambda x: x.flatten(1) if x.sum() > 0 else -x.flatten(1)
    with pytest.raises(StoreError, match="The encoder 'raw' cannot be written as plain torch calls"):
        written_out(None, Model(encoder, linear(encoder.feature_size)), SHAPE)
