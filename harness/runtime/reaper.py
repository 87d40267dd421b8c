"""The reaper: a process that outlives its harness by as much as it takes to undo (D3).

One for each harness process that has started a cluster. It waits at the end of a pipe that the
harness holds open. However the harness ends, even by SIGKILL, the pipe closes; then the reaper
undoes what that harness did not, and ends as well. It is in a session of its own, so that Ctrl-C
does not reach it, and deaf to the signals that end a job.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from harness.errors import BrokenError
from harness.runtime import ledger
from harness.runtime.proc import Process, alive

_END_TIMEOUT_S = 10.0

# -S and -E: it needs the standard library and this package alone, and starts faster without site.
_MAIN = "import sys; sys.path.insert(0, sys.argv[1]); from harness.runtime.reaper import main"

_running: tuple[int, subprocess.Popen[bytes]] | None = None  # with the process it belongs to


def ensure(base: Path) -> int:
    """Start this process's reaper for clusters in `base` unless it runs. Returns its process id.

    Raises `BrokenError` if it cannot be started. It need not be awaited: once the pipe exists,
    the reaper hears of the harness's end even if that comes before its own beginning.
    """
    global _running
    if _running is not None:
        harness, reaper = _running
        # A fork has the parent's reaper in its memory, but is not what that one looks after.
        if harness == os.getpid() and reaper.poll() is None:
            return reaper.pid
    owner = ledger.Owner.current().process
    root = Path(__file__).parents[2]
    command = [sys.executable, "-S", "-E", "-c", f"{_MAIN}; main()"]
    try:
        reaper = subprocess.Popen(
            [*command, str(root), str(base), str(owner.pid), str(owner.started)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin")},
            start_new_session=True,
        )
    except OSError as error:
        raise BrokenError("The reaper cannot be started.", why=str(error)) from None
    _running = os.getpid(), reaper
    atexit.register(_dismiss, os.getpid(), reaper)
    return reaper.pid


def main() -> None:
    """Wait for the harness's end, then undo all its clusters that were not kept."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    base, owner = Path(sys.argv[2]), Process(int(sys.argv[3]), int(sys.argv[4]))
    _wait_for_end(owner)
    for left_over in ledger.find_left_over(base, owner):
        with contextlib.suppress(BrokenError):  # nobody is left to be told; the others come first
            ledger.undo(left_over)


def _wait_for_end(owner: Process) -> None:
    poll = select.poll()
    poll.register(sys.stdin.fileno(), select.POLLIN)
    # The pipe alone would not do: a fork of the harness holds it open for as long as it lives.
    try:
        handle = os.pidfd_open(owner.pid)
    except ProcessLookupError:
        return
    try:
        poll.register(handle, select.POLLIN)
        if alive(owner):
            poll.poll()
    finally:
        os.close(handle)


def _dismiss(harness: int, reaper: subprocess.Popen[bytes]) -> None:
    """At the harness's ordinary end: let the reaper look once more, and wait until it is gone."""
    if harness != os.getpid() or reaper.stdin is None:
        return
    reaper.stdin.close()
    try:
        reaper.wait(_END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        reaper.kill()
        reaper.wait()
