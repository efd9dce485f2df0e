"""A stream as a Gymnasium environment: one step is one task, the action is the strategy that learns it.

    gym.make("evermap.scenarios.env:evermap/Stream-v0", scenario="digits-split")
    gym.make("evermap.scenarios.env:evermap/Stream-v0", tables=["runs/regret/composite/probe+arms/seed0"])
    gym.make_vec("evermap.scenarios.env:evermap/Stream-v0", num_envs=64, tables=[...])

The first learns for real. The others replay tables that `evermap regret` has recorded, thousands of tasks a second; see
`env_replay` for what a replay cannot say.

- *Observation*: the profile of the task at hand, `FEATURES`, each from 0 to 1: never which task it is, nor whether it
  has come before. When the stream is over: zeros.
- *Action*: a strategy, in the order of `env.unwrapped.actions`; from which source is left to the agent's retrieval.
  `info["action_mask"]` says which strategies apply; where one does not, `scratch` stands in.
- *Reward*: accuracy on the task's test set right after it was learned (R², but not below -1), less λ_c · FLOPs / budget
  and λ_m · bytes / bytes of the task, less what earlier test sets have lost, mean over them. `info` has every term.
- *End*: with the stream, or when the FLOPs of `budget` are spent. Both terminate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from ..agent.features import FEATURES
from ..errors import UserError
from .env_replay import Recorded, recorded
from .oracle import COMPUTE, MEMORY

if TYPE_CHECKING:
    from .env_live import Live

ID = "evermap/Stream-v0"
# R² has no lower end, and one absurd value would drown all others.
WORST = -1.0

Observation = NDArray[np.float32]
Info = dict[str, Any]


def reward_terms(
    accuracy: Any, flops: Any, size: Any, forgetting: Any, budget: Any, task_bytes: Any, compute: float, memory: float
) -> dict[str, Any]:
    """Take a reward apart; numbers or arrays of one shape.

    Args:
        accuracy: On the task's test set (regression: R²).
        flops: FLOPs spent.
        size: Bytes added to the store.
        forgetting: What earlier test sets have lost, mean over them.
        budget: FLOPs that might be spent.
        task_bytes: Bytes of the task's support set.
        compute: Accuracy that the whole budget is worth, λ_c.
        memory: Accuracy that the bytes of the task are worth, λ_m.

    Returns:
        "accuracy", "compute", "memory", "forgetting", and "reward", which is the first less the others.
    """
    gained, worked, kept = np.maximum(accuracy, WORST), compute * flops / budget, memory * size / task_bytes
    return {
        "accuracy": gained,
        "compute": worked,
        "memory": kept,
        "forgetting": forgetting,
        "reward": gained - worked - kept - forgetting,
    }


def _folders(tables: str | Path | Sequence[str | Path]) -> list[Path]:
    """A path alone is one folder, never a row of characters."""
    return [Path(each) for each in ((tables,) if isinstance(tables, str | Path) else tables)]


class StreamEnv(gym.Env[Observation, np.int64]):
    """A stream, learned for real or replayed.

    Attributes:
        actions: Names of the strategies, in the order of the actions.
        features: Names of the observation's numbers.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - Gymnasium's own attribute

    def __init__(
        self,
        scenario: str | None = None,
        *,
        tables: str | Path | Sequence[str | Path] | None = None,
        overrides: str | Sequence[str] = (),
        size: str = "default",
        seeds: Sequence[int] | None = None,
        data_root: str | Path | None = None,
        compute: float = COMPUTE,
        memory: float = MEMORY,
        budget: float | None = None,
        render_mode: str | None = None,
    ) -> None:
        """Read the recipe or the tables.

        Args:
            scenario: A scenario's name or a TOML file, to be learned for real.
            tables: Folders with recorded tables (or one), to be replayed; give one of the two.
            overrides: Changes of the recipe (or one), each "path=value".
            size: "default" or "short".
            seeds: Seeds of the stream, one of which is drawn at every reset; left out: any.
            data_root: Folder of the user's data sets.
            compute: λ_c of the reward.
            memory: λ_m of the reward.
            budget: FLOPs that may be spent on the whole stream; None for no such bound.
            render_mode: None: there is nothing to draw.

        Raises:
            UserError: If both or neither of `scenario` and `tables` are given, or they are wrong.
        """
        if (scenario is None) == (tables is None):
            raise UserError("StreamEnv: give either a scenario, to be learned, or tables, to be replayed.")
        self.render_mode = render_mode
        self._compute, self._memory, self._budget = compute, memory, budget
        self._data_root = None if data_root is None else Path(data_root)
        self._seeds = None if seeds is None else tuple(seeds)
        self._recorded: Recorded | None = None
        self._live: Live | None = None
        if tables is not None:
            self._recorded = recorded(_folders(tables))
            self.actions = self._recorded.actions
        else:
            from ..registry import registered
            from .scenario import load_scenario

            changes = (overrides,) if isinstance(overrides, str) else overrides
            self._recipe = load_scenario(str(scenario), changes, self._data_root, size=size)
            self.actions = tuple(sorted(registered("strategy")))
        self.features = FEATURES
        self.observation_space = observation_space()  # type: ignore[assignment]  # a Box has no dtype of its own
        self.action_space = gym.spaces.Discrete(len(self.actions))
        self._stream, self._task, self._spent = 0, 0, 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Begin with a stream that is drawn anew.

        Args:
            seed: Decides what is drawn from here on.
            options: Not used.

        Returns:
            The first task's profile, and what goes with it.
        """
        super().reset(seed=seed)
        self._task, self._spent = 0, 0.0
        if self._recorded is not None:
            self._stream = int(self.np_random.integers(len(self._recorded.lengths)))
        else:
            from .env_live import Live

            drawn = self.np_random.integers(2**31) if self._seeds is None else self.np_random.choice(self._seeds)
            self._live = Live(self._recipe.model_copy(update={"seed": int(drawn)}), self._data_root)
        return self._look()

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, Info]:
        """Learn the task at hand with a strategy.

        Args:
            action: Position of the strategy in `actions`.

        Returns:
            The next task's profile, the reward, whether the stream or the budget is at its end, False, and the terms
            of the reward.
        """
        came = self._replayed(int(action)) if self._recorded is not None else self._learned(int(action))
        numbers = {key: value for key, value in came.items() if key not in ("strategy", "task")}
        terms = reward_terms(**numbers, compute=self._compute, memory=self._memory)
        self._task += 1
        self._spent += float(came["flops"])
        observation, info = self._look()
        over = info["task"] < 0 or (self._budget is not None and self._spent >= self._budget)
        told = {key: float(value) for key, value in terms.items()}
        info |= {**told, "strategy": came["strategy"], "flops": float(came["flops"]), "bytes": float(came["size"])}
        return observation, told["reward"], bool(over), False, info

    def _look(self) -> tuple[Observation, Info]:
        """The task at hand: its profile, and which strategies apply; zeros when there is none."""
        seen, mask, position = np.zeros(len(FEATURES), dtype=np.float32), np.zeros(len(self.actions), dtype=np.int8), -1
        if self._recorded is not None:
            if self._task < self._recorded.lengths[self._stream]:
                at = (self._stream, self._task)
                seen, mask = self._recorded.observations[at].copy(), self._recorded.masks[at].astype(np.int8)
                position = self._task
        elif self._live is not None and self._live.situation is not None:
            situation = self._live.situation
            seen = np.array(situation.features, dtype=np.float32)
            mask = np.array([name in situation.applying for name in self.actions], dtype=np.int8)
            position = situation.task
        return seen, {"action_mask": mask, "task": position}

    def _replayed(self, action: int) -> Mapping[str, Any]:
        table, at = self._recorded, (self._stream, self._task)
        if table is None or self._task >= table.lengths[self._stream]:
            raise gym.error.ResetNeeded("The stream is over: call reset().")
        return {
            "strategy": self.actions[int(table.taken[(*at, action)])],
            "accuracy": table.accuracy[(*at, action)],
            "flops": table.flops[(*at, action)],
            "size": table.size[(*at, action)],
            "forgetting": table.forgetting[(*at, action)],
            "budget": table.budget[at],
            "task_bytes": table.task_bytes[at],
        }

    def _learned(self, action: int) -> Mapping[str, Any]:
        if self._live is None or self._live.situation is None:
            raise gym.error.ResetNeeded("The stream is over: call reset().")
        return vars(self._live.act(self.actions[action]))


class ReplayVectorEnv(VectorEnv[Observation, NDArray[np.int64], NDArray[Any]]):
    """Many replays side by side, as arrays; one that has ended begins anew with the next step.

    Attributes:
        actions: Names of the strategies, in the order of the actions.
        features: Names of the observations' numbers.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - as above

    def __init__(
        self,
        num_envs: int = 1,
        *,
        tables: str | Path | Sequence[str | Path] | None = None,
        compute: float = COMPUTE,
        memory: float = MEMORY,
        budget: float | None = None,
        render_mode: str | None = None,
        **others: Any,
    ) -> None:
        """Read the tables.

        Args:
            num_envs: How many replays.
            tables: Folders with recorded tables, or one.
            compute: λ_c of the reward.
            memory: λ_m of the reward.
            budget: FLOPs that may be spent on a whole stream; None for no such bound.
            render_mode: None: there is nothing to draw.
            **others: Nothing: what else a `StreamEnv` takes is for streams that are learned.

        Raises:
            UserError: If there is no table, one is missing or damaged, or something else is given.
        """
        if tables is None or others:
            named = ", ".join(sorted(others)) or "no tables"
            raise UserError(
                f"ReplayVectorEnv: found {named}; it replays tables. For streams that are learned for real give "
                'vectorization_mode="sync" or "async".'
            )
        self.num_envs, self.render_mode, self._budget = num_envs, render_mode, budget
        self._table = table = recorded(_folders(tables))
        self.actions, self.features = table.actions, FEATURES
        self.single_observation_space = observation_space()
        self.single_action_space = gym.spaces.Discrete(len(self.actions))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._terms = reward_terms(
            table.accuracy,
            table.flops,
            table.size,
            table.forgetting,
            table.budget[..., None],
            table.task_bytes[..., None],
            compute,
            memory,
        )
        self._stream, self._task = np.zeros(num_envs, dtype=np.int64), np.zeros(num_envs, dtype=np.int64)
        self._spent, self._ended = np.zeros(num_envs), np.zeros(num_envs, dtype=bool)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Begin every replay with a stream that is drawn anew.

        Args:
            seed: Decides what is drawn from here on.
            options: Not used.

        Returns:
            The first tasks' profiles, shape `(num_envs, features)`, and what goes with them.
        """
        super().reset(seed=seed)
        self._begin(np.ones(self.num_envs, dtype=bool))
        self._ended[:] = False
        return self._look()

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        """Learn every task at hand; a replay that had ended begins anew instead, with reward 0.

        Args:
            actions: Shape `(num_envs,)`.

        Returns:
            Profiles, rewards, which have ended, False, and the terms of the rewards; an array each.
        """
        begins = self._ended.copy()
        at = (self._stream, np.minimum(self._task, self._table.lengths[self._stream] - 1), np.asarray(actions))
        terms = {key: np.where(begins, 0.0, value[at]) for key, value in self._terms.items()}
        flops = np.where(begins, 0.0, self._table.flops[at])
        size, taken = np.where(begins, 0.0, self._table.size[at]), np.where(begins, -1, self._table.taken[at])
        self._task += 1
        self._spent += flops
        self._begin(begins)
        ended = self._task >= self._table.lengths[self._stream]
        if self._budget is not None:
            ended |= self._spent >= self._budget
        self._ended = ended & ~begins
        observations, info = self._look()
        info |= {**terms, "taken": taken, "flops": flops, "bytes": size}
        none = np.zeros(self.num_envs, dtype=bool)
        return observations, terms["reward"].copy(), self._ended.copy(), none, info

    def _begin(self, which: NDArray[np.bool_]) -> None:
        drawn = self.np_random.integers(len(self._table.lengths), size=int(which.sum()))
        self._stream[which], self._task[which], self._spent[which] = drawn, 0, 0.0

    def _look(self) -> tuple[Observation, Info]:
        there = self._task < self._table.lengths[self._stream]
        at = (self._stream, np.where(there, self._task, 0))
        seen = np.where(there[:, None], self._table.observations[at], np.float32(0))
        mask = np.where(there[:, None], self._table.masks[at], False).astype(np.int8)
        return seen, {"action_mask": mask, "task": np.where(there, self._task, -1)}


def observation_space() -> gym.spaces.Box:
    """Return the space of profiles."""
    return gym.spaces.Box(0.0, 1.0, (len(FEATURES),), np.float32)


if ID not in gym.registry:
    gym.register(
        ID,
        entry_point="evermap.scenarios.env:StreamEnv",
        vector_entry_point="evermap.scenarios.env:ReplayVectorEnv",
    )
