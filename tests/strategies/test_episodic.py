import numpy as np
import pytest
import torch

from evermap.strategies.episodic import episode_loss, rotated_episodes_loss, similarity

DISTANCES = ["euclidean", "cosine"]


def features(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def log_loss(support, y, queries, y_query, classes, distance):
    """Snell 2017, Algorithm 1, one sample at a time."""
    prototypes = []
    for c in range(classes):
        own = [support[i] for i in range(len(y)) if y[i] == c]
        prototypes.append(sum(own) / len(own))
    total = 0.0
    for query, label in zip(queries, y_query, strict=True):
        if distance == "euclidean":
            logits = [-sum((query[j] - p[j]) ** 2 for j in range(len(p))) for p in prototypes]
        else:
            logits = [10 * float(query @ p) / (float(query @ query) * float(p @ p)) ** 0.5 for p in prototypes]
        total += np.log(sum(np.exp(logit) for logit in logits)) - logits[label]
    return total / len(queries)


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_loss_of_an_episode_is_the_plain_loop(distance):
    support, queries = features(11, 4), features(7, 4, seed=1)
    y, y_query = np.array([0, 1, 2] * 3 + [2, 2]), np.array([0, 1, 2, 2, 1, 0, 1])
    given = [torch.tensor(each) for each in (support, y, queries, y_query)]
    expected = log_loss(support, y, queries, y_query, 3, distance)
    assert episode_loss(*given, 3, distance).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("shots", [1, 2, 4])
def test_rotations_are_the_mean_of_their_episodes(distance, shots):
    classes, samples = 3, 5
    x, losses = features(classes, samples, 4), []
    for first in range(samples):
        taken = [(first + i) % samples for i in range(shots)]
        others = [i for i in range(samples) if i not in taken]
        support, queries = x[:, taken].reshape(-1, 4), x[:, others].reshape(-1, 4)
        y, y_query = np.repeat(np.arange(classes), shots), np.repeat(np.arange(classes), samples - shots)
        losses.append(log_loss(support, y, queries, y_query, classes, distance))
    found = rotated_episodes_loss(torch.tensor(x), shots, distance)
    assert found.item() == pytest.approx(sum(losses) / samples, rel=1e-12)


@pytest.mark.parametrize("distance", DISTANCES)
def test_gradients_are_right(distance):
    x = torch.tensor(features(3, 4, 2), requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: rotated_episodes_loss(f, 2, distance), (x,))
    support, queries = (torch.tensor(features(6, 2, seed=s), requires_grad=True) for s in (1, 2))
    y = torch.arange(6) % 3
    assert torch.autograd.gradcheck(lambda s, q: episode_loss(s, y, q, y, 3, distance), (support, queries))


def test_the_nearest_prototype_is_the_most_similar():
    prototypes = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    queries = torch.tensor([[0.6, 0.8], [2.0, 0.1]])
    assert similarity(queries, prototypes).argmax(dim=1).tolist() == [0, 0]
    assert similarity(queries, prototypes, "cosine").argmax(dim=1).tolist() == [1, 0]


def test_a_class_without_support_is_never_answered():
    support, y = torch.zeros(2, 3), torch.tensor([0, 2])
    loss = episode_loss(support, y, torch.ones(2, 3), y, 3)
    assert loss.item() == pytest.approx(np.log(2))


@pytest.mark.parametrize("shots", [0, 4, -1])
def test_an_episode_needs_support_and_queries(shots):
    with pytest.raises(ValueError, match=f"{shots} shots of 4 samples leave no support or no query"):
        rotated_episodes_loss(torch.zeros(2, 4, 3), shots)
