"""`--fail-if`."""

import pytest

from evermap.errors import UserError
from evermap.scenarios.condition import condition

AGENTS = ("auto", "fixed:finetune", "fixed:linear-probe", "avalanche:Replay(mem_size=500)", 'a "b" <c>')
MEASURES = ("accuracy", "forgetting", "backward_transfer", "bytes_kept")
MEANS = {
    "auto": {"accuracy": {"mean": 0.80}, "forgetting": {"mean": 0.1}, "bytes_kept": {"mean": 2000.0}},
    "fixed:finetune": {"accuracy": {"mean": 0.82}, "forgetting": {"mean": None, "note": "only one task was learned"}},
    "fixed:linear-probe": {"accuracy": {"mean": 0.5}},
    "avalanche:Replay(mem_size=500)": {"accuracy": {"mean": 0.9}, "backward_transfer": {"mean": -0.2}},
    'a "b" <c>': {"accuracy": {"mean": 0.25}},
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("auto.accuracy < fixed:finetune.accuracy - 0.01", True),
        ("auto.accuracy < fixed:finetune.accuracy-0.03", False),
        ("auto.accuracy<fixed:finetune.accuracy", True),
        ("auto.accuracy >= 0.8", True),
        ("auto.accuracy != .8", False),
        ("auto.accuracy == 8e-1", True),
        ("fixed:linear-probe.accuracy <= 1 - 0.5", True),
        ("'avalanche:Replay(mem_size=500)'.accuracy > auto.accuracy * 2", False),
        ('"avalanche:Replay(mem_size=500)".bwt < -0.1', True),
        ("""'a "b" <c>'.accuracy == 0.25""", True),
        ("2 - 1 - 1 == 0", True),
        ("2 - (1 - 1) == 2", True),
        ("1 + 2 * 3 == 7", True),
        ("8 / 2 / 2 == 2", True),
        ("-auto.forgetting < 0", True),
        ("auto.bytes / 1000 > 1.5", True),
    ],
)
def test_conditions(text, holds):
    assert condition(text, AGENTS, MEASURES).holds(MEANS, "demo") is holds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("auto.accuracy", "one of <=, >=, ==, !=, <, > is needed at the end"),
        ("auto.accuracy < ", "a number or AGENT.MEASURE is needed at the end"),
        ("auto.accuracy < 1 2", "nothing more is expected at '2'"),
        ("auto.accuracy < 1 < 2", "nothing more is expected at '< 2'"),
        ("auto.accuracy < (1", "a closing parenthesis is needed at the end"),
        ("< 1", "a number or AGENT.MEASURE is needed at '< 1'"),
        ("", "a number or AGENT.MEASURE is needed at the end"),
        ("auto < 1", "'auto < 1' cannot be read (names with other signs go in quotes)"),
        ("atuo.accuracy < 1", "there is no agent 'atuo'; did you mean auto? Known: auto, fixed:finetune"),
        ("auto.acuracy < 1", "there is no measure 'acuracy'; did you mean accuracy? Known: accuracy, forgetting"),
        ("avalanche:Replay(mem_size=500).accuracy < 1", "cannot be read"),
        ("__import__('os').system < 1", "cannot be read"),
    ],
)
def test_what_cannot_be_understood(text, said):
    with pytest.raises(UserError) as caught:
        condition(text, AGENTS, MEASURES)
    assert str(caught.value).startswith(f'--fail-if "{text}": ')
    assert said in str(caught.value)


def test_what_is_not_known_is_neither_true_nor_false():
    unknown = condition("fixed:finetune.forgetting > 0.5", AGENTS, MEASURES)
    with pytest.raises(UserError, match=r"cannot be decided on demo: fixed:finetune.forgetting is n/a \(only one task"):
        unknown.holds(MEANS, "demo")
    with pytest.raises(UserError, match=r"auto.accuracy is n/a \(no run of it is finished\)"):
        condition("auto.accuracy < 1", AGENTS, MEASURES).holds({}, "demo")
    with pytest.raises(UserError, match="divides by zero on demo"):
        condition("1 / (auto.accuracy - auto.accuracy) < 1", AGENTS, MEASURES).holds(MEANS, "demo")
