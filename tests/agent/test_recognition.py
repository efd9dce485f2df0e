"""When a stored model is taken for a task's own, and what is probed for it."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from evermap.agent.agent_settings import AgentSettings
from evermap.agent.budget import Ledger
from evermap.agent.encoder import build_encoder
from evermap.agent.entries import TaskRecord
from evermap.agent.events import ProbeScore
from evermap.agent.known import Known, Source
from evermap.agent.layout import MOST_CANDIDATES, Joint, Layout
from evermap.agent.model import LinearHead, Model
from evermap.agent.recognition import luck_of
from evermap.agent.recognition import recognised as recognised_in
from evermap.agent.selector import Option
from evermap.streams.task import Samples, Task


def task(n=40, label=None, index=20):
    y = torch.arange(n) % 2
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(0)) + 2.0 * torch.eye(4)[y]
    return Task("t", index, Samples(x, y), None, (0, 1), label=label)


def source(number, label=None, heads=1, samples=None):
    records = tuple(
        TaskRecord(
            number,
            "old",
            label,
            (0, 1),
            "classification",
            f"encoder-{number}",
            f"head-{number}",
            "scratch",
            outcome={} if samples is None else {"samples": samples},
        )
        for _ in range(heads)
    )
    raw = build_encoder("raw", (4,), {}, 0)
    return Source(f"encoder-{number}", True, None, records, lambda: raw, lambda _: Model(raw, LinearHead(4, 2)))


def recognised(agreement, bound, n=40, heads=1, label=None, own=None, samples=None):
    known = Known((source(1, own, heads, samples),), (), 0, {})
    score = ProbeScore("encoder-1", 0.1, 0.9, 0.9, reuse=agreement, ridge=0.9, samples=n, heads=heads, reuse_task=1)
    option = Option("reuse", "encoder-1")
    bench = SimpleNamespace(known=known, whole=task(n, label))
    return recognised_in(task(n, label), [option], bench, {"encoder-1": score}, bound) == option


def test_a_stored_model_must_agree_as_well_as_a_new_head():
    assert recognised(0.9, 0.9)
    assert not recognised(0.85, 0.9)
    assert not recognised(0.9, 0.9, n=20), "on few samples by a standard error better"
    assert recognised(1.0, 0.9, n=20)


@pytest.mark.parametrize("n", [2, 9])
def test_on_very_few_samples_nothing_is_recognised(n):
    assert not recognised(1.0, 0.0, n=n)
    assert recognised(1.0, 0.0, n=10)


def test_the_bar_grows_with_the_number_of_stored_models():
    assert recognised(0.86, 0.8, heads=1)
    assert not recognised(0.86, 0.8, heads=60)
    assert recognised(0.98, 0.8, heads=60)
    assert luck_of(1) == pytest.approx(0.0)
    assert luck_of(2) < luck_of(10) < luck_of(100) < 3


def test_a_model_of_the_very_task_needs_less():
    assert not recognised(0.85, 0.9, label=3, own=None)
    assert not recognised(0.85, 0.9, label=3, own=4)
    assert recognised(0.85, 0.9, label=3, own=3)
    assert not recognised(0.7, 0.9, label=3, own=3), "a new head that is better by two standard errors replaces it"


def test_a_model_of_the_very_task_from_fewer_samples_is_not_taken():
    assert recognised(0.95, 0.9, n=40, label=3, own=3, samples=40)
    assert not recognised(1.0, 0.9, n=40, label=3, own=3, samples=39)
    assert recognised(1.0, 0.9, n=40, label=3, own=4, samples=39), "of another task nobody knows"


def probed(sources, joint=(), label=None, samples=30):
    """Which stored encoders a layout scores."""
    made = {s.id: int(s.id.rpartition("-")[2]) for s in sources}
    fixed = (replace(source(0), id="raw", stored=False), replace(source(0), id="random", stored=False))
    known = Known(tuple(sources), fixed, 0, {})
    library = SimpleNamespace(
        made_at=made.__getitem__,
        ranked=lambda known, scores: replace(
            known, sources=tuple(replace(s, score=scores.get(s.id)) for s in known.sources)
        ),
    )
    layout = Layout(library, {}, AgentSettings())
    layout.joint.update({i: Joint("multitask", None, 0.0, 0.0) for i in joint})
    found, _ = layout._probed(task(samples, label), known, Ledger(1e9))
    return [s.id for s in found.sources if s.score is not None]


def test_the_newest_encoders_are_probed_and_those_of_the_very_task_always():
    many = [source(i, label=i, heads=0 if i else 1) for i in range(14, -1, -1)]
    assert probed(many) == [f"encoder-{i}" for i in range(14, 14 - MOST_CANDIDATES, -1)]
    own = probed(many, label=0)
    assert own == [*(f"encoder-{i}" for i in range(14, 14 - MOST_CANDIDATES + 1, -1)), "encoder-0"]


def test_encoders_that_were_learned_together_with_the_task_are_not_probed():
    many = [source(i, heads=0) for i in (19, 18, 3)]
    assert probed(many, joint=(18, 19, 20)) == ["encoder-3"]
    assert probed(many, joint=(18, 19)) == ["encoder-19", "encoder-18", "encoder-3"], "the task itself was not"
