"""One machine: redis-server and its Sentinel, as one program in the foreground.

    python node.py redis-server 127.0.0.1 info-period=1000

Both find their files in the working directory. What is given as name=value, the Sentinel is told
with SENTINEL DEBUG once it listens. SIGTERM is passed on to both; if one of them ends by itself,
the other one is ended, and so does this. Only the standard library, and no package around it: it
runs wherever there is a Python.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from types import FrameType

SENTINEL_PORT = 26379
TELL_TIMEOUT_S = 10.0
"""How long the Sentinel may take until it listens and answers; some 20 ms are usual."""

_PAUSE_S = 0.005
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Machine:
    """The two processes of this machine. `run` is called once."""

    def __init__(self, commands: Sequence[Sequence[str]]) -> None:
        self._commands = commands
        self._running: set[int] = set()
        self._ending = False
        self._failed = False

    def run(self, address: str, periods: Sequence[str]) -> int:
        """Start both, and wait until both have ended. 0 if they were asked to, else 1."""
        for number in _SIGNALS:
            signal.signal(number, self._pass_on)
        # A signal between a start and the entry in the table would miss that process.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        for command in self._commands:
            pid = os.posix_spawnp(command[0], list(command), os.environ, setsigmask=())
            self._running.add(pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        if periods and not self._tell(address, periods) and not self._ending:
            say("the Sentinel does not take its periods")
            self._fail()
        self._wait()
        return 1 if self._failed else 0

    def _wait(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, 0)
            self._ended(pid, status)

    def _ended(self, pid: int, status: int) -> None:
        self._running.discard(pid)
        if not self._ending:
            say(f"process {pid} ended by itself, status {os.waitstatus_to_exitcode(status)}")
            self._fail()

    def _fail(self) -> None:
        self._failed = True
        self._pass_on(signal.SIGTERM, None)

    def _tell(self, address: str, periods: Sequence[str]) -> bool:
        """Tell the Sentinel its periods. False if it does not listen in time, or refuses."""
        words = ["SENTINEL", "DEBUG", *(word for one in periods for word in one.split("=", 1))]
        request = "".join([f"*{len(words)}\r\n", *(f"${len(w)}\r\n{w}\r\n" for w in words)])
        deadline = time.monotonic() + TELL_TIMEOUT_S
        while time.monotonic() < deadline and not self._ending:
            try:
                with socket.create_connection((address, SENTINEL_PORT), TELL_TIMEOUT_S) as asking:
                    asking.sendall(request.encode())
                    return asking.recv(1024).startswith(b"+OK")
            except OSError:
                time.sleep(_PAUSE_S)
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid:
                self._ended(pid, status)
        return False

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        self._ending = True
        for pid in self._running:
            # It may have ended, and a signal arrived before that was written down.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def say(what: str) -> None:
    """A line in the node's log."""
    sys.stderr.write(f"node: {what}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str]) -> int:
    server, address, *periods = arguments
    commands = [[server, "redis.conf"], [server, "sentinel.conf", "--sentinel"]]
    return Machine(commands).run(address, periods)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
