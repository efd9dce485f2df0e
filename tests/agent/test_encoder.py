import inspect

import pytest
import torch

from evermap import registry
from evermap.agent.budget import counted
from evermap.agent.encoder import Encoder, build_encoder, restore_encoder
from evermap.agent.encoders.patches import CHUNK
from evermap.agent.model import state
from evermap.errors import RecipeError, UnknownName

ENCODERS = pytest.mark.parametrize("name", registry.registered("encoder"))
SHAPE = (1, 8, 8)
VECTORS = ("text",)  # what takes vectors only


def shape_of(name):
    return (64,) if name in VECTORS else SHAPE


def images(n=6, shape=SHAPE, seed=0):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


def same(one, other):
    a, b = state(one), state(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@ENCODERS
def test_every_encoder_keeps_its_word(name):
    encoder = build_encoder(name, shape_of(name), {}, 3)
    assert isinstance(encoder, Encoder)
    assert encoder.name == name
    assert inspect.getdoc(type(encoder))
    features = encoder.eval()(images(shape=shape_of(name)))
    assert features.shape == (6, encoder.feature_size)
    assert torch.isfinite(features).all()
    assert bool(list(encoder.parameters())) == encoder.trainable
    assert encoder(images(0, shape_of(name))).shape == (0, encoder.feature_size)


@ENCODERS
def test_the_seed_decides_the_weights(name):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, again, other = (build_encoder(name, shape_of(name), {}, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(one, again)
    assert same(one, other) == (not state(one))


@ENCODERS
def test_what_is_restored_is_equal_bit_for_bit(name):
    encoder = build_encoder(name, shape_of(name), {}, 3).eval()
    again = restore_encoder(encoder.spec, state(encoder)).eval()
    assert same(encoder, again)
    assert torch.equal(encoder(images(shape=shape_of(name))), again(images(shape=shape_of(name))))
    assert again.spec == encoder.spec
    assert all(p.requires_grad and not p.is_meta for p in again.parameters())


@ENCODERS
def test_a_sample_is_encoded_as_in_a_batch(name):
    encoder = build_encoder(name, shape_of(name), {}, 3).train()  # also while training: nothing depends on the batch
    x = images(30, shape_of(name))
    alone = torch.cat([encoder(each[None]) for each in x])
    torch.testing.assert_close(alone, encoder(x), rtol=1e-5, atol=1e-5)


@ENCODERS
def test_it_says_what_it_takes(name):
    """Parameters, bytes as the store keeps them, and FLOPs, which grow with the number of samples and nothing else."""
    encoder = build_encoder(name, shape_of(name), {}, 3).eval()
    cost, tensors = encoder.cost, state(encoder)
    assert (cost.parameters > 0) == encoder.trainable
    assert cost.bytes == sum(len(t.numpy().tobytes()) for t in tensors.values())
    assert counted(lambda: encoder(images(7, shape_of(name))))[1] == 7 * cost.flops
    assert type(encoder).costs(), "there is a shape of input to list it for"


@pytest.mark.parametrize("name", ["conv4", "resnet18", "patches"])
def test_vectors_are_no_images(name):
    with pytest.raises(RecipeError, match="needs images"):
        build_encoder(name, (64,), {}, 0)


def test_errors_name_what_is_valid():
    with pytest.raises(UnknownName, match="Did you mean mlp"):
        build_encoder("mpl", SHAPE, {}, 0)
    with pytest.raises(RecipeError, match=r"encoder mlp: width: .*hidden"):
        build_encoder("mlp", SHAPE, {"width": 3}, 0)
    with pytest.raises(RecipeError, match=r"encoder text: input_shape: .*needs vectors"):
        build_encoder("text", SHAPE, {}, 0)
    with pytest.raises(RecipeError, match="must divide width = 10"):
        build_encoder("resnet18", SHAPE, {"width": 10}, 0)
    with pytest.raises(RecipeError, match=r"conv4: down: .*'pool' or 'stride'"):
        build_encoder("conv4", SHAPE, {"down": "none"}, 0)
    for name, settings in (("text", {"width": 0}), ("text", {"hidden": (8, 0)}), ("resnet18", {"width": 0})):
        with pytest.raises(RecipeError, match="must be greater than 0"):
            build_encoder(name, shape_of(name), settings, 0)
    for hidden in ((0,), (), (3, -1), ("many",)):
        with pytest.raises(RecipeError, match="hidden"):
            build_encoder("mlp", SHAPE, {"hidden": hidden}, 0)
    with pytest.raises(RecipeError, match="must divide filters = 10"):
        build_encoder("conv4", SHAPE, {"filters": 10}, 0)
    with pytest.raises(RecipeError, match="must fit into 8 x 8 pixels"):
        build_encoder("patches", SHAPE, {"size": 9}, 0)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 5), (1, 28, 28), (3, 17, 16)])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("conv4", {"filters": 8, "groups": 4}),
        ("conv4", {"filters": 8, "groups": 4, "down": "stride"}),
        ("resnet18", {"width": 4, "groups": 2}),
    ],
)
def test_networks_for_images_take_them_at_any_size(name, settings, shape):
    encoder = build_encoder(name, shape, settings, 0)
    features = encoder(images(2, shape))
    assert features.shape == (2, encoder.feature_size)
    assert not torch.equal(*features), "two images are told apart"


