import itertools

import pytest
import torch

from evermap.agent.anchor import CHUNK, FEW, MANY, Anchor
from evermap.agent.encoder import build_encoder
from evermap.agent.moments import Moments, lda, nearest_mean, ridge_from
from evermap.errors import StoreError


def anchor_of(d=3, name="raw", **settings):
    return Anchor(build_encoder(name, (d,), settings, 0))


def heaps(per_class, classes=3, d=3, seed=0):
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(classes).repeat_interleave(per_class)
    centres = 3 * torch.randn(classes, d, generator=rng)
    return centres[y] + torch.randn(len(y), d, generator=rng), y * 10 + 2  # global ids need not follow one another


@pytest.mark.parametrize("per_class", [2, 20, 60])
def test_the_order_of_samples_does_not_matter(per_class):
    x, y = heaps(per_class)
    asked = torch.randn(10, 3, generator=torch.Generator().manual_seed(1))
    answers = []
    for order in itertools.permutations(range(3)):
        anchor = anchor_of()
        for c in order:
            mine = y == c * 10 + 2
            anchor.add(x[mine], y[mine])
            anchor.log_probs(asked)  # being asked in between changes nothing
        assert anchor.classes == (2, 12, 22)
        answers.append(anchor.log_probs(asked))
    mixed = anchor_of()
    for i in torch.randperm(len(y), generator=torch.Generator().manual_seed(3)):
        mixed.add(x[i : i + 1], y[i : i + 1])
    for other in [*answers[1:], mixed.log_probs(asked)]:
        torch.testing.assert_close(other, answers[0], rtol=1e-5, atol=1e-5)


def test_few_samples_are_answered_by_the_nearest_mean():
    x, y = heaps(FEW)
    anchor = anchor_of()
    anchor.add(x, y)
    means = torch.stack([x[y == c].mean(dim=0) for c in anchor.classes])
    asked = 3 * torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(anchor.log_probs(asked).argmax(dim=1), torch.cdist(asked, means).argmin(dim=1))


@pytest.mark.parametrize(
    ("per_class", "classifier"),
    [(1, nearest_mean), (FEW, nearest_mean), (FEW + 1, lda), (MANY, lda), (MANY + 1, ridge_from), (200, ridge_from)],
)
def test_the_classifier_follows_the_samples_per_class(per_class, classifier):
    x, y = heaps(per_class)
    anchor = anchor_of()
    anchor.add(x, y)
    weight, bias = classifier(Moments.of(x, (y - 2) // 10, 3))
    asked = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    expected = (asked.double() @ weight.T + bias).log_softmax(dim=1).float()
    torch.testing.assert_close(anchor.log_probs(asked), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("per_class", [1, 9, 50])
def test_a_restored_anchor_answers_with_the_same_bits(per_class):
    x, y = heaps(per_class)
    anchor, again = anchor_of(name="random", features=20), anchor_of(name="random", features=20)
    anchor.add(x, y)
    again.restore(anchor.state())
    assert torch.equal(again.log_probs(x), anchor.log_probs(x))
    again.add(x[:2], y[:2])
    anchor.add(x[:2], y[:2])
    assert torch.equal(again.log_probs(x), anchor.log_probs(x))


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (torch.ones(1, 3), [4]),  # one sample
        (torch.ones(2, 3), [4, 5]),  # one of each class, in the same place
        (torch.eye(3)[:2], [4, 5]),  # one of each class
        (torch.ones(20, 3), [4] * 10 + [5] * 10),  # constant inputs
        (torch.zeros(20, 3), [4] * 20),  # one class, nothing in it
        (torch.full((4, 3), 1e-9), [4, 4, 5, 5]),
        (torch.randn(12, 3, generator=torch.Generator().manual_seed(0)) * 1e6, [4] * 6 + [5] * 6),
    ],
)
def test_answers_are_finite_whatever_was_seen(x, y):
    anchor = anchor_of()
    anchor.add(x, torch.tensor(y))
    said = anchor.log_probs(torch.cat([x, torch.randn(4, 3), torch.zeros(1, 3)]))
    assert not said.isnan().any()
    torch.testing.assert_close(said.exp().sum(dim=1), torch.ones(len(said)))


def test_one_sample_of_each_class_answers_for_itself():
    anchor = anchor_of()
    anchor.add(torch.eye(3), torch.tensor([7, 1, 4]))
    assert anchor.classes == (1, 4, 7)
    assert anchor.log_probs(torch.eye(3)).argmax(dim=1).tolist() == [2, 0, 1]


def test_the_encoder_is_frozen():
    anchor = anchor_of(name="mlp", hidden=(5,))
    assert not any(p.requires_grad for p in anchor.encoder.parameters())
    assert not anchor.encoder.training


def test_chunks_of_samples_do_not_matter():
    rng = torch.Generator().manual_seed(0)
    x, y = torch.rand(2 * CHUNK + 7, 3, generator=rng), torch.randint(5, (2 * CHUNK + 7,), generator=rng) * 3
    at_once, in_parts = anchor_of(), anchor_of()
    at_once.add(x, y)
    for part in torch.arange(len(y)).flip(0).split(100):
        in_parts.add(x[part], y[part])
    assert at_once.classes == in_parts.classes == (0, 3, 6, 9, 12)
    assert at_once.state()["counts"].tolist() == [int((y == c).sum()) for c in at_once.classes]
    for name, kept in at_once.state().items():
        assert torch.allclose(kept, in_parts.state()[name], rtol=1e-6)
    assert torch.allclose(at_once.log_probs(x[:50]), in_parts.log_probs(x[:50]), atol=1e-4)


def test_of_the_second_moment_half_is_stored():
    x, y = heaps(9)
    anchor = anchor_of()
    anchor.add(x, y)
    assert anchor.state()["second"].shape == (6,)
    assert anchor.state()["second"][:3].tolist() == anchor.moments.second[0].tolist()


def test_other_statistics_are_refused():
    anchor = anchor_of()
    with pytest.raises(StoreError, match="counts, sums, not those of this version"):
        anchor.restore({"counts": torch.ones(1), "sums": torch.ones(1, 3)})
