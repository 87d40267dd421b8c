"""What must be undone, written down before it is done, where it survives any death (D3).

Every cluster has a directory `<temporary directory>/harness-clusters/127.R/`, which is its hold on
the addresses 127.R.0.0/16, the home of its nodes, and its ledger:

- `owner.json` says whose it is: the harness process with its start time, and the machine;
- `ledger.jsonl` names each process, once before it is started and once as soon as its id is known;
- `engine.json`, if it exists, says on which engine it has containers, a network and volumes;
- `kept`, if it exists, says that a person wanted to look at the cluster.

To remove the directory is the last step of undoing: what could not be ended stays on record.
Directories of other users are never read or touched, for anything could stand in them.

Only the standard library is used: the reaper runs this, and starts quickly.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BrokenError
from harness.runtime import proc
from harness.runtime.proc import Process

SCHEMA = 1

_OWNER = "owner.json"
_LEDGER = "ledger.jsonl"
_KEPT = "kept"

ENGINE = "engine.json"
"""Written before the first thing is made on an engine."""

_ENGINE_TIMEOUT_S = 60.0

# A directory is filled under the first name and emptied under the last, so that a block is never
# seen half made. The names are those of the cluster, so that they cannot clash.
_BLOCK, _NEW, _OLD = "127.", ".new-", ".old-"

_ORPHAN_AGE_S = 60.0
"""A directory without an owner is being made, or its maker died. No making takes so long."""

_SETTLE_S = 0.2
"""How long a process may take from its fork to bearing its mark. Waited for only if the harness
died between the two ledger lines of one start."""


@dataclass(frozen=True)
class Owner:
    """The harness process that a cluster belongs to."""

    process: Process
    machine: str

    @classmethod
    def current(cls) -> Owner:
        """This process."""
        now = proc.status(os.getpid())
        if now is None:
            raise BrokenError("/proc does not tell about this process.", do="Mount /proc.")
        return cls(now.process, _machine())

    @property
    def gone(self) -> bool:
        """Whether it certainly does not run any more. What another container's processes do
        cannot be seen from here."""
        boot, _, _space = self.machine.partition(" ")
        here, _, _space = _machine().partition(" ")
        if boot != here:
            return True
        return self.machine == _machine() and not proc.alive(self.process)


@dataclass(frozen=True)
class LeftOver:
    """A cluster that nobody looks after any more, or that was kept on purpose.

    `where` is its directory, `owner` the process id of the harness that started it (0 if it is not
    known), `processes` those that still run, `engine` whether it has things on a Docker engine.
    """

    id: str
    where: Path
    owner: int
    run_id: str
    kept: bool
    processes: tuple[Process, ...]
    engine: bool = False


def clusters_dir() -> Path:
    """The directory of all clusters of this machine, shared by all users like /tmp itself.

    Raises `BrokenError` if it is not what it should be.
    """
    path = Path(tempfile.gettempdir()) / "harness-clusters"
    if not path.exists():
        made = Path(tempfile.mkdtemp(prefix="harness-clusters-"))
        made.chmod(0o1777)
        try:
            made.rename(path)  # in one step, so that nobody meets it with another mode
        except OSError:
            made.rmdir()
    _check_shared(path)
    return path


def create(base: Path, run_id: str) -> tuple[str, Path]:
    """A new cluster's id and its directory, not yet in its place."""
    id = f"cluster-{secrets.token_hex(6)}"
    where = base / f"{_NEW}{id}"
    where.mkdir(mode=0o711)
    owner = Owner.current()
    data = {
        "schema": SCHEMA,
        "id": id,
        "pid": owner.process.pid,
        "started": owner.process.started,
        "machine": owner.machine,
        "run_id": run_id,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    (where / _OWNER).write_text(json.dumps(data) + "\n")
    (where / _LEDGER).touch()
    return id, where


class Ledger:
    """The pen: appends lines to a cluster's ledger, each on its way to the kernel at once."""

    def __init__(self, where: Path) -> None:
        self._file = os.open(where / _LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def starting(self, node: str) -> None:
        """A process of `node` is about to be started."""
        self._append({"node": node})

    def started(self, node: str, process: Process) -> None:
        """This is a process of `node`."""
        self._append({"node": node, "pid": process.pid, "started": process.started})

    def not_started(self, node: str) -> None:
        """Nothing came of it."""
        self._append({"node": node, "pid": None})

    def close(self) -> None:
        """Put it down. May be called again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _append(self, entry: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(entry).encode() + b"\n")


def keep(where: Path) -> None:
    """Mark a cluster as wanted by a person: nothing but `undo` ends it from here on."""
    (where / _KEPT).touch()


def find_left_over(base: Path | None = None, owner: Process | None = None) -> list[LeftOver]:
    """The clusters of this user whose harness is gone, and those that were kept.

    With `owner`, all clusters of that process instead, taken to be gone, except kept ones.
    """
    found = []
    for where in sorted((base or clusters_dir()).iterdir()):
        if not where.name.startswith((_BLOCK, _NEW, _OLD)) or not _own(where):
            continue
        entry = _read(where)
        if entry is None:
            if owner is None and _is_orphan(where):
                found.append(LeftOver(where.name, where, 0, "", False, ()))
            continue
        kept = (where / _KEPT).exists()
        if owner is not None:
            wanted = entry.owner.process == owner and not kept
        else:
            wanted = kept or entry.owner.gone
        if wanted:
            found.append(
                LeftOver(
                    id=entry.id,
                    where=where,
                    owner=entry.owner.process.pid,
                    run_id=entry.run_id,
                    kept=kept,
                    processes=tuple(sorted(_processes(entry))),
                    engine=(where / ENGINE).exists(),
                )
            )
    return found


def recorded(base: Path) -> set[str]:
    """The ids of all clusters of this user with a ledger in `base`, whatever their state."""
    try:
        found = [_read(where) for where in base.iterdir() if _own(where)]
    except OSError:
        return set()
    return {entry.id for entry in found if entry is not None}


def undo(left_over: LeftOver) -> set[Process]:
    """End all processes of a cluster and remove its directory. May be repeated, by many at once.

    Returns the processes that would not end within 5 s; then the directory stays, to try again.
    Raises `BrokenError` if an engine does not remove what the cluster has there.
    """
    entry = _read(left_over.where)
    if entry is not None and entry.id != left_over.id:
        return set()  # someone else undid it, and the place has been taken since
    if entry is not None:
        if _is_open(left_over.where):
            _settle(entry)
        left = proc.end_all(lambda: _processes(entry))
        if left:
            return left
        if (left_over.where / ENGINE).exists():
            _undo_on_engine(entry)
    _remove(left_over)
    return set()


def _undo_on_engine(entry: _Entry) -> None:
    """Remove what the cluster has on its engine. In an interpreter of its own: whoever runs this
    may have the standard library alone."""
    command = [sys.executable, "-m", "harness.runtime.docker.leftovers", str(entry.where), entry.id]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment,
            timeout=_ENGINE_TIMEOUT_S,
        )
        said = done.stderr.strip() or f"exit status {done.returncode}" if done.returncode else ""
    except subprocess.TimeoutExpired:
        said = f"It was not done within {_ENGINE_TIMEOUT_S:g} s."
    except OSError as error:
        said = str(error)
    if said:
        raise BrokenError(
            f"What {entry.id} has on its Docker engine could not be removed.",
            why=said,
            do="When the engine answers again, run `harness cleanup`. If it is gone for good, "
            f"remove {entry.where}.",
        )


def sweep(base: Path | None = None) -> list[LeftOver]:
    """Undo the clusters whose harness is gone, except kept ones. Returns what there was.

    Nobody waits for an engine: what is on one is undone meanwhile, in a thread. If it does not
    answer, that is left to the next sweep, or to `harness cleanup`, which says so.
    """
    swept = [left_over for left_over in find_left_over(base) if not left_over.kept]
    for left_over in swept:
        if not left_over.engine:
            undo(left_over)
    later = [left_over for left_over in swept if left_over.engine]
    if later:
        threading.Thread(
            target=_undo_quietly, args=(later,), name="harness-sweep", daemon=True
        ).start()
    return swept


def _undo_quietly(left_over: list[LeftOver]) -> None:
    for one in left_over:
        with contextlib.suppress(BrokenError, OSError):
            undo(one)


@dataclass(frozen=True)
class _Entry:
    """What `owner.json` says."""

    id: str
    where: Path
    owner: Owner
    run_id: str


def _read(where: Path) -> _Entry | None:
    """None if it is missing, damaged or of another version."""
    try:
        data = json.loads(_read_own(where / _OWNER))
        if data["schema"] != SCHEMA:
            return None
        owner = Owner(Process(data["pid"], data["started"]), data["machine"])
        return _Entry(data["id"], where, owner, data["run_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _lines(where: Path) -> list[dict[str, Any]]:
    """The ledger. A last line that was cut off by death counts for nothing."""
    lines = []
    with contextlib.suppress(OSError):
        for line in _read_own(where / _LEDGER).splitlines():
            with contextlib.suppress(ValueError):
                lines.append(json.loads(line))
    return lines


def _is_open(where: Path) -> bool:
    """Whether a start was announced of which no process id was written."""
    open_starts: set[str] = set()
    for line in _lines(where):
        if "pid" in line:
            open_starts.discard(line["node"])
        else:
            open_starts.add(line["node"])
    return bool(open_starts)


def _processes(entry: _Entry) -> dict[Process, str]:
    boot, _, _space = entry.owner.machine.partition(" ")
    if boot != _machine().partition(" ")[0]:
        return {}  # ids from before the machine was started mean nothing now
    known = {
        Process(line["pid"], line["started"]): str(line["node"])
        for line in _lines(entry.where)
        if line.get("pid")
    }
    return proc.find(entry.id, known, entry.owner.process.started)


def _settle(entry: _Entry) -> None:
    """Wait until a process that was being started when its harness died can be found."""
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        proc.end_all(lambda: _processes(entry))
        time.sleep(0.02)


def _remove(left_over: LeftOver) -> None:
    """Give the block's place free at once, then delete the directory."""
    where = left_over.where
    if not where.name.startswith(_OLD):
        doomed = where.with_name(f"{_OLD}{left_over.id}")
        # While the lock on the directory itself is held, its name cannot come to mean another one:
        # all who rename it ask for this lock first.
        with contextlib.suppress(FileNotFoundError), _locked(where) as same:
            if same():
                where.rename(doomed)
        where = doomed
    _delete(where)


def _delete(where: Path) -> None:
    shutil.rmtree(where, ignore_errors=True)
    if where.exists():
        # Some servers make their own directories read-only.
        for directory, below, _files in os.walk(where):
            for path in (Path(directory, name) for name in below):
                if not path.is_symlink():
                    path.chmod(0o700)
        shutil.rmtree(where, ignore_errors=True)
    if where.exists():
        raise BrokenError(
            f"{where} cannot be removed.",
            why="It holds files that this user may not delete.",
            do="Remove it by hand.",
        )


@contextlib.contextmanager
def _locked(where: Path) -> Iterator[Callable[[], bool]]:
    """Yields whether `where` still is the directory that was locked."""
    handle = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        opened = os.fstat(handle)

        def same() -> bool:
            now = where.lstat()
            return (now.st_dev, now.st_ino) == (opened.st_dev, opened.st_ino)

        yield same
    finally:
        os.close(handle)


def _own(where: Path) -> bool:
    try:
        found = where.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _read_own(path: Path) -> str:
    """The text of a file, if it is this user's: root must not act on what somebody else wrote."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(handle) as file:
        if os.fstat(handle).st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to another user")
        return file.read()


def _is_orphan(where: Path) -> bool:
    try:
        return time.time() - where.lstat().st_mtime > _ORPHAN_AGE_S
    except OSError:
        return False


def _check_shared(path: Path) -> None:
    found = path.lstat()
    mode = stat.S_IMODE(found.st_mode)
    own = found.st_uid == os.geteuid() and not mode & 0o022
    if stat.S_ISDIR(found.st_mode) and (own or mode == 0o1777):
        return
    raise BrokenError(
        f"{path} cannot be used for clusters.",
        why="It must be a directory that all users may write to and none may take over "
        f"(mode 1777); it has mode {mode:o} and belongs to user {found.st_uid}.",
        do="Ask its owner to remove it, or set TMPDIR to a directory of your own.",
    )


def _machine() -> str:
    """What process ids are relative to: this boot and this process id namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = "unknown"
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