def test_strides_halve_as_pooling_does_at_a_quarter_of_the_price():
    pool, stride = (build_encoder("conv4", (1, 28, 28), {"down": down}, 0) for down in ("pool", "stride"))
    assert pool.feature_size == 64 * 1 * 1  # 28, 14, 7, 3, 1
    assert stride.feature_size == 64 * 2 * 2  # 28, 14, 7, 4, 2
    assert pool.cost.parameters == stride.cost.parameters == 9 * 64 + 3 * 9 * 64 * 64 + 4 * 2 * 64
    # Two FLOPs for each weight at each place: 28², 14², 7² and 3² places, against 14², 7², 4² and 2².
    assert pool.cost.flops == 2 * 9 * 64 * (784 + 64 * (196 + 49 + 9))
    assert stride.cost.flops == 2 * 9 * 64 * (196 + 64 * (49 + 16 + 4))


def test_eighteen_layers_and_shortcuts():
    """Where a block's own path gives nothing, what comes in goes out, through ReLU."""
    encoder = build_encoder("resnet18", (1, 8, 8), {"width": 4, "groups": 2}, 0)
    convolutions = [m for m in encoder.modules() if isinstance(m, torch.nn.Conv2d)]
    assert sum(m.kernel_size == (3, 3) for m in convolutions) == 17  # the eighteenth layer is the head
    assert sum(m.kernel_size == (1, 1) for m in convolutions) == 3, "shortcuts where the image is halved"
    block = encoder.layers[3]
    torch.nn.init.zeros_(block.path[-1].weight)  # the last norm's gain
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(x), x.relu())
    widths = [encoder.layers[i](torch.zeros(1, 4, 8, 8)).shape[1:] for i in (3, 4)]
    assert widths == [(4, 8, 8), (4, 8, 8)]
    assert encoder.layers[5](torch.zeros(1, 4, 8, 8)).shape == (1, 8, 4, 4)


def test_a_text_is_the_rectified_sum_of_its_embeddings():
    encoder = build_encoder("text", (5,), {"width": 3}, 0)
    table = encoder.bag.weight.T  # an embedding per bucket, (5, 3)
    counts = torch.tensor([[2.0, 0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    bag = torch.nn.functional.embedding_bag(torch.tensor([[0, 0, 3]]), table, mode="sum")
    torch.testing.assert_close(encoder(counts), torch.cat([bag.relu(), torch.zeros(1, 3)]))
    deeper = build_encoder("text", (5,), {"width": 3, "hidden": (7, 2)}, 0)
    assert deeper(counts).shape == (2, deeper.feature_size) == (2, 2)


def test_a_text_of_unit_length_has_features_of_order_one():
    encoder = build_encoder("text", (4096,), {}, 0)
    x = torch.nn.functional.normalize(images(50, (4096,)) * (images(50, (4096,), 1) < 0.01), dim=1)
    assert 0.9 < encoder(x).square().mean() * 2 < 1.1  # ReLU lets half of the unit variance through


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
    for settings in ({}, {"down": "stride"}):
        with pytest.raises(RecipeError, match="groups"):
            build_encoder("conv4", (1, 8, 8), {"filters": 8, "groups": 8, **settings}, seed=0)
    with pytest.raises(RecipeError, match="groups"):
        build_encoder("resnet18", (1, 1, 1), {"width": 8, "groups": 8}, seed=0)
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
