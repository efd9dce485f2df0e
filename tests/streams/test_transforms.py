import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evermap.streams.seeds import generator
from evermap.streams.spec import Transforms
from evermap.streams.transforms import (
    Drawn,
    add_noise,
    apply,
    blur,
    colour,
    colours,
    invert,
    noisy_labels,
    permute,
    pixel_permutation,
    rotate,
)

L = torch.tensor([[[[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.5, 0.0]]]])


def image(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=generator(seed, "image"))


def test_a_quarter_turn_is_counter_clockwise_and_exact() -> None:
    # The upright of the L comes to lie at the bottom, its foot stands up at the right.
    turned = torch.tensor([[[[0.0, 0.0, 0.0], [0.0, 0.0, 0.5], [1.0, 1.0, 1.0]]]])
    assert torch.equal(rotate(L, 90), turned)
    assert torch.equal(rotate(L, -270), turned)
    assert torch.equal(rotate(rotate(L, 180), 180), L)


@pytest.mark.parametrize("quarter", [0, 90, 180, 270, -90])
def test_interpolated_and_exact_rotation_agree(quarter: int) -> None:
    x = image(1, 2, 3, 8, 8)
    # A 1e-3 degree aside the angle goes through interpolation, whose weights then hardly differ from 0 and 1;
    # the corners may lose what would come from outside.
    assert torch.allclose(rotate(x, quarter + 1e-3), rotate(x, quarter), atol=1e-3)


def test_rotation_by_45_degrees_moves_an_edge_pixel_to_a_corner_direction() -> None:
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 4, 7] = 1.0  # three to the right of the centre: after 45° about 2.12 right and 2.12 up
    y = rotate(x, 45)[0, 0]
    rows, columns = torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij")
    assert float((y * rows).sum() / y.sum()) == pytest.approx(4 - 3 / math.sqrt(2), abs=0.15)
    assert float((y * columns).sum() / y.sum()) == pytest.approx(4 + 3 / math.sqrt(2), abs=0.15)


def test_an_image_that_is_not_square_turns_by_pixels_not_by_its_sides() -> None:
    x = torch.zeros(1, 1, 5, 9)
    x[0, 0, 2, 6] = 1.0  # two to the right of the centre: after 90° two above it
    y = rotate(x, 90)
    assert y.shape == x.shape
    assert float(y[0, 0, 0, 4]) == pytest.approx(1.0, abs=1e-5)


def test_blur_against_a_plain_loop() -> None:
    x, sigma, radius = image(2, 2, 2, 5, 4), 0.6, 2
    weights = [math.exp(-0.5 * (d / sigma) ** 2) for d in range(-radius, radius + 1)]
    weights = [w / sum(weights) for w in weights]
    expected = torch.zeros_like(x)
    for n in range(2):
        for c in range(2):
            for i in range(5):
                for j in range(4):
                    for a in range(-radius, radius + 1):
                        for b in range(-radius, radius + 1):
                            near = x[n, c, min(max(i + a, 0), 4), min(max(j + b, 0), 3)]
                            expected[n, c, i, j] += weights[a + radius] * weights[b + radius] * near
    assert torch.allclose(blur(x, sigma), expected, atol=1e-6)


def test_blur_leaves_a_plain_area_as_it_is() -> None:
    assert torch.allclose(blur(torch.full((1, 1, 4, 4), 0.3), 2.0), torch.full((1, 1, 4, 4), 0.3))


def test_invert() -> None:
    assert invert(torch.tensor([0.0, 0.25, 1.0])).tolist() == [1.0, 0.75, 0.0]


def test_permute_golden_and_the_same_in_every_channel() -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]])
    y = permute(x, torch.tensor([2, 0, 3, 1]))
    assert y.tolist() == [[[[3.0, 1.0], [4.0, 2.0]], [[7.0, 5.0], [8.0, 6.0]]]]
    assert permute(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([1, 2, 0])).tolist() == [[2.0, 3.0, 1.0]]


@given(st.integers(0, 100), st.integers(1, 50))
def test_a_pixel_permutation_is_one_and_depends_on_seed_and_number(seed: int, number: int) -> None:
    drawn = pixel_permutation(seed, number, (3, 4, 5))
    assert drawn is not None
    assert sorted(drawn.tolist()) == list(range(20))
    again, other = pixel_permutation(seed, number, (3, 4, 5)), pixel_permutation(seed, number + 1, (3, 4, 5))
    assert again is not None
    assert other is not None
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, other)
    assert pixel_permutation(seed, 0, (3, 4, 5)) is None
    vector = pixel_permutation(seed, number, (7,))
    assert vector is not None
    assert len(vector) == 7


