import pytest
import torch

from evermap.strategies.step_sizes import equal_sizes, size_at

PARAMETERS = {"w": torch.zeros(3, 2), "b": torch.zeros(3, dtype=torch.float64)}


@pytest.mark.parametrize(
    ("kind", "shapes"),
    [("fixed", {}), ("layer", {"w": (1,), "b": (1,)}), ("layer-step", {"w": (4,), "b": (4,)}),
     ("weight", {"w": (1, 3, 2), "b": (1, 3)})],
)  # fmt: skip
def test_they_begin_equal_one_for_each_of_what_learns(kind, shapes):
    sizes = equal_sizes(kind, PARAMETERS, 4, 0.5)
    assert {n: tuple(t.shape) for n, t in sizes.items()} == shapes
    assert all(bool((t == 0.5).all()) and t.dtype == PARAMETERS[n].dtype for n, t in sizes.items())


def test_every_step_has_its_row_and_later_ones_the_last():
    sizes = {"w": torch.tensor([1.0, 2.0, 3.0])}
    assert [float(size_at(sizes, "w", k)) for k in (0, 1, 2, 3, 50)] == [1, 2, 3, 3, 3]
    assert size_at(0.1, "w", 7) == 0.1
