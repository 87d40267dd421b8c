"""The main process of a member: forks the workers, replaces those that die, passes SIGTERM on.

Everything is imported once, before the first fork, so that a worker is back in milliseconds. There
is no event loop in here: a fork of a process with a running loop would inherit it.
"""

from __future__ import annotations

import os
import signal
import socket
import time
import traceback
from collections.abc import Callable
from types import FrameType

from prometheus_client.multiprocess import mark_process_dead

from .logs import Clock, Log

SHORT_LIFE_S = 1.0
LONGEST_PAUSE_S = 1.0
_FIRST_PAUSE_S = 0.05
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """`work` is a worker's whole life; it is called in a process of its own with the read end of a
    pipe that says, by its end, that the supervisor is gone."""

    def __init__(
        self,
        listener: socket.socket,
        workers: int,
        work: Callable[[int], None],
        log: Log,
        clock: Clock,
    ) -> None:
        self._listener = listener
        self._workers = workers
        self._work = work
        self._log = log
        self._clock = clock
        self._alive = os.pipe()
        self._begun: dict[int, float] = {}
        self._ending = False
        self._short_lives = 0

    def run(self) -> None:
        """Returns when all workers have ended after SIGTERM or SIGINT."""
        for number in _SIGNALS:
            signal.signal(number, self._end)
        for _ in range(self._workers):
            self._fork()
        while self._begun:
            pid, status = os.waitpid(-1, 0)
            lived_s = self._clock() - self._begun.pop(pid, 0.0)
            mark_process_dead(pid)  # type: ignore[no-untyped-call]
            if self._ending:
                continue
            self._log.warning(
                "worker-exited", instance=pid, status=os.waitstatus_to_exitcode(status)
            )
            self._pause(lived_s)
            self._fork()

    def _pause(self, lived_s: float) -> None:
        """Workers that die at once are replaced more and more slowly."""
        self._short_lives = self._short_lives + 1 if lived_s < SHORT_LIFE_S else 0
        if self._short_lives:
            time.sleep(min(LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(self._short_lives, 10)))

    def _fork(self) -> None:
        # A signal between the fork and the entry in the table would miss the worker.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            if self._ending:
                return
            pid = os.fork()
            if pid == 0:
                self._become_worker()
            self._begun[pid] = self._clock()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _become_worker(self) -> None:
        code = 1
        try:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            os.close(self._alive[1])
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._work(self._alive[0])
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def _end(self, number: int, _frame: FrameType | None) -> None:
        # Its own copy: the kernel goes on taking connections for a socket that anybody holds.
        self._ending = True
        self._listener.close()
        for pid in self._begun:
            os.kill(pid, number)
