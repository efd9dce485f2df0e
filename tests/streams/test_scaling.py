import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evermap.errors import RecipeError
from evermap.streams import scaling
from evermap.streams.source import SourceData
from evermap.streams.spec import stream_spec
from evermap.streams.stream import Stream

CELLS = st.lists(st.lists(st.floats(-100, 100, width=32) | st.just(math.nan), min_size=2, max_size=2), min_size=2)


@given(CELLS, st.integers(1, 5))
def test_it_is_what_plain_loops_give(rows: list[list[float]], train: int) -> None:
    x = torch.tensor(rows)
    found = scaling.fit(x, (1,), torch.arange(min(train, len(rows))))
    seen = [row[1] for row in rows[:train] if not math.isnan(row[1])]
    mean = sum(seen) / len(seen) if seen else 0.0
    sd = math.sqrt(sum((v - mean) ** 2 for v in seen) / len(seen)) if seen else 0.0
    scaled = found.apply(x)
    for before, after in zip(rows, scaled.tolist(), strict=True):
        assert after[0] == before[0] or math.isnan(before[0])
        if math.isnan(before[1]):
            assert after[1] == 0.0
        elif sd > 1e-6:
            assert after[1] == pytest.approx((before[1] - mean) / sd, rel=1e-4, abs=1e-5)


def test_values_to_be_predicted_are_never_taken_for_classes() -> None:
    x = torch.arange(40.0)[:, None]
    data = SourceData(x, torch.arange(40) % 2, ("f", "g"), "table", targets=3 * x, numbers=(0,))
    stream = Stream(stream_spec(layout="split", classes_per_task=1), 0, data)
    assert [(task.kind, task.classes) for task in stream] == [("regression", ())] * 2
    for task in stream:
        assert sorted(set(task.support.y.flatten().tolist())) == sorted(task.support.y.flatten().tolist())
        slopes = task.support.y.diff(dim=0) / task.support.x.diff(dim=0)  # targets stay, inputs are standardised
        torch.testing.assert_close(slopes, slopes[:1].expand_as(slopes), rtol=1e-4, atol=0)
    with pytest.raises(
        RecipeError, match=r"stream\.setting: found 'class-incremental'; functions are task-incremental"
    ):
        Stream(stream_spec(layout="split", classes_per_task=1, setting="class-incremental"), 0, data)


def test_a_constant_column_is_zero_and_a_test_value_cannot_explode() -> None:
    x = torch.tensor([[0.1], [0.1], [0.3]])
    found = scaling.fit(x, (0,), torch.tensor([0, 1]))
    torch.testing.assert_close(found.apply(x), torch.tensor([[0.0], [0.0], [0.2]]))


def table(outlier: float) -> Stream:
    """Two classes of ten rows; the second column is a mark that is no number; the last row is for testing."""
    x = torch.arange(20.0)[:, None].repeat(1, 2)
    x[19, 0] = outlier
    parts = torch.arange(18), torch.arange(18, 20)
    y = torch.arange(20) % 2
    data = SourceData(x, y, ("a", "b"), "table", parts, numbers=(0,))
    return Stream(stream_spec(layout="split"), 0, data)


def test_a_stream_scales_by_its_training_samples_alone() -> None:
    near, far = table(0.0), table(1e6)
    assert torch.equal(near.task(0).support.x, far.task(0).support.x)  # nothing of a test sample is in them
    scaled = near.task(0).support.x[:, 0].double()
    assert abs(float(scaled.mean())) < 1e-6
    assert float(scaled.square().mean()) == pytest.approx(1)
    assert sorted(near.task(0).support.x[:, 1].tolist()) == list(range(18))
    expected = (1e6 - 8.5) / math.sqrt(sum((i - 8.5) ** 2 for i in range(18)) / 18)
    assert float(far.test(0).x[:, 0].max()) == pytest.approx(expected, rel=1e-5)
    assert near.data_hash != far.data_hash
