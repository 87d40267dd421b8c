"""What a replay repeats: the plan of a run's folder, of an exported run, or of a file by itself."""

from __future__ import annotations

import dataclasses
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness.errors import UnreadableError
from harness.failure import Failure, failures
from harness.plan import Plan, PlannedFault, read_plan
from harness.record.folder import RunFolder
from harness.record.journal import read_journal
from harness.runtime.spec import RUNTIMES
from harness.workload.script import read_script


@dataclass(frozen=True)
class Recording:
    """A plan and where it is from; `folder` is None for a plan in a file of its own."""

    path: Path
    plan: Plan
    folder: RunFolder | None = None

    @property
    def runtime(self) -> str:
        """Where the run's nodes ran, and those of its replays unless they are told otherwise."""
        if self.folder is None:
            return RUNTIMES[0]
        return str(self.folder.read_identity().get("runtime", RUNTIMES[0]))

    @property
    def failure(self) -> Failure | None:
        """What it failed with: what its plan is kept for, else what its run shows; None if it did
        not. Raises `UnreadableError` if that cannot be read."""
        if self.plan.failure is not None:
            return Failure.from_json(self.plan.failure)
        found = failures(self.folder) if self.folder is not None else []
        return found[0] if found else None


def read_recording(path: Path) -> Recording:
    """The recording at `path`: a run's folder, the zip that `harness export` made of one (it is
    unpacked beside itself), or a plan.

    Raises `UnreadableError` if it is none of these.
    """
    if path.suffix == ".zip":
        path = unpacked(path)
    if path.is_file() or path.suffix == ".json":
        return Recording(path, read_plan(path))
    folder = RunFolder(path)
    folder.read_identity()
    return Recording(path, read_plan(folder.plan), folder)


def scripted(recording: Recording) -> Plan:
    """Its plan with the ops listed: those that the run's clients invoked. A plan by itself that
    lists none, and a run that came to no faults or did not come to its end, are left to the
    seed."""
    plan, folder = recording.plan, recording.folder
    if plan.ops is not None or plan.workload is None or folder is None:
        return plan
    if folder.read_identity().get("outcome") in (None, "aborted", "broken"):
        return plan
    begun_ns = faults_began(folder)
    if begun_ns is None or not folder.history.exists():
        return plan
    clients, nodes = plan.workload["clients"], len(plan.nodes)
    ops = read_script(folder.history, clients, nodes, begun_ns)
    return dataclasses.replace(plan, ops=ops)


def plan_of(recording: Recording, *, exact: bool = False) -> Plan:
    """The plan to carry out again: with its ops listed, and with `exact` its faults `pinned`."""
    plan = pinned(recording) if exact else recording.plan
    return scripted(dataclasses.replace(recording, plan=plan))


def pinned(recording: Recording) -> Plan:
    """The plan of a run in which each fault that was meant for a role hits the nodes that it hit
    then, whoever holds the role now."""
    plan, folder = recording.plan, recording.folder
    if folder is None:
        return plan
    hit = {
        event.data["id"]: tuple(event.data["nodes"])
        for event in read_journal(folder.journal)
        if event.name == "fault" and event.data.get("step") == "injected"
    }

    def pin(planned: PlannedFault) -> PlannedFault:
        who = getattr(planned.fault, "who", None)
        if not isinstance(who, str) or who in plan.nodes or not hit.get(planned.id):
            return planned
        # (Shapes that name nobody hold a word in `who` that means nothing; they have their cuts.)
        if getattr(planned.fault, "cuts", None):
            return planned
        changed: dict[str, Any] = {"who": hit[planned.id]}
        fault = dataclasses.replace(planned.fault, **changed)
        return dataclasses.replace(planned, fault=fault)

    return dataclasses.replace(plan, faults=tuple(pin(planned) for planned in plan.faults))


def unpacked(path: Path) -> Path:
    """The run's folder in a zip, unpacked beside it unless it was before. Where there is another
    run of that name, or something else, it is unpacked into a folder named like the zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            runs = {name.partition("/")[0] for name in names}
            if len(runs) != 1 or f"{next(iter(runs))}/run.json" not in names:
                raise UnreadableError(
                    f"{path} holds no run.", do="Name a file that `harness export` made."
                )
            name = runs.pop()
            identity = archive.read(f"{name}/run.json")
            for place in (path.parent, path.parent / path.stem):
                folder = place / name
                if folder.exists() and _read(folder / "run.json") == identity:
                    return folder
                if not folder.exists():
                    with TemporaryDirectory(prefix=".unpacking-", dir=path.parent) as scratch:
                        archive.extractall(scratch)
                        place.mkdir(exist_ok=True)
                        (Path(scratch) / name).rename(folder)
                    return folder
            raise UnreadableError(
                f"{path} cannot be unpacked: there is another {folder}.",
                do="Move it away, or replay the zip from another folder.",
            )
    except (OSError, zipfile.BadZipFile) as error:
        raise UnreadableError(f"{path} cannot be read.", why=str(error)) from None


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def faults_began(folder: RunFolder) -> int | None:
    """When the faults' phase of a run began, in nanoseconds since its start; None if it did not."""
    for event in read_journal(folder.journal):
        if event.name == "phase" and event.data.get("phase") == "during":
            return event.time
    return None
