import pytest

from evermap.scenarios.costs import (
    bytes_per_task,
    flops_per_task,
    model_size_efficiency,
    peak_per_task,
    seconds_per_task,
    selection_share,
)


def test_costs_by_hand():
    assert flops_per_task([2e9, 4e9]).value == 3e9
    assert selection_share([2e8, 4e8], [2e9, 4e9]).value == pytest.approx(0.1)
    assert seconds_per_task([1.0, 2.0]).value == 1.5
    assert bytes_per_task([100, 300, 600]).value == 200
    assert peak_per_task([3e8, 5e8]).value == 4e8
    assert peak_per_task([]).reason == "the record does not have it"
    # (1 + 1/3 + 1/6) / 3
    assert model_size_efficiency([100, 300, 600]).value == pytest.approx(0.5)
    assert model_size_efficiency([100, 50]).value == 1.0  # at most 1


def test_where_nothing_was_learned_there_is_no_cost():
    for measure in (flops_per_task([]), seconds_per_task([]), bytes_per_task([]), model_size_efficiency([])):
        assert (measure.value, measure.reason) == (None, "nothing was learned yet")
    assert selection_share([], []).reason == "nothing was spent yet"
    assert model_size_efficiency([0, 5]).reason == "nothing was kept after some task"
