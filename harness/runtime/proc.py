"""Processes as the kernel tells of them in /proc: whose they are, and how to end all of them.

A process belongs to a cluster if it is known to (same id *and* start time: process ids are used
again), descends from one that does, is in the process group of one, or bears the cluster's mark:
`HARNESS_CLUSTER` in its environment, or the cluster's private hosts file mounted in its namespace.
The mount is the mark that a server cannot shed: PostgreSQL, for one, writes over its environment
and gives every backend a session of its own.

Only the standard library is used: the reaper runs this, and starts quickly.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

CLUSTER_VARIABLE = "HARNESS_CLUSTER"
NODE_VARIABLE = "HARNESS_NODE"

_GONE = frozenset("ZXx")  # states of a process that has ended and waits for its parent to hear it


class Process(NamedTuple):
    """One process for all time: its id and when it started, in clock ticks since the boot."""

    pid: int
    started: int


class Status(NamedTuple):
    """A line of /proc/<pid>/stat, as far as it matters. `state` is the kernel's letter."""

    process: Process
    state: str
    parent: int
    group: int

    @property
    def gone(self) -> bool:
        """Whether it has ended."""
        return self.state in _GONE

    @property
    def stopped(self) -> bool:
        """Whether SIGSTOP holds it."""
        return self.state == "T"


def status(pid: int) -> Status | None:
    """What the kernel says of `pid`, or None if there is no such process."""
    try:
        line = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The second field is the program's name in brackets, and may itself hold brackets and blanks.
    fields = line[line.rindex(b")") + 2 :].split()
    return Status(Process(pid, int(fields[19])), chr(fields[0][0]), int(fields[1]), int(fields[2]))


def alive(process: Process) -> bool:
    """Whether this very process still runs (or is stopped)."""
    now = status(process.pid)
    return now is not None and now.process == process and not now.gone


def find(cluster: str, known: Mapping[Process, str], since: int) -> dict[Process, str]:
    """All live processes of the cluster with the id `cluster` → the node they belong to.

    `known` are processes on record, with their nodes. Nothing older than `since` (ticks since the
    boot) is looked at. O(processes of the machine): some 20 µs for each, and as much again for
    those that are young enough.
    """
    young: dict[int, Status] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - called often; Path would double the cost
        if name.isdigit() and (now := status(int(name))) and now.process.started >= since:
            young[now.process.pid] = now
    own = os.getpid()
    young.pop(own, None)
    own_mounts = _mounts_id(own)
    nodes: dict[int, str] = {}
    for pid, now in young.items():
        node = known.get(now.process)
        if node is None and not now.gone:
            node = _marked(pid, cluster, own_mounts)
        if node is not None:
            nodes[pid] = node
    for pid in young:
        _inherit(pid, young, nodes)
    return {now.process: nodes[pid] for pid, now in young.items() if pid in nodes and not now.gone}


def send(process: Process, number: signal.Signals) -> bool:
    """Send a signal to this very process. False if it is gone or belongs to someone else."""
    handle = _open(process)
    if handle is None:
        return False
    try:
        signal.pidfd_send_signal(handle, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(handle)
    return True


def end_all(find_them: Callable[[], Iterable[Process]], timeout_s: float = 5.0) -> set[Process]:
    """SIGKILL what `find_them` finds until it finds nothing. Returns those that would not go."""
    deadline = time.monotonic() + timeout_s
    left: set[Process] = set()
    while found := set(find_them()) - left:
        left |= _end(found, deadline)
    return left


def _end(processes: Collection[Process], deadline: float) -> set[Process]:
    """SIGKILL and wait for their ends, which also works on stopped ones. Returns the others."""
    waiting: dict[int, Process] = {}
    left: set[Process] = set()
    poll = select.poll()
    try:
        for process in processes:
            handle = _open(process)
            if handle is None:
                continue
            waiting[handle] = process
            poll.register(handle, select.POLLIN)
            try:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            except ProcessLookupError:
                pass
            except PermissionError:
                left.add(process)
                poll.unregister(handle)
        pending = {handle for handle, process in waiting.items() if process not in left}
        while pending and (rest_s := deadline - time.monotonic()) > 0:
            for handle, _event in poll.poll(rest_s * 1000):
                poll.unregister(handle)
                pending.discard(handle)
        return left | {waiting[handle] for handle in pending}
    finally:
        for handle in waiting:
            os.close(handle)


def _open(process: Process) -> int | None:
    """A handle that means this process and never a later one with the same id."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return None
    now = status(process.pid)
    if now is None or now.process != process:
        os.close(handle)
        return None
    return handle


def _marked(pid: int, cluster: str, own_mounts: str) -> str | None:
    """The node whose mark `pid` bears, or None. Unreadable means not ours."""
    with contextlib.suppress(OSError):
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if f"{CLUSTER_VARIABLE}={cluster}".encode() in variables:
            prefix = f"{NODE_VARIABLE}=".encode()
            return next((v[len(prefix) :].decode() for v in variables if v.startswith(prefix)), "")
    with contextlib.suppress(OSError):
        if _mounts_id(pid) == own_mounts:
            return None
        for line in Path(f"/proc/{pid}/mountinfo").read_text(errors="replace").splitlines():
            source = line.split(" ", 4)[3].removesuffix("//deleted")
            if f"/{cluster}/" in source:
                return source.rpartition("/")[2]
    return None


def _mounts_id(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/mnt").readlink())
    except OSError:
        return ""


def _inherit(pid: int, young: Mapping[int, Status], nodes: dict[int, str]) -> None:
    """Give `pid` the node of its nearest ancestor or process group leader that has one."""
    path: list[int] = []
    node = None
    current = pid
    while current in young and current not in path:
        path.append(current)
        now = young[current]
        node = nodes.get(current, nodes.get(now.group))
        if node is not None:
            break
        current = now.parent
    if node is not None:
        for step in path:
            nodes.setdefault(step, node)
