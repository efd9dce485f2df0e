import gc
import math
import time
import tracemalloc

import pytest
import torch

from evermap.errors import RecipeError
from evermap.streams.glyphs import POINTS, SIDE, Glyphs, ink
from evermap.streams.source import make_source
from evermap.streams.spec import stream_spec
from evermap.streams.stream import Stream, build_stream

SMALL = Glyphs(alphabets=3, characters=5, samples=6)


def test_sizes_are_known_without_drawing() -> None:
    data = SMALL.load(None)
    assert data.sizes == SMALL.sizes(None)
    assert data.sizes.samples == (6,) * 15
    assert data.sizes.families == (5, 5, 5)
    assert data.classes[6] == "alphabet 1/character 1"
    assert data.x.shape == (90, 1, SIDE, SIDE)
    assert data.y.tolist() == [k for k in range(15) for _ in range(6)]


def test_a_drawing_is_the_same_bits_whatever_is_drawn_beside_it() -> None:
    data = Glyphs(samples=7).load(None)
    index = torch.randperm(7000, generator=torch.Generator().manual_seed(0))[:700]
    together = data.take(index)
    for part in (slice(0, 1), slice(3, 5), slice(100, 117), slice(200, 700)):
        assert torch.equal(data.take(index[part]), together[part])
    assert data.take(index[:0]).shape == (0, 1, SIDE, SIDE)


def test_an_alphabet_is_the_same_however_many_there_are_and_another_seed_gives_others() -> None:
    # class k has its first drawing at k × samples
    few, many = SMALL.load(None), Glyphs(alphabets=50, characters=5, samples=9).load(None)
    assert torch.equal(few.take(torch.tensor([7 * 6])), many.take(torch.tensor([7 * 9])))
    other = Glyphs(alphabets=3, characters=5, samples=6, seed=1).load(None)
    assert not torch.equal(few.x, other.x)
    assert few.sha256() != other.sha256()
    assert few.sha256() == Glyphs(alphabets=3, characters=5, samples=6).load(None).sha256()


def test_drawings_differ_by_jitter_alone() -> None:
    still = Glyphs(alphabets=1, characters=4, samples=3, jitter=0.0).load(None).x.reshape(4, 3, -1)
    assert torch.equal(still[:, 0], still[:, 1])
    moved = Glyphs(alphabets=1, characters=4, samples=30).load(None).x.flatten(1)
    assert len(moved.unique(dim=0)) == 120


def test_every_character_has_ink_in_the_middle_of_its_picture() -> None:
    x = Glyphs(alphabets=20, characters=10, samples=2).load(None).x
    share = x.mean(dim=(1, 2, 3))
    assert 0.03 < float(share.min()) < float(share.max()) < 0.4
    assert float(x.amax(dim=(1, 2, 3)).min()) > 0.9
    border = torch.cat([x[:, :, [0, -1]].flatten(1), x[:, :, :, [0, -1]].flatten(1)], dim=1)
    assert float(border.mean()) < 0.02


def test_characters_can_be_told_apart_better_across_alphabets_than_within() -> None:
    data = Glyphs(alphabets=30, characters=20, samples=15)
    shots = {}
    for one_family in (True, False):
        fields = {"source": "glyphs", "source_settings": {"alphabets": 30, "characters": 20, "samples": 15}}
        spec = stream_spec(layout="few-shot", tasks=60, ways=5, shots=5, query=5, one_family=one_family, **fields)
        stream, right = build_stream(spec, 0), 0
        for task in stream:
            assert task.query is not None
            means = torch.stack([task.support.x[task.support.y == c].mean(0).flatten() for c in range(5)])
            right += int((torch.cdist(task.query.x.flatten(1), means).argmin(1) == task.query.y).sum())
        shots[one_family] = right / (60 * 25)
    assert data.sizes(None).families == (20,) * 30
    assert 0.6 < shots[True] < shots[False] < 0.9


def test_ink_is_the_sum_of_round_spots_along_the_curve() -> None:
    """A plain loop beside the matrix products."""
    rng = torch.Generator().manual_seed(3)
    controls = 4 + 20 * torch.rand(2, 4, 4, 2, generator=rng)
    used = torch.tensor([[True, True, False, False], [True, True, True, True]])
    width = torch.tensor([0.8, 1.1])
    for n in range(2):
        picture = [[0.0] * SIDE for _ in range(SIDE)]
        for s in range(4):
            for p in range(POINTS):
                t = (p + 0.5) / POINTS
                a, b, c, d = controls[n, s].tolist()
                at = [
                    (1 - t) ** 3 * a[i] + 3 * t * (1 - t) ** 2 * b[i] + 3 * t * t * (1 - t) * c[i] + t**3 * d[i]
                    for i in range(2)
                ]
                way = [
                    3 * ((1 - t) ** 2 * (b[i] - a[i]) + 2 * t * (1 - t) * (c[i] - b[i]) + t * t * (d[i] - c[i]))
                    for i in range(2)
                ]
                weight = math.hypot(*way) / POINTS if used[n, s] else 0.0
                for row in range(SIDE):
                    for column in range(SIDE):
                        squared = (at[0] - column) ** 2 + (at[1] - row) ** 2
                        picture[row][column] += weight * math.exp(-squared / (2 * float(width[n]) ** 2))
        line = torch.tensor(picture) / (float(width[n]) * math.sqrt(2 * math.pi))
        drawn = ink(controls[n : n + 1], used[n : n + 1], width[n : n + 1])[0]
        assert torch.allclose(drawn, (1.6 * line - 0.25).clamp(0, 1), atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"alphabets": 0}, "alphabets must be at least 1"),
        ({"jitter": 9.0}, "jitter must be between 0 and 3"),
        ({"seed": -1}, "seed must be between"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        make_source("glyphs", settings, "my.toml")


def long_stream() -> Stream:
    settings = {"alphabets": 100, "samples": 20}
    spec = stream_spec(
        layout="few-shot", tasks=1000, ways=5, shots=1, query=5, source="glyphs", source_settings=settings
    )
    return build_stream(spec, 0)


def test_memory_does_not_grow_with_the_tasks_that_passed() -> None:
    stream = long_stream()
    for i in range(20):
        stream.task(i)
    tracemalloc.start()
    try:
        stream.task(20)
        gc.collect()
        early = tracemalloc.get_traced_memory()[0]
        for i in range(21, 200):
            stream.task(i)
        gc.collect()
        late = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert late - early < 30_000  # the tensors of one task take more than 90 kB


@pytest.mark.slow
def test_a_thousand_tasks_and_their_tests_take_less_than_a_minute() -> None:
    began = time.process_time()
    stream = long_stream()
    for i in range(1000):
        stream.task(i)
        stream.test(i)
    assert time.process_time() - began < 60
