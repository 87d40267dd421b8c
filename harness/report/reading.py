"""What can be read of the folder of a run, whatever became of the run (D5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import orjson

from harness.errors import UnreadableError
from harness.history import Phase, read_records
from harness.record.folder import RunFolder
from harness.record.journal import Event, read_journal
from harness.report.ops import Ops, OpsBuilder
from harness.timeline import LoadSample

_T = TypeVar("_T")

SAMPLES = "samples.csv"


@dataclass
class Reading:
    """A run as its folder tells it. `missing` says in words what could not be read.

    `unix_ns` is when the run began (nanoseconds since 1970), right within `unix_within_ns`;
    `monotonic_ns` the same on the machine's monotonic clock, None where nobody wrote it down.
    """

    folder: RunFolder
    identity: dict[str, Any]
    plan: dict[str, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    ops: Ops = field(default_factory=lambda: OpsBuilder().build())
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    measurements: list[dict[str, Any]] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    load: list[LoadSample] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    end_ns: int = 0
    unix_ns: int = 0
    unix_within_ns: int = 0
    monotonic_ns: int | None = None

    @property
    def name(self) -> str:
        return self.folder.path.resolve().name

    @property
    def title(self) -> str:
        """The experiment without its file."""
        return str(self.identity.get("experiment", self.name)).rpartition("::")[2]

    @property
    def outcome(self) -> str:
        """How it ended; `unfinished` if nobody wrote that down."""
        return str(self.identity.get("outcome") or "unfinished")

    @property
    def nodes(self) -> list[str]:
        """The cluster's nodes, the planned ones first."""
        known = listed(self.plan.get("nodes")) or listed(self.identity.get("nodes"))
        started = [str(e.data.get("node")) for e in self.events if e.name == "node"]
        return list(dict.fromkeys([*map(str, known), *started]))

    def phase(self, name: str) -> Phase | None:
        return next((phase for phase in self.phases if phase.name == name), None)


def read(folder: RunFolder) -> Reading:
    """All that the folder holds. Raises `UnreadableError` if it is none of a run."""
    if not folder.path.is_dir():
        raise UnreadableError(
            f"{folder.path} is not the folder of a run: there is no such folder.",
            do="Name the folder of a run, e.g. one that `harness runs` lists.",
        )
    missing: list[str] = []
    identity = _identity(folder, missing)
    found = Reading(folder, identity, missing=missing)
    found.plan = _object(folder.plan, found)
    found.events = _some(lambda: read_journal(folder.journal), found)
    found.ops = _ops(folder, found)
    found.verdicts = _verdicts(found)
    found.measurements = _lines(folder.measurements, found)
    found.resources = _lines(folder.resources, found)
    found.told = _lines(folder.events, found)
    found.end_ns = _end(found)
    found.phases = _phases(found)
    _clocks(found)
    found.load = _load(found)
    return found


def listed(value: Any) -> list[Any]:
    """`value` if it is a list; files of others may hold anything."""
    return value if isinstance(value, list) else []


def mapped(value: Any) -> dict[str, Any]:
    """`value` if it is an object."""
    return value if isinstance(value, dict) else {}


