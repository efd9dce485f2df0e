import copy

import pytest
import torch

from evermap.agent.delta import DeltaEncoder, bases, patched, stored_form
from evermap.agent.encoder import build_encoder, restore_encoder
from evermap.errors import StoreError

KINDS = ["low-rank", "bias"]
ENCODERS = [("mlp", (1, 8, 8), {"hidden": (12, 10)}), ("conv4", (1, 8, 8), {"filters": 8, "groups": 2})]


def trained(base, kind, rank=3):
    """A delta whose every number has moved."""
    made = DeltaEncoder(base, kind, rank, torch.Generator().manual_seed(1))
    made.requires_grad_(True)
    with torch.no_grad():
        for number, parameter in enumerate(p for p in made.parameters() if p.requires_grad):
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "shape", "settings"), ENCODERS)
def test_it_starts_as_its_base_and_reads_back_to_the_same_bits(name, shape, settings, kind):
    base = build_encoder(name, shape, settings, 0)
    x = torch.rand(7, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        at_first = DeltaEncoder(copy.deepcopy(base), kind, 3, torch.Generator().manual_seed(1))
        assert torch.equal(at_first(x), base(x))
        moved = trained(copy.deepcopy(base), kind)
        assert not torch.allclose(moved(x), base(x))
        read = restore_encoder(moved.spec, patched(base.state_dict(), moved.difference()))
        assert torch.equal(read(x), moved(x))
        assert torch.equal(restore_encoder(moved.spec, moved.whole())(x), moved(x))


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_delta_is_ever_trained(kind):
    made = DeltaEncoder(build_encoder("mlp", (4,), {"hidden": (6, 5)}, 0), kind, 2, torch.Generator().manual_seed(0))
    made.requires_grad_(True)
    assert not any(p.requires_grad for p in made.base.parameters())
    trains = sum(p.numel() for p in made.parameters() if p.requires_grad)
    assert trains == {"low-rank": 2 * (4 + 6) + 2 * (6 + 5), "bias": 6 + 5}[kind]
    made(torch.rand(3, 4)).sum().backward()
    assert all(p.grad is not None for p in made.parameters() if p.requires_grad)
    made.requires_grad_(False)
    assert not any(p.requires_grad for p in made.parameters())


def test_a_low_rank_update_by_hand():
    weights = {"w": torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), "b": torch.tensor([1.0])}
    change = {"w.down": torch.tensor([[1.0, 0.0, -1.0]]), "w.up": torch.tensor([[2.0], [10.0]])}
    made = patched(weights, change)
    assert made["w"].tolist() == [[3.0, 2.0, 1.0], [14.0, 5.0, -4.0]]
    assert made["b"] is weights["b"]
    assert weights["w"][0, 0] == 1.0, "what is given stays as it was"


def test_the_rank_is_at_most_that_of_the_weight():
    made = DeltaEncoder(build_encoder("mlp", (4,), {"hidden": (2,)}, 0), "low-rank", 50, torch.Generator())
    assert {n: tuple(t.shape) for n, t in made.difference().items()} == {
        "layers.1.weight.down": (2, 4),
        "layers.1.weight.up": (2, 2),
    }


@pytest.mark.parametrize(
    "change",
    [
        {"v": torch.zeros(2, 3)},
        {"w": torch.zeros(3, 2)},
        {"w.down": torch.zeros(1, 3)},
        {"w.down": torch.zeros(1, 4), "w.up": torch.zeros(2, 1)},
        {"w.down": torch.zeros(2, 3), "w.up": torch.zeros(2, 1)},
    ],
)
def test_a_delta_that_does_not_fit_is_refused(change):
    with pytest.raises(StoreError, match="does not fit the encoder"):
        patched({"w": torch.zeros(2, 3)}, change)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_stored_depends_on_whether_the_parent_is_there(kind):
    made = trained(build_encoder("mlp", (4,), {"hidden": (6,)}, 0), kind)
    on_parent, alone = stored_form(made, True), stored_form(made, False)
    assert on_parent[0] == kind
    assert on_parent[1].keys() == made.difference().keys()
    assert alone[0] == "whole"
    assert all(torch.equal(t, alone[1][n]) for n, t in made.whole().items())
    plain = build_encoder("mlp", (4,), {"hidden": (6,)}, 0)
    assert stored_form(plain, True)[0] == "whole"


def test_what_a_kind_changes():
    conv = build_encoder("conv4", (1, 8, 8), {"filters": 8, "groups": 2}, 0)
    assert len(bases(conv, "low-rank")) == 4, "kernels"
    assert len(bases(conv, "bias")) == 4, "those of the group norms: the kernels have none"
    assert bases(build_encoder("raw", (4,), {}, 0), "bias") == ()
