"""A comparison carried out: missing cells are run in worker processes, and what is finished is kept and compared."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import OutputError, ResumeError, UserError
from .cells import FOLDER, Cell, Grid, bounded_cell, cells_of, finished, named
from .comparison import compare
from .manifest import versions
from .outcomes import Outcome, outcome
from .pool import Pool
from .record import read_record
from .run_lock import locked
from .scenario import BudgetSpec

BOUNDED = "{} within the bytes of {}"


@dataclass(frozen=True)
class Step:
    """What has happened to a cell.

    Attributes:
        cell: The cell.
        state: "kept" (finished by an earlier call), "started", "at work" (a task has begun), "done" or "failed".
        task: The task that has begun, from 0.
        tasks: How many tasks the stream has; 0 where that is not known yet.
        why: Why it failed.
        outcome: What it came to, where it is kept or done.
    """

    cell: Cell
    state: str
    task: int = 0
    tasks: int = 0
    why: str = ""
    outcome: Outcome | None = None


class Sitting:
    """One call that compares: what is finished before it is kept, and what it finishes is kept for the next one."""

    def __init__(self, grid: Grid, out: Path, jobs: int, baseline: str | None = None, equal_to: str | None = None):
        """Plan the comparison; nothing is run or written yet.

        Args:
            grid: What is compared.
            out: Its folder.
            jobs: How many runs at a time.
            baseline: The agent that the others are compared with; left out: the first one.
            equal_to: The agent whose bytes the others' stores are bounded to in a further table; None for none.

        Raises:
            UserError: If the grid, the baseline or the bound makes no sense.
        """
        for option, agent in (("--baseline", baseline), ("--equal-bytes-to", equal_to)):
            if agent is not None and agent not in grid.agents:
                raise UserError(f"{option} {agent}: is none of the agents; they are {', '.join(grid.agents)}.")
        if equal_to is not None and "bytes" not in BudgetSpec.model_fields:
            raise UserError("--equal-bytes-to: this evermap cannot bound a store: recipes have no field budget.bytes.")
        self.grid, self.out = grid, out
        self.cells = cells_of(grid, out)
        self.bounded: list[Cell] = []
        self._jobs, self._baseline, self._equal_to = jobs, baseline, equal_to
        self._outcomes: dict[Path, Outcome] = {}
        self.failures: dict[Path, dict[str, Any]] = {}
        self._data: dict[str, str | None] = {}  # hash of every scenario's samples as they are now; None: not readable

    def work(self) -> Generator[Step | None]:
        """Check every pair of scenario and agent, then run the cells that are missing.

        Yields:
            What happens; None where nothing has happened for a moment.

        Raises:
            UserError: If a pair is impossible, before anything has started; or the folder cannot be used.
        """
        with ExitStack() as stack:
            self._occupy(stack)
            pool = stack.enter_context(Pool(self._jobs, self.out))
            wrong = yield from self._check(pool)
            missing = yield from self._missing(self.cells)
            self._refuse(missing, wrong)
            yield from self._run(missing, pool)
            if self._equal_to is not None:
                bounded = yield from self._bounded_cells()
                yield from self._run((yield from self._missing(bounded)), pool)

    def finished(self, cell: Cell) -> bool:
        """Tell whether a cell is finished, on the data as they are now where they were looked at."""
        return finished(cell, self._data.get(cell.scenario))

    def comparison(self) -> dict[str, Any]:
        """Compare what is finished by now; paths of runs are relative to the folder.

        Returns:
            What `comparison.compare` gives, with how many cells there are and how many of them are finished; where
            stores were bounded, that table under "equal_bytes".
        """
        self._take_up(self.cells)
        if self._equal_to is not None and not self.bounded:
            for _ in self._bounded_cells():
                pass
            self._take_up(self.bounded)
        done = [(cell, self._outcomes[cell.folder]) for cell in self.cells if cell.folder in self._outcomes]
        failed = [self.failures[cell.folder] for cell in self.cells if cell.folder in self.failures]
        found = compare([named(*each) for each in done], self._baseline, failed, self.grid.agents)
        found["cells"] = {"wanted": len(self.cells), "finished": len(done), "failed": len(failed)}
        found["command"] = self.command()
        found["evermap"] = versions()["evermap"]
        found["equal_bytes"] = None
        if self._equal_to is not None:
            runs = [named(*each) for each in done if each[0].agent == self._equal_to]
            runs += [named(cell, self._outcomes[cell.folder]) for cell in self.bounded if cell.folder in self._outcomes]
            failed = [self.failures[cell.folder] for cell in self.bounded if cell.folder in self.failures]
            found["equal_bytes"] = {"to": self._equal_to, **compare(runs, self._equal_to, failed, [self._equal_to])}
        return found

    def command(self) -> list[str]:
        """Write the command line that compares again."""
        grid, words = self.grid, ["evermap", "compare", *self.grid.scenarios]
        for option, values in (("--with", grid.agents), ("--set", grid.sets), ("--plugin", grid.plugins)):
            for value in values:
                words += [option, str(value)]
        words += ["--seeds", ",".join(map(str, grid.seeds)), "--size", grid.size, "--out", str(self.out)]
        root = None if grid.data_root is None else str(grid.data_root)
        for name, given in (("baseline", self._baseline), ("equal-bytes-to", self._equal_to), ("data-root", root)):
            words += [] if given is None else [f"--{name}", given]
        return words

    def see_that_it_can_be_written(self) -> None:
        """See that the folder is one of comparisons, or none yet; nothing is made.

        Raises:
            OutputError: If it is something else.
        """
        out = self.out
        try:
            if out.exists() and not out.is_dir():
                raise OutputError(f"--out {out}: this is a file; give a folder.")
            if out.is_dir() and any(out.iterdir()) and not (out / FOLDER).is_dir():
                raise OutputError(
                    f"--out {out}: holds something else than a comparison; give a new folder, or one that an earlier "
                    "comparison left."
                )
        except OSError as error:
            raise OutputError(f"--out {out}: cannot be read ({error.strerror}).") from error

    def _occupy(self, stack: ExitStack) -> None:
        """Make the folder, and keep other processes out."""
        self.see_that_it_can_be_written()
        out = self.out
        try:
            (out / FOLDER).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"--out {out}: cannot be written ({error.strerror}).") from error
        try:
            stack.enter_context(locked(out))
        except ResumeError:
            raise OutputError(f"--out {out}: another process is comparing there; wait until it ends.") from None

    def _take_up(self, cells: Sequence[Cell]) -> None:
        """Take what is finished and was not come to: a sitting that is cut off early loses nothing of earlier ones."""
        for cell in cells:
            if cell.folder not in self._outcomes and cell.folder not in self.failures and self.finished(cell):
                self._finished(cell, "kept")

    def _missing(self, cells: Sequence[Cell]) -> Generator[Step, None, list[Cell]]:
        """Take what earlier calls have finished; give back the rest."""
        missing = []
        for cell in cells:
            if self.finished(cell):
                yield self._finished(cell, "kept")
            else:
                missing.append(cell)
        return missing

    def _check(self, pool: Pool) -> Generator[None, None, dict[tuple[str, str], str]]:
        """Find impossible pairs before anything starts; also where all is finished, for the data may have changed.

        Yields:
            None, while nothing has happened.

        Returns:
            What is wrong, by scenario and agent.
        """
        tasks = []
        for scenario in self.grid.scenarios:
            mine = {cell.agent: cell for cell in reversed(self.cells) if cell.scenario == scenario}
            pairs = [[agent, list(cell.sets)] for agent, cell in reversed(mine.items())]  # the first seed of each
            tasks.append({"do": "check", "scenario": scenario, "agents": pairs, **self._common()})
        wrong: dict[tuple[str, str], str] = {}
        for told in pool.do(tasks):
            if told is None:
                yield None
                continue
            scenario, message = self.grid.scenarios[told[0]], told[1]
            if message["state"] == "failed":
                why = f"cannot be checked: {message['why']}"
                wrong |= {(scenario, agent): why for agent in self.grid.agents}
            elif message["state"] == "done":
                wrong |= {(scenario, agent): why for agent, why in message["wrong"]}
                self._data[scenario] = message["data"]
        return wrong

    def _refuse(self, missing: Sequence[Cell], wrong: Mapping[tuple[str, str], str]) -> None:
        """Start nothing where a run that is missing is impossible."""
        pairs = [pair for pair in dict.fromkeys((cell.scenario, cell.agent) for cell in missing) if pair in wrong]
        if pairs:
            (scenario, agent), more = pairs[0], f" (and {len(pairs) - 1} more)" if len(pairs) > 1 else ""
            raise UserError(f"Nothing was started: {scenario} with {agent}: {wrong[pairs[0]]}{more}")

    def _run(self, cells: Sequence[Cell], pool: Pool) -> Generator[Step | None]:
        tasks = [
            {
                "do": "run",
                "scenario": cell.scenario,
                "sets": list(cell.sets),
                "folder": str(cell.folder.absolute()),
                **self._common(),
            }
            for cell in cells
        ]
        for told in pool.do(tasks):
            if told is None:
                yield None
                continue
            cell, message = cells[told[0]], told[1]
            if message["state"] == "done" and self.finished(cell):
                yield self._finished(cell, "done")
            elif message["state"] in ("done", "failed"):
                yield self._failed(cell, message.get("why") or "its record cannot be read back")
            else:
                yield Step(cell, message["state"], message.get("task", 0), message.get("tasks", 0))

    def _failed(self, cell: Cell, why: str) -> Step:
        self.failures[cell.folder] = {"scenario": cell.label, "agent": cell.name, "seed": cell.seed, "why": why}
        return Step(cell, "failed", why=why)

    def _finished(self, cell: Cell, state: str) -> Step:
        found = outcome(read_record(cell.folder))
        self._outcomes[cell.folder] = replace(found, path=str(cell.folder.relative_to(self.out)))
        return Step(cell, state, outcome=found)

    def _bounded_cells(self) -> Generator[Step, None, list[Cell]]:
        """Bound every other agent's store to what the competitor keeps, on the same scenario with the same seed."""
        kept = {
            (cell.scenario, cell.seed): self._outcomes[cell.folder].values["bytes_kept"]
            for cell in self.cells
            if cell.agent == self._equal_to and cell.folder in self._outcomes
        }
        found = []
        for cell in self.cells:
            stored = kept.get((cell.scenario, cell.seed))
            if stored is None or cell.agent == self._equal_to or not has_store(cell.agent):
                continue
            name = BOUNDED.format(cell.agent, self._equal_to)
            try:
                found.append(bounded_cell(self.grid, cell, int(stored), name, self.out))
            except UserError as error:  # no store can be so small
                impossible = replace(cell, name=name, folder=cell.folder.with_name(f"{cell.folder.name}-bounded"))
                self.bounded.append(impossible)
                yield self._failed(impossible, str(error))
        self.bounded += found
        return found

    def _common(self) -> dict[str, Any]:
        root = self.grid.data_root
        return {
            "size": self.grid.size,
            "data_root": None if root is None else str(root),
            "plugins": [str(file.absolute()) for file in self.grid.plugins],
        }


def has_store(agent: str) -> bool:
    """Tell whether an agent keeps what it learns in a knowledge store, which can be bounded."""
    return agent.partition(":")[0] not in ("avalanche", "independent", "joint")