def test_noise_has_its_standard_deviation_and_stays_in_range() -> None:
    x = torch.full((200, 1, 8, 8), 0.5)
    noisy = add_noise(x, 0.05, generator(0, "noise"))
    assert float((noisy - x).std()) == pytest.approx(0.05, rel=0.05)
    strong = add_noise(x, 5.0, generator(0, "noise"))
    assert (float(strong.min()), float(strong.max())) == (0.0, 1.0)


@given(st.integers(1, 60), st.integers(2, 6), st.floats(0, 0.99), st.integers(0, 10**6))
def test_label_noise_replaces_the_stated_number_by_wrong_labels(n: int, outputs: int, share: float, seed: int) -> None:
    y = torch.arange(n) % outputs
    wrong = noisy_labels(y, share, outputs, generator(seed, "labels"))
    assert int((wrong != y).sum()) == round(share * n)
    assert 0 <= int(wrong.min()) <= int(wrong.max()) < outputs


def test_every_wrong_label_is_equally_likely() -> None:
    wrong = noisy_labels(torch.zeros(3000, dtype=torch.int64), 0.999, 4, generator(0, "labels"))
    counts = wrong.bincount(minlength=4).tolist()
    assert counts[0] == 3
    assert all(900 < each < 1100 for each in counts[1:])


def test_one_class_has_no_wrong_label() -> None:
    assert noisy_labels(torch.zeros(5, dtype=torch.int64), 0.9, 1, generator(0, "labels")).tolist() == [0] * 5


def test_all_together_are_applied_in_the_order_of_the_fields() -> None:
    x, rng = image(3, 4, 1, 8, 8), generator(0, "noise")
    what = Transforms(rotate=90, blur=0.5, invert=True, colour=2, permute=3, noise=0.1)
    permutation = pixel_permutation(0, 3, (1, 8, 8))
    assert permutation is not None
    pair = colours(0, 2)
    assert pair is not None
    by_hand = permute(colour(invert(blur(rotate(x, 90), 0.5)), pair), permutation)
    assert torch.equal(apply(x, what, Drawn(permutation, pair, rng)), add_noise(by_hand, 0.1, generator(0, "noise")))
    assert torch.equal(apply(x, Transforms(), Drawn(None, None, rng)), x)


def test_colour_puts_two_colours_for_dark_and_light() -> None:
    pair = torch.tensor([[0.0, 0.25, 1.0], [1.0, 0.75, 0.0]])
    x = torch.tensor([0.0, 1.0, 0.5]).reshape(3, 1, 1, 1)
    assert colour(x, pair)[:, :, 0, 0].tolist() == [[0.0, 0.25, 1.0], [1.0, 0.75, 0.0], [0.5, 0.5, 0.5]]
    assert torch.equal(colour(x.expand(3, 3, 1, 1), pair), colour(x, pair))


@given(st.integers(0, 10**6), st.integers(1, 50))
def test_colours_are_the_numbers_own_and_told_apart(seed: int, number: int) -> None:
    pair, again, other = colours(seed, number), colours(seed, number), colours(seed, number + 1)
    assert pair is not None
    assert again is not None
    assert other is not None
    assert torch.equal(pair, again)
    assert not torch.equal(pair, other)
    assert 0 <= float(pair.min()) <= float(pair.max()) <= 1
    assert float((pair[0] - pair[1]).abs().max()) > 0.6
    assert colours(seed, 0) is None


@given(
    st.builds(
        Transforms,
        rotate=st.floats(-400, 400),
        blur=st.sampled_from([0.0, 0.3, 2.0]),
        invert=st.booleans(),
        noise=st.sampled_from([0.0, 1.0]),
    )
)
def test_inputs_keep_shape_type_and_range_and_are_never_written_to(what: Transforms) -> None:
    x = image(4, 3, 2, 6, 6)
    before = x.clone()
    y = apply(x, what, Drawn(None, None, generator(0, "noise")))
    assert torch.equal(x, before)
    assert y.shape == x.shape
    assert y.dtype == torch.float32
    assert float(y.min()) >= 0
    assert float(y.max()) <= 1
