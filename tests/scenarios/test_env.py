import sys
import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from evermap.agent.features import FEATURES
from evermap.errors import RecordError, UserError
from evermap.scenarios.arm_table import ANSWERS, ARMS, AnswerLine, ArmLine, Facts, append, read_table
from evermap.scenarios.env import ID, StreamEnv, reward_terms
from evermap.scenarios.env_replay import recorded
from evermap.scenarios.oracle import COMPUTE, MEMORY
from evermap.scenarios.regret import looking_on
from evermap.scenarios.run import run
from evermap.scenarios.scenario import load_scenario

TINY = """
description = "Three pairs of digits, and the first again."
device = "cpu"
[stream]
layout = "tasks"
test_per_class = 10
[agent]
selector = "fixed:finetune"
encoder_settings = { hidden = [4] }
anchor_features = 8
[budget]
scratch = 8.0
[strategies.scratch]
steps = 4
[strategies.finetune]
steps = 4
[strategies.distill]
steps = 4
[[stream.tasks]]
name = "0 or 1"
classes = [0, 1]
train = 12
[[stream.tasks]]
name = "2 or 3"
classes = [2, 3]
train = 12
[[stream.tasks]]
name = "0 or 1 again"
returns = "0 or 1"
train = 12
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(TINY)
    return str(path)


@pytest.fixture(scope="module")
def table(tiny, tmp_path_factory):
    """A recorded table of the stream of seed 5."""
    out = tmp_path_factory.mktemp("recorded") / "run"
    list(run(load_scenario(tiny, ["seed=5"]), out, loop=looking_on(out, 8)))
    return out


def made_up(folder, tasks=3, **changes):
    """A table whose every number is known: strategy a of task t has accuracy .1 (t + a)."""
    features = dict.fromkeys(FEATURES, 0.25)
    for t in range(tasks):
        facts = Facts(t, f"task {t}", tasks, False, features, {"mine": t > 0, "scratch": True}, 100.0, 10.0, 1000)
        arms = [ArmLine(facts, "scratch", None, False, 0, 0.1 * t, 0.1, 0.1, 0, None, None, 50.0, 0.0, 500)]
        if t:
            arms.append(ArmLine(facts, "mine", "encoder-9", True, 1, 0.9, 0.9, 0.9, 0, None, None, 1.0, 0.0, 0))
            arms.append(ArmLine(facts, "mine", "encoder-1", True, 0, 0.1 * (t + 1), 0, 0, 0, None, None, 20.0, 0.0, 0))
        append(folder / ARMS, [ArmLine(**{**vars(arm), **changes}) for arm in arms])
        append(folder / ANSWERS, [AnswerLine(t, "scratch", None, 0.1, 0.1, 0.1, 50.0, 0.0, 500)])
    return folder


# Gymnasium's own checks


@pytest.mark.parametrize("kind", ["live", "replay"])
def test_gymnasium_finds_nothing_wrong(kind, tiny, table):
    given = {"scenario": tiny, "seeds": [1, 2]} if kind == "live" else {"tables": [str(table)]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = gym.make(f"evermap.scenarios.env:{ID}", **given)
        check_env(made.unwrapped)


def test_the_module_registers_the_environment():
    assert gym.spec(ID).entry_point == "evermap.scenarios.env:StreamEnv"


# What is seen


def test_observations_are_profiles_and_the_mask_says_what_applies(tiny):
    env = StreamEnv(tiny)
    seen, info = env.reset(seed=3)
    assert seen.shape == (len(FEATURES),)
    assert env.observation_space.contains(seen)
    applies = {name for name, open_to in zip(env.actions, info["action_mask"], strict=True) if open_to}
    assert applies == {"prototype", "scratch"}, "the store is empty"
    _, reward, over, cut, info = env.step(env.actions.index("finetune"))
    assert info["strategy"] == "scratch", "it stands in"
    assert (over, cut) == (False, False)
    terms = info["accuracy"] - info["compute"] - info["memory"] - info["forgetting"]
    assert reward == pytest.approx(terms)
    assert "finetune" in {n for n, open_to in zip(env.actions, info["action_mask"], strict=True) if open_to}
    for _ in range(2):
        seen, _, over, _, info = env.step(env.actions.index("prototype"))
    assert over
    assert not seen.any()
    assert info["task"] == -1
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)


def test_a_returning_task_looks_like_what_was_measured_on_it(table):
    """No number of the profile tells that task 2 is task 0 again, but those that its samples give."""
    from evermap.scenarios.record import read_record

    arms = read_table(table).arms
    names = {e["task"]: e["name"] for e in read_record(table).events if e["event"] == "TaskStarted"}
    assert names[2] == "0 or 1 again"
    assert set(arms[2][0].facts.features) == set(FEATURES)
    assert arms[0][0].facts.features["samples"] == arms[2][0].facts.features["samples"]


def test_a_seed_decides_everything(tiny):
    told = []
    for seed in (7, 7, 8):
        env = StreamEnv(tiny)
        seen, _ = env.reset(seed=seed)
        one = env.step(env.actions.index("scratch"))
        told.append((seen.tolist(), one[0].tolist(), one[1]))
    assert told[0] == told[1]
    assert told[0] != told[2]


# The two backends


@pytest.mark.parametrize("first", ["scratch", "prototype", "reuse"])
def test_the_first_task_gives_the_same_in_both(first, tiny, table):
    """The store is empty in both: every action gives the same reward, also one that does not apply."""
    live, replay = StreamEnv(tiny, seeds=[5]), StreamEnv(tables=[table])
    (seen, info), (again, told) = live.reset(seed=0), replay.reset(seed=0)
    assert seen == pytest.approx(again)
    assert info["action_mask"].tolist() == told["action_mask"].tolist()
    one, other = (env.step(env.actions.index(first)) for env in (live, replay))
    assert one[1] == other[1]
    for term in ("accuracy", "compute", "memory", "forgetting", "strategy", "flops", "bytes"):
        assert one[4][term] == other[4][term], term


def test_who_does_what_the_recorded_agent_did_gets_the_same_throughout(tiny, table):
    did = [answer.strategy for _, answer in sorted(read_table(table).answers.items())]
    assert did == ["scratch", "finetune", "finetune"]
    live, replay = StreamEnv(tiny, seeds=[5]), StreamEnv(tables=[table])
    live.reset(seed=0), replay.reset(seed=0)
    for strategy in did:
        one, other = (env.step(env.actions.index(strategy)) for env in (live, replay))
        assert one[0] == pytest.approx(other[0])
        assert one[1] == other[1]
        assert one[2] == other[2]


def test_golden_rewards_of_a_replay(tmp_path):
    env = StreamEnv(tables=[made_up(tmp_path)])
    assert env.actions == ("mine", "scratch")
    _, info = env.reset(seed=0)
    assert info["action_mask"].tolist() == [0, 1]
    _, reward, _, _, info = env.step(0)  # does not apply: scratch, 0 - .02 · 50/100 - .01 · 500/1000
    assert reward == pytest.approx(-0.015)
    assert info["strategy"] == "scratch"
    _, reward, _, _, info = env.step(0)  # the source that is ranked first, not the better one: .2 - .02 · 20/100
    assert reward == pytest.approx(0.196)
    assert info["strategy"] == "mine"
    _, reward, over, _, _ = env.step(1)
    assert reward == pytest.approx(0.2 - 0.015)
    assert over


def test_what_failed_is_replaced_as_in_learning_by_prototypes_first(tmp_path):
    mask = {"maml": False, "mine": True, "prototype": True, "scratch": True}
    facts = Facts(0, "task", 1, False, dict.fromkeys(FEATURES, 0.25), mask, 100.0, 10.0, 1000)
    arms = [ArmLine(facts, name, None, False, 0, 0.5, 0.5, 0.5, flops=50.0) for name in ("prototype", "scratch")]
    append(tmp_path / ARMS, [ArmLine(facts, "mine", None, False, 0, failed="it diverged"), *arms])
    append(tmp_path / ANSWERS, [AnswerLine(0, "scratch", None, 0.5, 0.5, 0.5, 50.0, 0.0, 0)])
    table = recorded([tmp_path])
    assert [table.actions[a] for a in table.taken[0, 0]] == ["scratch", "prototype", "prototype", "scratch"]


def test_reward_terms():
    found = reward_terms(0.9, 50.0, 100, 0.05, 200.0, 1000, COMPUTE, MEMORY)
    assert found["reward"] == pytest.approx(0.9 - 0.02 * 0.25 - 0.01 * 0.1 - 0.05)
    assert reward_terms(-30.0, 0.0, 0, 0.0, 1.0, 1, 0, 0)["reward"] == -1.0, "R² has no lower end"


def test_the_budget_ends_a_stream(tmp_path):
    env = StreamEnv(tables=[made_up(tmp_path)], budget=60.0)
    env.reset(seed=0)
    assert not env.step(1)[2]  # 50
    assert env.step(1)[2]  # 100


def test_forgetting_is_measured_where_weights_are_shared(tiny):
    steps = [f"strategies.{name}.steps=60" for name in ("scratch", "finetune")]
    changes = ['agent.sharing="in-place"', "agent.encoder_settings.hidden=[16]", "strategies.finetune.lr=0.05", *steps]
    env = StreamEnv(tiny, overrides=changes, seeds=[1])
    env.reset(seed=0)
    env.step(env.actions.index("scratch"))
    _, reward, _, _, info = env.step(env.actions.index("finetune"))
    assert info["forgetting"] != 0
    assert reward == pytest.approx(info["accuracy"] - info["compute"] - info["memory"] - info["forgetting"])


# Many at once


def test_the_vector_is_what_single_replays_are(tmp_path):
    folder = made_up(tmp_path)
    many = gym.make_vec(f"evermap.scenarios.env:{ID}", num_envs=3, tables=[str(folder)])
    assert many.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    alone = [StreamEnv(tables=[folder]) for _ in range(3)]
    seen, info = many.reset(seed=0)
    for k, env in enumerate(alone):
        first, told = env.reset(seed=0)
        assert seen[k].tolist() == first.tolist()
        assert info["action_mask"][k].tolist() == told["action_mask"].tolist()
    rng = np.random.default_rng(0)
    for _ in range(3):
        actions = rng.integers(2, size=3)
        seen, rewards, over, cut, info = many.step(actions)
        for k, env in enumerate(alone):
            one = env.step(actions[k])
            assert seen[k].tolist() == one[0].tolist()
            assert (rewards[k], over[k], cut[k]) == pytest.approx(one[1:4])
            assert info["action_mask"][k].tolist() == one[4]["action_mask"].tolist()
            assert many.unwrapped.actions[info["taken"][k]] == one[4]["strategy"]
    assert over.all()
    seen, rewards, over, _, info = many.step(np.zeros(3, dtype=np.int64))
    assert rewards.tolist() == [0.0, 0.0, 0.0], "the next step begins anew"
    assert not over.any()
    assert info["task"].tolist() == [0, 0, 0]
    assert seen.tolist() == many.reset(seed=0)[0].tolist()


def test_streams_that_are_learned_go_side_by_side_as_well(tiny):
    many = gym.make_vec(f"evermap.scenarios.env:{ID}", num_envs=2, vectorization_mode="sync", scenario=tiny)
    seen, info = many.reset(seed=0)
    assert seen.shape == (2, len(FEATURES))
    assert info["action_mask"].shape == (2, many.single_action_space.n)
    _, rewards, _, _, info = many.step(np.full(2, many.envs[0].unwrapped.actions.index("prototype")))
    assert rewards == pytest.approx(info["accuracy"] - info["compute"] - info["memory"])


def test_replays_draw_from_all_tables(tmp_path):
    folders = []
    for k, n in enumerate((1, 2)):
        folders.append(tmp_path / str(k))
        folders[-1].mkdir()
        made_up(folders[-1], tasks=n)
    env = StreamEnv(tables=folders)
    env.reset(seed=0)
    lengths = set()
    for _ in range(20):
        env.reset()
        steps = 1
        while not env.step(1)[2]:
            steps += 1
        lengths.add(steps)
    assert lengths == {1, 2}


def test_a_path_alone_is_one_folder_and_a_change_alone_one_change(tiny, tmp_path):
    folder = made_up(tmp_path)
    for one in (folder, str(folder)):
        assert StreamEnv(tables=one).actions == StreamEnv(tables=[folder]).actions
        many = gym.make_vec(f"evermap.scenarios.env:{ID}", num_envs=2, tables=one)
        assert many.unwrapped.actions == ("mine", "scratch")
    assert StreamEnv(tiny, overrides="seed=7")._recipe.seed == 7


# Mistakes


def test_mistakes_are_named(tiny, tmp_path):
    with pytest.raises(UserError, match="either a scenario"):
        StreamEnv()
    with pytest.raises(UserError, match="either a scenario"):
        StreamEnv(tiny, tables=[tmp_path])
    with pytest.raises(UserError, match=r'found scenario; .* vectorization_mode="sync"'):
        gym.make_vec(f"evermap.scenarios.env:{ID}", num_envs=2, scenario=tiny)
    with pytest.raises(RecordError, match="no recorded table"):
        StreamEnv(tables=[])
    with pytest.raises(RecordError, match="is missing"):
        StreamEnv(tables=[tmp_path])
    with pytest.raises(RecordError, match="in-place"):
        recorded([made_up(tmp_path, forgetting=None)])


def test_tables_with_other_strategies_do_not_mix(tmp_path, table):
    with pytest.raises(RecordError, match="has the strategies"):
        recorded([made_up(tmp_path), table])


def test_a_replay_needs_no_torch(tmp_path):
    import subprocess

    made_up(tmp_path)
    code = (
        "import sys, gymnasium as gym\n"
        f"env = gym.make('evermap.scenarios.env:{ID}', tables=[{str(tmp_path)!r}])\n"
        "env.reset(seed=0); env.step(0); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.home())
    assert done.stdout.splitlines()[-1] == "False"
