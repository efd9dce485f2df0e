import numpy as np
import pytest

from evermap.streams.hashed import keyed, mix, normal, uniform

MASK = 2**64 - 1


def plainly(key: int) -> int:
    """SplitMix64's finaliser in whole numbers, as it is published."""
    z = (key + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_mixing_is_splitmix64() -> None:
    keys = np.array([0, 1, 2**63, MASK], dtype=np.uint64)
    assert mix(keys).tolist() == [plainly(int(key)) for key in keys]
    # The first output of the published generator that starts at 0.
    assert plainly(0) == 0xE220A8397B1DCDAF


def test_a_number_depends_on_its_own_key_only() -> None:
    together = uniform(keyed(5, np.arange(100), 7), 3)
    alone = np.concatenate([uniform(keyed(5, np.array([i]), 7), 3) for i in range(100)])
    assert np.array_equal(together, alone)
    assert np.array_equal(uniform(keyed(5, 3), 8)[:, :2], uniform(keyed(5, 3), 2))


def test_seed_and_every_part_matter_and_their_order() -> None:
    keys = [keyed(0, 1, 2), keyed(1, 1, 2), keyed(0, 2, 1), keyed(0, 1), keyed(0, 1, 2, 0), keyed(0, 0, 1, 2)]
    assert len({int(key[0]) for key in keys}) == len(keys)


def test_parts_broadcast() -> None:
    grid = keyed(0, np.arange(3)[:, None], np.arange(4))
    assert grid.shape == (3, 4)
    assert grid[2, 1] == keyed(0, 2, 1)[0]


def test_numbers_are_uniform_and_normal() -> None:
    u, z = uniform(keyed(1, np.arange(20_000)), 2), normal(keyed(1, np.arange(20_000)), 2)
    assert (float(u.min()) >= 0, float(u.max()) < 1) == (True, True)
    assert u.mean(axis=0) == pytest.approx([0.5, 0.5], abs=0.01)
    assert u.var(axis=0) == pytest.approx([1 / 12, 1 / 12], rel=0.03)
    assert z.mean(axis=0) == pytest.approx([0, 0], abs=0.03)
    assert z.std(axis=0) == pytest.approx([1, 1], rel=0.03)
    assert abs(np.corrcoef(u.T)[0, 1]) < 0.03
    assert abs(np.corrcoef(z.T)[0, 1]) < 0.03
    assert np.isfinite(z).all()