def number(value: Any) -> float | None:
    """`value` if it is a number that can be drawn."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < 1e300 else None


def _identity(folder: RunFolder, missing: list[str]) -> dict[str, Any]:
    try:
        return folder.read_identity()
    except UnreadableError as error:
        if "schema" in error.what and "knows" in error.what:
            raise  # newer than this version: what would be told could be wrong
        if not (folder.journal.exists() or folder.plan.exists()):
            raise
        missing.append(f"run.json: {error.what} {error.why or ''}".strip())
        return {}


def _object(path: Path, found: Reading) -> dict[str, Any]:
    try:
        return mapped(orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        found.missing.append(f"{path.name} is not there.")
    except (OSError, ValueError) as error:
        found.missing.append(f"{path.name} cannot be read: {error}.")
    return {}


def _some(items: Callable[[], Iterable[_T]], found: Reading) -> list[_T]:
    """The items up to the first that is damaged."""
    some: list[_T] = []
    try:
        some.extend(items())
    except UnreadableError as error:
        found.missing.append(f"{error.what} {error.why or ''}".strip())
    except Exception as error:
        found.missing.append(f"A file is damaged: {type(error).__name__}: {error}.")
    return some


def _ops(folder: RunFolder, found: Reading) -> Ops:
    """The history as far as it can be read. O(n log n)."""
    builder = OpsBuilder()
    try:
        for record in read_records(folder.history):
            builder.add(record)
    except UnreadableError as error:
        found.missing.append(f"{error.what} {error.why or ''} What came before is shown.")
    clients = mapped(found.plan.get("workload")).get("clients")
    known = clients if isinstance(clients, int) and clients > 0 else None
    return builder.build(known, len(found.nodes))


def _verdicts(found: Reading) -> list[dict[str, Any]]:
    if found.folder.verdicts.exists():
        held = listed(_object(found.folder.verdicts, found).get("verdicts"))
        return [one for one in held if isinstance(one, dict)]
    if found.identity.get("outcome") is None:
        found.missing.append("verdicts.json is not there: nothing was judged.")
    return []


def _lines(path: Path, found: Reading) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file that have a `time`; none if there is no such file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        found.missing.append(f"{path.name} cannot be read: {error}.")
        return []
    lines, damaged = [], 0
    for line in data.splitlines(keepends=True):
        try:
            one = orjson.loads(line)
        except ValueError:
            damaged += line.endswith(b"\n")
            continue
        if isinstance(one, dict) and isinstance(one.get("time"), int):
            lines.append(one)
        else:
            damaged += 1
    if damaged:
        found.missing.append(f"{path.name}: {damaged} damaged lines are left out.")
    return lines


def _end(found: Reading) -> int:
    """When the last thing that was recorded happened."""
    ends = [found.ops.last_ns]
    for many in (found.measurements, found.resources):
        ends += [many[-1]["time"]] if many else []
    # The checks come after the run: what they took is nobody's time axis.
    own = [event.time for event in found.events if event.name not in ("end", "note")]
    ends += own[-1:]
    told = [phase[2] for phase in _told_phases(found)]
    return max([*ends, *told, 1])


def _told_phases(found: Reading) -> list[tuple[str, int, int]]:
    phases = []
    for one in listed(found.identity.get("phases")):
        if isinstance(one, list) and len(one) == 3 and all(type(t) is int for t in one[1:]):
            phases.append((str(one[0]), one[1], one[2]))
    return phases


def _phases(found: Reading) -> list[Phase]:
    """The phases: as run.json has them, else as the journal tells of them."""
    told = [Phase(*one) for one in _told_phases(found)]
    if told:
        return told
    begun = [(str(e.data.get("phase")), e.time) for e in found.events if e.name == "phase"]
    ends = [time for _, time in begun[1:]] + [found.end_ns]
    return [Phase(name, time, end) for (name, time), end in zip(begun, ends, strict=True)]


def _clocks(found: Reading) -> None:
    """When the run began by the clocks that logs tell. Runs that did not record it know the second;
    the moment at which the journal was closed says it better, unless the file was copied."""
    clock = mapped(found.identity.get("clock"))
    if isinstance(clock.get("unix_ns"), int):
        found.unix_ns, found.unix_within_ns = clock["unix_ns"], 1_000_000
        known = clock.get("monotonic_ns")
        found.monotonic_ns = known if isinstance(known, int) else None
        return
    try:
        started = datetime.fromisoformat(str(found.identity.get("started")))
        second_ns = int(started.timestamp()) * 10**9
    except (ValueError, OverflowError):
        found.unix_within_ns = 10**18
        return
    found.unix_ns, found.unix_within_ns = second_ns + 10**9 // 2, 10**9 // 2
    try:
        closed_ns = found.folder.journal.stat().st_mtime_ns
    except OSError:
        return
    began_ns = closed_ns - found.events[-1].time if found.events else 0
    if second_ns - 10**8 <= began_ns <= second_ns + 11 * 10**8:
        found.unix_ns, found.unix_within_ns = began_ns, 20_000_000


def _load(found: Reading) -> list[LoadSample]:
    paths = [found.folder.load / name for name in (f"{SAMPLES}.gz", SAMPLES)]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        return []
    from harness.load.samples import read_samples  # (slow to import)

    samples = _some(lambda: read_samples(path, -found.unix_ns, warmup=True), found)
    if found.unix_within_ns > 10**8 and samples:
        found.missing.append("When the load began is only known to the half second.")
    return samples
