"""The main process of a node, of which the harness is the parent: its end, its log."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.runtime import proc
from harness.runtime.proc import Process

LOG_LINES = 20
"""How much of a node's log an error shows."""

CLOSE_GRACE_S = 0.5
"""For a server to finish its log when a cluster is closed: nobody needs its data any more."""

_LOG_BYTES = 64 * 1024  # as much of a log as is read to find its last lines


@dataclass
class Child:
    """The main process of a node or tool, of which the harness is the parent.

    `up` says that it became ready, `asked` that its end is the harness's own wish.
    """

    name: str
    process: Process
    log: Path
    log_begin: int
    on_exit: Callable[[Child], None]
    up: bool = False
    asked: bool = False
    stop_timeout_s: float = CLOSE_GRACE_S
    status: int | None = None
    exited: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._handle = os.pidfd_open(self.process.pid)
        self._loop.add_reader(self._handle, self.reap)

    def reap(self) -> None:
        """If it has ended, take note of how. Never waits."""
        if self._handle < 0:
            return
        try:
            pid, status = os.waitpid(self.process.pid, os.WNOHANG)
            if pid == 0:
                return
            self.status = os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            pass  # somebody else in this process waited for it: how it ended is not known
        self.let_go()
        self.exited.set()
        self.on_exit(self)

    def let_go(self) -> None:
        """Stop watching it."""
        if self._handle >= 0:
            self._loop.remove_reader(self._handle)
            os.close(self._handle)
            self._handle = -1

    def log_tail(self, lines: int = LOG_LINES) -> str:
        """The last lines that it wrote, or a sentence if there are none."""
        with self.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self.log_begin, size - _LOG_BYTES))
            found = file.read().decode(errors="replace").splitlines()
        return "\n".join(found[-lines:]) or "It wrote nothing."


async def end_gently(children: Sequence[Child]) -> None:
    """SIGTERM in this order, then SIGKILL for the main processes that do not obey."""
    waiting = [child for child in children if not child.exited.is_set()]
    for child in waiting:
        now = proc.status(child.process.pid)
        paused = now is not None and now.stopped
        proc.send(child.process, signal.SIGKILL if paused else signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_GRACE_S):
            for child in waiting:
                await child.exited.wait()
    for child in waiting:
        if not child.exited.is_set():
            proc.send(child.process, signal.SIGKILL)


async def within(event: asyncio.Event, timeout_s: float) -> None:
    """Wait for `event`, but not longer than `timeout_s`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()


def describe(status: int | None) -> str:
    """An exit status in words."""
    if status is None:
        return "nobody knows how"
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"
