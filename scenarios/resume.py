"""Going on with a run that was cut off, at the last task that its store holds."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from ..agent.catalog import FILE
from ..agent.events import Event
from ..agent.store import KnowledgeStore
from ..errors import RecordError, ResumeError
from ..streams.stream import build_stream
from .competitor import INDEPENDENT, is_competitor
from .facts import Facts, cautions, differences, facts_of, from_manifest, missing_plugins
from .manifest import taken_up
from .record import read_manifest
from .run import parts_of, session
from .run_folder import SCENARIO, RunFolder
from .run_lock import locked
from .scenario import load_scenario, to_toml


def resume(
    out: Path, *, force: bool = False, data_root: Path | None = None, download: bool = False
) -> Generator[Event]:
    """Go on with a run after an interruption, a `kill -9` or a power cut.

    It ends with the accuracy matrix, the choices, the store and the events of a run that was not cut off, byte for
    byte on the same machine, but for the seconds that were measured; the manifest has one more interruption. A row of
    the accuracy matrix that was not recorded is evaluated again. Nothing happens to a run that is finished.

    Args:
        out: The folder of the run.
        force: Go on although recipe, data, versions or plug-ins have changed; the manifest says what.
        data_root: Folder of the user's data sets.
        download: Whether files of published data sets that are missing are fetched into the data root.

    Yields:
        `Resumed`, then everything that happens from there on.

    Raises:
        RecordError: If the folder is no record of a run.
        ResumeError: If something has changed that decides the results, or a plug-in is missing.
        UserError: As in `run`.
    """
    if read_manifest(out)["status"] == "finished":
        return
    competitor = str(read_manifest(out)["agent"])
    if is_competitor(competitor) and competitor != INDEPENDENT:
        raise ResumeError(f"{out} is a run of {competitor}, whose state is not kept; it has to be run again.")
    with locked(out):
        manifest = read_manifest(out)
        former = _facts(out, manifest)
        missing = missing_plugins(former)
        if missing:
            again = " ".join(f"--plugin {name}" for name in missing)
            raise ResumeError(f"{out} was run with {_listed(missing)}, which must be given again: {again}.")
        scenario = load_scenario(out / SCENARIO, data_root=data_root, download=download)
        parts = parts_of(scenario)
        stream = build_stream(scenario.stream, scenario.seed, data_root)
        facts = facts_of(to_toml(scenario), stream, parts[2].device, parts[0])
        changed = differences(former, facts)
        if changed and not force:
            raise ResumeError(
                f"{out} cannot go on as it began; what differs: {'; '.join(changed)}. "
                "Put it back, or go on all the same with --force: the results are then those of no single recipe."
            )
        changed += cautions(former, facts)
        manifest = taken_up(manifest, facts, changed)
        yield from session(scenario, parts, stream, RunFolder(out), manifest, facts, tuple(changed))


def _facts(out: Path, manifest: Mapping[str, Any]) -> Facts:
    """What decided the results: as the store knows it, or the manifest where the run was cut off before it did."""
    if not (out / SCENARIO).is_file():
        raise RecordError(f"{out / SCENARIO}: is missing, and with it the recipe; the run cannot go on.")
    if (out / "store" / FILE).is_file():
        with KnowledgeStore.open(out / "store") as store:
            kept = store.manifest()
            if kept:
                return kept
    if "continues" in manifest:
        raise ResumeError(f"{out} has lost its store, which began on {manifest['continues']['store']}; run it again.")
    return from_manifest(manifest)


def _listed(files: list[str]) -> str:
    return f"the plug-in{'s' if len(files) > 1 else ''} {', '.join(files)}"
