import inspect

import pytest
import torch

from evermap import registry
from evermap.agent.encoder import Encoder, build_encoder, restore_encoder
from evermap.agent.encoders.patches import CHUNK
from evermap.agent.model import state
from evermap.errors import RecipeError, UnknownName

ENCODERS = pytest.mark.parametrize("name", registry.registered("encoder"))
SHAPE = (1, 8, 8)


def images(n=6, shape=SHAPE, seed=0):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


def same(one, other):
    a, b = state(one), state(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@ENCODERS
def test_every_encoder_keeps_its_word(name):
    encoder = build_encoder(name, SHAPE, {}, 3)
    assert isinstance(encoder, Encoder)
    assert encoder.name == name
    assert inspect.getdoc(type(encoder))
    features = encoder.eval()(images())
    assert features.shape == (6, encoder.feature_size)
    assert torch.isfinite(features).all()
    assert bool(list(encoder.parameters())) == encoder.trainable
    assert encoder(images(0)).shape == (0, encoder.feature_size)


@ENCODERS
def test_the_seed_decides_the_weights(name):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, again, other = (build_encoder(name, SHAPE, {}, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(one, again)
    assert same(one, other) == (not state(one))


@ENCODERS
def test_what_is_restored_is_equal_bit_for_bit(name):
    encoder = build_encoder(name, SHAPE, {}, 3).eval()
    again = restore_encoder(encoder.spec, state(encoder)).eval()
    assert same(encoder, again)
    assert torch.equal(encoder(images()), again(images()))
    assert again.spec == encoder.spec
    assert all(p.requires_grad and not p.is_meta for p in again.parameters())


@ENCODERS
def test_a_sample_is_encoded_as_in_a_batch(name):
    encoder = build_encoder(name, SHAPE, {}, 3).train()  # also while training: nothing depends on the batch
    alone = torch.cat([encoder(each[None]) for each in images(30)])
    torch.testing.assert_close(alone, encoder(images(30)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["conv4", "patches"])
def test_vectors_are_no_images(name):
    with pytest.raises(RecipeError, match="needs images"):
        build_encoder(name, (64,), {}, 0)


def test_errors_name_what_is_valid():
    with pytest.raises(UnknownName, match="Did you mean mlp"):
        build_encoder("mpl", SHAPE, {}, 0)
    with pytest.raises(RecipeError, match=r"encoder mlp: width: .*hidden"):
        build_encoder("mlp", SHAPE, {"width": 3}, 0)
    for hidden in ((0,), (), (3, -1), ("many",)):
        with pytest.raises(RecipeError, match="hidden"):
            build_encoder("mlp", SHAPE, {"hidden": hidden}, 0)
    with pytest.raises(RecipeError, match="must divide filters = 10"):
        build_encoder("conv4", SHAPE, {"filters": 10}, 0)
    with pytest.raises(RecipeError, match="must fit into 8 x 8 pixels"):
        build_encoder("patches", SHAPE, {"size": 9}, 0)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 5), (1, 28, 28), (3, 17, 16)])
def test_conv4_takes_images_of_any_size(shape):
    encoder = build_encoder("conv4", shape, {"filters": 8, "groups": 4}, 0)
    assert encoder(images(2, shape)).shape == (2, encoder.feature_size)


def test_mlp_by_hand():
    encoder = build_encoder("mlp", (2,), {"hidden": (2, 1)}, 0)
    given = {"layers.1.weight": [[1.0, 1.0], [-1.0, 0.0]], "layers.1.bias": [0.0, 1.0]}
    given |= {"layers.3.weight": [[2.0, 3.0]], "layers.3.bias": [-1.0]}
    encoder.load_state_dict({name: torch.tensor(value) for name, value in given.items()})
    # (1, 2): hidden (3, 0) -> 6 − 1; (−1, 0): hidden (0, 2) -> 6 − 1; (0, 0): hidden (0, 1) -> 2; (1, −1): (0, 0) -> 0
    assert encoder(torch.tensor([[1.0, 2.0], [-1.0, 0.0], [0.0, 0.0], [1.0, -1.0]])).flatten().tolist() == [5, 5, 2, 0]


def test_patches_are_correlations_of_normalised_patches():
    encoder = build_encoder("patches", (1, 5, 6), {"filters": 4, "size": 3, "grid": 99, "threshold": 0.1}, 0)
    x, filters = images(2, (1, 5, 6)), encoder.filters
    torch.testing.assert_close(filters.mean(dim=1), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(filters.norm(dim=1), torch.ones(4))
    expected = torch.zeros(2, 8, 3, 4)
    for i in range(2):
        for row in range(3):
            for column in range(4):
                patch = x[i, 0, row : row + 3, column : column + 3].flatten()
                patch = patch - patch.mean()
                for f in range(4):
                    correlation = float(patch @ filters[f]) / float(patch @ patch + 1e-2) ** 0.5
                    expected[i, f, row, column] = max(0.0, correlation - 0.1)
                    expected[i, 4 + f, row, column] = max(0.0, -correlation - 0.1)
    torch.testing.assert_close(encoder(x), expected.flatten(1), rtol=1e-4, atol=1e-5)


def test_patches_can_be_taken_from_images():
    random = build_encoder("patches", SHAPE, {"filters": 8}, 0)
    one, again = (build_encoder("patches", SHAPE, {"filters": 8}, 0) for _ in range(2))
    for encoder in (one, again):
        encoder.fit(images(20), torch.Generator().manual_seed(1))
    assert same(one, again)
    assert not same(one, random)
    torch.testing.assert_close(one.filters.norm(dim=1), torch.ones(8))
    random.fit(torch.zeros(5, *SHAPE), torch.Generator().manual_seed(1))  # there is nothing to take
    assert torch.isfinite(random(images())).all()


def test_conv4_refuses_groups_of_one_value():
    with pytest.raises(RecipeError, match="groups"):
        build_encoder("conv4", (1, 8, 8), {"filters": 8, "groups": 8}, seed=0)
    assert build_encoder("conv4", (1, 32, 32), {"filters": 8, "groups": 8}, seed=0).feature_size == 8 * 4


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("mlp", {"hidden": (12, 10)}, ["layers.3.weight", "layers.3.bias"]),
        ("conv4", {"filters": 8, "groups": 2}, ["layers.12.weight", "layers.13.weight", "layers.13.bias"]),
        ("raw", {}, []),
    ],
)
def test_the_last_block_is_the_last_layer_with_its_normalisation(name, settings, expected):
    encoder = build_encoder(name, (1, 8, 8), settings, 0)
    names = {id(p): n for n, p in encoder.named_parameters()}
    assert [names[id(p)] for p in encoder.last_block()] == expected


def test_random_filters_can_be_smooth():
    white, smooth = (build_encoder("patches", (2, 9, 9), {"filters": 500, "smooth": s}, 0).filters for s in (0.0, 2.0))
    for filters in (white, smooth):
        torch.testing.assert_close(filters.mean(dim=1), torch.zeros(500), atol=1e-6, rtol=0)
        torch.testing.assert_close(filters.norm(dim=1), torch.ones(500))
    beside = []
    for filters in (white, smooth):
        square = filters.view(500, 2, 3, 3)
        beside.append(float((square[..., 1:] * square[..., :-1]).sum(dim=(1, 2, 3)).mean()))
    assert beside[0] < 0 < 0.2 < beside[1]


def test_patches_take_images_in_parts():
    encoder = build_encoder("patches", SHAPE, {"filters": 4}, 0)
    many = images(CHUNK + 3)
    torch.testing.assert_close(encoder(many)[-3:], encoder(many[-3:]), rtol=1e-5, atol=1e-5)
